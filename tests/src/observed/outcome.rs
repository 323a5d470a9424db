//! What happened when a case was played, in the words of the recording.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::client::Answer;

/// What a case led to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// What admission said.
    pub admission: Admission,
    /// Proxies that refused the configuration, with their reason.
    pub nacks: Vec<String>,
    /// What the control plane found wrong with the objects of this case: `field: message`.
    pub problems: Vec<String>,
    /// The configuration was not in force everywhere in time.
    pub late: Option<String>,
    /// Fields by step. `None`: the runner could not play the step, with the reason in `late`.
    pub steps: Vec<Map<String, Value>>,
}

/// What admission said to a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Taken, with these warnings.
    Accepted {
        /// Texts of `Warning` headers.
        warnings: Vec<String>,
    },
    /// Refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// Message and the fields of its causes, in one text.
        message: String,
    },
}

impl Default for Admission {
    fn default() -> Self {
        Self::Accepted { warnings: Vec::new() }
    }
}

/// One access-log line, under Istio's JSON names; absent values are `-`.
pub type LogLine = Map<String, Value>;

/// A call that an echo server saw.
#[derive(Debug, Clone, serde::Deserialize)]
#[expect(missing_docs, reason = "the server's own words")]
pub struct Hit {
    pub path: String,
    pub host: String,
    pub method: String,
    pub version: String,
    pub service: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
    pub remote: String,
    pub at: u64,
}

/// Everything gathered about one step.
#[derive(Debug, Clone, Default)]
pub struct Gathered {
    /// One answer per request.
    pub answers: Vec<Answer>,
    /// The log line of each answer's request at the client's sidecar (or the gateway), if there is one.
    pub client_logs: Vec<Option<LogLine>>,
    /// A line of a server's sidecar.
    pub server_log: Option<LogLine>,
    /// Calls seen with the step's key, oldest first.
    pub hits: Vec<Hit>,
    /// Most calls at once at one server.
    pub max_inflight: u64,
    /// The connection on which the step before reached the server.
    pub previous_remote: Option<String>,
}

impl Gathered {
    /// The recording's fields. `observed` says which answer of several is the one that was written down.
    #[must_use]
    pub fn fields(&self, observed: &Map<String, Value>) -> Map<String, Value> {
        let mut fields = Map::new();
        let sample = self.sample(observed);
        if let Some(answer) = self.answers.get(sample) {
            answer_fields(answer, &mut fields);
        }
        let log = self.client_logs.get(sample).cloned().flatten();
        fields.insert(
            "client_log".to_owned(),
            log.clone().map_or(Value::Null, Value::Object),
        );
        fields.insert(
            "server_log".to_owned(),
            self.server_log.clone().map_or(Value::Null, Value::Object),
        );
        self.count_answers(observed, &mut fields);
        self.count_calls(log.as_ref(), &mut fields);
        fields
    }

    /// Of mixed answers the recording describes one with the status it names.
    fn sample(&self, observed: &Map<String, Value>) -> usize {
        let status = observed.get("status").and_then(Value::as_u64);
        self.answers
            .iter()
            .position(|answer| status.is_some() && answer.status.map(u64::from) == status)
            .unwrap_or_default()
    }

    fn count_answers(&self, observed: &Map<String, Value>, fields: &mut Map<String, Value>) {
        let expected: BTreeSet<&str> = observed
            .get("distribution")
            .and_then(Value::as_object)
            .map(|map| map.keys().map(String::as_str).collect())
            .unwrap_or_default();
        let by_service = self
            .answers
            .iter()
            .filter_map(|answer| answer.echo_text("service"))
            .any(|service| expected.contains(service));
        let key = if by_service { "service" } else { "version" };
        let mut distribution = BTreeMap::<String, u64>::new();
        let mut statuses = BTreeMap::<String, u64>::new();
        for answer in &self.answers {
            *distribution.entry(answer.label(key)).or_default() += 1;
            if let Some(status) = answer.status {
                *statuses.entry(status.to_string()).or_default() += 1;
            }
        }
        let mut logs = BTreeMap::<String, u64>::new();
        for log in self.client_logs.iter().flatten() {
            let text = |name: &str| match log.get(name) {
                Some(Value::String(text)) => text.clone(),
                None | Some(Value::Null) => "-".to_owned(),
                Some(other) => other.to_string(),
            };
            let key = format!(
                "{} {} {}",
                text("response_code"),
                text("response_flags"),
                text("response_code_details")
            );
            *logs.entry(key).or_default() += 1;
        }
        fields.insert("versions_used".to_owned(), json!(distribution.len()));
        fields.insert("distribution".to_owned(), json!(distribution));
        fields.insert("statuses".to_owned(), json!(statuses));
        fields.insert("client_log_counts".to_owned(), json!(logs));
    }

    fn count_calls(&self, log: Option<&LogLine>, fields: &mut Map<String, Value>) {
        let remotes: BTreeSet<&str> = self.hits.iter().map(|hit| hit.remote.as_str()).collect();
        let attempts: Vec<&str> = self
            .hits
            .iter()
            .map(|hit| {
                hit.headers
                    .get("x-envoy-attempt-count")
                    .map_or("", String::as_str)
            })
            .collect();
        let mirrors: Vec<&Hit> = self.hits.iter().filter(|hit| is_mirror(hit, log)).collect();
        let mirror = mirrors.first().map_or(Value::Null, |hit| {
            json!({
                "host": hit.host, "path": hit.path, "method": hit.method, "body": hit.body,
                "service": hit.service, "version": hit.version, "headers": hit.headers,
            })
        });
        let again = self
            .hits
            .first()
            .map(|hit| Some(&hit.remote) == self.previous_remote.as_ref());
        fields.insert("upstream_calls".to_owned(), json!(self.hits.len()));
        fields.insert("upstream_connections".to_owned(), json!(remotes.len()));
        fields.insert("attempt_counts".to_owned(), json!(attempts));
        fields.insert("mirrored".to_owned(), json!(mirrors.len()));
        fields.insert("mirror_request".to_owned(), mirror);
        fields.insert("max_inflight".to_owned(), json!(self.max_inflight));
        fields.insert("same_upstream_connection_as_before".to_owned(), json!(again));
    }
}

fn answer_fields(answer: &Answer, fields: &mut Map<String, Value>) {
    if let Some(status) = answer.status {
        fields.insert("status".to_owned(), json!(status));
        let headers: Map<String, Value> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), json!(value)))
            .collect();
        fields.insert("headers".to_owned(), Value::Object(headers));
    }
    fields.insert("body".to_owned(), json!(answer.body));
    if let Some(echo) = &answer.echo {
        fields.insert("echo".to_owned(), echo.clone());
    }
    if let Some(error) = &answer.error {
        fields.insert("error".to_owned(), json!(error));
    }
    fields.insert("seconds".to_owned(), json!(answer.seconds));
}

/// A call that another server than the route's own got: `outbound|80|v1|web.app.svc.cluster.local` names that.
fn is_mirror(hit: &Hit, log: Option<&LogLine>) -> bool {
    let cluster = log
        .and_then(|log| log.get("upstream_cluster"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut parts = cluster.split('|').skip(2);
    let (Some(subset), Some(host)) = (parts.next(), parts.next()) else {
        return false;
    };
    host.split('.').next() != Some(hit.service.as_str()) || (!subset.is_empty() && subset != hit.version)
}
