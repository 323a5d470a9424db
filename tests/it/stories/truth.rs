//! Every request is counted once: the graph equals what the processes themselves counted, to the request.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mesh_testkit::{Process, Samples, binary, eventually, get_text};
use nix::sys::signal::Signal;

use crate::counts::{PUBLISHER, Sent, differences, enters, received, table};
use crate::demo::{Demo, Place, now};
use crate::process::kill_hard;

/// Requests a second.
pub(crate) const RATE: u32 = 25;

/// How soon after the last request the graph must be complete.
const SETTLED: Duration = Duration::from_secs(10);

/// How long the load lasts.
fn length() -> u64 {
    std::env::var("SIGHTLINE_STORY_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(60)
}

/// A load generator of the test's own, so that its end is not the demo's end.
pub(crate) struct Load {
    process: Process,
    counters: String,
    final_file: PathBuf,
}

impl Load {
    pub(crate) fn start(place: &Place, seconds: u64) -> Result<Self> {
        let counters = place.spare(15099);
        let final_file = place.data().join("story-final.json");
        let mut command = Command::new(binary("sightline-loadgen")?);
        command
            .args(["--target", &format!("http://{}", place.gateway())])
            .args(["--host", "shop.example.com", "--path", "/productpage"])
            .args(["--rps", &RATE.to_string(), "--for", &format!("{seconds}s")])
            .args(["--counters", &counters.to_string()])
            .arg("--final")
            .arg(&final_file);
        let process = Process::spawn("sightline-loadgen", command)?;
        Ok(Self {
            process,
            counters: format!("http://{counters}/metrics"),
            final_file,
        })
    }

    /// What it has sent by now.
    pub(crate) async fn sent(&self) -> Result<u64> {
        let samples = Samples::parse(&get_text(&self.counters).await?)?;
        Ok(samples.sum("loadgen_requests_sent_total", &[]))
    }

    /// Waits until it sent this many.
    pub(crate) async fn reached(&self, requests: u64) -> Result<()> {
        eventually("load", Duration::from_secs(120), async || {
            let sent = self.sent().await.map_err(|error| format!("{error:#}"))?;
            if sent >= requests {
                Ok(())
            } else {
                Err(format!("{sent} sent"))
            }
        })
        .await
    }

    pub(crate) async fn finish(mut self, seconds: u64) -> Result<Sent> {
        let status = self.process.wait(Duration::from_secs(seconds + 30)).await?;
        if !status.success() {
            bail!(
                "the load generator ended with {status}:\n{}",
                self.process.output()
            );
        }
        Sent::read(&self.final_file)
    }
}

/// Runs load with `middle` in its middle, and compares every count.
async fn check(middle: impl AsyncFn(&Demo<'_>) -> Result<()>) -> Result<()> {
    let place = Place::new()?;
    let seconds = length();
    let from = now();
    let demo = place.start(&["--no-load"]).await?;
    let load = Load::start(&place, seconds)?;
    load.reached(u64::from(RATE) * seconds / 3).await?;
    middle(&demo).await.with_context(|| place.logs())?;
    let sent = load.finish(seconds).await?;
    assert!(
        sent.sent > u64::from(RATE) * seconds / 2,
        "hardly any load: {sent:?}"
    );
    assert_eq!(
        sent.responses.keys().collect::<Vec<_>>(),
        ["200"],
        "{sent:?}\n{}",
        place.logs()
    );

    let mut last = String::new();
    let settled = eventually("a graph that tells the truth", SETTLED, async || {
        let graph = place.graph(&from).await.map_err(|error| format!("{error:#}"))?;
        let received = received(&place).await.map_err(|error| format!("{error:#}"))?;
        last = table(&graph);
        let differences = differences(&graph, &sent, &received);
        if differences.is_empty() {
            Ok(graph)
        } else {
            Err(differences.join("\n"))
        }
    })
    .await;
    let graph = settled.with_context(|| format!("{last}{}", place.logs()))?;
    let count = |target: &str| {
        graph
            .edges
            .iter()
            .filter(|edge| edge.target == target)
            .map(|edge| edge.requests)
            .sum::<u64>()
    };
    assert_eq!(count("default/details-v1"), sent.sent, "{last}");
    assert_eq!(
        count("default/reviews-v1") + count("default/reviews-v3"),
        sent.sent,
        "{last}"
    );
    assert!(
        count("default/reviews-v1") > 0 && count("default/reviews-v3") > 0,
        "no shift: {last}"
    );
    assert_eq!(count("default/ratings-v1"), count("default/reviews-v3"), "{last}");
    for workload in ["default/inventory-v1", "default/journal-v1"] {
        assert_eq!(count(workload), sent.sent, "{workload}: {last}");
    }
    let secured = |edge: &mesh_api::graph::Edge| {
        edge.source == "unknown" || edge.service == PUBLISHER.1 || edge.mutual_tls == edge.requests
    };
    assert!(
        graph.edges.iter().all(secured),
        "not everything went over mutual TLS: {:#?}",
        graph.edges
    );
    let status = demo.stop(Signal::SIGINT).await?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graph_equals_the_processes_own_counts_across_an_edit() -> Result<()> {
    check(async |demo| demo.set_reviews_weights(50, 50).await).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn graph_equals_the_processes_own_counts_across_a_killed_control_plane() -> Result<()> {
    check(async |demo| {
        demo.set_reviews_weights(50, 50).await?;
        let before = demo.place.pid("controlplane")?;
        kill_hard(before)?;
        demo.restarted("controlplane", before).await?;
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_sidecar_leaves_a_flagged_gap_and_nothing_else() -> Result<()> {
    let place = Place::new()?;
    let seconds = length().min(20);
    let from = now();
    let demo = place.start(&["--no-load"]).await?;
    let load = Load::start(&place, seconds)?;
    load.reached(u64::from(RATE) * seconds / 3).await?;
    let before = place.pid("productpage-v1-proxy")?;
    kill_hard(before)?;
    demo.restarted("productpage-v1-proxy", before).await?;
    let sent = load.finish(seconds).await?;
    // What the gateway counted is whole; what the killed proxy counted may lack one flush interval, and says so.
    let settled = eventually(
        "a graph that tells the truth about its gap",
        SETTLED,
        async || {
            let graph = place.graph(&from).await.map_err(|error| format!("{error:#}"))?;
            let entering: u64 = graph
                .edges
                .iter()
                .filter(|edge| enters(edge))
                .map(|edge| edge.requests)
                .sum();
            if entering != sent.sent {
                return Err(format!("{entering} requests entered, {} were sent", sent.sent));
            }
            let killed = "default/productpage-v1";
            let touches = |edge: &&mesh_api::graph::Edge| edge.source == killed || edge.target == killed;
            if graph.edges.iter().filter(touches).any(|edge| !edge.gap) {
                return Err(format!("no gap is flagged\n{}", table(&graph)));
            }
            if let Some(edge) = graph.edges.iter().find(|edge| edge.gap && !touches(edge)) {
                return Err(format!("{} -> {} has a gap, too", edge.source, edge.target));
            }
            Ok(())
        },
    )
    .await;
    settled.with_context(|| place.logs())?;
    demo.stop(Signal::SIGINT).await?;
    Ok(())
}
