//! Round trip and refusals of spans and kept requests.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::record::{KeptReason, KeptRequest, Span, SpanId, SpanKind, TraceId};
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};
use mesh_telemetry::otlp::{
    MAX_REQUESTS, decode_requests, decode_spans, encode_requests, encode_spans, encode_spans_for_collectors,
};
use mesh_telemetry::spans;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::trace::v1::Span as Wire;
use proptest::prelude::*;

const PROXY: &str = "sidecar~127.64.1.2~a.default~default.svc.cluster.local";

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), Just("unknown".to_owned()), "[ -~é]{1,20}"]
}

fn workload() -> impl Strategy<Value = Workload> {
    (text(), text(), text(), text(), text()).prop_map(|(namespace, name, app, version, cluster)| Workload {
        namespace,
        name,
        app,
        version,
        cluster,
    })
}

fn trace() -> impl Strategy<Value = TraceId> {
    any::<[u8; 16]>()
        .prop_filter("zero", |id| *id != [0; 16])
        .prop_map(TraceId)
}

fn id() -> impl Strategy<Value = SpanId> {
    any::<[u8; 8]>()
        .prop_filter("zero", |id| *id != [0; 8])
        .prop_map(SpanId)
}

fn span() -> impl Strategy<Value = Span> {
    (
        (trace(), id(), proptest::option::of(id()), any::<bool>(), text()),
        workload(),
        (1..u64::MAX / 2, 0..u64::MAX / 2, any::<bool>(), any::<bool>()),
        proptest::collection::vec(("[a-z._:-]{1,12}", text()), 0..6),
    )
        .prop_map(|(ids, workload, rest, attributes)| Span {
            trace_id: ids.0,
            span_id: ids.1,
            parent: ids.2,
            kind: if ids.3 { SpanKind::Server } else { SpanKind::Client },
            name: ids.4,
            proxy: PROXY.into(),
            workload,
            started_ns: rest.0,
            duration_ns: rest.1,
            error: rest.2,
            sampled: rest.3,
            attributes,
        })
}

fn key() -> impl Strategy<Value = SeriesKey> {
    (
        (workload(), workload(), text(), text()),
        (text(), text(), text(), text(), text(), text()),
        (
            0..3_usize,
            any::<u16>(),
            proptest::option::of(0..20_u16),
            any::<u32>(),
            any::<bool>(),
        ),
    )
        .prop_map(|(ends, names, rest)| SeriesKey {
            reporter: if rest.4 {
                Reporter::Source
            } else {
                Reporter::Destination
            },
            source: ends.0,
            source_principal: ends.2,
            service: ServiceName {
                host: names.0,
                name: names.1,
                namespace: names.2,
            },
            destination: ends.1,
            destination_principal: ends.3,
            protocol: [RequestProtocol::Http, RequestProtocol::Grpc, RequestProtocol::Tcp][rest.0],
            response_code: rest.1,
            grpc_status: rest.2,
            flags: ResponseFlags::from_bits(rest.3),
            mutual_tls: !rest.4,
            origin: RouteOrigin {
                virtual_service: names.3,
                route: names.4,
                match_name: names.5,
                revision: String::new(),
            },
        })
}

