//! What a proxy does with a request, decision by decision, by the very functions that serve requests.
//!
//! [`explain`] walks a question through a snapshot in the order in which the proxy's rooms stand; each room calls the
//! decision function of the model with a recorder ([`crate::why`]). What only a running proxy knows (which endpoints
//! are ejected, whether a token's signature holds) comes in through [`Live`].

use std::net::{IpAddr, SocketAddr};

use crate::balance::{self, PriorityHealth};
use crate::cluster::{Cluster, Discovery, Endpoint};
use crate::flags::ResponseFlags;
use crate::listener::Direction;
use crate::request::TypedRequest;
use crate::snapshot::Snapshot;
use crate::token::{Claim, TokenRules};

mod arrive;
mod connection;
mod forward;
mod http;
mod policies;

/// A question to one proxy.
#[derive(Debug, Clone)]
pub struct Question {
    /// Which side of the proxy; [`Direction::Unspecified`] for gateways.
    pub direction: Direction,
    /// Where the client connects to; of an application's HTTP proxy port only the port counts.
    pub destination: SocketAddr,
    /// Serve at this listener, whatever the destination is.
    pub listener: Option<String>,
    /// The socket's peer.
    pub source: IpAddr,
    /// URI that the client's certificate proves.
    pub principal: Option<String>,
    /// The connection is TLS.
    pub tls: bool,
    /// SNI.
    pub server_name: Option<String>,
    /// ALPN offered, or the protocol detected.
    pub protocols: Vec<Vec<u8>>,
    /// The client is a gateway of the mesh, which is believed about where requests come from.
    pub from_gateway: bool,
    /// The request as it is sent, header names lower case.
    pub request: TypedRequest,
    /// The proxy is strict and believes nothing that clients say of themselves (gateways, static files).
    pub edge: bool,
}

/// What only a running proxy knows.
pub trait Live {
    /// Endpoints in force of a cluster, with whether outlier detection has taken each out; `None` = not known, those of
    /// the configuration count.
    fn endpoints(&self, cluster: &Cluster) -> Option<Vec<(Endpoint, bool)>>;
    /// Verifies what the request carries, and changes the request as the proxy does.
    fn token(&self, rules: &TokenRules, request: &mut TypedRequest) -> TokenAnswer;
}

/// What became of a request's token.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenAnswer {
    /// There is none, or it is not looked at.
    None,
    /// It holds, and says this.
    Good(Claim),
    /// It does not hold: status, details, and why in words.
    Refused(u16, String, String),
    /// Nobody here can tell.
    Unknown,
}

/// Nothing is known beyond the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AsConfigured;

impl Live for AsConfigured {
    fn endpoints(&self, _: &Cluster) -> Option<Vec<(Endpoint, bool)>> {
        None
    }
    fn token(&self, rules: &TokenRules, request: &mut TypedRequest) -> TokenAnswer {
        let carried = rules.rules.iter().any(|rule| {
            let header = |(name, prefix): &(String, String)| {
                let mut values = request.headers.iter().filter(|(n, _)| n == name);
                values.any(|(_, value)| value.starts_with(prefix.as_str()))
            };
            rule.headers.iter().any(header)
        });
        if carried {
            TokenAnswer::Unknown
        } else {
            TokenAnswer::None
        }
    }
}

/// The answer: what one proxy does.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The request as the proxy sees it.
    pub request: TypedRequest,
    /// Decisions in order.
    pub decisions: Vec<Decision>,
    /// The end.
    pub outcome: Outcome,
    /// The request as it leaves towards the destination, when it does.
    pub forwarded: Option<Forwarded>,
}

/// A decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// Which.
    pub step: Step,
    /// Result in a few words.
    pub result: String,
    /// Why, in one sentence.
    pub reason: String,
    /// The request ends here.
    pub ends: bool,
    /// What was considered.
    pub candidates: Vec<Candidate>,
}

