//! The suite that every store passes: [`History`], [`Records`], [`Revisions`].
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test suite")]

use mesh_model::edge::{Batch, Reporter, RequestProtocol, SeriesDelta, SeriesKey, WindowDelta};
use mesh_model::flags::ResponseFlags;
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

use crate::history::{Appended, History, Limits, Resolution};
use crate::records::{Records, Revisions};

pub mod records;
mod revisions;

/// A moment long enough after 1970 for every horizon, at an hour's border.
pub const NOW: u64 = 1_700_002_800;

/// A series of `source`.
#[must_use]
pub fn key(source: &str, response_code: u16) -> SeriesKey {
    let workload = |name: &str| Workload {
        namespace: "default".into(),
        name: name.into(),
        app: name.into(),
        version: "v1".into(),
        cluster: "Kubernetes".into(),
    };
    SeriesKey {
        reporter: Reporter::Source,
        source: workload(source),
        source_principal: "unknown".into(),
        service: ServiceName {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
        },
        destination: workload("reviews-v1"),
        destination_principal: "unknown".into(),
        protocol: RequestProtocol::Http,
        response_code,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        mutual_tls: true,
        origin: RouteOrigin::default(),
    }
}

/// A batch with `requests` requests of one series in one window.
#[must_use]
pub fn batch(proxy: &str, epoch: u64, sequence: u64, window: u64, requests: u64) -> Batch {
    let mut duration = ExponentialHistogram::default();
    (0..requests).for_each(|_| duration.record(12.5));
    let delta = SeriesDelta {
        requests,
        attempts: requests,
        duration,
        request_bytes: 10 * requests,
        response_bytes: 100 * requests,
    };
    Batch {
        proxy: proxy.into(),
        epoch,
        sequence,
        cut_at_ms: window * 1000 + 9000,
        windows: vec![WindowDelta {
            window,
            series: vec![(key(proxy, 200), delta)],
        }],
        overflowed: 0,
    }
}

/// Requests in `[from, to)`.
pub async fn requests(history: &dyn History, from: u64, to: u64) -> u64 {
    let mut sum = 0;
    history
        .read(from, to, Resolution::Hour, &mut |_, _, delta| {
            assert_eq!(delta.requests, delta.duration.count);
            sum += delta.requests;
        })
        .await
        .unwrap();
    sum
}

/// Runs every case; `open` gives an empty store with these limits.
pub async fn run<S: History + Records + Revisions>(open: impl AsyncFn(Limits) -> S) {
    let fresh = async || open(Limits::default()).await;
    let small = Limits {
        bytes: 600_000,
        ..Limits::default()
    };
    duplicates_count_once(&fresh().await).await;
    folding_changes_no_answer(&fresh().await).await;
    sums_are_what_reading_gives(&fresh().await).await;
    late_deltas_join_closed_windows(&fresh().await).await;
    an_end_without_goodbye_is_a_gap(&fresh().await).await;
    old_windows_go_finest_first(&fresh().await).await;
    any_text_is_kept(&fresh().await).await;
    the_byte_limit_holds(&open(small).await).await;
    records::run(&open).await;
    revisions::run(&open).await;
    nothing_pushes_out_the_rest(&open(small).await).await;
}

async fn duplicates_count_once(history: &dyn History) {
    let first = batch("a", 1, 1, NOW, 3);
    assert_eq!(history.append(&first, false).await.unwrap(), Appended::New(None));
    assert_eq!(history.append(&first, false).await.unwrap(), Appended::Duplicate);
    history.fold(NOW).await.unwrap();
    assert_eq!(history.append(&first, false).await.unwrap(), Appended::Duplicate);
    // The same numbers of another proxy, and a later sequence before an earlier one, are new.
    for other in [
        batch("b", 1, 1, NOW, 4),
        batch("a", 1, 3, NOW, 5),
        batch("a", 1, 2, NOW, 6),
    ] {
        assert_eq!(history.append(&other, false).await.unwrap(), Appended::New(None));
    }
    assert_eq!(requests(history, NOW, NOW + 10).await, 18);
}

