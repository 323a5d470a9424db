//! ServiceEntry and WorkloadEntry.

use std::net::IpAddr;

use super::{Report, names};
use crate::networking::service_entry::Resolution;
use crate::networking::{ServiceEntry, WorkloadEntry};

const PROTOCOLS: &[&str] = &[
    "HTTP", "HTTPS", "HTTP2", "GRPC", "GRPC-WEB", "MONGO", "REDIS", "MYSQL", "TCP", "TLS", "UDP",
];

pub(super) fn validate(spec: &ServiceEntry, report: &mut Report<'_>) {
    names::export_to(&spec.export_to, true, report);
    for (i, host) in spec.hosts.iter().enumerate() {
        // A bare star is the schema's to refuse.
        if host != "*" {
            names::host(&format!("spec.hosts[{i}]"), host, report);
        }
    }
    for (i, address) in spec.addresses.iter().enumerate() {
        let good = if address.contains('/') {
            address.parse::<ipnet::IpNet>().is_ok()
        } else {
            address.parse::<IpAddr>().is_ok()
        };
        if !good {
            report.error(
                format!("spec.addresses[{i}]"),
                format!("{address} is not a valid IP"),
                "write an address or address/bits",
            );
        }
    }
    for (i, port) in spec.ports.iter().enumerate() {
        let known =
            port.protocol.is_empty() || PROTOCOLS.contains(&port.protocol.to_ascii_uppercase().as_str());
        if !known {
            report.error(
                format!("spec.ports[{i}].protocol"),
                format!("unsupported protocol: {}", port.protocol),
                format!("use one of {}", PROTOCOLS.join(", ")),
            );
        }
    }
    endpoints(spec, report);
    resolution(spec, report);
}

fn endpoints(spec: &ServiceEntry, report: &mut Report<'_>) {
    for (i, endpoint) in spec.endpoints.iter().enumerate() {
        let at = format!("spec.endpoints[{i}]");
        match spec.resolution {
            Resolution::Static => address(&format!("{at}.address"), endpoint, report),
            Resolution::Dns | Resolution::DnsRoundRobin => {
                if !endpoint.address.is_empty() && endpoint.address.parse::<IpAddr>().is_err() {
                    names::destination(&format!("{at}.address"), &endpoint.address, report);
                }
            }
            Resolution::None | Resolution::DynamicDns => {}
        }
        for name in endpoint.ports.keys() {
            if !spec.ports.iter().any(|p| p.name == *name) {
                report.error(
                    format!("{at}.ports[{name}]"),
                    format!("endpoint port {name:?} is not defined by the service entry"),
                    "name a port of spec.ports",
                );
            }
        }
    }
}

/// The address of an endpoint that is not resolved.
pub(super) fn address(field: &str, entry: &WorkloadEntry, report: &mut Report<'_>) {
    let good = entry.address.is_empty()
        || entry.address.starts_with("unix://")
        || entry.address.parse::<IpAddr>().is_ok();
    if !good && names::wildcard_name(&entry.address).is_some() {
        report.error(
            field,
            format!("{} is not a valid IP", entry.address),
            "write an IP address",
        );
    }
}

fn resolution(spec: &ServiceEntry, report: &mut Report<'_>) {
    match spec.resolution {
        Resolution::Static if spec.endpoints.is_empty() && spec.workload_selector.is_none() => {
            // Istio accepts it with a warning: nothing answers.
            report.warn(
                "spec.endpoints",
                "resolution STATIC without endpoints or workloadSelector: nothing answers",
                "add endpoints",
            );
        }
        Resolution::Dns | Resolution::DnsRoundRobin if spec.endpoints.is_empty() => {
            for (i, host) in spec.hosts.iter().enumerate() {
                if host.starts_with('*') {
                    report.error(
                        format!("spec.hosts[{i}]"),
                        format!(
                            "hosts must be FQDN if no endpoints are provided for resolution mode DNS, {host:?} is none"
                        ),
                        "name the host in full, or add endpoints",
                    );
                }
            }
        }
        _ => {}
    }
}
