//! When the demo is ready: every workload takes requests, every proxy runs the current configuration.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_api::mesh::ProxyList;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::workload::Registered;
use crate::failure::Failure;
use crate::fetch::{self, Query};
use crate::supervisor::State;

/// Time between looks.
const LOOK: Duration = Duration::from_millis(50);

/// How often people are told what is waited for.
const TELL: Duration = Duration::from_secs(5);

/// For how long everything must hold: endpoints reach the control plane, and their configuration the proxies, a
/// moment after they were written.
const HELD: Duration = Duration::from_millis(300);

/// What is waited for.
pub(crate) struct Expected<'a> {
    /// Asks the control plane.
    pub(crate) query: Query,
    /// Each workload, and whether it takes requests.
    pub(crate) workloads: &'a [(Arc<Registered>, watch::Receiver<bool>)],
    /// How many ready endpoints have been written.
    pub(crate) endpoints: watch::Receiver<usize>,
    /// Where the console listens.
    pub(crate) console: SocketAddr,
    /// How the processes are.
    pub(crate) states: watch::Receiver<Vec<State>>,
}

/// Waits; says on standard error what is still missing. Never sends a request that the mesh would count.
pub(crate) async fn wait(expected: &Expected<'_>) {
    let mut told = Instant::now();
    let mut since: Option<Instant> = None;
    loop {
        match expected.missing().await {
            None if since.get_or_insert_with(Instant::now).elapsed() >= HELD => return,
            None => {}
            Some(missing) => {
                since = None;
                if told.elapsed() > TELL {
                    told = Instant::now();
                    let _ = writeln!(std::io::stderr(), "  waiting for {missing}{}", expected.trouble());
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Expected<'_> {
    /// Processes that do not stay alive, and where they say why.
    fn trouble(&self) -> String {
        self.states
            .borrow()
            .iter()
            .filter(|state| state.restarts > 0)
            .map(|state| {
                let State {
                    name, restarts, log, ..
                } = state;
                format!(
                    "\n    {name} ended {restarts} times; its log is {}",
                    log.display()
                )
            })
            .collect()
    }

    /// What is missing first.
    async fn missing(&self) -> Option<String> {
        if let Some((entry, _)) = self.workloads.iter().find(|(_, ready)| !*ready.borrow()) {
            return Some(format!("{} and its proxy to take requests", entry.workload.name));
        }
        // Each workload of the sample is selected by exactly one service; users may add more.
        if *self.endpoints.borrow() < self.workloads.len() {
            return Some("the endpoints to be written".to_owned());
        }
        match self.unsynced().await {
            Ok(None) => {}
            Ok(missing) => return missing,
            Err(failure) => return Some(format!("the control plane ({})", failure.chain())),
        }
        (!fetch::accepts(self.console).await).then(|| "the console".to_owned())
    }

    async fn unsynced(&self) -> Result<Option<String>, Failure> {
        let proxies: ProxyList = self.query.get("/api/proxies").await?;
        let synced: BTreeSet<&str> = proxies
            .proxies
            .iter()
            .filter(|proxy| proxy.connected && proxy.state == "synced")
            .map(|proxy| proxy.id.as_str())
            .collect();
        Ok(self
            .workloads
            .iter()
            .find(|(entry, _)| !synced.contains(entry.node_id().as_str()))
            .map(|(entry, _)| {
                format!(
                    "the proxy of {} to run the current configuration",
                    entry.workload.name
                )
            }))
    }
}
