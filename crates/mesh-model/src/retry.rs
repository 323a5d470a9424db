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
