//! TCP services as a plain process reaches them: one address for each in the workload's own /24.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mesh_model::address::{WorkloadAddresses, tcp_numbers};

use crate::World;
use crate::protocol::Protocol;
use crate::registry::{MeshService, Registry};
use crate::scope;

/// A TCP service at a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalService {
    /// FQDN, or the host of a ServiceEntry.
    pub host: String,
    /// Namespace of the service.
    pub namespace: String,
    /// Name of the Service, or the first label of a ServiceEntry's host.
    pub name: String,
    /// Where the sidecar listens for it.
    pub address: IpAddr,
    /// Ports that are no declared HTTP; never empty.
    pub ports: Vec<u16>,
}

impl LocalService {
    /// What the environment variables that tell it begin with: `DB` of `DB_HOST` and `DB_PORT`.
    #[must_use]
    pub fn variable(&self) -> String {
        let letter = |c: char| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        };
        self.name.chars().map(letter).collect()
    }
}

/// The TCP services that a plain process in `namespace` can reach, in the order of their hosts. The sidecar's listeners
/// come from the same numbers.
#[must_use]
pub fn local_services(world: &World, workload: WorkloadAddresses, namespace: &str) -> Vec<LocalService> {
    let index = world.index();
    let default = &world.mesh().default_service_export_to;
    index
        .tcp_numbers
        .iter()
        .filter_map(|(host, number)| {
            let service = index.registry.by_host(host)?;
            let visible = scope::exported(&service.export_to, default, &service.namespace, namespace);
            visible.then(|| LocalService {
                host: service.host.clone(),
                namespace: service.namespace.clone(),
                name: if service.kubernetes {
                    service.key.name.clone()
                } else {
                    service.host.split('.').next().unwrap_or_default().to_owned()
                },
                address: workload.tcp(*number),
                ports: ports(service).map(|p| p.number).collect(),
            })
        })
        .collect()
}

/// Numbers of all services that have a port which is no declared HTTP.
pub(crate) fn numbers(registry: &Registry) -> BTreeMap<String, u8> {
    let hosts = registry
        .services
        .iter()
        .filter(|s| !s.host.starts_with('*') && ports(s).next().is_some())
        .map(|s: &Arc<MeshService>| s.host.as_str());
    tcp_numbers(hosts)
        .into_iter()
        .map(|(host, number)| (host.to_owned(), number))
        .collect()
}

/// Ports with a listener of their own.
pub(crate) fn ports(service: &MeshService) -> impl Iterator<Item = &crate::registry::ServicePort> {
    service
        .ports
        .iter()
        .filter(|p| !p.protocol.is_http() && p.protocol != Protocol::Udp)
}
