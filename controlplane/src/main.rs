//! Watches, pushes configuration, signs certificates, gathers telemetry, answers queries.

use std::process::ExitCode;

use clap::Parser;
use sightline_controlplane::options::Options;
use sightline_controlplane::run::Running;
use tokio::signal::unix::{SignalKind, signal};

/// Bad configuration (exit codes of the project).
const BAD_CONFIGURATION: u8 = 64;

/// Time that blocking work (a slow disk, a lookup) gets when the process ends.
const SHUTDOWN: std::time::Duration = std::time::Duration::from_millis(200);

fn main() -> ExitCode {
    let options = Options::parse();
    let filter = tracing_subscriber::EnvFilter::try_new(&options.log_level)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if options.log_json {
        logs.json().init();
    } else {
        logs.init();
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_keep_alive(std::time::Duration::from_secs(2))
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(serve(options));
            // What is acknowledged is committed; a store that hangs must not hold up the end.
            runtime.shutdown_timeout(SHUTDOWN);
            outcome
        }
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::from(BAD_CONFIGURATION)
        }
    }
}

async fn serve(options: Options) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let running = tokio::select! {
        running = Running::start(options) => running?,
        _ = terminate.recv() => return Ok(()),
        _ = interrupt.recv() => return Ok(()),
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.shutdown().await;
    Ok(())
}
