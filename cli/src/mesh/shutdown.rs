//! The end: asked for by a signal or by the clock, and in the order that loses no count.

use std::time::Duration;

use nix::sys::signal::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Failure, Tried};
use crate::supervisor::{Handle, Stage};

/// Signals that ask for an orderly end: Ctrl-C, a service manager, a closing terminal.
pub(crate) struct Requests {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Requests {
    /// Listens from now on.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen = |kind| signal(kind).tried(|| "cannot listen for signals".to_owned());
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub(crate) async fn next(&mut self) -> Number {
        tokio::select! {
            _ = self.interrupt.recv() => Number::SIGINT,
            _ = self.terminate.recv() => Number::SIGTERM,
            _ = self.hangup.recv() => Number::SIGHUP,
        }
    }
}

/// How long each stage may take; together, with the API server's end, less than two seconds.
fn patience(stage: Stage) -> Duration {
    Duration::from_millis(match stage {
        // Waits 300 ms for outstanding answers.
        Stage::Load => 400,
        // Drain, and wait at most 500 ms for the acknowledgement of the last counts.
        Stage::Gateway | Stage::Workloads => 550,
        Stage::Console => 50,
        Stage::ControlPlane => 300,
    })
}

/// Ends every process, stage by stage.
pub(crate) async fn stop(handle: &Handle) {
    for stage in Stage::ALL {
        let begin = tokio::time::Instant::now();
        if let Err(failure) = handle.stop(stage, patience(stage)).await {
            tracing::error!("{}", failure.chain());
        }
        tracing::info!(?stage, took_ms = begin.elapsed().as_millis(), "stopped");
    }
}
