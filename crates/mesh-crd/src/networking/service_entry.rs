//! ServiceEntry and WorkloadEntry.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::WorkloadSelector;

/// `ServiceEntry.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntry {
    /// Hosts.
    pub hosts: Vec<String>,
    /// Virtual addresses, or CIDR blocks.
    pub addresses: Vec<String>,
    /// Ports.
    pub ports: Vec<ServicePort>,
    /// Inside or outside of the mesh.
    pub location: Location,
    /// How endpoints are found.
    pub resolution: Resolution,
    /// Endpoints.
    pub endpoints: Vec<WorkloadEntry>,
    /// Chooses WorkloadEntries and pods instead.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
    /// Names accepted on mutual TLS.
    pub subject_alt_names: Vec<String>,
}

/// `ports[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServicePort {
    /// Number.
    pub number: u32,
    /// Name.
    pub name: String,
    /// Protocol.
    pub protocol: String,
    /// Port of the endpoints.
    pub target_port: u32,
}

/// `location`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside.
    #[default]
    MeshExternal,
    /// Inside.
    MeshInternal,
}

/// `resolution`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// Original destination.
    #[default]
    None,
    /// The endpoints' addresses.
    Static,
    /// All DNS records.
    Dns,
    /// One DNS record.
    DnsRoundRobin,
    /// Wildcard hosts resolved per request.
    DynamicDns,
}

/// `WorkloadEntry.spec`, and `endpoints[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntry {
    /// Address.
    pub address: String,
    /// Ports by name.
    pub ports: BTreeMap<String, u32>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Network.
    pub network: String,
    /// `region/zone/subzone`.
    pub locality: String,
    /// Relative weight.
    pub weight: u32,
    /// Service account.
    pub service_account: String,
}
