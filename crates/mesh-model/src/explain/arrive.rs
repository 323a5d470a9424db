//! What a proxy does to a request before anything is decided: one canonical path, and no header that its sender may not
//! set. The same as the proxy's room "arrive"; a test holds both against each other.

use super::Question;
use crate::listener::{ForwardClientCert, HttpConnection};
use crate::path::{Normalized, normalize};
use crate::request::TypedRequest;

/// Proxies' own headers that a sidecar lets its application set.
const FROM_INSIDE: &[&str] = &[
    "x-envoy-external-address",
    "x-envoy-original-path",
    "x-envoy-original-host",
    "x-envoy-attempt-count",
];

/// Whether a request is gRPC.
pub(super) fn is_grpc(request: &TypedRequest) -> bool {
    let kind = value(request, "content-type").unwrap_or_default();
    kind.strip_prefix("application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', ';', ' ']))
}

/// First value of a header.
pub(super) fn value<'a>(request: &'a TypedRequest, name: &str) -> Option<&'a str> {
    let mut values = request.headers.iter().filter(|(n, _)| n == name);
    values.next().map(|(_, value)| value.as_str())
}

/// Overwrites a header.
pub(super) fn set(request: &mut TypedRequest, name: &str, value: &str) {
    request.headers.retain(|(n, _)| n != name);
    request.headers.push((name.to_owned(), value.to_owned()));
}

/// The path's canonical form; `None` = such a path is refused.
pub(super) fn path(request: &mut TypedRequest, config: &HttpConnection) -> Option<bool> {
    if request.method == "CONNECT" || !config.normalize_path {
        return Some(false);
    }
    match normalize(request.target.as_bytes(), config.merge_slashes) {
        Normalized::Same => Some(false),
        Normalized::Changed(target) => {
            request.target = String::from_utf8_lossy(&target).into_owned();
            Some(true)
        }
        Normalized::Refused => None,
    }
}

/// Headers, as far as decisions may look at them.
pub(super) fn headers(request: &mut TypedRequest, config: &HttpConnection, question: &Question) {
    let edge = question.edge;
    request.headers.retain(|(name, _)| {
        let name = name.as_str();
        let kept = !name.starts_with("x-envoy-") || FROM_INSIDE.contains(&name) && !edge;
        kept && !(edge && name == "x-forwarded-host")
    });
    let transport = if question.tls { "https" } else { "http" };
    if config.use_remote_address {
        let mut forwarded = value(request, "x-forwarded-for").unwrap_or_default().to_owned();
        if !forwarded.is_empty() {
            forwarded.push(',');
        }
        forwarded.push_str(&question.source.to_string());
        set(request, "x-forwarded-for", &forwarded);
        set(request, "x-forwarded-proto", transport);
        if edge {
            set(request, "x-envoy-external-address", &question.source.to_string());
        }
    } else if value(request, "x-forwarded-proto").is_none() {
        set(request, "x-forwarded-proto", transport);
    }
    let https = if config.scheme_from_transport {
        question.tls || request.scheme == "https"
    } else {
        value(request, "x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"))
    };
    request.scheme = if https { "https" } else { "http" }.to_owned();
    let foreign = config.use_remote_address && !config.preserve_external_request_id;
    if config.generate_request_id && (foreign || value(request, "x-request-id").is_none()) {
        set(request, "x-request-id", "(a new one)");
    }
    if config.forward_client_cert == ForwardClientCert::Sanitize {
        request
            .headers
            .retain(|(name, _)| name != "x-forwarded-client-cert");
    }
}