fn kept() -> impl Strategy<Value = KeptRequest> {
    (
        (trace(), id(), key(), 0..3_usize),
        (
            1..u64::MAX / 2,
            0..u64::MAX / 2,
            any::<u32>(),
            any::<u32>(),
            any::<u32>(),
        ),
        (text(), text(), text(), text(), text()),
        (text(), text(), text(), text(), text()),
        proptest::collection::vec(("[a-z:-]{1,12}", text()), 0..6),
    )
        .prop_map(|(ids, numbers, a, b, headers)| KeptRequest {
            trace_id: ids.0,
            span_id: ids.1,
            proxy: PROXY.into(),
            started_ns: numbers.0,
            duration_ns: numbers.1,
            key: ids.2,
            reason: KeptReason::ALL[ids.3],
            method: a.0,
            authority: a.1,
            path: a.2,
            http_version: a.3,
            user_agent: a.4,
            request_id: b.0,
            details: b.1,
            upstream_host: b.2,
            upstream_cluster: b.3,
            downstream_remote: b.4,
            attempts: numbers.2,
            request_bytes: numbers.3.into(),
            response_bytes: numbers.4.into(),
            headers,
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn spans_come_out_as_they_went_in(all in proptest::collection::vec(span(), 0..6)) {
        prop_assert_eq!(decode_spans(&encode_spans(&all), PROXY).unwrap(), all);
    }

    #[test]
    fn requests_come_out_as_they_went_in(all in proptest::collection::vec(kept(), 0..6)) {
        prop_assert_eq!(decode_requests(&encode_requests(&all), PROXY).unwrap(), all);
    }

    #[test]
    fn collectors_get_every_span_without_the_head_decision(all in proptest::collection::vec(span(), 0..6)) {
        let sent = encode_spans_for_collectors(&all);
        let wires: Vec<_> = sent.resource_spans.iter().flat_map(|r| &r.scope_spans).flat_map(|s| &s.spans).collect();
        prop_assert_eq!(wires.len(), all.len());
        for wire in wires {
            prop_assert!(wire.attributes.iter().all(|a| a.key != spans::SIGHTLINE_SAMPLED));
        }
    }
}

fn one_span() -> Span {
    Span {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        parent: None,
        kind: SpanKind::Client,
        name: "reviews.default.svc.cluster.local:9080/*".into(),
        proxy: PROXY.into(),
        workload: Workload::unknown(),
        started_ns: 5,
        duration_ns: 7,
        error: true,
        sampled: false,
        attributes: vec![(spans::COMPONENT.into(), "proxy".into())],
    }
}

#[track_caller]
fn check_span(edit: impl FnOnce(&mut Wire), refused: Option<&str>) {
    let mut request = encode_spans(&[one_span()]);
    edit(&mut request.resource_spans[0].scope_spans[0].spans[0]);
    outcome(
        decode_spans(&request, PROXY).err().map(|e| e.to_string()),
        refused,
    );
}

#[track_caller]
fn outcome(got: Option<String>, refused: Option<&str>) {
    match (got, refused) {
        (None, None) => {}
        (Some(got), Some(wanted)) => assert!(got.contains(wanted), "{got}"),
        (got, wanted) => panic!("got {got:?}, wanted {wanted:?}"),
    }
}

#[test]
fn spans_that_are_none_are_refused_with_their_place() {
    check_span(|_| {}, None);
    check_span(|s| s.parent_span_id = vec![9; 8], None);
    check_span(
        |s| s.trace_id = vec![1; 15],
        Some("resource_spans[0].spans[0].trace_id"),
    );
    check_span(|s| s.trace_id = vec![0; 16], Some("not all zero"));
    check_span(|s| s.span_id.clear(), Some("span_id"));
    check_span(|s| s.parent_span_id = vec![0; 8], Some("parent_span_id"));
    check_span(|s| s.kind = 1, Some("kind"));
    check_span(|s| s.end_time_unix_nano = 4, Some("end_time_unix_nano"));
    check_span(|s| s.start_time_unix_nano = 0, Some("end_time_unix_nano"));
    check_span(|s| s.name = "x".repeat(3000), Some("name"));
    check_span(
        |s| s.attributes[0].value = None,
        Some("component: must be a string"),
    );
    check_span(
        |s| s.attributes = vec![s.attributes[0].clone(); 100],
        Some("attributes: more than"),
    );
    check_span(
        |s| s.attributes[1].value.as_mut().unwrap().value = Some(Value::StringValue("yes".into())),
        Some("sightline.sampled: must be a boolean"),
    );
    assert!(decode_spans(&encode_spans(&[one_span()]), "").is_err());
}

fn one_request() -> KeptRequest {
    KeptRequest {
        trace_id: TraceId([1; 16]),
        span_id: SpanId([2; 8]),
        proxy: PROXY.into(),
        started_ns: 5,
        duration_ns: 7,
        key: SeriesKey {
            reporter: Reporter::Source,
            source: Workload::unknown(),
            source_principal: "unknown".into(),
            service: ServiceName::unknown(),
            destination: Workload::unknown(),
            destination_principal: "unknown".into(),
            protocol: RequestProtocol::Http,
            response_code: 503,
            grpc_status: None,
            flags: ResponseFlags::NONE,
            mutual_tls: false,
            origin: RouteOrigin::default(),
        },
        reason: KeptReason::Error,
        method: "GET".into(),
        authority: "a".into(),
        path: "/".into(),
        http_version: "HTTP/1.1".into(),
        user_agent: String::new(),
        request_id: String::new(),
        details: "via_upstream".into(),
        upstream_host: String::new(),
        upstream_cluster: String::new(),
        downstream_remote: "127.0.0.1:1".into(),
        attempts: 1,
        request_bytes: 0,
        response_bytes: 0,
        headers: vec![("accept".into(), "*/*".into())],
    }
}

#[track_caller]
fn check_request(edit: impl FnOnce(&mut LogRecord), refused: Option<&str>) {
    let mut request = encode_requests(&[one_request()]);
    edit(&mut request.resource_logs[0].scope_logs[0].log_records[0]);
    outcome(
        decode_requests(&request, PROXY).err().map(|e| e.to_string()),
        refused,
    );
}

fn set(record: &mut LogRecord, name: &str, value: Value) {
    let found = record.attributes.iter_mut().find(|a| a.key == name).unwrap();
    found.value.as_mut().unwrap().value = Some(value);
}

#[test]
fn requests_that_are_none_are_refused_with_their_place() {
    let word = |t: &str| Value::StringValue(t.into());
    check_request(|_| {}, None);
    check_request(|r| r.time_unix_nano = 0, Some("log_records[0].time_unix_nano"));
    check_request(|r| r.span_id.clear(), Some("span_id"));
    check_request(
        |r| set(r, "sightline.reason", word("because")),
        Some("sightline.reason"),
    );
    check_request(
        |r| r.attributes.retain(|a| a.key != "sightline.reason"),
        Some("sightline.reason: is missing"),
    );
    check_request(
        |r| r.attributes.retain(|a| a.key != "reporter"),
        Some("reporter: is missing"),
    );
    check_request(|r| set(r, "attempts", Value::IntValue(-1)), Some("attempts"));
    check_request(|r| set(r, "attempts", Value::IntValue(1 << 40)), Some("attempts"));
    check_request(|r| set(r, "bytes_sent", word("1")), Some("bytes_sent"));
    check_request(
        |r| set(r, "path", word(&"/".repeat(3000))),
        Some("path: is longer"),
    );
    check_request(
        |r| set(r, "http.request.headers", word("a: b")),
        Some("must be a list"),
    );
    check_request(
        |r| r.attributes.push(Default::default()),
        Some("must be a string"),
    );
    let many = vec![one_request(); MAX_REQUESTS + 1];
    let refused = decode_requests(&encode_requests(&many), PROXY).unwrap_err();
    assert!(refused.to_string().contains("more than"), "{refused}");
}
