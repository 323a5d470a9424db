//! The command line, its environment twins and the bootstrap file as one checked configuration.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use mesh_model::identity::SpiffeId;
use mesh_model::workload::Workload;
use mesh_xds::bootstrap::{self, Bootstrap};
use mesh_xds::discovery::{Struct, value::Kind};
use prost::Message as _;

use crate::runtime::{Node, NodeKind};

/// Exit code of a configuration that cannot be used.
pub const EXIT_CONFIGURATION: u8 = 64;
/// Drain time of connections when nothing is said (Istio's).
const DRAIN: Duration = Duration::from_secs(45);
/// Longest wait for running requests after SIGTERM when nothing is said (Istio's termination drain).
const TERMINATION: Duration = Duration::from_secs(5);
/// "However long it takes", bounded all the same.
const UNTIL_ZERO: Duration = Duration::from_secs(24 * 3600);
/// Trust domain when the node's MESH_ID says none.
const TRUST_DOMAIN: &str = "cluster.local";

/// Sightline's data plane: sidecar and gateway.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "sightline-proxy",
    version,
    after_help = "sightline-proxy init puts the rules that capture a pod's traffic; see sightline-proxy init --help"
)]
pub struct Arguments {
    /// Envoy bootstrap, YAML or JSON.
    #[arg(short = 'c', long, env = "SIGHTLINE_CONFIG_PATH", value_name = "FILE")]
    pub config_path: PathBuf,
    /// Where counters are pushed: http://HOST:PORT (plaintext) or https://HOST:PORT.
    #[arg(long, env = "SIGHTLINE_OTLP", value_name = "URL")]
    pub telemetry_endpoint: Option<String>,
    /// The certificate authority; without it there is no workload identity.
    #[arg(long, env = "SIGHTLINE_CA_ENDPOINT", value_name = "HOST:PORT")]
    pub ca_endpoint: Option<String>,
    /// File with the service account token that proves who asks.
    #[arg(long, env = "SIGHTLINE_TOKEN_PATH", value_name = "FILE")]
    pub token_path: Option<PathBuf>,
    /// Roots of the control plane's certificate, PEM.
    #[arg(long, env = "SIGHTLINE_CA_ROOT", value_name = "FILE")]
    pub ca_root: Option<PathBuf>,
    /// Keeps the last good configuration, for a start without a control plane.
    #[arg(long, env = "SIGHTLINE_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// Keeps key, certificate and roots (mode 0600); should be memory-backed.
    #[arg(long, env = "SIGHTLINE_IDENTITY_DIR", value_name = "DIR")]
    pub identity_dir: Option<PathBuf>,
    /// Opens IP:15020 (health, metrics), IP:15021 (readiness) and IP:15090 (Prometheus).
    #[arg(long, env = "SIGHTLINE_STATUS_ADDRESS", value_name = "IP")]
    pub status_address: Option<String>,
    /// Number of workers; 0 or absent = one per core.
    #[arg(long, env = "SIGHTLINE_CONCURRENCY", value_name = "N")]
    pub concurrency: Option<usize>,
    /// Longest drain of connections, seconds.
    #[arg(long, env = "SIGHTLINE_DRAIN_TIME_S", value_name = "N")]
    pub drain_time_s: Option<u64>,
    /// Longest time from the first to the last moment of a shutdown, seconds.
    #[arg(long, env = "SIGHTLINE_PARENT_SHUTDOWN_TIME_S", value_name = "N")]
    pub parent_shutdown_time_s: Option<u64>,
    /// Longest wait for running requests after SIGTERM, seconds (Istio's terminationDrainDuration).
    #[arg(long, env = "TERMINATION_DRAIN_DURATION_SECONDS", value_name = "N")]
    pub termination_drain_s: Option<u64>,
    /// After SIGTERM, end when the last connection has ended, however long that takes.
    #[arg(long, env = "EXIT_ON_ZERO_ACTIVE_CONNECTIONS", value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub exit_on_zero_active_connections: Option<bool>,
    /// trace, debug, info, warning, error, critical or off; or a filter like `info,sightline_proxy=debug`.
    #[arg(
        short = 'l',
        long,
        env = "SIGHTLINE_LOG_LEVEL",
        default_value = "info",
        value_name = "LEVEL"
    )]
    pub log_level: String,
    /// Memory that the proxy may use, MiB: near it, idle connections are closed, then requests refused. Absent = the
    /// limit of its control group.
    #[arg(long, env = "SIGHTLINE_MEMORY_LIMIT_MIB", value_name = "N")]
    pub memory_limit_mib: Option<u64>,
    /// Tells proxies of one node on one machine apart that are not successors of each other.
    #[arg(long, env = "SIGHTLINE_BASE_ID", default_value_t = 0, value_name = "N")]
    pub base_id: u32,
    /// 0 for the first process; N + 1 takes over the sockets and counters of the running process of epoch N.
    #[arg(long, env = "SIGHTLINE_RESTART_EPOCH", default_value_t = 0, value_name = "N")]
    pub restart_epoch: u32,
}

