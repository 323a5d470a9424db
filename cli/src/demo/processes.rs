//! Command lines of the demo's processes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use mesh_model::address::port;

use crate::cluster::workload::{Registered, Role};
use crate::demo::options::Options;
use crate::failure::Failure;
use crate::folder::Folder;
use crate::supervisor::{Spec, Stage};

/// Longest time for which a proxy of the demo waits for requests in flight when it ends. Short, since Ctrl-C
/// ends everything within two seconds; on a cluster Istio's times apply.
const DRAIN_S: &str = "1";

/// Where the binaries are, and what all processes share.
pub(crate) struct Programs<'a> {
    binaries: PathBuf,
    folder: &'a Folder,
    kubeconfig: PathBuf,
    options: &'a Options,
}

impl<'a> Programs<'a> {
    /// Binaries lie beside this program.
    pub(crate) fn new(
        launcher: &Path,
        folder: &'a Folder,
        kubeconfig: PathBuf,
        options: &'a Options,
    ) -> Result<Self, Failure> {
        let binaries = launcher.parent().map(Path::to_path_buf).unwrap_or_default();
        let programs = Self {
            binaries,
            folder,
            kubeconfig,
            options,
        };
        for name in [
            "sightline-controlplane",
            "sightline-console",
            "sightline-proxy",
            "sightline-shop",
            "sightline-loadgen",
        ] {
            let program = programs.program(name);
            if !program.is_file() {
                return Err(Failure::unavailable(format!(
                    "{} is missing; build all binaries with `cargo build`, or start with `cargo xtask demo`",
                    program.display()
                )));
            }
        }
        Ok(programs)
    }

    fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// The control plane.
    pub(crate) fn controlplane(&self) -> Spec {
        let options = self.options;
        Spec {
            name: "controlplane".to_owned(),
            program: self.program("sightline-controlplane"),
            arguments: arguments([
                ("--kubeconfig", self.kubeconfig.clone().into_os_string()),
                ("--discovery-address", text(options.discovery_address)),
                ("--query-address", text(options.query_address)),
                ("--metrics-address", text(options.metrics_address)),
                ("--data", self.folder.controlplane().into_os_string()),
            ]),
            environment: Vec::new(),
            stage: Stage::ControlPlane,
            address: options.discovery_address.to_string(),
        }
    }

    /// The console.
    pub(crate) fn console(&self) -> Spec {
        let options = self.options;
        Spec {
            name: "console".to_owned(),
            program: self.program("sightline-console"),
            arguments: arguments([
                ("--listen", text(options.console_address)),
                ("--kubeconfig", self.kubeconfig.clone().into_os_string()),
                (
                    "--controlplane",
                    text(format!("https://{}", options.query_address)),
                ),
                (
                    "--controlplane-ca",
                    self.folder.root_certificate().into_os_string(),
                ),
                ("--token-path", self.folder.console_token().into_os_string()),
                ("--local-user-token", self.folder.admin_token().into_os_string()),
            ]),
            environment: Vec::new(),
            stage: Stage::Console,
            address: options.console_address.to_string(),
        }
    }

    /// A workload's proxy.
    pub(crate) fn proxy(&self, entry: &Registered, identities: &Path) -> Spec {
        let Registered {
            workload, addresses, ..
        } = entry;
        let home = home(self.folder, entry);
        let discovery = self.options.discovery_address;
        let (name, stage, address) = match workload.role {
            Role::Sidecar { .. } => (
                format!("{}-proxy", workload.name),
                Stage::Workloads,
                addresses.inbound().to_string(),
            ),
            Role::Gateway { bind } => (workload.name.clone(), Stage::Gateway, bind.to_string()),
        };
        Spec {
            name,
            program: self.program("sightline-proxy"),
            arguments: arguments([
                ("-c", home.join("bootstrap.json").into_os_string()),
                ("--telemetry-endpoint", text(format!("https://{discovery}"))),
                ("--ca-endpoint", text(discovery)),
                ("--token-path", home.join("token").into_os_string()),
                ("--ca-root", self.folder.root_certificate().into_os_string()),
                ("--state-dir", home.join("state").into_os_string()),
                ("--identity-dir", identities.join(&workload.name).into_os_string()),
                ("--status-address", text(addresses.inbound())),
                ("--concurrency", text(1)),
                ("--drain-time-s", OsString::from(DRAIN_S)),
                ("--parent-shutdown-time-s", OsString::from(DRAIN_S)),
            ]),
            environment: Vec::new(),
            stage,
            address,
        }
    }

    /// A workload's application, if it has one.
    pub(crate) fn application(&self, entry: &Registered) -> Option<Spec> {
        let Registered {
            workload, addresses, ..
        } = entry;
        let address = entry.application()?;
        let proxy = format!("http://{}", addresses.outbound());
        Some(Spec {
            name: workload.name.clone(),
            program: self.program("sightline-shop"),
            arguments: arguments([
                ("--service", text(&workload.app)),
                ("--version", text(&workload.version)),
            ]),
            environment: vec![
                ("HOST", address.ip().to_string()),
                ("PORT", address.port().to_string()),
                ("http_proxy", proxy.clone()),
                ("HTTP_PROXY", proxy),
                ("no_proxy", format!("localhost,127.0.0.1,{}", address.ip())),
            ],
            stage: Stage::Workloads,
            address: address.to_string(),
        })
    }

    /// The load generator.
    pub(crate) fn load_generator(&self) -> Spec {
        let options = self.options;
        let counters = options.load_generator();
        Spec {
            name: "loadgen".to_owned(),
            program: self.program("sightline-loadgen"),
            arguments: arguments([
                ("--target", text(format!("http://{}", options.gateway_address))),
                ("--host", text("shop.example.com")),
                ("--path", text("/productpage")),
                ("--rps", text(options.rps)),
                ("--connections", text(32)),
                ("--counters", text(counters)),
                ("--final", self.folder.final_counts().into_os_string()),
            ]),
            environment: Vec::new(),
            stage: Stage::Load,
            address: counters.to_string(),
        }
    }
}

/// A workload's own folder.
pub(crate) fn home(folder: &Folder, entry: &Registered) -> PathBuf {
    folder.workloads().join(&entry.workload.name)
}

/// Where a sample process shows its counters, for people.
pub(crate) fn counters(entry: &Registered) -> String {
    format!(
        "http://{}:{}/metrics",
        entry.addresses.application(),
        port::APPLICATION_COUNTERS
    )
}

fn text(value: impl ToString) -> OsString {
    OsString::from(value.to_string())
}

fn arguments<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    pairs
        .into_iter()
        .flat_map(|(flag, value)| [OsString::from(flag), value])
        .collect()
}
