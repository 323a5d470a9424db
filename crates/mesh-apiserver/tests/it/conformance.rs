//! Plays the scenarios of `tests/conformance/*.yaml` on a server. See the README there for their form.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::client::{Answer, Client};

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    pub(crate) scenario: String,
    /// `admission`: what only a mesh's webhook refuses; played on ours only.
    #[serde(default)]
    pub(crate) only: String,
    pub(crate) steps: Vec<Step>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Step {
    /// `METHOD /path?query`.
    pub(crate) send: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Bearer token other than the administrator's; `none` sends none.
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    body: Option<Value>,
    /// A body as it is.
    #[serde(default)]
    raw: Option<String>,
    /// A body of so many bytes.
    #[serde(default)]
    bytes: Option<usize>,
    status: u16,
    /// JSON pointer -> expected value.
    #[serde(default)]
    answer: BTreeMap<String, Value>,
    /// `MANAGER OPERATION [SUBRESOURCE]` -> the fields that it manages; all of them.
    #[serde(default)]
    managed: Option<BTreeMap<String, Value>>,
    /// Expected text of the whole body.
    #[serde(default)]
    text: Option<String>,
    /// Headers of the answer.
    #[serde(default)]
    answer_headers: BTreeMap<String, Value>,
    /// Variable -> JSON pointer.
    #[serde(default)]
    save: BTreeMap<String, String>,
    /// Steps that run while this watch is open.
    #[serde(default)]
    during: Vec<Step>,
    /// The events of this watch, in order, by JSON pointer.
    #[serde(default)]
    events: Option<Vec<BTreeMap<String, Value>>>,
}

/// What went wrong, each with its place.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) requests: usize,
    pub(crate) faults: Vec<String>,
    /// Every answer, for comparing two servers.
    pub(crate) transcript: Vec<(String, Value)>,
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/conformance");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let list: Vec<Scenario> =
            serde_saphyr::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        all.extend(list);
    }
    all
}

/// Plays the scenarios of a kind on a server: `` for those that both servers pass, or `admission`.
pub(crate) async fn play(client: &Client, kind: &str) -> Report {
    let mut report = Report::default();
    let wanted = std::env::var("SIGHTLINE_SCENARIO").unwrap_or_default();
    for scenario in scenarios() {
        if scenario.only != kind || !scenario.scenario.contains(&wanted) {
            continue;
        }
        let mut player = Player::new(client, &scenario.scenario).await;
        for (at, step) in scenario.steps.iter().enumerate() {
            Box::pin(player.step(step, &format!("{}[{at}]", scenario.scenario), &mut report)).await;
        }
    }
    report
}

struct Player<'a> {
    client: &'a Client,
    variables: BTreeMap<String, String>,
}

impl<'a> Player<'a> {
    /// Each scenario has a namespace of its own, with the account that a controller would make.
    async fn new(client: &'a Client, scenario: &str) -> Self {
        let suffix: u32 = rand::random();
        let namespace = format!("t-{}-{suffix:08x}", scenario.replace([' ', '_'], "-"));
        let send = async |path: String, body: Value| {
            let headers = [("content-type".to_owned(), "application/json".to_owned())];
            client
                .send("POST", &path, &headers, body.to_string().into())
                .await
                .status
        };
        let made = send(
            "/api/v1/namespaces".into(),
            json!({"metadata": {"name": namespace}}),
        )
        .await;
        assert_eq!(made, 201, "namespace {namespace}");
        send(
            format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            json!({"metadata": {"name": "default"}}),
        )
        .await;
        Self {
            client,
            variables: BTreeMap::from([
                ("ns".into(), namespace),
                ("id".into(), format!("{suffix:08x}")),
                ("host".into(), client.address.to_string()),
            ]),
        }
    }

    fn fill(&self, text: &str) -> String {
        self.variables
            .iter()
            .fold(text.to_owned(), |text, (name, value)| {
                text.replace(&format!("{{{name}}}"), value)
            })
    }

    /// Long values (not resource versions) back to their names.
    fn unfill(&self, text: &str) -> String {
        let long = self
            .variables
            .iter()
            .filter(|(name, value)| value.len() >= 8 && *name != "host");
        long.fold(text.to_owned(), |text, (name, value)| {
            text.replace(value, &format!("{{{name}}}"))
        })
    }

