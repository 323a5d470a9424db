//! The sample: its configuration and its workloads.

use std::net::SocketAddr;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;

use crate::cluster::objects;
use crate::cluster::workload::{Role, Workload};
use crate::failure::{Failure, Tried};

/// Port of every service of the shop.
const PORT: u16 = 9080;

/// Namespace of the mesh's own parts.
pub(crate) const SYSTEM: &str = "istio-system";

/// Service account of the console.
pub(crate) const CONSOLE_ACCOUNT: &str = "sightline-console";

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
    (
        "console.yaml",
        include_str!("../../../examples/shop/console.yaml"),
    ),
];

/// Service, version of each sample process.
const SHOP: &[(&str, &str)] = &[
    ("productpage", "v1"),
    ("details", "v1"),
    ("reviews", "v1"),
    ("reviews", "v2"),
    ("reviews", "v3"),
    ("ratings", "v1"),
];

/// Applies the sample's configuration where it is absent; answers how many objects were created.
pub(crate) async fn apply(client: &Client, gateway: SocketAddr) -> Result<usize, Failure> {
    for namespace in ["default", SYSTEM] {
        objects::namespace(client, namespace).await?;
    }
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
        role: Role::Gateway { bind: gateway },
    }];
    workloads.extend(SHOP.iter().map(|(service, version)| Workload {
        name: format!("{service}-{version}"),
        app: (*service).to_owned(),
        version: (*version).to_owned(),
        namespace: "default".to_owned(),
        service_account: (*service).to_owned(),
        role: Role::Sidecar { port: PORT },
    }));
    workloads
}
