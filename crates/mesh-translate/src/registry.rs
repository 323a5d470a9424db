//! Services with their endpoints, from Kubernetes Services and ServiceEntries: one registry, by host.

mod entries;
mod kubernetes;
mod workload_name;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_crd::core::Pod;
use mesh_crd::networking::labels_match;
use mesh_crd::{Object, ObjectKey, Resource};
use mesh_model::workload::{ServiceName, Workload};

use crate::World;
use crate::protocol::Protocol;

pub(crate) use workload_name::workload_name;

/// Label by which a workload says that its sidecar takes mesh TLS.
pub(crate) const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";

/// A destination service.
#[derive(Debug, Clone)]
pub(crate) struct MeshService {
    /// What defines it.
    pub(crate) key: ObjectKey,
    /// FQDN (or a wildcard, for ServiceEntries).
    pub(crate) host: String,
    pub(crate) namespace: String,
    /// Short names exist (`web`, `web.app`, `web.app.svc`).
    pub(crate) kubernetes: bool,
    pub(crate) ports: Vec<ServicePort>,
    pub(crate) vips: Vec<IpAddr>,
    pub(crate) export_to: Vec<String>,
    pub(crate) source: Source,
    /// Part of the mesh: automatic mutual TLS may apply.
    pub(crate) internal: bool,
    /// Names that a ServiceEntry accepts on TLS.
    pub(crate) subject_alt_names: Vec<String>,
    /// Selector, for telling whose inbound it is.
    pub(crate) selector: BTreeMap<String, String>,
}

/// Where endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// Known addresses.
    Known,
    /// Host names, all records.
    Dns(Vec<(String, BTreeMap<String, u32>)>),
    /// One host name, one record.
    DnsOnce(Vec<(String, BTreeMap<String, u32>)>),
    /// The request's own destination.
    Original,
}

/// One port of a service.
#[derive(Debug, Clone)]
pub(crate) struct ServicePort {
    pub(crate) number: u16,
    pub(crate) name: String,
    pub(crate) protocol: Protocol,
    /// Where it goes at the workload.
    pub(crate) target: TargetPort,
    pub(crate) endpoints: Vec<RegistryEndpoint>,
}

/// A workload port, by number or by the name of a container port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TargetPort {
    Number(u16),
    Named(String),
}

/// One endpoint of one port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RegistryEndpoint {
    pub(crate) address: SocketAddr,
    pub(crate) ready: bool,
    pub(crate) weight: u32,
    pub(crate) locality: String,
    pub(crate) namespace: String,
    pub(crate) service_account: String,
    pub(crate) labels: Arc<BTreeMap<String, String>>,
    /// The label says so; the server's PeerAuthentication is asked later.
    pub(crate) tls_mode: bool,
    pub(crate) workload: Option<Workload>,
}

impl MeshService {
    /// For telemetry.
    pub(crate) fn service_name(&self) -> ServiceName {
        ServiceName {
            host: self.host.clone(),
            name: if self.kubernetes {
                self.key.name.clone()
            } else {
                self.host.clone()
            },
            namespace: self.namespace.clone(),
        }
    }

    pub(crate) fn port(&self, number: u16) -> Option<&ServicePort> {
        self.ports.iter().find(|p| p.number == number)
    }

    /// SPIFFE ids of everything that may answer for it.
    pub(crate) fn identities(&self, trust_domain: &str) -> Vec<String> {
        let ids: BTreeSet<String> = self
            .ports
            .iter()
            .flat_map(|p| &p.endpoints)
            .filter(|e| !e.service_account.is_empty())
            .map(|e| {
                format!(
                    "spiffe://{trust_domain}/ns/{}/sa/{}",
                    e.namespace, e.service_account
                )
            })
            .chain(self.subject_alt_names.iter().cloned())
            .collect();
        ids.into_iter().collect()
    }
}

/// Every service, and where pods are.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    /// Oldest definition of a host first; one service a host.
    pub(crate) services: Vec<Arc<MeshService>>,
    by_host: BTreeMap<String, usize>,
}

impl Registry {
    pub(crate) fn build(world: &World) -> Self {
        let pods = Pods::build(world);
        let mut registry = Self::default();
        for service in kubernetes::services(world, &pods) {
            registry.add(service);
        }
        for service in entries::services(world, &pods) {
            registry.add(service);
        }
        registry
    }

