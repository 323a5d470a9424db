//! What the world writes into the API, and what it tells each proxy at its start.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context;
use serde_json::{Map, Value, json};

use crate::observed::cluster::Cluster;
use crate::observed::fixture::{Fixture, Proxy, ROOT_NAMESPACE, Workload, name_of};
use crate::observed::world::Plan;

/// Service account of a workload: the recording used the default one, the gateway its own.
pub(super) fn account(workload: &Workload) -> &str {
    match workload.proxy {
        Proxy::Gateway => "istio-ingressgateway-service-account",
        Proxy::Sidecar | Proxy::None => "default",
    }
}

/// Writes namespaces, mesh configuration, services and running pods.
pub(super) async fn write(cluster: &Cluster, fixture: &Fixture) -> anyhow::Result<()> {
    for namespace in &fixture.namespaces {
        cluster.must_create(namespace).await?;
    }
    cluster.must_create(&mesh_config()).await?;
    let mut accounts: BTreeSet<(&str, &str)> = fixture
        .workloads
        .iter()
        .map(|workload| (workload.namespace.as_str(), account(workload)))
        .collect();
    accounts.insert((ROOT_NAMESPACE, "observer"));
    for (namespace, name) in accounts {
        // A namespace may already have its default account.
        let object = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}});
        cluster.create(&object).await?;
    }
    for workload in &fixture.workloads {
        let pod = cluster.must_create(&pod(workload)).await?;
        if pod["status"]["podIP"] != json!(workload.pod_ip().to_string()) {
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}/status",
                workload.namespace,
                workload.pod()
            );
            cluster
                .patch_path(&path, &json!({"status": status(workload)}))
                .await
                .context("pod status")?;
        }
    }
    for service in &fixture.services {
        cluster.must_create(service).await?;
        cluster.must_create(&endpoints(fixture, service)).await?;
    }
    for object in &fixture.others {
        cluster.must_create(object).await?;
    }
    Ok(())
}

/// The recorded mesh wrote its access log as JSON and had no tracing provider.
fn mesh_config() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "istio", "namespace": ROOT_NAMESPACE},
        "data": {"mesh": "accessLogFile: /dev/stdout\naccessLogEncoding: JSON\nenableTracing: false\n"},
    })
}

fn pod(workload: &Workload) -> Value {
    let mut labels = workload.labels.clone();
    labels.insert("sightline.io/workload".to_owned(), workload.name.clone());
    if workload.proxy != Proxy::None {
        labels.insert("security.istio.io/tlsMode".to_owned(), "istio".to_owned());
    }
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": workload.pod(), "namespace": workload.namespace, "labels": labels},
        "spec": {
            "serviceAccountName": account(workload), "nodeName": "local",
            "containers": [{"name": "app", "image": "rtecho"}],
        },
        "status": status(workload),
    })
}

fn status(workload: &Workload) -> Value {
    let ip = workload.pod_ip().to_string();
    let mut ips = vec![json!({"ip": ip})];
    if let Some(number) = workload.pod_number() {
        ips.push(json!({"ip": format!("fd00:244::{number:x}")}));
    }
    json!({
        "phase": "Running", "podIP": ip, "podIPs": ips,
        "conditions": [{"type": "Ready", "status": "True"}],
    })
}

/// What kube-controller-manager would write.
fn endpoints(fixture: &Fixture, service: &Value) -> Value {
    let (namespace, name) = name_of(service);
    let endpoints: Vec<Value> = fixture
        .selected(service)
        .into_iter()
        .map(|workload| {
            json!({
                "addresses": [workload.pod_ip().to_string()],
                "conditions": {"ready": true, "serving": true, "terminating": false},
                "nodeName": "local",
                "targetRef": {"kind": "Pod", "namespace": namespace, "name": workload.pod()},
            })
        })
        .collect();
    let ports: Vec<Value> = service["spec"]["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|port| json!({"name": port["name"], "port": port["targetPort"], "protocol": "TCP"}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {
            "name": format!("{name}-0"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": name},
        },
        "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
    })
}

/// The bootstrap of a workload's proxy.
pub(super) fn bootstrap(plan: &Plan, workload: &Workload, discovery: SocketAddr, root: &Path) -> Value {
    let kind = if workload.proxy == Proxy::Gateway {
        "router"
    } else {
        "sidecar"
    };
    let (ip, pod, namespace) = (workload.pod_ip(), workload.pod(), &workload.namespace);
    let mut metadata = Map::new();
    let mut add = |name: &str, value: Value| metadata.insert(name.to_owned(), value);
    add("NAME", json!(pod));
    add("NAMESPACE", json!(namespace));
    add("WORKLOAD_NAME", json!(workload.name));
    add("SERVICE_ACCOUNT", json!(account(workload)));
    add("LABELS", json!(workload.labels));
    add("CLUSTER_ID", json!("Kubernetes"));
    add("MESH_ID", json!("cluster.local"));
    let addresses = match workload.pod_number() {
        Some(number) => format!("{ip},fd00:244::{number:x}"),
        None => ip.to_string(),
    };
    add("INSTANCE_IPS", json!(addresses));
    add("INTERCEPTION_MODE", json!(workload.interception()));
    if plan.dns.is_some() {
        add("DNS_CAPTURE", json!("true"));
    }
    if workload.proxy == Proxy::Gateway {
        add("SIGHTLINE_GATEWAY_BIND", json!(ip.to_string()));
    } else if let Some(outbound) = workload.outbound() {
        let application = workload.application().to_string();
        add("SIGHTLINE_APPLICATION_ADDRESS", json!(application));
        add("SIGHTLINE_OUTBOUND", json!(outbound.to_string()));
    }
    json!({
        "node": {
            "id": format!("{kind}~{ip}~{pod}.{namespace}~{namespace}.svc.cluster.local"),
            "cluster": format!("{}.{namespace}", workload.label("app")),
            "metadata": metadata,
        },
        "admin": {"address": socket(SocketAddr::new(ip, mesh_model::address::port::ADMIN))},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC", "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "xds-grpc"}}],
            },
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {"clusters": [discovery_cluster(discovery, root)]},
    })
}

fn discovery_cluster(address: SocketAddr, root: &Path) -> Value {
    json!({
        "name": "xds-grpc", "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": socket(address)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": "istiod.istio-system.svc",
                "common_tls_context": {
                    "validation_context": {"trusted_ca": {"filename": root.display().to_string()}},
                },
            },
        },
    })
}

pub(super) fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
