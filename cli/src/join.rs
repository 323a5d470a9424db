//! `sightline run` and `sightline gateway`: a process joins a running mesh, and leaves it when it ends.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use kube::Client;
use mesh_model::address::AddressBase;
use mesh_translate::World;
use tokio::time::Instant;

use crate::cluster::workload::{Listener, Port, Registered, Role, Workload};
use crate::cluster::world;
use crate::failure::{Code, Failure, Tried};
use crate::folder::{self, Folder};
use crate::launch::take_terminal;
use crate::member::{self, Joined, Place};
use crate::mesh::host::{self, SYSTEM, say};
use crate::mesh::programs::Programs;
use crate::mesh::shutdown::Requests;
use crate::ports::{self, Wanted};
use crate::status::Status;
use crate::supervisor::{Handle, Kind, Phase, Spec, Stage, State, Supervisor};

/// Shown below the flags of `run`.
pub(crate) const RUN_EXAMPLES: &str = "\
Examples:
  A service of the mesh, called by others as http://reviews:9080:
    sightline run --name reviews --version v2 --port 9080 -- ./reviews
  It learns its address from HOST and PORT, and calls others through http_proxy:
    sightline run --name page --port 8000 -- sh -c 'exec my-server --bind $HOST:$PORT'
  gRPC, and a second port that speaks something else:
    sightline run --name stock --port 9091:grpc --port 9092:tcp -- ./stock
  Its own metrics are merged into the sidecar's, and a header's values are never recorded:
    sightline run --name reviews --port 9080 --annotation prometheus.io/scrape=true \\
      --annotation prometheus.io/port=9080 --annotation sightline.io/redact-headers=x-session \\
      -- ./reviews
  No port: it only calls others:
    sightline run --name nightly -- curl http://reviews:9080/reviews/0

The command's exit code is passed on; signals are, too. Each TCP service of the
namespace is found through NAME_HOST and NAME_PORT (JOURNAL_HOST for `journal`).
A ServiceAccount, and a Service of the application's name, are made where none is
there, and go with the last workload that needs them.";

/// Shown below the flags of `gateway`.
pub(crate) const GATEWAY_EXAMPLES: &str = "\
Examples:
  For Gateway objects that select istio=ingressgateway, their port 80 at 127.0.0.1:8080:
    sightline gateway --name istio-ingressgateway --listen 127.0.0.1:8080
  Two ports; Gateway objects name them 80 and 9000:
    sightline gateway --name edge --listen 80=127.0.0.1:8080 --listen 9000=127.0.0.1:9000

It has the labels app=NAME and istio=NAME without a leading `istio-`.";

/// A proxy must take traffic within this time.
const START: Duration = Duration::from_secs(30);

/// How often people are told what is waited for.
const TELL: Duration = Duration::from_secs(5);

/// How long a proxy waits for requests in flight when its workload ends: Istio's default.
const DRAIN: Duration = Duration::from_secs(5);

