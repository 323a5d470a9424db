//! The suite that every implementation of [`History`] passes.
#![allow(clippy::unwrap_used, clippy::missing_panics_doc, reason = "a test suite")]

use mesh_model::edge::{Batch, Reporter, RequestProtocol, SeriesDelta, SeriesKey, WindowDelta};
use mesh_model::flags::ResponseFlags;
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

use crate::history::{Appended, History, Resolution};

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

/// Runs every case; `open` gives an empty history with the default times and `bytes` as byte limit.
pub async fn run<H: History>(open: impl AsyncFn(u64) -> H) {
    const LARGE: u64 = 1 << 30;
    duplicates_count_once(&open(LARGE).await).await;
    folding_changes_no_answer(&open(LARGE).await).await;
    late_deltas_join_closed_windows(&open(LARGE).await).await;
    an_end_without_goodbye_is_a_gap(&open(LARGE).await).await;
    old_windows_go_finest_first(&open(LARGE).await).await;
    the_byte_limit_holds(&open(600_000).await).await;
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
