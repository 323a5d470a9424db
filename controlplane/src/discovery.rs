//! Delta aggregated discovery: one task per stream drives the [`Session`] of a proxy.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use mesh_model::identity::SpiffeId;
use mesh_translate::{ProxyKind, ProxyNode};
use mesh_xds::discovery::{
    AggregatedDiscoveryService, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse, Node, Struct, Value, value,
};
use prost::Message;
use serde_json::Value as Json;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::Authenticator;
use crate::clock::unix_ms;
use crate::index::Generation;
use crate::listen::Peer;
use crate::metrics::Metrics;
use crate::proxies::{Facts, Progress, Proxies};
use crate::publish::{Kind, Published};
use crate::session::{Received, Session};

/// Responses that may wait in a stream.
const QUEUE: usize = 4;
/// Time that a new stream has for its first request.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// Deepest nesting of node metadata that is read.
const MAX_DEPTH: usize = 16;

type Worlds = watch::Receiver<Option<Arc<Generation>>>;

/// What every stream shares. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Discovery {
    pub(crate) authenticator: Authenticator,
    pub(crate) worlds: Worlds,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) metrics: Arc<Metrics>,
    /// Snapshots made at the same time: as many as there are cores.
    pub(crate) makers: Arc<Semaphore>,
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Discovery {
    type StreamAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "only delta discovery is served: set ads_config.api_type to DELTA_GRPC",
        ))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let identity = self.authenticator.workload(&request).await?;
        let peer = request.extensions().get::<Peer>().cloned().unwrap_or_default();
        let (sender, responses) = mpsc::channel(QUEUE);
        let room = self.clone();
        let requests = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = room.serve(requests, &sender, identity, peer).await {
                tracing::debug!(code = ?status.code(), reason = status.message(), "discovery stream ended");
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(responses)))
    }
}

impl Discovery {
    async fn serve(
        &self,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        sender: &mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
        identity: SpiffeId,
        peer: Peer,
    ) -> Result<(), Status> {
        let first = tokio::time::timeout(FIRST_REQUEST, requests.message())
            .await
            .map_err(|_| Status::deadline_exceeded("no request came"))??;
        let Some(first) = first else {
            return Ok(());
        };
        let (node, facts) = node(first.node.as_ref(), identity, &peer)?;
        let stream = self.proxies.connected(&node.id, facts, unix_ms());
        self.metrics.xds.inc();
        tracing::info!(proxy = %node.id, "proxy connected");
        let mut driver = Driver {
            room: self,
            node,
            stream,
            session: Session::default(),
            latest: None,
        };
        let outcome = driver.run(first, requests, sender).await;
        self.metrics.xds.dec();
        self.proxies.disconnected(&driver.node.id, stream, unix_ms());
        tracing::info!(proxy = %driver.node.id, "proxy disconnected");
        outcome
    }

    /// Makes what a proxy should run; off the async threads, and not more at once than there are cores.
    async fn published(
        &self,
        generation: Arc<Generation>,
        node: ProxyNode,
        before: Option<Arc<Published>>,
    ) -> Result<Arc<Published>, Status> {
        let failed = |what: String| {
            self.metrics.internal_errors.inc();
            Status::internal(what)
        };
        let _permit = self.makers.acquire().await.map_err(|e| failed(e.to_string()))?;
        let number = generation.number;
        let made = tokio::task::spawn_blocking(move || {
            let (snapshot, _) = mesh_translate::snapshot(&generation.world, &node);
            Published::new(&snapshot, number, before.as_deref())
        });
        made.await.map(Arc::new).map_err(|e| failed(e.to_string()))
    }
}

struct Driver<'r> {
    room: &'r Discovery,
    node: ProxyNode,
    stream: u64,
    session: Session,
    latest: Option<Arc<Published>>,
}

