//! Takes away the registrations of processes that died without doing it themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

use crate::cluster::workload::WORKLOAD_LABEL;
use crate::cluster::{lease, registration};
use crate::failure::{Failure, Tried};

/// Time between looks.
const LOOK: Duration = Duration::from_millis(500);

/// Works until the runtime ends. What was not renewed while nobody served the API gets its time once more.
/// Their status files in `runs` go, too.
pub(crate) fn run(client: Client, runs: PathBuf) {
    tokio::spawn(async move {
        let since = Timestamp::now();
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(failure) = sweep(&client, since, &runs).await {
                tracing::warn!("{}", failure.chain());
            }
        }
    });
}

async fn sweep(client: &Client, since: Timestamp, runs: &Path) -> Result<(), Failure> {
    let leases: Api<Lease> = Api::all(client.clone());
    let all = leases
        .list(&ListParams::default().labels(WORKLOAD_LABEL))
        .await
        .tried(|| "cannot list the registrations".to_owned())?;
    for found in all {
        if !lease::is_expired(&found, Timestamp::now(), since) {
            continue;
        }
        let (Some(namespace), Some(workload)) = (found.namespace(), found.labels().get(WORKLOAD_LABEL))
        else {
            continue;
        };
        let pod = found
            .annotations()
            .get(lease::POD_ANNOTATION)
            .cloned()
            .unwrap_or_default();
        tracing::info!(workload, namespace, pod, "registration expired");
        registration::remove(client, &namespace, workload, &pod).await?;
        // Absent for the mesh's own workloads.
        let _ = std::fs::remove_file(runs.join(format!("{pod}.json")));
    }
    Ok(())
}
