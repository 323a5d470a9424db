//! Holds a mesh: what every command that does so starts, keeps and ends.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use mesh_apiserver::Server;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::tokens::TokenFile;
use crate::cluster::{endpoints, expiry, objects};
use crate::failure::{Code, Failure, Tried};
use crate::fetch::{self, Query};
use crate::folder::{self, Folder, write_private};
use crate::member::Place;
use crate::mesh::board::Board;
use crate::mesh::options::MeshOptions;
use crate::mesh::programs::Programs;
use crate::mesh::shutdown;
use crate::ports::{self, Wanted};
use crate::supervisor::{Handle, Phase, RotatingFile, Supervisor};

/// Namespace of the mesh's own parts.
pub(crate) const SYSTEM: &str = "istio-system";

/// The console's own identity.
const CONSOLE_ACCOUNT: &str = "sightline-console";
/// Role and binding of that account.
const CONSOLE_YAML: &str = include_str!("../../../examples/shop/console.yaml");

/// Name of the ConfigMap with the mesh's root certificate, and its key.
const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
const ROOT_KEY: &str = "root-cert.pem";

/// Time between looks at something that will come soon.
const LOOK: Duration = Duration::from_millis(25);

/// How often people are told what is waited for.
const TELL: Duration = Duration::from_secs(5);

/// How long the API server may take to end.
const LAST: Duration = Duration::from_millis(150);

/// Longest time for which a proxy that a mesh's supervisor started waits for requests in flight when it ends.
/// Short, since Ctrl-C ends everything within two seconds; elsewhere Istio's times apply.
const DRAIN: Duration = Duration::from_secs(1);

/// A mesh that is held by this process.
pub(crate) struct Mesh<'a> {
    /// Its flags.
    pub(crate) options: &'a MeshOptions,
    /// Talks to its API server.
    pub(crate) client: Client,
    /// Starts and stops its processes.
    pub(crate) handle: Handle,
    /// Its status file.
    pub(crate) board: Board,
    /// Where its workloads live.
    pub(crate) place: Place,
    /// Command lines.
    pub(crate) programs: Programs,
    /// Addresses of workloads that are ready, as others see them.
    pub(crate) endpoints: watch::Receiver<BTreeSet<String>>,
    /// Token of the API server's administrator.
    pub(crate) admin_token: String,
}

/// Holds a mesh on a data folder, does `work` in it, and ends everything when the work is done or a signal comes.
pub(crate) fn run(
    options: &MeshOptions,
    data: &Path,
    more_ports: Vec<Wanted>,
    work: impl AsyncFnOnce(&Mesh<'_>) -> Result<(), Failure>,
) -> Result<ExitCode, Failure> {
    let folder = Folder::open(data)?;
    let _lock = folder.lock()?;
    let mut wanted = options.wanted_ports();
    wanted.extend(more_ports);
    ports::check(&wanted)?;
    log_to(&folder, "sightline.log")?;
    install_tls_provider()?;
    let launcher = this_program()?;
    let runtime = runtime()?;
    // Children are tied to the thread that starts them, so the supervisor runs here, on the main thread.
    let outcome = runtime.block_on(async {
        let (supervisor, handle) = Supervisor::new(folder.logs(), launcher.clone());
        let mesh = hold(options, &folder, &launcher, handle, work);
        let (outcome, ()) = tokio::join!(mesh, supervisor.run());
        outcome
    });
    // What is left are watches and timers.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// A runtime for a supervisor.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .tried(|| "cannot start a runtime".to_owned())
}

/// This program's file: it launches children, and the other programs lie beside it.
pub(crate) fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().tried(|| "cannot find this program's file".to_owned())
}

/// The one provider of cryptography.
pub(crate) fn install_tls_provider() -> Result<(), Failure> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| Failure::new(Code::Bug, "a TLS provider was installed already"))
}

/// This process's own log, the API server's included.
pub(crate) fn log_to(folder: &Folder, name: &str) -> Result<(), Failure> {
    let file = RotatingFile::new(folder.logs().join(name));
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SIGHTLINE_LOG").unwrap_or_else(|_| {
                tracing_subscriber::EnvFilter::new("info,kube=warn,hyper=warn,sqlx=warn")
            }),
        )
        .with_writer(std::sync::Mutex::new(file))
        .with_ansi(false)
        .try_init()
        .tried_as(Code::Bug, || "cannot start logging".to_owned())
}

