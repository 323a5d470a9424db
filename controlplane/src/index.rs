//! The one owner of the world: takes changes, waits for a burst to end, publishes generations.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::{ObjectKey, kinds};
use mesh_translate::World;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::metrics::Metrics;
use crate::watch::{Change, Watched};

/// A burst has ended when nothing came for so long. An edit is live within half a second, most of which belongs
/// to the proxies.
const QUIET: Duration = Duration::from_millis(20);
/// A burst is published at the latest after so long.
const CAP: Duration = Duration::from_secs(1);
/// Resource versions remembered per object, for questions about one that was just saved.
const VERSIONS: usize = 8;
/// A version that is refused is never live.
const NEVER: u64 = u64::MAX;
/// Changes taken at once.
const BATCH: usize = 256;

/// The world at one moment. The number grows whenever configuration may have changed.
#[derive(Debug, Clone)]
pub(crate) struct Generation {
    pub(crate) number: u64,
    pub(crate) world: World,
    /// When its first change came.
    pub(crate) changed_at: Instant,
    pub(crate) objects: Arc<BTreeMap<ObjectKey, Facts>>,
}

/// What is known of an Istio object besides what it says, refused ones included.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Facts {
    pub(crate) api_version: String,
    pub(crate) resource_version: String,
    pub(crate) generation: i64,
    pub(crate) created: String,
    pub(crate) status: Value,
    /// Resource versions seen, newest last, with the generation that includes each.
    pub(crate) versions: VecDeque<(String, u64)>,
}

impl Facts {
    /// The generation that includes a version; `None` if it has not been seen.
    pub(crate) fn included_in(&self, resource_version: &str) -> Option<u64> {
        let found = self
            .versions
            .iter()
            .rev()
            .find(|(version, _)| version == resource_version);
        found.map(|(_, number)| *number)
    }
}

impl Generation {
    pub(crate) fn namespaces(&self) -> BTreeSet<String> {
        let all = self.world.objects().filter(|(key, _)| key.kind == "Namespace");
        all.map(|(key, _)| key.name.clone()).collect()
    }
}

/// The state; pure.
#[derive(Debug)]
pub(crate) struct Index {
    world: World,
    objects: BTreeMap<ObjectKey, Facts>,
    unlisted: BTreeSet<&'static str>,
    number: u64,
    /// Configuration changed since the last generation.
    changed: bool,
    /// Something else changed.
    touched: bool,
}

impl Index {
    pub(crate) fn new(kinds: &[Watched], mesh: MeshConfig) -> Self {
        let mut world = World::default();
        world.set_mesh(mesh);
        Self {
            world,
            objects: BTreeMap::new(),
            unlisted: kinds.iter().map(|w| w.kind).collect(),
            number: 0,
            changed: true,
            touched: false,
        }
    }

