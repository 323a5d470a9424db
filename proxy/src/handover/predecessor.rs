//! The new process's side: the process before it.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::{Link, Place};
use crate::config::Config;
use crate::report::outbox::Parts;
use crate::stats::Registry;
use crate::status::Facts;

/// Between two looks at whether this process is ready.
const LOOK: Duration = Duration::from_millis(10);
/// Longest wait for the process before to be reached.
const PATIENCE: Duration = Duration::from_secs(2);

/// A running process of the restart epoch before this one.
#[derive(Debug)]
pub struct Predecessor {
    link: Link,
    sockets: Vec<(SocketAddr, TcpListener)>,
}

/// What a process goes on with.
#[derive(Debug, Default)]
pub struct Taken {
    /// The run of telemetry.
    pub run: Option<Parts>,
    /// Counts what the process before still hands over; ends with it.
    pub rest: Option<JoinHandle<()>>,
}

impl Predecessor {
    /// The one that the restart epoch speaks of; `None` for the first process, and when nobody is there.
    pub async fn find(config: &Config) -> Option<Self> {
        let arguments = &config.arguments;
        let before = arguments.restart_epoch.checked_sub(1)?;
        let place = Place::new(&config.node.id, arguments.base_id, before);
        let found = async {
            let mut link = reach(&place).await?;
            let sockets = link.sockets().await?;
            std::io::Result::Ok(Self { link, sockets })
        };
        match found.await {
            Ok(found) => {
                tracing::info!(epoch = before, sockets = found.sockets.len(), "taking over");
                Some(found)
            }
            Err(error) => {
                tracing::warn!(epoch = before, %error, "no process to take over from: starting afresh");
                None
            }
        }
    }

    /// A socket of this address.
    pub fn take_socket(&mut self, address: SocketAddr) -> Option<TcpListener> {
        let at = self.sockets.iter().position(|(own, _)| *own == address)?;
        Some(self.sockets.swap_remove(at).1)
    }

    /// All that nobody has taken.
    pub fn take_sockets(&mut self) -> Vec<(SocketAddr, TcpListener)> {
        std::mem::take(&mut self.sockets)
    }

    /// Waits until this process is ready, then takes over.
    pub async fn take_over(mut self, facts: &Facts) -> Taken {
        while facts.ready().is_err() {
            tokio::time::sleep(LOOK).await;
        }
        let registry = facts.runtime.registry().clone();
        let taken = match self.link.serving().await {
            Ok(counts) => {
                registry.take_over(counts.counted);
                Taken {
                    run: counts.run,
                    rest: Some(tokio::spawn(rest(self.link, registry))),
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the process before did not hand its counters over");
                Taken::default()
            }
        };
        facts.runtime.forget_inherited();
        taken
    }
}

/// A process that has just begun may not listen yet.
async fn reach(place: &Place) -> std::io::Result<Link> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        match place.connect() {
            Err(error)
                if error.kind() == std::io::ErrorKind::ConnectionRefused
                    && tokio::time::Instant::now() < deadline =>
            {
                tokio::time::sleep(LOOK).await;
            }
            other => return other,
        }
    }
}

async fn rest(mut link: Link, registry: Registry) {
    loop {
        match link.more().await {
            Ok(Some(counts)) => registry.take_over(counts.counted),
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the process before ended before it had handed over its last counters");
                return;
            }
        }
    }
}