impl Driver<'_> {
    async fn run(
        &mut self,
        first: DeltaDiscoveryRequest,
        mut requests: Streaming<DeltaDiscoveryRequest>,
        sender: &mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    ) -> Result<(), Status> {
        let mut worlds = self.room.worlds.clone();
        worlds.mark_changed();
        self.receive(&first)?;
        let mut next = None;
        loop {
            if next.is_none() {
                next = self.session.next(Instant::now());
                self.report();
            }
            let gate = self.session.gate().filter(|gate| *gate > Instant::now());
            tokio::select! {
                request = requests.message() => match request? {
                    Some(request) => self.receive(&request)?,
                    None => return Ok(()),
                },
                permit = sender.reserve(), if next.is_some() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some(response) = next.take() {
                        self.count(&response);
                        permit.send(Ok(response));
                    }
                }
                changed = worlds.changed() => {
                    if changed.is_err() {
                        return Err(Status::unavailable("the control plane is going down"));
                    }
                    let generation = worlds.borrow_and_update().clone();
                    if let Some(generation) = generation {
                        self.renew(generation).await?;
                    }
                }
                () = tokio::time::sleep_until(gate.unwrap_or_else(Instant::now)), if gate.is_some() => {}
            }
        }
    }

    async fn renew(&mut self, generation: Arc<Generation>) -> Result<(), Status> {
        if self
            .latest
            .as_ref()
            .is_some_and(|latest| latest.generation == generation.number)
        {
            return Ok(());
        }
        let changed_at = generation.changed_at;
        let started = Instant::now();
        let before = self.latest.clone();
        let published = self.room.published(generation, self.node.clone(), before).await?;
        let took = started.elapsed().as_secs_f64();
        self.room
            .metrics
            .push_time
            .with_label_values(&["all"])
            .observe(took);
        self.latest = Some(Arc::clone(&published));
        // A proxy that connects later is not behind since the change, but since it asked.
        let since = if self.session.gate().is_some() {
            changed_at
        } else {
            started
        };
        self.session.want(published, since);
        Ok(())
    }

    fn receive(&mut self, request: &DeltaDiscoveryRequest) -> Result<(), Status> {
        let Some(kind) = Kind::of(&request.type_url) else {
            // Types that we do not serve stay unanswered, as a proxy may ask for them in passing.
            tracing::debug!(proxy = %self.node.id, type_url = %request.type_url, "type is not served");
            return Ok(());
        };
        match self.session.receive(kind, request) {
            Received::Refused(reason) => {
                self.room.metrics.rejects.inc();
                tracing::warn!(proxy = %self.node.id, kind = kind.label(), %reason, "configuration refused");
            }
            Received::Acknowledged(since) => {
                self.room
                    .metrics
                    .convergence_time
                    .observe(since.elapsed().as_secs_f64());
            }
            Received::TooMany => {
                return Err(Status::resource_exhausted(
                    "too many resource names in one stream",
                ));
            }
            Received::Subscribed | Received::Stale => {}
        }
        Ok(())
    }

    fn report(&mut self) {
        self.session.settle();
        let acknowledged = self.session.acknowledged();
        let empty = std::collections::BTreeMap::new();
        let progress = Progress {
            state: self.session.state(),
            revision: acknowledged.map_or("", |a| a.revision.as_str()),
            generation: acknowledged.map_or(0, |a| a.generation),
            virtual_services: self.latest.as_ref().map_or(&empty, |l| &l.virtual_services),
            published: self.latest.as_ref(),
        };
        self.room
            .proxies
            .progress(&self.node.id, self.stream, &progress, unix_ms());
    }

    fn count(&self, response: &DeltaDiscoveryResponse) {
        let label = Kind::of(&response.type_url).map_or("other", Kind::label);
        #[expect(clippy::cast_precision_loss, reason = "a size")]
        let size = response.encoded_len() as f64;
        let metrics = &self.room.metrics;
        metrics.pushes.with_label_values(&[label]).inc();
        metrics.config_size.with_label_values(&[label]).observe(size);
        if let Some(since) = self.session.gate() {
            let waited = Instant::now().saturating_duration_since(since - crate::session::GATE);
            metrics.queue_time.observe(waited.as_secs_f64());
        }
    }
}

/// Reads who asks, and refuses a node that its identity may not speak for.
fn node(node: Option<&Node>, identity: SpiffeId, peer: &Peer) -> Result<(ProxyNode, Facts), Status> {
    let node = node.ok_or_else(|| Status::invalid_argument("the first request names no node"))?;
    let metadata = node.metadata.as_ref().map_or(Json::Null, |m| json_struct(m, 0));
    let parsed =
        ProxyNode::parse(&node.id, &metadata).map_err(|e| Status::invalid_argument(e.to_string()))?;
    if parsed.namespace != identity.namespace {
        return Err(Status::permission_denied(format!(
            "{identity} may not ask for the configuration of {}",
            parsed.id
        )));
    }
    let stated = metadata
        .get("SERVICE_ACCOUNT")
        .and_then(Json::as_str)
        .unwrap_or_default();
    if !stated.is_empty() && stated != identity.service_account {
        return Err(Status::permission_denied(format!(
            "{identity} may not ask as service account {stated}"
        )));
    }
    let text = |key: &str| {
        metadata
            .get(key)
            .and_then(Json::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let workload = match text("WORKLOAD_NAME") {
        name if name.is_empty() => parsed.name.clone(),
        name => name,
    };
    let facts = Facts {
        namespace: parsed.namespace.clone(),
        workload,
        kind: match parsed.kind {
            ProxyKind::Sidecar => "sidecar".into(),
            ProxyKind::Router => "router".into(),
        },
        version: version(node),
        identity: Some(identity),
        certificate_expires_ms: peer.certificate_expires_ms,
    };
    Ok((parsed, facts))
}

fn version(node: &Node) -> String {
    use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
    match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => build
            .version
            .as_ref()
            .map(|v| format!("{}.{}.{}", v.major_number, v.minor_number, v.patch))
            .unwrap_or_default(),
        None => String::new(),
    }
}

fn json_struct(fields: &Struct, depth: usize) -> Json {
    let fields = fields.fields.iter();
    Json::Object(fields.map(|(k, v)| (k.clone(), json(v, depth + 1))).collect())
}

fn json(value: &Value, depth: usize) -> Json {
    if depth > MAX_DEPTH {
        return Json::Null;
    }
    match &value.kind {
        None | Some(value::Kind::NullValue(_)) => Json::Null,
        Some(value::Kind::NumberValue(n)) => Json::from(*n),
        Some(value::Kind::StringValue(s)) => Json::from(s.as_str()),
        Some(value::Kind::BoolValue(b)) => Json::from(*b),
        Some(value::Kind::StructValue(s)) => json_struct(s, depth),
        Some(value::Kind::ListValue(l)) => l.values.iter().map(|v| json(v, depth + 1)).collect(),
    }
}
