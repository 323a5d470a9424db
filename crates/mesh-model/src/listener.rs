//! Listeners: Envoy's `Listener` in parsed form.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::authorization::{External, Policies};
use crate::cluster::{CertificateSource, PeerValidation};
use crate::expression::Expression;
use crate::names::NameTable;
use crate::route::{RouteOrigin, RouteTable};
use crate::token::TokenRules;

mod choose;

pub use choose::{ChainUnmet, ChosenChain, Closeness, ConnectionFacts};

/// A bound (or, with capture, virtual) port.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Name.
    pub name: String,
    /// Address; port 0 is refused.
    pub address: SocketAddr,
    /// Which side of the mesh it serves: decides reporter and limits.
    pub direction: Direction,
    /// Tried in Envoy's order of specificity; the first whose match fits serves the connection.
    pub chains: Vec<FilterChain>,
    /// Serves what no chain matches; `None` = such connections are closed (flag NR).
    pub default_chain: Option<FilterChain>,
    /// How long protocol detection may wait; `None` = for ever.
    pub detection_timeout: Option<Duration>,
    /// False for listeners that exist only behind a capturing one.
    pub bind_to_port: bool,
    /// What it does with captured connections.
    pub capture: Capture,
}

/// What a listener does with connections that the kernel sent its way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Capture {
    /// Where a connection was going is asked of the kernel; chains match on it (Envoy's `original_dst`).
    pub original_destination: bool,
    /// The listener of that destination serves the connection, if there is one (`use_original_dst`).
    pub hand_off: bool,
    /// The socket takes connections to any address (TPROXY).
    pub transparent: bool,
    /// What captured lookups are answered. Travels as `filter_metadata["sightline"].names` on the listener.
    pub names: Option<std::sync::Arc<NameTable>>,
}

/// Traffic direction (Envoy `TrafficDirection`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Towards the application.
    Inbound,
    /// From the application.
    Outbound,
    /// Gateways and static listeners.
    Unspecified,
}

/// A filter chain with its match.
#[derive(Debug, Clone, PartialEq)]
pub struct FilterChain {
    /// Name.
    pub name: String,
    /// When it applies.
    pub matches: ChainMatch,
    /// TLS termination.
    pub tls: Option<DownstreamTls>,
    /// What serves the connection.
    pub service: ConnectionService,
}

/// Conditions of a chain; empty fields match anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChainMatch {
    /// `Some(true)` = TLS, `Some(false)` = plaintext.
    pub tls: Option<bool>,
    /// ALPN (TLS) or detected protocol (`http/1.1`, `h2c`).
    pub application_protocols: Vec<String>,
    /// SNI, exact or `*.suffix`.
    pub server_names: Vec<String>,
    /// Original destination port.
    pub destination_port: Option<u16>,
    /// Original destination ranges (`10.0.0.0/8`).
    pub destination_ranges: Vec<ipnet::IpNet>,
}

/// TLS termination.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DownstreamTls {
    /// Certificates to choose from (by SNI).
    pub certificates: Vec<CertificateSource>,
    /// Client certificates; roots `None` = not asked for.
    pub validation: PeerValidation,
    /// Whether a client certificate is required.
    pub require_client_certificate: bool,
    /// ALPN.
    pub alpn: Vec<String>,
}

/// What serves a connection.
#[expect(
    clippy::large_enum_variant,
    reason = "one a chain, looked at when a configuration is compiled"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum ConnectionService {
    /// HTTP connection manager.
    Http(Box<HttpConnection>),
    /// Opaque bytes to weighted clusters.
    Tcp(TcpProxy),
}

/// TCP proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct TcpProxy {
    /// Statistics prefix.
    pub stat_prefix: String,
    /// Clusters with weights.
    pub clusters: Vec<(String, u32)>,
    /// Idle timeout.
    pub idle_timeout: Option<Duration>,
    /// Longest life of a connection; `None` = unlimited.
    pub max_duration: Option<Duration>,
    /// Endpoints are chosen by the client's address.
    pub hash_source_ip: bool,
    /// Which configuration made it; travels as `filter_metadata["sightline"]` of the chain.
    pub origin: Option<RouteOrigin>,
    /// Who may connect.
    pub policies: Policies,
    /// Access logs.
    pub access_logs: Vec<AccessLog>,
}

