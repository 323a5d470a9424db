//! What is compared of an answer, and what cannot be.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_stories::observed::access_log::{AccessLog, Mark};
use mesh_stories::observed::client::Answer;
use serde_json::{Map, Value, json};

/// What came of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// One answer with the access-log lines of gateway and sidecar.
    Answer(Value),
    /// How many answers came from where.
    Spread(BTreeMap<String, u32>),
}

/// Headers whose value is of one request, or of one proxy's clock.
const OWN: &[&str] = &[
    "date",
    "x-request-id",
    "x-envoy-upstream-service-time",
    "traceparent",
    "tracestate",
    "user-agent",
    // The exchange of metadata is a filter of Istio's own, which a stock Envoy does not have.
    "x-envoy-peer-metadata",
    "x-envoy-peer-metadata-id",
    // A stock Envoy sends it; Istio's proxies do not, nor do ours.
    "x-envoy-expected-rq-timeout-ms",
    // For a client on loopback Envoy says its own address.
    "x-forwarded-for",
    "x-envoy-internal",
    "x-envoy-external-address",
    // Sent with tracing only by a stock Envoy, always by Istio's proxies.
    "x-envoy-decorator-operation",
];
const B3: &str = "x-b3-";
/// What is compared of an access-log line.
const LOGGED: &[&str] = &[
    "response_code",
    "response_flags",
    "response_code_details",
    "route_name",
    "method",
    "path",
    "authority",
    "protocol",
    "upstream_cluster",
    "bytes_received",
];

impl Outcome {
    pub(crate) fn of(
        answer: &Answer,
        lines: Vec<Option<Map<String, Value>>>,
        service: &str,
        key: &str,
    ) -> Self {
        let mut body = json!(answer.body);
        if let Some(echo) = &answer.echo {
            let mut echo = echo.clone();
            echo["pod"] = Value::Null;
            if let Some(headers) = echo["headers"].as_object_mut() {
                // No body may be said or left unsaid.
                headers
                    .retain(|name, value| is_compared(name) && (name != "content-length" || *value != "0"));
            }
            body = echo;
        }
        let headers: BTreeMap<_, _> = answer
            .headers
            .iter()
            .filter(|(name, _)| is_compared(name) && *name != "content-length")
            .collect();
        let logged = |line: Option<Map<String, Value>>| match line {
            None => Value::Null,
            Some(line) => LOGGED
                .iter()
                .map(|name| ((*name).to_owned(), line[*name].clone()))
                .collect(),
        };
        let logs: Vec<Value> = lines.into_iter().map(logged).collect();
        let all = json!({
            "status": answer.status, "headers": headers, "body": body, "error": answer.error, "logs": logs,
        });
        let text = all.to_string().replace(service, "SERVICE").replace(key, "KEY");
        Self::Answer(serde_json::from_str(&without_hashes(&text)).unwrap())
    }
}

fn is_compared(name: &str) -> bool {
    !OWN.contains(&name) && !name.starts_with(B3)
}

/// Fingerprints of certificates are of one proxy.
fn without_hashes(text: &str) -> String {
    let mut parts = text.split("Hash=");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        out.push_str("Hash=*");
        out.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    out
}

/// The access-log line of a request; proxies write them when they like.
pub(crate) async fn line(log: &AccessLog, agent: &str) -> Option<Map<String, Value>> {
    let mark = Mark {
        agent: agent.to_owned(),
        local: None,
        from: 0,
    };
    for _ in 0..300 {
        if let Some(line) = log.find(&mark) {
            return Some(line);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    None
}

/// Where two outcomes differ.
pub(crate) fn difference(wanted: &Outcome, got: &Outcome) -> Option<String> {
    match (wanted, got) {
        (Outcome::Answer(wanted), Outcome::Answer(got)) => {
            let mut found = Vec::new();
            compare("", wanted, got, &mut found);
            (!found.is_empty()).then(|| found.join("; "))
        }
        (Outcome::Spread(wanted), Outcome::Spread(got)) => {
            let total: u32 = wanted.values().sum();
            let near = |label: &String| {
                let (a, b) = (
                    wanted.get(label).copied().unwrap_or(0),
                    got.get(label).copied().unwrap_or(0),
                );
                // Five standard deviations of the difference of two draws.
                let share = f64::from(a + b) / f64::from(2 * total);
                let deviation = (2.0 * f64::from(total) * share * (1.0 - share)).sqrt();
                f64::from(a.abs_diff(b)) <= 5.0 * deviation
            };
            let all_near = wanted.keys().chain(got.keys()).all(near);
            (!all_near).then(|| format!("{wanted:?} is not {got:?}"))
        }
        _ => Some("of another kind".to_owned()),
    }
}

fn compare(path: &str, wanted: &Value, got: &Value, found: &mut Vec<String>) {
    match (wanted, got) {
        (Value::Object(a), Value::Object(b)) => {
            let names: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for name in names {
                let part = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                compare(&format!("{path}/{name}"), &part(a), &part(b), found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                compare(&format!("{path}/{i}"), a, b, found);
            }
        }
        _ if wanted == got => {}
        _ => found.push(format!("{path}: Envoy {wanted}, here {got}")),
    }
}