    fn fill_value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.fill(text)),
            Value::Array(items) => items.iter().map(|i| self.fill_value(i)).collect(),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(k, v)| (self.fill(k), self.fill_value(v)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    async fn send(&self, step: &Step) -> Answer {
        let line = self.fill(&step.send);
        let (method, target) = line
            .split_once(' ')
            .unwrap_or_else(|| panic!("{line}: METHOD /path is missing"));
        let mut headers: Vec<(String, String)> = step
            .headers
            .iter()
            .map(|(k, v)| (k.to_lowercase(), self.fill(v)))
            .collect();
        let body = match (&step.body, &step.raw, step.bytes) {
            (Some(body), _, _) => Bytes::from(self.fill_value(body).to_string()),
            (_, Some(raw), _) => Bytes::from(self.fill(raw)),
            (_, _, Some(length)) => {
                let head = r#"{"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"big"},"data":{"a":""#;
                Bytes::from(format!("{head}{}\"}}}}", "x".repeat(length)))
            }
            _ => Bytes::new(),
        };
        if !body.is_empty() && !headers.iter().any(|(n, _)| n == "content-type") {
            headers.push(("content-type".into(), "application/json".into()));
        }
        match step.token.as_deref() {
            None => {}
            Some("none") => headers.push(("authorization".into(), String::new())),
            Some(token) => headers.push(("authorization".into(), format!("Bearer {}", self.fill(token)))),
        }
        let mut client = self.client.clone();
        if step.token.as_deref() == Some("none") {
            headers.retain(|(n, _)| n != "authorization");
            client.token.clear();
        }
        client.send(method, target, &headers, body).await
    }

    async fn step(&mut self, step: &Step, place: &str, report: &mut Report) {
        report.requests += 1;
        let answer = self.send(step).await;
        let place = format!("{place} {}", step.send);
        let mut fault = |what: String| report.faults.push(format!("{place}: {what}"));
        if answer.status != step.status {
            fault(format!("status {}, expected {}", answer.status, step.status));
        }
        for (name, expected) in &step.answer_headers {
            let found: Vec<&str> = answer
                .headers
                .get_all(name)
                .iter()
                .filter_map(|v| v.to_str().ok())
                .collect();
            let found = found.join("; ");
            if let Err(why) = fits(&json!(found), &self.fill_value(expected)) {
                fault(format!("header {name}: {why}"));
            }
        }
        if let Some(expected) = &step.events {
            let events = self.watch(answer, step, &place, expected.len(), report).await;
            report.transcript.push((place.clone(), json!(events)));
            if events.len() < expected.len() {
                report.faults.push(format!(
                    "{place}: only {} events: {}",
                    events.len(),
                    json!(events)
                ));
            }
            for (at, (event, expected)) in events.iter().zip(expected).enumerate() {
                self.compare(event, expected, &format!("{place} event {at}"), report);
            }
            return;
        }
        let status = answer.status;
        let text = answer.text().await;
        if let Some(expected) = &step.text
            && text != *expected
        {
            report
                .faults
                .push(format!("{place}: body {text:?}, expected {expected:?}"));
        }
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        if status != step.status {
            report.faults.push(format!("{place}: {body}"));
        }
        self.compare(&body, &step.answer, &place, report);
        if let Some(expected) = &step.managed {
            let (found, expected) = (managers(&body), self.fill_value(&json!(expected)));
            if found != expected {
                let fault = format!("{place}: managers {found}, expected {expected}");
                report.faults.push(fault);
            }
        }
        for (name, pointer) in &step.save {
            match body.pointer(pointer) {
                Some(Value::String(text)) => self.variables.insert(name.clone(), text.clone()),
                Some(other) => self.variables.insert(name.clone(), other.to_string()),
                None => {
                    report
                        .faults
                        .push(format!("{place}: nothing at {pointer} to save as {name}"));
                    None
                }
            };
        }
        let body = serde_json::from_str(&self.unfill(&body.to_string())).unwrap_or(body);
        report
            .transcript
            .push((place, json!({"status": status, "body": body})));
    }

    fn compare(&self, body: &Value, expected: &BTreeMap<String, Value>, place: &str, report: &mut Report) {
        for (pointer, expected) in expected {
            let found = body.pointer(pointer).unwrap_or(&Value::Null);
            let absent = body.pointer(pointer).is_none();
            let expected = self.fill_value(expected);
            let result = match expected.get("absent").and_then(Value::as_bool) {
                Some(true) if absent => Ok(()),
                Some(true) => Err(format!("{found} is there")),
                _ => fits(found, &expected),
            };
            if let Err(why) = result {
                report.faults.push(format!("{place}: {pointer}: {why}"));
            }
        }
    }

    /// Reads events while the inner steps run, until there are enough or the watch ends.
    async fn watch(
        &mut self,
        answer: Answer,
        step: &Step,
        place: &str,
        enough: usize,
        report: &mut Report,
    ) -> Vec<Value> {
        let mut body = answer.body;
        for (at, inner) in step.during.iter().enumerate() {
            Box::pin(self.step(inner, &format!("{place} during[{at}]"), report)).await;
        }
        let mut text = String::new();
        let reading = async {
            while text.lines().count() < enough || !text.ends_with('\n') {
                match body.frame().await {
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            text.push_str(&String::from_utf8_lossy(&data));
                        }
                    }
                    _ => break,
                }
            }
        };
        let _ = tokio::time::timeout(Duration::from_secs(10), reading).await;
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }
}

