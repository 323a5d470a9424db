//! Single requests: those that are kept, and the spans of their traces.
//!
//! A count says how many; a record says which. Proxies keep errors, slow requests and a sample of the rest; what
//! people could not want recorded (query values, credentials, cookies) never gets in here.

use std::fmt;

use crate::edge::SeriesKey;
use crate::workload::Workload;

/// W3C trace id; never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TraceId(pub [u8; 16]);

/// W3C span (parent) id; never all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// Reads 32 hexadecimal digits (or the 16 of a short B3 id, padded with zeros); all zero is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        match text.len() {
            32 => hex(text, &mut bytes)?,
            16 => hex(text, bytes.get_mut(8..)?)?,
            _ => return None,
        }
        (bytes != [0; 16]).then_some(Self(bytes))
    }
}

impl SpanId {
    /// Reads 16 hexadecimal digits; all zero is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 8];
        (text.len() == 16).then(|| hex(text, &mut bytes)).flatten()?;
        (bytes != [0; 8]).then_some(Self(bytes))
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn hex(text: &str, into: &mut [u8]) -> Option<()> {
    let digits = text.as_bytes();
    for (byte, pair) in into.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        let high = char::from(*high).to_digit(16)?;
        let low = char::from(*low).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(())
}

/// Why a request was kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeptReason {
    /// It failed ([`SeriesKey::is_error`]).
    Error,
    /// Slower than the rolling 99th percentile of its route, or than 1 s.
    Slow,
    /// Drawn into the reservoir of its route.
    Sample,
}

impl KeptReason {
    /// All, most telling first.
    pub const ALL: [Self; 3] = [Self::Error, Self::Slow, Self::Sample];

    /// Name in APIs and stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Slow => "slow",
            Self::Sample => "sample",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// A request that one proxy kept. (`trace_id`, `span_id`) names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRequest {
    /// Its trace.
    pub trace_id: TraceId,
    /// The span that this proxy made for it.
    pub span_id: SpanId,
    /// Node id of the proxy.
    pub proxy: String,
    /// First byte, Unix nanoseconds of the proxy's clock.
    pub started_ns: u64,
    /// To the last byte of the answer, nanoseconds.
    pub duration_ns: u64,
    /// Who called whom, how it ended, which rule decided.
    pub key: SeriesKey,
    /// Why it was kept.
    pub reason: KeptReason,
    /// Method; empty for TCP.
    pub method: String,
    /// Authority as sent.
    pub authority: String,
    /// Path; query values are left out (`/a?x=&y=`).
    pub path: String,
    /// `HTTP/1.1`, `HTTP/2`, `TCP`.
    pub http_version: String,
    /// `user-agent`.
    pub user_agent: String,
    /// `x-request-id`.
    pub request_id: String,
    /// `RESPONSE_CODE_DETAILS`.
    pub details: String,
    /// Endpoint of the last attempt, empty if none.
    pub upstream_host: String,
    /// Cluster of the last attempt, empty if none.
    pub upstream_cluster: String,
    /// Address of the client.
    pub downstream_remote: String,
    /// Upstream attempts.
    pub attempts: u32,
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
    /// Request headers that may be recorded, in order; values of secret ones are never here.
    pub headers: Vec<(String, String)>,
}

/// Which side of a hop a span describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanKind {
    /// Inbound: the proxy before the application.
    Server,
    /// Outbound and gateways.
    Client,
}

impl SpanKind {
    /// Name in APIs and stores.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }

    /// Reads the name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Server, Self::Client]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// One proxy's part in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Trace.
    pub trace_id: TraceId,
    /// This span.
    pub span_id: SpanId,
    /// The span in which it happened; `None` at the root.
    pub parent: Option<SpanId>,
    /// Side.
    pub kind: SpanKind,
    /// Operation as Istio names it (`reviews.default.svc.cluster.local:9080/*`).
    pub name: String,
    /// Node id of the proxy.
    pub proxy: String,
    /// The proxy's own workload.
    pub workload: Workload,
    /// Unix nanoseconds of the proxy's clock.
    pub started_ns: u64,
    /// Nanoseconds.
    pub duration_ns: u64,
    /// 5xx, reset, or a gRPC status other than 0.
    pub error: bool,
    /// The head decision: whether collectors get it even if nobody keeps it.
    pub sampled: bool,
    /// Tags of `mesh_telemetry::spans`, in their order.
    pub attributes: Vec<(String, String)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: Option<&str>) {
        assert_eq!(
            TraceId::parse(text).map(|id| id.to_string()).as_deref(),
            wanted,
            "{text}"
        );
    }

    #[test]
    fn trace_ids() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        check(id, Some(id));
        check(&id.to_uppercase(), Some(id));
        check("a3ce929d0e0e4736", Some("0000000000000000a3ce929d0e0e4736"));
        check("00000000000000000000000000000000", None);
        check("0000000000000000", None);
        check(&id[1..], None);
        check("4bf92f3577b34da6a3ce929d0e0e473g", None);
        check("4bf92f3577b34da6a3ce929d0e0e47é", None);
        check("", None);
    }

    #[test]
    fn span_ids() {
        assert_eq!(
            SpanId::parse("00f067aa0ba902b7").map(|id| id.to_string()),
            Some("00f067aa0ba902b7".to_owned())
        );
        assert_eq!(SpanId::parse("0000000000000000"), None);
        assert_eq!(SpanId::parse("00f067aa0ba902b"), None);
    }
}
