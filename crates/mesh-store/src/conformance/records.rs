//! Cases of [`Records`], and requests and spans to fill a store with.

use mesh_model::record::{KeptReason, KeptRequest, Span, SpanId, SpanKind, TraceId};

use super::{NOW, key};
use crate::history::{History, Limits};
use crate::records::{Records, RequestQuery, Revisions, TraceQuery};

const SECOND: u64 = 1_000_000_000;

/// The trace id of a number (not 0).
#[must_use]
pub fn trace_id(number: u64) -> TraceId {
    let mut id = [0; 16];
    let (high, low) = id.split_at_mut(8);
    high.copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    low.copy_from_slice(&number.to_be_bytes());
    TraceId(id)
}

/// A request: `number` names it and sets start (one each second from [`NOW`]), duration, code, source and path.
#[must_use]
pub fn request(number: u64) -> KeptRequest {
    let code = match number % 10 {
        0 => 503,
        1 => 404,
        _ => 200,
    };
    let source = format!("client-{}", number % 3);
    KeptRequest {
        trace_id: trace_id(number),
        span_id: SpanId(number.to_be_bytes()),
        proxy: format!("sidecar~127.64.1.2~{source}.default~default.svc.cluster.local"),
        started_ns: (NOW + number) * SECOND,
        duration_ns: (1 + number % 100) * 1_000_000,
        key: key(&source, code),
        reason: match code {
            503 => KeptReason::Error,
            404 => KeptReason::Slow,
            _ => KeptReason::Sample,
        },
        method: if number.is_multiple_of(2) { "GET" } else { "POST" }.to_owned(),
        authority: "reviews:9080".to_owned(),
        path: format!("/Reviews/{}", number % 50),
        http_version: "HTTP/1.1".to_owned(),
        user_agent: "curl/8".to_owned(),
        request_id: format!("6fa459ea-ee8a-4ca4-894e-{number:012x}"),
        details: "via_upstream".to_owned(),
        upstream_host: "127.64.2.2:9080".to_owned(),
        upstream_cluster: "outbound|9080||reviews.default.svc.cluster.local".to_owned(),
        downstream_remote: "127.64.1.1:4000".to_owned(),
        attempts: 1,
        request_bytes: number,
        response_bytes: 2 * number,
        headers: vec![("x-number".to_owned(), number.to_string())],
    }
}

/// A span of the trace `trace`; span 1 is its root.
#[must_use]
pub fn span(trace: u64, number: u64) -> Span {
    let mut workload = key("reviews", 200).source;
    if number == 1 {
        workload.name = "gateway".into();
        workload.app = "gateway".into();
    }
    Span {
        trace_id: trace_id(trace),
        span_id: SpanId(number.to_be_bytes()),
        parent: (number > 1).then(|| SpanId((number - 1).to_be_bytes())),
        kind: if number % 2 == 1 {
            SpanKind::Client
        } else {
            SpanKind::Server
        },
        name: format!("reviews.default.svc.cluster.local:9080/{number}"),
        proxy: "sidecar~127.64.1.2~a.default~default.svc.cluster.local".to_owned(),
        workload,
        started_ns: (NOW + trace) * SECOND + number * 1_000_000,
        duration_ns: 50_000_000 / number,
        error: number == 3,
        sampled: trace.is_multiple_of(2),
        attributes: vec![
            ("http.method".to_owned(), "GET".to_owned()),
            ("http.url".to_owned(), format!("http://reviews/Trace/{trace}")),
        ],
    }
}

pub(super) async fn run<S: History + Records + Revisions>(open: &impl AsyncFn(Limits) -> S) {
    let fresh = async || open(Limits::default()).await;
    requests_come_back_whole_and_once(&fresh().await).await;
    pages_join_in_any_order_of_arrival(&fresh().await).await;
    filters(&fresh().await).await;
    facets_and_heat_map_count_all(&fresh().await).await;
    clocks_may_be_wrong(&fresh().await).await;
    spans_make_traces(&fresh().await).await;
    traces_are_found(&fresh().await).await;
    records_go_after_their_time(&fresh().await).await;
}

