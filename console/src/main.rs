//! The console's backend: sign-in, static files, edits with the user's identity, queries.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use sightline_console::cluster::Cluster;
use sightline_console::config::{Config, LogFormat};
use sightline_console::listen::{TlsListener, bind};
use sightline_console::server::router;
use sightline_console::state::Console;

/// Streams never end by themselves; they get this long after a signal.
const DRAIN: Duration = Duration::from_millis(500);

/// Bad configuration.
const CONFIGURATION: u8 = 64;
/// Something needed is unavailable.
const UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    let config = Config::parse();
    log(&config);
    let problems = config.problems();
    if !problems.is_empty() {
        for problem in problems {
            eprintln!("error: {problem}");
        }
        return ExitCode::from(CONFIGURATION);
    }
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        tracing::debug!("a TLS provider was installed already");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.context("cannot start the runtime").and_then(|runtime| {
        let outcome = runtime.block_on(run(config));
        runtime.shutdown_timeout(DRAIN);
        outcome
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(UNAVAILABLE)
        }
    }
}

fn log(config: &Config) {
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log_level)
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(false).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}

async fn run(config: Config) -> Result<()> {
    let listener = bind(config.listen).await?;
    let address = listener.local_addr()?;
    let cluster = Cluster::connect(config.kubeconfig.as_deref())
        .await
        .context("the Kubernetes API: check --kubeconfig")?;
    let tls = config.tls_cert.clone().zip(config.tls_key.clone());
    let console = Arc::new(Console::new(config, address, cluster));
    let scheme = if tls.is_some() { "https" } else { "http" };
    tracing::info!("console at {scheme}://{address}");
    let application = router(console);
    let serving = async {
        match tls {
            Some((certificate, key)) => {
                axum::serve(TlsListener::new(listener, &certificate, &key)?, application).await
            }
            None => axum::serve(listener, application).await,
        }
        .context("serving ended")
    };
    tokio::select! {
        outcome = serving => outcome,
        () = signal() => Ok(()),
    }
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
