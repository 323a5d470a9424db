//! The JSON of explain: the shape of `mesh_api::explain::Hop`, written by proxies and by the control plane.

use mesh_model::explain::{Answer, Candidate, Decision, EndpointFacts, Outcome, Place, Spot};
use mesh_model::request::TypedRequest;
use serde_json::{Map, Value, json};

/// Who explains.
#[derive(Debug, Clone, Default)]
pub struct Hop {
    /// Node id.
    pub proxy: String,
    /// `namespace/workload`.
    pub workload: String,
    /// `outbound`, `inbound`, `gateway`.
    pub side: &'static str,
    /// Revision of the configuration.
    pub revision: String,
    /// Where the request comes from, `namespace/workload`; empty if it is not known.
    pub from: String,
}

/// A proxy's answer.
#[must_use]
pub fn hop(about: &Hop, answer: &Answer) -> Value {
    json!({
        "proxy": about.proxy,
        "workload": about.workload,
        "side": about.side,
        "revision": about.revision,
        "request": request(&about.from, &answer.request),
        "decisions": answer.decisions.iter().map(decision).collect::<Vec<_>>(),
        "outcome": outcome(&answer.outcome),
    })
}

/// The request that is asked about.
#[must_use]
pub fn request(from: &str, request: &TypedRequest) -> Value {
    json!({
        "from": from,
        "method": request.method,
        "scheme": request.scheme,
        "authority": request.authority,
        "path": request.target,
        "headers": request.headers,
    })
}

fn decision(decision: &Decision) -> Value {
    json!({
        "step": decision.step.as_str(),
        "result": decision.result,
        "reason": decision.reason,
        "ends": decision.ends,
        "candidates": decision.candidates.iter().map(candidate).collect::<Vec<_>>(),
    })
}

fn candidate(candidate: &Candidate) -> Value {
    let mut made = Map::new();
    let mut put = |name: &str, value: Value| made.insert(name.to_owned(), value);
    put("name", candidate.name.as_str().into());
    put("summary", candidate.summary.as_str().into());
    put("won", candidate.won.into());
    put("reason", candidate.reason.as_str().into());
    if let Some(place) = &candidate.object {
        put("object", object(place));
    }
    if let Some(percent) = candidate.percent {
        put("percent", percent.into());
    }
    if let Some(facts) = &candidate.endpoint {
        put("endpoint", endpoint(facts));
    }
    Value::Object(made)
}

/// The field of a place, as far as it can be told without the object.
fn field(spot: &Spot) -> String {
    match spot {
        Spot::Whole => String::new(),
        Spot::Rule(position) => format!("spec.rules[{position}]"),
        Spot::Route {
            route, match_name, ..
        } => match (route.as_str(), match_name.as_str()) {
            ("", "") => String::new(),
            (route, "") => format!("spec.http[{route}]"),
            ("", named) => format!("spec.http[].match[{named}]"),
            (route, named) => format!("spec.http[{route}].match[{named}]"),
        },
    }
}

fn object(place: &Place) -> Value {
    json!({
        "kind": place.kind,
        "namespace": place.namespace,
        "name": place.name,
        "field": field(&place.spot),
    })
}

fn endpoint(facts: &EndpointFacts) -> Value {
    let endpoint = &facts.endpoint;
    let workload = endpoint.workload.as_ref();
    json!({
        "address": endpoint.address.to_string(),
        "workload": workload.map(|w| format!("{}/{}", w.namespace, w.name)).unwrap_or_default(),
        "healthy": endpoint.healthy,
        "ejected": facts.ejected,
        "weight": endpoint.weight,
        "priority": endpoint.priority,
        "locality": endpoint.locality,
        "mutual_tls": facts.mutual_tls,
    })
}

fn outcome(outcome: &Outcome) -> Value {
    let mut made = json!({
        "action": outcome.action.as_str(),
        "flags": outcome.flags.to_string(),
        "details": outcome.details,
        "route": outcome.route,
        "clusters": outcome.clusters,
        "chance": outcome.chance,
        "summary": outcome.summary,
    });
    if let (Some(status), Some(fields)) = (outcome.status, made.as_object_mut()) {
        fields.insert("status".into(), status.into());
    }
    made
}
