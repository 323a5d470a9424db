//! What was sent and what came back.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use prometheus::{IntCounter, IntCounterVec, Opts, Registry, TextEncoder};
use serde_json::{Map, Value, json};

use crate::latency::Latency;

/// Exact counts, by path.
pub(crate) struct Counts {
    registry: Registry,
    host: String,
    paths: Vec<String>,
    sent: IntCounterVec,
    responses: IntCounterVec,
    unsent: IntCounterVec,
    latency: Mutex<Latency>,
}

/// Why a request that was due was not sent. Such a request is in no other count.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unsent {
    /// No connection could be made.
    Connect,
    /// Too many requests were waiting for a connection already.
    Overload,
}

impl Counts {
    /// All zero, with a series for every path.
    pub(crate) fn new(host: &str, paths: &[String]) -> Result<Self> {
        let vector = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(name, help), labels).context("cannot make a counter")
        };
        let sent = vector(
            "loadgen_requests_sent_total",
            "Requests that were sent, filed when they end.",
            &["host", "route"],
        )?;
        let responses = vector(
            "loadgen_responses_total",
            "What came back; status 0 is no answer.",
            &["host", "route", "status"],
        )?;
        let unsent = vector(
            "loadgen_requests_unsent_total",
            "Requests that were due but not sent.",
            &["reason"],
        )?;
        let registry = Registry::new();
        for counter in [&sent, &responses, &unsent] {
            registry
                .register(Box::new(counter.clone()))
                .context("cannot register a counter")?;
        }
        for path in paths {
            sent.with_label_values(&[host, path.as_str()]);
        }
        Ok(Self {
            registry,
            host: host.to_owned(),
            paths: paths.to_vec(),
            sent,
            responses,
            unsent,
            latency: Mutex::new(Latency::new()),
        })
    }

    /// A request was sent, and answered or (status 0) left without a whole answer.
    pub(crate) fn completed(&self, path: &str, status: u16, latency: Duration) {
        self.sent.with_label_values(&[self.host.as_str(), path]).inc();
        self.responses
            .with_label_values(&[self.host.as_str(), path, &status.to_string()])
            .inc();
        if status != 0 {
            self.latency().record(latency);
        }
    }

    /// It was due but not sent.
    pub(crate) fn unsent(&self, reason: Unsent) {
        self.unsent_counter(reason).inc();
    }

    /// Prometheus text.
    pub(crate) fn text(&self) -> Result<String> {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .context("cannot encode the counters")
    }

    /// Everything, for the end of the run.
    pub(crate) fn summary(&self) -> Value {
        let mut total = 0;
        let mut statuses: Map<String, Value> = Map::new();
        let mut routes = Vec::new();
        for path in &self.paths {
            let sent = self
                .sent
                .with_label_values(&[self.host.as_str(), path.as_str()])
                .get();
            let responses = self.by_status(path);
            total += sent;
            for (status, count) in &responses {
                let before = statuses.get(status).and_then(Value::as_u64).unwrap_or(0);
                statuses.insert(status.clone(), json!(before + count));
            }
            let responses: Map<String, Value> = responses
                .into_iter()
                .map(|(status, count)| (status, json!(count)))
                .collect();
            routes.push(json!({ "host": self.host, "route": path, "sent": sent, "responses": responses }));
        }
        let latency = self.latency();
        json!({
            "sent": total,
            "responses": statuses,
            "unsent": {
                "connect": self.unsent_counter(Unsent::Connect).get(),
                "overload": self.unsent_counter(Unsent::Overload).get(),
            },
            "routes": routes,
            "latency_ms": {
                "p50": latency.quantile_ms(0.5),
                "p90": latency.quantile_ms(0.9),
                "p99": latency.quantile_ms(0.99),
                "max": latency.longest_ms(),
            },
        })
    }

    fn by_status(&self, path: &str) -> Vec<(String, u64)> {
        let mut found = Vec::new();
        for family in self.registry.gather() {
            if family.name() != "loadgen_responses_total" {
                continue;
            }
            for metric in family.get_metric() {
                let label = |name: &str| {
                    metric
                        .get_label()
                        .iter()
                        .find(|label| label.name() == name)
                        .map(|label| label.value())
                };
                if label("route") == Some(path) {
                    let status = label("status").unwrap_or_default().to_owned();
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "an integer counter"
                    )]
                    found.push((status, metric.get_counter().get_value() as u64));
                }
            }
        }
        found
    }

    fn unsent_counter(&self, reason: Unsent) -> IntCounter {
        let reason = match reason {
            Unsent::Connect => "connect",
            Unsent::Overload => "overload",
        };
        self.unsent.with_label_values(&[reason])
    }

    fn latency(&self) -> MutexGuard<'_, Latency> {
        self.latency.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn summary_adds_up() {
        let counts = Counts::new("shop", &["/a".to_owned(), "/b".to_owned()]).unwrap();
        for (path, status) in [("/a", 200), ("/a", 0), ("/b", 200), ("/b", 503)] {
            counts.completed(path, status, Duration::from_millis(2));
        }
        counts.unsent(Unsent::Overload);
        let summary = counts.summary();
        assert_eq!(summary["sent"], 4);
        assert_eq!(summary["responses"], json!({ "0": 1, "200": 2, "503": 1 }));
        assert_eq!(summary["unsent"]["overload"], 1);
        assert_eq!(summary["routes"][1]["responses"]["503"], 1);
        let text = counts.text().unwrap();
        assert!(
            text.contains("loadgen_responses_total{host=\"shop\",route=\"/b\",status=\"503\"} 1"),
            "{text}"
        );
    }
}
