//! Commands that look into a running mesh.

pub(crate) mod analysis;
pub(crate) mod dashboard;
mod dump;
pub(crate) mod explain;
mod output;
pub(crate) mod proxy_config;
pub(crate) mod proxy_status;

use std::path::Path;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt};

pub(crate) use self::output::Format;
use crate::cluster::workload::WORKLOAD_LABEL;
use crate::failure::{Failure, Tried};
use crate::fetch::Query;
use crate::folder::Folder;
use crate::mesh::host;
use crate::status::Status;

/// A running mesh, as its data folder names it.
struct Running {
    folder: Folder,
    status: Status,
    query: std::net::SocketAddr,
    console: std::net::SocketAddr,
}

impl Running {
    fn find(data: Option<&Path>) -> Result<Self, Failure> {
        let folder = Folder::running(data)?;
        let (status, mesh) = Status::of_mesh(&folder)?;
        Ok(Self {
            folder,
            status,
            query: mesh.query,
            console: mesh.console,
        })
    }

    /// Asks the control plane with the administrator's token.
    fn query(&self) -> Result<Query, Failure> {
        let file = self.folder.admin_token();
        let token = std::fs::read_to_string(&file).tried(|| format!("cannot read {}", file.display()))?;
        Query::new(
            self.query,
            &self.folder.root_certificate(),
            token.trim().to_owned(),
        )
    }

    async fn client(&self) -> Result<Client, Failure> {
        host::client(&self.folder.kubeconfig()).await
    }

    /// The pod of this name (`POD` or `POD.NAMESPACE`), or the pod of the workload of this name.
    async fn pod(&self, name: &str) -> Result<Pod, Failure> {
        let pods: Api<Pod> = Api::all(self.client().await?);
        let all = pods
            .list(&ListParams::default().labels(WORKLOAD_LABEL))
            .await
            .tried(|| "cannot list the pods".to_owned())?
            .items;
        let named = |pod: &Pod| {
            let own = [Some(pod.name_any()), pod.labels().get(WORKLOAD_LABEL).cloned()];
            let namespace = pod.namespace().unwrap_or_default();
            own.into_iter()
                .flatten()
                .any(|own| own == name || format!("{own}.{namespace}") == name)
        };
        let known: Vec<String> = all.iter().map(ResourceExt::name_any).collect();
        all.into_iter().find(named).ok_or_else(|| {
            Failure::unavailable(format!(
                "no pod or workload {name:?} is in the mesh; there are {}",
                if known.is_empty() {
                    "none".to_owned()
                } else {
                    known.join(", ")
                }
            ))
        })
    }
}

/// Runs a command that asks and prints.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    host::install_tls_provider()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .tried(|| "cannot start a runtime".to_owned())?
        .block_on(work)
}
