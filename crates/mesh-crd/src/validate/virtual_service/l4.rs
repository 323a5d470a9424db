//! `tls[]`, `tcp[]` and weights.

use super::super::{Report, names};
use crate::host;
use crate::networking::virtual_service::{Destination, L4Match, RouteDestination, TcpRoute, TlsRoute};
use crate::parse::is_dns_label;

pub(super) fn tls(at: &str, route: &TlsRoute, hosts: &[String], report: &mut Report<'_>) {
    for (i, condition) in route.matches.iter().enumerate() {
        let field = format!("{at}.match[{i}]");
        if condition.sni_hosts.is_empty() {
            report.error(
                format!("{field}.sniHosts"),
                "TLS match must have at least one SNI host",
                "name the server names",
            );
        }
        for (j, sni) in condition.sni_hosts.iter().enumerate() {
            let field = format!("{field}.sniHosts[{j}]");
            names::host(&field, sni, report);
            if !hosts.iter().any(|h| host::covers(h, sni)) {
                report.error(
                    field,
                    format!(
                        "SNI host {sni:?} is not a compatible subset of any of the virtual service hosts"
                    ),
                    "add it to spec.hosts, or correct it",
                );
            }
        }
        l4_match(&field, condition, report);
    }
    required(at, "TLS", &route.route, report);
}

pub(super) fn tcp(at: &str, route: &TcpRoute, report: &mut Report<'_>) {
    for (i, condition) in route.matches.iter().enumerate() {
        l4_match(&format!("{at}.match[{i}]"), condition, report);
    }
    required(at, "TCP", &route.route, report);
}

fn required(at: &str, what: &str, route: &[RouteDestination], report: &mut Report<'_>) {
    if route.is_empty() {
        report.error(
            format!("{at}.route"),
            format!("{what} route is required"),
            "add a destination",
        );
    }
    weights(at, route, report);
}

fn l4_match(at: &str, condition: &L4Match, report: &mut Report<'_>) {
    for (i, subnet) in condition.destination_subnets.iter().enumerate() {
        let good = subnet.parse::<ipnet::IpNet>().is_ok() || subnet.parse::<std::net::IpAddr>().is_ok();
        if !good {
            report.error(
                format!("{at}.destinationSubnets[{i}]"),
                format!("{subnet} is not a valid IP or CIDR range"),
                "write an address or address/bits",
            );
        }
    }
    if condition.port != 0 {
        names::port(&format!("{at}.port"), condition.port, report);
    }
    for (key, value) in &condition.source_labels {
        names::label(&format!("{at}.sourceLabels[{key}]"), key, value, report);
    }
    for (i, gateway) in condition.gateways.iter().enumerate() {
        names::gateway(&format!("{at}.gateways[{i}]"), gateway, report);
    }
}

/// Destinations with their weights.
pub(super) fn weights(at: &str, route: &[RouteDestination], report: &mut Report<'_>) {
    let mut total: i64 = 0;
    for (i, candidate) in route.iter().enumerate() {
        let field = format!("{at}.route[{i}]");
        destination(&format!("{field}.destination"), &candidate.destination, report);
        if candidate.weight < 0 {
            report.error(
                format!("{field}.weight"),
                format!("weight {} < 0", candidate.weight),
                "use 0 or more",
            );
        }
        total += i64::from(candidate.weight);
    }
    if route.len() > 1 && total == 0 {
        report.error(
            format!("{at}.route"),
            "total destination weight = 0",
            "give at least one destination a weight",
        );
    }
}

/// A destination.
pub(super) fn destination(at: &str, destination: &Destination, report: &mut Report<'_>) {
    if destination.host == "*" {
        report.error(
            format!("{at}.host"),
            "invalid destination host *",
            "name one service",
        );
    } else {
        names::destination(&format!("{at}.host"), &destination.host, report);
    }
    if !destination.subset.is_empty() && !is_dns_label(&destination.subset) {
        report.error(
            format!("{at}.subset"),
            format!("subset name is invalid: {}", destination.subset),
            "use lower-case letters, digits and -",
        );
    }
    if let Some(port) = destination.port {
        names::port(&format!("{at}.port.number"), port.number, report);
    }
}
