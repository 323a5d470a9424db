//! What becomes of a request, decision by decision: which rule won, why each other lost, which endpoints may serve.
//!
//! - `GET /api/explain?QUESTION` of the control plane answers [`Explanation`]: the source's proxy (or a gateway) first,
//!   then the destination's, from the configuration that each of them should run.
//! - `GET /explain?QUESTION` of a proxy's admin port answers one [`Hop`], from the configuration that it runs.
//!
//! A question is query parameters: `host` (authority; a port in it counts), `method` (`GET`), `path` (`/`, may have a
//! query), `header` (`name: value`, repeatable), `scheme` (`http`).
//!
//! - Control plane: `from` (`namespace/workload`, or a workload's name alone; without it the request comes from
//!   outside the mesh), `port` (80 when neither it nor the host says one), `gateway` (`namespace/workload`, to enter
//!   there).
//! - Proxy: `direction` (`outbound`, `inbound`, `gateway`; without it, outbound at sidecars), `port`, `address` (where the
//!   client connected to, `IP:PORT`), `listener` (a name, instead), `principal` (URI of the client's certificate; with
//!   it, the connection is mutual TLS), `source` (IP of the client), `sni`, `tls` (`true`, `false`), `from_gateway`
//!   (`true`: the client is a gateway of the mesh).

use serde::{Deserialize, Serialize};

use crate::config::ObjectName;

/// Answer of `GET /api/explain`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Explanation {
    /// The request, as it was understood.
    pub request: Asked,
    /// In the order in which the request meets them.
    pub hops: Vec<Hop>,
    /// What becomes of it in the end: the outcome of the last hop.
    pub outcome: Outcome,
    /// What could not be told, one sentence each (no proxy connected for a workload, a token that only the proxy can
    /// verify).
    #[serde(default)]
    pub notes: Vec<String>,
}

/// The request that is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Asked {
    /// `namespace/workload`; empty = from outside the mesh.
    pub from: String,
    /// Method.
    pub method: String,
    /// `http`, `https`.
    pub scheme: String,
    /// Authority.
    pub authority: String,
    /// Path with query.
    pub path: String,
    /// Headers in order, names lower case.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
}

/// One proxy's decisions. Also the answer of a proxy's `GET /explain`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Hop {
    /// Node id of the proxy.
    pub proxy: String,
    /// `namespace/workload`.
    pub workload: String,
    /// `outbound`, `inbound`, `gateway`.
    pub side: String,
    /// Revision of the configuration.
    pub revision: String,
    /// The request as this proxy sees it (normalised, with the headers that it adds or removes before it decides).
    pub request: Asked,
    /// In order; the last that was reached ends the list.
    pub decisions: Vec<Decision>,
    /// What this proxy does.
    pub outcome: Outcome,
}

/// One decision.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Decision {
    /// `listener`, `chain`, `path`, `external`, `token`, `routes`, `virtualHost`, `route`, `authorization`, `dryRun`, `fault`,
    /// `cors`, `action`, `destination`, `cluster`, `endpoint`, `timeout`, `retry`.
    pub step: String,
    /// The result in a few words (`reviews.default.svc.cluster.local:9080`, `allowed`, `none`).
    pub result: String,
    /// Why, in one sentence.
    pub reason: String,
    /// Whether the request ends here, answered by the proxy itself.
    #[serde(default)]
    pub ends: bool,
    /// Everything that was considered, in the order of consideration.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

/// Something that was considered in a [`Decision`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Candidate {
    /// Name (of the route, virtual host, policy rule, cluster, endpoint).
    pub name: String,
    /// What it is about, in a few words (`path prefix /, header end-user is "jason"`).
    #[serde(default)]
    pub summary: String,
    /// Whether it won.
    pub won: bool,
    /// Why it won or lost.
    pub reason: String,
    /// The object that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectPlace>,
    /// Share of the requests that it gets, percent, where chance decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<f64>,
    /// The endpoint, in the endpoint decision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<EndpointFacts>,
}

/// A place in an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectPlace {
    /// Which object.
    #[serde(flatten)]
    pub object: ObjectName,
    /// Field path (`spec.http[1]`); empty = the whole object.
    #[serde(default)]
    pub field: String,
    /// 1-based line of the field in the object's YAML as the console shows it; `None` where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
}

/// State of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointFacts {
    /// `ip:port`.
    pub address: String,
    /// `namespace/workload`, empty if unknown.
    pub workload: String,
    /// As discovery says.
    pub healthy: bool,
    /// Taken out by outlier detection; known to the proxy only.
    #[serde(default)]
    pub ejected: bool,
    /// Relative weight.
    pub weight: u32,
    /// 0 is preferred.
    pub priority: u32,
    /// `region/zone/subzone`.
    #[serde(default)]
    pub locality: String,
    /// Whether the connection would be mutual TLS.
    pub mutual_tls: bool,
}

/// What a proxy does with the request.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// `forward`, `redirect`, `respond` (a direct response or a preflight), `refuse`, `close` (the connection is closed
    /// without an answer), `tunnel`.
    pub action: String,
    /// Status that the proxy answers with itself; `None` when the destination answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Response flags of it; `-` if none.
    pub flags: String,
    /// `RESPONSE_CODE_DETAILS` of it.
    #[serde(default)]
    pub details: String,
    /// `ROUTE_NAME`.
    #[serde(default)]
    pub route: String,
    /// Clusters that may get the request, with their share in percent.
    #[serde(default)]
    pub clusters: Vec<(String, f64)>,
    /// What chance may do instead: injected faults, one sentence each.
    #[serde(default)]
    pub chance: Vec<String>,
    /// One sentence for people.
    pub summary: String,
}
