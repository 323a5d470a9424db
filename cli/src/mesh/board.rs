//! The status file, kept right while the mesh runs.

use tokio::sync::watch;

use crate::failure::{Code, Failure, Tried};
use crate::folder::Folder;
use crate::mesh::options::MeshOptions;
use crate::status::{Addresses, Status};
use crate::supervisor::{Handle, State};

/// Writes the status file at each change.
#[derive(Clone)]
pub(crate) struct Board {
    addresses: watch::Sender<Vec<(String, String)>>,
    states: watch::Receiver<Vec<State>>,
    written: watch::Receiver<Vec<State>>,
}

impl Board {
    /// Begins, and goes on until the runtime ends.
    pub(crate) fn keep(options: &MeshOptions, folder: &Folder, handle: &Handle) -> Self {
        let listed = vec![
            (
                "console".to_owned(),
                format!("http://{}", options.console_address),
            ),
            ("api".to_owned(), format!("https://{}", options.api_address)),
        ];
        let (addresses, mut changed) = watch::channel(listed);
        let (sender, written) = watch::channel(Vec::new());
        let mut status = Status {
            supervisor: std::process::id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            mesh: Some(Addresses {
                base: options.address_base.to_string(),
                discovery: options.discovery_address,
                query: options.query_address,
                metrics: options.metrics_address,
                console: options.console_address,
            }),
            links: options.link.clone(),
            addresses: Vec::new(),
            processes: Vec::new(),
        };
        let folder = folder.clone();
        let mut states = handle.states();
        tokio::spawn(async move {
            loop {
                status.addresses.clone_from(&changed.borrow_and_update());
                status.processes.clone_from(&states.borrow_and_update());
                match status.write(&folder) {
                    Ok(()) => {
                        sender.send_replace(status.processes.clone());
                    }
                    Err(error) => tracing::warn!(%error, "cannot write the status file"),
                }
                let goes_on = tokio::select! {
                    change = changed.changed() => change.is_ok(),
                    change = states.changed() => change.is_ok(),
                };
                if !goes_on {
                    return;
                }
            }
        });
        Self {
            addresses,
            states: handle.states(),
            written,
        }
    }

    /// Lists one more address for people.
    pub(crate) fn list(&self, name: impl Into<String>, url: String) {
        let entry = (name.into(), url);
        self.addresses.send_modify(|addresses| addresses.push(entry));
    }

    /// Waits until the file lists every process: who reads `ready` may read the file at once.
    pub(crate) async fn complete(&self) -> Result<(), Failure> {
        let started = self.states.borrow().len();
        self.written
            .clone()
            .wait_for(|states| states.len() >= started)
            .await
            .map(drop)
            .tried_as(Code::Bug, || "the status file is not written any more".to_owned())
    }
}
