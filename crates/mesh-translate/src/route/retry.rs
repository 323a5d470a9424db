//! `http[].retries`.

use std::time::Duration;

use mesh_crd::networking::virtual_service::Retry;
use mesh_model::retry::{RetryOn, RetryPolicy};

/// The policy of a rule: none given means Istio's default, `attempts: 0` means none.
pub(super) fn translate(retry: Option<&Retry>, hashed: bool) -> Option<RetryPolicy> {
    let mut policy = RetryPolicy::default();
    policy.avoid_previous_hosts &= !hashed;
    let Some(spec) = retry else {
        return Some(policy);
    };
    policy.attempts = u32::try_from(spec.attempts).ok().filter(|n| *n > 0)?;
    if !spec.retry_on.trim().is_empty() {
        (policy.on, policy.retriable_statuses) = conditions(&spec.retry_on);
    }
    policy.per_try_timeout = spec.per_try_timeout;
    if let Some(base) = spec.backoff {
        policy.base_interval = base;
        policy.max_interval = base.checked_mul(10).unwrap_or(Duration::MAX);
    }
    if spec.retry_ignore_previous_hosts == Some(false) {
        policy.avoid_previous_hosts = false;
    }
    Some(policy)
}

/// `retryOn`; numbers are statuses. Words that validation let through but that we do not act on are skipped.
fn conditions(text: &str) -> (RetryOn, Vec<u16>) {
    let mut on = RetryOn::default();
    let mut statuses = Vec::new();
    for word in text.split(',').map(str::trim) {
        match word {
            "5xx" => on.five_xx = true,
            "gateway-error" => on.gateway_error = true,
            "reset" => on.reset = true,
            "reset-before-request" => on.reset_before_request = true,
            "connect-failure" => on.connect_failure = true,
            "refused-stream" => on.refused_stream = true,
            "retriable-4xx" => on.retriable_4xx = true,
            "retriable-status-codes" => on.retriable_status_codes = true,
            "cancelled" => on.grpc_cancelled = true,
            "deadline-exceeded" => on.grpc_deadline_exceeded = true,
            "internal" => on.grpc_internal = true,
            "resource-exhausted" => on.grpc_resource_exhausted = true,
            "unavailable" => on.grpc_unavailable = true,
            other => {
                if let Ok(status) = other.parse() {
                    on.retriable_status_codes = true;
                    statuses.push(status);
                }
            }
        }
    }
    (on, statuses)
}