/// Who manages what, without times and order.
fn managers(object: &Value) -> Value {
    let entries = object
        .pointer("/metadata/managedFields")
        .and_then(Value::as_array);
    let named = entries.into_iter().flatten().map(|entry| {
        let words: Vec<&str> = ["manager", "operation", "subresource"]
            .iter()
            .filter_map(|field| entry[*field].as_str())
            .collect();
        (words.join(" "), entry["fieldsV1"].clone())
    });
    Value::Object(named.collect())
}

/// Compares a value: `{matches: REGEX}`, `{contains: TEXT}` and `{present: true}` say less than equality.
fn fits(found: &Value, expected: &Value) -> Result<(), String> {
    let text = || found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    if let Some(map) = expected.as_object().filter(|m| m.len() == 1) {
        if let Some(pattern) = map.get("matches").and_then(Value::as_str) {
            let regex = regex::Regex::new(pattern).unwrap();
            return regex
                .is_match(&text())
                .then_some(())
                .ok_or_else(|| format!("{found} does not match {pattern}"));
        }
        if let Some(part) = map.get("contains").and_then(Value::as_str) {
            return text()
                .contains(part)
                .then_some(())
                .ok_or_else(|| format!("{found} does not contain {part:?}"));
        }
        if map.get("present").is_some() {
            return (!found.is_null()).then_some(()).ok_or_else(|| "is absent".into());
        }
        if let Some(length) = map.get("length").and_then(Value::as_u64) {
            let count = found.as_array().map_or(0, Vec::len) as u64;
            return (count == length)
                .then_some(())
                .ok_or_else(|| format!("has {count} items, expected {length}"));
        }
    }
    (found == expected)
        .then_some(())
        .ok_or_else(|| format!("{found}, expected {expected}"))
}

async fn play_on_ours(kind: &str) -> Report {
    let folder = tempfile::tempdir().unwrap();
    let mut config = mesh_apiserver::Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
    // The real server of the comparison has no mesh's webhook either.
    config.admission = kind == "admission";
    let server = mesh_apiserver::Server::start(config).await.unwrap();
    let ca = std::fs::read_to_string(folder.path().join("data/ca.crt")).unwrap();
    let client = Client::new(server.address(), &ca, server.admin_token());
    let report = play(&client, kind).await;
    server.shutdown().await;
    report
}

/// The whole table on the embedded server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_passes_the_table() {
    let report = play_on_ours("").await;
    finish(&report, "ours");
    if std::env::var("SIGHTLINE_SCENARIO").is_err() {
        assert!(
            report.requests >= 480,
            "the table has shrunk to {} requests",
            report.requests
        );
    }
}

/// What a mesh's webhook refuses, the embedded server refuses itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_server_refuses_what_a_webhook_would() {
    finish(&play_on_ours("admission").await, "admission");
}

/// Prints a report and fails on faults. With `SIGHTLINE_TRANSCRIPT=FOLDER` every answer goes to FOLDER/NAME.json.
pub(crate) fn finish(report: &Report, name: &str) {
    if let Ok(folder) = std::env::var("SIGHTLINE_TRANSCRIPT") {
        let all: serde_json::Map<String, Value> = report.transcript.iter().cloned().collect();
        let path = PathBuf::from(folder).join(format!("{name}.json"));
        std::fs::write(path, serde_json::to_string_pretty(&all).unwrap()).unwrap();
    }
    println!("{} requests", report.requests);
    assert!(
        report.faults.is_empty(),
        "{} faults:\n{}",
        report.faults.len(),
        report.faults.join("\n")
    );
}
