//! Command line.

use std::net::SocketAddr;
use std::path::PathBuf;

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
    /// Bytes that the history may take.
    #[arg(long, default_value_t = 1 << 30)]
    pub history_bytes: u64,
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
