//! DestinationRule: host, subsets, effect.

use mesh_crd::networking::destination_rule::{
    ClientTls, ClientTlsMode, LoadBalancer, OutlierDetection, Simple, TrafficPolicy,
};
use mesh_crd::networking::{DestinationRule, labels_match};
use mesh_crd::problem::{Severity, code};
use mesh_crd::security::MutualTlsMode;
use mesh_crd::{ObjectKey, Problem, Resource};

use super::references::Place;
use crate::World;
use crate::index::Index;
use crate::peer::PeerModes;
use crate::problem::Findings;
use crate::registry::{MeshService, Source};

pub(super) fn check(
    world: &World,
    index: &Index,
    key: &ObjectKey,
    r: &Resource<DestinationRule>,
    findings: &mut Findings,
) {
    let place = Place { world, index, key };
    let service = place.service(&r.spec.host);
    if service.is_none() && !r.spec.host.starts_with('*') {
        let remedy = match place.probable(&r.spec.host) {
            Some(full) => format!("names with a dot are literal: write {full}"),
            None => "create the service or a ServiceEntry, or correct the name".into(),
        };
        findings.add(
            key,
            Problem::new(
                code::REFERENCED_RESOURCE_NOT_FOUND,
                Severity::Warning,
                "spec.host",
                format!(
                    "Referenced host not found: {:?}; the rule has no effect",
                    r.spec.host
                ),
                remedy,
            ),
        );
    }
    if let Some(policy) = &r.spec.traffic_policy {
        traffic_policy(key, "spec.trafficPolicy", policy, service, findings);
        if let (Some(tls), Some(service)) = (&policy.tls, service) {
            tls_against_servers(world, index, key, tls, service, findings);
        }
    }
    for (i, subset) in r.spec.subsets.iter().enumerate() {
        let field = format!("spec.subsets[{i}]");
        if let Some(policy) = &subset.traffic_policy {
            traffic_policy(key, &format!("{field}.trafficPolicy"), policy, service, findings);
        }
        let Some(service) = service.filter(|s| s.source == Source::Known) else {
            continue;
        };
        let endpoints = || service.ports.iter().flat_map(|p| &p.endpoints);
        let selects = endpoints().any(|e| labels_match(&subset.labels, &e.labels));
        if !selects && endpoints().next().is_some() {
            findings.add(
                key,
                Problem::new(
                    code::SUBSET_SELECTS_NO_PODS,
                    Severity::Error,
                    format!("{field}.labels"),
                    format!(
                        "The Subset {} does not select any pods of {}; requests to it are answered 503 UH",
                        subset.name, service.host
                    ),
                    "correct the labels, or start a workload with them",
                ),
            );
        }
    }
}

/// A mode that the servers refuse: every request then fails with 503.
fn tls_against_servers(
    world: &World,
    index: &Index,
    key: &ObjectKey,
    tls: &ClientTls,
    service: &MeshService,
    findings: &mut Findings,
) {
    if !service.internal || service.source != Source::Known {
        return;
    }
    let refused = service.ports.iter().flat_map(|p| &p.endpoints).find_map(|e| {
        let takes_mesh_tls = e.tls_mode;
        let mode = PeerModes::of(world, index, &e.namespace, &e.labels).at(e.address.port());
        match (tls.mode, mode) {
            (ClientTlsMode::IstioMutual, _) if !takes_mesh_tls => Some("has no sidecar that takes mesh TLS"),
            (ClientTlsMode::IstioMutual, MutualTlsMode::Disable) => {
                Some("takes plaintext only (PeerAuthentication DISABLE)")
            }
            (
                ClientTlsMode::Disable | ClientTlsMode::Simple | ClientTlsMode::Mutual,
                MutualTlsMode::Strict,
            ) if takes_mesh_tls => Some("takes mesh TLS only (PeerAuthentication STRICT)"),
            (ClientTlsMode::Simple | ClientTlsMode::Mutual, _) if takes_mesh_tls => {
                Some("takes mesh TLS and plaintext, no other TLS")
            }
            _ => None,
        }
    });
    if let Some(reason) = refused {
        findings.add(
            key,
            Problem::new(
                code::MTLS_POLICY_CONFLICT,
                Severity::Error,
                "spec.trafficPolicy.tls.mode",
                format!("an endpoint of {} {reason}: requests to it fail", service.host),
                "remove tls to let the mesh choose, or change the PeerAuthentication",
            ),
        );
    }
}

