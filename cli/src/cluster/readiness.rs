//! Whether each workload takes requests, as a kubelet's probes tell: its application accepts connections (nothing
//! is sent, so nothing is counted) and its proxy says that it is ready.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::cluster::registration::{set_status, write_pod};
use crate::cluster::workload::Registered;
use crate::failure::Failure;
use crate::fetch;

/// Time between probes while a workload is ready, and while it is not.
const WHILE_READY: Duration = Duration::from_millis(500);
const WHILE_NOT: Duration = Duration::from_millis(50);

/// Path of a proxy's readiness.
pub(crate) const PATH: &str = "/healthz/ready";

/// How often it is checked that the pod is still there.
const CHECK: Duration = Duration::from_secs(2);

/// Pause after a failed write.
const RETRY: Duration = Duration::from_secs(1);

/// Probes a workload until it is told to stop, and writes each change to its pod.
pub(crate) fn watch(client: Client, entry: Arc<Registered>) -> (watch::Receiver<bool>, AbortHandle) {
    let (sender, receiver) = watch::channel(false);
    let probes = tokio::spawn(async move {
        // Registration wrote "not ready".
        let mut written = false;
        let mut checked = Instant::now();
        loop {
            let ready = probe(&entry).await;
            if written && checked.elapsed() >= CHECK {
                checked = Instant::now();
                written = !is_changed(&client, &entry).await;
            }
            let mut pause = if ready { WHILE_READY } else { WHILE_NOT };
            if ready != written {
                match write(&client, &entry, ready).await {
                    Ok(()) => {
                        tracing::info!(pod = entry.pod, ready, "readiness changed");
                        written = ready;
                        sender.send_replace(ready);
                    }
                    Err(failure) => {
                        tracing::warn!("{}", failure.chain());
                        pause = RETRY;
                    }
                }
            }
            tokio::time::sleep(pause).await;
        }
    });
    (receiver, probes.abort_handle())
}

/// A pod that somebody deleted while its processes run is registered again.
async fn write(client: &Client, entry: &Registered, ready: bool) -> Result<(), Failure> {
    if set_status(client, entry, ready).await.is_ok() {
        return Ok(());
    }
    write_pod(client, entry).await?;
    set_status(client, entry, ready).await
}

/// Whether the pod is not there, or not ready, which this process did not write.
async fn is_changed(client: &Client, entry: &Registered) -> bool {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &entry.workload.namespace);
    match pods.get_opt(&entry.pod).await {
        Ok(pod) => !pod.as_ref().is_some_and(is_ready),
        Err(_) => false,
    }
}

fn is_ready(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| {
        let conditions = status.conditions.iter().flatten();
        conditions
            .into_iter()
            .any(|condition| condition.type_ == "Ready" && condition.status == "True")
    })
}

async fn probe(entry: &Registered) -> bool {
    if let Some(application) = entry.application()
        && !fetch::accepts(application).await
    {
        return false;
    }
    fetch::status(entry.proxy_readiness(), PATH).await == Some(StatusCode::OK)
}