/// Kinds of decisions, in the order in which a request meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Which listener takes the connection.
    Listener,
    /// Which chain serves it.
    Chain,
    /// The path's canonical form.
    Path,
    /// Whether a service is asked for permission.
    External,
    /// What the token says.
    Token,
    /// Which route table counts.
    Routes,
    /// Whose host it is.
    VirtualHost,
    /// Which rule serves it.
    Route,
    /// Whether it may pass.
    Authorization,
    /// What policies would say that are only tried.
    DryRun,
    /// What is injected.
    Fault,
    /// Whether a preflight is answered here.
    Cors,
    /// What the rule does.
    Action,
    /// Which of several destinations.
    Destination,
    /// Whether the cluster exists, and how it is spoken to.
    Cluster,
    /// Which endpoints may serve.
    Endpoint,
    /// How long it may take.
    Timeout,
    /// When it is repeated.
    Retry,
}

impl Step {
    /// Name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Listener => "listener",
            Self::Chain => "chain",
            Self::Path => "path",
            Self::External => "external",
            Self::Token => "token",
            Self::Routes => "routes",
            Self::VirtualHost => "virtualHost",
            Self::Route => "route",
            Self::Authorization => "authorization",
            Self::DryRun => "dryRun",
            Self::Fault => "fault",
            Self::Cors => "cors",
            Self::Action => "action",
            Self::Destination => "destination",
            Self::Cluster => "cluster",
            Self::Endpoint => "endpoint",
            Self::Timeout => "timeout",
            Self::Retry => "retry",
        }
    }
}

/// What was considered in a decision.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Candidate {
    /// Name.
    pub name: String,
    /// What it is about.
    pub summary: String,
    /// It won.
    pub won: bool,
    /// Why it won or lost.
    pub reason: String,
    /// The object that made it.
    pub object: Option<Place>,
    /// Share where chance decides, percent.
    pub percent: Option<f64>,
    /// The endpoint.
    pub endpoint: Option<EndpointFacts>,
}

/// A place in an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// `VirtualService`, `AuthorizationPolicy`, ...
    pub kind: &'static str,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Where in it.
    pub spot: Spot,
}

/// Where in an object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Spot {
    /// Nowhere in particular.
    #[default]
    Whole,
    /// `spec.rules[N]`.
    Rule(usize),
    /// The HTTP route and match of these names; both may be empty.
    Route {
        /// `http[].name`.
        route: String,
        /// `http[].match[].name`.
        match_name: String,
        /// It is the n-th of the object's rules in its virtual host, counted from 0, of so many.
        of: (usize, usize),
    },
}

/// State of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointFacts {
    /// As discovered.
    pub endpoint: Endpoint,
    /// Taken out by outlier detection.
    pub ejected: bool,
    /// The connection would be mutual TLS.
    pub mutual_tls: bool,
}

/// What a proxy does with a request in the end.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What.
    pub action: Ending,
    /// Status of an answer of the proxy's own.
    pub status: Option<u16>,
    /// Its flags.
    pub flags: ResponseFlags,
    /// Its `RESPONSE_CODE_DETAILS`.
    pub details: String,
    /// `ROUTE_NAME`.
    pub route: String,
    /// Clusters that may get it, with their share in percent.
    pub clusters: Vec<(String, f64)>,
    /// What chance may do instead.
    pub chance: Vec<String>,
    /// One sentence.
    pub summary: String,
}

/// How a request ends at a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Sent on.
    Forward,
    /// Answered with a redirect.
    Redirect,
    /// Answered directly.
    Respond,
    /// Refused.
    Refuse,
    /// The connection is closed without an answer.
    Close,
    /// Opaque bytes are passed on.
    Tunnel,
}

impl Ending {
    /// Name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Redirect => "redirect",
            Self::Respond => "respond",
            Self::Refuse => "refuse",
            Self::Close => "close",
            Self::Tunnel => "tunnel",
        }
    }
}

/// A request on its way to the next proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Forwarded {
    /// With rewrites and header edits.
    pub request: TypedRequest,
    /// The endpoints that may get it, by the first cluster that has any.
    pub endpoints: Vec<EndpointFacts>,
    /// Server name of the TLS connection.
    pub server_name: Option<String>,
}

