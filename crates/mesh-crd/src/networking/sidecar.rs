//! Sidecar.

use serde::Deserialize;

use super::WorkloadSelector;
use super::destination_rule::ConnectionPool;
use super::gateway::Port;
use super::virtual_service::Destination;

/// `Sidecar.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sidecar {
    /// Workloads; none = the namespace.
    pub workload_selector: Option<WorkloadSelector>,
    /// Inbound listeners.
    pub ingress: Vec<IngressListener>,
    /// Outbound scoping.
    pub egress: Vec<EgressListener>,
    /// Inbound limits.
    pub inbound_connection_pool: Option<ConnectionPool>,
    /// Unknown destinations.
    pub outbound_traffic_policy: Option<OutboundTrafficPolicy>,
}

/// `egress[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EgressListener {
    /// Port; none = every port.
    pub port: Option<Port>,
    /// Bind address.
    pub bind: String,
    /// `ns/host`.
    pub hosts: Vec<String>,
}

/// `ingress[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct IngressListener {
    /// Port.
    pub port: Port,
    /// Bind address.
    pub bind: String,
    /// `127.0.0.1:port`, `0.0.0.0:port` or `unix://path`.
    pub default_endpoint: String,
    /// Limits.
    pub connection_pool: Option<ConnectionPool>,
    /// TLS that ends here.
    pub tls: Option<serde_json::Value>,
}

/// `outboundTrafficPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutboundTrafficPolicy {
    /// Mode.
    pub mode: OutboundMode,
    /// Where unknown destinations go.
    pub egress_proxy: Option<Destination>,
}

/// What happens to unknown destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OutboundMode {
    /// Passed.
    #[default]
    AllowAny,
    /// Refused.
    RegistryOnly,
}