    /// Takes a change.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Listed(kind, objects) => {
                let before = self.keys(kind);
                let listed: BTreeSet<ObjectKey> =
                    objects.iter().filter_map(|object| self.put(object)).collect();
                for gone in before.difference(&listed) {
                    self.remove(gone);
                }
                self.unlisted.remove(kind);
                self.touched = true;
            }
            Change::Applied(_, object) => {
                self.put(&object);
            }
            Change::Deleted(kind, namespace, name) => self.remove(&ObjectKey::new(kind, &namespace, &name)),
            Change::Secrets(secrets) => self.changed |= self.world.set_secrets(secrets),
            Change::Keys(keys) => self.changed |= self.world.set_keys(keys),
            Change::Settings(text) => self.settle(text.as_deref().unwrap_or_default()),
        }
    }

    /// Takes mesh settings; unreadable ones leave those in force. Trust domain and root namespace are the control
    /// plane's own.
    fn settle(&mut self, text: &str) {
        let own = self.world.mesh();
        let read = if text.is_empty() {
            Ok(MeshConfig::default())
        } else {
            MeshConfig::parse(text)
        };
        match read {
            Ok(read) => {
                let mesh = MeshConfig {
                    trust_domain: own.trust_domain.clone(),
                    root_namespace: own.root_namespace.clone(),
                    ..read
                };
                if mesh != *own {
                    self.world.set_mesh(mesh);
                    self.changed = true;
                }
            }
            Err(problem) => tracing::error!(%problem, "the mesh settings in ConfigMap istio cannot be read"),
        }
    }

    /// Whether there is something to publish: never before every kind was listed.
    pub(crate) fn is_due(&self) -> bool {
        self.unlisted.is_empty() && (self.changed || self.touched)
    }

    /// The next generation.
    pub(crate) fn publish(&mut self, changed_at: Instant) -> Generation {
        if self.changed {
            self.number += 1;
        }
        self.changed = false;
        self.touched = false;
        Generation {
            number: self.number,
            world: self.world.clone(),
            changed_at,
            objects: Arc::new(self.objects.clone()),
        }
    }

    fn keys(&self, kind: &str) -> BTreeSet<ObjectKey> {
        let known = self.world.objects().map(|(key, _)| key);
        let all = known
            .chain(self.objects.keys())
            .chain(self.world.parse_problems().keys());
        all.filter(|key| key.kind == kind).cloned().collect()
    }

    fn put(&mut self, object: &Value) -> Option<ObjectKey> {
        let parsed = mesh_crd::parse_value(object);
        let Some(key) = parsed.key.clone() else {
            tracing::warn!(problems = ?parsed.problems, "an object without kind or name is ignored");
            return None;
        };
        let refused = parsed.object.is_none();
        if refused {
            tracing::debug!(%key, problems = ?parsed.problems, "refused");
        }
        let changed = self.world.apply(parsed);
        self.changed |= changed;
        if kinds::Kind::by_kind(&key.kind).is_some() {
            let next = self.number + u64::from(self.changed);
            let facts = self.objects.entry(key.clone()).or_default();
            if facts.update(object, refused, changed, next) {
                self.touched = true;
            }
        } else if refused {
            self.touched = true;
        }
        Some(key)
    }

    fn remove(&mut self, key: &ObjectKey) {
        self.changed |= self.world.remove(key);
        self.touched |= self.objects.remove(key).is_some();
    }
}

impl Facts {
    /// Takes the object's present state; answers whether it is new.
    fn update(&mut self, object: &Value, refused: bool, changed: bool, next: u64) -> bool {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let version = text("/metadata/resourceVersion");
        if self.resource_version == version && !self.versions.is_empty() {
            return false;
        }
        let included = match self.versions.back() {
            _ if refused => NEVER,
            // Only status or metadata changed: live wherever the version before is.
            Some((_, number)) if !changed && *number != NEVER => *number,
            _ => next,
        };
        self.versions.push_back((version.to_owned(), included));
        if self.versions.len() > VERSIONS {
            self.versions.pop_front();
        }
        text("/apiVersion").clone_into(&mut self.api_version);
        version.clone_into(&mut self.resource_version);
        text("/metadata/creationTimestamp").clone_into(&mut self.created);
        self.generation = object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        self.status = object.get("status").cloned().unwrap_or_default();
        true
    }
}

/// Runs the index until the watches end.
pub(crate) async fn run(
    mut index: Index,
    mut changes: mpsc::Receiver<Change>,
    worlds: watch::Sender<Option<Arc<Generation>>>,
    metrics: Arc<Metrics>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    // First and last change of the present burst.
    let mut burst: Option<(Instant, Instant)> = None;
    loop {
        let deadline = burst.map(|(first, last)| (last + QUIET).min(first + CAP));
        tokio::select! {
            taken = changes.recv_many(&mut batch, BATCH) => {
                if taken == 0 {
                    return;
                }
                for change in batch.drain(..) {
                    metrics.event(&change);
                    index.apply(change);
                }
                if index.is_due() {
                    let now = Instant::now();
                    burst = Some((burst.map_or(now, |(first, _)| first), now));
                }
            }
            () = sleep_until(deadline), if deadline.is_some() => {
                let (first, _) = burst.take().unwrap_or_else(|| (Instant::now(), Instant::now()));
                metrics.debounce_time.observe(first.elapsed().as_secs_f64());
                let generation = index.publish(first);
                metrics.generation(&generation);
                worlds.send_replace(Some(Arc::new(generation)));
            }
        }
    }
}

async fn sleep_until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