/// What every joining process says.
#[derive(clap::Args)]
struct Who {
    /// Name of the application: its label `app`, and its Service unless another selects it.
    #[arg(long, value_parser = label)]
    name: String,
    /// Service account, its identity; the application's name unless given.
    #[arg(long, value_name = "SA", value_parser = label)]
    service_account: Option<String>,
    /// One more label of the workload; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    label: Vec<(String, String)>,
    /// An annotation of the workload's pod, known to its proxy; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    annotation: Vec<(String, String)>,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Flags of `sightline run`.
#[derive(clap::Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    who: Who,
    /// Version, the label that subsets select.
    #[arg(long, default_value = "", hide_default_value = true, value_parser = version)]
    version: String,
    /// Namespace.
    #[arg(long, default_value = "default", value_parser = label)]
    namespace: String,
    /// Port that the command listens on at $HOST, and what is spoken there (http unless given); may be repeated.
    #[arg(long, value_name = "PORT[:PROTOCOL]")]
    port: Vec<Port>,
    /// The command and its arguments.
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Flags of `sightline gateway`.
#[derive(clap::Args)]
pub(crate) struct GatewayOptions {
    #[command(flatten)]
    who: Who,
    /// Namespace.
    #[arg(long, default_value = SYSTEM, value_parser = label)]
    namespace: String,
    /// Where it listens; PORT is what Gateway objects call it (80 for 8080, 443 for 8443, else the same).
    #[arg(long, value_name = "[PORT=]IP:PORT", required = true)]
    listen: Vec<Listener>,
}

/// Runs the command as a workload of the mesh.
pub(crate) fn run(options: &RunOptions) -> Result<ExitCode, Failure> {
    let who = &options.who;
    let workload = Workload {
        name: Workload::name_of(&who.name, &options.version),
        app: who.name.clone(),
        version: options.version.clone(),
        namespace: options.namespace.clone(),
        service_account: who.service_account.clone().unwrap_or_else(|| who.name.clone()),
        extra_labels: who.label.iter().cloned().collect(),
        annotations: who.annotation.iter().cloned().collect(),
        role: Role::Sidecar {
            ports: options.port.clone(),
        },
    };
    join(who, &workload, Some(&options.command))
}

/// Runs a gateway.
pub(crate) fn gateway(options: &GatewayOptions) -> Result<ExitCode, Failure> {
    let who = &options.who;
    let mut addresses = options.listen.iter().map(|listener| listener.address.ip());
    let first = addresses.next();
    if addresses.any(|ip| Some(ip) != first) {
        return Err(Failure::new(
            Code::Configuration,
            "every --listen of a gateway must have the same IP; start one gateway for each",
        ));
    }
    let mut extra_labels: std::collections::BTreeMap<_, _> = who.label.iter().cloned().collect();
    let short = who.name.strip_prefix("istio-").unwrap_or(&who.name);
    extra_labels
        .entry("istio".to_owned())
        .or_insert_with(|| short.to_owned());
    let workload = Workload {
        name: who.name.clone(),
        app: who.name.clone(),
        version: String::new(),
        namespace: options.namespace.clone(),
        service_account: who.service_account.clone().unwrap_or_else(|| who.name.clone()),
        extra_labels,
        annotations: who.annotation.iter().cloned().collect(),
        role: Role::Gateway {
            listeners: options.listen.clone(),
        },
    };
    let wanted: Vec<Wanted> = options
        .listen
        .iter()
        .map(|listener| Wanted::new("the gateway", listener.address, "--listen"))
        .collect();
    ports::check(&wanted)?;
    join(who, &workload, None)
}

fn join(who: &Who, workload: &Workload, command: Option<&[OsString]>) -> Result<ExitCode, Failure> {
    let folder = Folder::running(who.data.as_deref())?;
    let (_, mesh) = Status::of_mesh(&folder)?;
    host::log_to(
        &folder,
        &format!("{}.{}-run.log", workload.name, workload.namespace),
    )?;
    host::install_tls_provider()?;
    let launcher = host::this_program()?;
    let base = AddressBase::parse(&mesh.base).map_err(|reason| Failure::new(Code::Bug, reason))?;
    let place = Place {
        identities: folder::memory_backed(&folder).join(format!("run-{}", std::process::id())),
        folder,
        discovery: mesh.discovery,
        base,
        drain: DRAIN,
    };
    let runtime = host::runtime()?;
    let outcome = runtime.block_on(async {
        let (supervisor, handle) = Supervisor::new(place.folder.logs(), launcher.clone());
        let member = Member {
            place: &place,
            programs: Programs::new(&launcher),
            handle,
            workload,
            command,
        };
        let (outcome, ()) = tokio::join!(member.live(), supervisor.run());
        outcome
    });
    runtime.shutdown_background();
    // Keys live as long as their workload.
    if let Err(error) = std::fs::remove_dir_all(&place.identities) {
        tracing::debug!(%error, "cannot remove {}", place.identities.display());
    }
    outcome
}

/// A workload that this process takes into the mesh.
struct Member<'a> {
    place: &'a Place,
    programs: Programs,
    handle: Handle,
    workload: &'a Workload,
    command: Option<&'a [OsString]>,
}

