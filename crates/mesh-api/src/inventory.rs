//! What is in the mesh: services, workloads, applications, namespaces, with the traffic of an interval.
//!
//! - `GET /api/services?from=&to=&namespaces=` answers [`ServiceList`].
//! - `GET /api/workloads?from=&to=&namespaces=` answers [`WorkloadList`].
//! - `GET /api/apps?from=&to=&namespaces=` answers [`AppList`].
//! - `GET /api/namespaces?from=&to=` answers [`NamespaceList`].
//! - `GET /api/services/{namespace}/{name}?from=&to=` answers [`ServiceDetail`]; `/api/workloads/{namespace}/{name}`
//!   answers [`WorkloadDetail`]; `/api/apps/{namespace}/{name}` answers [`AppDetail`].
//! - `GET /api/overview?from=&to=` answers [`Overview`].

use serde::{Deserialize, Serialize};

use crate::config::{ObjectName, ObjectSummary};
use crate::history::Revision;

/// Traffic of an interval on one side.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests.
    pub requests: u64,
    /// Errors.
    pub errors: u64,
    /// 4xx.
    pub client_errors: u64,
    /// Requests per second.
    pub rate: f64,
    /// Median, milliseconds.
    #[serde(default)]
    pub p50_ms: Option<f64>,
    /// 95th percentile, milliseconds.
    #[serde(default)]
    pub p95_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// Requests over mutual TLS.
    pub mutual_tls: u64,
    /// Requests per second, about 30 points over the interval, oldest first.
    pub spark: Vec<f64>,
}

/// Judged health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// Nothing is known: no traffic.
    #[default]
    Unknown,
    /// Fine.
    Ok,
    /// Above the warning threshold.
    Warn,
    /// Above the failure threshold.
    Fail,
}

/// Answer of `GET /api/services`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceList {
    /// Sorted by namespace, name.
    pub services: Vec<ServiceRow>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceRow {
    /// Namespace.
    pub namespace: String,
    /// Name (a ServiceEntry: its object name).
    pub name: String,
    /// FQDN (a ServiceEntry: its first host).
    pub host: String,
    /// `Service`, `ServiceEntry`, or `External` (seen in traffic only).
    pub kind: String,
    /// `name:port/protocol`.
    pub ports: Vec<String>,
    /// Ready endpoints.
    pub endpoints: u32,
    /// Traffic to it.
    pub inbound: Traffic,
    /// Health.
    pub health: Health,
    /// Problems of objects that concern it.
    pub problems: u32,
    /// Objects that concern it.
    pub objects: Vec<ObjectName>,
}

/// Answer of `GET /api/workloads`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkloadList {
    /// Sorted by namespace, name.
    pub workloads: Vec<WorkloadRow>,
}

/// A workload.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkloadRow {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Canonical service.
    pub app: String,
    /// Canonical revision.
    pub version: String,
    /// `sidecar`, `gateway`, or `none` (not in the mesh).
    pub proxy: String,
    /// Pods (instances).
    pub pods: u32,
    /// Of them ready.
    pub ready: u32,
    /// Labels of its pods.
    pub labels: Vec<(String, String)>,
    /// Traffic to it.
    pub inbound: Traffic,
    /// Traffic from it.
    pub outbound: Traffic,
    /// Health.
    pub health: Health,
    /// Node ids of its proxies.
    pub proxies: Vec<String>,
}

/// Answer of `GET /api/apps`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AppList {
    /// Sorted by namespace, name.
    pub apps: Vec<AppRow>,
}

/// An application: all versions together.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AppRow {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Versions.
    pub versions: Vec<String>,
    /// Workload names.
    pub workloads: Vec<String>,
    /// Traffic to it.
    pub inbound: Traffic,
    /// Traffic from it.
    pub outbound: Traffic,
    /// Health.
    pub health: Health,
}

/// Answer of `GET /api/namespaces`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NamespaceList {
    /// Sorted by name.
    pub namespaces: Vec<NamespaceRow>,
}

/// A namespace.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NamespaceRow {
    /// Name.
    pub name: String,
    /// Services.
    pub services: u32,
    /// Workloads.
    pub workloads: u32,
    /// Problems of its objects.
    pub problems: u32,
    /// Traffic into its workloads.
    pub inbound: Traffic,
    /// Worst of its workloads.
    pub health: Health,
}

/// Answer of `GET /api/services/{namespace}/{name}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceDetail {
    /// As in the list.
    pub service: ServiceRow,
    /// Workloads behind it.
    pub workloads: Vec<WorkloadRow>,
    /// Endpoints.
    pub endpoints: Vec<EndpointRow>,
    /// Routes of the VirtualServices that name it, with their traffic; rules that never matched have zero.
    pub routes: Vec<RouteRow>,
    /// Objects that concern it.
    pub objects: Vec<ObjectSummary>,
}

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointRow {
    /// `address:port`.
    pub address: String,
    /// `namespace/workload`.
    pub workload: String,
    /// Version.
    pub version: String,
    /// Whether it is ready.
    pub ready: bool,
}

/// One rule with its traffic.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RouteRow {
    /// `namespace/name`.
    pub virtual_service: String,
    /// Route name.
    pub route: String,
    /// Match name.
    #[serde(rename = "match")]
    pub match_name: String,
    /// Requests in the interval.
    pub requests: u64,
    /// Of them errors.
    pub errors: u64,
}

/// Answer of `GET /api/workloads/{namespace}/{name}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkloadDetail {
    /// As in the list.
    pub workload: WorkloadRow,
    /// Services that select it.
    pub services: Vec<ServiceRow>,
    /// Objects that concern it.
    pub objects: Vec<ObjectSummary>,
}

/// Answer of `GET /api/apps/{namespace}/{name}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct AppDetail {
    /// As in the list.
    pub app: AppRow,
    /// Its workloads.
    pub workloads: Vec<WorkloadRow>,
    /// Services that select them.
    pub services: Vec<ServiceRow>,
    /// Objects that concern them.
    pub objects: Vec<ObjectSummary>,
}

/// Answer of `GET /api/overview`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Overview {
    /// Everything: every request once, as it entered the mesh (edges from outside, or from workloads that nobody calls).
    pub mesh: Traffic,
    /// Namespaces.
    pub namespaces: Vec<NamespaceRow>,
    /// Worst first, at most 10.
    pub offenders: Vec<Offender>,
    /// Objects with problems, worst first, at most 20.
    pub problems: Vec<ObjectSummary>,
    /// Latest changes, newest first, at most 10 (without their YAML).
    pub changes: Vec<Revision>,
    /// Connected proxies.
    pub proxies: u32,
    /// Of them with the present configuration.
    pub synced: u32,
    /// Earliest expiry of a certificate, RFC 3339; empty if none is known.
    pub certificate_expires: String,
    /// Versions of proxies with their number.
    pub versions: Vec<(String, u32)>,
}

/// Something that does badly.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Offender {
    /// `errors`, `latency`, `new errors`.
    pub reason: String,
    /// Node id (workload graph).
    pub source: String,
    /// Node id (workload graph).
    pub target: String,
    /// Destination service.
    pub service: String,
    /// Requests.
    pub requests: u64,
    /// Errors.
    pub errors: u64,
    /// 95th percentile, milliseconds.
    #[serde(default)]
    pub p95_ms: Option<f64>,
}