async fn all(records: &dyn Records, query: &RequestQuery) -> Vec<KeptRequest> {
    let mut requests = Vec::new();
    let mut after = None;
    loop {
        let page = records.requests(query, 700, after.as_deref()).await.unwrap();
        requests.extend(page.requests);
        after = page.next;
        if after.is_none() {
            return requests;
        }
    }
}

/// Keeps them in groups as they are, twice in part, and folds now and then.
async fn fill<S: History + Records>(store: &S, requests: &[KeptRequest]) {
    for (group, chunk) in requests.chunks(500).enumerate() {
        store.keep(chunk, &[]).await.unwrap();
        store
            .keep(chunk.get(100..200).unwrap_or_default(), &[])
            .await
            .unwrap();
        if group % 4 == 3 {
            store.fold(NOW + 10_000).await.unwrap();
        }
    }
}

async fn requests_come_back_whole_and_once<S: History + Records>(store: &S) {
    let mut odd = request(7);
    odd.request_id = "it's \0 not \u{1f980} a uuid".to_owned();
    odd.path = "/<script>\u{202e}\0'; DROP TABLE request; --".to_owned();
    odd.key.grpc_status = Some(14);
    odd.started_ns = u64::MAX;
    let mut wanted: Vec<KeptRequest> = (1..=5000).filter(|n| *n != 7).map(request).collect();
    wanted.push(odd.clone());
    fill(store, &wanted).await;
    store.fold(NOW + 10_000).await.unwrap();
    // Everything once more: sealed ones are known as well.
    for chunk in wanted.chunks(1000) {
        store.keep(chunk, &[]).await.unwrap();
    }
    wanted.sort_by_key(|r| std::cmp::Reverse(r.started_ns));
    let found = all(store, &RequestQuery::default()).await;
    assert_eq!(found.len(), wanted.len());
    assert!(found == wanted, "newest first, unchanged");
}

async fn pages_join_in_any_order_of_arrival<S: History + Records>(store: &S) {
    // Every third first, and ten that started at the same moment.
    let mut requests: Vec<KeptRequest> = (0..3)
        .flat_map(|rest| (1..=6000).filter(move |n| n % 3 == rest))
        .map(request)
        .collect();
    for request in requests.iter_mut().take(10) {
        request.started_ns = (NOW + 3000) * SECOND;
    }
    fill(store, &requests).await;
    let found = all(store, &RequestQuery::default()).await;
    assert_eq!(found.len(), requests.len());
    let order: Vec<_> = found
        .iter()
        .map(|r| (r.started_ns, r.trace_id, r.span_id))
        .collect();
    assert!(order.is_sorted_by(|a, b| a > b), "newest first, none twice");
    let page = store.requests(&RequestQuery::default(), 5, None).await.unwrap();
    assert_eq!((page.requests.len(), page.next.is_some()), (5, true));
    let wrong = store
        .requests(&RequestQuery::default(), 5, Some("no cursor"))
        .await;
    assert!(wrong.is_err());
}

