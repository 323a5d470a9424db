//! VirtualService.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::{PortSelector, go_duration};

/// `VirtualService.spec`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualService {
    /// Hosts; none for a delegate.
    pub hosts: Vec<String>,
    /// Gateways; none = `mesh`.
    pub gateways: Vec<String>,
    /// HTTP rules.
    pub http: Vec<HttpRoute>,
    /// TLS rules (by SNI).
    pub tls: Vec<TlsRoute>,
    /// TCP rules.
    pub tcp: Vec<TcpRoute>,
    /// Namespaces that see it.
    pub export_to: Vec<String>,
}

/// `http[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// Name.
    pub name: String,
    /// Alternatives; none = everything.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
    /// Redirect.
    pub redirect: Option<Redirect>,
    /// Direct answer.
    pub direct_response: Option<DirectResponse>,
    /// Delegate.
    pub delegate: Option<Delegate>,
    /// Rewrite.
    pub rewrite: Option<Rewrite>,
    /// Timeout.
    #[serde(with = "go_duration")]
    pub timeout: Option<Duration>,
    /// Retries.
    pub retries: Option<Retry>,
    /// Fault injection.
    pub fault: Option<Fault>,
    /// One mirror.
    pub mirror: Option<Destination>,
    /// Mirrors.
    pub mirrors: Vec<MirrorPolicy>,
    /// Old spelling of [`HttpRoute::mirror_percentage`].
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// Share of [`HttpRoute::mirror`].
    pub mirror_percentage: Option<Percent>,
    /// CORS.
    pub cors_policy: Option<CorsPolicy>,
    /// Header edits.
    pub headers: Option<Headers>,
}

/// `http[].match[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// Name.
    pub name: String,
    /// Path.
    pub uri: Option<StringMatch>,
    /// Scheme.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Authority.
    pub authority: Option<StringMatch>,
    /// Headers that must match.
    pub headers: BTreeMap<String, Option<StringMatch>>,
    /// Headers that must not match.
    pub without_headers: BTreeMap<String, Option<StringMatch>>,
    /// Query parameters.
    pub query_params: BTreeMap<String, Option<StringMatch>>,
    /// Whether the path is compared without case (exact, prefix).
    pub ignore_uri_case: bool,
    /// Service port.
    pub port: u32,
    /// Labels of the client.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the client.
    pub source_namespace: String,
    /// Gateways for which this alternative is.
    pub gateways: Vec<String>,
    /// Statistics prefix.
    pub stat_prefix: String,
}

/// A string match; the schema lets at most one field through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// Equal.
    pub exact: Option<String>,
    /// Begins with.
    pub prefix: Option<String>,
    /// RE2, whole value.
    pub regex: Option<String>,
}

/// A weighted destination.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteDestination {
    /// Destination.
    pub destination: Destination,
    /// Relative weight.
    pub weight: i32,
    /// Header edits.
    pub headers: Option<Headers>,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Host.
    pub host: String,
    /// Subset.
    pub subset: String,
    /// Port.
    pub port: Option<PortSelector>,
}

/// `delegate`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delegate {
    /// Name.
    pub name: String,
    /// Namespace; empty = the root's.
    pub namespace: String,
}

/// `redirect`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirect {
    /// Whole path.
    pub uri: String,
    /// Prefix.
    pub prefix_rewrite: String,
    /// Host.
    pub authority: String,
    /// Port.
    pub port: Option<u32>,
    /// Where the port comes from otherwise.
    pub derive_port: Option<DerivePort>,
    /// Scheme.
    pub scheme: String,
    /// Status; 0 = 301.
    pub redirect_code: u32,
}

/// `redirect.derivePort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DerivePort {
    /// 80 or 443 by scheme.
    FromProtocolDefault,
    /// The request's.
    FromRequestPort,
}

/// `directResponse`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// Status.
    pub status: u32,
    /// Body.
    pub body: Option<Body>,
}

/// `directResponse.body`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Body {
    /// Text.
    pub string: Option<String>,
    /// Base64.
    pub bytes: Option<String>,
}

