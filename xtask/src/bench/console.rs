//! The console in a headless Chromium: how fast it answers hands, and how large a graph may be.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::{demo, root};

/// What is measured, and how.
const METHOD: &str = "\
Headless Chromium without a GPU, 1440 × 900, release pages, development build of the mesh. Interactions: clicks and keys on every page \
of a demo at work, from the input to the next paint, as the browser's Event Timing tells. Graphs: made-up meshes; the \
picture is dragged, all of it in the window (far) and with readable cards (near).\n\n";

#[derive(Deserialize)]
struct Figures {
    interactions: Interactions,
    graphs: Vec<Graph>,
}

#[derive(Deserialize)]
struct Interactions {
    count: u32,
    p50: f64,
    p95: f64,
    worst: f64,
}

#[derive(Deserialize)]
struct Graph {
    services: u32,
    edges: u32,
    shown: f64,
    zoom: f64,
    far: Frames,
    near: Frames,
}

#[derive(Deserialize)]
struct Frames {
    fps: f64,
    p95: f64,
}

pub(super) fn measure(root: &Path) -> Result<String> {
    demo::build_pages(true)?;
    demo::build(false)?;
    let folder = root.join("tests/browser");
    if !folder.join("node_modules").is_dir() {
        demo::succeed(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&folder),
        )?;
    }
    let output = Command::new("node")
        .arg("figures.mjs")
        .current_dir(&folder)
        .env("SIGHTLINE_BINARIES", root::binaries(false))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot start node")?;
    if !output.status.success() {
        bail!("figures.mjs failed");
    }
    let figures: Figures = serde_json::from_slice(&output.stdout).context("the figures of figures.mjs")?;
    Ok(report(&figures))
}

fn report(figures: &Figures) -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    let Interactions {
        count,
        p50,
        p95,
        worst,
    } = &figures.interactions;
    let mut text = format!(
        "## Console\n\n{}{METHOD}Load average of the machine at the end: {load}.\n\n\
         {count} interactions: p50 {p50:.0} ms, p95 {p95:.0} ms (limit 100 ms), worst {worst:.0} ms.\n\n\
         | graph | on screen after | zoom at fit | far, frames/s | far, p95 of a frame | near, frames/s | near, p95 of a frame |\n\
         |---|---|---|---|---|---|---|\n",
        super::conditions("")
    );
    for graph in &figures.graphs {
        text.push_str(&format!(
            "| {} services, {} edges | {:.1} s | {:.2} | {:.0} | {:.0} ms | {:.0} | {:.0} ms |\n",
            graph.services,
            graph.edges,
            graph.shown / 1000.0,
            graph.zoom,
            graph.far.fps,
            graph.far.p95,
            graph.near.fps,
            graph.near.p95
        ));
    }
    text.push('\n');
    text
}
