//! TCP services that a plain process can call: each has an address of its own in front of the process's sidecar.

use kube::Client;
use mesh_model::address::WorkloadAddresses;

use crate::failure::Failure;

/// A TCP service, as a workload calls it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// Name of the service.
    name: String,
    /// Its number, from which its address follows.
    number: u8,
    /// Its port.
    port: u16,
}

impl Peer {
    /// `NAME_HOST` and `NAME_PORT`.
    pub(crate) fn variables(&self, addresses: &WorkloadAddresses) -> [(String, String); 2] {
        let name = self
            .name
            .to_uppercase()
            .replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        [
            (format!("{name}_HOST"), addresses.tcp(self.number).to_string()),
            (format!("{name}_PORT"), self.port.to_string()),
        ]
    }
}

/// The TCP services that workloads of a namespace call by their short names.
pub(crate) async fn of(client: &Client, namespace: &str) -> Result<Vec<Peer>, Failure> {
    let _ = (client, namespace);
    Ok(Vec::new())
}
