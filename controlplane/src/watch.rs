//! Watches every kind that the mesh reads and hands changes to the index.
//!
//! A list counts only when it is complete; a kind that the server does not have counts as an empty one until it
//! appears. Objects travel as JSON, so a malformed one is the parser's problem, never the watch's.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, DynamicObject, TypeMeta};
use kube::core::ApiResource;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use mesh_crd::kinds;
use serde_json::Value;
use tokio::sync::mpsc;

use crate::revisions::{self, Seen, Witness};

/// Time before a watch that failed begins again, doubled up to the last.
const BACKOFF: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(10)];
/// How often a kind that the server does not have is asked for.
const ABSENT: Duration = Duration::from_secs(5);
/// So often must a kind that was there be absent before its objects count as gone: an API server that starts may not
/// serve all kinds at first.
const GONE: u32 = 12;

/// ConfigMap of the mesh settings, as in Istio.
const SETTINGS: &str = "istio";
const SETTINGS_KEY: &str = "mesh";

/// What is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Watched {
    pub(crate) kind: &'static str,
    pub(crate) resource: ApiResource,
    /// One of Istio's kinds, or one of Kubernetes'.
    pub(crate) configuration: bool,
}

/// What a watch tells.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Change {
    /// All objects of a kind.
    Listed(&'static str, Vec<Value>),
    /// A new or changed object.
    Applied(&'static str, Value),
    /// An object is gone.
    Deleted(&'static str, String, String),
    /// Key material of all Secrets that have some, by namespace and name.
    Secrets(BTreeMap<(String, String), mesh_translate::KeyMaterial>),
    /// Keys of token issuers.
    Keys(BTreeMap<mesh_translate::KeySource, mesh_translate::KeySet>),
    /// The text of the mesh settings, if there are any.
    Settings(Option<String>),
}

/// Every kind that is watched.
pub(crate) fn kinds() -> Vec<Watched> {
    let core = [
        ("", "Service", "services"),
        ("discovery.k8s.io", "EndpointSlice", "endpointslices"),
        ("", "Pod", "pods"),
        ("", "Namespace", "namespaces"),
    ];
    let core = core.map(|(group, kind, plural)| watched(group, "v1", kind, plural, false));
    let istio = kinds::ALL
        .iter()
        .map(|k| watched(k.group, k.storage_version, k.kind, k.plural, true));
    core.into_iter().chain(istio).collect()
}

fn watched(group: &str, version: &str, kind: &'static str, plural: &str, configuration: bool) -> Watched {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    Watched {
        kind,
        resource: ApiResource {
            group: group.into(),
            version: version.into(),
            api_version,
            kind: kind.into(),
            plural: plural.into(),
        },
        configuration,
    }
}

/// Watches one kind until nobody listens.
pub(crate) async fn run(
    client: kube::Client,
    watched: Watched,
    changes: mpsc::Sender<Change>,
    witness: Witness,
) {
    let mut pause = BACKOFF[0];
    let mut absent = GONE;
    loop {
        let api: Api<DynamicObject> = Api::all_with(client.clone(), &watched.resource);
        let stream = watcher::watcher(api, watcher::Config::default());
        match follow(stream, &watched, &changes, &witness).await {
            Ended::Deaf => return,
            Ended::Absent => {
                absent = absent.saturating_add(1);
                let empty = Change::Listed(watched.kind, Vec::new());
                if absent == GONE + 1 && changes.send(empty).await.is_err() {
                    return;
                }
                tokio::time::sleep(ABSENT).await;
            }
            Ended::Failed { listed } => {
                pause = (pause * 2).min(BACKOFF[1]);
                if listed {
                    (absent, pause) = (0, BACKOFF[0]);
                }
                // Jitter, so that all kinds do not list at once after an outage.
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
            }
        }
    }
}

/// Watches the mesh settings (ConfigMap `istio`, key `mesh`, in the control plane's namespace).
pub(crate) async fn settings(client: kube::Client, namespace: String, changes: mpsc::Sender<Change>) {
    let api: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let only = watcher::Config::default().fields(&format!("metadata.name={SETTINGS}"));
    let stream = watcher::watcher(api, only).default_backoff();
    futures::pin_mut!(stream);
    let mut found = false;
    while let Some(event) = stream.next().await {
        let text = match event {
            Ok(Event::Init) => {
                found = false;
                continue;
            }
            Ok(Event::InitApply(map) | Event::Apply(map)) => {
                found = true;
                map.data.and_then(|mut data| data.remove(SETTINGS_KEY))
            }
            Ok(Event::InitDone) if found => continue,
            Ok(Event::InitDone | Event::Delete(_)) => None,
            Err(error) => {
                tracing::debug!(%error, "watch of the mesh settings");
                continue;
            }
        };
        if changes.send(Change::Settings(text)).await.is_err() {
            return;
        }
    }
}

enum Ended {
    Deaf,
    Absent,
    Failed { listed: bool },
}

async fn follow(
    stream: impl Stream<Item = watcher::Result<Event<DynamicObject>>>,
    watched: &Watched,
    changes: &mpsc::Sender<Change>,
    witness: &Witness,
) -> Ended {
    let tell = |event: revisions::Event| {
        if watched.configuration {
            witness.tell(event);
        }
    };
    futures::pin_mut!(stream);
    let mut listing = Vec::new();
    let mut listed = false;
    while let Some(event) = stream.next().await {
        let change = match event {
            Ok(Event::Init) => {
                listing.clear();
                continue;
            }
            Ok(Event::InitApply(object)) => {
                listing.extend(json(object, watched));
                continue;
            }
            Ok(Event::InitDone) => {
                listed = true;
                let seen = std::mem::take(&mut listing);
                if watched.configuration {
                    tell(revisions::Event::Listed(watched.kind, seen.clone()));
                }
                let objects = seen.into_iter().map(|seen: Seen| seen.object);
                Some(Change::Listed(watched.kind, objects.collect()))
            }
            Ok(Event::Apply(object)) => json(object, watched).map(|seen| {
                tell(revisions::Event::Applied(seen.clone()));
                Change::Applied(watched.kind, seen.object)
            }),
            Ok(Event::Delete(object)) => {
                let (namespace, name) = (object.metadata.namespace.clone(), object.metadata.name.clone());
                if let Some(seen) = json(object, watched) {
                    tell(revisions::Event::Deleted(seen));
                }
                Some(Change::Deleted(
                    watched.kind,
                    namespace.unwrap_or_default(),
                    name.unwrap_or_default(),
                ))
            }
            Err(error) if is_absent(&error) => return Ended::Absent,
            Err(error) => {
                tracing::warn!(kind = watched.kind, %error, "watch ended, it begins again");
                return Ended::Failed { listed };
            }
        };
        let Some(change) = change else {
            continue;
        };
        if changes.send(change).await.is_err() {
            return Ended::Deaf;
        }
    }
    Ended::Failed { listed }
}

fn is_absent(error: &watcher::Error) -> bool {
    matches!(
        error,
        watcher::Error::InitialListFailed(kube::Error::Api(status)) if status.code == 404
    )
}

/// List items do not repeat their kind; of who wrote which field, only the last writer matters.
fn json(mut object: DynamicObject, watched: &Watched) -> Option<Seen> {
    object.types = Some(TypeMeta {
        api_version: watched.resource.api_version.clone(),
        kind: watched.resource.kind.clone(),
    });
    let entries = object.metadata.managed_fields.take().unwrap_or_default();
    // What is written to status is no edit.
    let writers = entries.into_iter().filter(|entry| entry.subresource.is_none());
    let last = writers.max_by(|a, b| a.time.cmp(&b.time));
    Some(Seen {
        object: serde_json::to_value(object).ok()?,
        manager: last.and_then(|entry| entry.manager).unwrap_or_default(),
    })
}
