//! Retry policy and its decisions.

use std::time::Duration;

/// Conditions under which an attempt is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetryOn {
    /// Connection could not be made.
    pub connect_failure: bool,
    /// HTTP/2 REFUSED_STREAM.
    pub refused_stream: bool,
    /// Any reset, disconnect or timeout before response headers.
    pub reset: bool,
    /// Reset before anything of the request was sent.
    pub reset_before_request: bool,
    /// 5xx or no answer.
    pub five_xx: bool,
    /// 502, 503, 504.
    pub gateway_error: bool,
    /// 409.
    pub retriable_4xx: bool,
    /// Statuses of [`RetryPolicy::retriable_statuses`].
    pub retriable_status_codes: bool,
    /// gRPC status 1.
    pub grpc_cancelled: bool,
    /// gRPC status 4.
    pub grpc_deadline_exceeded: bool,
    /// gRPC status 13.
    pub grpc_internal: bool,
    /// gRPC status 8.
    pub grpc_resource_exhausted: bool,
    /// gRPC status 14.
    pub grpc_unavailable: bool,
}

/// Retry policy of a route (Envoy `RetryPolicy`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Retries beyond the first attempt.
    pub attempts: u32,
    /// Conditions.
    pub on: RetryOn,
    /// Extra statuses.
    pub retriable_statuses: Vec<u16>,
    /// Limit of each attempt.
    pub per_try_timeout: Option<Duration>,
    /// Backoff base; the n-th gap is random in `0..(2^n - 1) * base`, at most `max_interval`.
    pub base_interval: Duration,
    /// Backoff cap.
    pub max_interval: Duration,
    /// Avoid endpoints already tried.
    pub avoid_previous_hosts: bool,
    /// How often host selection may be repeated to satisfy that.
    pub host_selection_attempts: u32,
}

impl Default for RetryPolicy {
    /// Istio's outbound default: 2 retries on failures in which the request was not processed.
    fn default() -> Self {
        Self {
            attempts: 2,
            on: RetryOn {
                connect_failure: true,
                refused_stream: true,
                grpc_unavailable: true,
                grpc_cancelled: true,
                retriable_status_codes: true,
                ..RetryOn::default()
            },
            retriable_statuses: Vec::new(),
            per_try_timeout: None,
            base_interval: Duration::from_millis(25),
            max_interval: Duration::from_millis(250),
            avoid_previous_hosts: true,
            host_selection_attempts: 5,
        }
    }
}

/// How an attempt ended, as far as a retry cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// No connection could be made.
    ConnectFailure,
    /// HTTP/2 REFUSED_STREAM: not processed.
    RefusedStream,
    /// The connection or stream ended before response headers.
    Reset {
        /// Whether anything of the request had been written.
        request_sent: bool,
    },
    /// The limit of this attempt passed.
    PerTryTimeout,
    /// A circuit breaker refused it.
    Overflow,
    /// Response headers came.
    Answered {
        /// Status.
        status: u16,
        /// `grpc-status` of a headers-only answer.
        grpc_status: Option<u16>,
    },
}

impl RetryPolicy {
    /// Whether an attempt that ended so is worth another one. Overflow never is.
    #[must_use]
    pub fn retries(&self, attempt: Attempt) -> bool {
        let on = &self.on;
        let any_reset = on.reset || on.five_xx || on.gateway_error;
        match attempt {
            Attempt::Overflow => false,
            Attempt::ConnectFailure => any_reset || on.connect_failure || on.reset_before_request,
            Attempt::RefusedStream => any_reset || on.refused_stream,
            Attempt::Reset { request_sent } => any_reset || (on.reset_before_request && !request_sent),
            Attempt::PerTryTimeout => any_reset,
            Attempt::Answered { status, grpc_status } => {
                (on.five_xx && status >= 500)
                    || (on.gateway_error && (502..=504).contains(&status))
                    || (on.retriable_4xx && status == 409)
                    || (on.retriable_status_codes && self.retriable_statuses.contains(&status))
                    || match grpc_status {
                        Some(1) => on.grpc_cancelled,
                        Some(4) => on.grpc_deadline_exceeded,
                        Some(8) => on.grpc_resource_exhausted,
                        Some(13) => on.grpc_internal,
                        Some(14) => on.grpc_unavailable,
                        _ => false,
                    }
            }
        }
    }

    /// The gap before retry `n` (1 is the first): full jitter in `0..min((2^n - 1) * base, max)`; `draw` is uniform
    /// over all of u64.
    #[must_use]
    pub fn backoff(&self, n: u32, draw: u64) -> Duration {
        let factor = 2_u32.saturating_pow(n.min(20)).saturating_sub(1);
        let most = self.base_interval.saturating_mul(factor).min(self.max_interval);
        let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(if micros == 0 { 0 } else { draw % micros })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn istio_default_retries_only_what_was_not_processed() {
        let policy = RetryPolicy::default();
        let answered = |status, grpc_status| Attempt::Answered { status, grpc_status };
        for (attempt, expected) in [
            (Attempt::ConnectFailure, true),
            (Attempt::RefusedStream, true),
            (Attempt::Reset { request_sent: true }, false),
            (Attempt::PerTryTimeout, false),
            (Attempt::Overflow, false),
            (answered(503, None), false),
            (answered(200, Some(14)), true),
            (answered(200, Some(1)), true),
            (answered(200, Some(13)), false),
        ] {
            assert_eq!(policy.retries(attempt), expected, "{attempt:?}");
        }
    }

    #[test]
    fn other_conditions() {
        let with = |on: RetryOn| RetryPolicy {
            on,
            retriable_statuses: vec![418],
            ..RetryPolicy::default()
        };
        let five_xx = with(RetryOn {
            five_xx: true,
            ..RetryOn::default()
        });
        let gateway = with(RetryOn {
            gateway_error: true,
            ..RetryOn::default()
        });
        let unsent = with(RetryOn {
            reset_before_request: true,
            ..RetryOn::default()
        });
        let codes = with(RetryOn {
            retriable_status_codes: true,
            ..RetryOn::default()
        });
        let status = |status| Attempt::Answered {
            status,
            grpc_status: None,
        };
        assert!(five_xx.retries(status(500)) && !five_xx.retries(status(499)));
        assert!(five_xx.retries(Attempt::PerTryTimeout) && !five_xx.retries(Attempt::Overflow));
        assert!(gateway.retries(status(503)) && !gateway.retries(status(500)));
        assert!(codes.retries(status(418)) && !codes.retries(status(503)));
        assert!(unsent.retries(Attempt::Reset { request_sent: false }));
        assert!(!unsent.retries(Attempt::Reset { request_sent: true }));
    }

    #[test]
    fn backoff_stays_in_its_window() {
        let policy = RetryPolicy::default();
        for (n, most) in [(1, 25), (2, 75), (3, 175), (4, 250), (30, 250)] {
            for draw in [0, u64::MAX, 123_456_789] {
                assert!(policy.backoff(n, draw) <= Duration::from_millis(most));
            }
        }
    }
}
