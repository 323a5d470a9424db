//! The store on SQLite: conformance, restarts, trouble with the file, backup.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::Duration;

use mesh_store::conformance::{self, NOW, batch, requests};
use mesh_store::{Appended, Error, History, Limits, SqlStore};

async fn open(folder: &std::path::Path) -> SqlStore {
    SqlStore::sqlite(folder, Limits::default()).await.unwrap()
}

#[tokio::test]
async fn conforms() {
    conformance::run(async |limits| {
        let folder = tempfile::tempdir().unwrap();
        SqlStore::sqlite(&folder.keep(), limits).await.unwrap()
    })
    .await;
}

#[tokio::test]
async fn a_backup_is_a_whole_store() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path()).await;
    history.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap();
    history.fold(NOW + 10).await.unwrap();
    history.append(&batch("a", 1, 2, NOW, 4), false).await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    history.backup(&copy.path().join("history.db")).await.unwrap();
    history.append(&batch("a", 1, 3, NOW, 5), false).await.unwrap();
    let error = history.backup(&copy.path().join("history.db")).await.unwrap_err();
    assert!(error.to_string().contains("is there already"), "{error}");
    let copied = open(copy.path()).await;
    assert_eq!(requests(&copied, NOW, NOW + 10).await, 7);
    assert_eq!(requests(&history, NOW, NOW + 10).await, 12);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path()).await;
    history.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap();
    // Dropped without any goodbye.
    drop(history);
    let history = open(folder.path()).await;
    assert_eq!(
        history.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap(),
        Appended::Duplicate
    );
    assert_eq!(requests(&history, NOW, NOW + 10).await, 3);
}

#[tokio::test]
async fn a_newer_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).await);
    std::fs::write(folder.path().join("format"), "99\n").unwrap();
    let error = SqlStore::sqlite(folder.path(), Limits::default())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }));
}

/// `data/format-2.db.zst` was written by the version before: 1 to 100 ms, a hundred requests a window, histograms of
/// scale 5; blocks in three windows of an hour and one of the next, one window left in the journal, a segment of 64 kept
/// requests and 16 fresh ones, a trace of two spans.
#[tokio::test]
async fn data_of_the_format_before_is_migrated_and_goes_on() {
    use conformance::records::{request, trace_id};
    use mesh_store::Records;
    use mesh_store::records::RequestQuery;
    let folder = tempfile::tempdir().unwrap();
    let database = zstd::decode_all(&include_bytes!("data/format-2.db.zst")[..]).unwrap();
    std::fs::write(folder.path().join("history.db"), database).unwrap();
    std::fs::write(folder.path().join("format"), "2\n").unwrap();
    let store = open(folder.path()).await;
    assert!(folder.path().join("history.before-format-3.db").is_file());
    let whole = async |from: u64, to: u64| {
        let mut all = mesh_model::histogram::ExponentialHistogram::default();
        let mut add = |_: u64, _: &_, delta: &mesh_model::edge::SeriesDelta| all.merge(&delta.duration);
        let step = mesh_store::Resolution::Hour;
        store.sums(from, to, step, &|_| true, &mut add).await.unwrap();
        all
    };
    let fine = |window: u64, sequence: u64| {
        let mut batch = batch("a", 1, sequence, window, 0);
        for (_, delta) in &mut batch.windows[0].series {
            (1..=100_u32).for_each(|ms| delta.duration.record(f64::from(ms)));
            (delta.requests, delta.attempts) = (100, 100);
        }
        batch
    };
    let check = |all: &mesh_model::histogram::ExponentialHistogram, count: u64, coarser: u8, within: f64| {
        assert_eq!((all.count, all.coarser), (count, coarser));
        for q in [0.5, 0.9, 0.99] {
            let found = all.quantile(q).unwrap();
            assert!((found / (100.0 * q) - 1.0).abs() < within, "q{q} = {found}");
        }
    };
    check(&whole(NOW, NOW + 7200).await, 500, 1, 0.011);
    // New ones join a window that has old ones, and stand alone in another; folding changes nothing.
    for (window, sequence) in [(NOW, 20), (NOW + 120, 21)] {
        store.append(&fine(window, sequence), false).await.unwrap();
    }
    for _ in 0..2 {
        check(&whole(NOW, NOW + 7200).await, 700, 1, 0.011);
        check(&whole(NOW, NOW + 10).await, 200, 1, 0.011);
        check(&whole(NOW + 120, NOW + 130).await, 100, 0, 0.0055);
        store.fold(NOW + 3620).await.unwrap();
    }
    // Kept requests of both layouts.
    store.keep(&[request(7), request(81)], &[]).await.unwrap();
    let page = store
        .requests(&RequestQuery::default(), 1000, None)
        .await
        .unwrap();
    let wanted: Vec<_> = (1..=81).rev().map(request).collect();
    assert!(page.requests == wanted, "{} requests", page.requests.len());
    let text = RequestQuery {
        text: "reviews/7".into(),
        ..RequestQuery::default()
    };
    let facets = store.facets(&text).await.unwrap();
    assert_eq!(facets.total, 2);
    assert_eq!(store.trace(trace_id(1)).await.unwrap().len(), 2);
}

/// Appends until it works, at most ten seconds.
async fn until_recorded(history: &SqlStore, batch: &mesh_model::edge::Batch) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    while let Err(error) = history.append(batch, false).await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_removed_file_is_noticed_and_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path()).await;
    history.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap();
    for name in ["history.db", "history.db-wal", "history.db-shm"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut sequence = 2;
    // What is appended before the loss is noticed goes with the file.
    while !folder.path().join("history.db").exists() {
        assert!(tokio::time::Instant::now() < deadline, "never noticed");
        let _ = history.append(&batch("a", 1, sequence, NOW, 1), false).await;
        sequence += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    until_recorded(&history, &batch("a", 1, 1000, NOW, 5)).await;
    assert_eq!(history.failure(), None);
    assert!(requests(&history, NOW, NOW + 10).await >= 5);
}

#[tokio::test]
async fn a_damaged_file_stops_recording_and_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let damaged = vec![7_u8; 8192];
    std::fs::write(folder.path().join("history.db"), &damaged).unwrap();
    let history = open(folder.path()).await;
    let error = history
        .append(&batch("a", 1, 1, NOW, 3), false)
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(history.failure().is_some());
    assert_eq!(std::fs::read(folder.path().join("history.db")).unwrap(), damaged);
    // Moved away, the next attempt records again.
    std::fs::rename(folder.path().join("history.db"), folder.path().join("damaged.db")).unwrap();
    until_recorded(&history, &batch("a", 1, 1, NOW, 3)).await;
    assert_eq!(history.failure(), None);
}

#[tokio::test]
async fn a_locked_file_stops_recording_until_it_is_free() {
    use sqlx::Connection;
    let folder = tempfile::tempdir().unwrap();
    let history = open(folder.path()).await;
    history.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap();
    let url = format!("sqlite://{}", folder.path().join("history.db").display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let lock = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // SQLite itself waits five seconds before it gives up.
    let error = history
        .append(&batch("a", 1, 2, NOW, 4), false)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(history.failure().is_some());
    let told = history.gaps(0, NOW).await.unwrap_err().to_string();
    assert_eq!(told.matches("cannot be used").count(), 1, "{told}");
    lock.rollback().await.unwrap();
    until_recorded(&history, &batch("a", 1, 2, NOW, 4)).await;
    assert_eq!(requests(&history, NOW, NOW + 10).await, 7);
}
