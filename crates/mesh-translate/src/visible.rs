//! What of the registry a proxy sees: `exportTo`, and the Sidecar resource that scopes it.

use std::sync::Arc;

use mesh_crd::Resource;
use mesh_crd::host;
use mesh_crd::networking::sidecar::{OutboundMode, OutboundTrafficPolicy};
use mesh_crd::networking::{Sidecar, labels_match};

use crate::World;
use crate::bound::Bound;
use crate::index::Index;
use crate::node::{ProxyKind, ProxyNode};
use crate::registry::MeshService;
use crate::scope;

/// The Sidecar resource in force for a proxy: by labels, of its namespace, of the root namespace, or none.
pub(crate) fn sidecar<'a>(
    world: &World,
    index: &'a Index,
    node: &ProxyNode,
) -> Option<&'a Resource<Sidecar>> {
    if node.kind == ProxyKind::Router {
        return None;
    }
    let has_selector = |r: &Resource<Sidecar>| {
        r.spec
            .workload_selector
            .as_ref()
            .is_some_and(|s| !s.labels.is_empty())
    };
    let of = |namespace: &str| {
        index
            .sidecars()
            .find(|r| r.meta.namespace == namespace && !has_selector(r))
    };
    index
        .sidecars()
        .find(|r| {
            r.meta.namespace == node.namespace
                && r.spec
                    .workload_selector
                    .as_ref()
                    .is_some_and(|s| !s.labels.is_empty() && labels_match(&s.labels, &node.labels))
        })
        .or_else(|| of(&node.namespace))
        .or_else(|| of(&world.mesh().root_namespace))
}

/// What happens to unknown destinations.
pub(crate) fn outbound_policy<'a>(
    world: &'a World,
    sidecar: Option<&'a Resource<Sidecar>>,
) -> &'a OutboundTrafficPolicy {
    sidecar
        .and_then(|s| s.spec.outbound_traffic_policy.as_ref())
        .unwrap_or(&world.mesh().outbound_traffic_policy)
}

/// Whether unknown destinations are let through.
pub(crate) fn allows_any(policy: &OutboundTrafficPolicy) -> bool {
    policy.mode == OutboundMode::AllowAny
}

/// Services and VirtualServices that a proxy sees.
pub(crate) struct Visible<'a> {
    pub(crate) services: Vec<&'a Arc<MeshService>>,
    /// In the order in which they win a host on the mesh: private, exported to this namespace, public; in each
    /// the oldest first.
    pub(crate) bound: Vec<&'a Arc<Bound>>,
}

impl<'a> Visible<'a> {
    pub(crate) fn to(
        world: &World,
        index: &'a Index,
        node: &ProxyNode,
        sidecar: Option<&Resource<Sidecar>>,
    ) -> Self {
        let viewer = node.namespace.as_str();
        let mesh = world.mesh();
        let mut bound: Vec<&Arc<Bound>> = index
            .bound
            .iter()
            .filter(|b| {
                scope::exported(
                    &b.export_to,
                    &mesh.default_virtual_service_export_to,
                    &b.key.namespace,
                    viewer,
                )
            })
            .collect();
        bound.sort_by_key(|b| {
            scope::drawer(
                &b.export_to,
                &mesh.default_virtual_service_export_to,
                &b.key.namespace,
                viewer,
            )
        });
        let exported = |s: &Arc<MeshService>| {
            scope::exported(
                &s.export_to,
                &mesh.default_service_export_to,
                &s.namespace,
                viewer,
            )
        };
        let mut services: Vec<&Arc<MeshService>> =
            index.registry.services.iter().filter(|s| exported(s)).collect();
        if let Some(egress) = sidecar.map(|s| &s.spec.egress).filter(|e| !e.is_empty()) {
            let imports: Vec<(&str, &str)> = egress
                .iter()
                .flat_map(|e| &e.hosts)
                .filter_map(|h| h.split_once('/'))
                .collect();
            bound.retain(|b| {
                b.hosts
                    .iter()
                    .any(|h| imported(&imports, viewer, &b.key.namespace, h))
            });
            // An imported VirtualService brings its destinations along.
            let mut wanted: Vec<String> = Vec::new();
            let mut want = |host: &str, namespace: &str| {
                let name = mesh_crd::mesh_config::MeshConfig::DOMAIN;
                wanted.push(host::expand(host, namespace, name).to_ascii_lowercase());
            };
            for b in &bound {
                for rule in &b.rules {
                    for d in &rule.route.route {
                        want(&d.destination.host, &rule.namespace);
                    }
                }
                let l4 = b.tls.iter().flat_map(|r| &r.route);
                for d in l4.chain(b.tcp.iter().flat_map(|r| &r.route)) {
                    want(&d.destination.host, &b.key.namespace);
                }
            }
            services
                .retain(|s| imported(&imports, viewer, &s.namespace, &s.host) || wanted.contains(&s.host));
        }
        Self { services, bound }
    }
}

/// Whether `namespace/host` is among `ns/dns` imports; `~ns/dns` excludes.
fn imported(imports: &[(&str, &str)], viewer: &str, namespace: &str, name: &str) -> bool {
    let fits = |ns: &str, pattern: &str| {
        let namespace_fits = match ns {
            "*" => true,
            "." => namespace == viewer,
            "~" => false,
            other => other == namespace,
        };
        namespace_fits && (pattern == "*" || host::covers(pattern, name) || host::covers(name, pattern))
    };
    let excluded = imports.iter().any(|(ns, pattern)| {
        ns.strip_prefix('~')
            .is_some_and(|ns| !ns.is_empty() && fits(ns, pattern))
    });
    !excluded && imports.iter().any(|(ns, pattern)| fits(ns, pattern))
}
