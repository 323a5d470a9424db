//! `http[].match[]`.

use super::super::{Report, format, names};
use crate::networking::virtual_service::{HttpMatch, StringMatch};
use crate::parse::is_dns_label;

pub(super) fn validate(at: &str, condition: &HttpMatch, report: &mut Report<'_>) {
    for (name, spec) in [
        ("uri", &condition.uri),
        ("scheme", &condition.scheme),
        ("method", &condition.method),
        ("authority", &condition.authority),
    ] {
        if let Some(spec) = spec {
            string(&format!("{at}.{name}"), name, spec, report);
        }
    }
    for (kind, map) in [
        ("headers", &condition.headers),
        ("withoutHeaders", &condition.without_headers),
    ] {
        for (name, spec) in map {
            let field = format!("{at}.{kind}[{name}]");
            if !name.starts_with("@request.auth.claims") {
                format::header_name(
                    &field,
                    name,
                    &[":authority", ":method", ":path", ":scheme"],
                    report,
                );
            }
            if let Some(spec) = spec {
                string(&field, kind, spec, report);
            }
        }
    }
    for (name, spec) in &condition.query_params {
        let field = format!("{at}.queryParams[{name}]");
        if name.is_empty() {
            report.error(&field, "query parameter name cannot be empty", "name a parameter");
        }
        if let Some(spec) = spec {
            string(&field, "queryParams", spec, report);
        }
    }
    // 0 counts as absent.
    if condition.port != 0 {
        names::port(&format!("{at}.port"), condition.port, report);
    }
    for (key, value) in &condition.source_labels {
        names::label(&format!("{at}.sourceLabels[{key}]"), key, value, report);
    }
    if !condition.source_namespace.is_empty() && !is_dns_label(&condition.source_namespace) {
        report.error(
            format!("{at}.sourceNamespace"),
            format!("{:?} is not a namespace", condition.source_namespace),
            "name a namespace",
        );
    }
    for (i, gateway) in condition.gateways.iter().enumerate() {
        names::gateway(&format!("{at}.gateways[{i}]"), gateway, report);
    }
}

pub(super) fn string(field: &str, what: &str, spec: &StringMatch, report: &mut Report<'_>) {
    if let Some(pattern) = &spec.regex {
        format::regex(field, what, pattern, report);
    }
}

/// Whether two alternatives take the same requests, names aside.
pub(super) fn same_conditions(a: &HttpMatch, b: &HttpMatch) -> bool {
    let parts = |m: &HttpMatch| {
        (
            m.uri.clone(),
            m.scheme.clone(),
            m.method.clone(),
            m.authority.clone(),
            m.ignore_uri_case,
            m.port,
        )
    };
    parts(a) == parts(b)
        && a.headers == b.headers
        && a.without_headers == b.without_headers
        && a.query_params == b.query_params
        && a.source_labels == b.source_labels
        && a.source_namespace == b.source_namespace
        && a.gateways == b.gateways
}
