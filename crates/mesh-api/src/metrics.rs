//! Charts: exact counts over time, for any subject, grouped by any field.
//!
//! `GET /api/metrics?type=workload|app|versionedApp|service&subject=ID&direction=inbound|outbound&groupBy=FIELD&from=&to=&step=&quantiles=0.5,0.95,0.99`
//! answers [`Metrics`]. `subject` is a node id of that graph type; without it the whole mesh (every edge once).
//! `groupBy`: none, `source`, `destination`, `service`, `version`, `code`, `flags`, `route`, `protocol`, `grpcStatus`,
//! `mutualTls`. At most 20 groups, the rest is in a group named `other`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Answer of `GET /api/metrics`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Metrics {
    /// RFC 3339, a window border.
    pub from: String,
    /// RFC 3339.
    pub to: String,
    /// Length of a point, seconds.
    pub step_seconds: u64,
    /// Quantiles, as asked.
    pub quantiles: Vec<f64>,
    /// Most requests first.
    pub groups: Vec<Group>,
    /// The PromQL that asks a Prometheus for the same, by chart: `requests`, `errors`, `duration`, `request_bytes`,
    /// `response_bytes`.
    #[serde(default)]
    pub promql: BTreeMap<String, String>,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Group {
    /// Value of the field; empty without grouping.
    pub name: String,
    /// Totals of the interval (its `at` is the interval's start).
    pub total: MetricPoint,
    /// Oldest first; windows without traffic are present with zeros.
    pub points: Vec<MetricPoint>,
}

/// One window.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricPoint {
    /// Window start, Unix seconds.
    pub at: u64,
    /// Requests (TCP: connections).
    pub requests: u64,
    /// Errors.
    pub errors: u64,
    /// 4xx.
    pub client_errors: u64,
    /// Attempts.
    pub attempts: u64,
    /// Request bytes (TCP: received).
    pub request_bytes: u64,
    /// Response bytes (TCP: sent).
    pub response_bytes: u64,
    /// Milliseconds, one for each of the quantiles asked for; none without requests.
    pub quantiles_ms: Vec<Option<f64>>,
}
