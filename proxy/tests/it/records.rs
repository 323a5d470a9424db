//! Single requests as a running proxy records them: spans that hang together, kept errors, asked-for traces.

use std::time::Duration;

use mesh_model::listener::{ConnectionService, Direction, RouteSource, TcpProxy, Tracing};
use mesh_model::record::{KeptReason, KeptRequest, Span, SpanKind, TraceId};
use sightline_proxy::record::{Record, Settings};
use sightline_proxy::runtime::NodeKind;
use sightline_proxy::secure::NoTls;

use crate::harness::*;

type Queue = tokio::sync::mpsc::Receiver<Record>;

fn traced(upstream: &Recorder, sampling_percent: f64) -> Proxy {
    let mut rule = route("to-app", prefix("/"), forward(to("app")));
    rule.operation = Some("app.default.svc.cluster.local:80/*".into());
    let source = RouteSource::Inline(std::sync::Arc::new(table(vec![rule])));
    let mut connection = http(source);
    connection.tracing = Some(Tracing {
        sampling_percent,
        collector_cluster: None,
        max_path_tag: 256,
        custom_tags: Vec::new(),
    });
    let clusters = vec![cluster("app", vec![endpoint(upstream.address, "app-v1")])];
    Proxy::with(NodeKind::Sidecar, clusters, connection)
}

/// Everything that has come out, once `enough` says so.
fn gathered(
    queue: &mut Queue,
    what: &str,
    enough: impl Fn(&[Span], &[KeptRequest]) -> bool,
) -> (Vec<Span>, Vec<KeptRequest>) {
    let (mut spans, mut requests) = (Vec::new(), Vec::new());
    eventually(what, || {
        while let Ok(record) = queue.try_recv() {
            match record {
                Record::Span(span) => spans.push(*span),
                Record::Request(request) => requests.push(*request),
            }
        }
        enough(&spans, &requests)
    });
    (spans, requests)
}

#[test]
fn the_upstream_is_told_of_this_proxys_span() {
    let app = Recorder::new(|_| ok("app"));
    let proxy = traced(&app, 100.0);
    let mut queue = proxy.runtime.records().open(Settings::default()).unwrap();
    let parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    proxy.get("/a?b=secret", &format!("traceparent: {parent}\r\n"));
    let (spans, _) = gathered(&mut queue, "a span", |spans, _| !spans.is_empty());
    let span = &spans[0];
    let told = app.messages()[0].header("traceparent").unwrap().to_owned();
    assert_eq!(told, format!("00-{}-{}-01", span.trace_id, span.span_id));
    assert_ne!(told, parent);
    assert_eq!(span.parent.unwrap().to_string(), "00f067aa0ba902b7");
    assert_eq!(
        (span.kind, span.sampled, span.error),
        (SpanKind::Client, true, false)
    );
    assert_eq!(span.name, "app.default.svc.cluster.local:80/*");
    let tag = |name: &str| {
        let found = span.attributes.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    assert_eq!(
        (tag("http.status_code"), tag("http.method"), tag("component")),
        ("200", "GET", "proxy")
    );
    assert!(tag("http.url").ends_with("/a?b="), "{}", tag("http.url"));
}

#[test]
fn without_tracing_nothing_is_added() {
    let app = Recorder::new(|_| ok("app"));
    let rule = route("to-app", prefix("/"), forward(to("app")));
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![rule],
        vec![cluster("app", vec![endpoint(app.address, "app-v1")])],
    );
    proxy.get("/", "");
    let head = app.messages()[0].head.to_ascii_lowercase();
    assert!(
        !head.contains("\ntraceparent:") && !head.contains("\nb3:") && !head.contains("\nx-b3-"),
        "{head}"
    );
}

#[test]
fn an_error_is_kept_with_its_span() {
    let app = Recorder::new(|_| reply(503, "", "down"));
    let proxy = traced(&app, 0.0);
    let mut queue = proxy.runtime.records().open(Settings::default()).unwrap();
    let answer = proxy.get(
        "/pay?card=4111",
        "authorization: Basic c2VjcmV0\r\nx-plan: gold\r\n",
    );
    assert_eq!(answer.status, 503);
    let (spans, requests) = gathered(&mut queue, "an error", |spans, requests| {
        !spans.is_empty() && !requests.is_empty()
    });
    let (span, request) = (&spans[0], &requests[0]);
    assert_eq!((request.trace_id, request.span_id), (span.trace_id, span.span_id));
    assert_eq!(
        (request.reason, request.key.response_code),
        (KeptReason::Error, 503)
    );
    assert_eq!(
        (request.path.as_str(), request.details.as_str()),
        ("/pay?card=", "via_upstream")
    );
    assert_eq!(request.upstream_host, app.address.to_string());
    assert!(span.error && !span.sampled);
    let header = |name: &str| {
        let found = request.headers.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    };
    assert_eq!(
        (header("authorization"), header("x-plan")),
        (Some("[redacted]"), Some("gold"))
    );
    let text = format!("{span:?}{request:?}");
    assert!(!text.contains("4111") && !text.contains("c2VjcmV0"), "{text}");
}

