//! Forwarding with its guards: timeouts, retries, circuit breakers. Wraps pick and dial, so that a retry picks again.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use mesh_model::balance;
use mesh_model::cluster::Discovery;
use mesh_model::flags::ResponseFlags;
use mesh_model::retry::{Attempt, RetryPolicy};
use mesh_model::route::{Forward, WeightedDestination};
use smallvec::SmallVec;
use tokio::time::Sleep;

use crate::call::Call;
use crate::codec::fields::Id;
use crate::codec::head::{Framing, Method};
use crate::codec::write;
use crate::compile::{ClusterEntry, EndpointEntry};
use crate::dial::{self, DialError, Ready};
use crate::http::Client;
use crate::refusal::{Refusal, Reset};
use crate::route::Found;
use crate::upstream::Upstream;
use crate::wire::Failure;
use crate::wire::frames::Frames;
use crate::wire::pump::{Pump, Side};
use crate::{hash, mirror, pick, relay, shape};

mod limits;

use limits::{Active, Retrying};

/// Forwards a request; `false` = the client's connection must not be used again.
pub(crate) async fn forward<C: Client>(
    call: &mut Call,
    client: &mut C,
    found: &Found,
    forward: &Forward,
) -> Result<bool, Refusal> {
    let position = if forward.destinations.len() == 1 {
        0
    } else {
        let weights = forward.destinations.iter().map(|d| d.weight);
        balance::weighted(weights, call.context.worker.random()).unwrap_or(0)
    };
    let destination = forward
        .destinations
        .get(position)
        .ok_or_else(Refusal::no_cluster)?;
    let cluster = found.entry.clusters.get(position).cloned().flatten();
    let cluster = cluster.ok_or_else(Refusal::no_cluster)?;
    call.outcome.cluster = Some(Arc::clone(&cluster));
    let hash = hash::of(&call.heads.request, &call.context.downstream, &forward.hash);
    let upgrade = upgrade(call)?;
    shape::request(call, found, forward, destination);
    if call.heads.request.kind == Method::Connect {
        return relay::connect(call, client, &cluster).await;
    }
    let retries = forward.retry.as_ref().filter(|policy| policy.attempts > 0);
    let mirrors = mirror::chosen(call, found, forward);
    let mut exchange = Exchange {
        cluster,
        policy: retries,
        hash: hash.value,
        upgrade,
        attempt_count: found.attempt_count,
        pump: if retries.is_some() || !mirrors.is_empty() {
            Pump::replayable()
        } else {
            Pump::default()
        },
        total: forward.timeout,
        deadline: None,
        tried: SmallVec::new(),
    };
    exchange.pump.frames = call.outcome.grpc.then(Frames::default);
    exchange.pump.preload(std::mem::take(&mut call.read));
    let upstream = match exchange.attempts(call, client).await {
        Ok(upstream) => upstream,
        Err(refusal) => {
            call.outcome.request_bytes = exchange.pump.bytes;
            // A copy does not depend on how the original fares.
            mirror::send(call, found, &mirrors, &exchange.pump);
            return Err(refusal);
        }
    };
    mirror::send(call, found, &mirrors, &exchange.pump);
    if let Some(cookie) = &hash.set_cookie {
        call.heads.response.fields.push(b"set-cookie", cookie);
    }
    exchange
        .respond(call, client, found, destination, forward, upstream)
        .await
}

/// Which upgrade is asked for: websocket is offered, anything else is not.
fn upgrade(call: &Call) -> Result<bool, Refusal> {
    let request = &call.heads.request;
    if request.upgrade.is_empty() {
        return Ok(false);
    }
    if request
        .fields
        .bytes(request.upgrade)
        .eq_ignore_ascii_case(b"websocket")
        && request.framing == Framing::None
    {
        return Ok(true);
    }
    let mut refusal = Refusal::new(403, ResponseFlags::NONE, "upgrade_failed");
    refusal.close = true;
    Err(refusal)
}

/// An upstream that has answered, with everything that must end with it.
pub(crate) struct Answered {
    upstream: Upstream,
    _active: Active,
}

