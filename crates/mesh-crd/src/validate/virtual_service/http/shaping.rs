//! Retries, faults, mirrors, CORS.

use super::super::super::{Report, format};
use super::super::{l4, matches};
use crate::networking::virtual_service::{CorsPolicy, Fault, HttpRoute, Percent, Retry};

/// Words that `retryOn` may hold, numbers aside.
const RETRY_ON: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "envoy-ratelimited",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

pub(super) fn retries(at: &str, spec: &Retry, report: &mut Report<'_>) {
    if spec.attempts < 0 {
        report.error(
            format!("{at}.attempts"),
            "attempts cannot be negative",
            "use 0 to disable retries",
        );
    }
    if spec.attempts == 0 && *spec != Retry::default() {
        report.error(
            at,
            "http retry policy configured when attempts are set to 0 (disabled)",
            "set attempts, or remove the other fields",
        );
    }
    for word in spec.retry_on.split(',').map(str::trim) {
        // Numbers are statuses.
        let status = word.parse::<u16>().is_ok_and(|s| (100..600).contains(&s));
        if !word.is_empty() && !status && !RETRY_ON.contains(&word) {
            report.error(
                format!("{at}.retryOn"),
                format!("{word:?} is not a valid retryOn policy"),
                format!("use status codes or {}", RETRY_ON.join(", ")),
            );
        }
    }
}

pub(super) fn fault(at: &str, spec: &Fault, report: &mut Report<'_>) {
    if spec.delay.is_none() && spec.abort.is_none() {
        report.error(
            at,
            "HTTP fault injection must have an abort and/or a delay",
            "add one of them",
        );
    }
    if let Some(delay) = &spec.delay {
        percentage(&format!("{at}.delay.percentage.value"), delay.percentage, report);
        if !(0..=100).contains(&delay.percent) {
            report.error(
                format!("{at}.delay.percent"),
                format!("percentage {} is not in range 0..100", delay.percent),
                "use percentage.value from 0 to 100",
            );
        }
        if delay.exponential_delay.is_some() {
            report.error(
                format!("{at}.delay.exponentialDelay"),
                "exponentialDelay is not supported",
                "use fixedDelay",
            );
        }
    }
    if let Some(abort) = &spec.abort {
        percentage(&format!("{at}.abort.percentage.value"), abort.percentage, report);
        if let Some(status) = abort.http_status
            && !(200..600).contains(&status)
        {
            report.error(
                format!("{at}.abort.httpStatus"),
                format!("HTTP status {status} is not in range 200-599"),
                "use a status from 200 to 599",
            );
        }
        if let Some(status) = &abort.grpc_status
            && crate::grpc_status(status).is_none()
        {
            report.error(
                format!("{at}.abort.grpcStatus"),
                format!("gRPC status {status:?} is not supported"),
                "use a name like UNAVAILABLE or a number from 0 to 16",
            );
        }
        if abort.http2_error.is_some() {
            report.error(
                format!("{at}.abort.http2Error"),
                "HTTP/2 abort fault injection not supported yet",
                "use httpStatus or grpcStatus",
            );
        }
    }
}

fn percentage(field: &str, percentage: Option<Percent>, report: &mut Report<'_>) {
    let Some(Percent { value }) = percentage else {
        return;
    };
    if value != 0.0 && !(0.0001..=100.0).contains(&value) {
        report.error(
            field,
            format!("percentage {value} is neither 0.0, nor in range [0.0001, 100.0]"),
            "use a value from 0 to 100",
        );
    }
}

pub(super) fn mirrors(at: &str, route: &HttpRoute, report: &mut Report<'_>) {
    if let Some(mirror) = &route.mirror {
        l4::destination(&format!("{at}.mirror"), mirror, report);
        if !route.mirrors.is_empty() {
            report.error(
                format!("{at}.mirrors"),
                "HTTP route cannot contain both mirror and mirrors",
                "keep mirrors",
            );
        }
    }
    percentage(
        &format!("{at}.mirrorPercentage.value"),
        route.mirror_percentage,
        report,
    );
    if route.mirror_percent.is_some_and(|p| p > 100) {
        report.error(
            format!("{at}.mirrorPercent"),
            "mirror percent must be at most 100",
            "use mirrorPercentage.value from 0 to 100",
        );
    }
    for (i, mirror) in route.mirrors.iter().enumerate() {
        l4::destination(
            &format!("{at}.mirrors[{i}].destination"),
            &mirror.destination,
            report,
        );
        percentage(
            &format!("{at}.mirrors[{i}].percentage.value"),
            mirror.percentage,
            report,
        );
    }
}

pub(super) fn cors(at: &str, spec: &CorsPolicy, report: &mut Report<'_>) {
    for (i, origin) in spec.allow_origins.iter().enumerate() {
        matches::string(
            &format!("{at}.allowOrigins[{i}]"),
            "corsAllowOrigins",
            origin,
            report,
        );
    }
    for (i, method) in spec.allow_methods.iter().enumerate() {
        const METHODS: &[&str] = &[
            "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "*",
        ];
        if !METHODS.contains(&method.as_str()) {
            report.error(
                format!("{at}.allowMethods[{i}]"),
                format!("{method:?} is not a supported HTTP method"),
                format!("use one of {}", METHODS.join(", ")),
            );
        }
    }
    for (kind, list) in [
        ("allowHeaders", &spec.allow_headers),
        ("exposeHeaders", &spec.expose_headers),
    ] {
        for (i, name) in list.iter().enumerate() {
            format::header_name(&format!("{at}.{kind}[{i}]"), name, &[], report);
        }
    }
    if spec.max_age.is_some_and(|d| d.subsec_nanos() != 0) {
        report.error(
            format!("{at}.maxAge"),
            "only durations to seconds precision are supported",
            "use whole seconds",
        );
    }
}
