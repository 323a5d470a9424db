//! The sample: its configuration and its workloads.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use mesh_model::address::port;
use serde_json::json;

use crate::cluster::objects;
use crate::cluster::workload::{Listener, Port, Registered, Role, Workload};
use crate::demo::options::Options;
use crate::failure::{Failure, Tried};
use crate::member;
use crate::member::peers::Peer;
use crate::mesh::host::SYSTEM;
use crate::mesh::programs::{Programs, arguments, text};
use crate::supervisor::{Kind, Spec, Stage};

/// Files of examples/shop, in the order of their application.
const FILES: &[(&str, &str)] = &[
    (
        "services.yaml",
        include_str!("../../../examples/shop/services.yaml"),
    ),
    (
        "destination-rules.yaml",
        include_str!("../../../examples/shop/destination-rules.yaml"),
    ),
    (
        "virtual-services.yaml",
        include_str!("../../../examples/shop/virtual-services.yaml"),
    ),
    (
        "gateway.yaml",
        include_str!("../../../examples/shop/gateway.yaml"),
    ),
];

const HTTP: Port = Port {
    number: 9080,
    protocol: "http",
};

/// Service, version, port of each sample process in the mesh.
const SHOP: &[(&str, &str, Port)] = &[
    ("productpage", "v1", HTTP),
    ("details", "v1", HTTP),
    ("reviews", "v1", HTTP),
    ("reviews", "v2", HTTP),
    ("reviews", "v3", HTTP),
    ("ratings", "v1", HTTP),
];

/// Applies the sample's configuration where it is absent; answers how many objects were created.
pub(crate) async fn apply(client: &Client, gateway: SocketAddr) -> Result<usize, Failure> {
    let mut created = 0;
    for (file, yaml) in FILES {
        created += objects::create_absent(client, file, yaml).await?;
    }
    move_gateway(client, gateway.port()).await?;
    Ok(created)
}

/// The gateway's listener takes its port from the Service's target port, as on a cluster.
async fn move_gateway(client: &Client, port: u16) -> Result<(), Failure> {
    let what = || "cannot set the target port of Service istio-ingressgateway".to_owned();
    let services: Api<Service> = Api::namespaced(client.clone(), SYSTEM);
    let service = services.get("istio-ingressgateway").await.tried(what)?;
    let Some(mut ports) = service.spec.and_then(|spec| spec.ports) else {
        return Ok(());
    };
    let target = k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(i32::from(port));
    let Some(http) = ports.iter_mut().find(|port| port.port == 80) else {
        return Ok(());
    };
    if http.target_port.as_ref() == Some(&target) {
        return Ok(());
    }
    http.target_port = Some(target);
    let patch = json!({ "spec": { "ports": ports } });
    services
        .patch(
            "istio-ingressgateway",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
        .tried(what)?;
    Ok(())
}

/// The gateway and the shop's processes.
pub(crate) fn workloads(gateway: SocketAddr) -> Vec<Workload> {
    let mut workloads = vec![Workload {
        name: "istio-ingressgateway".to_owned(),
        app: "istio-ingressgateway".to_owned(),
        version: String::new(),
        namespace: SYSTEM.to_owned(),
        service_account: "istio-ingressgateway".to_owned(),
        extra_labels: BTreeMap::from([("istio".to_owned(), "ingressgateway".to_owned())]),
        role: Role::Gateway {
            listeners: vec![Listener {
                port: 80,
                address: gateway,
            }],
        },
    }];
    workloads.extend(SHOP.iter().map(|(service, version, port)| Workload {
        name: Workload::name_of(service, version),
        app: (*service).to_owned(),
        version: (*version).to_owned(),
        namespace: "default".to_owned(),
        service_account: (*service).to_owned(),
        extra_labels: BTreeMap::new(),
        role: Role::Sidecar {
            ports: vec![port.clone()],
        },
    }));
    workloads
}

/// A workload's application, if it has one.
pub(crate) fn application(programs: &Programs, entry: &Registered, peers: &[Peer]) -> Option<Spec> {
    let workload = &entry.workload;
    let address = entry.application()?;
    Some(Spec {
        name: workload.name.clone(),
        program: programs.program("sightline-shop"),
        arguments: arguments([
            ("--service", text(&workload.app)),
            ("--version", text(&workload.version)),
        ]),
        environment: member::environment(entry, peers),
        stage: Stage::Workloads,
        kind: Kind::Service,
        address: address.to_string(),
    })
}

/// Where a sample process shows its counters, for people.
pub(crate) fn counters(entry: &Registered) -> String {
    format!(
        "http://{}:{}/metrics",
        entry.addresses.application(),
        port::APPLICATION_COUNTERS
    )
}

/// The load generator.
pub(crate) fn load_generator(programs: &Programs, options: &Options, final_counts: OsString) -> Spec {
    let counters = options.load_generator();
    Spec {
        name: "loadgen".to_owned(),
        program: programs.program("sightline-loadgen"),
        arguments: arguments([
            ("--target", text(format!("http://{}", options.gateway_address))),
            ("--host", text("shop.example.com")),
            ("--path", text("/productpage")),
            ("--rps", text(options.rps)),
            ("--connections", text(32)),
            ("--counters", text(counters)),
            ("--final", final_counts),
        ]),
        environment: Vec::new(),
        stage: Stage::Load,
        kind: Kind::Service,
        address: counters.to_string(),
    }
}