fn traffic_policy(
    key: &ObjectKey,
    at: &str,
    policy: &TrafficPolicy,
    service: Option<&MeshService>,
    findings: &mut Findings,
) {
    blocks(key, at, policy, service, findings);
    for (i, settings) in policy.port_level_settings.iter().enumerate() {
        let field = format!("{at}.portLevelSettings[{i}]");
        blocks(key, &field, settings, service, findings);
        let number = settings.port.map(|p| p.number).unwrap_or_default();
        let known = |s: &MeshService| s.ports.iter().any(|p| u32::from(p.number) == number);
        if service.is_some_and(|s| !known(s)) {
            findings.no_effect(
                key,
                format!("{field}.port.number"),
                format!("the service has no port {number}"),
                "use a port of the Service (not of its pods)",
            );
        }
    }
    for (name, used) in [
        ("tunnel", policy.tunnel.is_some()),
        ("proxyProtocol", policy.proxy_protocol.is_some()),
        ("retryBudget", policy.retry_budget.is_some()),
    ] {
        if used {
            findings.unsupported(key, format!("{at}.{name}"), "not acted on yet", "remove it");
        }
    }
}

fn blocks(
    key: &ObjectKey,
    at: &str,
    policy: &TrafficPolicy,
    service: Option<&MeshService>,
    findings: &mut Findings,
) {
    if let Some(outlier) = &policy.outlier_detection {
        ejection(key, &format!("{at}.outlierDetection"), outlier, service, findings);
    }
    if let Some(tls) = &policy.tls {
        verification(key, &format!("{at}.tls"), tls, findings);
    }
    if let Some(lb) = &policy.load_balancer {
        balancing(key, &format!("{at}.loadBalancer"), lb, findings);
    }
    let pool = policy.connection_pool.as_ref();
    let tcp = pool.and_then(|p| p.tcp.as_ref());
    let http = pool.and_then(|p| p.http.as_ref());
    for (name, used) in [
        ("tcp.tcpKeepalive", tcp.is_some_and(|t| t.tcp_keepalive.is_some())),
        (
            "tcp.maxConnectionDuration",
            tcp.is_some_and(|t| t.max_connection_duration.is_some()),
        ),
        (
            "http.maxConcurrentStreams",
            http.is_some_and(|h| h.max_concurrent_streams > 0),
        ),
    ] {
        if used {
            let field = format!("{at}.connectionPool.{name}");
            findings.unsupported(key, field, "not acted on yet", "remove it");
        }
    }
}

fn balancing(key: &ObjectKey, at: &str, lb: &LoadBalancer, findings: &mut Findings) {
    for (name, used) in [("warmup", lb.warmup.is_some() || lb.warmup_duration_secs.is_some())] {
        if used {
            findings.unsupported(key, format!("{at}.{name}"), "not acted on yet", "remove it");
        }
    }
    if lb.simple == Some(Simple::LeastConn) {
        findings.add(
            key,
            Problem::new(
                code::SCHEMA_WARNING,
                Severity::Info,
                format!("{at}.simple"),
                "LEAST_CONN is the old name of LEAST_REQUEST",
                "write LEAST_REQUEST",
            ),
        );
    }
}

/// With few endpoints the largest share may be less than one of them; nothing is ever ejected then.
fn ejection(
    key: &ObjectKey,
    at: &str,
    outlier: &OutlierDetection,
    service: Option<&MeshService>,
    findings: &mut Findings,
) {
    let most = match outlier.max_ejection_percent {
        0 => 10,
        percent => usize::try_from(percent).unwrap_or(100),
    };
    let endpoints = service
        .into_iter()
        .flat_map(|s| &s.ports)
        .map(|p| p.endpoints.len())
        .max()
        .unwrap_or(0);
    if endpoints > 0 && 100 / endpoints > most {
        findings.add(
            key,
            Problem::new(
                code::EJECTION_IMPOSSIBLE,
                Severity::Warning,
                format!("{at}.maxEjectionPercent"),
                format!(
                    "with {endpoints} endpoints, one is {} % of them, more than maxEjectionPercent {most}: nothing is ever ejected",
                    100 / endpoints
                ),
                format!("set maxEjectionPercent to at least {}", 100_usize.div_ceil(endpoints)),
            ),
        );
    }
}

fn verification(key: &ObjectKey, at: &str, tls: &ClientTls, findings: &mut Findings) {
    let unverified = matches!(tls.mode, ClientTlsMode::Simple | ClientTlsMode::Mutual)
        && tls.ca_certificates.is_empty()
        && tls.credential_name.is_empty()
        && tls.subject_alt_names.is_empty()
        && tls.sni.is_empty();
    if unverified {
        findings.add(
            key,
            Problem::new(
                code::NO_SERVER_CERTIFICATE_VERIFICATION,
                Severity::Warning,
                format!("{at}.caCertificates"),
                "no CA, server name or subjectAltNames: the server is verified by the system's roots and the request's host only",
                "set caCertificates and subjectAltNames",
            ),
        );
    }
}
