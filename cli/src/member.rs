//! A workload's life in the mesh: it is registered, gets an identity and a sidecar, and leaves again. `sightline
//! run`, `sightline gateway` and the demo's sample all go through here.

mod bootstrap;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use kube::Client;
use mesh_model::address::AddressBase;
use mesh_translate::{World, local_services};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::tokens::{CERTIFICATE_AUDIENCE, TokenFile};
use crate::cluster::workload::{Registered, Role, Workload};
use crate::cluster::{lease, readiness, registration};
use crate::failure::{Failure, Tried};
use crate::fetch;
use crate::folder::{self, Folder, write_private};
use crate::mesh::programs::{Programs, arguments, text};
use crate::supervisor::{Handle, Kind, Spec, Stage};

/// Time between renewals of a registration: three may fail before it expires.
const RENEWAL: Duration = Duration::from_millis(2500);

/// Time between looks at a proxy that starts.
const LOOK: Duration = Duration::from_millis(25);

/// Where the workloads of a mesh live, and whom their proxies ask.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The mesh's data folder.
    pub(crate) folder: Folder,
    /// The control plane.
    pub(crate) discovery: SocketAddr,
    /// Block of the workloads' addresses.
    pub(crate) base: AddressBase,
    /// Memory-backed folder for keys.
    pub(crate) identities: PathBuf,
    /// How long a proxy waits for requests in flight when it ends.
    pub(crate) drain: Duration,
}

/// A workload that joined.
pub(crate) struct Joined {
    /// Who it is.
    pub(crate) entry: Arc<Registered>,
    /// Whether it takes requests.
    pub(crate) ready: watch::Receiver<bool>,
    watches: [tokio::task::AbortHandle; 2],
}

impl Place {
    /// Registers a workload and starts its proxy.
    pub(crate) async fn join(
        &self,
        client: &Client,
        handle: &Handle,
        programs: &Programs,
        workload: &Workload,
    ) -> Result<Joined, Failure> {
        let entry = registration::register(client, self.base, workload).await?;
        match self
            .start(client, handle, programs, Arc::new(entry.clone()))
            .await
        {
            Ok(joined) => Ok(joined),
            Err(failure) => {
                // The reason counts; what could not be taken away expires.
                let _ = registration::remove(client, &workload.namespace, &workload.name, &entry.pod).await;
                Err(failure)
            }
        }
    }

    async fn start(
        &self,
        client: &Client,
        handle: &Handle,
        programs: &Programs,
        entry: Arc<Registered>,
    ) -> Result<Joined, Failure> {
        self.prepare(client, &entry).await?;
        handle.start(self.proxy(programs, &entry)).await?;
        let renewal = tokio::spawn(renew(client.clone(), Arc::clone(&entry)));
        let (ready, probes) = readiness::watch(client.clone(), Arc::clone(&entry));
        Ok(Joined {
            entry,
            ready,
            watches: [renewal.abort_handle(), probes],
        })
    }

    /// Writes what a workload's proxy needs before it starts.
    async fn prepare(&self, client: &Client, entry: &Registered) -> Result<(), Failure> {
        let home = self.home(entry);
        let what = || format!("cannot write {}", home.display());
        folder::make(&home.join("state")).tried(what)?;
        let content = bootstrap::bootstrap(entry, self.discovery, &self.folder.root_certificate());
        write_private(&home.join("bootstrap.json"), &format!("{content:#}\n")).tried(what)?;
        let token = TokenFile {
            namespace: entry.workload.namespace.clone(),
            account: entry.workload.service_account.clone(),
            audience: Some(CERTIFICATE_AUDIENCE),
            file: home.join("token"),
        };
        token.keep(client.clone()).await
    }

    /// A workload's own folder.
    fn home(&self, entry: &Registered) -> PathBuf {
        let Workload { name, namespace, .. } = &entry.workload;
        self.folder.workloads().join(format!("{name}.{namespace}"))
    }