/// Host and port of a control-plane service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPort {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

/// Where counters go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryEndpoint {
    /// Its address.
    pub address: HostPort,
    /// https.
    pub tls: bool,
}

/// Everything that was said at the start, checked.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bootstrap file.
    pub bootstrap: Bootstrap,
    /// As given.
    pub arguments: Arguments,
    /// Who this proxy is.
    pub node: Node,
    /// The identity that it asks for; `None` without a certificate authority.
    pub identity: Option<SpiffeId>,
    /// Where counters go.
    pub telemetry: Option<TelemetryEndpoint>,
    /// The certificate authority.
    pub authority: Option<HostPort>,
    /// Where the status ports are.
    pub status_address: Option<IpAddr>,
    /// Longest drain of connections of removed listeners.
    pub drain_time: Duration,
    /// Longest wait for running requests after SIGTERM.
    pub termination_time: Duration,
    /// Memory that the proxy may use, bytes.
    pub memory_limit: Option<u64>,
    /// Longest life after another process has taken over.
    pub successor_time: Duration,
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

impl Config {
    /// Reads and checks everything; all errors come together.
    pub fn load(arguments: Arguments) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let bootstrap = keep(&mut errors, read_bootstrap(&arguments));
        let telemetry = arguments.telemetry_endpoint.as_deref().and_then(|url| {
            keep(
                &mut errors,
                endpoint(url).map_err(|e| format!("--telemetry-endpoint {url}: {e}")),
            )
        });
        let authority = arguments.ca_endpoint.as_deref().and_then(|text| {
            keep(
                &mut errors,
                host_port(text).map_err(|e| format!("--ca-endpoint {text}: {e}")),
            )
        });
        let status_address = arguments.status_address.as_deref().and_then(|text| {
            keep(
                &mut errors,
                text.parse()
                    .map_err(|_| format!("--status-address {text}: is not an IP address")),
            )
        });
        check_files(&arguments, telemetry.as_ref(), &mut errors);
        if let Err(reason) = log_filter(&arguments.log_level) {
            errors.push(format!("--log-level {}: {reason}", arguments.log_level));
        }
        let identity = bootstrap
            .as_ref()
            .filter(|_| authority.is_some())
            .and_then(|b| keep(&mut errors, spiffe_id(b)));
        match bootstrap {
            Some(bootstrap) if errors.is_empty() => Ok(Self {
                node: node(&bootstrap),
                drain_time: arguments.drain_time_s.map_or(DRAIN, Duration::from_secs),
                termination_time: termination(&arguments),
                memory_limit: arguments.memory_limit_mib.map(|mib| mib.saturating_mul(1 << 20)),
                successor_time: arguments
                    .parent_shutdown_time_s
                    .or(arguments.drain_time_s)
                    .map_or(DRAIN, Duration::from_secs),
                bootstrap,
                arguments,
                identity,
                telemetry,
                authority,
                status_address,
            }),
            _ => Err(ConfigErrors(errors)),
        }
    }
}

fn termination(arguments: &Arguments) -> Duration {
    let drain = if arguments.exit_on_zero_active_connections == Some(true) {
        UNTIL_ZERO
    } else {
        arguments
            .termination_drain_s
            .or(arguments.drain_time_s)
            .map_or(TERMINATION, Duration::from_secs)
    };
    arguments
        .parent_shutdown_time_s
        .map_or(drain, |limit| drain.min(Duration::from_secs(limit)))
}

fn keep<T>(errors: &mut Vec<String>, result: Result<T, String>) -> Option<T> {
    result.map_err(|error| errors.push(error)).ok()
}

