//! The bootstrap file of a mesh proxy: who it is, and where its configuration comes from.

use std::net::SocketAddr;
use std::path::Path;

use mesh_model::address::port;
use serde_json::{Value, json};

use crate::cluster::workload::{Registered, Role};

/// Name by which the control plane's certificate is checked.
const CONTROL_PLANE_NAME: &str = "istiod.istio-system.svc";

/// The file's content; JSON is YAML, and this one is meant for a program.
pub(crate) fn bootstrap(entry: &Registered, discovery: SocketAddr, roots: &Path) -> Value {
    let ads = json!({ "ads": {}, "resource_api_version": "V3" });
    json!({
        "node": {
            "id": entry.node_id(),
            "cluster": format!("{}.{}", entry.workload.app, entry.workload.namespace),
            "metadata": metadata(entry),
        },
        "admin": { "address": socket(SocketAddr::new(entry.addresses.inbound(), port::ADMIN)) },
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{ "envoy_grpc": { "cluster_name": "xds-grpc" } }],
            },
            "cds_config": ads,
            "lds_config": ads,
        },
        "static_resources": { "clusters": [discovery_cluster(discovery, roots)] },
    })
}

fn metadata(entry: &Registered) -> Value {
    let workload = &entry.workload;
    let mut metadata = json!({
        "NAME": entry.pod,
        "NAMESPACE": workload.namespace,
        "WORKLOAD_NAME": workload.name,
        "SERVICE_ACCOUNT": workload.service_account,
        "LABELS": workload.labels(),
        "CLUSTER_ID": "Kubernetes",
        "MESH_ID": "cluster.local",
        "INSTANCE_IPS": entry.addresses.inbound().to_string(),
        "INTERCEPTION_MODE": "NONE",
        "ANNOTATIONS": workload.annotations,
    });
    match &workload.role {
        Role::Sidecar { .. } => {
            metadata["SIGHTLINE_APPLICATION_ADDRESS"] = json!(entry.addresses.application().to_string());
            metadata["SIGHTLINE_OUTBOUND"] = json!(entry.addresses.outbound().to_string());
        }
        Role::Gateway { listeners } => {
            let bind = listeners
                .first()
                .map(|listener| listener.address.ip().to_string());
            metadata["SIGHTLINE_GATEWAY_BIND"] = json!(bind);
        }
    }
    metadata
}

fn discovery_cluster(discovery: SocketAddr, roots: &Path) -> Value {
    json!({
        "name": "xds-grpc",
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": "xds-grpc",
            "endpoints": [{ "lb_endpoints": [{ "endpoint": { "address": socket(discovery) } }] }],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": { "http2_protocol_options": {} },
            },
        },
        "transport_socket": {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": CONTROL_PLANE_NAME,
                "common_tls_context": {
                    "alpn_protocols": ["h2"],
                    "validation_context": {
                        "trusted_ca": { "filename": roots },
                        "match_typed_subject_alt_names": [
                            { "san_type": "DNS", "matcher": { "exact": CONTROL_PLANE_NAME } },
                        ],
                    },
                },
            },
        },
    })
}

fn socket(address: SocketAddr) -> Value {
    json!({ "socket_address": { "address": address.ip().to_string(), "port_value": address.port() } })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::cluster::workload::Workload;
    use mesh_model::address::AddressBase;

    fn entry(role: Role) -> Registered {
        Registered {
            workload: Workload {
                name: "reviews-v2".to_owned(),
                app: "reviews".to_owned(),
                version: "v2".to_owned(),
                namespace: "default".to_owned(),
                service_account: "reviews".to_owned(),
                extra_labels: std::collections::BTreeMap::new(),
                annotations: [("prometheus.io/scrape".to_owned(), "true".to_owned())].into(),
                role,
            },
            pod: "reviews-v2-abcde".to_owned(),
            number: 4,
            addresses: AddressBase::DEFAULT.workload(4),
        }
    }

    #[test]
    fn a_sidecar_knows_its_application_and_its_outbound_port() {
        let discovery = "127.0.0.1:15012".parse().unwrap();
        let value = bootstrap(
            &entry(Role::Sidecar {
                ports: vec!["9080".parse().unwrap()],
            }),
            discovery,
            Path::new("/root.pem"),
        );
        let node = &value["node"];
        assert_eq!(
            node["id"],
            "sidecar~127.64.4.2~reviews-v2-abcde.default~default.svc.cluster.local"
        );
        assert_eq!(node["cluster"], "reviews.default");
        assert_eq!(
            node["metadata"]["LABELS"]["service.istio.io/canonical-revision"],
            "v2"
        );
        assert_eq!(node["metadata"]["SIGHTLINE_APPLICATION_ADDRESS"], "127.64.4.1");
        assert_eq!(node["metadata"]["ANNOTATIONS"]["prometheus.io/scrape"], "true");
        assert_eq!(node["metadata"]["SIGHTLINE_OUTBOUND"], "127.64.4.3:15001");
        assert_eq!(
            value["admin"]["address"]["socket_address"]["address"],
            "127.64.4.2"
        );
    }

    #[test]
    fn a_gateway_has_no_outbound_port() {
        let discovery = "127.0.0.1:15012".parse().unwrap();
        let role = Role::Gateway {
            listeners: vec!["127.0.0.1:8080".parse().unwrap()],
        };
        let value = bootstrap(&entry(role), discovery, Path::new("/root.pem"));
        let node = &value["node"];
        assert!(node["id"].as_str().unwrap().starts_with("router~"));
        assert_eq!(node["metadata"]["SIGHTLINE_GATEWAY_BIND"], "127.0.0.1");
        assert!(node["metadata"].get("SIGHTLINE_OUTBOUND").is_none());
    }
}