async fn folding_changes_no_answer(history: &dyn History) {
    for (sequence, window) in (1..=30).map(|i| (i, NOW + 10 * i)) {
        history
            .append(&batch("a", 1, sequence, window, sequence), false)
            .await
            .unwrap();
    }
    for (from, to) in [
        (NOW, NOW + 400),
        (NOW + 15, NOW + 25),
        (NOW + 60, NOW + 120),
        (NOW + 301, NOW + 302),
    ] {
        let before = requests(history, from, to).await;
        history.fold(NOW + 300).await.unwrap();
        assert_eq!(requests(history, from, to).await, before, "{from}..{to}");
    }
    assert_eq!(requests(history, NOW, NOW + 400).await, 465);
    assert_eq!(
        history
            .read(NOW + 15, NOW + 25, Resolution::Hour, &mut |_, _, _| ())
            .await
            .unwrap(),
        (NOW + 10, NOW + 30)
    );
}

async fn sums_are_what_reading_gives(history: &dyn History) {
    // Two hours, several sources and codes, some of it not folded.
    for sequence in 1..=40_u64 {
        let window = NOW + sequence * 180 / 10 * 10;
        let mut first = batch("a", 1, sequence, window, sequence);
        let other = batch("b", 1, sequence, window, 2 * sequence);
        if let (Some(window), Some(more)) = (first.windows.first_mut(), other.windows.into_iter().next()) {
            window.series.extend(more.series);
            window.series.push((
                key("a", 503),
                SeriesDelta {
                    requests: 1,
                    ..SeriesDelta::default()
                },
            ));
        }
        history.append(&first, false).await.unwrap();
        if sequence % 7 == 0 {
            history.fold(window).await.unwrap();
        }
    }
    for (from, to) in [
        (NOW, NOW + 8000),
        (NOW + 3333, NOW + 5555),
        (NOW + 7000, NOW + 7300),
    ] {
        let wanted = |key: &SeriesKey| &*key.source.name == "a";
        let mut read = crate::block::Block::new();
        let span = history
            .read(from, to, Resolution::Hour, &mut |_, key, delta| {
                if wanted(key) {
                    crate::block::add(&mut read, key, delta);
                }
            })
            .await
            .unwrap();
        let mut sums = crate::block::Block::new();
        let mut add = |_: u64, key: &SeriesKey, delta: &SeriesDelta| crate::block::add(&mut sums, key, delta);
        let summed = history
            .sums(from, to, Resolution::Hour, &wanted, &mut add)
            .await
            .unwrap();
        assert_eq!((span, read), (summed, sums), "{from}..{to}");
    }
}

/// Names come from outside: none can stop a fold.
async fn any_text_is_kept(history: &dyn History) {
    let hostile = "\0'; DROP TABLE block; --\u{202e}<script>\n";
    let mut batch = batch("a\0", 1, 1, NOW, 2);
    for (key, _) in batch.windows.iter_mut().flat_map(|window| &mut window.series) {
        key.source.name = hostile.into();
        key.origin.route = hostile.into();
    }
    history.append(&batch, false).await.unwrap();
    history.fold(NOW + 10).await.unwrap();
    let mut names = Vec::new();
    let mut visit = |_: u64, key: &SeriesKey, _: &SeriesDelta| names.push(key.source.name.clone());
    history
        .read(NOW, NOW + 10, Resolution::Hour, &mut visit)
        .await
        .unwrap();
    assert_eq!(names, [hostile]);
}

