//! Opaque bytes both ways: TCP proxying, CONNECT tunnels, connections after an upgrade.

mod late;
mod progress;

use std::borrow::Cow;
use std::cell::Cell;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use mesh_model::authorization::AccessFacts;
use mesh_model::balance;
use mesh_model::cluster::Discovery;
use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::listener::Direction;
use mesh_model::record::SpanKind;
use mesh_model::route::split_port;
use mesh_model::workload::{UNKNOWN, Workload};

use crate::accept::{Accepted, Destination};
use crate::access_log::Line;
use crate::call::{Call, service_of};
use crate::codec::head::Framing;
use crate::compile::{ClusterEntry, EndpointEntry, TcpEntry};
use crate::dial::{self, DialError, Facts};
use crate::http::Client;
use crate::metadata::Peer;
use crate::record::{Completed, Connected, Ended, Rule, Texts};
use crate::refusal::{Refusal, Reset};
use crate::stats::{Completion, SlotKey};
use crate::upstream::Upstream;
use crate::wire::Wire;
use crate::worker::Connection;
use crate::{pick, shape};

pub(crate) use late::Unexpected;
use late::{FirstWord, first_word};
use progress::tell_progress;

/// Bytes moved each way.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Moved {
    /// From the client.
    pub(crate) up: u64,
    /// To the client.
    pub(crate) down: u64,
}

/// One direction of a tunnel.
#[derive(Default)]
struct Lane {
    bytes: u64,
    closing: bool,
    done: bool,
}

