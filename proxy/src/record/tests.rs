#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::edge::{Reporter, RequestProtocol};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

use super::*;
use crate::record::fixtures::{context, ended};
use crate::runtime::NodeKind;

fn recorder(records: &Records) -> Recorder {
    let node = Node {
        id: "sidecar~127.64.3.2~reviews-v1-x.default~default.svc.cluster.local".into(),
        kind: NodeKind::Sidecar,
        workload: Workload::unknown(),
        peer_metadata: Vec::new(),
    };
    Recorder::new(records.clone(), Arc::new(node), 1)
}

fn key() -> SeriesKey {
    SeriesKey {
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
    }
}

fn finish(recorder: &Recorder, trace: Option<TraceContext>, error: bool) {
    let now = Instant::now();
    let completed = Completed {
        rule: Rule::Http(None),
        at: now,
        duration: Duration::from_millis(1),
        trace,
        error,
    };
    let texts = Texts {
        method: b"GET",
        authority: b"user:secret@shop.example.com",
        path: b"/a?token=secret",
        ..Texts::default()
    };
    let headers: [(&[u8], &[u8]); 2] = [(b"authorization", b"Bearer secret"), (b"accept", b"*/*")];
    recorder.record(
        &completed,
        || (ended(now), texts),
        || 0xabcd,
        |_| SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
        key,
        || headers.into_iter(),
    );
}

fn all(receiver: &mut mpsc::Receiver<Record>) -> (Vec<Span>, Vec<KeptRequest>) {
    let (mut spans, mut requests) = (Vec::new(), Vec::new());
    while let Ok(record) = receiver.try_recv() {
        match record {
            Record::Span(span) => spans.push(*span),
            Record::Request(request) => requests.push(*request),
        }
    }
    (spans, requests)
}

#[test]
fn nothing_is_recorded_before_somebody_wants_it() {
    let records = Records::default();
    let recorder = recorder(&records);
    assert!(!recorder.is_on());
    finish(&recorder, Some(context(1)), true);
    assert_eq!(records.shown(), Shown::default());
    assert!(records.open(Settings::default()).is_some() && recorder.is_on());
    assert!(records.open(Settings::default()).is_none());
}

#[test]
fn a_kept_request_goes_out_with_its_span_and_without_secrets() {
    let records = Records::default();
    let recorder = recorder(&records);
    let mut out = records.open(Settings::default()).unwrap();
    finish(&recorder, Some(context(1)), true);
    let (spans, requests) = all(&mut out);
    let [span] = spans.as_slice() else {
        panic!("{spans:?}")
    };
    let [request] = requests.as_slice() else {
        panic!("{requests:?}")
    };
    assert_eq!((request.trace_id, request.span_id), (span.trace_id, span.span_id));
    assert_eq!(
        (request.reason, request.path.as_str()),
        (KeptReason::Error, "/a?token=")
    );
    assert_eq!(span.name, "egress shop.example.com");
    assert!(span.error && !span.sampled);
    let text = format!("{span:?} {request:?}");
    assert!(!text.contains("secret"), "{text}");
    assert!(text.contains("http://shop.example.com/a?token="), "{text}");
}

#[test]
fn spans_wait_until_their_trace_is_asked_for() {
    let records = Records::default();
    let recorder = recorder(&records);
    let mut out = records.open(Settings::default()).unwrap();
    // The first of a route is a sample; what follows is not kept.
    finish(&recorder, Some(context(9)), false);
    all(&mut out);
    finish(&recorder, Some(context(1)), false);
    finish(&recorder, Some(context(2)), false);
    assert_eq!(all(&mut out), (Vec::new(), Vec::new()));
    let wall = |_| SystemTime::UNIX_EPOCH;
    recorder.answer(&[context(1).trace_id], Instant::now(), &wall);
    recorder.answer(&[context(1).trace_id], Instant::now(), &wall);
    let (spans, _) = all(&mut out);
    assert_eq!(
        spans.iter().map(|s| s.trace_id).collect::<Vec<_>>(),
        [context(1).trace_id]
    );
    // One that ends later goes out as well.
    finish(&recorder, Some(context(1)), false);
    assert_eq!(all(&mut out).0.len(), 1);
    // And is forgotten in time.
    recorder.sweep(Instant::now() + asked::REMEMBERED);
    finish(&recorder, Some(context(1)), false);
    assert_eq!(all(&mut out).0.len(), 0);
}

#[test]
fn sampled_spans_go_out_at_once() {
    let records = Records::default();
    let recorder = recorder(&records);
    let mut out = records.open(Settings::default()).unwrap();
    finish(&recorder, Some(context(9)), false);
    all(&mut out);
    let sampled = TraceContext {
        sampled: true,
        ..context(1)
    };
    finish(&recorder, Some(sampled), false);
    let (spans, requests) = all(&mut out);
    assert!(spans.iter().all(|s| s.sampled) && spans.len() == 1 && requests.is_empty());
}

#[test]
fn errors_have_a_trace_even_without_tracing() {
    let records = Records::default();
    let recorder = recorder(&records);
    let mut out = records.open(Settings::default()).unwrap();
    finish(&recorder, None, true);
    let (spans, requests) = all(&mut out);
    assert_eq!((spans.len(), requests.len()), (1, 1));
    // The first good one is a sample; further ones leave nothing.
    finish(&recorder, None, false);
    assert_eq!(all(&mut out).1.len(), 1);
    finish(&recorder, None, false);
    assert_eq!(all(&mut out), (Vec::new(), Vec::new()));
}

#[test]
fn a_slow_exporter_costs_records_and_nothing_else() {
    let records = Records::default();
    let recorder = recorder(&records);
    let mut out = records.open(Settings::default()).unwrap();
    let sampled = TraceContext {
        sampled: true,
        ..context(1)
    };
    for _ in 0..QUEUE + 10 {
        finish(&recorder, Some(sampled), false);
    }
    let (spans, requests) = all(&mut out);
    assert_eq!(spans.len() + requests.len(), QUEUE);
    // The first of them was kept as a sample, too.
    assert_eq!(records.shown().dropped_spans, 11);
}

#[test]
fn rules_can_be_excluded() {
    let entry = |virtual_service: &str, route: &str| RouteEntry {
        id: 1,
        route: Arc::new(mesh_model::route::Route {
            name: route.into(),
            matches: mesh_model::route::RouteMatch {
                path: mesh_model::route::PathMatch::Prefix("/".into()),
                path_ignore_case: false,
                headers: Vec::new(),
                query: Vec::new(),
                claims: Vec::new(),
            },
            action: mesh_model::route::Action::Forward(Box::default()),
            request_headers: Default::default(),
            response_headers: Default::default(),
            fault: None,
            cors: None,
            operation: None,
            origin: Some(RouteOrigin {
                virtual_service: virtual_service.into(),
                route: route.into(),
                ..RouteOrigin::default()
            }),
        }),
        clusters: Vec::new(),
        mirrors: Vec::new(),
        rewriter: None,
    };
    let settings = Settings {
        excluded: vec!["default/patients".into(), "default/shop/login".into()],
        ..Settings::default()
    };
    for (virtual_service, route, wanted) in [
        ("default/patients", "", true),
        ("default/patients", "any", true),
        ("default/patients2", "", false),
        ("default/shop", "login", true),
        ("default/shop", "logins", false),
        ("default/shop", "", false),
    ] {
        let got = is_excluded(&Rule::Http(Some(&entry(virtual_service, route))), &settings);
        assert_eq!(got, wanted, "{virtual_service} {route}");
    }
}
