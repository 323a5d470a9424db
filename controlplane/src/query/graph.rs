//! `/api/graph`, `/api/graph/stream`, `/api/series`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Query as Params, State};
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Json, Response};
use futures::Stream;
use mesh_api::graph::{Graph, GraphType, Node, Point, Series};
use mesh_crd::Object;
use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::histogram::ExponentialHistogram;
use mesh_store::Resolution;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::Instant;

use super::time::{Interval, interval};
use super::{Failure, Query};
use crate::clock::{rfc3339, unix_ms};
use crate::fold::{self, Name, View};
use crate::inventory::Inventory;
use crate::live::KEPT;

/// A graph is sent at most this often.
const PACE: Duration = Duration::from_millis(150);
/// And at least this often.
const BEAT: Duration = Duration::from_secs(5);
/// Proxies that flushed within this time say until when counts are known.
const FRESH_MS: u64 = 10_000;
pub(super) const TIME_REMEDY: &str = "write times as RFC 3339, now or now-5m";

#[derive(Debug, Deserialize)]
pub(super) struct GraphParams {
    #[serde(default, rename = "type")]
    kind: GraphType,
    from: Option<String>,
    to: Option<String>,
    #[serde(default)]
    namespaces: String,
    window: Option<u64>,
    /// Shows what has no traffic too.
    #[serde(default)]
    idle: bool,
}

impl GraphParams {
    fn namespaces(&self) -> BTreeSet<String> {
        let names = self
            .namespaces
            .split(',')
            .map(str::trim)
            .filter(|name| !name.is_empty());
        names.map(str::to_owned).collect()
    }
}

pub(super) async fn graph(
    State(query): State<Query>,
    params: Result<Params<GraphParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Graph>, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let now_ms = unix_ms();
    let interval = interval(params.from.as_deref(), params.to.as_deref(), now_ms)
        .map_err(|e| Failure::bad(e, TIME_REMEDY))?;
    query
        .graph(params.kind, params.namespaces(), params.idle, interval, now_ms)
        .await
        .map(Json)
}

pub(super) async fn stream(
    State(query): State<Query>,
    params: Result<Params<GraphParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let window = params.window.unwrap_or(60);
    if !(10..=KEPT).contains(&window) {
        return Err(Failure::bad(
            format!("window {window} is not within 10 to {KEPT} seconds"),
            "ask /api/graph for longer intervals",
        ));
    }
    let Ok(permit) = Arc::clone(&query.streams).try_acquire_owned() else {
        return Err(Failure::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too many event streams are open",
        ));
    };
    let source = Source {
        changes: query.live.changes(),
        worlds: query.worlds.clone(),
        namespaces: params.namespaces(),
        kind: params.kind,
        idle: params.idle,
        query,
        window,
        sent: None,
        _permit: permit,
    };
    Ok(Sse::new(events(source))
        .keep_alive(KeepAlive::default())
        .into_response())
}