impl Lane {
    fn poll(
        &mut self,
        cx: &mut TaskContext<'_>,
        from: &mut Wire,
        to: &mut Wire,
    ) -> Poll<std::io::Result<()>> {
        use std::pin::Pin;
        use std::task::ready;
        use tokio::io::AsyncWrite as _;
        while !self.done {
            if self.closing {
                ready!(to.poll_flush(cx))?;
                ready!(Pin::new(&mut to.stream).poll_shutdown(cx))?;
                self.done = true;
                break;
            }
            if !from.input().is_empty() {
                let data = from.input();
                let n = data.len();
                to.output().extend_from_slice(data);
                from.consume(n);
                self.bytes += n as u64;
            }
            ready!(to.poll_flush(cx))?;
            to.release();
            if from.ended {
                self.closing = true;
                continue;
            }
            if from.input().is_empty() {
                match from.poll_fill(cx) {
                    Poll::Ready(Ok(0)) => self.closing = true,
                    Poll::Ready(Ok(_)) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => {
                        from.release();
                        return Poll::Pending;
                    }
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// Moves bytes until both sides have ended, one failed, or nothing moved for `idle`.
async fn copy(
    client: &mut Wire,
    upstream: &mut Wire,
    timer: Option<&Connection>,
    idle: Option<Duration>,
    total: &Cell<Moved>,
) -> bool {
    let before = total.get();
    let lane = |bytes| Lane {
        bytes,
        ..Lane::default()
    };
    let (mut up, mut down) = (lane(before.up), lane(before.down));
    let mut moved = before.up + before.down;
    poll_fn(|cx| {
        let a = up.poll(cx, client, upstream);
        let b = down.poll(cx, upstream, client);
        // Told at once, for whoever records a connection that is cut.
        total.set(Moved {
            up: up.bytes,
            down: down.bytes,
        });
        if let (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) = (&a, &b) {
            return Poll::Ready(false);
        }
        if up.done && down.done {
            return Poll::Ready(true);
        }
        if let Some(timer) = timer {
            if up.bytes + down.bytes != moved {
                moved = up.bytes + down.bytes;
                timer.set_deadline(idle.map(|idle| Instant::now() + idle));
            }
            if timer.poll_deadline(cx).is_ready() {
                return Poll::Ready(false);
            }
        }
        Poll::Pending
    })
    .await
}

/// A proxied TCP connection until it is recorded.
struct TcpCall<'a> {
    accepted: Accepted,
    entry: &'a TcpEntry,
    started: Instant,
    cluster: Option<Arc<ClusterEntry>>,
    endpoint: Option<Arc<EndpointEntry>>,
    facts: Option<Rc<Facts>>,
    peer: Option<Rc<Peer>>,
    flags: ResponseFlags,
    transport_failure: String,
    attempts: u32,
    moved: Cell<Moved>,
    /// Counted already, while it was open.
    told: Cell<Moved>,
    opened: bool,
    /// `CONNECTION_TERMINATION_DETAILS`.
    termination: String,
    /// Another chain serves the connection, and records it.
    handed_back: bool,
}

/// Serves a TCP connection to its end; or answers the client's socket with what it said, when that shows that another
/// chain has to serve it.
pub(crate) async fn serve(accepted: Accepted, entry: &TcpEntry) -> Option<Unexpected> {
    let peer = accepted.peer.as_ref().map(|proven| {
        accepted
            .worker
            .peers
            .borrow_mut()
            .find(Some(&proven.principal), None)
    });
    let mut call = TcpCall {
        peer,
        entry,
        started: Instant::now(),
        cluster: None,
        endpoint: None,
        facts: None,
        flags: ResponseFlags::NONE,
        transport_failure: String::new(),
        attempts: 0,
        moved: Cell::default(),
        told: Cell::default(),
        opened: false,
        termination: String::new(),
        handed_back: false,
        accepted,
    };
    if let Some(guard) = &entry.guard
        && let Some(denied) = guard.ask(&call.access_facts())
    {
        call.termination = denied;
        return None;
    }
    let weights = entry.config.clusters.iter().map(|(_, weight)| *weight);
    let position = if entry.clusters.len() == 1 {
        Some(0)
    } else {
        balance::weighted(weights, call.accepted.worker.random())
    };
    let Some(cluster) = position.and_then(|at| entry.clusters.get(at).cloned().flatten()) else {
        call.flags = ResponseFlags::NO_CLUSTER;
        return None;
    };
    call.cluster = Some(Arc::clone(&cluster));
    let worker = Rc::clone(&call.accepted.worker);
    let endpoint = if cluster.config.discovery == Discovery::OriginalDestination {
        match call.accepted.destination {
            // What goes on to the capturing port comes back.
            Some(Destination::Here) => None,
            _ => Some(cluster.dynamic_endpoint(call.accepted.local)),
        }
    } else {
        let hash = entry
            .config
            .hash_source_ip
            .then(|| balance::hash(call.accepted.remote.ip().to_string().as_bytes()));
        pick::pick(&worker, &cluster, hash, &[], 0)
    };
    let Some(endpoint) = endpoint else {
        call.flags = ResponseFlags::NO_HEALTHY_UPSTREAM;
        return None;
    };
    call.attempts = 1;
    call.endpoint = Some(Arc::clone(&endpoint));
    match dial::tunnel(&cluster, &endpoint).await {
        Ok((stream, facts, _counted)) => {
            call.facts = Some(Rc::new(facts));
            let mut upstream = Wire::new(stream, Vec::new());
            let timer = Rc::clone(&call.accepted.registered.connection);
            let idle = entry.config.idle_timeout;
            timer.set_deadline(idle.map(|idle| Instant::now() + idle));
            if let Some(listener) = call.accepted.undecided.take() {
                match first_word(&mut call, &listener, &mut upstream, &timer).await {
                    FirstWord::AsExpected => {}
                    FirstWord::Unexpected(unexpected) => {
                        call.handed_back = true;
                        return Some(unexpected);
                    }
                    FirstWord::TooLate => {
                        "late_tls_hello".clone_into(&mut call.termination);
                        return None;
                    }
                    FirstWord::End => return None,
                }
            }
            let limit = entry.config.max_duration.map(|most| call.started + most);
            let slot = call.slot();
            let series = call.series(&slot);
            worker.stats.opened(&slot, Instant::now(), || series.clone());
            call.opened = true;
            let copied = copy(
                &mut call.accepted.wire,
                &mut upstream,
                Some(&timer),
                idle,
                &call.moved,
            );
            let late = tokio::select! {
                biased;
                _ = copied => false,
                () = until(limit) => true,
                () = tell_progress(&worker, &slot, &series, (&call.moved, &call.told)) => false,
            };
            if late {
                call.flags = ResponseFlags::DURATION_TIMEOUT;
            }
        }
        Err(error) => {
            call.flags = match error {
                DialError::Overflow => ResponseFlags::OVERFLOW,
                _ => ResponseFlags::UPSTREAM_FAILURE.with(ResponseFlags::RETRY_EXHAUSTED),
            };
            if let DialError::Failed(reason) = error {
                call.transport_failure = reason;
            }
        }
    }
    None
}

/// Ends at `limit`, if there is one.
async fn until(limit: Option<Instant>) {
    match limit {
        Some(limit) => tokio::time::sleep_until(limit.into()).await,
        None => std::future::pending().await,
    }
}

impl TcpCall<'_> {
    fn access_facts(&self) -> AccessFacts<'_> {
        let accepted = &self.accepted;
        AccessFacts {
            request: None,
            principal: accepted.peer.as_ref().map(|peer| peer.principal.as_str()),
            source: accepted.remote.ip(),
            remote: accepted.remote.ip(),
            destination: accepted.local,
            server_name: accepted.hello.server_name.as_deref(),
            claims: None,
        }
    }

    fn series(&self, slot: &SlotKey) -> SeriesKey {
        let worker = &self.accepted.worker;
        let ours = worker.tls.principal().unwrap_or_else(|| UNKNOWN.into());
        let node = worker.node.workload.clone();
        let peer = self.peer.as_ref();
        let (source, source_principal, destination, destination_principal) =
            if slot.reporter == Reporter::Destination {
                (
                    peer.map_or_else(Workload::unknown, |p| p.workload.clone()),
                    peer.map_or_else(|| UNKNOWN.into(), |p| p.principal.clone()),
                    node,
                    ours,
                )
            } else {
                let told = self.endpoint.as_ref().and_then(|e| e.endpoint.workload.clone());
                let principal = self.facts.as_ref().and_then(|f| f.principal.clone());
                (
                    node,
                    ours,
                    told.unwrap_or_else(Workload::unknown),
                    principal.unwrap_or_else(|| UNKNOWN.into()),
                )
            };
        SeriesKey {
            reporter: slot.reporter,
            source,
            source_principal,
            service: service_of(self.cluster.as_deref()),
            destination,
            destination_principal,
            protocol: RequestProtocol::Tcp,
            response_code: 0,
            grpc_status: None,
            flags: self.flags,
            mutual_tls: slot.mutual_tls,
            origin: self.entry.config.origin.clone().unwrap_or_default(),
        }
    }

    fn slot(&self) -> SlotKey {
        let inbound = self.entry.direction == Direction::Inbound;
        SlotKey {
            route: if self.entry.config.origin.is_some() {
                self.entry.id
            } else {
                0
            },
            cluster: self.cluster.as_ref().map_or(0, |c| c.id),
            endpoint: self.endpoint.as_ref().map_or(0, |e| e.id),
            peer: self.peer.as_ref().map_or(0, |p| p.id),
            flags: self.flags.bits(),
            code: 0,
            grpc: 0,
            reporter: if inbound {
                Reporter::Destination
            } else {
                Reporter::Source
            },
            protocol: RequestProtocol::Tcp,
            mutual_tls: if inbound {
                self.peer.is_some()
            } else {
                self.facts.as_ref().is_some_and(|f| f.mutual_tls)
            },
        }
    }

    /// Hands the connection over to the recorder.
    fn keep(&self, slot: &SlotKey, at: Instant, duration: Duration) {
        let (accepted, config) = (&self.accepted, &self.entry.config);
        let worker = &accepted.worker;
        let completed = Completed {
            rule: Rule::Tcp(Connected {
                id: self.entry.id,
                name: &config.stat_prefix,
                origin: config.origin.as_ref(),
            }),
            at,
            duration,
            trace: None,
            error: slot.is_error(),
        };
        let texts = Texts {
            authority: accepted
                .hello
                .server_name
                .as_deref()
                .unwrap_or_default()
                .as_bytes(),
            ..Texts::default()
        };
        worker.recorder.record(
            &completed,
            || (self.ended(at, duration), texts),
            || worker.random(),
            |at| worker.wall(at),
            || self.series(slot),
            std::iter::empty,
        );
    }

    fn ended(&self, at: Instant, duration: Duration) -> Ended {
        let why = if self.termination.is_empty() {
            &self.transport_failure
        } else {
            &self.termination
        };
        let moved = self.moved.get();
        Ended {
            kind: match self.entry.direction {
                Direction::Inbound => SpanKind::Server,
                Direction::Outbound | Direction::Unspecified => SpanKind::Client,
            },
            started: self.started,
            at,
            duration,
            route: None,
            cluster: self.cluster.clone(),
            endpoint: self.endpoint.clone(),
            peer: self.peer.clone(),
            remote: self.accepted.remote,
            status: 0,
            grpc_status: None,
            flags: self.flags,
            details: Cow::Owned(why.clone()),
            protocol: "TCP",
            https: false,
            attempts: self.attempts,
            request_bytes: moved.up,
            response_bytes: moved.down,
            max_path_tag: 0,
            tags: None,
        }
    }
}

impl Drop for TcpCall<'_> {
    fn drop(&mut self) {
        if self.handed_back {
            return;
        }
        let ended = Instant::now();
        let duration = ended.saturating_duration_since(self.started);
        let slot = self.slot();
        let (moved, told) = (self.moved.get(), self.told.get());
        let stats = &self.accepted.worker.stats;
        if !self.opened {
            stats.opened(&slot, ended, || self.series(&slot));
        }
        let done = Completion {
            slot,
            ended,
            duration,
            attempts: self.attempts,
            request_bytes: moved.up - told.up,
            response_bytes: moved.down - told.down,
        };
        stats.record(&done, || self.series(&slot));
        if self.accepted.worker.recorder.is_on() {
            self.keep(&slot, ended, duration);
        }
        let line = Line {
            request: None,
            response: None,
            started: self.accepted.worker.wall(self.started),
            status: 0,
            flags: self.flags,
            details: "",
            termination: &self.termination,
            transport_failure: &self.transport_failure,
            received: moved.up,
            sent: moved.down,
            duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
            service_time_ms: None,
            upstream: self.endpoint.as_ref().map(|e| e.endpoint.address),
            cluster: self.cluster.as_ref().map_or("", |c| &c.config.name),
            upstream_local: self.facts.as_ref().and_then(|f| f.local),
            local: self.accepted.local,
            remote: self.accepted.remote,
            server_name: self.accepted.hello.server_name.as_deref().unwrap_or_default(),
            route: "",
            origin: self.entry.config.origin.as_ref(),
            source: UNKNOWN,
            destination: UNKNOWN,
            attempts: self.attempts,
            peer: self.peer.as_ref().map_or("", |p| &p.principal),
        };
        for sink in &self.entry.logs {
            self.accepted.worker.logs.log(sink, &line);
        }
    }
}

/// After a 101: bytes both ways until the end. `false`: the connection is over.
pub(crate) async fn tunnel<C: Client>(call: &mut Call, client: &mut C, mut upstream: Upstream) -> bool {
    if let (Some(down), Some(up)) = (client.wire(), upstream.wire()) {
        let moved = Cell::<Moved>::default();
        copy(down, up, None, None, &moved).await;
        call.outcome.request_bytes = moved.get().up;
        call.outcome.response_bytes = moved.get().down;
    }
    false
}

/// CONNECT at an application's HTTP proxy port: an opaque connection to an endpoint of the cluster.
pub(crate) async fn connect<C: Client>(
    call: &mut Call,
    client: &mut C,
    cluster: &Arc<ClusterEntry>,
) -> Result<bool, Refusal> {
    let endpoint = if cluster.config.discovery == Discovery::OriginalDestination {
        original_destination(call, cluster).await
    } else {
        pick::pick(&call.context.worker, cluster, None, &[], 0)
    };
    let endpoint = endpoint.ok_or_else(Refusal::no_endpoint)?;
    call.outcome.endpoint = Some(Arc::clone(&endpoint));
    call.outcome.attempts = 1;
    let (stream, facts) = dial::connect(cluster, &endpoint, None).await.map_err(|error| {
        let reset = match error {
            DialError::Overflow => Reset::Overflow,
            DialError::Timeout => Reset::ConnectTimeout,
            DialError::Failed(reason) => Reset::Connect(reason),
        };
        Refusal::upstream(&reset, false)
    })?;
    call.outcome.upstream = Some(Rc::new(facts));
    let response = &mut call.heads.response;
    response.fields.clear();
    response.status = 200;
    response.framing = Framing::None;
    response.declared_length = None;
    call.outcome.status = 200;
    call.outcome.details = "via_upstream".into();
    shape::finish_local(call);
    if client
        .begin(&call.heads.response, &call.heads.request, false)
        .is_err()
    {
        return Ok(false);
    }
    call.outcome.answered = true;
    if let Some(down) = client.wire() {
        let mut up = Wire::new(stream, Vec::new());
        let moved = Cell::<Moved>::default();
        copy(down, &mut up, None, None, &moved).await;
        call.outcome.request_bytes = moved.get().up;
        call.outcome.response_bytes = moved.get().down;
    }
    Ok(false)
}

/// Where a request to a passthrough cluster goes: where the captured connection was going, or what the authority names at an HTTP proxy port.
pub(crate) async fn original_destination(call: &Call, cluster: &ClusterEntry) -> Option<Arc<EndpointEntry>> {
    if let Some(destination) = call.context.downstream.destination {
        let address = destination.address()?;
        return Some(call.context.worker.dynamic_endpoint(cluster, address));
    }
    let authority = call.heads.request.authority_bytes();
    let (host, port) = split_port(authority);
    let host = std::str::from_utf8(host).ok()?.to_owned();
    let port = port.unwrap_or(80);
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    let address = match literal.parse() {
        Ok(ip) => SocketAddr::new(ip, port),
        Err(_) => tokio::net::lookup_host((host.as_str(), port))
            .await
            .ok()?
            .next()?,
    };
    // A request that would come back to this listener is a loop.
    if address == call.context.downstream.local {
        return None;
    }
    Some(call.context.worker.dynamic_endpoint(cluster, address))
}
