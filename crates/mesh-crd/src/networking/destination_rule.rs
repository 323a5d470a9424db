//! DestinationRule.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{PortSelector, Selector, go_duration};

/// `DestinationRule.spec`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRule {
    /// Host.
    pub host: String,
    /// Policy of the host.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Subsets.
    pub subsets: Vec<Subset>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
    /// Client workloads for which it is.
    pub workload_selector: Option<Selector>,
}

/// `subsets[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Name.
    pub name: String,
    /// Labels of its endpoints.
    pub labels: BTreeMap<String, String>,
    /// Policy, block by block over the host's.
    pub traffic_policy: Option<TrafficPolicy>,
}

/// `trafficPolicy`, and `portLevelSettings[]` (which has a `port` and no further ports).
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// In `portLevelSettings` only.
    pub port: Option<PortSelector>,
    /// Balancing.
    pub load_balancer: Option<LoadBalancer>,
    /// Connection pool.
    pub connection_pool: Option<ConnectionPool>,
    /// Outlier detection.
    pub outlier_detection: Option<OutlierDetection>,
    /// TLS.
    pub tls: Option<ClientTls>,
    /// Policies of single ports.
    pub port_level_settings: Vec<TrafficPolicy>,
    /// Tunnel.
    pub tunnel: Option<serde_json::Value>,
    /// PROXY protocol.
    pub proxy_protocol: Option<serde_json::Value>,
    /// Retry budget.
    pub retry_budget: Option<serde_json::Value>,
}

/// `loadBalancer`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// Simple policy.
    pub simple: Option<Simple>,
    /// Consistent hash.
    pub consistent_hash: Option<ConsistentHash>,
    /// Locality settings.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// Slow start.
    pub warmup: Option<serde_json::Value>,
    /// Slow start, old form.
    pub warmup_duration_secs: Option<String>,
}

/// `loadBalancer.simple`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Simple {
    /// As LEAST_REQUEST.
    #[default]
    Unspecified,
    /// Old name of LEAST_REQUEST.
    LeastConn,
    /// Random.
    Random,
    /// Original destination.
    Passthrough,
    /// Round robin.
    RoundRobin,
    /// Power of two choices.
    LeastRequest,
}

/// `loadBalancer.consistentHash`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsistentHash {
    /// Header.
    pub http_header_name: Option<String>,
    /// Cookie.
    pub http_cookie: Option<HttpCookie>,
    /// Source address.
    pub use_source_ip: Option<bool>,
    /// Query parameter.
    pub http_query_parameter_name: Option<String>,
    /// Ring hash.
    pub ring_hash: Option<RingHash>,
    /// Maglev.
    pub maglev: Option<Maglev>,
    /// Old form of [`RingHash::minimum_ring_size`].
    pub minimum_ring_size: Option<u64>,
}

/// `consistentHash.httpCookie`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpCookie {
    /// Name.
    pub name: String,
    /// Path.
    pub path: String,
    /// Lifetime; a missing cookie is then generated.
    #[serde(with = "go_duration")]
    pub ttl: Option<Duration>,
    /// Further attributes.
    pub attributes: Vec<CookieAttribute>,
}

/// A cookie attribute.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CookieAttribute {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// `consistentHash.ringHash`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RingHash {
    /// Smallest number of points.
    pub minimum_ring_size: Option<u64>,
}

/// `consistentHash.maglev`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Maglev {
    /// Prime table size.
    pub table_size: Option<u64>,
}

/// `connectionPool`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// TCP.
    pub tcp: Option<TcpSettings>,
    /// HTTP.
    pub http: Option<HttpSettings>,
}

/// `connectionPool.tcp`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpSettings {
    /// Connections; 0 = unlimited.
    pub max_connections: i32,
    /// Connect timeout.
    #[serde(with = "go_duration")]
    pub connect_timeout: Option<Duration>,
    /// Idle timeout.
    #[serde(with = "go_duration")]
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection.
    #[serde(with = "go_duration")]
    pub max_connection_duration: Option<Duration>,
    /// TCP keep-alive.
    pub tcp_keepalive: Option<TcpKeepalive>,
}

