//! Searching a million kept requests.

use std::time::{Duration, Instant};

use mesh_model::edge::Reporter;
use mesh_model::record::{KeptReason, KeptRequest, SpanId, TraceId};
use mesh_store::Store;
use mesh_store::records::RequestQuery;

use crate::mesh::{Random, key};
use crate::{Figure, Stretch, percentiles};

const START_NS: u64 = 1_700_002_800_000_000_000;
/// One request each so many nanoseconds: a million in a day.
const EVERY_NS: u64 = 86_400_000;

fn request(random: &mut Random, number: u64) -> KeptRequest {
    // 2,000 edges; failures of all kinds.
    let edge = random.below(2000) as usize;
    let code = [200, 200, 200, 503, 500, 404][random.below(6) as usize];
    let id = random.next();
    let mut trace = [0; 16];
    trace[..8].copy_from_slice(&random.next().to_be_bytes());
    trace[8..].copy_from_slice(&number.wrapping_add(1).to_be_bytes());
    let hex = format!("{:016x}{:016x}", random.next(), random.next());
    KeptRequest {
        trace_id: TraceId(trace),
        span_id: SpanId(id.to_be_bytes()),
        proxy: format!("sidecar~10.0.0.{}~service-{edge}", edge % 250),
        // Some seconds out of order.
        started_ns: START_NS + number * EVERY_NS + random.below(3_000_000_000),
        duration_ns: (5_000_000.0 * (1.2 * random.normal()).exp()) as u64,
        key: key(edge % 500, 500 + edge % 480, Reporter::Source, code),
        reason: match code {
            200 if id.is_multiple_of(3) => KeptReason::Slow,
            200 => KeptReason::Sample,
            _ => KeptReason::Error,
        },
        method: ["GET", "GET", "POST", "PUT"][random.below(4) as usize].to_owned(),
        authority: format!("service-{}:8080", 500 + edge % 480),
        path: format!("/api/v1/items/{}?page=", random.below(20_000)),
        http_version: "HTTP/1.1".into(),
        user_agent: format!("client/{}", random.below(30)),
        request_id: format!(
            "{}-{}-4{}-8{}-{}",
            &hex[..8],
            &hex[8..12],
            &hex[12..15],
            &hex[15..18],
            &hex[18..30]
        ),
        details: "via_upstream".into(),
        upstream_host: format!("10.1.{}.{}:8080", edge % 8, edge % 250),
        upstream_cluster: "outbound|8080||service.team.svc.cluster.local".into(),
        downstream_remote: format!("10.2.0.{}:{}", edge % 250, 30_000 + random.below(20_000)),
        attempts: 1,
        request_bytes: random.below(2000),
        response_bytes: random.below(20_000),
        headers: vec![
            ("accept".into(), "*/*".into()),
            ("x-tenant".into(), format!("t{}", random.below(500))),
        ],
    }
}

pub(crate) async fn measure(store: &Store, count: u64, rounds: usize) -> Vec<Figure> {
    let mut random = Random(0x0bad_cafe_dead_beef);
    let mut wall = Duration::ZERO;
    let mut known = None;
    for first in (0..count).step_by(1000) {
        let requests: Vec<KeptRequest> = (first..first + 1000).map(|n| request(&mut random, n)).collect();
        known = known.or_else(|| requests.first().cloned());
        let stretch = Stretch::begin();
        store.records.keep(&requests, &[]).await.unwrap();
        if first / 1000 % 8 == 7 {
            store.history.fold(START_NS / 1_000_000_000).await.unwrap();
        }
        wall += stretch.end().0;
    }
    let known = known.unwrap();
    let text = |text: String| RequestQuery {
        text,
        ..RequestQuery::default()
    };
    let errors = RequestQuery {
        reasons: vec![KeptReason::Error],
        codes: vec![503],
        ..RequestQuery::default()
    };
    let slow = RequestQuery {
        min_duration_ns: 100_000_000,
        ..RequestQuery::default()
    };
    let cases = [
        ("all", RequestQuery::default()),
        ("code 503", errors),
        ("over 100 ms", slow),
        ("text `items/777`", text("items/777".into())),
        ("one request id as text", text(known.request_id.clone())),
    ];
    let mut figures = vec![(
        format!("keeping {count} requests, per second on the wall"),
        format!("{:.0} requests/s", count as f64 / wall.as_secs_f64()),
    )];
    for (name, query) in cases {
        let (mut pages, mut facets, mut maps, mut together) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut total = 0;
        for _ in 0..rounds.div_ceil(4) {
            let started = Instant::now();
            let page = store.records.requests(&query, 100, None).await.unwrap();
            pages.push(started.elapsed());
            let started = Instant::now();
            total = store.records.facets(&query).await.unwrap().total;
            facets.push(started.elapsed());
            assert!(!page.requests.is_empty() && total > 0);
            let started = Instant::now();
            store.records.heat_map(&query, 120).await.unwrap();
            maps.push(started.elapsed());
            let started = Instant::now();
            let (a, b, c) = tokio::join!(
                store.records.requests(&query, 100, None),
                store.records.facets(&query),
                store.records.heat_map(&query, 120)
            );
            let _ = (a.unwrap(), b.unwrap(), c.unwrap());
            together.push(started.elapsed());
        }
        for (what, times) in [
            ("newest 100", pages),
            ("facets", facets),
            ("heat map", maps),
            ("all three at once", together),
        ] {
            figures.push((
                format!("explorer, {name} ({total} of {count}): {what}"),
                percentiles(times),
            ));
        }
    }
    figures
}
