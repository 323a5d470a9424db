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
use crate::mesh::host;
use crate::supervisor::Handle;

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
    /// Addresses of the ready endpoints that have been written.
    pub(crate) endpoints: watch::Receiver<BTreeSet<String>>,
    /// Where the console listens.
    pub(crate) console: SocketAddr,
    /// How the processes are.
    pub(crate) handle: Handle,
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
                    let _ = writeln!(
                        std::io::stderr(),
                        "  waiting for {missing}{}",
                        host::trouble(&expected.handle)
                    );
                }
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

impl Expected<'_> {
    /// What is missing first.
    async fn missing(&self) -> Option<String> {
        if let Some((entry, _)) = self.workloads.iter().find(|(_, ready)| !*ready.borrow()) {
            return Some(format!("{} and its proxy to take requests", entry.workload.name));
        }
        let written = |entry: &Registered| {
            let address = entry.addresses.inbound().to_string();
            self.endpoints.borrow().contains(&address)
        };
        if let Some((entry, _)) = self.workloads.iter().find(|(entry, _)| !written(entry)) {
            return Some(format!("the endpoint of {} to be written", entry.workload.name));
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
