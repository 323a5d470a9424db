//! Host names, ports, visibility.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::Report;
use crate::parse::is_dns_label;

/// Places of names that came before, letter case aside.
pub(super) fn repeated<'a>(names: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut seen = BTreeSet::new();
    names
        .enumerate()
        .filter(|(_, name)| !seen.insert(name.to_ascii_lowercase()))
        .map(|(i, _)| i)
        .collect()
}

/// A host that may be a wildcard (`*`, `*.test`) or an address.
pub(super) fn host(field: &str, host: &str, report: &mut Report<'_>) {
    if host.is_empty() {
        report.error(field, "empty domain name not allowed", "name a host");
    } else if host.parse::<IpAddr>().is_ok() || host == "*" {
    } else if let Some(reason) = wildcard_name(host) {
        report.error(
            field,
            reason,
            "write a DNS name, or one that begins with *. and has no other *",
        );
    }
}

/// A host that is one name.
pub(super) fn destination(field: &str, host: &str, report: &mut Report<'_>) {
    if host.is_empty() {
        report.error(field, "empty domain name not allowed", "name a host");
    } else if host.parse::<IpAddr>().is_err()
        && let Some(reason) = plain_name(host)
    {
        report.error(field, reason, "write the name of a service, short or in full");
    }
}

/// Why a name with an optional `*.` in front is none.
pub(super) fn wildcard_name(host: &str) -> Option<String> {
    // Istio takes `*` alone, `*.rest` and `*-rest`.
    let rest = match host.strip_prefix('*') {
        None => host,
        Some(rest) => rest.strip_prefix(['.', '-']).unwrap_or(rest),
    };
    plain_name(rest)
}

fn plain_name(host: &str) -> Option<String> {
    let name = host.strip_suffix('.').unwrap_or(host);
    if host.len() > 255 {
        return Some("domain name is longer than 255 characters".into());
    }
    name.split('.')
        .find(|l| !is_label(l))
        .map(|l| format!("domain name {host:?} invalid (label {l:?} invalid)"))
}

/// Letters of either case, digits, `-` and `_` inside.
fn is_label(label: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    label.len() <= 63
        && edge(label.bytes().next())
        && edge(label.bytes().next_back())
        && label
            .bytes()
            .all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_')
}

/// 1..=65535.
pub(super) fn port(field: &str, port: u32, report: &mut Report<'_>) {
    if !(1..=65535).contains(&port) {
        report.error(
            field,
            format!("port number {port} must be in the range 1..65535"),
            "use a port from 1 to 65535",
        );
    }
}

/// `exportTo`.
pub(super) fn export_to(list: &[String], allows_none: bool, report: &mut Report<'_>) {
    for (i, to) in list.iter().enumerate() {
        let field = format!("spec.exportTo[{i}]");
        match to.as_str() {
            "*" | "." => {}
            "~" if allows_none && list.len() == 1 => {}
            "~" => report.error(
                field,
                "exportTo ~ (none) is not allowed for Istio configuration objects",
                "use . for the own namespace",
            ),
            ns if is_dns_label(ns) => {}
            ns => report.error(
                field,
                format!("{ns:?} is not a namespace"),
                "use *, . or a namespace",
            ),
        }
    }
    for i in repeated(list.iter().map(String::as_str)) {
        report.error(format!("spec.exportTo[{i}]"), "duplicate entry", "remove it");
    }
    if list.len() > 1 && list.iter().any(|to| to == "*") {
        report.error(
            "spec.exportTo",
            "cannot have both public (*) and non-public exportTo values for a resource",
            "keep * alone, or remove it",
        );
    }
}

/// A gateway reference in a VirtualService.
pub(super) fn gateway(field: &str, name: &str, report: &mut Report<'_>) {
    let (namespace, rest) = match name.split_once('/') {
        Some((namespace, rest)) => (Some(namespace), rest),
        None => (None, name),
    };
    let name_ok = rest.split('.').all(is_dns_label) && !rest.is_empty();
    let namespace_ok = namespace.is_none_or(|ns| ns == "." || is_dns_label(ns));
    if !name_ok {
        report.error(
            field,
            format!("invalid value for gateway name: {rest:?}"),
            "write mesh, name or namespace/name",
        );
    } else if !namespace_ok {
        report.error(
            field,
            format!(
                "invalid value for gateway namespace: {:?}",
                namespace.unwrap_or_default()
            ),
            "write mesh, name or namespace/name",
        );
    }
}

/// A label's key and value.
pub(super) fn label(field: &str, key: &str, value: &str, report: &mut Report<'_>) {
    let name_ok = |text: &str| {
        let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        text.len() <= 63
            && edge(text.bytes().next())
            && edge(text.bytes().next_back())
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.'))
    };
    let (prefix, name) = key.rsplit_once('/').unwrap_or(("", key));
    if !name_ok(name) || (!prefix.is_empty() && wildcard_name(prefix).is_some()) {
        report.error(
            field,
            format!("invalid tag key: {key:?}"),
            "use a valid label name",
        );
    }
    if !value.is_empty() && !name_ok(value) {
        report.error(
            field,
            format!("invalid tag value: {value:?}"),
            "use letters, digits, '-', '_' and '.', at most 63",
        );
    }
}
