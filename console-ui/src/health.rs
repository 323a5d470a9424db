//! When traffic is well. Pure.

/// A verdict with a colour, a shape, an icon and a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Health {
    /// Nothing to judge.
    #[default]
    Unknown,
    /// Below the first threshold.
    Ok,
    /// Some errors.
    Warn,
    /// Many errors.
    Fail,
}

/// Share of errors from which traffic is degraded.
pub const WARN_FROM: f64 = 0.001;
/// Share of errors from which traffic fails.
pub const FAIL_FROM: f64 = 0.1;
/// Below this many requests a single error must not read as failure.
const MINIMUM_VOLUME: u64 = 5;

impl Health {
    /// Judges counts.
    pub fn of(requests: u64, errors: u64) -> Self {
        if requests == 0 {
            return Self::Unknown;
        }
        let share = crate::format::number(errors) / crate::format::number(requests);
        if share < WARN_FROM {
            Self::Ok
        } else if share < FAIL_FROM || requests < MINIMUM_VOLUME {
            Self::Warn
        } else {
            Self::Fail
        }
    }

    /// Style class.
    pub fn class(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// Icon name.
    pub fn icon(self) -> &'static str {
        match self {
            Self::Unknown => "circle-dashed",
            Self::Ok => "circle-check",
            Self::Warn => "triangle-alert",
            Self::Fail => "octagon-alert",
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        let t = crate::text::t();
        match self {
            Self::Unknown => t.idle,
            Self::Ok => t.healthy,
            Self::Warn => t.degraded,
            Self::Fail => t.failing,
        }
    }
}

impl From<mesh_api::inventory::Health> for Health {
    fn from(judged: mesh_api::inventory::Health) -> Self {
        use mesh_api::inventory::Health as Judged;
        match judged {
            Judged::Unknown => Self::Unknown,
            Judged::Ok => Self::Ok,
            Judged::Warn => Self::Warn,
            Judged::Fail => Self::Fail,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Health;

    #[test]
    fn thresholds() {
        for (requests, errors, expected) in [
            (0, 0, Health::Unknown),
            (1000, 0, Health::Ok),
            (10_000, 9, Health::Ok),
            (1000, 1, Health::Warn),
            (1000, 99, Health::Warn),
            (1000, 100, Health::Fail),
            (4, 4, Health::Warn),
            (5, 5, Health::Fail),
        ] {
            assert_eq!(Health::of(requests, errors), expected, "{errors} of {requests}");
        }
    }
}
