//! Whether each workload takes requests, as a kubelet's probes tell: its application accepts connections (nothing
//! is sent, so nothing is counted) and its proxy says that it is ready.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kube::Client;
use tokio::sync::watch;

use crate::cluster::registration::set_status;
use crate::cluster::workload::Registered;
use crate::fetch;

/// Time between probes while a workload is ready, and while it is not.
const WHILE_READY: Duration = Duration::from_millis(500);
const WHILE_NOT: Duration = Duration::from_millis(50);

/// Path of a proxy's readiness.
const READY_PATH: &str = "/healthz/ready";

/// Probes a workload until the runtime ends, and writes each change to its pod.
pub(crate) fn watch(client: Client, entry: Arc<Registered>) -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        // Registration wrote "not ready".
        let mut written = false;
        loop {
            let ready = probe(&entry).await;
            if ready != written {
                match set_status(&client, &entry, ready).await {
                    Ok(()) => {
                        tracing::info!(pod = entry.pod, ready, "readiness changed");
                        written = ready;
                        sender.send_replace(ready);
                    }
                    Err(failure) => tracing::warn!("{}", failure.chain()),
                }
            }
            tokio::time::sleep(if ready && written { WHILE_READY } else { WHILE_NOT }).await;
        }
    });
    receiver
}

async fn probe(entry: &Registered) -> bool {
    if let Some(application) = entry.application()
        && !fetch::accepts(application).await
    {
        return false;
    }
    fetch::status(entry.proxy_readiness(), READY_PATH).await == Some(StatusCode::OK)
}
