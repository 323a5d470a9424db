//! Route tables: Envoy's `RouteConfiguration` in parsed form.
//!
//! Which rule wins is decided by [`RouteTable::find`] alone; explain and what-if call the same function.

use std::sync::Arc;
use std::time::Duration;

use crate::matching::{HeaderMatch, Pattern, QueryMatch, StringMatch};
use crate::retry::RetryPolicy;
use crate::token::Claim;

mod edits;
mod find;
mod redirect;

pub use edits::{FormatFacts, write_value};
pub use find::{Found, HostIndex, Unmet, host_of, split_port};
pub use redirect::{RequestTarget, Rewriter};

/// A named set of virtual hosts. Route tables are named by port (`80`, `9080`) at sidecars and `http.8080`
/// at gateways, as in Istio.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RouteTable {
    /// Name by which a listener refers to it.
    pub name: String,
    /// Virtual hosts; a request belongs to exactly one (exact name, then longest suffix wildcard, then longest
    /// prefix wildcard, then `*`).
    pub virtual_hosts: Vec<Arc<VirtualHost>>,
}

/// Routes for a set of host names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VirtualHost {
    /// For example `reviews.default.svc.cluster.local:9080`.
    pub name: String,
    /// Host names without port, lower case.
    pub domains: Vec<Domain>,
    /// Evaluated in order, first match wins.
    pub routes: Vec<Arc<Route>>,
    /// Whether requests over plaintext are redirected (Gateway `httpsRedirect`).
    pub require_tls: bool,
    /// Adds `x-envoy-attempt-count` to upstream requests.
    pub include_attempt_count: bool,
}

/// One entry of a virtual host's domains.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Domain {
    /// `*`.
    Any,
    /// `web.app.svc.cluster.local`.
    Exact(String),
    /// `*.example.com`, kept as `.example.com`.
    Suffix(String),
    /// `example.*`, kept as `example.`.
    Prefix(String),
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// As in the access log's ROUTE_NAME: `<route>`, `<route>.<match>`, `.<match>`, `default`, `allow_any`,
    /// `block_all` or empty.
    pub name: String,
    /// When it applies.
    pub matches: RouteMatch,
    /// What happens then.
    pub action: Action,
    /// Edits of the request before it is forwarded (route level).
    pub request_headers: HeaderEdits,
    /// Edits of the response (route level); they apply to local answers too.
    pub response_headers: HeaderEdits,
    /// Fault injection (`VirtualService.http.fault`).
    pub fault: Option<Fault>,
    /// CORS policy.
    pub cors: Option<CorsPolicy>,
    /// Span name and `x-envoy-decorator-operation`, if set.
    pub operation: Option<String>,
    /// Which configuration made this rule; `None` for generated defaults.
    pub origin: Option<RouteOrigin>,
}

/// Where a rule comes from: travels as `filter_metadata["sightline"]`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord)]
pub struct RouteOrigin {
    /// `namespace/name` of the VirtualService.
    pub virtual_service: String,
    /// `http[].name`, may be empty.
    pub route: String,
    /// `http[].match[].name`, may be empty.
    pub match_name: String,
    /// Configuration revision (hash) of the VirtualService that made it.
    pub revision: String,
}

/// Conditions of a rule, all of which must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// Path condition.
    pub path: PathMatch,
    /// For exact and prefix: ASCII case is ignored.
    pub path_ignore_case: bool,
    /// Header conditions (method, scheme and authority are pseudo headers here, as in Envoy).
    pub headers: Vec<HeaderMatch>,
    /// Query conditions.
    pub query: Vec<QueryMatch>,
    /// Conditions on the verified token.
    pub claims: Vec<ClaimMatch>,
}

/// A condition on a fact of the verified token. Without a token, or without the fact, it does not hold before
/// inversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMatch {
    /// Keys from the outermost (`request.auth.claims`, `groups`).
    pub path: Vec<String>,
    /// Condition; `None` = it is there.
    pub value: Option<StringMatch>,
    /// The condition must not hold.
    pub invert: bool,
}

impl ClaimMatch {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, claims: Option<&Claim>) -> bool {
        let fact = claims.and_then(|claims| claims.at(&self.path));
        fact.is_some_and(|fact| fact.has(self.value.as_ref())) != self.invert
    }
}

/// Path condition; the query is never part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// Raw string prefix: `/foo` also matches `/foobar`.
    Prefix(String),
    /// Whole path.
    Exact(String),
    /// Full match.
    Regex(Pattern),
    /// Segment-aware prefix (Gateway API).
    SegmentPrefix(String),
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send it on.
    Forward(Box<Forward>),
    /// Answer with a redirect.
    Redirect(Box<Redirect>),
    /// Answer directly.
    Respond(DirectResponse),
}

