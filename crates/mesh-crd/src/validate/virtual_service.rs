//! VirtualService.

mod http;
mod l4;
mod matches;

use super::{Report, names};
use crate::networking::VirtualService;
use crate::networking::virtual_service::HttpMatch;

pub(super) fn validate(spec: &VirtualService, report: &mut Report<'_>) {
    names::export_to(&spec.export_to, false, report);
    hosts(spec, report);
    for (i, gateway) in spec.gateways.iter().enumerate() {
        names::gateway(&format!("spec.gateways[{i}]"), gateway, report);
    }
    if spec.http.is_empty() && spec.tcp.is_empty() && spec.tls.is_empty() {
        report.error(
            "spec",
            "http, tcp or tls must be provided in virtual service",
            "add at least one rule under http, tcp or tls",
        );
    }
    let is_delegate = spec.hosts.is_empty();
    for (i, route) in spec.http.iter().enumerate() {
        http::validate(&format!("spec.http[{i}]"), route, is_delegate, report);
    }
    for (i, route) in spec.tls.iter().enumerate() {
        l4::tls(&format!("spec.tls[{i}]"), route, &spec.hosts, report);
    }
    for (i, route) in spec.tcp.iter().enumerate() {
        l4::tcp(&format!("spec.tcp[{i}]"), route, report);
    }
    unused(spec, report);
}

fn hosts(spec: &VirtualService, report: &mut Report<'_>) {
    if spec.hosts.is_empty() {
        if !spec.gateways.is_empty() {
            report.error(
                "spec.gateways",
                "delegate virtual service must have no gateways specified",
                "add hosts, or remove gateways: a delegate takes those of its root",
            );
        }
        if !spec.tls.is_empty() || !spec.tcp.is_empty() {
            report.error(
                "spec.hosts",
                "delegate virtual service must have no tls or tcp rules",
                "add hosts, or keep http rules only",
            );
        }
        return;
    }
    let on_mesh = spec.gateways.is_empty() || spec.gateways.iter().any(|g| g == "mesh");
    for (i, host) in spec.hosts.iter().enumerate() {
        let field = format!("spec.hosts[{i}]");
        names::host(&field, host, report);
        if host == "*" && on_mesh {
            report.error(
                &field,
                "wildcard host * is not allowed for virtual services bound to the mesh gateway",
                "name hosts, or bind it to a Gateway only",
            );
        }
    }
    for i in names::repeated(spec.hosts.iter().map(String::as_str)) {
        report.error(format!("spec.hosts[{i}]"), "duplicate host", "remove it");
    }
}

/// Rules behind one that takes everything.
fn unused(spec: &VirtualService, report: &mut Report<'_>) {
    let label = |i: usize, name: &str| match name {
        "" => format!("#{i}"),
        name => format!("{name:?}"),
    };
    let mut everything_before = false;
    let mut seen: Vec<&HttpMatch> = Vec::new();
    let last = spec.http.len().saturating_sub(1);
    for (i, route) in spec.http.iter().enumerate() {
        let field = format!("spec.http[{i}]");
        if everything_before {
            let reason = match route.matches.is_empty() {
                true => "only the last rule can have no matches",
                false => "route without matches defined before",
            };
            report.unreachable(
                &field,
                format!(
                    "virtualService rule {} not used ({reason})",
                    label(i, &route.name)
                ),
            );
        } else if route.matches.is_empty() {
            everything_before = true;
            if i != last {
                report.unreachable(
                    &field,
                    format!(
                        "virtualService rule {} takes every request (only the last rule can have no matches)",
                        label(i, &route.name)
                    ),
                );
            }
        }
        for (j, condition) in route.matches.iter().enumerate() {
            // Each is compared with those before, so only so many are.
            if seen.len() >= MAX_COMPARED {
                return;
            }
            if seen
                .iter()
                .any(|other| matches::same_conditions(other, condition))
            {
                report.unreachable(
                    format!("{field}.match[{j}]"),
                    "an earlier match takes exactly the same requests",
                );
            }
            seen.push(condition);
        }
    }
}

const MAX_COMPARED: usize = 500;
