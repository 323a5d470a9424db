//! Counters as Prometheus text: Istio's standard metrics, the per-route ones and the proxy's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use mesh_model::edge::{RequestProtocol, SeriesKey};
use mesh_telemetry::{labels as names, metrics, series};

use crate::record;
use crate::stats::{BUCKET_BOUNDS, FixedHistogram, SeriesTotals};

mod view;

use view::Shown;
pub use view::View;

/// Facts of the proxy itself.
#[derive(Debug, Clone, Default)]
pub struct Own {
    /// Seconds since the control plane last confirmed the configuration; `None` without discovery.
    pub config_age_seconds: Option<f64>,
    /// Revision in force.
    pub revision: Option<String>,
    /// Requests that were counted and could not be told to the control plane.
    pub telemetry_dropped: u64,
    /// Single requests and spans.
    pub records: record::Shown,
    /// Endpoints ejected since the start.
    pub ejections: u64,
    /// Scrapes of the application since the start, and those that failed; `None` when it is not scraped.
    pub application: Option<(u64, u64)>,
    /// Requests counted under `other`.
    pub overflowed: u64,
    /// Seconds until the workload certificate ends.
    pub certificate_expiry: Option<f64>,
    /// Access log lines that were dropped.
    pub log_lines_dropped: u64,
}

/// Everything as one text.
#[must_use]
pub fn prometheus(series: &[(SeriesKey, SeriesTotals)], view: &View, own: &Own) -> String {
    let mut out = String::with_capacity(series.len() * 4096 + 1024);
    let shown = Shown::new(series, view);
    let http = |protocol| protocol != RequestProtocol::Tcp;
    let tcp = |protocol| protocol == RequestProtocol::Tcp;
    let grpc = |protocol| protocol == RequestProtocol::Grpc;
    let mut counter =
        |word: &str, name: &str, of: fn(RequestProtocol) -> bool, value: fn(&SeriesTotals) -> f64| {
            let all = shown.metric(word, of);
            counters(&mut out, name, all.iter().map(|(l, t)| (l.as_ref(), value(t))));
        };
    counter("REQUEST_COUNT", metrics::REQUESTS_TOTAL, http, |t| {
        count(t.requests)
    });
    counter(
        "GRPC_REQUEST_MESSAGES",
        metrics::REQUEST_MESSAGES_TOTAL,
        grpc,
        |t| count(t.request_messages),
    );
    counter(
        "GRPC_RESPONSE_MESSAGES",
        metrics::RESPONSE_MESSAGES_TOTAL,
        grpc,
        |t| count(t.response_messages),
    );
    // Towards the client is "sent", as in Istio.
    counter("TCP_SENT_BYTES", metrics::TCP_SENT_BYTES_TOTAL, tcp, |t| {
        t.response_bytes.sum
    });
    counter(
        "TCP_RECEIVED_BYTES",
        metrics::TCP_RECEIVED_BYTES_TOTAL,
        tcp,
        |t| t.request_bytes.sum,
    );
    counter(
        "TCP_OPENED_CONNECTIONS",
        metrics::TCP_CONNECTIONS_OPENED_TOTAL,
        tcp,
        |t| count(t.opened),
    );
    counter(
        "TCP_CLOSED_CONNECTIONS",
        metrics::TCP_CONNECTIONS_CLOSED_TOTAL,
        tcp,
        |t| count(t.requests),
    );
    let mut histogram = |word: &str, name: &str, value: fn(&SeriesTotals) -> &FixedHistogram| {
        let all = shown.metric(word, http);
        histograms(&mut out, name, all.iter().map(|(l, t)| (l.as_ref(), value(t))));
    };
    histogram("REQUEST_DURATION", metrics::REQUEST_DURATION_MILLISECONDS, |t| {
        &t.duration
    });
    histogram("REQUEST_SIZE", metrics::REQUEST_BYTES, |t| &t.request_bytes);
    histogram("RESPONSE_SIZE", metrics::RESPONSE_BYTES, |t| &t.response_bytes);
    per_route(&mut out, series);
    retries(&mut out, series);
    proxy(&mut out, own);
    out
}

/// Prometheus numbers are floating point; counts stay exact up to 2^53.
fn count(value: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    let value = value as f64;
    value
}

