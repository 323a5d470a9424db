//! Kubernetes Services with their EndpointSlices.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_crd::core::{EndpointSlice, PortRef, Service};
use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::{Object, ObjectKey, Resource};

use super::{MeshService, Pods, RegistryEndpoint, ServicePort, Source, TargetPort, objects_of};
use crate::World;
use crate::protocol::Protocol;
use crate::scope;

/// Oldest first.
pub(super) fn services(world: &World, pods: &Pods<'_>) -> Vec<MeshService> {
    let mut slices: BTreeMap<(&str, &str), Vec<&Resource<EndpointSlice>>> = BTreeMap::new();
    for slice in objects_of!(world, EndpointSlice) {
        if let Some(name) = slice.meta.labels.get("kubernetes.io/service-name") {
            slices
                .entry((&slice.meta.namespace, name))
                .or_default()
                .push(slice);
        }
    }
    let mut services: Vec<&Resource<Service>> = objects_of!(world, Service).collect();
    services.sort_by(|a, b| a.meta.age_order().cmp(&b.meta.age_order()));
    services
        .into_iter()
        .map(|service| {
            let key = (service.meta.namespace.as_str(), service.meta.name.as_str());
            mesh_service(service, slices.get(&key).map_or(&[], Vec::as_slice), pods)
        })
        .collect()
}

fn mesh_service(
    service: &Resource<Service>,
    slices: &[&Resource<EndpointSlice>],
    pods: &Pods<'_>,
) -> MeshService {
    let (meta, spec) = (&service.meta, &service.spec);
    let external = spec.service_type == "ExternalName";
    let ports = spec
        .ports
        .iter()
        .map(|port| ServicePort {
            number: port.port,
            name: port.name.clone(),
            protocol: Protocol::of_service_port(port.port, &port.name, &port.app_protocol, &port.protocol),
            target: match &port.target_port {
                None => TargetPort::Number(port.port),
                Some(PortRef::Number(n)) => TargetPort::Number(*n),
                Some(PortRef::Name(name)) => TargetPort::Named(name.clone()),
            },
            endpoints: endpoints(service, &port.name, slices, pods),
        })
        .collect();
    MeshService {
        key: ObjectKey::new("Service", &meta.namespace, &meta.name),
        host: format!("{}.{}.svc.{}", meta.name, meta.namespace, MeshConfig::DOMAIN),
        namespace: meta.namespace.clone(),
        kubernetes: true,
        ports,
        vips: spec.vips(),
        export_to: scope::annotation(meta.annotations.get("networking.istio.io/exportTo")),
        source: if external {
            Source::Dns(vec![(spec.external_name.clone(), BTreeMap::new())])
        } else {
            Source::Known
        },
        internal: !external,
        subject_alt_names: Vec::new(),
        selector: spec.selector.clone(),
    }
}

fn endpoints(
    service: &Resource<Service>,
    port_name: &str,
    slices: &[&Resource<EndpointSlice>],
    pods: &Pods<'_>,
) -> Vec<RegistryEndpoint> {
    let mut found = Vec::new();
    for slice in slices {
        let Some(port) = slice
            .spec
            .ports
            .iter()
            .find(|p| p.name.as_deref().unwrap_or_default() == port_name)
            .and_then(|p| p.port)
        else {
            continue;
        };
        for endpoint in &slice.spec.endpoints {
            let Some(ip) = endpoint.addresses.first().and_then(|a| a.parse::<IpAddr>().ok()) else {
                continue;
            };
            let ready = endpoint.conditions.ready.unwrap_or(true) || service.spec.publish_not_ready_addresses;
            let address = SocketAddr::new(ip, port);
            let pod = endpoint
                .target_ref
                .as_ref()
                .filter(|t| t.kind == "Pod")
                .and_then(|t| pods.named(&slice.meta.namespace, &t.name))
                .or_else(|| pods.at(ip));
            let mut made = match pod {
                Some(pod) => pods.endpoint(pod, address, ready),
                None => RegistryEndpoint {
                    address,
                    ready,
                    weight: 1,
                    locality: String::new(),
                    namespace: slice.meta.namespace.clone(),
                    service_account: String::new(),
                    labels: Arc::default(),
                    tls_mode: false,
                    workload: None,
                },
            };
            if made.locality.is_empty()
                && let Some(zone) = &endpoint.zone
            {
                made.locality = format!("/{zone}");
            }
            found.push(made);
        }
    }
    found.sort();
    found.dedup_by(|a, b| a.address == b.address);
    found
}
