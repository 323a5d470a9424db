//! The demo's steps, from the API server to the load, and back.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::Api;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use mesh_apiserver::Server;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster::tokens::{CERTIFICATE_AUDIENCE, TokenFile};
use crate::cluster::workload::{Registered, Role};
use crate::cluster::{endpoints, readiness, registration};
use crate::demo::options::Options;
use crate::demo::processes::{Programs, counters, home};
use crate::demo::{bootstrap, ready, sample, shutdown};
use crate::failure::{Code, Failure, Tried};
use crate::fetch::Query;
use crate::folder::{self, Folder, write_private};
use crate::status::Status;
use crate::supervisor::{Handle, State};

/// Name of the ConfigMap with the mesh's root certificate, and its key.
const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
const ROOT_KEY: &str = "root-cert.pem";

/// Time between looks at something that will come soon.
const LOOK: Duration = Duration::from_millis(25);

/// How long the API server may take to end.
const LAST: Duration = Duration::from_millis(150);

/// Runs until asked to end. Whatever was started ends, also after an error.
pub(crate) async fn demo(
    options: &Options,
    folder: &Folder,
    launcher: &Path,
    handle: Handle,
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
        let mesh = run(options, folder, launcher, &handle, &server, &identities);
        let mut mesh = std::pin::pin!(mesh);
        tokio::select! {
            outcome = &mut mesh => outcome,
            () = requests.next() => Ok(()),
        }
    };
    say("stopping");
    tokio::select! {
        () = shutdown::stop(&handle) => {}
        // Asked twice: whatever still runs is killed by the kernel when this process ends.
        () = requests.next() => {}
    }
    if tokio::time::timeout(LAST, server.shutdown()).await.is_err() {
        tracing::warn!("the API server did not end in time");
    }
    // Keys live as long as their workloads.
    if let Err(error) = std::fs::remove_dir_all(&identities) {
        tracing::warn!(%error, "cannot remove {}", identities.display());
    }
    outcome
}

/// Starts everything, says `ready`, and waits for the end of the time asked for, if any.
async fn run(
    options: &Options,
    folder: &Folder,
    launcher: &Path,
    handle: &Handle,
    server: &Server,
    identities: &Path,
) -> Result<(), Failure> {
    let kubeconfig = server.kubeconfig_path().to_path_buf();
    let programs = Programs::new(launcher, folder, kubeconfig.clone(), options)?;
    let client = client(&kubeconfig).await?;
    let created = sample::apply(&client, options.gateway_address).await?;
    tracing::info!(created, "the sample's configuration is in place");
    let workloads: Vec<Arc<Registered>> = registration::register(
        &client,
        options.address_base,
        &sample::workloads(options.gateway_address),
    )
    .await?
    .into_iter()
    .map(Arc::new)
    .collect();
    let mut written = keep_status(options, folder, handle, &workloads);
    let endpoints = endpoints::run(client.clone());

    say("starting the control plane");
    handle.start(programs.controlplane()).await?;
    root_certificate(&client, folder).await?;
    console_token(&client, folder).await?;
    say("starting the gateway, the shop and the console");
    handle.start(programs.console()).await?;
    let mut watched = Vec::new();
    for entry in &workloads {
        prepare(&client, options, folder, entry).await?;
        handle.start(programs.proxy(entry, identities)).await?;
        if let Some(application) = programs.application(entry) {
            handle.start(application).await?;
        }
        watched.push((
            Arc::clone(entry),
            readiness::watch(client.clone(), Arc::clone(entry)),
        ));
    }
    let token = server.admin_token().to_owned();
    let expected = ready::Expected {
        query: Query::new(options.query_address, &folder.root_certificate(), token)?,
        workloads: &watched,
        endpoints,
        console: options.console_address,
        states: handle.states(),
    };
    ready::wait(&expected).await;
    if !options.no_load {
        handle.start(programs.load_generator()).await?;
    }
    status_is_complete(handle, &mut written).await?;
    announce(options, folder);
    match options.length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
    Ok(())
}

async fn client(kubeconfig: &Path) -> Result<Client, Failure> {
    let what = || format!("cannot use {}", kubeconfig.display());
    let file = Kubeconfig::read_from(kubeconfig).tried(what)?;
    let config = Config::from_custom_kubeconfig(file, &KubeConfigOptions::default())
        .await
        .tried(what)?;
    Client::try_from(config).tried_as(Code::Bug, what)
}

