//! DestinationRule.

use super::{Report, names};
use crate::networking::DestinationRule;
use crate::networking::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, H2UpgradePolicy, LoadBalancer, OutlierDetection, Subset,
    TrafficPolicy,
};
use crate::parse::is_dns_label;

pub(super) fn validate(spec: &DestinationRule, report: &mut Report<'_>) {
    names::host("spec.host", &spec.host, report);
    names::export_to(&spec.export_to, false, report);
    if spec.workload_selector.is_some() && spec.export_to.iter().any(|e| e != ".") {
        report.error(
            "spec.exportTo",
            "exportTo should be . (current namespace) when a workload selector is used",
            "use exportTo [.], or remove it",
        );
    }
    if let Some(policy) = &spec.traffic_policy {
        traffic_policy("spec.trafficPolicy", policy, report);
    }
    for (i, subset) in spec.subsets.iter().enumerate() {
        validate_subset(&format!("spec.subsets[{i}]"), subset, report);
    }
    for i in names::repeated(spec.subsets.iter().map(|s| s.name.as_str())) {
        report.warn(
            format!("spec.subsets[{i}].name"),
            "this subset is defined twice; the first counts",
            "rename or remove it",
        );
    }
}

fn validate_subset(at: &str, subset: &Subset, report: &mut Report<'_>) {
    if subset.name.is_empty() {
        report.error(
            format!("{at}.name"),
            "subset name cannot be empty",
            "name the subset",
        );
    } else if !is_dns_label(&subset.name) {
        report.error(
            format!("{at}.name"),
            format!("subset name is invalid: {}", subset.name),
            "use lower-case letters, digits and -",
        );
    }
    for (key, value) in &subset.labels {
        names::label(&format!("{at}.labels[{key}]"), key, value, report);
    }
    if let Some(policy) = &subset.traffic_policy {
        traffic_policy(&format!("{at}.trafficPolicy"), policy, report);
    }
}

fn traffic_policy(at: &str, policy: &TrafficPolicy, report: &mut Report<'_>) {
    if *policy == TrafficPolicy::default() {
        report.error(
            at,
            "traffic policy must have at least one field",
            "add a block, or remove trafficPolicy",
        );
    }
    blocks(at, policy, report);
    for (i, settings) in policy.port_level_settings.iter().enumerate() {
        let field = format!("{at}.portLevelSettings[{i}]");
        match settings.port {
            Some(port) => names::port(&format!("{field}.port.number"), port.number, report),
            None => report.error(
                format!("{field}.port"),
                "portLevelSettings must name a port",
                "add port.number",
            ),
        }
        let empty = TrafficPolicy {
            port: settings.port,
            ..TrafficPolicy::default()
        };
        if *settings == empty {
            report.error(
                &field,
                "port level settings must have at least one field",
                "add a block",
            );
        }
        blocks(&field, settings, report);
    }
}

fn blocks(at: &str, policy: &TrafficPolicy, report: &mut Report<'_>) {
    if let Some(spec) = &policy.connection_pool {
        connection_pool(&format!("{at}.connectionPool"), spec, report);
    }
    if let Some(spec) = &policy.load_balancer {
        load_balancer(&format!("{at}.loadBalancer"), spec, report);
    }
    if let Some(spec) = &policy.outlier_detection {
        outlier_detection(&format!("{at}.outlierDetection"), spec, report);
    }
    if let Some(spec) = &policy.tls {
        tls(&format!("{at}.tls"), spec, report);
    }
    if let Some(tunnel) = &policy.tunnel {
        let protocol = tunnel
            .get("protocol")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        if !matches!(protocol, "" | "CONNECT" | "POST") {
            report.error(
                format!("{at}.tunnel.protocol"),
                format!("invalid tunnel protocol {protocol:?}"),
                "use CONNECT or POST",
            );
        }
    }
}

