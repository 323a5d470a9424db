//! The delta aggregated discovery client: subscribes as Istio's proxies do, answers every response, applies only whole
//! configurations, and comes back with what it has after a break.

pub mod state;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_model::snapshot::Snapshot;
use mesh_xds::discovery::{
    AggregatedDiscoveryServiceClient, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Status,
};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{Ascii, AsciiMetadataKey, MetadataValue};

use crate::connect::{Backoff, Service};
use crate::runtime::{Refused, Runtime};
use crate::saved;
use state::{Kind, State};

/// How long a configuration may wait for details that the control plane never sends.
const PATIENCE: Duration = Duration::from_secs(15);
/// Requests that may wait in the stream; each response makes at most three.
const QUEUE: usize = 32;
/// Longest text of a NACK.
const LONGEST_REASON: usize = 4096;
/// Largest response.
const LARGEST_RESPONSE: usize = 256 << 20;

/// What takes configurations: the data plane, or a recorder in tests.
pub trait Target: Send + Sync + 'static {
    /// Takes a whole configuration or refuses it.
    fn apply(&self, snapshot: Arc<Snapshot>) -> Result<(), Vec<Refused>>;
}

impl Target for Runtime {
    fn apply(&self, snapshot: Arc<Snapshot>) -> Result<(), Vec<Refused>> {
        Self::apply(self, snapshot)
    }
}

/// What admin pages, readiness and metrics show of discovery.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Whether the stream is open and was answered.
    pub connected: bool,
    /// When the control plane last sent something or ended, as far as known.
    pub confirmed_at: Option<SystemTime>,
    /// When the configuration in force was applied.
    pub applied_at: Option<SystemTime>,
    /// Whether it came from the state folder and was not confirmed since.
    pub from_disk: bool,
    /// What is in force.
    pub state: Arc<State>,
    /// Last refusal by type, until a response of the type is accepted.
    pub refused: BTreeMap<Kind, String>,
    /// Responses accepted and refused since the start, by type.
    pub counts: BTreeMap<Kind, (u64, u64)>,
}

/// Shared between the client and those who show.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<Mutex<View>>);

impl Shown {
    /// What is shown now.
    #[must_use]
    pub fn get(&self) -> View {
        self.0.lock().clone()
    }

    fn edit(&self, edit: impl FnOnce(&mut View)) {
        edit(&mut self.0.lock());
    }

    /// Seconds since the control plane last confirmed the configuration in force; 0 while connected, `None` without
    /// any configuration.
    #[must_use]
    pub fn age(&self, now: SystemTime) -> Option<Duration> {
        let view = self.0.lock();
        view.applied_at?;
        if view.connected {
            return Some(Duration::ZERO);
        }
        Some(now.duration_since(view.confirmed_at?).unwrap_or_default())
    }
}

/// The client.
pub struct Client<T> {
    /// Where to connect.
    pub service: Service,
    /// Who we are.
    pub node: Node,
    /// Metadata for the stream.
    pub metadata: Vec<(String, String)>,
    /// Who takes configurations.
    pub target: Arc<T>,
    /// The bootstrap's own resources, part of every configuration.
    pub base: Snapshot,
    /// Where the last good configuration is kept.
    pub state_dir: Option<PathBuf>,
    /// What others may see.
    pub shown: Shown,
    state: State,
    /// Since when a configuration waits for details.
    waiting_since: Option<Instant>,
}

impl<T: Target> Client<T> {
    /// Makes one; nothing is connected yet.
    pub fn new(
        service: Service,
        node: Node,
        target: Arc<T>,
        base: Snapshot,
        state_dir: Option<PathBuf>,
    ) -> Self {
        Self {
            service,
            node,
            metadata: Vec::new(),
            target,
            base,
            state_dir,
            shown: Shown::default(),
            state: State::default(),
            waiting_since: None,
        }
    }