/// Runs until asked to end. Whatever was started ends, also after an error.
async fn hold(
    options: &MeshOptions,
    folder: &Folder,
    launcher: &Path,
    handle: Handle,
    work: impl AsyncFnOnce(&Mesh<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut requests = shutdown::Requests::listen()?;
    let identities = folder::memory_backed(folder);
    folder::make(&identities).tried(|| format!("cannot make {}", identities.display()))?;
    say("starting the API server");
    let config = mesh_apiserver::Config::new(options.api_address, folder.path());
    let server = Server::start(config)
        .await
        .tried(|| "cannot start the API server".to_owned())?;

    let outcome = {
        let handle = handle.clone();
        let mesh = async {
            let mesh = start(options, folder, launcher, handle, &server, &identities).await?;
            work(&mesh).await
        };
        let mut mesh = std::pin::pin!(mesh);
        tokio::select! {
            outcome = &mut mesh => outcome,
            _ = requests.next() => Ok(()),
        }
    };
    say("stopping");
    tokio::select! {
        () = shutdown::stop(&handle) => {}
        // Asked twice: whatever still runs is killed by the kernel when this process ends.
        _ = requests.next() => {}
    }
    if tokio::time::timeout(LAST, server.shutdown()).await.is_err() {
        tracing::warn!("the API server did not end in time");
    }
    // Keys live as long as their workloads.
    if let Err(error) = std::fs::remove_dir_all(identities.join("supervised")) {
        tracing::debug!(%error, "cannot remove the identities in {}", identities.display());
    }
    outcome
}

/// Starts what every mesh has.
async fn start<'a>(
    options: &'a MeshOptions,
    folder: &Folder,
    launcher: &Path,
    handle: Handle,
    server: &Server,
    identities: &Path,
) -> Result<Mesh<'a>, Failure> {
    let kubeconfig = server.kubeconfig_path().to_path_buf();
    let programs = Programs::new(launcher);
    programs.check(&["sightline-controlplane", "sightline-console", "sightline-proxy"])?;
    let client = client(&kubeconfig).await?;
    let board = Board::keep(options, folder, &handle);
    for namespace in ["default", SYSTEM] {
        objects::namespace(&client, namespace).await?;
    }
    objects::create_absent(&client, "console.yaml", CONSOLE_YAML).await?;
    expiry::run(client.clone(), folder.runs());
    let endpoints = endpoints::run(client.clone());

    say("starting the control plane");
    handle
        .start(programs.controlplane(options, folder, &kubeconfig))
        .await?;
    root_certificate(&client, folder).await?;
    console_token(&client, folder).await?;
    say("starting the console");
    handle
        .start(programs.console(options, folder, &kubeconfig))
        .await?;
    let place = Place {
        folder: folder.clone(),
        discovery: options.discovery_address,
        base: options.address_base,
        identities: identities.join("supervised"),
        drain: DRAIN,
    };
    folder::make(&place.identities).tried(|| format!("cannot make {}", place.identities.display()))?;
    Ok(Mesh {
        options,
        client,
        handle,
        board,
        place,
        programs,
        endpoints,
        admin_token: server.admin_token().to_owned(),
    })
}

impl Mesh<'_> {
    /// Asks the control plane.
    pub(crate) fn query(&self) -> Result<Query, Failure> {
        let roots = self.place.folder.root_certificate();
        Query::new(self.options.query_address, &roots, self.admin_token.clone())
    }

    /// Waits until control plane and console answer; says what is waited for.
    pub(crate) async fn answers(&self) -> Result<(), Failure> {
        let query = self.query()?;
        let mut told = Instant::now();
        loop {
            let missing = match query.get::<serde_json::Value>("/api/status").await {
                Err(failure) => Some(failure.chain()),
                Ok(_) if !fetch::accepts(self.options.console_address).await => {
                    Some("the console".to_owned())
                }
                Ok(_) => None,
            };
            let Some(missing) = missing else { return Ok(()) };
            if told.elapsed() > TELL {
                told = Instant::now();
                say(&format!("waiting for {missing}{}", trouble(&self.handle)));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The line that scripts wait for begins with `ready`; people get a few more.
    pub(crate) fn announce(&self, more: &[(&str, String)]) {
        let console = format!("http://{}", self.options.console_address);
        let named: String = more
            .iter()
            .filter(|(name, _)| !name.contains(' '))
            .map(|(name, url)| format!("{name}={url} "))
            .collect();
        let line = format!(
            "ready {named}console={console} api=https://{}",
            self.options.api_address
        );
        let kubeconfig = self.place.folder.path().join("kubeconfig");
        let mut stdout = std::io::stdout();
        // Nobody may be reading; the mesh runs all the same.
        let _ = writeln!(stdout, "export KUBECONFIG={}", kubeconfig.display())
            .and_then(|()| writeln!(stdout, "{line}"))
            .and_then(|()| stdout.flush());
        say(&format!("console   {console}"));
    }
}

/// Processes that do not stay alive, and where they say why.
pub(crate) fn trouble(handle: &Handle) -> String {
    let states = handle.states();
    let states = states.borrow();
    states
        .iter()
        .filter(|state| state.restarts > 0 || state.phase == Phase::Restarting)
        .map(|state| {
            format!(
                "\n    {} ended {} times; its log is {}",
                state.name,
                state.restarts.max(1),
                state.log.display()
            )
        })
        .collect()
}

/// A client of an API server that a kubeconfig names.
pub(crate) async fn client(kubeconfig: &Path) -> Result<Client, Failure> {
    let what = || format!("cannot use {}", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).tried(what)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .tried(what)?;
    Client::try_from(config).tried_as(Code::Bug, what)
}

/// Waits for the control plane to publish its root certificate, and leaves it in a file.
async fn root_certificate(client: &Client, folder: &Folder) -> Result<(), Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM);
    let mut told = Instant::now();
    loop {
        let found = maps
            .get_opt(ROOT_CONFIG_MAP)
            .await
            .tried(|| format!("cannot read ConfigMap {ROOT_CONFIG_MAP}"))?
            .and_then(|map| map.data?.remove(ROOT_KEY));
        if let Some(pem) = found {
            let file = folder.root_certificate();
            return write_private(&file, &pem).tried(|| format!("cannot write {}", file.display()));
        }
        if told.elapsed() > TELL {
            told = Instant::now();
            say(&format!(
                "waiting for the control plane to make its certificate authority; its log is {}",
                folder.logs().join("controlplane.log").display()
            ));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn console_token(client: &Client, folder: &Folder) -> Result<(), Failure> {
    let token = TokenFile {
        namespace: SYSTEM.to_owned(),
        account: CONSOLE_ACCOUNT.to_owned(),
        audience: None,
        file: folder.console_token(),
    };
    token.keep(client.clone()).await.map(drop)
}

/// For people, on standard error.
pub(crate) fn say(text: &str) {
    // The terminal may be gone.
    let _ = writeln!(std::io::stderr(), "  {text}");
}