#[test]
fn a_trace_that_is_asked_for_comes_from_the_ring() {
    let app = Recorder::new(|_| ok("app"));
    let proxy = traced(&app, 0.0);
    let mut queue = proxy.runtime.records().open(Settings::default()).unwrap();
    // The first request of each worker is a sample; this one's trace is our own, so that we know it.
    let get = |trace: &str| proxy.get("/", &format!("traceparent: 00-{trace}-00f067aa0ba902b7-00\r\n"));
    let other = "11111111111111111111111111111111";
    (0..8).for_each(|_| drop(get(other)));
    let wanted = "4bf92f3577b34da6a3ce929d0e0e4736";
    get(wanted);
    let ids = [TraceId::parse(wanted).unwrap()];
    proxy.runtime.records().ask(&ids);
    let (spans, _) = gathered(&mut queue, "the asked-for span", |spans, _| {
        spans.iter().any(|span| span.trace_id == ids[0])
    });
    assert_eq!(spans.iter().filter(|span| span.trace_id == ids[0]).count(), 1);
    // What ends after the question goes out as well.
    get(wanted);
    gathered(&mut queue, "the later span", |spans, _| {
        spans.iter().any(|span| span.trace_id == ids[0])
    });
}

#[tokio::test]
async fn the_end_hands_over_everything() {
    let app = Recorder::new(|_| ok("app"));
    let proxy = traced(&app, 100.0);
    let mut queue = proxy.runtime.records().open(Settings::default()).unwrap();
    let runtime = proxy.runtime.clone();
    tokio::task::spawn_blocking(move || (0..5).for_each(|_| drop(proxy.get("/", ""))))
        .await
        .unwrap();
    runtime.shutdown(Duration::from_secs(1)).await;
    let mut spans = 0;
    while let Ok(record) = queue.try_recv() {
        spans += usize::from(matches!(record, Record::Span(_)));
    }
    assert_eq!(spans, 5);
}

fn tcp(upstream: std::net::SocketAddr) -> Proxy {
    let address = free_address();
    let runtime = start(NodeKind::Sidecar, "client-v1", std::sync::Arc::new(NoTls));
    let mut listener = listener(
        address,
        Direction::Outbound,
        http(RouteSource::Named("none".into())),
    );
    for chain in &mut listener.chains {
        chain.service = ConnectionService::Tcp(TcpProxy {
            stat_prefix: "db".into(),
            clusters: vec![("db".into(), 1)],
            idle_timeout: None,
            max_duration: None,
            hash_source_ip: false,
            access_logs: Vec::new(),
            origin: None,
            policies: mesh_model::authorization::Policies::default(),
        });
    }
    let clusters = vec![cluster("db", vec![endpoint(upstream, "db-v1")])];
    runtime
        .apply(std::sync::Arc::new(snapshot(vec![listener], clusters)))
        .unwrap();
    Proxy { runtime, address }
}

#[test]
fn a_connection_is_counted_when_it_opens_and_kept_when_it_fails() {
    let nobody = free_address();
    let proxy = tcp(nobody);
    let mut queue = proxy.runtime.records().open(Settings::default()).unwrap();
    proxy.exchange(b"hello");
    let (spans, requests) = gathered(&mut queue, "a failed connection", |spans, requests| {
        !spans.is_empty() && !requests.is_empty()
    });
    let request = &requests[0];
    assert_eq!(
        (request.reason, request.http_version.as_str()),
        (KeptReason::Error, "TCP")
    );
    assert_eq!((spans[0].name.as_str(), spans[0].error), ("tcp db", true));
    assert_eq!(request.upstream_host, nobody.to_string());
    eventually("one connection opened and one closed", || {
        let totals = proxy.runtime.registry().cumulative();
        let opened: u64 = totals.iter().map(|(_, t)| t.opened).sum();
        let closed: u64 = totals.iter().map(|(_, t)| t.requests).sum();
        (opened, closed) == (1, 1)
    });
}
