//! Ctrl-C under load, and a second start with the same data: the history has every request that was sent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use mesh_testkit::{Samples, eventually};
use nix::sys::signal::Signal;

use crate::counts::{Sent, enters, table};
use crate::demo::{Place, now};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_continues_after_ctrl_c_under_load() -> Result<()> {
    let place = Place::new()?;
    let from = now();
    let demo = place.start(&["--rps", "60"]).await?;
    eventually("load", Duration::from_secs(60), async || {
        let text = place
            .counters("loadgen")
            .await
            .map_err(|error| format!("{error:#}"))?;
        let samples = Samples::parse(&text).map_err(|error| format!("{error:#}"))?;
        let sent = samples.sum("loadgen_requests_sent_total", &[]);
        if sent >= 300 {
            Ok(())
        } else {
            Err(format!("{sent} sent"))
        }
    })
    .await
    .with_context(|| place.logs())?;
    demo.set_reviews_weights(80, 20).await?;
    let asked = Instant::now();
    let status = demo.stop(Signal::SIGINT).await?;
    let took = asked.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(2), "took {took:?}");
    let sent = Sent::read(&place.data().join("loadgen-final.json"))?;
    assert!(sent.sent >= 300, "{sent:?}");

    let demo = place.start(&["--no-load"]).await?;
    let graph = place.graph(&from).await?;
    let entering = graph.edges.iter().filter(|edge| enters(edge));
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    for edge in entering.clone() {
        for (code, count) in &edge.codes {
            *codes.entry(code.clone()).or_default() += count;
        }
    }
    let requests: u64 = entering.map(|edge| edge.requests).sum();
    assert_eq!(
        (requests, codes),
        (sent.sent, sent.responses),
        "{}{}",
        table(&graph),
        place.logs()
    );
    // The edit survived, too.
    let source = demo.reviews_weights().await?;
    assert_eq!(source, [80, 20]);
    demo.stop(Signal::SIGINT).await?;
    Ok(())
}