impl Member<'_> {
    /// From registration to its end; answers the command's exit code.
    async fn live(self) -> Result<ExitCode, Failure> {
        self.programs.check(&["sightline-proxy"])?;
        let mut requests = Requests::listen()?;
        folder::make(&self.place.identities)
            .tried(|| format!("cannot make {}", self.place.identities.display()))?;
        let client = host::client(&self.place.folder.kubeconfig()).await?;
        let joined = tokio::select! {
            joined = self.place.join(&client, &self.handle, &self.programs, self.workload) => joined?,
            _ = requests.next() => return Ok(ExitCode::SUCCESS),
        };
        let status = self
            .place
            .folder
            .runs()
            .join(format!("{}.json", joined.entry.pod));
        keep_status(&self.handle, &joined.entry, status.clone());
        let outcome = self.work(&client, &joined, &mut requests).await;
        if let Err(failure) = joined.retire(&client).await {
            tracing::warn!("{}", failure.chain());
        }
        if self.command.is_some() && std::io::stdin().is_terminal() {
            // The command had it.
            take_terminal(nix::unistd::getpgrp());
        }
        for stage in [Stage::Workloads, Stage::Gateway] {
            self.handle.stop(stage, DRAIN + Duration::from_secs(1)).await?;
        }
        let left = joined.leave(&client).await;
        // Absent, if nothing was written yet.
        let _ = std::fs::remove_file(&status);
        let code = outcome?;
        left?;
        Ok(code)
    }

    async fn work(
        &self,
        client: &Client,
        joined: &Joined,
        requests: &mut Requests,
    ) -> Result<ExitCode, Failure> {
        tokio::select! {
            started = self.proxy_starts(joined) => started?,
            _ = requests.next() => return Ok(ExitCode::SUCCESS),
        }
        match self.command {
            Some(command) => self.attend(client, joined, command, requests).await,
            None => {
                let listeners = self
                    .handle
                    .states()
                    .borrow()
                    .iter()
                    .map(|state| state.address.clone())
                    .collect::<Vec<_>>();
                say(&format!(
                    "ready: gateway {} listens on {}",
                    self.workload.name,
                    listeners.join(", ")
                ));
                requests.next().await;
                Ok(ExitCode::SUCCESS)
            }
        }
    }

    /// Waits for the proxy; says what is waited for.
    async fn proxy_starts(&self, joined: &Joined) -> Result<(), Failure> {
        let log = self.place.folder.logs().join(match self.workload.role {
            Role::Sidecar { .. } => format!("{}-proxy.log", self.workload.name),
            Role::Gateway { .. } => format!("{}.log", self.workload.name),
        });
        let begin = Instant::now();
        let mut tell = tokio::time::interval_at(begin + TELL, TELL);
        let ready = joined.proxy_ready();
        tokio::pin!(ready);
        loop {
            tokio::select! {
                () = &mut ready => return Ok(()),
                _ = tell.tick() => say(&format!("waiting for the proxy to take traffic; its log is {}", log.display())),
                () = tokio::time::sleep_until(begin + START) => return Err(Failure::unavailable(format!(
                    "the proxy of {} does not take traffic after {} s; its log is {}",
                    self.workload.name, START.as_secs(), log.display()
                ))),
            }
        }
    }

    /// Runs the command to its end, passing signals on.
    async fn attend(
        &self,
        client: &Client,
        joined: &Joined,
        command: &[OsString],
        requests: &mut Requests,
    ) -> Result<ExitCode, Failure> {
        let entry = &joined.entry;
        check_ports(entry)?;
        let world = world::live(client).await?;
        let name = self.workload.name.clone();
        self.handle.start(self.spec(entry, command, &world)?).await?;
        say(&in_the_mesh(entry));
        let mut states = self.handle.states();
        loop {
            let ended = |states: &Vec<State>| {
                states
                    .iter()
                    .find(|state| state.name == name && state.phase == Phase::Stopped)
                    .map(|state| state.exit.unwrap_or(u8::MAX))
            };
            tokio::select! {
                found = states.wait_for(|states| ended(states).is_some()) => {
                    let found = found.tried_as(Code::Bug, || "the supervisor ended".to_owned())?;
                    return Ok(ExitCode::from(ended(&found).unwrap_or(u8::MAX)));
                }
                signal = requests.next() => {
                    // The others are told before the command ends.
                    if let Err(failure) = joined.retire(client).await {
                        tracing::warn!("{}", failure.chain());
                    }
                    self.handle.signal(&name, signal).await?;
                }
            }
        }
    }

    fn spec(&self, entry: &Registered, command: &[OsString], world: &World) -> Result<Spec, Failure> {
        let Some((program, arguments)) = command.split_first() else {
            return Err(Failure::new(Code::Bug, "no command"));
        };
        Ok(Spec {
            name: self.workload.name.clone(),
            program: program.into(),
            arguments: arguments.to_vec(),
            environment: member::environment(entry, world),
            stage: Stage::Load,
            kind: Kind::Command,
            address: entry
                .application()
                .map_or_else(|| "-".to_owned(), |address| address.to_string()),
        })
    }
}