    fn proxy(&self, programs: &Programs, entry: &Registered) -> Spec {
        let Registered {
            workload, addresses, ..
        } = entry;
        let home = self.home(entry);
        let (name, stage, address) = match &workload.role {
            Role::Sidecar { .. } => (
                format!("{}-proxy", workload.name),
                Stage::Workloads,
                addresses.inbound().to_string(),
            ),
            Role::Gateway { listeners } => {
                let listeners: Vec<_> = listeners.iter().map(|one| one.address.to_string()).collect();
                (workload.name.clone(), Stage::Gateway, listeners.join(","))
            }
        };
        let identity = self
            .identities
            .join(format!("{}.{}", workload.name, workload.namespace));
        Spec {
            name,
            program: programs.program("sightline-proxy"),
            arguments: arguments([
                ("-c", home.join("bootstrap.json").into_os_string()),
                (
                    "--telemetry-endpoint",
                    text(format!("https://{}", self.discovery)),
                ),
                ("--ca-endpoint", text(self.discovery)),
                ("--token-path", home.join("token").into_os_string()),
                ("--ca-root", self.folder.root_certificate().into_os_string()),
                ("--state-dir", home.join("state").into_os_string()),
                ("--identity-dir", identity.into_os_string()),
                ("--status-address", text(addresses.inbound())),
                ("--concurrency", text(1)),
                ("--drain-time-s", text(self.drain.as_secs())),
                ("--parent-shutdown-time-s", text(self.drain.as_secs())),
            ]),
            environment: Vec::new(),
            stage,
            kind: Kind::Service,
            address,
        }
    }
}

impl Joined {
    /// Waits until the proxy takes traffic. The application may start then: its calls have a way.
    pub(crate) async fn proxy_ready(&self) {
        let address = self.entry.proxy_readiness();
        while fetch::status(address, readiness::PATH).await != Some(StatusCode::OK) {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Takes no new requests from here on: the others are told.
    pub(crate) async fn retire(&self, client: &Client) -> Result<(), Failure> {
        for watch in &self.watches {
            watch.abort();
        }
        registration::set_status(client, &self.entry, false).await
    }

    /// Takes the registration away.
    pub(crate) async fn leave(&self, client: &Client) -> Result<(), Failure> {
        for watch in &self.watches {
            watch.abort();
        }
        let Workload { name, namespace, .. } = &self.entry.workload;
        registration::remove(client, namespace, name, &self.entry.pod).await
    }
}

/// Environment by which an application finds its own address, its sidecar, and the TCP services of its namespace:
/// each of those has an address of its own in front of the sidecar, told by `NAME_HOST` and `NAME_PORT`.
pub(crate) fn environment(entry: &Registered, world: &World) -> Vec<(String, String)> {
    let proxy = format!("http://{}", entry.addresses.outbound());
    let host = entry.addresses.application();
    let mut variables = vec![
        ("HOST".to_owned(), host.to_string()),
        ("http_proxy".to_owned(), proxy.clone()),
        ("HTTP_PROXY".to_owned(), proxy),
        ("no_proxy".to_owned(), format!("localhost,127.0.0.1,{host}")),
    ];
    if let Some(address) = entry.application() {
        variables.push(("PORT".to_owned(), address.port().to_string()));
    }
    let namespace = &entry.workload.namespace;
    for peer in local_services(world, entry.addresses, namespace) {
        let Some(port) = peer.ports.first().filter(|_| peer.namespace == *namespace) else {
            continue;
        };
        let name = peer.variable();
        variables.push((format!("{name}_HOST"), peer.address.to_string()));
        variables.push((format!("{name}_PORT"), port.to_string()));
    }
    variables
}

/// Renews the registration until it is told to stop; registers again if somebody took it away.
async fn renew(client: Client, entry: Arc<Registered>) {
    let mut next = Instant::now() + RENEWAL;
    loop {
        tokio::time::sleep_until(next).await;
        next += RENEWAL;
        let outcome = match lease::renew(&client, &entry).await {
            Ok(false) => again(&client, &entry).await,
            outcome => outcome.map(drop),
        };
        if let Err(failure) = outcome {
            tracing::warn!("{}", failure.chain());
        }
    }
}

async fn again(client: &Client, entry: &Registered) -> Result<(), Failure> {
    lease::take(client, &entry.workload, &entry.pod).await?;
    registration::restore(client, entry).await
}