/// `rewrite`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rewrite {
    /// Path or prefix.
    pub uri: String,
    /// Host.
    pub authority: String,
    /// Path by pattern.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// `rewrite.uriRegexRewrite`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// Pattern.
    #[serde(rename = "match")]
    pub pattern: String,
    /// Substitution.
    pub rewrite: String,
}

/// `retries`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// Retries beyond the first attempt.
    pub attempts: i32,
    /// Limit of each attempt.
    #[serde(with = "go_duration")]
    pub per_try_timeout: Option<Duration>,
    /// Conditions, comma-separated.
    pub retry_on: String,
    /// Other localities too.
    pub retry_remote_localities: Option<bool>,
    /// Avoid endpoints already tried.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Backoff base.
    #[serde(with = "go_duration")]
    pub backoff: Option<Duration>,
}

/// `fault`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Delay.
    pub delay: Option<Delay>,
    /// Abort.
    pub abort: Option<Abort>,
}

/// `fault.delay`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// How long.
    #[serde(with = "go_duration")]
    pub fixed_delay: Option<Duration>,
    /// Never supported by anyone.
    #[serde(with = "go_duration")]
    pub exponential_delay: Option<Duration>,
    /// Share.
    pub percentage: Option<Percent>,
    /// Old spelling, whole percent.
    pub percent: i32,
}

/// `fault.abort`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// HTTP status.
    pub http_status: Option<i32>,
    /// gRPC status by name or number.
    pub grpc_status: Option<String>,
    /// Never supported by anyone.
    pub http2_error: Option<String>,
    /// Share.
    pub percentage: Option<Percent>,
}

/// A percentage.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// 0..=100.
    pub value: f64,
}

/// `mirrors[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MirrorPolicy {
    /// Destination.
    pub destination: Destination,
    /// Share; none = all.
    pub percentage: Option<Percent>,
}

/// `corsPolicy`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CorsPolicy {
    /// Old form of [`CorsPolicy::allow_origins`], exact.
    pub allow_origin: Vec<String>,
    /// Origins.
    pub allow_origins: Vec<StringMatch>,
    /// Methods.
    pub allow_methods: Vec<String>,
    /// Headers.
    pub allow_headers: Vec<String>,
    /// Headers that scripts may read.
    pub expose_headers: Vec<String>,
    /// How long a preflight is valid.
    #[serde(with = "go_duration")]
    pub max_age: Option<Duration>,
    /// Credentials.
    pub allow_credentials: Option<bool>,
    /// What happens to preflights of other origins.
    pub unmatched_preflights: UnmatchedPreflights,
}

/// `corsPolicy.unmatchedPreflights`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum UnmatchedPreflights {
    /// As FORWARD.
    #[default]
    Unspecified,
    /// To the upstream.
    Forward,
    /// Answered without the allow header.
    Ignore,
}

/// `headers`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Of the request.
    pub request: Option<HeaderOperations>,
    /// Of the response.
    pub response: Option<HeaderOperations>,
}

/// `headers.request`, `headers.response`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Overwrite.
    pub set: BTreeMap<String, String>,
    /// Append.
    pub add: BTreeMap<String, String>,
    /// Remove.
    pub remove: Vec<String>,
}

/// `tls[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRoute {
    /// Alternatives.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
}

/// `tcp[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRoute {
    /// Alternatives; none = everything.
    #[serde(rename = "match")]
    pub matches: Vec<L4Match>,
    /// Weighted destinations.
    pub route: Vec<RouteDestination>,
}

/// `tls[].match[]`, `tcp[].match[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct L4Match {
    /// SNI (TLS only).
    pub sni_hosts: Vec<String>,
    /// Destination ranges.
    pub destination_subnets: Vec<String>,
    /// Port.
    pub port: u32,
    /// Labels of the client.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of the client.
    pub source_namespace: String,
    /// Source range (TCP only, hidden).
    pub source_subnet: String,
    /// Gateways.
    pub gateways: Vec<String>,
}