/// The ports that the command will want at its own address.
fn check_ports(entry: &Registered) -> Result<(), Failure> {
    let Role::Sidecar { ports } = &entry.workload.role else {
        return Ok(());
    };
    let wanted: Vec<Wanted> = ports
        .iter()
        .map(|port| {
            let address = SocketAddr::new(entry.addresses.application(), port.number);
            Wanted::new(&entry.workload.name, address, "--port")
        })
        .collect();
    ports::check(&wanted)
}

fn in_the_mesh(entry: &Registered) -> String {
    let Workload {
        name,
        app,
        namespace,
        role,
        ..
    } = &entry.workload;
    let Role::Sidecar { ports } = role else {
        return String::new();
    };
    let called: Vec<String> = ports
        .iter()
        .map(|port| format!("{app}.{namespace}:{}", port.number))
        .collect();
    let listens = entry.addresses.application();
    if called.is_empty() {
        format!("{name} is in the mesh; its calls go through http_proxy")
    } else {
        format!(
            "{name} is in the mesh: it listens on {listens}, others call {}",
            called.join(", ")
        )
    }
}

/// Keeps this process's own status file right until the runtime ends.
fn keep_status(handle: &Handle, entry: &Registered, file: PathBuf) {
    let mut status = Status {
        supervisor: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        mesh: None,
        links: Vec::new(),
        addresses: Vec::new(),
        processes: Vec::new(),
    };
    tracing::info!(pod = entry.pod, number = entry.number, "registered");
    let mut states = handle.states();
    tokio::spawn(async move {
        loop {
            status.processes.clone_from(&states.borrow_and_update());
            if let Err(error) = status.write_to(&file) {
                tracing::warn!(%error, "cannot write {}", file.display());
            }
            if states.changed().await.is_err() {
                return;
            }
        }
    });
}

/// A DNS label, as names of services, accounts and namespaces must be.
fn label(text: &str) -> Result<String, String> {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte != b'-');
    let good =
        text.len() <= 63 && text.bytes().all(inner) && edge(text.bytes().next()) && edge(text.bytes().last());
    if good {
        Ok(text.to_owned())
    } else {
        Err("must be lower-case letters, digits and `-` (not at the ends), at most 63".to_owned())
    }
}

fn version(text: &str) -> Result<String, String> {
    if text.is_empty() {
        Ok(String::new())
    } else {
        label(text)
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for (text, good) in [
            ("reviews", true),
            ("reviews-v2", true),
            ("Reviews", false),
            ("-x", false),
            ("x-", false),
            ("", false),
            ("a.b", false),
        ] {
            assert_eq!(label(text).is_ok(), good, "{text:?}");
        }
        assert!(version("").is_ok() && version("v1").is_ok() && version("V1").is_err());
    }

    #[test]
    fn labels_are_pairs() {
        assert_eq!(pair("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(pair("a").is_err() && pair("=b").is_err());
    }
}
