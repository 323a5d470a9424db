//! What the configuration says is in the mesh: workloads, services, and the objects that concern each (pure).

mod concern;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use mesh_crd::core::{PortRef, Service as ServiceSpec};
use mesh_crd::networking::labels_match;
use mesh_crd::networking::service_entry::ServiceEntry;
use mesh_crd::{Meta, Object, ObjectKey};
use mesh_model::workload::Workload;
use mesh_translate::World;

use crate::fold::Name;

pub(crate) use concern::Concerns;

/// Label of an EndpointSlice that names its Service.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Label by which a pod says that it has a sidecar.
const TLS_MODE_LABEL: &str = "security.istio.io/tlsMode";
const CLUSTER: &str = "Kubernetes";

/// A proxy that is connected.
#[derive(Debug, Clone)]
pub(crate) struct Connected {
    pub(crate) id: String,
    pub(crate) workload: String,
    pub(crate) gateway: bool,
}

/// Everything that is in the mesh.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) workloads: BTreeMap<Name, WorkloadFacts>,
    pub(crate) services: Vec<ServiceFacts>,
    /// Workload of every pod.
    pods: BTreeMap<Name, Name>,
}

/// A workload.
#[derive(Debug, Clone)]
pub(crate) struct WorkloadFacts {
    pub(crate) workload: Workload,
    /// Labels of its pods.
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) pods: u32,
    pub(crate) ready: u32,
    /// Node ids of its connected proxies.
    pub(crate) proxies: BTreeSet<String>,
    pub(crate) gateway: bool,
    pub(crate) sidecar: bool,
}

impl WorkloadFacts {
    fn new(workload: Workload, labels: BTreeMap<String, String>) -> Self {
        Self {
            workload,
            labels,
            pods: 0,
            ready: 0,
            proxies: BTreeSet::new(),
            gateway: false,
            sidecar: false,
        }
    }

    /// As the traffic shows it: nothing of it is there now.
    pub(crate) fn seen(workload: &Workload) -> Self {
        Self::new(workload.clone(), BTreeMap::new())
    }

    pub(crate) fn proxy(&self) -> &'static str {
        match (self.gateway, self.sidecar || !self.proxies.is_empty()) {
            (true, _) => "gateway",
            (false, true) => "sidecar",
            (false, false) => "none",
        }
    }
}

/// A service.
#[derive(Debug, Clone, Default)]
pub(crate) struct ServiceFacts {
    /// What defines it.
    pub(crate) key: ObjectKey,
    /// FQDN, or the hosts of a ServiceEntry.
    pub(crate) hosts: Vec<String>,
    pub(crate) ports: Vec<String>,
    pub(crate) endpoints: Vec<EndpointFacts>,
    pub(crate) selector: BTreeMap<String, String>,
}

impl ServiceFacts {
    pub(crate) fn host(&self) -> &str {
        self.hosts.first().map_or("", String::as_str)
    }

    /// Ready addresses.
    pub(crate) fn ready(&self) -> usize {
        let ready = self.endpoints.iter().filter(|e| e.ready);
        ready.map(|e| e.ip.as_str()).collect::<BTreeSet<_>>().len()
    }

    /// Whether traffic to this host is its traffic.
    pub(crate) fn covers(&self, host: &str) -> bool {
        self.hosts.iter().any(|own| mesh_crd::host::covers(own, host))
    }

    /// Whether it selects pods of the workload.
    pub(crate) fn selects(&self, workload: &WorkloadFacts) -> bool {
        self.key.namespace == workload.workload.namespace
            && !self.selector.is_empty()
            && labels_match(&self.selector, &workload.labels)
    }
}

/// One endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EndpointFacts {
    pub(crate) ip: String,
    pub(crate) port: u32,
    pub(crate) ready: bool,
    pub(crate) workload: Option<Name>,
    /// It names a pod that is not there.
    pub(crate) pod_missing: bool,
}