    /// Applies the last good configuration of an earlier run, if there is one for this node.
    pub async fn restore(&mut self) {
        let Some(folder) = self.state_dir.clone() else {
            return;
        };
        let saved = match saved::load(&folder, &self.node.id) {
            Ok(Some(saved)) => saved,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!(%error, "the saved configuration is not used");
                return;
            }
        };
        let age = SystemTime::now().duration_since(saved.at).unwrap_or_default();
        match self.apply(&saved.state).await {
            Ok(()) => {
                tracing::info!(
                    revision = saved.state.revision,
                    age_s = age.as_secs(),
                    "serving the saved configuration until the control plane confirms it"
                );
                self.state = saved.state;
                let (state, at) = (Arc::new(self.state.clone()), saved.at);
                self.shown.edit(|view| {
                    view.state = state;
                    view.applied_at = Some(SystemTime::now());
                    view.confirmed_at = Some(at);
                    view.from_disk = true;
                });
            }
            Err(refused) => {
                tracing::warn!(reason = describe(&refused), "the saved configuration was refused")
            }
        }
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut last = String::new();
        loop {
            let outcome = self.session(&mut backoff).await;
            let text = match outcome {
                Ok(()) => "the control plane closed the stream".to_owned(),
                Err(error) => error,
            };
            self.shown.edit(|view| {
                if view.connected {
                    view.connected = false;
                    view.confirmed_at = Some(SystemTime::now());
                }
            });
            // The same reason again and again is said once.
            if text == last {
                tracing::debug!(reason = text, "discovery: trying again");
            } else {
                tracing::warn!(reason = text, "discovery: trying again");
                last = text;
            }
            tokio::time::sleep(backoff.next(rand::random())).await;
        }
    }

    async fn session(&mut self, backoff: &mut Backoff) -> Result<(), String> {
        let channel = self.service.connect().await.map_err(|e| e.to_string())?;
        let mut client =
            AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(LARGEST_RESPONSE);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let mut request = tonic::Request::new(ReceiverStream::new(receiver));
        self.authenticate(&mut request)?;
        let mut stream = Stream {
            sender,
            subscribed: HashMap::new(),
            node: Some(self.node.clone()),
        };
        for kind in Kind::ALL {
            stream.open(kind, &self.state).await?;
        }
        let describe = |status: tonic::Status| format!("{:?}: {}", status.code(), status.message());
        let mut responses = client
            .delta_aggregated_resources(request)
            .await
            .map_err(describe)?
            .into_inner();
        loop {
            let deadline = self.waiting_since.map(|since| since + PATIENCE);
            tokio::select! {
                response = responses.next() => match response {
                    None => return Ok(()),
                    Some(response) => {
                        let response = response.map_err(describe)?;
                        self.respond(&mut stream, &response).await?;
                        backoff.reset();
                    }
                },
                () = wait_until(deadline) => self.give_up_waiting().await,
            }
        }
    }

    fn authenticate<M>(&self, request: &mut tonic::Request<M>) -> Result<(), String> {
        if let Some(bearer) = self.service.authorization().map_err(|e| e.to_string())? {
            request.metadata_mut().insert("authorization", bearer);
        }
        for (key, value) in &self.metadata {
            let key = AsciiMetadataKey::from_bytes(key.as_bytes());
            let value = MetadataValue::<Ascii>::try_from(value.as_str());
            if let (Ok(key), Ok(value)) = (key, value) {
                request.metadata_mut().insert(key, value);
            }
        }
        Ok(())
    }

    async fn respond(
        &mut self,
        stream: &mut Stream,
        response: &DeltaDiscoveryResponse,
    ) -> Result<(), String> {
        let Some(kind) = Kind::of(&response.type_url) else {
            tracing::warn!(
                type_url = response.type_url,
                "response of a type that nobody asked for"
            );
            return stream
                .answer(response, Some("this type was not subscribed".to_owned()))
                .await;
        };
        let verdict = self.accept(kind, response).await;
        let now = SystemTime::now();
        self.shown.edit(|view| {
            view.connected = true;
            view.confirmed_at = Some(now);
            let count = view.counts.entry(kind).or_default();
            match &verdict {
                Ok(()) => {
                    count.0 += 1;
                    view.refused.remove(&kind);
                }
                Err(reason) => {
                    count.1 += 1;
                    view.refused.insert(kind, reason.clone());
                }
            }
        });
        if let Err(reason) = &verdict {
            tracing::warn!(?kind, reason, "configuration refused");
        }
        stream.answer(response, verdict.err()).await?;
        stream.follow(&mut self.state).await
    }

    /// Takes a response into the state, and the state into force when it is whole.
    async fn accept(&mut self, kind: Kind, response: &DeltaDiscoveryResponse) -> Result<(), String> {
        let mut next = self.state.clone();
        next.receive(kind, response).map_err(|bad| {
            let lines: Vec<String> = bad.iter().map(ToString::to_string).collect();
            lines.join("\n")
        })?;
        let missing = next.missing();
        if missing.is_empty() {
            self.apply(&next).await.map_err(|refused| describe(&refused))?;
            self.state = next;
            self.in_force();
        } else {
            tracing::debug!(?kind, waits_for = missing.len(), "configuration is not whole yet");
            self.waiting_since.get_or_insert_with(Instant::now);
            self.state = next;
        }
        Ok(())
    }

    fn in_force(&mut self) {
        self.waiting_since = None;
        let state = Arc::new(self.state.clone());
        let now = SystemTime::now();
        self.shown.edit(|view| {
            view.state = Arc::clone(&state);
            view.applied_at = Some(now);
            view.from_disk = false;
        });
        if let Some(folder) = self.state_dir.clone() {
            let node = self.node.id.clone();
            tokio::task::spawn_blocking(move || {
                if let Err(error) = saved::store(&folder, &node, &state, now) {
                    tracing::warn!(%error, "the configuration could not be saved");
                }
            });
        }
    }

    /// Details that never came are taken as empty, so that the rest can serve.
    async fn give_up_waiting(&mut self) {
        self.waiting_since = None;
        if !self.state.has_outline() {
            return;
        }
        let missing = self.state.missing();
        tracing::warn!(
            ?missing,
            "the control plane did not send these in time; they count as empty"
        );
        let state = self.state.clone();
        match self.apply(&state).await {
            Ok(()) => self.in_force(),
            Err(refused) => tracing::warn!(reason = describe(&refused), "configuration refused"),
        }
    }

    /// Compiling may take long: not on the thread that answers.
    async fn apply(&self, state: &State) -> Result<(), Vec<Refused>> {
        let snapshot = Arc::new(state.snapshot(&self.base));
        let target = Arc::clone(&self.target);
        let outcome = tokio::task::spawn_blocking(move || target.apply(snapshot)).await;
        outcome.unwrap_or_else(|error| {
            Err(vec![Refused {
                resource: "snapshot".to_owned(),
                reason: format!("the proxy failed on it: {error}"),
            }])
        })
    }
}

