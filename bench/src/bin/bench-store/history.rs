//! Ingest of edge rows, and reading an hour of all edges.

use std::time::{Duration, Instant};

use futures::future::join_all;
use mesh_model::edge::{Reporter, SeriesKey};
use mesh_store::{Resolution, Store};

use crate::mesh::{Mesh, Random};
use crate::{Figure, Stretch, percentiles};

const START: u64 = 1_700_002_800;
/// 10 s windows that are written: an hour and some, so that unaligned hours fit.
const WINDOWS: u64 = 400;
/// Batches in flight, as the writer's queue allows.
const AT_ONCE: usize = 128;

pub(crate) async fn measure(store: &Store, edges: usize, rounds: usize) -> Vec<Figure> {
    let mut mesh = Mesh::new(edges);
    let (mut rows, mut requests) = (0_u64, 0_u64);
    let (mut wall, mut busy) = (Duration::ZERO, Duration::ZERO);
    for number in 0..WINDOWS {
        let window = START + number * 10;
        let batches = mesh.window(window);
        for (key, delta) in batches.iter().flat_map(|b| &b.windows).flat_map(|w| &w.series) {
            rows += 1;
            requests += if counted(key) { delta.requests } else { 0 };
        }
        let stretch = Stretch::begin();
        for group in batches.chunks(AT_ONCE) {
            for appended in join_all(group.iter().map(|batch| store.history.append(batch, false))).await {
                appended.unwrap();
            }
        }
        store.history.fold(window + 10).await.unwrap();
        let (w, b) = stretch.end();
        wall += w;
        busy += b;
    }
    let end = START + WINDOWS * 10;
    let (found, _, _) = hour(store, START, end).await;
    assert_eq!(found, requests, "every request is read again");
    let mut random = Random(99);
    let mut times = Vec::new();
    let mut series = 0;
    for _ in 0..rounds {
        let from = START + random.below(WINDOWS - 360) * 10 + random.below(10);
        let started = Instant::now();
        let (_, count, _) = hour(store, from, from + 3600).await;
        times.push(started.elapsed());
        series = count;
    }
    let usage = store.history.usage().await.unwrap();
    let rate = |time: Duration| format!("{:.0} rows/s", rows as f64 / time.as_secs_f64());
    vec![
        (
            format!("ingest of {rows} edge rows, per second of processor time"),
            rate(busy),
        ),
        ("the same, per second on the wall".into(), rate(wall)),
        (
            format!("reading an unaligned hour of {edges} edges ({series} series), {rounds} times"),
            percentiles(times),
        ),
        (
            "bytes in use after it".into(),
            format!("{:.0} MiB", usage.bytes as f64 / 1_048_576.0),
        ),
    ]
}

fn counted(key: &SeriesKey) -> bool {
    key.reporter == Reporter::Source
}

/// Requests, series and milliseconds of an interval, as a graph needs them.
async fn hour(store: &Store, from: u64, to: u64) -> (u64, usize, f64) {
    let (mut requests, mut series, mut milliseconds) = (0, 0, 0.0);
    let mut visit = |_: u64, _: &SeriesKey, delta: &mesh_model::edge::SeriesDelta| {
        requests += delta.requests;
        series += 1;
        milliseconds += delta.duration.sum;
    };
    store
        .history
        .sums(from, to, Resolution::Hour, &counted, &mut visit)
        .await
        .unwrap();
    (requests, series, milliseconds)
}