impl Inventory {
    /// Of a world and the proxies connected, by (namespace, pod).
    pub(crate) fn of(world: &World, proxies: &BTreeMap<Name, Connected>) -> Self {
        let mut inventory = Self::default();
        let mut slices: HashMap<Name, Vec<EndpointFacts>> = HashMap::new();
        for (key, object) in world.objects() {
            match object.as_ref() {
                Object::Pod(pod) if !matches!(pod.spec.phase.as_str(), "Succeeded" | "Failed") => {
                    let own = (key.namespace.clone(), key.name.clone());
                    let proxy = proxies.get(&own);
                    let owner = pod.spec.owner.as_ref();
                    let name = proxy.map_or_else(
                        || workload_name(&pod.meta, owner.map(|o| (o.kind.as_str(), o.name.as_str()))),
                        |proxy| proxy.workload.clone(),
                    );
                    inventory.add_pod(own, &name, &pod.meta.labels, pod.spec.ready, proxy);
                }
                Object::WorkloadEntry(entry) => {
                    let own = (key.namespace.clone(), key.name.clone());
                    let labels: BTreeMap<_, _> = entry
                        .meta
                        .labels
                        .iter()
                        .chain(&entry.spec.labels)
                        .map(|(k, v)| (k.clone(), v.clone()))
                        .collect();
                    inventory.add_pod(own.clone(), &key.name, &labels, true, proxies.get(&own));
                }
                _ => {}
            }
        }
        // Slices name pods, so pods come first.
        for (key, object) in world.objects() {
            if let Object::EndpointSlice(slice) = object.as_ref()
                && let Some(service) = slice.meta.labels.get(SERVICE_LABEL)
            {
                let endpoints = slices
                    .entry((key.namespace.clone(), service.clone()))
                    .or_default();
                inventory.endpoints_of(&key.namespace, &slice.spec, endpoints);
            }
        }
        for (key, object) in world.objects() {
            match object.as_ref() {
                Object::Service(service) => {
                    let own = (key.namespace.clone(), key.name.clone());
                    let endpoints = slices.remove(&own).unwrap_or_default();
                    inventory.services.push(kubernetes(key, &service.spec, endpoints));
                }
                Object::ServiceEntry(entry) => {
                    let service = inventory.entry(key, &entry.spec);
                    inventory.services.push(service);
                }
                _ => {}
            }
        }
        inventory.services.sort_by(|a, b| {
            (&a.key.namespace, &a.key.name, &a.key.kind).cmp(&(&b.key.namespace, &b.key.name, &b.key.kind))
        });
        inventory
    }

    fn add_pod(
        &mut self,
        pod: Name,
        name: &str,
        labels: &BTreeMap<String, String>,
        ready: bool,
        proxy: Option<&Connected>,
    ) {
        let own = (pod.0.clone(), name.to_owned());
        let facts = self.workloads.entry(own.clone()).or_insert_with(|| {
            WorkloadFacts::new(
                Workload::from_labels(&own.0, name, CLUSTER, labels),
                labels.clone(),
            )
        });
        facts.pods += 1;
        facts.ready += u32::from(ready);
        facts.sidecar |= labels.contains_key(TLS_MODE_LABEL);
        if let Some(proxy) = proxy {
            facts.gateway |= proxy.gateway;
            facts.proxies.insert(proxy.id.clone());
        }
        self.pods.insert(pod, own);
    }

    fn endpoints_of(
        &self,
        namespace: &str,
        slice: &mesh_crd::core::EndpointSlice,
        into: &mut Vec<EndpointFacts>,
    ) {
        for endpoint in &slice.endpoints {
            let Some(ip) = endpoint.addresses.first() else {
                continue;
            };
            let pod = endpoint.target_ref.as_ref().filter(|t| t.kind == "Pod");
            let workload = pod.and_then(|pod| self.workload_of_pod(namespace, &pod.name));
            let ports: Vec<u16> = slice.ports.iter().filter_map(|p| p.port).collect();
            for port in if ports.is_empty() { vec![0] } else { ports } {
                into.push(EndpointFacts {
                    ip: ip.clone(),
                    port: port.into(),
                    ready: endpoint.conditions.ready.unwrap_or(true),
                    workload: workload.cloned(),
                    pod_missing: pod.is_some() && workload.is_none(),
                });
            }
        }
    }

