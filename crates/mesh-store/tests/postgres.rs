//! The store on Debian's PostgreSQL: conformance, two writers, restarts of the server, a later format.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mesh_store::conformance::{self, NOW, batch, requests};
use mesh_store::records::RequestQuery;
use mesh_store::{Appended, Error, History, Limits, Records, SqlStore};
use mesh_testkit::{Postgres, eventually};

async fn open(url: &str) -> SqlStore {
    SqlStore::postgres(url, Limits::default()).await.unwrap()
}

#[tokio::test]
async fn conforms() {
    let server = Postgres::start().await.unwrap();
    let count = AtomicU32::new(0);
    conformance::run(async |limits| {
        let name = format!("case_{}", count.fetch_add(1, Ordering::Relaxed));
        SqlStore::postgres(&server.create(&name).unwrap(), limits)
            .await
            .unwrap()
    })
    .await;
}

#[tokio::test]
async fn two_control_planes_never_count_twice() {
    let server = Postgres::start().await.unwrap();
    let url = server.create("shared").unwrap();
    let (one, other) = (open(&url).await, open(&url).await);
    // Proxies send to both, as after a reconnect whose acknowledgement was lost; both fold all the time.
    let work = async |store: &SqlStore| {
        let mut new = 0;
        for sequence in 1..=60 {
            for proxy in ["a", "b", "c"] {
                let window = NOW + sequence / 6 * 10;
                let appended = store
                    .append(&batch(proxy, 1, sequence, window, 2), false)
                    .await
                    .unwrap();
                new += u32::from(appended != Appended::Duplicate);
            }
            if sequence % 5 == 0 {
                store.fold(NOW + 100).await.unwrap();
            }
            let kept: Vec<_> = (sequence * 10..sequence * 10 + 10)
                .map(conformance::records::request)
                .collect();
            store
                .keep(&kept, &[conformance::records::span(sequence, 1)])
                .await
                .unwrap();
        }
        new
    };
    let (mine, others) = tokio::join!(work(&one), work(&other));
    assert_eq!(mine + others, 180);
    for store in [&one, &other] {
        store.fold(NOW + 100).await.unwrap();
        assert_eq!(requests(store, NOW, NOW + 3600).await, 360);
        assert_eq!(store.facets(&RequestQuery::default()).await.unwrap().total, 600);
    }
    let hourly = server.sql("shared", "SELECT SUM(requests) FROM hourly").unwrap();
    assert_eq!(hourly, "360");
}

#[tokio::test]
async fn a_restart_of_the_server_loses_nothing() {
    let mut server = Postgres::start().await.unwrap();
    let store = open(&server.create("restarts").unwrap()).await;
    store.append(&batch("a", 1, 1, NOW, 3), false).await.unwrap();
    server.stop();
    let error = store.append(&batch("a", 1, 2, NOW, 4), false).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable(_)), "{error}");
    assert!(store.failure().is_some());
    assert!(store.gaps(0, NOW).await.is_err());
    server.run().await.unwrap();
    eventually("recording", Duration::from_secs(20), async || {
        let appended = store.append(&batch("a", 1, 2, NOW, 4), false).await;
        appended.map(drop).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
    assert_eq!(store.failure(), None);
    assert_eq!(requests(&store, NOW, NOW + 10).await, 7);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let mut server = Postgres::start().await.unwrap();
    let url = server.create("later").unwrap();
    server.stop();
    let store = open(&url).await;
    assert!(store.failure().is_some());
    server.run().await.unwrap();
    eventually("recording", Duration::from_secs(20), async || {
        let appended = store.append(&batch("a", 1, 1, NOW, 4), false).await;
        appended.map(drop).map_err(|error| error.to_string())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_later_format_is_refused_untouched() {
    let server = Postgres::start().await.unwrap();
    let url = server.create("newer").unwrap();
    drop(open(&url).await);
    server
        .sql("newer", "UPDATE sightline_format SET version = 99")
        .unwrap();
    let dump = || {
        server.sql(
            "newer",
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1",
        )
    };
    let before = dump().unwrap();
    let error = SqlStore::postgres(&url, Limits::default()).await.unwrap_err();
    assert!(matches!(error, Error::Newer { found: 99, .. }), "{error}");
    assert_eq!(dump().unwrap(), before);
    assert!(!error.to_string().contains("password"));
    let wrong = SqlStore::postgres("postgres://[", Limits::default())
        .await
        .unwrap_err();
    assert!(wrong.to_string().contains("URL"), "{wrong}");
}
