//! One request from its first byte to its record: whatever happens to the task, it is counted exactly once.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::listener::Direction;
use mesh_model::record::SpanKind;
use mesh_model::workload::{ServiceName, UNKNOWN, Workload};

use crate::access_log::Line;
use crate::codec::fields::{Id, Span};
use crate::compile::{ClusterEntry, EndpointEntry, RouteEntry};
use crate::dial::Facts;
use crate::http::Context;
use crate::metadata::Peer;
use crate::record::{Completed, Ended, Rule, Texts};
use crate::stats::{Completion, SlotKey};
use crate::trace::TraceContext;
use crate::worker::Heads;

/// A request in progress.
pub(crate) struct Call {
    /// What serves it.
    pub(crate) context: Rc<Context>,
    /// Its heads.
    pub(crate) heads: Heads,
    /// First byte.
    pub(crate) started: Instant,
    /// What became of it so far.
    pub(crate) outcome: Outcome,
    /// Answers ask the client to leave.
    pub(crate) close: bool,
    /// The client asked for our metadata.
    pub(crate) wants_metadata: bool,
    /// What was read of the request body before it is forwarded.
    pub(crate) read: Vec<u8>,
    /// More of the body than that is still to come.
    pub(crate) read_in_part: bool,
    /// Headers that an authorization service adds to the answer.
    pub(crate) extra: Vec<(Vec<u8>, Vec<u8>)>,
}

/// What becomes of a request.
#[derive(Default)]
pub(crate) struct Outcome {
    /// Status sent, 0 if none.
    pub(crate) status: u16,
    /// Flags.
    pub(crate) flags: ResponseFlags,
    /// `RESPONSE_CODE_DETAILS`.
    pub(crate) details: Cow<'static, str>,
    /// Attempts.
    pub(crate) attempts: u32,
    /// Rule that decided.
    pub(crate) route: Option<Arc<RouteEntry>>,
    /// Cluster chosen.
    pub(crate) cluster: Option<Arc<ClusterEntry>>,
    /// Endpoint of the last attempt.
    pub(crate) endpoint: Option<Arc<EndpointEntry>>,
    /// Connection of the last attempt.
    pub(crate) upstream: Option<Rc<Facts>>,
    /// Why the last connection failed.
    pub(crate) transport_failure: String,
    /// The other side as learnt on the wire: the client at inbound, the server at outbound.
    pub(crate) peer: Option<Rc<Peer>>,
    /// Milliseconds that the upstream took.
    pub(crate) service_time_ms: Option<u64>,
    /// Request body bytes.
    pub(crate) request_bytes: u64,
    /// Response body bytes.
    pub(crate) response_bytes: u64,
    /// gRPC status.
    pub(crate) grpc_status: Option<u16>,
    /// gRPC.
    pub(crate) grpc: bool,
    /// gRPC messages from and to the client.
    pub(crate) messages: (u64, u64),
    /// A response head was sent.
    pub(crate) answered: bool,
    /// Where it stands in its trace; `None` without tracing.
    pub(crate) trace: Option<TraceContext>,
    /// What the server calls this operation; lies in the response head.
    pub(crate) operation: Span,
    /// Nothing is to be recorded.
    forgotten: bool,
}

impl Call {
    /// A request whose first byte has come.
    #[must_use]
    pub(crate) fn new(context: Rc<Context>) -> Self {
        let heads = context.worker.take_heads();
        Self {
            heads,
            started: Instant::now(),
            outcome: Outcome::default(),
            close: false,
            wants_metadata: false,
            read: Vec::new(),
            read_in_part: false,
            extra: Vec::new(),
            context,
        }
    }

