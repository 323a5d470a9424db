//! Gateway: who serves it, conflicts.

use std::collections::BTreeMap;

use mesh_crd::networking::gateway::ServerTlsMode;
use mesh_crd::networking::{Gateway, labels_match};
use mesh_crd::problem::{Severity, code};
use mesh_crd::{ObjectKey, Problem, Resource, host};

use super::references::list;
use crate::World;
use crate::index::Index;
use crate::problem::Findings;
use crate::protocol::Protocol;

pub(super) fn check(
    world: &World,
    index: &Index,
    key: &ObjectKey,
    r: &Resource<Gateway>,
    findings: &mut Findings,
) {
    let pods: Vec<_> = world
        .pods()
        .filter(|p| labels_match(&r.spec.selector, &p.meta.labels))
        .collect();
    if pods.is_empty() && world.pods().next().is_some() {
        let selector: Vec<String> = r.spec.selector.iter().map(|(k, v)| format!("{k}={v}")).collect();
        findings.add(
            key,
            Problem::new(
                code::REFERENCED_RESOURCE_NOT_FOUND,
                Severity::Error,
                "spec.selector",
                format!(
                    "Referenced selector not found: {:?}: no gateway serves this object",
                    selector.join(",")
                ),
                "correct the selector (istio: ingressgateway is usual), or start a gateway with these labels",
            ),
        );
    }
    for (i, server) in r.spec.servers.iter().enumerate() {
        let field = format!("spec.servers[{i}].port");
        if server
            .tls
            .as_ref()
            .is_some_and(|t| t.mode == Some(ServerTlsMode::AutoPassthrough))
        {
            findings.unsupported(
                key,
                format!("spec.servers[{i}].tls.mode"),
                "the server name does not name a cluster yet; tls rules of VirtualServices route it",
                "use PASSTHROUGH with tls rules",
            );
        }
        let services: Vec<_> = index
            .registry
            .services
            .iter()
            .filter(|s| {
                !s.selector.is_empty()
                    && pods
                        .iter()
                        .any(|p| p.meta.namespace == s.namespace && labels_match(&s.selector, &p.meta.labels))
            })
            .collect();
        let on_service = services
            .iter()
            .any(|s| s.ports.iter().any(|p| u32::from(p.number) == server.port.number));
        if !services.is_empty() && !on_service {
            findings.add(
                key,
                Problem::new(
                    code::GATEWAY_PORT_NOT_ON_SERVICE,
                    Severity::Warning,
                    format!("{field}.number"),
                    format!(
                        "The gateway is listening on port {}, but the Service of the gateway does not expose it",
                        server.port.number
                    ),
                    "add the port to the Service, or use one of its ports",
                ),
            );
        }
    }
}

/// The same host and port in several Gateways of the same workloads.
pub(super) fn conflicts(index: &Index, findings: &mut Findings) {
    // Selector and port first: only those are compared host by host.
    type Group<'a> = Vec<(ObjectKey, usize, &'a [String], Option<Protocol>)>;
    let mut groups: BTreeMap<(&BTreeMap<String, String>, u32, &str), Group<'_>> = BTreeMap::new();
    for gateway in index.gateways() {
        let key = ObjectKey::new("Gateway", &gateway.meta.namespace, &gateway.meta.name);
        for (i, server) in gateway.spec.servers.iter().enumerate() {
            let protocol = Protocol::by_name(&server.port.protocol);
            groups
                .entry((&gateway.spec.selector, server.port.number, &server.bind))
                .or_default()
                .push((key.clone(), i, &server.hosts, protocol));
        }
    }
    for ((_, port, _), servers) in groups {
        for (at, (key, i, hosts, protocol)) in servers.iter().enumerate() {
            for (other, _, other_hosts, other_protocol) in servers.iter().take(at).filter(|s| s.0 != *key) {
                let http = |p: &Option<Protocol>| p.is_some_and(Protocol::is_http);
                let shared = hosts.iter().find(|h| {
                    other_hosts
                        .iter()
                        .any(|o| host::covers(o, h) && h.len() == o.len())
                });
                // HTTP servers of the same host merge; everything else does not.
                let mixed = http(protocol) != http(other_protocol);
                if !mixed && (http(protocol) || shared.is_none()) {
                    continue;
                }
                findings.add(
                    key,
                    Problem::new(
                        code::CONFLICTING_GATEWAYS,
                        Severity::Error,
                        format!("spec.servers[{i}]"),
                        format!(
                            "Conflict with gateways {} on port {port}: the older one is served",
                            list(std::slice::from_ref(other))
                        ),
                        "use another port or other hosts, or merge the Gateways",
                    ),
                );
            }
        }
    }
}
