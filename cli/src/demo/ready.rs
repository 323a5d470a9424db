//! When the demo is ready: every workload takes requests, every proxy runs the current configuration.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use mesh_api::mesh::{ProxyList, Status};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::workload::Registered;
use crate::failure::Failure;
use crate::fetch::{self, Query};

/// Time between looks.
const LOOK: Duration = Duration::from_millis(50);

/// How often people are told what is waited for.
const TELL: Duration = Duration::from_secs(5);

/// Waits; says on standard error what is still missing. Never sends a request that the mesh would count.
pub(crate) async fn wait(
    query: &Query,
    workloads: &[(Arc<Registered>, watch::Receiver<bool>)],
    console: std::net::SocketAddr,
) {
    let mut told = Instant::now();
    // Endpoints reach the control plane a moment after the last workload became ready: the answer must hold twice.
    let mut held = 0;
    loop {
        let missing = missing(query, workloads, console).await;
        match &missing {
            None => held += 1,
            Some(_) => held = 0,
        }
        if held >= 2 {
            return;
        }
        if let Some(missing) = missing
            && told.elapsed() > TELL
        {
            told = Instant::now();
            let _ = writeln!(std::io::stderr(), "  waiting for {missing}");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is missing first.
async fn missing(
    query: &Query,
    workloads: &[(Arc<Registered>, watch::Receiver<bool>)],
    console: std::net::SocketAddr,
) -> Option<String> {
    if let Some((entry, _)) = workloads.iter().find(|(_, ready)| !*ready.borrow()) {
        return Some(format!("{} and its proxy to take requests", entry.workload.name));
    }
    match unsynced(query, workloads).await {
        Ok(None) => {}
        Ok(missing) => return missing,
        Err(failure) => return Some(format!("the control plane ({})", failure.chain())),
    }
    (!fetch::accepts(console).await).then(|| "the console".to_owned())
}

async fn unsynced(
    query: &Query,
    workloads: &[(Arc<Registered>, watch::Receiver<bool>)],
) -> Result<Option<String>, Failure> {
    let status: Status = query.get("/api/status").await?;
    let proxies: ProxyList = query.get("/api/proxies").await?;
    let synced: BTreeSet<&str> = proxies
        .proxies
        .iter()
        .filter(|proxy| proxy.connected && proxy.state == "synced" && proxy.revision == status.revision)
        .map(|proxy| proxy.id.as_str())
        .collect();
    Ok(workloads
        .iter()
        .find(|(entry, _)| !synced.contains(entry.node_id().as_str()))
        .map(|(entry, _)| {
            format!(
                "the proxy of {} to run the current configuration",
                entry.workload.name
            )
        }))
}
