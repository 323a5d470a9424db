//! The old process's side: the process after it.

use std::pin::pin;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::task::JoinHandle;

use super::{Counts, Link, Place};
use crate::config::Config;
use crate::report::FLUSH;
use crate::report::outbox::Parts;
use crate::runtime::Runtime;
use crate::serve::Pages;
use crate::stats::Registry;

/// Waits for the process of the next restart epoch.
#[derive(Debug)]
pub struct Successor(Option<UnixListener>);

impl Successor {
    /// From now on one may come.
    #[must_use]
    pub fn expect(config: &Config) -> Self {
        let arguments = &config.arguments;
        let place = Place::new(&config.node.id, arguments.base_id, arguments.restart_epoch);
        Self(place.listen().map_or_else(
            |error| {
                tracing::warn!(%error, "hot restart is not possible: is a proxy of this node, base id and epoch running?");
                None
            },
            Some,
        ))
    }

    /// Ends when another process serves.
    pub async fn taken(&self, runtime: &Runtime, pages: &Pages) -> Link {
        let Some(listener) = &self.0 else {
            return std::future::pending().await;
        };
        loop {
            let sockets = async || {
                let own = pages.share()?;
                let runtime = runtime.clone();
                let shared = tokio::task::spawn_blocking(move || runtime.share_sockets()).await;
                let mut all = shared.map_err(std::io::Error::other)??;
                all.extend(own);
                Ok(all)
            };
            match Link::accept(listener, sockets).await {
                Ok(link) => return link,
                Err(error) => {
                    tracing::warn!(%error, "a process came to take over and did not; this one goes on");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
    }
}

/// Ends what is left: hands over the run of telemetry and everything that is counted until the last connection has
/// ended, also what the process before this one still counts.
pub async fn leave(
    mut link: Link,
    run: Option<Parts>,
    runtime: &Runtime,
    limit: Duration,
    inheriting: Option<JoinHandle<()>>,
) {
    let registry = runtime.registry();
    let first = Counts {
        run,
        counted: registry.hand_over(),
    };
    hand(&mut link, &first).await;
    let mut last = pin!(async {
        runtime.leave(limit).await;
        if let Some(inheriting) = inheriting {
            let _ = inheriting.await;
        }
    });
    loop {
        tokio::select! {
            () = &mut last => break,
            () = tokio::time::sleep(FLUSH) => hand_more(&mut link, registry).await,
        }
    }
    hand_more(&mut link, registry).await;
    if let Err(error) = link.end().await {
        tracing::debug!(%error, "the process after is gone");
    }
}

async fn hand_more(link: &mut Link, registry: &Registry) {
    let counted = registry.hand_over();
    if !counted.is_empty() {
        hand(link, &Counts { run: None, counted }).await;
    }
}

async fn hand(link: &mut Link, counts: &Counts) {
    if let Err(error) = link.hand(counts).await {
        let lost: u64 = counts
            .counted
            .totals
            .iter()
            .map(|(_, total)| total.requests)
            .sum();
        tracing::error!(%error, requests = lost, "the process after did not take these counters: they are lost");
    }
}
