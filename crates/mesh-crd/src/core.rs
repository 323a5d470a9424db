//! The few Kubernetes kinds that the mesh reads, reduced to what it reads.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;

/// `Service.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Service {
    /// Selected pods.
    pub selector: BTreeMap<String, String>,
    /// First cluster IP; `None` or empty for headless ones.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: String,
    /// All cluster IPs.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// `ClusterIP`, `NodePort`, `LoadBalancer`, `ExternalName`.
    #[serde(rename = "type")]
    pub service_type: String,
    /// For `ExternalName`.
    pub external_name: String,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Endpoints that are not ready are published too.
    pub publish_not_ready_addresses: bool,
}

impl Service {
    /// Cluster IPs; empty for headless and external services.
    #[must_use]
    pub fn vips(&self) -> Vec<IpAddr> {
        let mut vips: Vec<IpAddr> = self.cluster_ips.iter().filter_map(|ip| ip.parse().ok()).collect();
        if vips.is_empty() {
            vips.extend(self.cluster_ip.parse::<IpAddr>().ok());
        }
        vips
    }

    /// `clusterIP: None`.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.cluster_ip == "None"
    }
}

/// One port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Name.
    pub name: String,
    /// Number.
    pub port: u16,
    /// Port of the pods, by number or name; absent = `port`.
    pub target_port: Option<PortRef>,
    /// `TCP`, `UDP`, `SCTP`; empty = TCP.
    pub protocol: String,
    /// Application protocol, before the name's prefix.
    pub app_protocol: String,
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum PortRef {
    /// Number.
    Number(u16),
    /// Name of a container port.
    Name(String),
}

/// An EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointSlice {
    /// `IPv4`, `IPv6`, `FQDN`.
    pub address_type: String,
    /// Ports of every endpoint.
    pub ports: Vec<EndpointPort>,
    /// Endpoints.
    pub endpoints: Vec<Endpoint>,
}

/// A port of an EndpointSlice; `name` is that of the Service's port.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointPort {
    /// Name of the Service's port.
    pub name: Option<String>,
    /// Number at the endpoint.
    pub port: Option<u16>,
}

/// An endpoint of an EndpointSlice.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Addresses; the first counts.
    pub addresses: Vec<String>,
    /// Conditions.
    pub conditions: EndpointConditions,
    /// The pod.
    pub target_ref: Option<TargetRef>,
    /// Zone.
    pub zone: Option<String>,
}

/// Conditions of an endpoint; `None` of `ready` means ready.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EndpointConditions {
    /// Ready for traffic.
    pub ready: Option<bool>,
    /// Serving, also while terminating.
    pub serving: Option<bool>,
    /// Terminating.
    pub terminating: Option<bool>,
}

/// What an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// `Pod`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

/// A Pod: what of `spec` and `status` matters here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pod {
    /// `spec.serviceAccountName`, `default` if absent.
    pub service_account: String,
    /// `spec.nodeName`.
    pub node_name: String,
    /// Container ports that have a name.
    pub named_ports: BTreeMap<String, u16>,
    /// `status.podIP`.
    pub ip: Option<IpAddr>,
    /// Ready condition.
    pub ready: bool,
    /// `Running`, `Succeeded`, `Failed`, ...
    pub phase: String,
    /// Name of the controlling owner (`reviews-v1-5d8f8b9c4`), if any.
    pub owner: Option<Owner>,
}

/// The controlling owner of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Owner {
    /// `ReplicaSet`, `StatefulSet`, ...
    pub kind: String,
    /// Name.
    pub name: String,
}
