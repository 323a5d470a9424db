//! Clusters and endpoints: Envoy's `Cluster` and `ClusterLoadAssignment` in parsed form.

use std::net::SocketAddr;
use std::time::Duration;

use crate::workload::{ServiceName, Workload};

/// A destination with its policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// `outbound|9080|v1|reviews.default.svc.cluster.local`, `inbound|9080||`, `PassthroughCluster`, ...
    pub name: String,
    /// Where endpoints come from.
    pub discovery: Discovery,
    /// Balancing.
    pub balancer: Balancer,
    /// Connect timeout (Istio default 10 s).
    pub connect_timeout: Duration,
    /// Protocol spoken upstream.
    pub protocol: UpstreamProtocol,
    /// Circuit breakers.
    pub limits: Limits,
    /// Outlier detection, only if configured.
    pub outlier: Option<OutlierDetection>,
    /// How connections are secured.
    pub transport: Transport,
    /// Closed after so many requests; `None` = unlimited.
    pub max_requests_per_connection: Option<u32>,
    /// Pooled connections idle longer are closed; `None` = never.
    pub idle_timeout: Option<Duration>,
    /// Destination service for telemetry (Istio's cluster metadata); `None` when not a mesh service.
    pub service: Option<ServiceName>,
    /// Source address of upstream connections (inbound clusters use 127.0.0.6 with capture).
    pub bind: Option<std::net::IpAddr>,
    /// Healthy share (0..=100) under which all endpoints get traffic; Istio default 0.
    pub panic_threshold_percent: u32,
}

/// Where a cluster's endpoints come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// Endpoint discovery under this name.
    Eds(String),
    /// Fixed.
    Static(Endpoints),
    /// Resolved host names (all records).
    StrictDns(Vec<(String, u16)>),
    /// Resolved host name (one record).
    LogicalDns(String, u16),
    /// The connection's original destination, or the request's authority at an HTTP proxy port.
    OriginalDestination,
}

/// Balancing policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balancer {
    /// Power of two choices on active requests (Istio default).
    LeastRequest,
    /// Weighted round robin.
    RoundRobin,
    /// Random.
    Random,
    /// Ring hash.
    RingHash {
        /// Smallest number of points.
        minimum_ring_size: u64,
    },
    /// Maglev.
    Maglev {
        /// Prime table size.
        table_size: u64,
    },
    /// By original destination.
    Passthrough,
}

/// Protocol spoken upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamProtocol {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 (prior knowledge, or ALPN under TLS).
    Http2,
    /// Whatever the downstream spoke.
    UseDownstream,
    /// Not HTTP, or not said: opaque bytes for TCP proxying, HTTP/1.1 for HTTP.
    Unspecified,
}

/// Circuit breakers; `u32::MAX` is unlimited (Istio's default for all).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections of the whole proxy.
    pub max_connections: u32,
    /// Requests waiting for a connection.
    pub max_pending: u32,
    /// Active requests.
    pub max_requests: u32,
    /// Concurrent retries.
    pub max_retries: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: u32::MAX,
            max_pending: u32::MAX,
            max_requests: u32::MAX,
            max_retries: u32::MAX,
        }
    }
}

/// Outlier detection (Envoy defaults as Istio sends them).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutlierDetection {
    /// 0 = off.
    pub consecutive_5xx: u32,
    /// 0 = off.
    pub consecutive_gateway_errors: u32,
    /// 0 = off; counted apart only with `split_local_origin`.
    pub consecutive_local_origin: u32,
    /// Whether local-origin failures are counted apart.
    pub split_local_origin: bool,
    /// Sweep interval.
    pub interval: Duration,
    /// Base ejection time, multiplied by the number of ejections.
    pub base_ejection: Duration,
    /// At most this share of endpoints is ejected.
    pub max_ejection_percent: u32,
}

/// How upstream connections are secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// Plaintext.
    Plain,
    /// Always this TLS context.
    Tls(Box<UpstreamTls>),
    /// Istio's automatic rule: mutual TLS where the endpoint says `tlsMode=istio`, else plaintext.
    Auto(Box<UpstreamTls>),
}

/// Upstream TLS.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpstreamTls {
    /// Server name to send; `None` = from the request's host.
    pub sni: Option<String>,
    /// ALPN to offer.
    pub alpn: Vec<String>,
    /// Whose certificate is presented.
    pub certificate: CertificateSource,
    /// Which peers are accepted.
    pub validation: PeerValidation,
}

/// Where a certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum CertificateSource {
    /// None is presented.
    #[default]
    None,
    /// The workload's own SPIFFE certificate (SDS secret `default`).
    Workload,
    /// SDS secret by name (`kubernetes://ns/name`).
    Secret(String),
    /// PEM files.
    Files {
        /// Certificate chain.
        chain: String,
        /// Private key.
        key: String,
    },
    /// PEM text in the configuration (static bootstrap only).
    Inline {
        /// Certificate chain, PEM.
        chain: String,
        /// Private key, PEM.
        key: String,
    },
}

/// How a peer is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PeerValidation {
    /// Trust anchors.
    pub roots: RootSource,
    /// Exact URI (or DNS) SANs of which one must be present; empty = any that chains to the roots.
    pub subject_alt_names: Vec<String>,
}

/// Where trust anchors come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RootSource {
    /// Peer is not verified.
    #[default]
    None,
    /// The mesh's roots (SDS secret `ROOTCA`).
    Mesh,
    /// PEM file.
    File(String),
    /// PEM text.
    Inline(String),
    /// SDS secret by name.
    Secret(String),
}

/// Endpoints of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(pub Vec<Endpoint>);

/// One endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Address.
    pub address: SocketAddr,
    /// As discovery says; outlier state is the proxy's own.
    pub healthy: bool,
    /// Relative weight, at least 1.
    pub weight: u32,
    /// 0 is the most preferred.
    pub priority: u32,
    /// `region/zone/subzone`, empty if unknown.
    pub locality: String,
    /// Whether it speaks mesh mutual TLS (`tlsMode=istio`).
    pub mutual_tls: bool,
    /// Who it is, for telemetry.
    pub workload: Option<Workload>,
}
