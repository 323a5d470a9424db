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