struct Exchange<'r> {
    cluster: Arc<ClusterEntry>,
    policy: Option<&'r RetryPolicy>,
    hash: Option<u64>,
    upgrade: bool,
    attempt_count: bool,
    pump: Pump,
    /// From the end of the request to the end of the response.
    total: Option<Duration>,
    deadline: Option<Pin<Box<Sleep>>>,
    tried: SmallVec<[u32; 4]>,
}

/// How an attempt failed.
enum Failed {
    /// Before response headers.
    Reset(Reset),
    /// Nothing to try.
    NoEndpoint,
    /// It took too long by itself.
    PerTry,
    /// Everything took too long.
    Total,
    /// The client left.
    ClientGone,
    /// The client's body is broken.
    ClientBroken,
    /// The client kept its request body back for too long.
    ClientSlow,
}

impl Exchange<'_> {
    /// Tries until an upstream has answered for good.
    async fn attempts<C: Client>(&mut self, call: &mut Call, client: &mut C) -> Result<Answered, Refusal> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            call.outcome.attempts = attempt;
            let retried = attempt > 1;
            let (refusal, kind) = match self.attempt(call, client, attempt).await {
                Ok(answered) => {
                    let status = call.heads.response.status;
                    let kind = Attempt::Answered {
                        status,
                        grpc_status: grpc_status(call),
                    };
                    self.judge(call, status >= 500, matches!(status, 502..=504));
                    match self.may_retry(kind, attempt) {
                        Retry::Never => return Ok(answered),
                        Retry::Spent => {
                            call.outcome.flags = call.outcome.flags.with(ResponseFlags::RETRY_EXHAUSTED);
                            return Ok(answered);
                        }
                        Retry::Now if !self.pump.rewind() => return Ok(answered),
                        Retry::Now => {}
                    }
                    drop(answered);
                    self.wait(call, client, attempt).await?;
                    continue;
                }
                Err(Failed::Reset(reset)) => {
                    if reset != Reset::Overflow {
                        self.judge(call, true, true);
                    }
                    (
                        Refusal::upstream(&reset, retried),
                        kind_of(&reset, self.pump.bytes),
                    )
                }
                Err(Failed::PerTry) => {
                    self.judge(call, true, true);
                    (
                        Refusal::timeout("upstream_per_try_timeout"),
                        Attempt::PerTryTimeout,
                    )
                }
                Err(Failed::NoEndpoint) => return Err(Refusal::no_endpoint()),
                Err(Failed::Total) => {
                    self.judge(call, true, true);
                    return Err(Refusal::timeout("response_timeout"));
                }
                Err(Failed::ClientGone) => return Err(Refusal::client_gone()),
                Err(Failed::ClientBroken) => return Err(Refusal::broken_body()),
                Err(Failed::ClientSlow) => return Err(Refusal::client_slow()),
            };
            match self.may_retry(kind, attempt) {
                Retry::Never => return Err(refusal),
                Retry::Spent => return Err(refusal.flagged(ResponseFlags::RETRY_EXHAUSTED)),
                Retry::Now if !self.pump.rewind() => return Err(refusal),
                Retry::Now => self.wait(call, client, attempt).await?,
            }
        }
    }

    fn may_retry(&self, kind: Attempt, attempt: u32) -> Retry {
        let Some(policy) = self.policy.filter(|policy| policy.retries(kind)) else {
            return Retry::Never;
        };
        if attempt > policy.attempts {
            return Retry::Spent;
        }
        let most = self.cluster.config.limits.max_retries;
        if most != u32::MAX && self.cluster.shared.retries.load(Ordering::Relaxed) >= most {
            return Retry::Never;
        }
        Retry::Now
    }

    /// Waits before the next attempt.
    async fn wait<C: Client>(
        &mut self,
        call: &mut Call,
        client: &mut C,
        attempt: u32,
    ) -> Result<(), Refusal> {
        let Some(policy) = self.policy else { return Ok(()) };
        let gap = policy.backoff(attempt, call.context.worker.random());
        let _retrying = Retrying::new(&self.cluster);
        let deadline = &mut self.deadline;
        tokio::select! {
            biased;
            () = poll_fn(|cx| client.poll_gone(cx)) => Err(Refusal::client_gone()),
            () = poll_fn(|cx| poll_sleep(deadline, cx)) => Err(Refusal::timeout("response_timeout")),
            () = tokio::time::sleep(gap) => Ok(()),
        }
    }

    /// One attempt: pick, dial, send, wait for the response head.
    async fn attempt<C: Client>(
        &mut self,
        call: &mut Call,
        client: &mut C,
        attempt: u32,
    ) -> Result<Answered, Failed> {
        let endpoint = self.endpoint(call).await?;
        call.outcome.endpoint = Some(Arc::clone(&endpoint));
        call.outcome.upstream = None;
        self.tried.push(endpoint.id);
        let active = Active::new(&self.cluster, &endpoint).ok_or(Failed::Reset(Reset::Overflow))?;
        let per_try = self.policy.and_then(|policy| policy.per_try_timeout);
        let mut per_try = per_try.map(|limit| Box::pin(tokio::time::sleep(limit)));
        let ready = self.dial(call, client, &endpoint, &mut per_try).await?;
        let mut upstream = self.send_head(call, ready, attempt)?;
        let sent = Instant::now();
        self.until_head(call, client, &mut upstream, &mut per_try).await?;
        call.outcome.service_time_ms = Some(u64::try_from(sent.elapsed().as_millis()).unwrap_or(u64::MAX));
        if call.heads.response.status >= 500 {
            endpoint.counters.errors.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Answered {
            upstream,
            _active: active,
        })
    }

    async fn endpoint(&self, call: &Call) -> Result<Arc<EndpointEntry>, Failed> {
        if self.cluster.config.discovery == Discovery::OriginalDestination {
            let address = relay::original_destination(call, &self.cluster).await;
            return address.ok_or(Failed::NoEndpoint);
        }
        let tries = match self.policy {
            Some(policy) if policy.avoid_previous_hosts && !self.tried.is_empty() => {
                policy.host_selection_attempts
            }
            _ => 0,
        };
        pick::pick(&call.context.worker, &self.cluster, self.hash, &self.tried, tries)
            .ok_or(Failed::NoEndpoint)
    }

    async fn dial<C: Client>(
        &mut self,
        call: &mut Call,
        client: &mut C,
        endpoint: &Arc<EndpointEntry>,
        per_try: &mut Option<Pin<Box<Sleep>>>,
    ) -> Result<Ready, Failed> {
        let protocol = dial::protocol(&self.cluster, call.heads.request.version);
        let mut dialing = std::pin::pin!(call.context.worker.pools.ready(&self.cluster, endpoint, protocol));
        let deadline = &mut self.deadline;
        let dialed = poll_fn(|cx| {
            if let Poll::Ready(dialed) = dialing.as_mut().poll(cx) {
                return Poll::Ready(Ok(dialed));
            }
            if poll_sleep(deadline, cx).is_ready() {
                return Poll::Ready(Err(Failed::Total));
            }
            if poll_sleep(per_try, cx).is_ready() {
                return Poll::Ready(Err(Failed::PerTry));
            }
            client.poll_gone(cx).map(|()| Err(Failed::ClientGone))
        })
        .await?;
        match dialed {
            Ok(ready) => Ok(ready),
            Err(error) => {
                endpoint.counters.errors.fetch_add(1, Ordering::Relaxed);
                Err(Failed::Reset(match error {
                    DialError::Overflow => Reset::Overflow,
                    DialError::Timeout => Reset::ConnectTimeout,
                    DialError::Failed(reason) => {
                        call.outcome.transport_failure.clone_from(&reason);
                        Reset::Connect(reason)
                    }
                }))
            }
        }
    }

    fn send_head(&self, call: &mut Call, ready: Ready, attempt: u32) -> Result<Upstream, Failed> {
        let worker = &call.context.worker;
        let facts = ready.facts();
        let extras = write::Extras {
            attempt_count: self.attempt_count.then_some(attempt),
            metadata: (facts.mutual_tls && !worker.metadata.is_empty())
                .then(|| (worker.metadata.as_slice(), worker.node.id.as_bytes())),
        };
        call.outcome.upstream = Some(facts);
        Upstream::begin(ready, &call.heads.request, &extras, self.upgrade)
            .map_err(|failure| Failed::Reset(failure.into()))
    }

    /// Moves the request body and waits for the response head, whichever way round they come.
    async fn until_head<C: Client>(
        &mut self,
        call: &mut Call,
        client: &mut C,
        upstream: &mut Upstream,
        per_try: &mut Option<Pin<Box<Sleep>>>,
    ) -> Result<(), Failed> {
        let kind = call.heads.request.kind;
        let response = &mut call.heads.response;
        let Self {
            pump,
            deadline,
            total,
            ..
        } = self;
        poll_fn(|cx| {
            if !pump.flushed {
                match pump.poll(cx, client, upstream) {
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                    Poll::Ready(Err(Side::Source(Failure::Protocol))) => {
                        return Poll::Ready(Err(Failed::ClientBroken));
                    }
                    Poll::Ready(Err(Side::Source(Failure::Stalled))) => {
                        return Poll::Ready(Err(Failed::ClientSlow));
                    }
                    Poll::Ready(Err(Side::Source(_))) => return Poll::Ready(Err(Failed::ClientGone)),
                    Poll::Ready(Err(Side::Sink(failure))) => {
                        // It may have answered before it stopped listening.
                        return match upstream.poll_head(cx, kind, response) {
                            Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                            _ => Poll::Ready(Err(Failed::Reset(failure.into()))),
                        };
                    }
                }
            }
            if pump.finished && deadline.is_none() {
                *deadline = total.map(|limit| Box::pin(tokio::time::sleep(limit)));
            }
            match upstream.poll_head(cx, kind, response) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(Failed::Reset(failure.into()))),
                Poll::Pending => {}
            }
            if poll_sleep(deadline, cx).is_ready() {
                return Poll::Ready(Err(Failed::Total));
            }
            if poll_sleep(per_try, cx).is_ready() {
                return Poll::Ready(Err(Failed::PerTry));
            }
            if pump.finished {
                return client.poll_gone(cx).map(|()| Err(Failed::ClientGone));
            }
            Poll::Pending
        })
        .await
    }

    /// Passes the response on.
    async fn respond<C: Client>(
        &mut self,
        call: &mut Call,
        client: &mut C,
        found: &Found,
        destination: &WeightedDestination,
        forward: &Forward,
        answered: Answered,
    ) -> Result<bool, Refusal> {
        let Answered {
            mut upstream,
            _active: active,
        } = answered;
        call.outcome.details = "via_upstream".into();
        call.outcome.status = call.heads.response.status;
        call.outcome.grpc_status = call.outcome.grpc.then(|| grpc_status(call)).flatten();
        shape::response(call, found, Some(destination), forward.destinations.len() > 1);
        if call.heads.response.status == 101 {
            let sent = client.begin(&call.heads.response, &call.heads.request, false);
            call.outcome.answered = sent.is_ok();
            return Ok(relay::tunnel(call, client, upstream).await);
        }
        // Early data behind a refused upgrade, or a body that is still coming, end the connection.
        call.close |= self.upgrade;
        if client
            .begin(&call.heads.response, &call.heads.request, call.close)
            .is_err()
        {
            call.note(ResponseFlags::DOWNSTREAM_CLOSED, "downstream_remote_disconnect");
            return Ok(false);
        }
        call.outcome.answered = true;
        let mut down = Pump {
            frames: call.outcome.grpc.then(Frames::default),
            ..Pump::default()
        };
        let ended = self.until_end(client, &mut upstream, &mut down).await;
        call.outcome.request_bytes = self.pump.bytes;
        call.outcome.response_bytes = down.bytes;
        let messages = |pump: &Pump| pump.frames.map_or(0, |frames| frames.messages);
        call.outcome.messages = (messages(&self.pump), messages(&down));
        if let Some(status) = down.grpc_status {
            call.outcome.grpc_status = Some(status);
        }
        match ended {
            Ok(()) => {
                let endpoint = call.outcome.endpoint.as_ref();
                if self.pump.flushed
                    && let Some(endpoint) = endpoint
                {
                    upstream.give_back(&call.context.worker.pools, &self.cluster, endpoint);
                }
                drop(active);
                Ok(!call.close && (client.body_done() || self.pump.finished))
            }
            Err(end) => {
                if end != End::ClientGone {
                    client.cut();
                }
                match end {
                    End::ClientGone => {
                        call.note(ResponseFlags::DOWNSTREAM_CLOSED, "downstream_remote_disconnect");
                    }
                    End::Upstream(reset) => call.note(
                        reset.flags(),
                        format!(
                            "upstream_reset_after_response_started{{{}}}",
                            reset.text().replace(' ', "_")
                        ),
                    ),
                    End::Timeout => call.note(ResponseFlags::UPSTREAM_TIMEOUT, "response_timeout"),
                }
                Ok(false)
            }
        }
    }

    async fn until_end<C: Client>(
        &mut self,
        client: &mut C,
        upstream: &mut Upstream,
        down: &mut Pump,
    ) -> Result<(), End> {
        let Self {
            pump,
            deadline,
            total,
            ..
        } = self;
        poll_fn(|cx| {
            if !pump.flushed && !pump.failed {
                match pump.poll(cx, client, upstream) {
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                    Poll::Ready(Err(Side::Source(_))) => return Poll::Ready(Err(End::ClientGone)),
                    // An upstream may answer in full and read no further.
                    Poll::Ready(Err(Side::Sink(_))) => pump.failed = true,
                }
            }
            if pump.finished && deadline.is_none() {
                *deadline = total.map(|limit| Box::pin(tokio::time::sleep(limit)));
            }
            match down.poll(cx, upstream, client) {
                Poll::Ready(Ok(())) => return Poll::Ready(Ok(())),
                Poll::Ready(Err(Side::Source(failure))) => {
                    return Poll::Ready(Err(End::Upstream(failure.into())));
                }
                Poll::Ready(Err(Side::Sink(Failure::Protocol))) => {
                    return Poll::Ready(Err(End::Upstream(Reset::Protocol)));
                }
                Poll::Ready(Err(Side::Sink(_))) => return Poll::Ready(Err(End::ClientGone)),
                Poll::Pending => {}
            }
            if poll_sleep(deadline, cx).is_ready() {
                return Poll::Ready(Err(End::Timeout));
            }
            if pump.finished {
                return client.poll_gone(cx).map(|()| Err(End::ClientGone));
            }
            Poll::Pending
        })
        .await
    }

    /// Tells outlier detection how an attempt went.
    fn judge(&self, call: &Call, error: bool, gateway: bool) {
        if self.cluster.config.outlier.is_some()
            && let Some(endpoint) = &call.outcome.endpoint
        {
            crate::outlier::judge(&self.cluster, endpoint, error, gateway);
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    ClientGone,
    Upstream(Reset),
    Timeout,
}

enum Retry {
    /// The policy does not ask for it.
    Never,
    /// It does, but the attempts are used up.
    Spent,
    Now,
}

fn kind_of(reset: &Reset, sent: u64) -> Attempt {
    match reset {
        Reset::Overflow => Attempt::Overflow,
        Reset::Connect(_) | Reset::ConnectTimeout => Attempt::ConnectFailure,
        Reset::Refused => Attempt::RefusedStream,
        Reset::Terminated | Reset::Remote | Reset::Protocol => Attempt::Reset {
            request_sent: sent > 0 || !matches!(reset, Reset::Refused),
        },
    }
}

fn grpc_status(call: &Call) -> Option<u16> {
    let status = call.heads.response.fields.get(Id::GrpcStatus)?;
    std::str::from_utf8(status).ok()?.parse().ok()
}

fn poll_sleep(sleep: &mut Option<Pin<Box<Sleep>>>, cx: &mut TaskContext<'_>) -> Poll<()> {
    match sleep {
        Some(sleep) => sleep.as_mut().poll(cx),
        None => Poll::Pending,
    }
}