/// HTTP connection manager.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpConnection {
    /// Statistics prefix.
    pub stat_prefix: String,
    /// Where routes come from.
    pub routes: RouteSource,
    /// Codec.
    pub codec: Codec,
    /// `server` header: overwritten with this value; `None` = passed through.
    pub server_name: Option<String>,
    /// Whether `server` is added only when the upstream sent none.
    pub server_name_if_absent: bool,
    /// The socket peer is the client (gateways): X-Forwarded-For is appended and trusted hops count.
    pub use_remote_address: bool,
    /// Trusted hops in X-Forwarded-For.
    pub trusted_hops: u32,
    /// X-Forwarded-Client-Cert handling.
    pub forward_client_cert: ForwardClientCert,
    /// HTTP/1.0 requests are served instead of refused with 426.
    pub accept_http_10: bool,
    /// `.`/`..`/`%2e` segments are resolved before matching (Istio BASE).
    pub normalize_path: bool,
    /// `//` becomes `/` (MERGE_SLASHES).
    pub merge_slashes: bool,
    /// `x-request-id` from outside the mesh is kept.
    pub preserve_external_request_id: bool,
    /// `x-request-id` is made when absent.
    pub generate_request_id: bool,
    /// Idle stream timeout.
    pub stream_idle_timeout: Option<Duration>,
    /// From the first byte to the end of request headers.
    pub request_headers_timeout: Option<Duration>,
    /// Connection idle timeout.
    pub idle_timeout: Option<Duration>,
    /// Largest request head, KiB (Envoy default 60).
    pub max_request_headers_kib: u32,
    /// Largest number of request header fields (Envoy default 100).
    pub max_headers_count: u32,
    /// Access logs.
    pub access_logs: Vec<AccessLog>,
    /// Tracing; `None` = no spans.
    pub tracing: Option<Tracing>,
    /// How metrics of this side are shown, in order.
    pub metrics: Vec<MetricRule>,
    /// Whether `:scheme` follows the transport (gateways) or X-Forwarded-Proto (sidecars).
    pub scheme_from_transport: bool,
    /// Services that are asked about requests, in order, before tokens and policies.
    pub external: Vec<External>,
    /// Tokens that are checked; `None` = none are looked at.
    pub tokens: Option<Box<TokenRules>>,
    /// Who may ask for what.
    pub policies: Policies,
}

/// Where an HTTP connection's routes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteSource {
    /// In the listener.
    Inline(std::sync::Arc<RouteTable>),
    /// Route discovery under this name.
    Named(String),
    /// An HTTP proxy port: the authority's port (absent = 80) chooses the table; ports without one use
    /// `fallback`. Travels as `filter_metadata["sightline"].http_proxy` on the listener.
    ByAuthorityPort {
        /// Port to route table name.
        tables: BTreeMap<u16, String>,
        /// Table for every other port.
        fallback: String,
        /// CONNECT: authority (`db.default:5432`, `*.example.com:443`, `*` for all others) to the listener that
        /// serves what is inside as if the connection had been made to it.
        listeners: BTreeMap<String, String>,
    },
}

/// HTTP codec of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// By preface or ALPN.
    Auto,
    /// HTTP/1 only.
    Http1,
    /// HTTP/2 only.
    Http2,
}

/// X-Forwarded-Client-Cert handling (Envoy `ForwardClientCertDetails`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// Removed.
    Sanitize,
    /// Passed if the peer is authenticated.
    ForwardOnly,
    /// Appended (sidecar inbound).
    AppendForward,
    /// Replaced (gateways).
    SanitizeSet,
    /// Passed as it is.
    AlwaysForwardOnly,
}

/// An access log sink with its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessLog {
    /// `/dev/stdout`, `/dev/stderr` or a file.
    pub path: String,
    /// Format.
    pub format: AccessLogFormat,
    /// Which requests are logged; `None` = all.
    pub filter: Option<Expression>,
}

/// Access log format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// Istio's default text line.
    IstioText,
    /// Istio's JSON keys and ours.
    IstioJson,
    /// Envoy format string.
    Text(String),
    /// JSON object of format strings, in order.
    Json(Vec<(String, String)>),
}

/// Tracing.
#[derive(Debug, Clone, PartialEq)]
pub struct Tracing {
    /// Head sampling in percent, 0..=100.
    pub sampling_percent: f64,
    /// Where spans go; `None` = to the control plane with the other telemetry.
    pub collector_cluster: Option<String>,
    /// Longest path in a tag.
    pub max_path_tag: u32,
    /// Tags of the user's own.
    pub custom_tags: Vec<CustomTag>,
}

/// A tag of spans.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustomTag {
    /// Name.
    pub name: String,
    /// Value.
    pub value: TagSource,
}

/// Where a tag's value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TagSource {
    /// A text.
    Literal(String),
    /// A variable of the proxy's environment.
    Environment {
        /// Name.
        name: String,
        /// Value when it is not set; empty = no tag.
        default: String,
    },
    /// A request header.
    Header {
        /// Lower-case name.
        name: String,
        /// Value when it is absent; empty = no tag.
        default: String,
    },
}

/// A change of how metrics are shown for scraping. What is pushed to the control plane is never changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricRule {
    /// Istio's word for a standard metric (`REQUEST_COUNT`); empty = all.
    pub metric: String,
    /// Whether it is left out; `None` = as before.
    pub disabled: Option<bool>,
    /// Labels that are left out.
    pub remove: Vec<String>,
    /// Labels with a fixed value.
    pub set: Vec<(String, String)>,
}
