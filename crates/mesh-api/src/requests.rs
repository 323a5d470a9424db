//! Kept requests.
//!
//! A filter is query parameters: `from`, `to` (RFC 3339, `now`, `now-5m`) and any of `source`, `destination`,
//! `workload`, `app` (`namespace/name`), `service` (FQDN), `namespace`, `code`, `flags`, `virtualService`
//! (`namespace/name`), `route`, `match`, `method`, `protocol`, `reporter`, `reason` (each repeatable; values of one
//! name are joined by "or", names by "and"), `minMs`, `maxMs`, `text`, `trace`.
//!
//! - `GET /api/requests?FILTER&limit=100&after=` answers [`RequestPage`], newest first.
//! - `GET /api/requests/facets?FILTER` answers [`Facets`].
//! - `GET /api/requests/heatmap?FILTER&columns=120` answers [`HeatMap`].
//! - `GET /api/requests/stream?FILTER` is a server-sent event stream, event name `requests`, data a JSON array of
//!   new [`KeptRequest`]s (at most 200 an event).
//! - `GET /api/requests/{trace}/{span}` answers one [`KeptRequest`].

use serde::{Deserialize, Serialize};

/// A kept request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct KeptRequest {
    /// Trace id, 32 hexadecimal digits.
    pub trace: String,
    /// Span id, 16 hexadecimal digits.
    pub span: String,
    /// Node id of the proxy that kept it.
    pub proxy: String,
    /// Start, RFC 3339 with microseconds.
    pub started: String,
    /// Duration, milliseconds.
    pub duration_ms: f64,
    /// `error`, `slow`, `sample`.
    pub reason: String,
    /// `source` or `destination`.
    pub reporter: String,
    /// `namespace/workload`, or `unknown`.
    pub source: String,
    /// `namespace/workload`, or `unknown`.
    pub destination: String,
    /// Canonical service of the source, `namespace/app`.
    pub source_app: String,
    /// Canonical service of the destination, `namespace/app`.
    pub destination_app: String,
    /// Version of the destination.
    pub destination_version: String,
    /// SPIFFE id of the source, or `unknown`.
    pub source_principal: String,
    /// Destination service, FQDN.
    pub service: String,
    /// `http`, `grpc`, `tcp`.
    pub protocol: String,
    /// Status, 0 if none.
    pub code: u16,
    /// gRPC status.
    #[serde(default)]
    pub grpc_status: Option<u16>,
    /// Response flags; `-` if none.
    pub flags: String,
    /// Why this status.
    pub details: String,
    /// Whether the hop was mutual TLS.
    pub mutual_tls: bool,
    /// `namespace/name`, empty for generated defaults.
    pub virtual_service: String,
    /// Route name.
    pub route: String,
    /// Match name.
    #[serde(rename = "match")]
    pub match_name: String,
    /// Revision of the VirtualService that decided.
    pub revision: String,
    /// Method.
    pub method: String,
    /// Authority.
    pub authority: String,
    /// Path without query values.
    pub path: String,
    /// `HTTP/1.1`, `HTTP/2`, `TCP`.
    pub http_version: String,
    /// User agent.
    pub user_agent: String,
    /// `x-request-id`.
    pub request_id: String,
    /// Endpoint.
    pub upstream_host: String,
    /// Cluster.
    pub upstream_cluster: String,
    /// Client's address.
    pub downstream_remote: String,
    /// Upstream attempts.
    pub attempts: u32,
    /// Request bytes.
    pub request_bytes: u64,
    /// Response bytes.
    pub response_bytes: u64,
    /// Recorded request headers.
    pub headers: Vec<(String, String)>,
}

/// Answer of `GET /api/requests`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RequestPage {
    /// Newest first.
    pub requests: Vec<KeptRequest>,
    /// `after` of the next page.
    #[serde(default)]
    pub next: Option<String>,
}

/// Answer of `GET /api/requests/facets`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facets {
    /// All that match.
    pub total: u64,
    /// In a fixed order.
    pub fields: Vec<Facet>,
}

/// Values of a field.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facet {
    /// Name of the filter parameter.
    pub field: String,
    /// Value and number of requests, most frequent first, at most 50.
    pub values: Vec<(String, u64)>,
}

/// Answer of `GET /api/requests/heatmap`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HeatMap {
    /// Start of the first column, Unix milliseconds.
    pub from_ms: f64,
    /// Width of a column, milliseconds.
    pub column_ms: f64,
    /// Number of columns.
    pub columns: u32,
    /// Lower bounds of the rows, milliseconds, rising.
    pub rows_ms: Vec<f64>,
    /// What is not empty.
    pub cells: Vec<HeatCell>,
}

/// A cell of a [`HeatMap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HeatCell {
    /// Column.
    pub column: u32,
    /// Row.
    pub row: u32,
    /// Requests.
    pub requests: u64,
    /// Of them errors.
    pub errors: u64,
}
