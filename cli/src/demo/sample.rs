//! The sample: its configuration and its workloads.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_model::address::port;
use mesh_translate::World;
use serde_json::json;

use crate::cluster::objects;
use crate::cluster::workload::{Listener, Port, Registered, Role, Workload};
use crate::demo::options::Options;
use crate::failure::{Failure, Tried};
use crate::member;
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
        "external.yaml",
        include_str!("../../../examples/shop/external.yaml"),
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
    (
        "inventory",
        "v1",
        Port {
            number: 9091,
            protocol: "grpc",
        },
    ),
    (
        "journal",
        "v1",
        Port {
            number: 9090,
            protocol: "tcp",
        },
    ),
];

/// Host of the publisher, who is outside the mesh, and its ServiceEntry.
const PUBLISHER: &str = "books.example.org";
const PUBLISHER_ENTRY: &str = "books";

/// The inventory, as the page calls it.
const INVENTORY: &str = "inventory:9091";

/// Requests a second of the auditor.
const AUDITS: u32 = 1;

/// Applies the sample's configuration where it is absent; answers how many objects were created.
pub(crate) async fn apply(client: &Client, options: &Options) -> Result<usize, Failure> {
    let mut created = 0;
    for (file, yaml) in FILES {
        created += objects::create_absent(client, file, yaml).await?;
    }
    move_gateway(client, options.gateway_address.port()).await?;
    move_publisher(client, options.publisher()).await?;
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

/// The publisher's address follows the demo's block.
async fn move_publisher(client: &Client, publisher: SocketAddr) -> Result<(), Failure> {
    let what = || format!("cannot set the address of ServiceEntry {PUBLISHER_ENTRY}");
    let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "ServiceEntry");
    let entries: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), "default", &ApiResource::from_gvk(&kind));
    let Some(entry) = entries.get_opt(PUBLISHER_ENTRY).await.tried(what)? else {
        return Ok(());
    };
    let ip = publisher.ip().to_string();
    let [endpoint] = entry.data["spec"]["endpoints"]
        .as_array()
        .map_or(&[][..], Vec::as_slice)
    else {
        // Somebody edited it.
        return Ok(());
    };
    let ours = endpoint["address"]
        .as_str()
        .is_some_and(|address| address.ends_with(".251.1"));
    if !ours || endpoint["address"] == ip.as_str() {
        return Ok(());
    }
    let mut endpoint = endpoint.clone();
    endpoint["address"] = json!(ip);
    let patch = json!({ "spec": { "endpoints": [endpoint] } });
    entries
        .patch(PUBLISHER_ENTRY, &PatchParams::default(), &Patch::Merge(patch))
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
        annotations: BTreeMap::new(),
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
        annotations: BTreeMap::new(),
        role: Role::Sidecar {
            ports: vec![port.clone()],
        },
    }));
    workloads
}

/// A workload's application, if it has one.
pub(crate) fn application(programs: &Programs, entry: &Registered, world: &World) -> Option<Spec> {
    let workload = &entry.workload;
    let address = entry.application()?;
    let mut environment = member::environment(entry, world);
    match workload.app.as_str() {
        "productpage" => environment.push(("INVENTORY".to_owned(), INVENTORY.to_owned())),
        "details" => environment.push(("PUBLISHER".to_owned(), PUBLISHER.to_owned())),
        _ => {}
    }
    Some(Spec {
        name: workload.name.clone(),
        program: programs.program("sightline-shop"),
        arguments: arguments([
            ("--service", text(&workload.app)),
            ("--version", text(&workload.version)),
        ]),
        environment,
        stage: Stage::Workloads,
        kind: Kind::Service,
        address: address.to_string(),
    })
}

/// The publisher: a process outside the mesh that is called from inside.
pub(crate) fn publisher(programs: &Programs, options: &Options) -> Spec {
    let address = options.publisher();
    Spec {
        name: "publisher".to_owned(),
        program: programs.program("sightline-shop"),
        arguments: arguments([("--service", text("publisher"))]),
        environment: vec![
            ("HOST".to_owned(), address.ip().to_string()),
            ("PORT".to_owned(), address.port().to_string()),
        ],
        stage: Stage::Workloads,
        kind: Kind::Service,
        address: address.to_string(),
    }
}

/// The auditor: a process outside the mesh, without an identity, that calls a sidecar in plaintext.
pub(crate) fn auditor(programs: &Programs, options: &Options, details: &Registered) -> Spec {
    let counters = options.auditor();
    let target = SocketAddr::new(details.addresses.inbound(), HTTP.number);
    Spec {
        name: "auditor".to_owned(),
        program: programs.program("sightline-loadgen"),
        arguments: arguments([
            ("--target", text(format!("http://{target}"))),
            ("--host", text("details:9080")),
            ("--path", text("/details/0")),
            ("--rps", text(AUDITS)),
            ("--connections", text(1)),
            ("--counters", text(counters)),
        ]),
        environment: Vec::new(),
        stage: Stage::Load,
        kind: Kind::Service,
        address: counters.to_string(),
    }
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