/// Waits for the control plane to publish its root certificate, and leaves it in a file.
async fn root_certificate(client: &Client, folder: &Folder) -> Result<(), Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), sample::SYSTEM);
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
        if told.elapsed() > Duration::from_secs(5) {
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
        namespace: sample::SYSTEM.to_owned(),
        account: sample::CONSOLE_ACCOUNT.to_owned(),
        audience: None,
        file: folder.console_token(),
    };
    token.keep(client.clone()).await
}

/// Writes what a workload's proxy needs before it starts.
async fn prepare(
    client: &Client,
    options: &Options,
    folder: &Folder,
    entry: &Registered,
) -> Result<(), Failure> {
    let home = home(folder, entry);
    let what = || format!("cannot write {}", home.display());
    folder::make(&home.join("state")).tried(what)?;
    let content = bootstrap::bootstrap(entry, options.discovery_address, &folder.root_certificate());
    write_private(&home.join("bootstrap.json"), &format!("{content:#}\n")).tried(what)?;
    let token = TokenFile {
        namespace: entry.workload.namespace.clone(),
        account: entry.workload.service_account.clone(),
        audience: Some(CERTIFICATE_AUDIENCE),
        file: home.join("token"),
    };
    token.keep(client.clone()).await
}

/// Keeps the status file right until the runtime ends; answers the states that the file has.
fn keep_status(
    options: &Options,
    folder: &Folder,
    handle: &Handle,
    workloads: &[Arc<Registered>],
) -> watch::Receiver<Vec<State>> {
    let (written, receiver) = watch::channel(Vec::new());
    let mut addresses = vec![
        ("gateway".to_owned(), url("http", options.gateway_address)),
        ("console".to_owned(), url("http", options.console_address)),
        ("api".to_owned(), url("https", options.api_address)),
    ];
    for entry in workloads
        .iter()
        .filter(|entry| matches!(entry.workload.role, Role::Sidecar { .. }))
    {
        addresses.push((format!("counters {}", entry.workload.name), counters(entry)));
    }
    if !options.no_load {
        addresses.push((
            "counters loadgen".to_owned(),
            format!("http://{}/metrics", options.load_generator()),
        ));
    }
    let mut status = Status {
        supervisor: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        addresses,
        processes: Vec::new(),
    };
    let folder = folder.clone();
    let mut states: watch::Receiver<_> = handle.states();
    tokio::spawn(async move {
        loop {
            status.processes = states.borrow_and_update().clone();
            match status.write(&folder) {
                Ok(()) => {
                    written.send_replace(status.processes.clone());
                }
                Err(error) => tracing::warn!(%error, "cannot write the status file"),
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Waits until the status file lists every process: who reads `ready` may read the file at once.
async fn status_is_complete(
    handle: &Handle,
    written: &mut watch::Receiver<Vec<State>>,
) -> Result<(), Failure> {
    let started = handle.states().borrow().len();
    written
        .wait_for(|states| states.len() >= started)
        .await
        .map(drop)
        .tried_as(Code::Bug, || "the status file is not written any more".to_owned())
}

fn url(scheme: &str, address: SocketAddr) -> String {
    format!("{scheme}://{address}")
}

/// The one line that scripts wait for, and a few for people.
fn announce(options: &Options, folder: &Folder) {
    let gateway = url("http", options.gateway_address);
    let console = url("http", options.console_address);
    let line = format!(
        "ready gateway={gateway} console={console} api={}",
        url("https", options.api_address)
    );
    let mut stdout = std::io::stdout();
    // Nobody may be reading; the demo runs all the same.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    say(&format!("console   {console}"));
    say(&format!("shop      {gateway}/productpage"));
    say(&format!(
        "kubectl   export KUBECONFIG={}",
        folder.path().join("kubeconfig").display()
    ));
    say("Ctrl-C ends everything");
    if options.open {
        open(&console);
    }
}

fn open(url: &str) {
    let opener: PathBuf = if cfg!(target_os = "macos") {
        "open".into()
    } else {
        "xdg-open".into()
    };
    if let Err(error) = std::process::Command::new(&opener).arg(url).spawn() {
        say(&format!("cannot open a browser ({error}); go to {url}"));
    }
}

fn say(text: &str) {
    // The terminal may be gone.
    let _ = writeln!(std::io::stderr(), "  {text}");
}