fn connection_pool(at: &str, pool: &ConnectionPool, report: &mut Report<'_>) {
    if pool.http.is_none() && pool.tcp.is_none() {
        report.error(
            at,
            "connection pool must have at least one field",
            "add tcp or http, or remove connectionPool",
        );
    }
    let not_negative = |report: &mut Report<'_>, field: String, what: &str, value: i32| {
        if value < 0 {
            report.error(field, format!("{what} must be non-negative"), "use 0 or more");
        }
    };
    if let Some(http) = &pool.http {
        for (name, what, value) in [
            (
                "http1MaxPendingRequests",
                "http1 max pending requests",
                http.http1_max_pending_requests,
            ),
            ("http2MaxRequests", "http2 max requests", http.http2_max_requests),
            (
                "maxRequestsPerConnection",
                "max requests per connection",
                http.max_requests_per_connection,
            ),
            ("maxRetries", "max retries", http.max_retries),
            (
                "maxConcurrentStreams",
                "max concurrent streams",
                http.max_concurrent_streams,
            ),
        ] {
            not_negative(report, format!("{at}.http.{name}"), what, value);
        }
        if http.h2_upgrade_policy == H2UpgradePolicy::Upgrade && http.use_client_protocol {
            report.error(
                format!("{at}.http.useClientProtocol"),
                "use client protocol must not be true when H2UpgradePolicy is UPGRADE",
                "keep one of them",
            );
        }
    }
    if let Some(tcp) = &pool.tcp {
        not_negative(
            report,
            format!("{at}.tcp.maxConnections"),
            "max connections",
            tcp.max_connections,
        );
    }
}

fn load_balancer(at: &str, spec: &LoadBalancer, report: &mut Report<'_>) {
    let Some(hash) = &spec.consistent_hash else {
        return;
    };
    let at = format!("{at}.consistentHash");
    if let Some(maglev) = &hash.maglev {
        let field = format!("{at}.maglev.tableSize");
        match maglev.table_size {
            None | Some(0) => report.error(
                field,
                "tableSize must be set for maglev",
                "use a prime number, for example 65537",
            ),
            Some(size) if size > 5_000_011 => report.error(
                field,
                format!("maglev table size must be at most 5000011, is {size}"),
                "use a prime number, for example 65537",
            ),
            Some(size) if !is_prime(size) => report.error(
                field,
                format!("maglev table size must be a prime number, {size} is none"),
                "use a prime number, for example 65537",
            ),
            Some(_) => {}
        }
    }
    if let Some(cookie) = &hash.http_cookie
        && cookie.name.is_empty()
    {
        report.error(
            format!("{at}.httpCookie.name"),
            "name required for HttpCookie",
            "name the cookie",
        );
    }
}

fn is_prime(n: u64) -> bool {
    n > 1 && (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn outlier_detection(at: &str, spec: &OutlierDetection, report: &mut Report<'_>) {
    for (name, value) in [
        ("maxEjectionPercent", spec.max_ejection_percent),
        ("minHealthPercent", spec.min_health_percent),
    ] {
        if !(0..=100).contains(&value) {
            report.error(
                format!("{at}.{name}"),
                format!("percentage {value} is not in range 0..100"),
                "use a value from 0 to 100",
            );
        }
    }
    if spec.consecutive_errors < 0 {
        report.error(
            format!("{at}.consecutiveErrors"),
            "consecutive errors must be non-negative",
            "use consecutive5xxErrors",
        );
    }
    if spec.consecutive_local_origin_failures.unwrap_or(0) > 0 && !spec.split_external_local_origin_errors {
        report.error(
            format!("{at}.consecutiveLocalOriginFailures"),
            "outlier detection consecutive local origin failures is specified, but split external local origin errors is not set",
            "set splitExternalLocalOriginErrors",
        );
    }
}

fn tls(at: &str, spec: &ClientTls, report: &mut Report<'_>) {
    let files = !spec.client_certificate.is_empty()
        || !spec.private_key.is_empty()
        || !spec.ca_certificates.is_empty();
    if matches!(spec.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
        && !spec.credential_name.is_empty()
        && files
    {
        report.error(
            format!("{at}.credentialName"),
            "cannot specify client certificates or CA certificate if credentialName is set",
            "keep credentialName or the files",
        );
    }
    if spec.mode == ClientTlsMode::Mutual && spec.credential_name.is_empty() {
        if spec.client_certificate.is_empty() {
            report.error(
                format!("{at}.clientCertificate"),
                "client certificate required for mutual tls",
                "add it, or credentialName",
            );
        }
        if spec.private_key.is_empty() {
            report.error(
                format!("{at}.privateKey"),
                "private key required for mutual tls",
                "add it, or credentialName",
            );
        }
    }
}