fn per_route(out: &mut String, series: &[(SeriesKey, SeriesTotals)]) {
    let mut routes: BTreeMap<String, (u64, FixedHistogram)> = BTreeMap::new();
    for (key, totals) in series {
        if key.protocol == RequestProtocol::Tcp || key.origin.virtual_service.is_empty() {
            continue;
        }
        let labels = labels(|found| series::each_route_label(key, found));
        let (requests, duration) = routes.entry(labels).or_default();
        *requests += totals.requests;
        duration.merge(&totals.duration);
    }
    counters(
        out,
        metrics::ROUTE_REQUESTS_TOTAL,
        routes.iter().map(|(l, (n, _))| (l.as_str(), count(*n))),
    );
    histograms(
        out,
        metrics::ROUTE_REQUEST_DURATION_MILLISECONDS,
        routes.iter().map(|(l, (_, h))| (l.as_str(), h)),
    );
}

/// Retries by the service that was called.
fn retries(out: &mut String, series: &[(SeriesKey, SeriesTotals)]) {
    let mut services: BTreeMap<String, u64> = BTreeMap::new();
    for (key, totals) in series.iter().filter(|(_, totals)| totals.retries > 0) {
        let labels = labels(|found| found(names::DESTINATION_SERVICE, &key.service.host));
        *services.entry(labels).or_default() += totals.retries;
    }
    counters(
        out,
        metrics::PROXY_RETRIES_TOTAL,
        services.iter().map(|(l, n)| (l.as_str(), count(*n))),
    );
}

/// What was lost on the way to the control plane, and what was not kept of single requests.
fn lost(out: &mut String, own: &Own) {
    let kinds = |label: &'static str, values: &[(&str, u64)]| -> Vec<(String, f64)> {
        values
            .iter()
            .map(|(kind, value)| (labels(|found| found(label, kind)), count(*value)))
            .collect()
    };
    let records = &own.records;
    let dropped = kinds(
        "kind",
        &[
            ("counts", own.telemetry_dropped),
            ("spans", records.dropped_spans),
            ("kept_requests", records.dropped_requests),
            ("asked_traces", records.dropped_asks),
        ],
    );
    let not_kept = kinds(
        "reason",
        &[
            ("error", records.errors_not_kept),
            ("slow", records.slow_not_kept),
        ],
    );
    for (name, values) in [
        (metrics::PROXY_TELEMETRY_DROPPED_TOTAL, dropped),
        (metrics::PROXY_REQUESTS_NOT_KEPT_TOTAL, not_kept),
    ] {
        counters(out, name, values.iter().map(|(l, v)| (l.as_str(), *v)));
    }
    let one = |value: u64| std::iter::once(("", count(value)));
    counters(out, metrics::PROXY_SPANS_EVICTED_TOTAL, one(records.evicted));
    counters(out, metrics::PROXY_EJECTIONS_TOTAL, one(own.ejections));
    if let Some((scrapes, failures)) = own.application {
        counters(out, "istio_agent_scrapes_total", one(scrapes));
        let application = std::iter::once(("type=\"application\"", count(failures)));
        counters(out, "istio_agent_scrape_failures_total", application);
    }
}

fn proxy(out: &mut String, own: &Own) {
    let version = env!("CARGO_PKG_VERSION");
    let build = labels(|found| {
        found("component", "proxy");
        found("tag", version);
    });
    gauge(out, metrics::ISTIO_BUILD, &build, 1.0);
    if let Some(age) = own.config_age_seconds {
        gauge(out, metrics::PROXY_CONFIG_AGE_SECONDS, "", age);
    }
    if let Some(revision) = &own.revision {
        let revision = labels(|found| found("revision", revision));
        gauge(out, metrics::PROXY_CONFIG_REVISION_INFO, &revision, 1.0);
    }
    if let Some(expiry) = own.certificate_expiry {
        gauge(out, metrics::PROXY_CERTIFICATE_EXPIRY_SECONDS, "", expiry);
    }
    let decisions: Vec<(String, f64)> = crate::walk::admit::counted()
        .into_iter()
        .map(|(key, value)| {
            let labels = labels(|found| {
                found("policy", &key.policy);
                found("rule", &key.rule);
                found("action", key.action);
                found("decision", key.decision);
                found("shadow", if key.shadow { "true" } else { "false" });
            });
            (labels, count(value))
        })
        .collect();
    counters(
        out,
        metrics::AUTHZ_DECISIONS_TOTAL,
        decisions.iter().map(|(labels, value)| (labels.as_str(), *value)),
    );
    let one = |value: u64| std::iter::once(("", count(value)));
    lost(out, own);
    counters(out, metrics::PROXY_SERIES_OVERFLOWED_TOTAL, one(own.overflowed));
    counters(
        out,
        "sightline_proxy_log_lines_dropped_total",
        one(own.log_lines_dropped),
    );
}