    /// Whether an authorization service sees only a part of the body, in Envoy's words.
    pub(crate) fn partial(&self) -> &'static str {
        if self.read_in_part { "true" } else { "false" }
    }

    /// The connection ended before it was a request.
    pub(crate) fn forget(&mut self) {
        self.outcome.forgotten = true;
    }

    /// Notes an end that nobody else has explained.
    pub(crate) fn note(&mut self, flags: ResponseFlags, details: impl Into<Cow<'static, str>>) {
        self.outcome.flags = self.outcome.flags.with(flags);
        self.outcome.details = details.into();
    }

    fn record(&mut self) {
        let ended = Instant::now();
        let outcome = &mut self.outcome;
        if outcome.details.is_empty() {
            // Nothing said how it ended: the task was dropped under it.
            outcome.flags = outcome.flags.with(ResponseFlags::DOWNSTREAM_CLOSED);
            outcome.details = Cow::Borrowed("downstream_remote_disconnect");
        }
        let duration = ended.saturating_duration_since(self.started);
        let slot = self.count(ended, duration);
        if !self.context.http.logs.is_empty() {
            self.log(duration);
        }
        if self.context.worker.recorder.is_on() {
            self.keep(&slot, ended, duration);
        }
    }

    fn count(&self, ended: Instant, duration: Duration) -> SlotKey {
        let outcome = &self.outcome;
        let inbound = self.context.direction() == Direction::Inbound;
        let mutual_tls = if inbound {
            self.context.downstream.mesh
        } else {
            outcome.upstream.as_ref().is_some_and(|facts| facts.mutual_tls)
        };
        let slot = SlotKey {
            route: outcome.route.as_ref().map_or(0, |r| r.id),
            cluster: outcome.cluster.as_ref().map_or(0, |c| c.id),
            endpoint: outcome.endpoint.as_ref().map_or(0, |e| e.id),
            peer: outcome.peer.as_ref().map_or(0, |p| p.id),
            flags: outcome.flags.bits(),
            code: outcome.status,
            grpc: outcome.grpc_status.map_or(0, |s| s.saturating_add(1)),
            reporter: if inbound {
                Reporter::Destination
            } else {
                Reporter::Source
            },
            protocol: if outcome.grpc {
                RequestProtocol::Grpc
            } else {
                RequestProtocol::Http
            },
            mutual_tls,
        };
        let done = Completion {
            slot,
            ended,
            duration,
            attempts: outcome.attempts,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
        };
        let stats = &self.context.worker.stats;
        stats.record(&done, || self.series(&slot));
        if outcome.messages != (0, 0) {
            stats.messages(&slot, outcome.messages);
        }
        slot
    }

    /// Hands the request over to the recorder.
    fn keep(&self, slot: &SlotKey, at: Instant, duration: Duration) {
        let worker = &self.context.worker;
        let route = self.outcome.route.as_deref();
        let completed = Completed {
            rule: Rule::Http(route),
            at,
            duration,
            trace: self.outcome.trace,
            error: slot.is_error(),
        };
        worker.recorder.record(
            &completed,
            || (self.ended(at, duration), self.texts()),
            || worker.random(),
            |at| worker.wall(at),
            || self.series(slot),
            || self.heads.request.fields.iter(),
        );
    }

    fn ended(&self, at: Instant, duration: Duration) -> Ended {
        let (context, outcome) = (&self.context, &self.outcome);
        let tracing = context.http.config.tracing.as_ref();
        Ended {
            kind: match context.direction() {
                Direction::Inbound => SpanKind::Server,
                Direction::Outbound | Direction::Unspecified => SpanKind::Client,
            },
            started: self.started,
            at,
            duration,
            route: outcome.route.clone(),
            cluster: outcome.cluster.clone(),
            endpoint: outcome.endpoint.clone(),
            peer: outcome.peer.clone(),
            remote: context.downstream.remote,
            status: outcome.status,
            grpc_status: outcome.grpc_status,
            flags: outcome.flags,
            details: outcome.details.clone(),
            protocol: self.heads.request.version.as_str(),
            https: self.heads.request.https,
            attempts: outcome.attempts,
            request_bytes: outcome.request_bytes,
            response_bytes: outcome.response_bytes,
            max_path_tag: tracing.map_or(MAX_PATH_TAG, |tracing| {
                usize::try_from(tracing.max_path_tag).unwrap_or(MAX_PATH_TAG)
            }),
            tags: tracing
                .filter(|tracing| !tracing.custom_tags.is_empty())
                .map(|tracing| crate::trace::custom_tags(&tracing.custom_tags, &self.heads.request.fields)),
        }
    }

    /// Texts of the request as the client sent it.
    fn texts(&self) -> Texts<'_> {
        let request = &self.heads.request;
        let [original, agent, id] =
            request
                .fields
                .find([Id::EnvoyOriginalPath, Id::UserAgent, Id::RequestId]);
        Texts {
            method: request.method_bytes(),
            authority: request.authority_bytes(),
            path: original.unwrap_or_else(|| request.target_bytes()),
            user_agent: agent.unwrap_or_default(),
            request_id: id.unwrap_or_default(),
            operation: self.heads.response.fields.bytes(self.outcome.operation),
        }
    }

    /// The labels of a slot; runs at its first sight only.
    fn series(&self, slot: &SlotKey) -> SeriesKey {
        let outcome = &self.outcome;
        let node = &self.context.worker.node.workload;
        let ours = self
            .context
            .worker
            .tls
            .principal()
            .unwrap_or_else(|| UNKNOWN.into());
        let peer_workload = outcome.peer.as_ref().map(|p| p.workload.clone());
        let or_unknown = |text: Option<&str>| text.filter(|t| !t.is_empty()).unwrap_or(UNKNOWN).to_owned();
        let service = service_of(outcome.cluster.as_deref());
        let inbound = slot.reporter == Reporter::Destination;
        let (source, source_principal, destination, destination_principal) = if inbound {
            let principal = self
                .context
                .downstream
                .peer
                .as_ref()
                .map(|p| p.principal.as_str());
            (
                peer_workload.unwrap_or_else(Workload::unknown),
                or_unknown(principal),
                node.clone(),
                ours,
            )
        } else {
            let known = outcome
                .endpoint
                .as_ref()
                .and_then(|e| e.endpoint.workload.clone());
            let principal = outcome.upstream.as_ref().and_then(|f| f.principal.as_deref());
            (
                node.clone(),
                ours,
                known.or(peer_workload).unwrap_or_else(Workload::unknown),
                or_unknown(principal),
            )
        };
        SeriesKey {
            reporter: slot.reporter,
            source,
            source_principal,
            service,
            destination,
            destination_principal,
            protocol: slot.protocol,
            response_code: slot.code,
            grpc_status: outcome.grpc_status,
            flags: outcome.flags,
            mutual_tls: slot.mutual_tls,
            origin: outcome
                .route
                .as_ref()
                .and_then(|r| r.route.origin.clone())
                .unwrap_or_default(),
        }
    }

    fn log(&self, duration: Duration) {
        let outcome = &self.outcome;
        let context = &self.context;
        let downstream = &context.downstream;
        let inbound = context.direction() == Direction::Inbound;
        let node = context.worker.node.workload.name.as_str();
        let peer = outcome.peer.as_ref().map(|p| p.workload.name.as_str());
        let told = outcome
            .endpoint
            .as_ref()
            .and_then(|e| e.endpoint.workload.as_ref());
        let other = told.map(|w| w.name.as_str()).or(peer).unwrap_or(UNKNOWN);
        let route = outcome.route.as_ref().map(|r| &r.route);
        // A request that was not read as one has no head worth printing.
        let readable = !self.heads.request.method.is_empty();
        let line = Line {
            request: readable.then_some(&*self.heads.request),
            response: outcome.answered.then_some(&*self.heads.response),
            started: context.worker.wall(self.started),
            status: outcome.status,
            flags: outcome.flags,
            details: &outcome.details,
            termination: "",
            transport_failure: &outcome.transport_failure,
            received: outcome.request_bytes,
            sent: outcome.response_bytes,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            service_time_ms: outcome.service_time_ms,
            upstream: outcome.endpoint.as_ref().map(|e| e.endpoint.address),
            // What was refused before a cluster was chosen was on its way to the route's.
            cluster: outcome
                .cluster
                .as_ref()
                .or_else(|| outcome.route.as_ref()?.clusters.first()?.as_ref())
                .map_or("", |c| &c.config.name),
            upstream_local: outcome.upstream.as_ref().and_then(|f| f.local),
            local: downstream.local,
            remote: downstream.remote,
            server_name: downstream.server_name.as_deref().unwrap_or_default(),
            route: route.map_or("", |r| &r.name),
            origin: route.and_then(|r| r.origin.as_ref()),
            source: if inbound { peer.unwrap_or(UNKNOWN) } else { node },
            destination: if inbound { node } else { other },
            attempts: outcome.attempts,
            peer: downstream.peer.as_ref().map_or("", |p| &p.principal),
        };
        for sink in &context.http.logs {
            context.worker.logs.log(sink, &line);
        }
    }
}

/// Longest path in a tag where tracing says nothing (Envoy's).
const MAX_PATH_TAG: usize = 256;

/// Destination service of a cluster: as configured, else the cluster's own name (never what a client said).
#[must_use]
pub(crate) fn service_of(cluster: Option<&ClusterEntry>) -> ServiceName {
    let Some(cluster) = cluster else {
        return ServiceName::unknown();
    };
    cluster.config.service.clone().unwrap_or_else(|| ServiceName {
        host: UNKNOWN.into(),
        name: cluster.config.name.clone(),
        namespace: UNKNOWN.into(),
    })
}

impl Drop for Call {
    fn drop(&mut self) {
        if !self.outcome.forgotten {
            self.record();
        }
        self.context.worker.give_heads(std::mem::take(&mut self.heads));
    }
}
