//! ServiceEntries with their endpoints, WorkloadEntries and selected pods.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_crd::networking::service_entry::{Location, Resolution, ServicePort as EntryPort};
use mesh_crd::networking::{ServiceEntry, WorkloadEntry, labels_match};
use mesh_crd::{Meta, Object, ObjectKey, Resource};
use mesh_model::workload::Workload;

use super::{
    MeshService, Pods, RegistryEndpoint, ServicePort, Source, TargetPort, is_mesh_tls, objects_of,
    workload_name,
};
use crate::World;
use crate::protocol::Protocol;

/// One service a host, oldest entry first.
pub(super) fn services(world: &World, pods: &Pods<'_>) -> Vec<MeshService> {
    let mut entries: Vec<&Resource<ServiceEntry>> = objects_of!(world, ServiceEntry).collect();
    entries.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
    let workloads: Vec<&Resource<WorkloadEntry>> = objects_of!(world, WorkloadEntry).collect();
    entries
        .into_iter()
        .flat_map(|entry| {
            let ports: Vec<ServicePort> = entry
                .spec
                .ports
                .iter()
                .filter_map(|port| service_port(entry, port, &workloads, pods))
                .collect();
            entry
                .spec
                .hosts
                .iter()
                .map(|host| mesh_service(entry, host, ports.clone()))
                .collect::<Vec<_>>()
        })
        .collect()
}

fn mesh_service(entry: &Resource<ServiceEntry>, host: &str, ports: Vec<ServicePort>) -> MeshService {
    let names = || {
        let explicit: Vec<_> = entry
            .spec
            .endpoints
            .iter()
            .map(|e| (e.address.clone(), e.ports.clone()))
            .collect();
        match explicit.is_empty() {
            true => vec![(host.to_owned(), BTreeMap::new())],
            false => explicit,
        }
    };
    MeshService {
        key: ObjectKey::new("ServiceEntry", &entry.meta.namespace, &entry.meta.name),
        host: host.to_ascii_lowercase(),
        namespace: entry.meta.namespace.clone(),
        kubernetes: false,
        ports,
        vips: entry
            .spec
            .addresses
            .iter()
            .filter_map(|a| a.parse().ok())
            .collect(),
        export_to: entry.spec.export_to.clone(),
        source: match entry.spec.resolution {
            Resolution::Static => Source::Known,
            Resolution::Dns => Source::Dns(names()),
            Resolution::DnsRoundRobin => Source::DnsOnce(names()),
            Resolution::None | Resolution::DynamicDns => Source::Original,
        },
        internal: entry.spec.location == Location::MeshInternal,
        subject_alt_names: entry.spec.subject_alt_names.clone(),
        selector: BTreeMap::new(),
    }
}

fn service_port(
    entry: &Resource<ServiceEntry>,
    port: &EntryPort,
    workloads: &[&Resource<WorkloadEntry>],
    pods: &Pods<'_>,
) -> Option<ServicePort> {
    let number = u16::try_from(port.number).ok()?;
    let target = match u16::try_from(port.target_port).ok()? {
        0 => number,
        target => target,
    };
    let mut endpoints: Vec<RegistryEndpoint> = entry
        .spec
        .endpoints
        .iter()
        .filter_map(|e| inline(&entry.meta, e, &port.name, target, pods))
        .collect();
    if let Some(selector) = &entry.spec.workload_selector {
        let namespace = entry.meta.namespace.as_str();
        endpoints.extend(
            workloads
                .iter()
                .filter(|w| w.meta.namespace == namespace && labels_match(&selector.labels, &w.spec.labels))
                .filter_map(|w| inline(&w.meta, &w.spec, &port.name, target, pods)),
        );
        endpoints.extend(pods.selected(namespace, &selector.labels).filter_map(|pod| {
            let address = SocketAddr::new(pod.spec.ip?, target);
            Some(pods.endpoint(pod, address, pod.spec.ready))
        }));
    }
    endpoints.sort();
    endpoints.dedup_by(|a, b| a.address == b.address);
    Some(ServicePort {
        number,
        name: port.name.clone(),
        protocol: match port.protocol.as_str() {
            "" => Protocol::of_service_port(number, &port.name, "", "TCP"),
            name => Protocol::by_name(name).unwrap_or(Protocol::Auto),
        },
        target: TargetPort::Number(target),
        endpoints,
    })
}

fn inline(
    meta: &Meta,
    entry: &WorkloadEntry,
    port_name: &str,
    target: u16,
    pods: &Pods<'_>,
) -> Option<RegistryEndpoint> {
    let ip: IpAddr = entry.address.parse().ok()?;
    let port = match entry.ports.get(port_name) {
        Some(port) => u16::try_from(*port).ok()?,
        None => target,
    };
    // A WorkloadEntry is a workload of its own; inline endpoints are named by their labels.
    let name = match entry.labels.get("sightline.io/workload") {
        Some(name) => name.clone(),
        None => workload_name(meta, None),
    };
    Some(RegistryEndpoint {
        address: SocketAddr::new(ip, port),
        ready: true,
        weight: entry.weight.max(1),
        locality: entry.locality.clone(),
        namespace: meta.namespace.clone(),
        service_account: entry.service_account.clone(),
        labels: Arc::new(entry.labels.clone()),
        tls_mode: is_mesh_tls(&entry.labels),
        workload: (!entry.labels.is_empty())
            .then(|| Workload::from_labels(&meta.namespace, &name, pods.cluster_id, &entry.labels)),
    })
}
