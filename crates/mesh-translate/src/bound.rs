//! VirtualServices as they act: hosts and gateways resolved, delegates merged in.

mod delegate;

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_crd::host;
use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::networking::VirtualService;
use mesh_crd::networking::virtual_service::{HttpRoute, TcpRoute, TlsRoute};
use mesh_crd::{Object, ObjectKey, Resource};

use crate::World;
use crate::index::by_age;
use crate::problem::Findings;

/// The gateway name of all sidecars.
pub(crate) const MESH: &str = "mesh";

/// A VirtualService that has hosts.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) key: ObjectKey,
    pub(crate) revision: String,
    /// Expanded, lower case.
    pub(crate) hosts: Vec<String>,
    /// `mesh` or `namespace/name`.
    pub(crate) gateways: Vec<String>,
    pub(crate) export_to: Vec<String>,
    pub(crate) rules: Vec<BoundRule>,
    pub(crate) tls: Vec<TlsRoute>,
    pub(crate) tcp: Vec<TcpRoute>,
}

/// One HTTP rule, after delegation.
#[derive(Debug, Clone)]
pub(crate) struct BoundRule {
    pub(crate) route: HttpRoute,
    /// Where short destination names belong.
    pub(crate) namespace: String,
    /// Object and field that made it, for problems.
    pub(crate) key: ObjectKey,
    pub(crate) field: String,
}

impl Bound {
    pub(crate) fn is_on(&self, gateway: &str) -> bool {
        self.gateways.iter().any(|g| g == gateway)
    }
}

/// Every VirtualService with hosts, oldest first.
pub(crate) fn build(world: &World, findings: &mut Findings) -> Vec<Arc<Bound>> {
    let objects = by_age(world, "VirtualService");
    let all: Vec<&Resource<VirtualService>> = objects
        .iter()
        .filter_map(|o| match o.as_ref() {
            Object::VirtualService(r) => Some(r),
            _ => None,
        })
        .collect();
    let delegates: BTreeMap<(&str, &str), &Resource<VirtualService>> = all
        .iter()
        .map(|r| ((r.meta.namespace.as_str(), r.meta.name.as_str()), *r))
        .collect();
    all.iter()
        .filter(|r| !r.spec.hosts.is_empty())
        .map(|r| Arc::new(bind(world, r, &delegates, findings)))
        .collect()
}

fn bind(
    world: &World,
    r: &Resource<VirtualService>,
    delegates: &BTreeMap<(&str, &str), &Resource<VirtualService>>,
    findings: &mut Findings,
) -> Bound {
    let namespace = r.meta.namespace.as_str();
    let key = ObjectKey::new("VirtualService", namespace, &r.meta.name);
    let mut rules = Vec::new();
    for (i, route) in r.spec.http.iter().enumerate() {
        let rule = BoundRule {
            route: route.clone(),
            namespace: namespace.to_owned(),
            key: key.clone(),
            field: format!("spec.http[{i}]"),
        };
        match &route.delegate {
            None => rules.push(rule),
            Some(_) => rules.extend(delegate::merge(world, &rule, delegates, findings)),
        }
    }
    Bound {
        revision: r.meta.revision.clone(),
        hosts: r
            .spec
            .hosts
            .iter()
            .map(|h| host::expand(h, namespace, MeshConfig::DOMAIN).to_ascii_lowercase())
            .collect(),
        gateways: gateways(&r.spec.gateways, namespace),
        export_to: r.spec.export_to.clone(),
        rules,
        tls: r.spec.tls.clone(),
        tcp: r.spec.tcp.clone(),
        key,
    }
}

/// Resolved names; none given means the mesh.
pub(crate) fn gateways(names: &[String], namespace: &str) -> Vec<String> {
    if names.is_empty() {
        return vec![MESH.to_owned()];
    }
    names.iter().map(|n| gateway(n, namespace)).collect()
}

/// `namespace/name` of a gateway reference: `name`, `namespace/name`, or the old
/// `name.namespace.svc.cluster.local`.
pub(crate) fn gateway(name: &str, namespace: &str) -> String {
    if name == MESH || name.contains('/') {
        return name.to_owned();
    }
    let mut parts = name.split('.');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(name), Some(ns), Some("svc")) => format!("{ns}/{name}"),
        _ => format!("{namespace}/{name}"),
    }
}