    /// The first definition of a host wins; endpoints of later ones in the same namespace join.
    fn add(&mut self, service: MeshService) {
        if let Some(at) = self.by_host.get(&service.host) {
            if let Some(first) = self.services.get_mut(*at)
                && first.namespace == service.namespace
            {
                let first = Arc::make_mut(first);
                for port in &mut first.ports {
                    let more = service.port(port.number).into_iter().flat_map(|p| &p.endpoints);
                    port.endpoints.extend(more.cloned());
                    port.endpoints.sort();
                    port.endpoints.dedup_by(|a, b| a.address == b.address);
                }
            }
            return;
        }
        self.by_host.insert(service.host.clone(), self.services.len());
        self.services.push(Arc::new(service));
    }

    pub(crate) fn by_host(&self, host: &str) -> Option<&Arc<MeshService>> {
        let lower;
        let host = if host.bytes().any(|b| b.is_ascii_uppercase()) {
            lower = host.to_ascii_lowercase();
            &lower
        } else {
            host
        };
        self.services.get(*self.by_host.get(host)?)
    }

    /// The service of `host`, or the wildcard ServiceEntry that covers it.
    pub(crate) fn covering(&self, host: &str) -> Option<&Arc<MeshService>> {
        self.by_host(host).or_else(|| {
            self.services
                .iter()
                .filter(|s| s.host.starts_with('*') && mesh_crd::host::covers(&s.host, host))
                .min_by_key(|s| mesh_crd::host::specificity(&s.host).1)
        })
    }
}

/// Pods by address and by name.
pub(crate) struct Pods<'a> {
    by_ip: BTreeMap<IpAddr, &'a Resource<Pod>>,
    by_name: BTreeMap<(&'a str, &'a str), &'a Resource<Pod>>,
    cluster_id: &'a str,
}

impl<'a> Pods<'a> {
    fn build(world: &'a World) -> Self {
        let mut pods = Self {
            by_ip: BTreeMap::new(),
            by_name: BTreeMap::new(),
            cluster_id: world.cluster_id(),
        };
        for pod in world.pods() {
            pods.by_name.insert((&pod.meta.namespace, &pod.meta.name), pod);
            if let Some(ip) = pod.spec.ip
                && !matches!(pod.spec.phase.as_str(), "Succeeded" | "Failed")
            {
                pods.by_ip.insert(ip, pod);
            }
        }
        pods
    }

    fn at(&self, ip: IpAddr) -> Option<&'a Resource<Pod>> {
        self.by_ip.get(&ip).copied()
    }

    fn named(&self, namespace: &str, name: &str) -> Option<&'a Resource<Pod>> {
        self.by_name.get(&(namespace, name)).copied()
    }

    fn selected<'s>(
        &'s self,
        namespace: &'s str,
        labels: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'a Resource<Pod>> + use<'s, 'a> {
        self.by_ip
            .values()
            .copied()
            .filter(move |p| p.meta.namespace == namespace && labels_match(labels, &p.meta.labels))
    }

    fn endpoint(&self, pod: &Resource<Pod>, address: SocketAddr, ready: bool) -> RegistryEndpoint {
        RegistryEndpoint {
            address,
            ready,
            weight: 1,
            locality: pod
                .meta
                .labels
                .get("istio-locality")
                .map(|l| l.replace('.', "/"))
                .unwrap_or_default(),
            namespace: pod.meta.namespace.clone(),
            service_account: pod.spec.service_account.clone(),
            tls_mode: is_mesh_tls(&pod.meta.labels),
            workload: Some(Workload::from_labels(
                &pod.meta.namespace,
                &workload_name(&pod.meta, pod.spec.owner.as_ref()),
                self.cluster_id,
                &pod.meta.labels,
            )),
            labels: Arc::new(pod.meta.labels.clone()),
        }
    }
}

pub(crate) fn is_mesh_tls(labels: &BTreeMap<String, String>) -> bool {
    labels.get(TLS_MODE_LABEL).is_some_and(|v| v == "istio")
}

/// The object behind a key, when it is of that variant.
macro_rules! objects_of {
    ($world:expr, $variant:ident) => {
        $world.objects().filter_map(|(_, object)| match object.as_ref() {
            Object::$variant(resource) => Some(resource),
            _ => None,
        })
    };
}
pub(crate) use objects_of;

impl World {
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Resource<Pod>> {
        objects_of!(self, Pod)
    }
}