/// `loadBalancer.localityLbSetting`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LocalityLbSetting {
    /// Whether it holds; none = yes.
    pub enabled: Option<bool>,
    /// Shares by where the client is.
    pub distribute: Vec<LocalityDistribute>,
    /// Which region takes over.
    pub failover: Vec<LocalityFailover>,
    /// Labels by which endpoints are near.
    pub failover_priority: Vec<String>,
}

/// `distribute[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LocalityDistribute {
    /// Where the client is: `region/zone/subzone`, `*` at the end.
    pub from: String,
    /// Percent by where endpoints are.
    pub to: std::collections::BTreeMap<String, u32>,
}

/// `failover[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LocalityFailover {
    /// Region of the client.
    pub from: String,
    /// Region that takes over.
    pub to: String,
}

/// `connectionPool.tcp.tcpKeepalive`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpKeepalive {
    /// Probes.
    pub probes: u32,
    /// Idle time.
    #[serde(with = "go_duration")]
    pub time: Option<Duration>,
    /// Between probes.
    #[serde(with = "go_duration")]
    pub interval: Option<Duration>,
}

/// `connectionPool.http`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpSettings {
    /// Requests waiting; 0 = unlimited.
    pub http1_max_pending_requests: i32,
    /// Active requests; 0 = unlimited.
    pub http2_max_requests: i32,
    /// Requests per connection; 0 = unlimited.
    pub max_requests_per_connection: i32,
    /// Concurrent retries; 0 = unlimited.
    pub max_retries: i32,
    /// Idle timeout.
    #[serde(with = "go_duration")]
    pub idle_timeout: Option<Duration>,
    /// HTTP/2 upgrade.
    pub h2_upgrade_policy: H2UpgradePolicy,
    /// Speak what the client speaks.
    pub use_client_protocol: bool,
    /// Streams of a connection.
    pub max_concurrent_streams: i32,
}

/// `connectionPool.http.h2UpgradePolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum H2UpgradePolicy {
    /// As the mesh says.
    #[default]
    Default,
    /// HTTP/1.1 stays.
    DoNotUpgrade,
    /// HTTP/2.
    Upgrade,
}

/// `outlierDetection`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OutlierDetection {
    /// 5xx in a row; 0 = off.
    pub consecutive5xx_errors: Option<u32>,
    /// Old form.
    pub consecutive_errors: i32,
    /// 502, 503, 504 in a row; 0 = off.
    pub consecutive_gateway_errors: Option<u32>,
    /// Own failures in a row.
    pub consecutive_local_origin_failures: Option<u32>,
    /// Count own failures apart.
    pub split_external_local_origin_errors: bool,
    /// Sweep.
    #[serde(with = "go_duration")]
    pub interval: Option<Duration>,
    /// Base ejection time.
    #[serde(with = "go_duration")]
    pub base_ejection_time: Option<Duration>,
    /// Largest ejected share; 0 = default.
    pub max_ejection_percent: i32,
    /// Panic threshold.
    pub min_health_percent: i32,
    /// Further codes that count.
    pub outlier_detection_http_error_codes: Vec<i32>,
}

/// `tls`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientTls {
    /// Mode.
    pub mode: ClientTlsMode,
    /// Certificate file.
    pub client_certificate: String,
    /// Key file.
    pub private_key: String,
    /// CA file.
    pub ca_certificates: String,
    /// Secret name.
    pub credential_name: String,
    /// Accepted names.
    pub subject_alt_names: Vec<String>,
    /// Server name.
    pub sni: String,
    /// No verification.
    pub insecure_skip_verify: Option<bool>,
    /// Revocation list file.
    pub ca_crl: String,
}

/// `tls.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ClientTlsMode {
    /// Plaintext.
    #[default]
    Disable,
    /// TLS.
    Simple,
    /// Mutual TLS by files.
    Mutual,
    /// Mutual TLS with the mesh certificate.
    IstioMutual,
}