/// What the proxy that runs `snapshot` does with a request.
#[must_use]
pub fn explain(snapshot: &Snapshot, question: &Question, live: &dyn Live) -> Answer {
    let mut walk = Walk {
        snapshot,
        question,
        live,
        request: question.request.clone(),
        decisions: Vec::new(),
        route: String::new(),
        clusters: Vec::new(),
        chance: Vec::new(),
        forwarded: None,
    };
    let end = connection::serve(&mut walk);
    if let Some(last) = walk.decisions.last_mut() {
        last.ends = true;
    }
    Answer {
        request: walk.request,
        decisions: walk.decisions,
        outcome: Outcome {
            action: end.action,
            status: end.status,
            flags: end.flags,
            details: end.details,
            route: walk.route,
            clusters: walk.clusters,
            chance: walk.chance,
            summary: end.summary,
        },
        forwarded: walk.forwarded,
    }
}

/// A walk in progress.
struct Walk<'a> {
    snapshot: &'a Snapshot,
    question: &'a Question,
    live: &'a dyn Live,
    request: TypedRequest,
    decisions: Vec<Decision>,
    route: String,
    clusters: Vec<(String, f64)>,
    chance: Vec<String>,
    forwarded: Option<Forwarded>,
}

/// How a walk ended.
struct End {
    action: Ending,
    status: Option<u16>,
    flags: ResponseFlags,
    details: String,
    summary: String,
}

impl End {
    fn new(action: Ending, status: Option<u16>, details: &str, summary: impl Into<String>) -> Self {
        Self {
            action,
            status,
            flags: ResponseFlags::NONE,
            details: details.to_owned(),
            summary: summary.into(),
        }
    }

    fn refuse(
        status: u16,
        flags: ResponseFlags,
        details: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self {
            action: Ending::Refuse,
            status: Some(status),
            flags,
            details: details.into(),
            summary: summary.into(),
        }
    }
}

impl Walk<'_> {
    fn decided(
        &mut self,
        step: Step,
        result: impl Into<String>,
        reason: impl Into<String>,
        candidates: Vec<Candidate>,
    ) {
        self.decisions.push(Decision {
            step,
            result: result.into(),
            reason: reason.into(),
            ends: false,
            candidates,
        });
    }

    /// A refusal as the client sees it: gRPC clients get 200 and a gRPC status.
    fn refuse(
        &self,
        status: u16,
        flags: ResponseFlags,
        details: impl Into<String>,
        summary: impl Into<String>,
    ) -> End {
        let status = if arrive::is_grpc(&self.request) {
            200
        } else {
            status
        };
        End::refuse(status, flags, details, summary)
    }

    /// Endpoints of a cluster in force.
    fn endpoints(&self, cluster: &Cluster) -> Vec<(Endpoint, bool)> {
        if let Some(known) = self.live.endpoints(cluster) {
            return known;
        }
        let configured = match &cluster.discovery {
            Discovery::Eds(name) => self.snapshot.endpoints.get(name).map(|set| set.0.clone()),
            Discovery::Static(set) => Some(set.0.clone()),
            Discovery::StrictDns(_) | Discovery::LogicalDns(..) | Discovery::OriginalDestination => None,
        };
        configured
            .unwrap_or_default()
            .into_iter()
            .map(|endpoint| (endpoint, false))
            .collect()
    }
}

/// Share of each priority level in percent, and whether health is ignored (panic); nothing when no endpoint may be
/// used. By [`balance::priority`], asked with every draw of a fine grid.
fn level_shares(levels: &[PriorityHealth], panic_threshold_percent: u32) -> Option<(Vec<f64>, bool)> {
    const DRAWS: u32 = 10_000;
    let mut counts = vec![0_u32; levels.len()];
    let mut panics = false;
    for draw in 0..DRAWS {
        let (level, panic) = balance::priority(levels, panic_threshold_percent, u64::from(draw))?;
        panics = panic;
        if let Some(count) = counts.get_mut(level) {
            *count += 1;
        }
    }
    let shares = counts
        .iter()
        .map(|count| f64::from(*count) * 100.0 / f64::from(DRAWS));
    Some((shares.collect(), panics))
}
