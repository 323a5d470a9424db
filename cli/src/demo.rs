//! `sightline demo`: a whole mesh of plain processes on this machine.

mod bootstrap;
mod options;
mod processes;
mod ready;
mod run;
mod sample;
mod shutdown;

use std::process::ExitCode;

pub(crate) use self::options::{EXAMPLES, Options};
use crate::failure::{Code, Failure, Tried};
use crate::folder::Folder;
use crate::ports;
use crate::supervisor::{RotatingFile, Supervisor};

/// Runs the demo until it is asked to end, and ends everything that it started.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = Folder::open(&options.data)?;
    let _lock = folder.lock()?;
    ports::check(&options.wanted_ports())?;
    log_to(&folder)?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Failure::new(Code::Bug, "a TLS provider was installed already"))?;
    let launcher = std::env::current_exe().tried(|| "cannot find this program's file".to_owned())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .tried(|| "cannot start a runtime".to_owned())?;
    // Children are tied to the thread that starts them, so the supervisor runs here, on the main thread.
    let outcome = runtime.block_on(async {
        let (supervisor, handle) = Supervisor::new(folder.logs(), launcher.clone());
        let demo = run::demo(options, &folder, &launcher, handle);
        let (outcome, ()) = tokio::join!(demo, supervisor.run());
        outcome
    });
    // What is left are watches and timers.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The supervisor's own log, the API server's included.
fn log_to(folder: &Folder) -> Result<(), Failure> {
    let file = RotatingFile::new(folder.logs().join("sightline.log"));
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SIGHTLINE_LOG").unwrap_or_else(|_| {
                tracing_subscriber::EnvFilter::new("info,kube=warn,hyper=warn,sqlx=warn")
            }),
        )
        .with_writer(std::sync::Mutex::new(file))
        .with_ansi(false)
        .try_init()
        .tried_as(Code::Bug, || "cannot start logging".to_owned())
}