struct Source {
    query: Query,
    changes: watch::Receiver<u64>,
    worlds: watch::Receiver<Option<Arc<crate::index::Generation>>>,
    kind: GraphType,
    namespaces: BTreeSet<String>,
    idle: bool,
    window: u64,
    sent: Option<Instant>,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

fn events(source: Source) -> impl Stream<Item = Result<Event, Infallible>> {
    futures::stream::unfold(source, async |mut source| {
        let graph = source.next().await?;
        let event = match Event::default().event("graph").json_data(&graph) {
            Ok(event) => event,
            Err(error) => Event::default().event("error").data(error.to_string()),
        };
        Some((Ok(event), source))
    })
}

impl Source {
    /// The next graph: at once the first time, then after a change, but not too often.
    async fn next(&mut self) -> Option<Graph> {
        if let Some(sent) = self.sent {
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = tokio::time::sleep_until(sent + BEAT) => {}
            }
            tokio::time::sleep_until(sent + PACE).await;
        }
        self.changes.mark_unchanged();
        self.worlds.mark_unchanged();
        self.sent = Some(Instant::now());
        let now_ms = unix_ms();
        let now = now_ms / 1000;
        let interval = Interval {
            from: Resolution::TenSeconds.floor(now.saturating_sub(self.window)),
            to: Resolution::TenSeconds.ceil(now + 1),
            complete: false,
        };
        let graph = self
            .query
            .graph(self.kind, self.namespaces.clone(), self.idle, interval, now_ms)
            .await;
        graph.ok()
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct SeriesParams {
    #[serde(default, rename = "type")]
    kind: GraphType,
    source: String,
    target: String,
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn series(
    State(query): State<Query>,
    params: Result<Params<SeriesParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Series>, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let interval = interval(params.from.as_deref(), params.to.as_deref(), unix_ms())
        .map_err(|e| Failure::bad(e, TIME_REMEDY))?;
    let view = query.view(params.kind, BTreeSet::new());
    let step = match interval.to - interval.from {
        0..=7200 => Resolution::TenSeconds,
        7201..=172_800 => Resolution::Minute,
        _ => Resolution::Hour,
    };
    let mut points = Points::new(interval, step);
    let mut visit = |window: u64, key: &SeriesKey, delta: &SeriesDelta| {
        let wanted =
            fold::counts(key) && view.source(key).id == params.source && view.target(key).id == params.target;
        if wanted {
            points.add(window, key, delta);
        }
    };
    query.visit(interval.from, interval.to, step, &mut visit).await?;
    Ok(Json(points.finish()))
}

struct Points {
    step: Resolution,
    points: BTreeMap<u64, (u64, u64, ExponentialHistogram)>,
}

impl Points {
    fn new(interval: Interval, step: Resolution) -> Self {
        let mut points = BTreeMap::new();
        let mut at = step.floor(interval.from);
        while at < interval.to {
            points.insert(at, (0, 0, ExponentialHistogram::default()));
            at += step.seconds();
        }
        Self { step, points }
    }

    fn add(&mut self, window: u64, key: &SeriesKey, delta: &SeriesDelta) {
        // A coarser window than the step begins before the first point.
        let first = self.points.keys().next().copied().unwrap_or_default();
        let at = self.step.floor(window).max(first);
        if let Some((requests, errors, duration)) = self.points.get_mut(&at) {
            *requests += delta.requests;
            if key.is_error() {
                *errors += delta.requests;
            }
            duration.merge(&delta.duration);
        }
    }

    fn finish(self) -> Series {
        let points = self.points.into_iter();
        Series {
            step_seconds: self.step.seconds(),
            points: points
                .map(|(at, (requests, errors, duration))| Point {
                    at,
                    requests,
                    errors,
                    p95_ms: duration.quantile(0.95),
                })
                .collect(),
        }
    }
}

impl Query {
    async fn graph(
        &self,
        kind: GraphType,
        namespaces: BTreeSet<String>,
        idle: bool,
        interval: Interval,
        now_ms: u64,
    ) -> Result<Graph, Failure> {
        let (from, sums) = self.sums(interval.from, interval.to).await?;
        let mut view = self.view(kind, namespaces);
        view.gaps = self.gaps(from, interval.to).await;
        let series = sums.iter().map(|(key, delta)| (key.as_ref(), delta));
        let (mut nodes, edges) = fold::graph(series, &view);
        let generation = self.worlds.borrow().clone();
        if let Some(generation) = generation.filter(|_| idle) {
            let inventory = Inventory::of(&generation.world, &self.proxies.by_pod());
            let mut all: BTreeMap<String, Node> = nodes.into_iter().map(|n| (n.id.clone(), n)).collect();
            for node in view.present(&inventory) {
                all.entry(node.id.clone()).or_insert(node);
            }
            nodes = all.into_values().collect();
        }
        let flushes = self.proxies.flushes();
        let fresh = flushes.values().filter(|ms| **ms + FRESH_MS > now_ms).min();
        let to_ms = interval.to.saturating_mul(1000).min(now_ms.max(from * 1000));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of an interval")]
        let seconds = (to_ms - from * 1000) as f64 / 1000.0;
        Ok(Graph {
            nodes,
            edges,
            from: rfc3339(from * 1000),
            to: rfc3339(to_ms),
            as_of: rfc3339(fresh.copied().unwrap_or(now_ms).min(now_ms)),
            proxies_as_of: flushes
                .iter()
                .map(|(id, ms)| (id.clone(), rfc3339(*ms)))
                .collect(),
            // While the history cannot be used, only what memory has is there.
            complete: interval.complete && from <= interval.from,
            seconds,
        })
    }

    pub(super) fn view(&self, kind: GraphType, namespaces: BTreeSet<String>) -> View {
        let services = match (kind, self.worlds.borrow().as_ref()) {
            (GraphType::Service, Some(generation)) => generation.services_by_workload(),
            _ => BTreeMap::new(),
        };
        View {
            kind,
            namespaces,
            gateways: self.proxies.gateways(),
            gaps: BTreeSet::new(),
            services,
        }
    }

    /// Workloads with a gap in the interval. Without the history none is known.
    async fn gaps(&self, from: u64, to: u64) -> BTreeSet<Name> {
        let gaps = self.history.gaps(from, to).await.unwrap_or_default();
        let worlds = self.worlds.borrow().clone();
        gaps.iter()
            .filter_map(|gap| {
                self.proxies
                    .workload(&gap.proxy)
                    .or_else(|| worlds.as_ref()?.workload_of_proxy(&gap.proxy))
            })
            .collect()
    }
}

impl crate::index::Generation {
    /// The service in front of every workload that has pods.
    fn services_by_workload(&self) -> BTreeMap<Name, String> {
        let pods = self
            .world
            .objects()
            .filter_map(|(key, object)| match object.as_ref() {
                Object::Pod(pod) => Some((key, pod)),
                _ => None,
            });
        pods.filter_map(|(key, pod)| {
            let service = self.service_of_labels(&key.namespace, &pod.meta.labels)?;
            let workload = workload(&key.name, &pod.meta.labels);
            Some(((key.namespace.clone(), workload), service.host))
        })
        .collect()
    }

    /// Namespace and workload of a node id.
    fn workload_of_proxy(&self, id: &str) -> Option<Name> {
        let (pod, namespace) = id.split('~').nth(2)?.rsplit_once('.')?;
        let key = mesh_crd::ObjectKey::new("Pod", namespace, pod);
        let name = match self.world.get(&key) {
            Some(object) => workload(pod, &object.meta().labels),
            None => workload(pod, &BTreeMap::new()),
        };
        Some((namespace.to_owned(), name))
    }
}

/// The workload of a pod: what its label says, else its name without the generated suffixes.
fn workload(pod: &str, labels: &BTreeMap<String, String>) -> String {
    if let Some(name) = labels.get("sightline.io/workload") {
        return name.clone();
    }
    let mut name = pod.rsplit_once('-').map_or(pod, |(name, _)| name);
    if let Some(hash) = labels.get("pod-template-hash") {
        name = name
            .strip_suffix(hash.as_str())
            .and_then(|n| n.strip_suffix('-'))
            .unwrap_or(name);
    }
    name.to_owned()
}
