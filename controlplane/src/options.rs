//! Command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use mesh_store::store::Database;

/// Control plane: watches the Kubernetes API and configures proxies.
#[derive(Debug, Clone, clap::Parser)]
#[command(name = "sightline-controlplane", version, about)]
pub struct Options {
    /// Kubeconfig of the API server; without it, the environment or the pod's service account.
    #[arg(long, env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// Discovery, certificates and telemetry (TLS).
    #[arg(long, default_value = "127.0.0.1:15012")]
    pub discovery_address: SocketAddr,
    /// Query API for console and CLI (TLS).
    #[arg(long, default_value = "127.0.0.1:15019")]
    pub query_address: SocketAddr,
    /// Prometheus metrics and health.
    #[arg(long, default_value = "127.0.0.1:15014")]
    pub metrics_address: SocketAddr,
    /// Folder of the history.
    #[arg(long)]
    pub data: PathBuf,
    /// Where the history is: `sqlite` (a file in the data folder) or `postgres://USER:PASSWORD@HOST:PORT/NAME`.
    #[arg(
        long,
        default_value = "sqlite",
        env = "SIGHTLINE_DATABASE",
        hide_env_values = true
    )]
    pub database: Database,
    /// Bytes that the history may take: metrics, kept requests, spans, revisions together.
    #[arg(long, default_value_t = 1 << 30)]
    pub history_bytes: u64,
    /// For how long windows of 10 s are kept (`2h`).
    #[arg(long, default_value = "2h", value_parser = seconds)]
    pub history_ten_seconds: u64,
    /// For how long windows of 1 min are kept.
    #[arg(long, default_value = "7d", value_parser = seconds)]
    pub history_minutes: u64,
    /// For how long windows of 1 h are kept.
    #[arg(long, default_value = "90d", value_parser = seconds)]
    pub history_hours: u64,
    /// For how long kept requests are kept.
    #[arg(long, default_value = "7d", value_parser = seconds)]
    pub history_requests: u64,
    /// For how long spans are kept.
    #[arg(long, default_value = "7d", value_parser = seconds)]
    pub history_spans: u64,
    /// For how long configuration revisions are kept; the newest of each object stays.
    #[arg(long, default_value = "90d", value_parser = seconds)]
    pub history_revisions: u64,
    /// Sends spans to a collector over OTLP/gRPC, for example `http://127.0.0.1:4317`; may be repeated.
    #[arg(long)]
    pub otlp_endpoint: Vec<String>,
    /// Sends spans to a Zipkin, for example `http://127.0.0.1:9411/api/v2/spans`; may be repeated.
    #[arg(long)]
    pub zipkin_endpoint: Vec<String>,
    /// Roots (PEM) by which https collectors are verified; without it, the system's.
    #[arg(long)]
    pub collector_ca: Option<PathBuf>,
    /// Host, address or range that keys of token issuers may be fetched from, beside public addresses; repeatable.
    #[arg(long, value_name = "HOST|RANGE")]
    pub jwks_allow: Vec<String>,
    /// Namespace of the control plane: CA secret, mesh settings, root of policies.
    #[arg(long, default_value = "istio-system")]
    pub namespace: String,
    /// Trust domain of the identities that the CA signs.
    #[arg(long, default_value = "cluster.local")]
    pub trust_domain: String,
    /// Cluster id in telemetry.
    #[arg(long, default_value = "Kubernetes")]
    pub cluster_id: String,
    /// Log filter, for example `info` or `sightline_controlplane=debug`.
    #[arg(long, default_value = "info", env = "SIGHTLINE_LOG_LEVEL")]
    pub log_level: String,
    /// Writes logs as JSON.
    #[arg(long)]
    pub log_json: bool,
}

/// Reads `90s`, `5m`, `2h`, `7d`.
fn seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no duration like 90s, 5m, 2h or 7d");
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let factor = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 24 * 3600,
        _ => return Err(wrong()),
    };
    let number = text.strip_suffix(unit).and_then(|n| n.parse::<u64>().ok());
    number
        .and_then(|n| n.checked_mul(factor))
        .filter(|n| *n > 0)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn durations() {
        for (text, wanted) in [("90s", 90), ("5m", 300), ("2h", 7200), ("7d", 604_800)] {
            assert_eq!(seconds(text), Ok(wanted));
        }
        for text in [
            "",
            "5",
            "h",
            "0s",
            "-1s",
            "1.5h",
            "1w",
            "99999999999999999999s",
            "5é",
        ] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
