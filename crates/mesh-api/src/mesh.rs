//! The mesh's own parts: proxies, control plane, store.
//!
//! - `GET /api/proxies` answers [`ProxyList`].
//! - `GET /api/status` answers [`Status`].
//! - `GET /api/proxies/{id}/config` answers what the proxy was sent, as Envoy's `/config_dump` shows it (JSON with
//!   `listeners`, `routes`, `clusters`, `endpoints`).

use serde::{Deserialize, Serialize};

/// Answer of `GET /api/proxies`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProxyList {
    /// Sorted by id.
    pub proxies: Vec<Proxy>,
}

/// One connected (or recently seen) proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Proxy {
    /// Node id.
    pub id: String,
    /// Namespace.
    pub namespace: String,
    /// Workload name.
    pub workload: String,
    /// `sidecar` or `router`.
    pub kind: String,
    /// Proxy version.
    pub version: String,
    /// Whether its discovery stream is open.
    pub connected: bool,
    /// `synced`, `stale` (sent, not acknowledged), `refused`, `disconnected`.
    pub state: String,
    /// Reason of the last NACK.
    #[serde(default)]
    pub refused: Option<String>,
    /// Acknowledged configuration revision.
    pub revision: String,
    /// Last contact, RFC 3339.
    pub last_seen: String,
    /// Last telemetry flush, RFC 3339; empty if none.
    pub last_flush: String,
    /// Certificate expiry, RFC 3339; empty if unknown.
    pub certificate_expires: String,
}

/// Answer of `GET /api/status`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Status {
    /// Version of the control plane.
    pub version: String,
    /// Revision of the configuration in force.
    pub revision: String,
    /// Whether history is being recorded.
    pub recording: bool,
    /// Why not.
    #[serde(default)]
    pub recording_error: Option<String>,
    /// Bytes of history.
    pub history_bytes: u64,
    /// Byte limit.
    pub history_limit_bytes: u64,
    /// Restarted or lost processes in the last hour, newest first.
    #[serde(default)]
    pub gaps: Vec<Gap>,
    /// `sqlite` or `postgres`, with where (no credentials).
    #[serde(default)]
    pub store: String,
    /// Where spans are sent.
    #[serde(default)]
    pub exporters: Vec<Exporter>,
    /// Kept requests and spans that were given up because a queue was full.
    #[serde(default)]
    pub records_dropped: u64,
}

/// A collector that gets spans.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Exporter {
    /// `otlp` or `zipkin`.
    pub kind: String,
    /// Where, without credentials.
    pub endpoint: String,
    /// Spans delivered.
    pub sent: u64,
    /// Spans given up: queue full, or refused for good.
    pub dropped: u64,
    /// Spans that wait.
    pub queued: u64,
    /// Why the last attempt failed; none after a success.
    #[serde(default)]
    pub error: Option<String>,
}

/// A time for which a proxy's counts may lack up to one flush interval.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Gap {
    /// Proxy id.
    pub proxy: String,
    /// RFC 3339.
    pub at: String,
    /// Why.
    pub reason: String,
}