fn read_bootstrap(arguments: &Arguments) -> Result<Bootstrap, String> {
    let path = arguments.config_path.display();
    let text =
        std::fs::read_to_string(&arguments.config_path).map_err(|e| format!("--config-path {path}: {e}"))?;
    bootstrap::parse(&text).map_err(|e| format!("{path}: {e}"))
}

fn host_port(text: &str) -> Result<HostPort, String> {
    let (host, port) = text
        .rsplit_once(':')
        .ok_or("must be HOST:PORT, for example 127.0.0.1:15012")?;
    let port = port.parse().map_err(|_| format!("{port:?} is not a port"))?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("has no host".into());
    }
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

fn endpoint(url: &str) -> Result<TelemetryEndpoint, String> {
    let (tls, rest) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (false, rest),
        (_, Some(rest)) => (true, rest),
        _ => return Err("must begin with http:// or https://".into()),
    };
    Ok(TelemetryEndpoint {
        address: host_port(rest.trim_end_matches('/'))?,
        tls,
    })
}

fn check_files(arguments: &Arguments, telemetry: Option<&TelemetryEndpoint>, errors: &mut Vec<String>) {
    let needs_root = arguments.ca_endpoint.is_some() || telemetry.is_some_and(|t| t.tls);
    if needs_root && arguments.ca_root.is_none() {
        errors.push("--ca-root: is needed with --ca-endpoint and with an https telemetry endpoint".into());
    }
    if arguments.ca_endpoint.is_some() && arguments.token_path.is_none() && arguments.identity_dir.is_none() {
        errors.push("--token-path: is needed with --ca-endpoint to prove who asks".into());
    }
}

fn metadata(bootstrap: &Bootstrap) -> Option<&Struct> {
    bootstrap.node.metadata.as_ref()
}

fn text<'a>(fields: Option<&'a Struct>, key: &str) -> Option<&'a str> {
    match fields?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

fn spiffe_id(bootstrap: &Bootstrap) -> Result<SpiffeId, String> {
    let facts = metadata(bootstrap);
    let need = |key| {
        text(facts, key).ok_or_else(|| format!("bootstrap.node.metadata.{key}: is needed with --ca-endpoint"))
    };
    let uri = format!(
        "spiffe://{}/ns/{}/sa/{}",
        text(facts, "MESH_ID").unwrap_or(TRUST_DOMAIN),
        need("NAMESPACE")?,
        need("SERVICE_ACCOUNT")?
    );
    SpiffeId::parse(&uri).ok_or_else(|| format!("bootstrap.node.metadata: {uri:?} is not a SPIFFE id"))
}

/// Keys of Istio's peer metadata that peers read.
const PEER_KEYS: &[&str] = &[
    "NAME",
    "NAMESPACE",
    "WORKLOAD_NAME",
    "CLUSTER_ID",
    "MESH_ID",
    "LABELS",
    "INSTANCE_IPS",
    "SERVICE_ACCOUNT",
];

fn is_router(id: &str) -> bool {
    id.starts_with("router~")
}

fn node(bootstrap: &Bootstrap) -> Node {
    let facts = metadata(bootstrap);
    let workload = text(facts, "WORKLOAD_NAME").map_or_else(Workload::unknown, |name| {
        let labels = facts
            .and_then(|f| f.fields.get("LABELS"))
            .and_then(|v| match &v.kind {
                Some(Kind::StructValue(labels)) => Some(labels),
                _ => None,
            });
        let labels = labels
            .into_iter()
            .flat_map(|l| &l.fields)
            .filter_map(|(key, value)| match &value.kind {
                Some(Kind::StringValue(text)) => Some((key.clone(), text.clone())),
                _ => None,
            })
            .collect();
        Workload::from_labels(
            text(facts, "NAMESPACE").unwrap_or("default"),
            name,
            text(facts, "CLUSTER_ID").unwrap_or("Kubernetes"),
            &labels,
        )
    });
    let peer_metadata = match facts {
        Some(facts) if text(Some(facts), "WORKLOAD_NAME").is_some() => Struct {
            fields: facts
                .fields
                .iter()
                .filter(|(key, _)| PEER_KEYS.contains(&key.as_str()))
                .map(|(key, value)| (key.clone(), value.clone()))
                .chain(is_router(&bootstrap.node.id).then(|| {
                    let kind = Kind::StringValue(crate::metadata::ROUTER.to_owned());
                    (
                        crate::metadata::KIND.to_owned(),
                        mesh_xds::discovery::Value { kind: Some(kind) },
                    )
                }))
                .collect(),
        }
        .encode_to_vec(),
        _ => Vec::new(),
    };
    Node {
        kind: NodeKind::of_node_id(&bootstrap.node.id),
        id: bootstrap.node.id.clone(),
        workload,
        peer_metadata,
    }
}

