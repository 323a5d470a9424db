//! `sightline proxy-config`: what a proxy runs, asked of the proxy itself.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;

use http::{Method, StatusCode};
use mesh_model::address::port;
use serde_json::{Value, json};

use super::output;
use super::{Format, Running, block_on, dump};
use crate::failure::{Code, Failure, Tried};
use crate::fetch;

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  Where the sidecar of productpage may send requests:
    sightline proxy-config cluster productpage-v1
  Endpoints of one service, with their health:
    sightline proxy-config endpoint productpage-v1 --name reviews
  Routes as Envoy writes them:
    sightline proxy-config route productpage-v1 -o yaml
  More log lines of one proxy:
    sightline proxy-config log reviews-v1 --level debug

POD is the name of a pod or of its workload, with or without .NAMESPACE.";

/// What to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// Who the proxy is and whom it asks.
    Bootstrap,
    /// Upstream clusters.
    #[value(alias = "clusters")]
    Cluster,
    /// Endpoints and their health.
    #[value(alias = "endpoints")]
    Endpoint,
    /// Listeners.
    #[value(alias = "listeners")]
    Listener,
    /// Routes.
    #[value(alias = "routes")]
    Route,
    /// Certificates.
    #[value(alias = "secrets")]
    Secret,
    /// Change the log level (--level).
    Log,
    /// Everything.
    All,
}

/// Flags of `sightline proxy-config`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// What to show.
    #[arg(value_enum)]
    what: What,
    /// Pod or workload.
    #[arg(value_name = "POD")]
    pod: String,
    /// Only rows that have this text.
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// The new log level (`log`): trace, debug, info, warning, error, off, or MODULE:LEVEL,...
    #[arg(long)]
    level: Option<String>,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Prints a proxy's configuration.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let running = Running::find(options.data.as_deref())?;
    block_on(async {
        let admin = admin(&running, &options.pod).await?;
        match options.what {
            What::Log => log(admin, options.level.as_deref()).await,
            what => show(admin, what, options).await,
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Address of a pod's proxy admin.
pub(super) async fn admin(running: &Running, pod: &str) -> Result<SocketAddr, Failure> {
    let pod = running.pod(pod).await?;
    let ip: Option<IpAddr> = pod
        .status
        .and_then(|status| status.pod_ip)
        .and_then(|ip| ip.parse().ok());
    ip.map(|ip| SocketAddr::new(ip, port::ADMIN))
        .ok_or_else(|| Failure::unavailable("the pod has no address yet; try again"))
}

async fn show(admin: SocketAddr, what: What, options: &Options) -> Result<(), Failure> {
    let value = match what {
        What::Endpoint => get(admin, "/clusters?format=json").await?,
        What::Secret => get(admin, "/certs").await?,
        _ => get(admin, "/config_dump?include_eds").await?,
    };
    let filter = options.name.as_deref().unwrap_or_default();
    let section = |what: What, value: &Value| {
        let mut rows = match what {
            What::Cluster => dump::clusters(value),
            What::Endpoint => dump::endpoints(value),
            What::Listener => dump::listeners(value),
            What::Route => dump::routes(value),
            What::Secret => dump::secrets(value),
            What::Bootstrap | What::Log | What::All => dump::bootstrap(value),
        };
        rows.keep(filter);
        rows.text()
    };
    if what != What::All {
        let shown = dump::part(what, &value);
        return output::print(options.output, &shown, || section(what, &value));
    }
    let (endpoints, secrets) = (
        get(admin, "/clusters?format=json").await?,
        get(admin, "/certs").await?,
    );
    let everything = json!({ "config_dump": value, "clusters": endpoints, "certs": secrets });
    output::print(options.output, &everything, || {
        [
            (What::Bootstrap, &value),
            (What::Listener, &value),
            (What::Route, &value),
            (What::Cluster, &value),
            (What::Endpoint, &endpoints),
            (What::Secret, &secrets),
        ]
        .map(|(what, value)| section(what, value))
        .join("\n\n")
    })
}

async fn log(admin: SocketAddr, level: Option<&str>) -> Result<(), Failure> {
    let level = level.ok_or_else(|| {
        Failure::new(
            Code::Configuration,
            "say which level, for example --level debug or --level sightline_proxy::discovery:trace",
        )
    })?;
    let key = if level.contains(':') { "paths" } else { "level" };
    let (status, body) = fetch::plain(admin, Method::POST, &format!("/logging?{key}={level}")).await?;
    let text = String::from_utf8_lossy(&body);
    if status != StatusCode::OK {
        return Err(Failure::new(
            Code::Configuration,
            format!("the proxy refused: {}", text.trim()),
        ));
    }
    output::print(Format::Table, &Value::Null, || text.into_owned())
}

async fn get(admin: SocketAddr, path: &str) -> Result<Value, Failure> {
    let what = || format!("cannot ask the proxy's admin at {admin} for {path}");
    let (status, body) = fetch::plain(admin, Method::GET, path).await?;
    if status != StatusCode::OK {
        return Err(Failure::unavailable(format!("{}: answer {status}", what())));
    }
    serde_json::from_slice(&body).tried(what)
}
