//! Shadow requests: sent beside the real one, their answers thrown away.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use mesh_model::route::Forward;
use smallvec::SmallVec;

use crate::call::Call;
use crate::codec::head::{Framing, Request, Response};
use crate::codec::write::Extras;
use crate::compile::ClusterEntry;
use crate::route::Found;
use crate::upstream::Upstream;
use crate::wire::pump::Pump;
use crate::wire::{Failure, Next, Sink, Source};
use crate::worker::Worker;
use crate::{dial, pick};

/// A shadow request must be over within this time when the route has no timeout.
const LIMIT: Duration = Duration::from_secs(60);

/// Clusters that get a copy of this request.
pub(crate) type Mirrors = SmallVec<[(Arc<ClusterEntry>, HostOfCopy); 1]>;

/// Which host a copy names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostOfCopy {
    /// The request's own.
    Same,
    /// With `-shadow` behind the name, so that the upstream knows.
    Shadow,
}

/// Draws which mirrors take part.
pub(crate) fn chosen(call: &Call, found: &Found, forward: &Forward) -> Mirrors {
    forward
        .mirrors
        .iter()
        .zip(&found.entry.mirrors)
        .filter(|(mirror, _)| call.context.worker.random() % 1_000_000 < u64::from(mirror.per_million))
        .filter_map(|(mirror, cluster)| {
            let host = if mirror.keeps_host {
                HostOfCopy::Same
            } else {
                HostOfCopy::Shadow
            };
            Some((cluster.clone()?, host))
        })
        .collect()
}

/// Sends the copies. A body that was too long to keep is not mirrored.
pub(crate) fn send(call: &Call, found: &Found, mirrors: &Mirrors, pump: &Pump) {
    if mirrors.is_empty() {
        return;
    }
    let Some(body) = pump.kept() else { return };
    let attempt = found.attempt_count.then_some(1);
    for (cluster, host) in mirrors {
        let mut request = Request::clone(&call.heads.request);
        if *host == HostOfCopy::Shadow {
            let (host, port) = mesh_model::route::split_port(request.authority_bytes());
            let mut authority = host.to_vec();
            authority.extend_from_slice(b"-shadow");
            if let Some(port) = port {
                authority.extend_from_slice(format!(":{port}").as_bytes());
            }
            request.set_authority(&authority);
        }
        request.framing = match body.len() {
            0 => Framing::None,
            length => Framing::Length(length as u64),
        };
        let (worker, cluster, body) = (
            Rc::clone(&call.context.worker),
            Arc::clone(cluster),
            body.to_vec(),
        );
        tokio::task::spawn_local(async move {
            let shadow = tokio::time::timeout(LIMIT, shadow(&worker, &cluster, request, body, attempt));
            if !matches!(shadow.await, Ok(Ok(()))) {
                tracing::debug!(cluster = %cluster.config.name, "shadow request failed");
            }
        });
    }
}

async fn shadow(
    worker: &Worker,
    cluster: &Arc<ClusterEntry>,
    request: Request,
    body: Vec<u8>,
    attempt: Option<u32>,
) -> Result<(), Failure> {
    let endpoint = pick::pick(worker, cluster, None, &[], 0).ok_or(Failure::Closed)?;
    let protocol = dial::protocol(cluster, request.version);
    let ready = worker
        .pools
        .ready(cluster, &endpoint, protocol)
        .await
        .map_err(|_| Failure::Closed)?;
    let extras = Extras {
        attempt_count: attempt,
        metadata: (ready.facts().mutual_tls && !worker.metadata.is_empty())
            .then(|| (worker.metadata.as_slice(), worker.node.id.as_bytes())),
    };
    let mut upstream = Upstream::begin(ready, &request, &extras, false)?;
    let mut rest = body.as_slice();
    poll_fn(|cx| {
        while !rest.is_empty() {
            let n = std::task::ready!(upstream.poll_push(cx, rest))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        std::task::Poll::Ready(Ok::<(), Failure>(()))
    })
    .await?;
    upstream.finish(None)?;
    poll_fn(|cx| upstream.poll_flush(cx)).await?;
    let mut response = Response::default();
    poll_fn(|cx| upstream.poll_head(cx, request.kind, &mut response)).await?;
    while poll_fn(|cx| upstream.poll_next(cx)).await? == Next::Data {
        let n = upstream.data().len();
        upstream.consume(n);
    }
    upstream.give_back(&worker.pools, cluster, &endpoint);
    Ok(())
}