async fn filters<S: History + Records>(store: &S) {
    let requests: Vec<KeptRequest> = (1..=4500).map(request).collect();
    fill(store, &requests).await;
    store.fold(NOW + 10_000).await.unwrap();
    let text = |text: &str| RequestQuery {
        text: text.to_owned(),
        ..RequestQuery::default()
    };
    let strings = |values: &[&str]| values.iter().map(|&v| v.to_owned()).collect::<Vec<_>>();
    type Holds = fn(&KeptRequest) -> bool;
    let cases: Vec<(RequestQuery, Holds)> = vec![
        (
            RequestQuery {
                codes: vec![503, 404],
                ..Default::default()
            },
            |r| r.key.response_code != 200,
        ),
        (
            RequestQuery {
                sources: strings(&["default/client-1"]),
                ..Default::default()
            },
            |r| &*r.key.source.name == "client-1",
        ),
        (
            RequestQuery {
                sources: strings(&["default/client"]),
                ..Default::default()
            },
            |_| false,
        ),
        (
            RequestQuery {
                destinations: strings(&["default/reviews-v1"]),
                ..Default::default()
            },
            |_| true,
        ),
        (
            RequestQuery {
                destinations: strings(&["default/client-1"]),
                ..Default::default()
            },
            |_| false,
        ),
        (
            RequestQuery {
                workloads: strings(&["default/client-2"]),
                ..Default::default()
            },
            |r| &*r.key.source.name == "client-2",
        ),
        (
            RequestQuery {
                namespaces: strings(&["default"]),
                ..Default::default()
            },
            |_| true,
        ),
        (
            RequestQuery {
                namespaces: strings(&["other"]),
                ..Default::default()
            },
            |_| false,
        ),
        (
            RequestQuery {
                flags: strings(&["-"]),
                ..Default::default()
            },
            |_| true,
        ),
        (
            RequestQuery {
                flags: strings(&["UH"]),
                ..Default::default()
            },
            |_| false,
        ),
        (
            RequestQuery {
                methods: strings(&["POST"]),
                ..Default::default()
            },
            |r| r.method == "POST",
        ),
        (
            RequestQuery {
                reasons: vec![KeptReason::Error],
                ..Default::default()
            },
            |r| r.reason == KeptReason::Error,
        ),
        (
            RequestQuery {
                from_ns: (NOW + 100) * SECOND,
                to_ns: (NOW + 200) * SECOND,
                ..Default::default()
            },
            |r| (NOW + 100..NOW + 200).contains(&(r.started_ns / SECOND)),
        ),
        (
            RequestQuery {
                min_duration_ns: 20_000_000,
                max_duration_ns: 30_000_000,
                ..Default::default()
            },
            |r| (20_000_000..=30_000_000).contains(&r.duration_ns),
        ),
        (
            RequestQuery {
                trace: Some(trace_id(77)),
                ..Default::default()
            },
            |r| r.trace_id == trace_id(77),
        ),
        (text("/reviews/7"), |r| r.path.starts_with("/Reviews/7")),
        (text("CURL"), |_| true),
        (text("ee8a-4CA4-894e-000000000fff"), |r| r.request_bytes == 0xfff),
        (text("nothing has this"), |_| false),
        (
            RequestQuery {
                codes: vec![503],
                methods: strings(&["GET"]),
                text: "/Reviews/10".to_owned(),
                ..Default::default()
            },
            |r| r.key.response_code == 503 && r.path == "/Reviews/10",
        ),
    ];
    for (query, holds) in cases {
        let wanted = requests.iter().filter(|r| holds(r)).count();
        let found = all(store, &query).await;
        assert!(found.iter().all(holds), "{query:?}");
        assert_eq!(found.len(), wanted, "{query:?}");
        assert_eq!(
            store.facets(&query).await.unwrap().total,
            wanted as u64,
            "{query:?}"
        );
    }
    // The trace id as text, whatever its case.
    let id = trace_id(4000).to_string();
    let found = all(store, &text(&id.to_uppercase())).await;
    assert_eq!(found, vec![request(4000)]);
}