/// Where and how to send a request on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forward {
    /// Candidate clusters with relative weights; one entry means no draw. Never empty.
    pub destinations: Vec<WeightedDestination>,
    /// From the end of the request to the end of the response; `None` = none.
    pub timeout: Option<Duration>,
    /// Retry policy; `None` = no retries.
    pub retry: Option<RetryPolicy>,
    /// Path rewrite.
    pub path_rewrite: Option<PathRewrite>,
    /// Host rewrite.
    pub host_rewrite: Option<String>,
    /// Shadow destinations.
    pub mirrors: Vec<Mirror>,
    /// Consistent-hash sources, in order.
    pub hash: Vec<HashSource>,
    /// Upgrades other than the default websocket are not forwarded.
    pub max_grpc_timeout: Option<Duration>,
}

/// One candidate of a [`Forward`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WeightedDestination {
    /// Cluster name (`outbound|9080|v1|reviews.default.svc.cluster.local`).
    pub cluster: String,
    /// Relative weight.
    pub weight: u32,
    /// Destination-level request edits.
    pub request_headers: HeaderEdits,
    /// Destination-level response edits.
    pub response_headers: HeaderEdits,
    /// Destination-level host rewrite (VirtualService destination `headers.request.set.host`).
    pub host_rewrite: Option<String>,
}

/// Path rewrite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// Replaces the matched prefix or the whole matched path.
    Replace(String),
    /// Replaces each match of the (unanchored) pattern; `\1` refers to groups.
    Regex {
        /// RE2 pattern source.
        pattern: String,
        /// Substitution with `\N`.
        substitution: String,
    },
}

/// A shadow destination: fire and forget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Cluster name.
    pub cluster: String,
    /// Share of requests in millionths.
    pub per_million: u32,
    /// The copy has the request's own host, without the `-shadow` suffix.
    pub keeps_host: bool,
}

/// What a consistent hash is computed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HashSource {
    /// Value of a header.
    Header(String),
    /// Cookie; generated when absent and `ttl` is given.
    Cookie {
        /// Name.
        name: String,
        /// Path attribute.
        path: String,
        /// `Some(0)` makes a session cookie.
        ttl: Option<Duration>,
        /// Further attributes as written, in order.
        attributes: Vec<(String, String)>,
    },
    /// Source address.
    SourceIp,
    /// Query parameter.
    Query(String),
}

/// Redirect answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redirect {
    /// 301, 302, 303, 307 or 308.
    pub status: u16,
    /// Replaces the whole path (the query stays unless the new path has one).
    pub path: Option<String>,
    /// Replaces the matched prefix.
    pub prefix_rewrite: Option<String>,
    /// New host.
    pub host: Option<String>,
    /// New port.
    pub port: Option<u16>,
    /// New scheme.
    pub scheme: Option<String>,
    /// Envoy `strip_query`.
    pub strip_query: bool,
}

/// Direct answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DirectResponse {
    /// 200..=599.
    pub status: u16,
    /// Body.
    pub body: Vec<u8>,
}

/// Header edits, applied remove, then set, then append.
///
/// Values are format strings (`%REQ(name)%`, `%PROTOCOL%`, `%%`), checked where they enter the model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Overwrite or add.
    pub set: Vec<(String, String)>,
    /// Append.
    pub add: Vec<(String, String)>,
    /// Remove.
    pub remove: Vec<String>,
}

impl HeaderEdits {
    /// Whether nothing is edited.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// Fault injection.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fault {
    /// Delay before the request is routed.
    pub delay: Option<(Duration, PerMillion)>,
    /// Answer instead of routing.
    pub abort: Option<(Abort, PerMillion)>,
}

/// A share in millionths (Envoy `FractionalPercent` at MILLION).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PerMillion(pub u32);

/// How a fault aborts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abort {
    /// HTTP status.
    Http(u16),
    /// gRPC status.
    Grpc(u32),
}

/// CORS policy (Envoy `CorsPolicy`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CorsPolicy {
    /// Allowed origins.
    pub allow_origins: Vec<StringMatch>,
    /// `access-control-allow-methods`.
    pub allow_methods: String,
    /// `access-control-allow-headers`.
    pub allow_headers: String,
    /// `access-control-expose-headers`.
    pub expose_headers: String,
    /// `access-control-max-age`, seconds as text.
    pub max_age: String,
    /// `access-control-allow-credentials`.
    pub allow_credentials: bool,
    /// Preflights that match no origin are forwarded (Istio default) or answered.
    pub forward_unmatched_preflights: bool,
}