/// One byte limit for all: each family keeps its share.
async fn nothing_pushes_out_the_rest<S: History + Records + Revisions>(store: &S) {
    store.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap();
    store.record(&revisions::revision(1)).await.unwrap();
    store.fold(NOW).await.unwrap();
    for round in 1..=30_u64 {
        let spans: Vec<_> = (0..100).map(|i| records::span(round * 1000 + i, 1)).collect();
        store.keep(&[], &spans).await.unwrap();
        store.fold(NOW + round).await.unwrap();
        let usage = store.usage().await.unwrap();
        assert!(usage.bytes <= usage.limit, "{usage:?}");
    }
    assert_eq!(
        requests(store, NOW, NOW + 10).await,
        3,
        "spans did not push out history"
    );
    let kept = store.revisions(&Default::default(), 10).await.unwrap();
    assert_eq!(kept.len(), 1, "nor revisions");
    let newest = store.traces(&Default::default(), 10).await.unwrap();
    assert_eq!(
        newest.first().map(|t| t.trace_id),
        Some(records::trace_id(30_099))
    );
    let oldest = store.trace(records::trace_id(1000)).await.unwrap();
    assert_eq!(oldest, vec![], "the oldest went");
}

async fn late_deltas_join_closed_windows(history: &dyn History) {
    history.append(&batch("a", 1, 1, NOW, 1), false).await.unwrap();
    history.fold(NOW + 3600).await.unwrap();
    history.append(&batch("a", 1, 2, NOW, 2), false).await.unwrap();
    history.fold(NOW + 3600).await.unwrap();
    // Three hours later its 10 s window is gone; minute and hour still take what comes.
    history.fold(NOW + 3 * 3600).await.unwrap();
    history.append(&batch("a", 1, 3, NOW, 4), false).await.unwrap();
    history.fold(NOW + 3 * 3600).await.unwrap();
    assert_eq!(requests(history, NOW, NOW + 3600).await, 7);
    assert_eq!(requests(history, NOW, NOW + 10).await, 7);
}

async fn an_end_without_goodbye_is_a_gap(history: &dyn History) {
    history.append(&batch("a", 1, 1, NOW, 1), false).await.unwrap();
    let Appended::New(Some(gap)) = history
        .append(&batch("a", 2, 1, NOW + 10, 1), true)
        .await
        .unwrap()
    else {
        panic!("the first epoch said no goodbye");
    };
    assert_eq!((gap.from_ms, gap.to_ms), ((NOW + 9) * 1000, (NOW + 19) * 1000));
    // The second did.
    let third = history
        .append(&batch("a", 3, 1, NOW + 20, 1), false)
        .await
        .unwrap();
    assert_eq!(third, Appended::New(None));
    assert_eq!(history.gaps(NOW, NOW + 60).await.unwrap(), vec![gap]);
    assert_eq!(history.gaps(NOW + 60, NOW + 120).await.unwrap(), vec![]);
}

async fn old_windows_go_finest_first(history: &dyn History) {
    history
        .append(&batch("a", 1, 1, NOW + 10, 1), false)
        .await
        .unwrap();
    history.fold(NOW + 3 * 3600).await.unwrap();
    let snapped = history
        .read(NOW + 10, NOW + 20, Resolution::Hour, &mut |_, _, _| ())
        .await
        .unwrap();
    assert_eq!(snapped, (NOW, NOW + 60), "minutes answer");
    history.fold(NOW + 8 * 24 * 3600).await.unwrap();
    assert_eq!(requests(history, NOW + 10, NOW + 20).await, 1, "hours answer");
    history.fold(NOW + 91 * 24 * 3600).await.unwrap();
    assert_eq!(requests(history, NOW, NOW + 3600).await, 0);
}

async fn the_byte_limit_holds(history: &dyn History) {
    for sequence in 1..=600 {
        let mut batch = batch("a", 1, sequence, NOW + 10 * sequence, 1);
        // Texts that do not compress away.
        for (key, _) in &mut batch.windows[0].series {
            key.origin.revision = (0..200_u64)
                .map(|i| char::from(b'a' + ((sequence.wrapping_mul(2_654_435_761) >> (i % 29)) % 26) as u8))
                .collect();
        }
        history.append(&batch, false).await.unwrap();
        if sequence % 50 == 0 {
            history.fold(NOW + 10 * sequence).await.unwrap();
            let usage = history.usage().await.unwrap();
            assert!(usage.bytes <= usage.limit, "{usage:?}");
        }
    }
    assert!(
        requests(history, NOW + 6000, NOW + 6010).await >= 1,
        "the newest window is kept"
    );
}