async fn facets_and_heat_map_count_all<S: History + Records>(store: &S) {
    let requests: Vec<KeptRequest> = (1..=5000).map(request).collect();
    fill(store, &requests).await;
    let query = RequestQuery {
        from_ns: NOW * SECOND,
        to_ns: (NOW + 5001) * SECOND,
        ..RequestQuery::default()
    };
    let facets = store.facets(&query).await.unwrap();
    let values = |field: &str| {
        let found = facets.fields.iter().find(|(name, _)| *name == field);
        found.map(|(_, values)| values.clone()).unwrap_or_default()
    };
    let pairs = |pairs: &[(&str, u64)]| {
        pairs
            .iter()
            .map(|(v, n)| ((*v).to_owned(), *n))
            .collect::<Vec<_>>()
    };
    assert_eq!(facets.total, 5000);
    assert_eq!(
        values("code"),
        pairs(&[("200", 4000), ("404", 500), ("503", 500)])
    );
    assert_eq!(
        values("reason"),
        pairs(&[("sample", 4000), ("error", 500), ("slow", 500)])
    );
    assert_eq!(values("method"), pairs(&[("GET", 2500), ("POST", 2500)]));
    assert_eq!(
        values("source"),
        pairs(&[
            ("default/client-1", 1667),
            ("default/client-2", 1667),
            ("default/client-0", 1666)
        ])
    );
    assert_eq!(values("flags"), pairs(&[("-", 5000)]));
    let names: Vec<&str> = facets.fields.iter().map(|(name, _)| *name).collect();
    let wanted = [
        "source",
        "destination",
        "service",
        "code",
        "flags",
        "virtual_service",
        "route",
        "match",
        "method",
        "protocol",
        "reporter",
        "reason",
    ];
    assert_eq!(names, wanted);
    let map = store.heat_map(&query, 100).await.unwrap();
    let count = |part: fn(&(u32, u32, u64, u64)) -> u64| map.cells.iter().map(part).sum::<u64>();
    assert_eq!((count(|c| c.2), count(|c| c.3)), (5000, 500));
    for (column, row, ..) in &map.cells {
        assert!(
            *column < 100 && (*row as usize) < map.rows_ns.len(),
            "{column} {row}"
        );
    }
    assert!(map.rows_ns.is_sorted());
    assert!(
        map.rows_ns.first().is_some_and(|low| *low <= 1_000_000),
        "{:?}",
        map.rows_ns
    );
    // Open ends: the interval of what there is.
    let open = store.heat_map(&RequestQuery::default(), 10).await.unwrap();
    assert_eq!(open.from_ns, (NOW + 1) * SECOND);
    assert_eq!(open.cells.iter().map(|c| c.2).sum::<u64>(), 5000);
    let none = RequestQuery {
        codes: vec![418],
        ..query
    };
    assert_eq!(store.heat_map(&none, 10).await.unwrap().cells, vec![]);
}

/// A proxy whose clock is years off spoils nothing but its own place in the order.
async fn clocks_may_be_wrong<S: History + Records>(store: &S) {
    let mut requests: Vec<KeptRequest> = (1..=4200).map(request).collect();
    for (place, request) in requests
        .iter_mut()
        .enumerate()
        .filter(|(place, _)| place % 1000 == 0)
    {
        request.started_ns = if place % 2000 == 0 { 1 } else { u64::MAX - 1 };
    }
    fill(store, &requests).await;
    store.fold(NOW + 10_000).await.unwrap();
    fill(store, &requests).await;
    assert_eq!(all(store, &RequestQuery::default()).await.len(), 4200);
    let query = RequestQuery {
        from_ns: (NOW + 4000) * SECOND,
        to_ns: (NOW + 4100) * SECOND,
        ..RequestQuery::default()
    };
    assert_eq!(
        all(store, &query).await.len(),
        99,
        "one of the hundred is elsewhere"
    );
}

async fn spans_make_traces<S: History + Records>(store: &S) {
    // Late, repeated and in any order.
    store.keep(&[], &[span(5, 3), span(5, 2)]).await.unwrap();
    let summary = store.traces(&TraceQuery::default(), 10).await.unwrap();
    assert_eq!(
        summary.first().map(|t| t.name.clone()),
        Some(span(5, 2).name),
        "the earliest"
    );
    store.fold(NOW + 10).await.unwrap();
    store
        .keep(&[request(5)], &[span(5, 1), span(5, 3), span(6, 1)])
        .await
        .unwrap();
    let spans = store.trace(trace_id(5)).await.unwrap();
    assert_eq!(spans, vec![span(5, 1), span(5, 2), span(5, 3)]);
    let traces = store.traces(&TraceQuery::default(), 10).await.unwrap();
    let ids: Vec<TraceId> = traces.iter().map(|t| t.trace_id).collect();
    assert_eq!(ids, vec![trace_id(6), trace_id(5)]);
    let trace = traces.last().unwrap();
    assert_eq!(
        (trace.name.as_str(), trace.root.as_str()),
        (span(5, 1).name.as_str(), "default/gateway")
    );
    assert_eq!((trace.spans, trace.errors, trace.duration_ns), (3, 1, 50_000_000));
    assert_eq!(
        trace.apps,
        vec![
            ("default/reviews".to_owned(), 2),
            ("default/gateway".to_owned(), 1)
        ]
    );
    assert_eq!(store.trace(trace_id(4)).await.unwrap(), vec![]);
}

