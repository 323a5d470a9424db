//! The service graph with exact counts.
//!
//! - `GET /api/graph?type=workload|app|versionedApp|service&from=&to=&namespaces=a,b` answers [`Graph`]; with
//!   `idle=true` (here and in the stream) it has what gets no traffic, too.
//! - `GET /api/graph/stream?type=&namespaces=&window=60` is a server-sent event stream of [`Graph`]s of the last
//!   `window` seconds, event name `graph`, sent within 250 ms of a change and at least every 5 s.
//! - `GET /api/series?source=&target=&from=&to=` answers [`Series`] of one edge (ids of nodes in the graph type
//!   named by `type`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which nouns the nodes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum GraphType {
    /// A node per workload.
    #[default]
    Workload,
    /// A node per application (all versions together).
    App,
    /// A node per application and version.
    VersionedApp,
    /// A node per destination service between the workloads' services.
    Service,
}

/// Answer of `GET /api/graph`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Graph {
    /// Sorted by id.
    pub nodes: Vec<Node>,
    /// Sorted by (source, target, service, protocol).
    pub edges: Vec<Edge>,
    /// Start of the interval, RFC 3339, snapped down to a window border.
    pub from: String,
    /// End of the interval, RFC 3339.
    pub to: String,
    /// Until when the counts are known, RFC 3339 (the oldest reporting proxy's last flush).
    pub as_of: String,
    /// By proxy id: its last flush, RFC 3339.
    #[serde(default)]
    pub proxies_as_of: BTreeMap<String, String>,
    /// False when `to` lies inside a window that is still open.
    pub complete: bool,
    /// Length of the interval, seconds: rates are `requests / seconds`.
    pub seconds: f64,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Node {
    /// `namespace/workload`, `namespace/app`, `namespace/app@version`, `service:host`; `unknown` for callers
    /// outside the mesh and for answers that a proxy gave itself.
    pub id: String,
    /// Namespace.
    pub namespace: String,
    /// Workload name, empty where the type has none.
    pub workload: String,
    /// Application (canonical service).
    pub app: String,
    /// Version (canonical revision).
    pub version: String,
    /// What it is.
    pub kind: NodeKind,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum NodeKind {
    /// Workload with a sidecar.
    #[default]
    Workload,
    /// Gateway.
    Gateway,
    /// Application.
    App,
    /// Service.
    Service,
    /// Outside the mesh, or nobody (local answers).
    Unknown,
}

/// An edge with exact integer counts for the interval.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Edge {
    /// Node id.
    pub source: String,
    /// Node id.
    pub target: String,
    /// Destination service (FQDN) as routed.
    pub service: String,
    /// `http`, `grpc`, `tcp`.
    pub protocol: String,
    /// Completed requests.
    pub requests: u64,
    /// Attempts that left the proxy (retries and mirrors included).
    pub attempts: u64,
    /// No answer, 5xx, or gRPC status other than 0.
    pub errors: u64,
    /// 4xx, which are not errors.
    pub client_errors: u64,
    /// Requests by response code (`0` = no answer).
    pub codes: BTreeMap<String, u64>,
    /// Requests by response flags (`-` = none).
    pub flags: BTreeMap<String, u64>,
    /// Requests by the rule that decided them.
    pub routes: Vec<RouteCount>,
    /// Requests that went over mutual TLS.
    pub mutual_tls: u64,
    /// Median duration, milliseconds.
    #[serde(default)]
    pub p50_ms: Option<f64>,
    /// 95th percentile, milliseconds.
    #[serde(default)]
    pub p95_ms: Option<f64>,
    /// 99th percentile, milliseconds.
    #[serde(default)]
    pub p99_ms: Option<f64>,
    /// Request bytes.
    pub request_bytes: u64,
    /// Response bytes.
    pub response_bytes: u64,
    /// A reporting proxy died inside the interval: up to one flush interval may be missing.
    #[serde(default)]
    pub gap: bool,
}

/// Requests of one rule.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RouteCount {
    /// `namespace/name` of the VirtualService; empty for generated defaults.
    pub virtual_service: String,
    /// Route name.
    pub route: String,
    /// Match name.
    #[serde(rename = "match")]
    pub match_name: String,
    /// Requests.
    pub requests: u64,
    /// Errors.
    pub errors: u64,
}

/// Answer of `GET /api/series`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Series {
    /// Length of a point, seconds.
    pub step_seconds: u64,
    /// Oldest first; windows without traffic are present with zeros.
    pub points: Vec<Point>,
}

/// One window of a [`Series`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// Window start, Unix seconds.
    pub at: u64,
    /// Requests.
    pub requests: u64,
    /// Errors.
    pub errors: u64,
    /// 95th percentile, milliseconds.
    #[serde(default)]
    pub p95_ms: Option<f64>,
}
