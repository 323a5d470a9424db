//! The data plane: sidecar and gateway.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use sightline_proxy::admin::SetLogLevel;
use sightline_proxy::config::{Arguments, Config, EXIT_CONFIGURATION, log_filter};
use sightline_proxy::init::{self, InitError};
use sightline_proxy::run::{RunError, run};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Ports taken, no threads: try again later.
const EXIT_UNAVAILABLE: u8 = 69;

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|first| first == "init") {
        return init();
    }
    let config = match Config::load(Arguments::parse()) {
        Ok(config) => config,
        Err(errors) => {
            for line in &errors.0 {
                eprintln!("error: {line}");
            }
            return ExitCode::from(EXIT_CONFIGURATION);
        }
    };
    // Reading the bootstrap took megabytes of descriptors.
    sightline_proxy::memory::give_back();
    let set_log_level = start_logging(&config.arguments.log_level);
    // Discovery, certificates, telemetry and admin share this; the data plane has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(8)
        .thread_name("control")
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads");
            return ExitCode::from(EXIT_UNAVAILABLE);
        }
    };
    let outcome = runtime.block_on(run(config, set_log_level));
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error @ RunError::Refused(_)) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_CONFIGURATION)
        }
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(EXIT_UNAVAILABLE)
        }
    }
}

fn init() -> ExitCode {
    // The name of the subcommand stands where the program's does.
    match init::Arguments::parse_from(std::env::args_os().skip(1)).run() {
        Ok(shown) => {
            print!("{shown}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                InitError::Arguments(_) => ExitCode::from(EXIT_CONFIGURATION),
                InitError::Run(_) => ExitCode::from(EXIT_UNAVAILABLE),
            }
        }
    }
}

fn start_logging(level: &str) -> SetLogLevel {
    let filter = log_filter(level).unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    let (filter, handle) = tracing_subscriber::reload::Layer::new(filter);
    let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(colour);
    tracing_subscriber::registry().with(filter).with(lines).init();
    Arc::new(move |level: &str| {
        let filter = log_filter(level)?;
        handle.reload(filter).map_err(|e| e.to_string())
    })
}