    fn entry(&self, key: &ObjectKey, spec: &ServiceEntry) -> ServiceFacts {
        let selector = spec
            .workload_selector
            .as_ref()
            .map(|s| s.labels.clone())
            .unwrap_or_default();
        let mut service = ServiceFacts {
            key: key.clone(),
            hosts: spec.hosts.clone(),
            ports: spec
                .ports
                .iter()
                .map(|p| format!("{}:{}/{}", p.name, p.number, p.protocol))
                .collect(),
            endpoints: Vec::new(),
            selector,
        };
        for port in &spec.ports {
            let target = if port.target_port == 0 {
                port.number
            } else {
                port.target_port
            };
            for endpoint in &spec.endpoints {
                service.endpoints.push(EndpointFacts {
                    ip: endpoint.address.clone(),
                    port: endpoint.ports.get(&port.name).copied().unwrap_or(target),
                    ready: true,
                    ..EndpointFacts::default()
                });
            }
        }
        service
    }

    /// The workload of a pod.
    pub(crate) fn workload_of_pod(&self, namespace: &str, pod: &str) -> Option<&Name> {
        self.pods.get(&(namespace.to_owned(), pod.to_owned()))
    }

    /// Services that select the workload.
    pub(crate) fn services_of<'i>(
        &'i self,
        workload: &'i WorkloadFacts,
    ) -> impl Iterator<Item = &'i ServiceFacts> {
        self.services.iter().filter(|s| s.selects(workload))
    }
}

fn kubernetes(key: &ObjectKey, spec: &ServiceSpec, endpoints: Vec<EndpointFacts>) -> ServiceFacts {
    let ports = spec.ports.iter().map(|port| {
        let protocol = match (port.app_protocol.as_str(), port.name.split('-').next()) {
            ("", Some(prefix @ ("http" | "http2" | "grpc" | "https" | "tls" | "tcp" | "mongo" | "udp"))) => {
                prefix
            }
            ("", _) if port.protocol.is_empty() => "TCP",
            ("", _) => &port.protocol,
            (declared, _) => declared,
        };
        let target = match &port.target_port {
            Some(PortRef::Number(number)) if *number != port.port => format!("→{number}"),
            Some(PortRef::Name(name)) => format!("→{name}"),
            _ => String::new(),
        };
        format!("{}:{}{target}/{protocol}", port.name, port.port)
    });
    ServiceFacts {
        key: key.clone(),
        hosts: vec![format!("{}.{}.svc.cluster.local", key.name, key.namespace)],
        ports: ports.collect(),
        endpoints,
        selector: spec.selector.clone(),
    }
}

/// The workload of a pod: what its label says, else what follows from its owner, else the pod's own name.
fn workload_name(meta: &Meta, owner: Option<(&str, &str)>) -> String {
    if let Some(name) = meta.labels.get("sightline.io/workload").filter(|n| !n.is_empty()) {
        return name.clone();
    }
    match owner {
        Some(("ReplicaSet", name)) => {
            let hash = meta.labels.get("pod-template-hash");
            let cut = name
                .rsplit_once('-')
                .filter(|(_, end)| hash.is_some_and(|h| h == end));
            cut.map_or(name, |(name, _)| name).to_owned()
        }
        Some(("Job", name)) => {
            let time = |end: &str| end.len() >= 8 && end.bytes().all(|b| b.is_ascii_digit());
            let cut = name.rsplit_once('-').filter(|(_, end)| time(end));
            cut.map_or(name, |(name, _)| name).to_owned()
        }
        Some((_, name)) => name.to_owned(),
        None => meta.name.clone(),
    }
}

#[cfg(test)]
mod tests;
