//! Envoy response flags.

/// A set of response flags, printed as Envoy prints them (`-` when empty).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct ResponseFlags(u32);

macro_rules! flags {
    ($($name:ident = $bit:literal, $text:literal, $doc:literal;)*) => {
        impl ResponseFlags {
            $(#[doc = $doc] pub const $name: Self = Self(1 << $bit);)*
            /// Every flag in print order: HTTP lines print an injected delay and `URX` before the failure.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$name, $text),)*];
        }
    };
}

flags! {
    LOCAL_HEALTH_FAILED = 0, "LH", "Local service failed health check.";
    DELAY_INJECTED = 10, "DI", "Delay injected.";
    FAULT_INJECTED = 11, "FI", "Abort injected.";
    RETRY_EXHAUSTED = 5, "URX", "Retry limit (HTTP) or connect attempts (TCP) exhausted.";
    NO_HEALTHY_UPSTREAM = 1, "UH", "No healthy upstream.";
    UPSTREAM_TIMEOUT = 2, "UT", "Upstream request timeout (504).";
    LOCAL_RESET = 3, "LR", "Connection local reset.";
    UPSTREAM_REMOTE_RESET = 4, "UR", "Upstream remote reset.";
    UPSTREAM_FAILURE = 6, "UF", "Upstream connection failure.";
    UPSTREAM_TERMINATION = 7, "UC", "Upstream connection termination.";
    OVERFLOW = 8, "UO", "Circuit breaker overflow.";
    NO_ROUTE = 9, "NR", "No route or no filter chain.";
    RATE_LIMITED = 12, "RL", "Rate limited.";
    UNAUTHORIZED_EXTERNAL = 13, "UAEX", "Denied by external authorization.";
    DOWNSTREAM_CLOSED = 14, "DC", "Downstream connection termination.";
    STREAM_IDLE_TIMEOUT = 15, "SI", "Stream idle timeout.";
    INVALID_HEADER = 16, "IH", "Strictly checked header is invalid.";
    DOWNSTREAM_PROTOCOL_ERROR = 17, "DPE", "Downstream protocol error.";
    UPSTREAM_PROTOCOL_ERROR = 18, "UPE", "Upstream protocol error.";
    MAX_DURATION = 19, "UMSDR", "Upstream max stream duration reached.";
    OVERLOAD = 20, "OM", "Overload manager terminated the request.";
    NO_CLUSTER = 21, "NC", "Upstream cluster not found.";
    DURATION_TIMEOUT = 22, "DT", "Downstream or overall duration exceeded.";
    DOWNSTREAM_REMOTE_RESET = 23, "DR", "Downstream remote reset.";
    DNS_FAILURE = 24, "DF", "DNS resolution failed.";
}

impl ResponseFlags {
    /// No flag.
    pub const NONE: Self = Self(0);

    /// Adds all of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    /// Whether any of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
    /// Whether no flag is set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The raw bits, stable within one version: for use as a key.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
    /// The set of [`ResponseFlags::bits`]; bits without a flag are dropped.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        let known = Self::ALL.iter().fold(0, |all, (flag, _)| all | flag.0);
        Self(bits & known)
    }
    /// Reads what [`std::fmt::Display`] writes: names joined by commas, `-` or nothing for the empty set.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.is_empty() || text == "-" {
            return Some(Self::NONE);
        }
        text.split(',').try_fold(Self::NONE, |set, name| {
            Self::ALL
                .iter()
                .find(|(_, known)| *known == name)
                .map(|(flag, _)| set.with(*flag))
        })
    }
}

impl std::fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        let mut separator = "";
        for (flag, text) in Self::ALL {
            if self.has(*flag) {
                f.write_str(separator)?;
                f.write_str(text)?;
                separator = ",";
            }
        }
        Ok(())
    }
}
