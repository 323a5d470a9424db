//! A demo of its own: addresses, ports and data folder that nobody else has.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result};
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_api::graph::Graph;
use mesh_testkit::{AddressBlock, Process, binary, eventually, free_port, get_json, get_text};
use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

/// A debug build on a busy machine starts more slowly than a release build on an idle one.
const START: Duration = Duration::from_secs(90);

/// Where things are; survives a restart of the demo.
pub(crate) struct Place {
    data: TempDir,
    block: AddressBlock,
    gateway: SocketAddr,
    console: SocketAddr,
    ports: Vec<(&'static str, SocketAddr)>,
}

impl Place {
    pub(crate) fn new() -> Result<Self> {
        let block = AddressBlock::take()?;
        // Above every workload's number, in the block: nobody else has it.
        let gateway = SocketAddr::new(block.ip(0, 1), 8080);
        let console = free_port()?;
        let ports = vec![
            ("--gateway-address", gateway),
            ("--console-address", console),
            ("--api-address", free_port()?),
            ("--discovery-address", free_port()?),
            ("--query-address", free_port()?),
            ("--metrics-address", free_port()?),
        ];
        Ok(Self {
            data: tempfile::tempdir()?,
            block,
            gateway,
            console,
            ports,
        })
    }

    pub(crate) fn data(&self) -> &Path {
        self.data.path()
    }

    pub(crate) fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// Where a flag has put one of the demo's parts.
    pub(crate) fn address(&self, flag: &str) -> Result<SocketAddr> {
        let found = self.ports.iter().find(|(name, _)| *name == flag);
        found
            .map(|(_, address)| *address)
            .with_context(|| format!("no {flag}"))
    }

    /// An address of the block that no workload has.
    pub(crate) fn spare(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.block.ip(0, 2), port)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.mesh_command("demo", &self.ports)?;
        command.args(arguments);
        Ok(command)
    }

    /// `sightline up` on this place.
    pub(crate) fn up(&self) -> Result<Command> {
        self.mesh_command("up", self.ports.get(1..).context("no ports")?)
    }

    fn mesh_command(&self, name: &str, ports: &[(&'static str, SocketAddr)]) -> Result<Command> {
        let mut command = self.sightline(name)?;
        command.arg("--address-base").arg(self.block.base());
        for (flag, address) in ports {
            command.arg(flag).arg(address.to_string());
        }
        Ok(command)
    }

    /// Another command of `sightline` on this place.
    pub(crate) fn sightline(&self, name: &str) -> Result<Command> {
        let mut command = Command::new(binary("sightline")?);
        command.arg(name).arg("--data").arg(self.data.path());
        Ok(command)
    }

    /// A client of the place's API server.
    pub(crate) async fn client(&self) -> Result<kube::Client> {
        let kubeconfig = Kubeconfig::read_from(self.data().join("kubeconfig"))?;
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        Ok(kube::Client::try_from(config)?)
    }

    /// Starts the demo and waits for its word that it is ready.
    pub(crate) async fn start(&self, arguments: &[&str]) -> Result<Demo<'_>> {
        let mut process = Process::spawn("sightline demo", self.command(arguments)?)?;
        let ready = process
            .wait_for_line(START, |line| line.starts_with("ready "))
            .await;
        ready.with_context(|| self.logs())?;
        Ok(Demo { place: self, process })
    }

    /// The end of every log, for a test that fails.
    pub(crate) fn logs(&self) -> String {
        let mut text = String::new();
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.data.path().join("logs"))
            .map(|files| files.flatten().map(|file| file.path()).collect())
            .unwrap_or_default();
        files.sort();
        for file in files {
            let log = std::fs::read_to_string(&file).unwrap_or_default();
            let lines: Vec<&str> = log.lines().filter(|line| !line.contains(" \"GET ")).collect();
            let last = lines.get(lines.len().saturating_sub(8)..).unwrap_or_default();
            text.push_str(&format!("--- {}\n{}\n", file.display(), last.join("\n")));
        }
        text
    }