/// Envoy's level names, or a tracing filter.
pub fn log_filter(level: &str) -> Result<tracing_subscriber::EnvFilter, String> {
    let directive = match level {
        "warning" | "warn" => "warn",
        "critical" => "error",
        other => other,
    };
    // Dependencies are quieter than our own code.
    let simple = matches!(directive, "trace" | "debug" | "info");
    let filter = if simple {
        format!("{directive},h2=info,hyper=info,rustls=info,tower=info,tonic=info")
    } else {
        directive.to_owned()
    };
    tracing_subscriber::EnvFilter::try_new(filter)
        .map_err(|_| "use trace, debug, info, warning, error, critical, off or a filter".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;

    fn load(arguments: &[&str], bootstrap: &str) -> Result<Config, ConfigErrors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bootstrap.yaml");
        std::fs::write(&path, bootstrap).unwrap();
        let mut all = vec!["sightline-proxy", "-c", path.to_str().unwrap()];
        all.extend(arguments);
        Config::load(Arguments::try_parse_from(all).unwrap())
    }

    #[test]
    fn all_errors_come_together() {
        let errors = load(
            &[
                "--telemetry-endpoint",
                "ftp://x:1",
                "--ca-endpoint",
                "here",
                "--status-address",
                "lo",
                "--log-level",
                "a=b=c",
            ],
            "nodes: {}",
        )
        .expect_err("bad");
        let text = errors.to_string();
        for part in [
            "bootstrap.yaml",
            "--telemetry-endpoint ftp://x:1",
            "--ca-endpoint here",
            "--status-address lo",
            "--ca-root",
            "--token-path",
            "--log-level",
        ] {
            assert!(text.contains(part), "{part} is not in:\n{text}");
        }
    }

    #[test]
    fn a_mesh_nodes_workload_and_identity_come_from_its_metadata() {
        let yaml = "node: {id: sidecar~127.64.3.2~r.default~default.svc.cluster.local, metadata: {NAMESPACE: default, \
                    WORKLOAD_NAME: reviews-v1, SERVICE_ACCOUNT: reviews, MESH_ID: cluster.local, LABELS: {app: reviews, version: v1}}}";
        let config = load(
            &[
                "--ca-endpoint",
                "127.0.0.1:15012",
                "--ca-root",
                "r",
                "--token-path",
                "t",
            ],
            yaml,
        )
        .unwrap();
        assert_eq!(
            config.identity.unwrap().to_string(),
            "spiffe://cluster.local/ns/default/sa/reviews"
        );
        assert_eq!(config.node.kind, NodeKind::Sidecar);
        assert_eq!(config.node.workload.app, "reviews");
        assert_eq!(config.node.workload.version, "v1");
        assert!(!config.node.peer_metadata.is_empty());
        assert_eq!(config.termination_time, Duration::from_secs(5));
    }

    #[test]
    fn the_time_to_drain_is_istios() {
        #[track_caller]
        fn check(arguments: &[&str], seconds: u64) {
            let config = load(arguments, "static_resources: {}").unwrap();
            assert_eq!(
                config.termination_time,
                Duration::from_secs(seconds),
                "{arguments:?}"
            );
        }
        check(&[], 5);
        check(&["--termination-drain-s", "7", "--drain-time-s", "1"], 7);
        check(&["--exit-on-zero-active-connections"], 24 * 3600);
        check(&["--exit-on-zero-active-connections", "false"], 5);
        check(
            &[
                "--exit-on-zero-active-connections",
                "--parent-shutdown-time-s",
                "9",
            ],
            9,
        );
    }

    #[test]
    fn a_static_file_is_an_edge_without_identity() {
        let config = load(&["--drain-time-s", "1"], "static_resources: {}").unwrap();
        assert_eq!(config.node.kind, NodeKind::Edge);
        assert!(config.identity.is_none() && config.node.peer_metadata.is_empty());
        assert_eq!(config.termination_time, Duration::from_secs(1));
    }
}