fn describe(refused: &[Refused]) -> String {
    let lines: Vec<String> = refused
        .iter()
        .map(|r| format!("{}: {}", r.resource, r.reason))
        .collect();
    lines.join("\n")
}

async fn wait_until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// One open stream: what was asked for on it.
struct Stream {
    sender: mpsc::Sender<DeltaDiscoveryRequest>,
    subscribed: HashMap<Kind, BTreeSet<String>>,
    /// Sent with the first request only.
    node: Option<Node>,
}

impl Stream {
    async fn send(&mut self, mut request: DeltaDiscoveryRequest) -> Result<(), String> {
        request.node = self.node.take();
        self.sender
            .send(request)
            .await
            .map_err(|_| "the stream is closed".to_owned())
    }

    /// The first request of a type: what is wanted and what is there already.
    async fn open(&mut self, kind: Kind, state: &State) -> Result<(), String> {
        let wanted = state.referred(kind);
        if !kind.is_wildcard() && wanted.is_empty() {
            return Ok(());
        }
        self.subscribed.insert(kind, wanted.clone());
        self.send(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: wanted.into_iter().collect(),
            initial_resource_versions: state.versions(kind).into_iter().collect(),
            ..DeltaDiscoveryRequest::default()
        })
        .await
    }

    async fn answer(
        &mut self,
        response: &DeltaDiscoveryResponse,
        refusal: Option<String>,
    ) -> Result<(), String> {
        let error_detail = refusal.map(|text| Status {
            // INVALID_ARGUMENT, as Envoy says.
            code: 3,
            message: text.chars().take(LONGEST_REASON).collect(),
            ..Status::default()
        });
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail,
            ..DeltaDiscoveryRequest::default()
        })
        .await
    }

    /// Subscribes to what is newly referred to, and from what nothing refers to any more.
    async fn follow(&mut self, state: &mut State) -> Result<(), String> {
        for kind in [Kind::Endpoints, Kind::Route, Kind::Secret] {
            let wanted = state.referred(kind);
            let Some(had) = self.subscribed.get(&kind) else {
                self.open(kind, state).await?;
                continue;
            };
            let subscribe: Vec<String> = wanted.difference(had).cloned().collect();
            let unsubscribe: Vec<String> = had.difference(&wanted).cloned().collect();
            if subscribe.is_empty() && unsubscribe.is_empty() {
                continue;
            }
            state.forget_unwanted(kind, &wanted);
            self.subscribed.insert(kind, wanted);
            self.send(DeltaDiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_subscribe: subscribe,
                resource_names_unsubscribe: unsubscribe,
                ..DeltaDiscoveryRequest::default()
            })
            .await?;
        }
        Ok(())
    }
}
