//! A load generator that counts what it sent and what came back.
//!
//! Open loop: requests are due at fixed times, whether or not earlier ones were answered, and latency is taken
//! from the time a request was due. Every request that was put on a connection is counted once as sent and once
//! by its answer (status `0`: none), also at the end: at SIGTERM or Ctrl-C it stops sending, waits for what is
//! outstanding, prints the final counts as JSON, and leaves them in a file.

mod arguments;
mod counts;
mod latency;
mod load;
mod side;

use std::sync::Arc;

use anyhow::{Context, Result};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::Arguments;
use crate::counts::Counts;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let arguments = Arguments::parse();
    let target = arguments.target()?;
    let counts = Arc::new(Counts::new(&target.host, &arguments.paths)?);
    if let Some(address) = arguments.counters {
        side::serve(address, Arc::clone(&counts)).await?;
    }
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let stop = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    load::run(&arguments, &target, &counts, stop).await;
    let summary = counts.summary();
    if let Some(file) = &arguments.final_file {
        std::fs::write(file, format!("{summary:#}\n"))
            .with_context(|| format!("cannot write the final counts to {}", file.display()))?;
    }
    println!("{summary}");
    Ok(())
}