    /// The status file.
    pub(crate) fn status(&self) -> Result<Value> {
        let text = std::fs::read_to_string(self.data.path().join("status.json"))?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Process id of a running process.
    pub(crate) fn pid(&self, name: &str) -> Result<i32> {
        let status = self.status()?;
        let processes = status["processes"].as_array().context("no processes")?;
        let found = processes.iter().find(|process| process["name"] == name);
        let pid = found
            .and_then(|process| process["pid"].as_i64())
            .with_context(|| format!("{name} does not run"))?;
        Ok(i32::try_from(pid)?)
    }

    /// The console's graph from a time (RFC 3339) until now.
    pub(crate) async fn graph(&self, from: &str) -> Result<Graph> {
        let url = format!(
            "http://{}/api/graph?type=workload&from={from}&to=now",
            self.console
        );
        Ok(serde_json::from_value(get_json(&url).await?)?)
    }

    /// Text of a counters address that the status lists, by process name.
    pub(crate) async fn counters(&self, name: &str) -> Result<String> {
        let status = self.status()?;
        let wanted = format!("counters {name}");
        let addresses = status["addresses"].as_array().context("no addresses")?;
        let url = addresses
            .iter()
            .find(|address| address[0] == wanted.as_str())
            .and_then(|address| address[1].as_str())
            .with_context(|| format!("no {wanted}"))?;
        get_text(url).await
    }
}

/// A running demo.
pub(crate) struct Demo<'a> {
    pub(crate) place: &'a Place,
    pub(crate) process: Process,
}

impl Demo<'_> {
    /// Sets the weights of the reviews route.
    pub(crate) async fn set_reviews_weights(&self, v1: u32, v3: u32) -> Result<()> {
        let services = self.virtual_services().await?;
        let mut spec = services.get("reviews").await?.data["spec"].clone();
        let route = spec["http"]
            .as_array_mut()
            .and_then(|routes| routes.last_mut())
            .context("no route")?;
        route["route"] = serde_json::json!([
            { "destination": { "host": "reviews", "subset": "v1" }, "weight": v1 },
            { "destination": { "host": "reviews", "subset": "v3" }, "weight": v3 },
        ]);
        let patch = serde_json::json!({ "spec": spec });
        services
            .patch("reviews", &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// The weights of the reviews route.
    pub(crate) async fn reviews_weights(&self) -> Result<Vec<u64>> {
        let reviews = self.virtual_services().await?.get("reviews").await?;
        let route = reviews.data["spec"]["http"]
            .as_array()
            .and_then(|routes| routes.last())
            .context("no route")?;
        let weights = route["route"].as_array().context("no destinations")?;
        Ok(weights
            .iter()
            .filter_map(|destination| destination["weight"].as_u64())
            .collect())
    }

    async fn virtual_services(&self) -> Result<Api<DynamicObject>> {
        let client = self.place.client().await?;
        let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
        Ok(Api::namespaced_with(
            client,
            "default",
            &ApiResource::from_gvk(&kind),
        ))
    }

    /// Asks for an orderly end and waits for it.
    pub(crate) async fn stop(mut self, signal: Signal) -> Result<ExitStatus> {
        self.process.signal(signal)?;
        self.process.wait(Duration::from_secs(10)).await
    }

    /// Waits until a process runs under another id than before.
    pub(crate) async fn restarted(&self, name: &str, before: i32) -> Result<i32> {
        eventually(
            &format!("the restart of {name}"),
            Duration::from_secs(20),
            async || match self.place.pid(name) {
                Ok(pid) if pid != before => Ok(pid),
                Ok(_) => Err("still the old process".to_owned()),
                Err(error) => Err(format!("{error:#}")),
            },
        )
        .await
    }
}

/// The present time, RFC 3339 with whole seconds.
pub(crate) fn now() -> String {
    k8s_openapi::jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}
