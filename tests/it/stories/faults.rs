//! Everything goes wrong in one run under load, and every count is still true.

use std::time::Duration;

use anyhow::{Context, Result};
use mesh_api::graph::{Edge, Graph};
use mesh_testkit::{Postgres, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::Connection;

use crate::counts::{Rough, Sent, differences_through, received, table};
use crate::demo::{Demo, Place, now};
use crate::process::kill_hard;
use crate::truth::{Load, RATE};

/// How long the load lasts: long enough for all that happens.
const SECONDS: u64 = 60;
/// How soon after the last request the graph must be complete.
const SETTLED: Duration = Duration::from_secs(15);
/// Who is killed. Its calls go to most of the sample.
const KILLED: (&str, &str) = ("productpage-v1-proxy", "default/productpage-v1");
/// Who is asked to end.
const RESTARTED: (&str, &str) = ("reviews-v1-proxy", "default/reviews-v1");
/// Most requests that one edge of a killed proxy may lack: those of a flush interval (250 ms), and those under way.
const LOST: u64 = RATE as u64 / 2;
/// How long the database is away; longer than SQLite itself waits.
const OUTAGE: Duration = Duration::from_secs(7);

/// A database that can be taken away.
enum Database {
    Sqlite,
    Postgres(Box<Postgres>),
}

impl Database {
    async fn outage(&mut self, demo: &Demo<'_>) -> Result<()> {
        match self {
            Self::Sqlite => {
                let file = demo.place.data().join("controlplane/history.db");
                let mut locker =
                    sqlx::SqliteConnection::connect(&format!("sqlite://{}", file.display())).await?;
                let lock = locker.begin_with("BEGIN IMMEDIATE").await?;
                tokio::time::sleep(OUTAGE).await;
                lock.rollback().await?;
                Ok(locker.close().await?)
            }
            Self::Postgres(server) => {
                server.stop();
                tokio::time::sleep(OUTAGE).await;
                server.run().await
            }
        }
    }
}

/// Waits until what the proxy that will be killed counted is known at once again: what it holds back while nobody
/// takes it would be lost with it.
async fn caught_up(place: &Place, from: &str, load: &Load) -> Result<()> {
    eventually("what was held back", SETTLED, async || {
        let sent = load.sent().await.map_err(|error| format!("{error:#}"))?;
        let graph = place.graph(from).await.map_err(|error| format!("{error:#}"))?;
        let calls = graph.edges.iter().filter(|edge| edge.source == KILLED.1);
        let known = calls.map(|edge| edge.requests).max().unwrap_or_default();
        // What failed on its way here is in no call of it.
        let refused = graph.edges.iter().filter(|edge| edge.target == KILLED.1);
        let refused: u64 = refused.map(|edge| edge.errors).sum();
        if known + refused + LOST / 2 >= sent {
            Ok(())
        } else {
            Err(format!("{known} of {sent} requests are known"))
        }
    })
    .await
}

/// One thing after the other, each while the load goes on.
async fn faults(demo: &Demo<'_>, database: &mut Database, from: &str, load: &Load) -> Result<()> {
    let before = demo.place.pid(RESTARTED.0)?;
    kill(Pid::from_raw(before), Signal::SIGTERM)?;
    demo.restarted(RESTARTED.0, before).await?;
    let before = demo.place.pid("controlplane")?;
    kill_hard(before)?;
    demo.restarted("controlplane", before).await?;
    database.outage(demo).await?;
    caught_up(demo.place, from, load).await?;
    let before = demo.place.pid(KILLED.0)?;
    kill_hard(before)?;
    demo.restarted(KILLED.0, before).await?;
    Ok(())
}

/// What differs beyond what a killed proxy may lack, and gaps that are not where they belong.
fn wrong(graph: &Graph, sent: &Sent, received: &std::collections::BTreeMap<String, u64>) -> Vec<String> {
    let rough = Rough {
        lossy: &[KILLED.1],
        lost: LOST,
        unanswered: &[KILLED.1, RESTARTED.1],
    };
    let mut wrong = differences_through(graph, sent, received, &rough);
    let touches = |edge: &Edge| edge.source == KILLED.1 || edge.target == KILLED.1;
    for edge in &graph.edges {
        let name = format!("{} -> {}", edge.source, edge.target);
        match (edge.gap, touches(edge)) {
            (false, true) => wrong.push(format!("{name}: its gap is not flagged")),
            (true, false) => wrong.push(format!("{name}: a gap that it does not have")),
            _ => {}
        }
    }
    wrong
}

async fn check(arguments: &[&str], database: &mut Database) -> Result<()> {
    let place = Place::new()?;
    let from = now();
    let arguments: Vec<&str> = ["--no-load"].iter().chain(arguments).copied().collect();
    let demo = place.start(&arguments).await?;
    let load = Load::start(&place, SECONDS)?;
    load.reached(u64::from(RATE) * 4).await?;
    faults(&demo, database, &from, &load)
        .await
        .with_context(|| place.logs())?;
    let sent = load.finish(SECONDS).await?;
    assert!(
        sent.sent > u64::from(RATE) * SECONDS / 2,
        "hardly any load: {sent:?}"
    );
    assert!(
        sent.responses.get("200").copied().unwrap_or_default() > sent.sent / 2,
        "hardly any answers: {sent:?}"
    );
    let mut last = String::new();
    let settled = eventually("a graph that tells the truth", SETTLED, async || {
        let graph = place.graph(&from).await.map_err(|error| format!("{error:#}"))?;
        let received = received(&place).await.map_err(|error| format!("{error:#}"))?;
        last = table(&graph);
        let wrong = wrong(&graph, &sent, &received);
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(wrong.join("\n"))
        }
    })
    .await;
    settled.with_context(|| format!("{sent:?}\n{last}{}", place.logs()))?;
    let status = demo.stop(Signal::SIGINT).await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_is_true_after_all_faults_in_one_run() -> Result<()> {
    check(&[], &mut Database::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_count_is_true_after_all_faults_on_postgres() -> Result<()> {
    let server = Postgres::start().await?;
    let url = server.create("faults")?;
    check(&["--database", &url], &mut Database::Postgres(Box::new(server))).await
}