fn labels(each: impl FnOnce(&mut dyn FnMut(&'static str, &str))) -> String {
    let mut out = String::new();
    each(&mut |name, value| label(&mut out, name, value));
    out
}

/// Appends one label.
fn label(out: &mut String, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(',');
    }
    out.push_str(name);
    out.push_str("=\"");
    for c in value.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
}

fn line(out: &mut String, name: &str, suffix: &str, labels: &str, value: f64) {
    out.push_str(name);
    out.push_str(suffix);
    if !labels.is_empty() {
        out.push('{');
        out.push_str(labels);
        out.push('}');
    }
    // Writing to a String cannot fail.
    let _ = writeln!(out, " {value}");
}

fn counters<'a>(out: &mut String, name: &str, values: impl Iterator<Item = (&'a str, f64)>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, "# TYPE {name} counter");
    }
    for (labels, value) in values {
        line(out, name, "", labels, value);
    }
}

fn gauge(out: &mut String, name: &str, labels: &str, value: f64) {
    let _ = writeln!(out, "# TYPE {name} gauge");
    line(out, name, "", labels, value);
}

fn histograms<'a>(out: &mut String, name: &str, values: impl Iterator<Item = (&'a str, &'a FixedHistogram)>) {
    let mut values = values.peekable();
    if values.peek().is_some() {
        let _ = writeln!(out, "# TYPE {name} histogram");
    }
    for (labels, histogram) in values {
        let mut below = 0;
        let bounds = BUCKET_BOUNDS
            .iter()
            .map(|b| b.to_string())
            .chain(["+Inf".to_owned()]);
        for (bound, n) in bounds.zip(histogram.buckets) {
            below += n;
            let labels = if labels.is_empty() {
                format!("le=\"{bound}\"")
            } else {
                format!("{labels},le=\"{bound}\"")
            };
            line(out, name, "_bucket", &labels, count(below));
        }
        line(out, name, "_sum", labels, histogram.sum);
        line(out, name, "_count", labels, count(histogram.count()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mesh_model::edge::Reporter;
    use mesh_model::flags::ResponseFlags;
    use mesh_model::route::RouteOrigin;
    use mesh_model::workload::{ServiceName, Workload};

    #[test]
    fn a_request_is_one_in_every_metric_that_should_have_it() {
        let key = SeriesKey {
            reporter: Reporter::Destination,
            source: Workload::unknown(),
            source_principal: "a\"b\\c\nd".into(),
            service: ServiceName::unknown(),
            destination: Workload::unknown(),
            destination_principal: "unknown".into(),
            protocol: RequestProtocol::Http,
            response_code: 200,
            grpc_status: None,
            flags: ResponseFlags::NONE,
            mutual_tls: true,
            origin: RouteOrigin {
                virtual_service: "default/reviews".into(),
                ..RouteOrigin::default()
            },
        };
        let mut totals = SeriesTotals {
            requests: 1,
            ..SeriesTotals::default()
        };
        totals.duration.record(7.0);
        let text = prometheus(
            &[(key, totals)],
            &View::default(),
            &Own {
                revision: Some("r1".into()),
                ..Own::default()
            },
        );
        for wanted in [
            "# TYPE istio_requests_total counter\nistio_requests_total{reporter=\"destination\",",
            "source_principal=\"a\\\"b\\\\c\\nd\"",
            "connection_security_policy=\"mutual_tls\",response_code=\"200\",grpc_response_status=\"\"} 1\n",
            "le=\"5\"} 0\n",
            "le=\"10\"} 1\n",
            "le=\"+Inf\"} 1\n",
            "sightline_route_requests_total{",
            "sightline_proxy_config_revision_info{revision=\"r1\"} 1\n",
            "istio_build{component=\"proxy\",",
        ] {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
        assert!(!text.contains("istio_tcp"), "{text}");
    }
}
