//! The store: a release build of `bench-store`, which brings its own databases.

use anyhow::{Context, Result, bail};

use crate::root;

/// What is measured, and how.
const METHOD: &str = "\
A mesh of 1,000 workloads and 20,000 edges, 10,000 requests a second spread over the edges by Zipf's law, latencies \
log-normal; both ends report, so an edge is at least two series. Ingest: one batch of each proxy for each of 400 \
windows of 10 s, every window folded (blocks of all resolutions, hourly rows); processor time is that of the store's \
process, for PostgreSQL without its server. Reading: hours that begin at any moment, so that windows of 10 s and of \
1 min answer; sums of all edges with their histograms. Kept requests: in column segments, searched whole. PostgreSQL \
runs with its defaults but for 256 MiB of shared buffers; both databases are warm.\n\n";

pub(super) fn measure() -> Result<String> {
    let output = root::cargo()
        .args([
            "run",
            "--release",
            "-p",
            "sightline-bench",
            "--bin",
            "bench-store",
        ])
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !output.status.success() {
        bail!("bench-store failed");
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    Ok(format!(
        "## History\n\n{}{METHOD}Load average of the machine at the end: {load}.\n\n{}\n",
        super::conditions(""),
        String::from_utf8_lossy(&output.stdout)
    ))
}
