//! Traces.
//!
//! - `GET /api/traces?from=&to=&workload=&app=&errors=true&minMs=&maxMs=&text=&limit=200` answers [`TraceList`].
//! - `GET /api/traces/{trace}` answers [`Trace`].
//! - `GET /api/links` answers [`Links`] (answered by the console from its own options).

use serde::{Deserialize, Serialize};

/// Answer of `GET /api/traces`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TraceList {
    /// Newest first.
    pub traces: Vec<TraceSummary>,
}

/// A trace in one line.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct TraceSummary {
    /// Trace id.
    pub trace: String,
    /// Operation of the root.
    pub name: String,
    /// `namespace/app` of the root.
    pub root: String,
    /// RFC 3339.
    pub started: String,
    /// Milliseconds.
    pub duration_ms: f64,
    /// Spans.
    pub spans: u32,
    /// Spans with an error.
    pub errors: u32,
    /// `namespace/app` and its spans, most first.
    pub apps: Vec<(String, u32)>,
}

/// Answer of `GET /api/traces/{trace}`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Trace {
    /// Trace id.
    pub trace: String,
    /// By start.
    pub spans: Vec<Span>,
}

/// A span.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Span {
    /// Span id.
    pub span: String,
    /// Parent; none at the root.
    #[serde(default)]
    pub parent: Option<String>,
    /// `server` or `client`.
    pub kind: String,
    /// Operation.
    pub name: String,
    /// Node id of the proxy.
    pub proxy: String,
    /// `namespace/workload`.
    pub workload: String,
    /// `namespace/app`.
    pub app: String,
    /// Version.
    pub version: String,
    /// Unix microseconds.
    pub started_us: f64,
    /// Microseconds.
    pub duration_us: f64,
    /// Whether it failed.
    pub error: bool,
    /// Tags.
    pub attributes: Vec<(String, String)>,
}

/// Where other tools are. A template's `{trace}`, `{service}`, `{workload}`, `{namespace}`, `{from_ms}`, `{to_ms}`
/// are replaced, percent-encoded; only http(s).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Links {
    /// In the order of the options.
    pub links: Vec<Link>,
}

/// A link out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Link {
    /// `Jaeger`, `Zipkin`, `Tempo`, `Grafana`, `Prometheus`.
    pub name: String,
    /// `trace`, `service`, `workload`, `mesh`: what it shows.
    pub shows: String,
    /// URL with `{…}` to be replaced.
    pub template: String,
}
