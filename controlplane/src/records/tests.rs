#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::record::{KeptReason, KeptRequest, Span, SpanId, SpanKind, TraceId};
use mesh_store::conformance;

use super::{TOLERATED_NS, shift};

pub(crate) fn trace(n: u8) -> TraceId {
    let mut id = [0; 16];
    id[15] = n;
    TraceId(id)
}

pub(crate) fn span_id(n: u8) -> SpanId {
    SpanId([0, 0, 0, 0, 0, 0, 0, n])
}

/// A request of `default/a` to `default/reviews-v1`.
pub(crate) fn request(trace_id: u8, span: u8, started_ns: u64) -> KeptRequest {
    KeptRequest {
        trace_id: trace(trace_id),
        span_id: span_id(span),
        proxy: "sidecar~127.64.1.2~a.default~default.svc.cluster.local".into(),
        started_ns,
        duration_ns: 1_000_000,
        key: conformance::key("a", 200),
        reason: KeptReason::Error,
        method: "GET".into(),
        authority: "reviews:9080".into(),
        path: "/reviews".into(),
        http_version: "HTTP/1.1".into(),
        user_agent: String::new(),
        request_id: String::new(),
        details: "via_upstream".into(),
        upstream_host: String::new(),
        upstream_cluster: String::new(),
        downstream_remote: String::new(),
        attempts: 1,
        request_bytes: 0,
        response_bytes: 0,
        headers: Vec::new(),
    }
}

pub(crate) fn span(trace_id: u8, span: u8, started_ns: u64) -> Span {
    Span {
        trace_id: trace(trace_id),
        span_id: span_id(span),
        parent: None,
        kind: SpanKind::Client,
        name: "reviews.default.svc.cluster.local:9080/*".into(),
        proxy: "sidecar~127.64.1.2~a.default~default.svc.cluster.local".into(),
        workload: conformance::key("a", 200).source,
        started_ns,
        duration_ns: 1_500_000,
        error: false,
        sampled: true,
        attributes: vec![("http.method".into(), "GET".into())],
    }
}

#[track_caller]
fn check(ends: &[u64], now: u64, wanted_shift: u64) {
    let mut starts: Vec<u64> = ends.iter().map(|end| end - 10).collect();
    let before = starts.clone();
    let got = shift(ends.iter().copied(), starts.iter_mut(), now);
    assert_eq!(got, wanted_shift, "{ends:?}");
    let moved: Vec<u64> = before.iter().map(|start| start - wanted_shift).collect();
    assert_eq!(starts, moved);
}

#[test]
fn records_of_a_clock_ahead_end_now() {
    let now = 100 * TOLERATED_NS;
    check(&[], now, 0);
    check(&[now - 5], now, 0);
    check(&[now + TOLERATED_NS], now, 0);
    check(&[now + TOLERATED_NS + 1], now, TOLERATED_NS + 1);
    // All of a message move together, so that a trace keeps its shape.
    check(&[now, now + 60 * TOLERATED_NS], now, 60 * TOLERATED_NS);
}