async fn traces_are_found<S: History + Records>(store: &S) {
    for trace in 1..=600 {
        let spans: Vec<Span> = (1..=1 + trace % 3).map(|number| span(trace, number)).collect();
        store.keep(&[], &spans).await.unwrap();
    }
    type Holds = fn(u64) -> bool;
    let strings = |value: &str| vec![value.to_owned()];
    let cases: Vec<(TraceQuery, Holds)> = vec![
        (TraceQuery::default(), |_| true),
        (
            TraceQuery {
                errors_only: true,
                ..Default::default()
            },
            |n| n % 3 == 2,
        ),
        (
            TraceQuery {
                apps: strings("default/reviews"),
                ..Default::default()
            },
            |n| n % 3 > 0,
        ),
        (
            TraceQuery {
                workloads: strings("default/gateway"),
                ..Default::default()
            },
            |_| true,
        ),
        (
            TraceQuery {
                workloads: strings("default/other"),
                ..Default::default()
            },
            |_| false,
        ),
        (
            TraceQuery {
                text: "/trace/59".to_owned(),
                ..Default::default()
            },
            |n| n == 59 || n / 10 == 59,
        ),
        (
            TraceQuery {
                text: trace_id(300).to_string(),
                ..Default::default()
            },
            |n| n == 300,
        ),
        (
            TraceQuery {
                max_duration_ns: 1,
                ..Default::default()
            },
            |_| false,
        ),
        (
            TraceQuery {
                from_ns: (NOW + 10) * SECOND,
                to_ns: (NOW + 20) * SECOND,
                ..Default::default()
            },
            |n| (10..20).contains(&n),
        ),
    ];
    for (query, holds) in cases {
        let found = store.traces(&query, 1000).await.unwrap();
        let ids: Vec<TraceId> = found.iter().map(|t| t.trace_id).collect();
        let wanted: Vec<TraceId> = (1..=600).rev().filter(|n| holds(*n)).map(trace_id).collect();
        assert_eq!(ids, wanted, "{query:?}");
    }
    assert_eq!(store.traces(&TraceQuery::default(), 7).await.unwrap().len(), 7);
}

async fn records_go_after_their_time<S: History + Records>(store: &S) {
    let days = |days: u64| NOW + days * 24 * 3600;
    let requests: Vec<KeptRequest> = (1..=4200).map(request).collect();
    fill(store, &requests).await;
    store.keep(&[], &[span(1, 1)]).await.unwrap();
    store.fold(days(0)).await.unwrap();
    store.keep(&[request(9000)], &[span(9000, 1)]).await.unwrap();
    store.fold(days(6)).await.unwrap();
    assert_eq!(all(store, &RequestQuery::default()).await.len(), 4201);
    store.fold(days(8)).await.unwrap();
    assert_eq!(all(store, &RequestQuery::default()).await, vec![request(9000)]);
    assert_eq!(store.trace(trace_id(1)).await.unwrap(), vec![]);
    assert_eq!(store.trace(trace_id(9000)).await.unwrap().len(), 1);
    store.fold(days(20)).await.unwrap();
    assert_eq!(store.traces(&TraceQuery::default(), 10).await.unwrap(), vec![]);
    assert_eq!(all(store, &RequestQuery::default()).await, vec![]);
}
