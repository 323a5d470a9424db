#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

use super::{Completion, Registry, SERIES_PER_SOURCE, SlotKey, WorkerStats};

fn slot(route: u32) -> SlotKey {
    SlotKey {
        route,
        cluster: 1,
        endpoint: 1,
        peer: 0,
        flags: 0,
        code: 200,
        grpc: 0,
        reporter: Reporter::Source,
        protocol: RequestProtocol::Http,
        mutual_tls: false,
    }
}

fn series(route: u32) -> SeriesKey {
    SeriesKey {
        reporter: Reporter::Source,
        source: Workload::unknown(),
        source_principal: "unknown".into(),
        service: ServiceName::unknown(),
        destination: Workload::unknown(),
        destination_principal: "unknown".into(),
        protocol: RequestProtocol::Http,
        response_code: 200,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        mutual_tls: false,
        origin: RouteOrigin {
            route: route.to_string(),
            ..RouteOrigin::default()
        },
    }
}

fn record(stats: &WorkerStats, route: u32) {
    let done = Completion {
        slot: slot(route),
        ended: Instant::now(),
        duration: Duration::from_millis(3),
        attempts: 1,
        request_bytes: 5,
        response_bytes: 1024,
    };
    stats.record(&done, || series(route));
}

#[test]
fn every_completion_is_in_exactly_one_delta() {
    let registry = Registry::default();
    let stats = WorkerStats::new(registry.clone());
    let mut drained = 0;
    for round in 0..20 {
        for _ in 0..=round {
            record(&stats, round % 3);
        }
        if round % 2 == 0 {
            stats.publish();
        }
        drained += registry
            .drain_deltas()
            .iter()
            .flat_map(|w| &w.series)
            .map(|(_, d)| d.requests)
            .sum::<u64>();
    }
    drop(stats);
    let rest = registry.drain_deltas();
    drained += rest
        .iter()
        .flat_map(|w| &w.series)
        .map(|(_, d)| {
            assert_eq!(d.duration.count, d.requests);
            assert_eq!(d.response_bytes, 1024 * d.requests);
            d.requests
        })
        .sum::<u64>();
    assert_eq!(drained, 210);
    assert_eq!(
        registry.cumulative().iter().map(|(_, t)| t.requests).sum::<u64>(),
        210
    );
    assert!(registry.drain_deltas().is_empty());
}

#[test]
fn an_open_connection_counts_its_bytes_and_no_request() {
    let registry = Registry::default();
    let stats = WorkerStats::new(registry.clone());
    let tcp = SlotKey {
        protocol: RequestProtocol::Tcp,
        code: 0,
        ..slot(1)
    };
    let now = Instant::now();
    stats.opened(&tcp, now, || series(1));
    stats.moved(&tcp, now, (10, 20), || series(1));
    stats.moved(&tcp, now, (0, 0), || series(1));
    stats.publish();
    let open: Vec<_> = registry
        .drain_deltas()
        .into_iter()
        .flat_map(|w| w.series)
        .collect();
    let [(_, delta)] = open.as_slice() else {
        panic!("{open:?}")
    };
    assert_eq!(
        (delta.requests, delta.request_bytes, delta.response_bytes),
        (0, 10, 20)
    );
    let done = Completion {
        slot: tcp,
        ended: now,
        duration: Duration::from_secs(1),
        attempts: 1,
        request_bytes: 1,
        response_bytes: 2,
    };
    stats.record(&done, || series(1));
    stats.publish();
    let all = registry.cumulative();
    let [(_, totals)] = all.as_slice() else {
        panic!("{all:?}")
    };
    assert_eq!((totals.opened, totals.requests), (1, 1));
    assert!((totals.request_bytes.sum - 11.0).abs() < 0.1 && (totals.response_bytes.sum - 22.0).abs() < 0.1);
}

#[test]
fn series_over_the_cap_are_counted_under_other() {
    let registry = Registry::default();
    let stats = WorkerStats::new(registry.clone());
    let routes = u32::try_from(SERIES_PER_SOURCE).unwrap() + 7;
    for route in 0..routes {
        record(&stats, route);
    }
    stats.publish();
    let all = registry.cumulative();
    assert_eq!(all.len(), SERIES_PER_SOURCE + 1);
    assert_eq!(
        all.iter().map(|(_, t)| t.requests).sum::<u64>(),
        u64::from(routes)
    );
    assert_eq!(registry.drain_overflowed(), 7);
    assert_eq!(registry.drain_overflowed(), 0);
    assert_eq!(registry.overflowed_total(), 7);
}
