//! One recorded case: configuration, requests, what was observed, and which of it must be reproduced.

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Map, Value};

/// One line of `cases.jsonl`.
#[derive(Debug, Clone, Deserialize)]
pub struct Case {
    /// Name of the case.
    pub id: String,
    /// What it shows.
    pub title: String,
    /// YAML documents that are applied for this case alone.
    pub config: String,
    /// Admission's message, if the configuration was refused.
    pub rejected: Option<String>,
    /// Warnings of admission.
    #[serde(default)]
    pub warnings: Vec<String>,
    /// Requests in order.
    pub steps: Vec<Step>,
    /// Fields that must be reproduced: `<step>.<field>`, or one of the case's own.
    pub compare: Vec<String>,
    /// Fields that varied when the recording was repeated.
    #[serde(default)]
    pub unstable: Vec<String>,
    /// Seconds between the creation of one object and the next: their age decides.
    #[serde(default)]
    pub create_in_order_seconds_apart: Option<f64>,
}

/// A request, or several equal ones, and what was seen.
#[derive(Debug, Clone, Deserialize)]
pub struct Step {
    /// Who asks.
    pub from: Role,
    /// What is asked.
    pub request: Request,
    /// What was seen, by field.
    pub observed: Map<String, Value>,
}

/// Who sends the requests of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// The injected client in namespace `app`.
    Client,
    /// The injected client in namespace `app2`.
    Client2,
    /// The client without sidecar in namespace `plain`.
    Plain,
    /// The same, calling the ingress gateway.
    GatewayClient,
}

/// What is sent.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// Method as sent, any case.
    pub method: String,
    /// `http://`, `https://` or `tcp://` and where to.
    pub url: String,
    /// Headers in order; `Host` overrides the authority of the URL.
    pub headers: Map<String, Value>,
    /// Body.
    pub body: String,
    /// HTTP/2 by prior knowledge.
    pub http2: bool,
    /// How many equal requests.
    pub times: usize,
    /// How many at once.
    pub concurrency: usize,
    /// Not HTTP by itself: connect here, send [`Request::send`], read one line.
    #[serde(default)]
    pub tcp: Option<String>,
    /// Bytes for [`Request::tcp`]; a line if absent.
    #[serde(default)]
    pub send: Option<String>,
    /// Connect here instead of where the URL says.
    #[serde(default)]
    pub connect: Option<String>,
    /// TLS server name.
    #[serde(default)]
    pub sni: Option<String>,
    /// Pause before the step.
    #[serde(default)]
    pub wait_before_seconds: f64,
    /// A new connection for each request.
    #[serde(default)]
    pub fresh: bool,
    /// How long a TCP connection stays open after its answer.
    #[serde(default)]
    pub hold_ms: u64,
    /// Ask again until the answer is 200, for so long.
    #[serde(default)]
    pub repeat_until_status_200_within_seconds: Option<f64>,
}

impl Case {
    /// Reads `cases.jsonl`.
    pub fn read_all(text: &str) -> anyhow::Result<Vec<Self>> {
        text.lines()
            .enumerate()
            .filter(|(_, line)| !line.trim().is_empty())
            .map(|(at, line)| {
                serde_json::from_str(line).with_context(|| format!("cases.jsonl line {}", at + 1))
            })
            .collect()
    }

    /// The fields to compare of one step, without the step's number. What varied in one step varies in all.
    pub fn fields_of(&self, step: usize) -> impl Iterator<Item = &str> {
        let unstable = |field: &str| {
            let mut unstable = self.unstable.iter().filter_map(|listed| listed.split_once('.'));
            unstable.any(|(_, listed)| listed == field)
        };
        self.compare.iter().filter_map(move |field| {
            let (number, field) = field.split_once('.')?;
            (number.parse() == Ok(step) && !unstable(field)).then_some(field)
        })
    }

    /// Whether a field of the case itself (`rejected`, `warnings`, `proxy_nack`) must be reproduced.
    #[must_use]
    pub fn compares(&self, field: &str) -> bool {
        self.compare.iter().any(|listed| listed == field)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn every_recorded_case_is_understood() {
        let cases = Case::read_all(include_str!("../../data/observed/routing/cases.jsonl")).unwrap();
        assert_eq!(cases.len(), 363);
        for case in &cases {
            for field in &case.compare {
                let number = field
                    .split('.')
                    .next()
                    .and_then(|number| number.parse::<usize>().ok());
                assert!(
                    number.map_or(case.compares(field), |number| number < case.steps.len()),
                    "{}: {field}",
                    case.id
                );
            }
        }
    }
}
