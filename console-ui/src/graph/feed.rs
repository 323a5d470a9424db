//! The graph as it comes: one event stream a page, closed while the page is hidden or paused.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::graph::{Graph, GraphType, Node};
use mesh_api::idle;
use mesh_api::layout::Layout;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventSource, MessageEvent};

use super::change::united;
use super::choice::Choice;
use super::scene::covers;
use crate::api::{self, Failure};
use crate::clock::{self, visibility};
use crate::time::{Time, time};

/// A stream that the browser has given up is opened again after this.
const REOPEN: Duration = Duration::from_secs(2);

/// Longest window that is pushed; longer ones come from the history, and are asked for.
const PUSHED_MOST: f64 = 600.0;
/// Places are not asked for twice within this, milliseconds.
const ASK_AGAIN: f64 = 3000.0;

/// What has arrived.
#[derive(Clone, Copy)]
pub struct Feed {
    /// The newest graph.
    pub graph: RwSignal<Option<Graph>>,
    /// Type of the newest graph: that of the page may be newer.
    pub kind: RwSignal<GraphType>,
    /// The graph of the other time, while two times are compared.
    pub before: RwSignal<Option<Graph>>,
    /// The newest graph with everything that is on the picture: idle nodes, and what is gone.
    pub whole: Memo<Option<Graph>>,
    /// Places for it.
    pub layout: RwSignal<Option<Layout>>,
    /// The stream is interrupted.
    pub lost: RwSignal<bool>,
    /// Nothing could be loaded.
    pub failure: RwSignal<Option<Failure>>,
    again: RwSignal<u32>,
}

/// Closes its stream when dropped.
struct Open {
    source: EventSource,
    _handlers: [Closure<dyn FnMut(MessageEvent)>; 3],
}

impl Drop for Open {
    fn drop(&mut self) {
        self.source.close();
    }
}

impl Feed {
    /// Follows the page's choice and the time bar while its owner lives.
    pub fn follow(choice: Choice) -> Self {
        let time = time();
        let (graph, before) = (RwSignal::new(None), RwSignal::new(None));
        let idle = idle_nodes(choice, time);
        let feed = Self {
            graph,
            before,
            whole: Memo::new(move |_| whole(graph, before, idle)),
            kind: RwSignal::new(choice.kind.get_untracked()),
            layout: RwSignal::new(None),
            lost: time.lost,
            failure: RwSignal::new(None),
            again: RwSignal::new(0),
        };
        let visible = visibility();
        let open: StoredValue<Option<Open>, LocalStorage> = StoredValue::new_local(None);
        let pushed = Memo::new(move |_| pushed_window(time).filter(|_| choice.moment.get().is_none()));
        let frames = Frames::default();
        Effect::new(move |_| {
            feed.again.track();
            let (scope, window, kind) = (choice.scope(), pushed.get(), choice.kind.get());
            open.set_value(None);
            if let Some(window) = window.filter(|_| visible.get()) {
                open.set_value(feed.open(&scope, window, kind));
            }
        });
        // The first picture does not wait for the stream, and a paused page has one too.
        let turn = StoredValue::new(0_u32);
        Effect::new(move |_| {
            turn.update_value(|turn| *turn += 1);
            let mine = turn.get_value();
            let (scope, kind) = (choice.scope(), choice.kind.get());
            feed.again.track();
            let asked = match choice.moment.get() {
                Some(moment) => frame_of(moment, time),
                None if pushed.get().is_some() => time.interval(),
                None => time.query(),
            };
            let path = format!("/api/graph?{scope}&{asked}");
            let played = choice.moment.get().is_some();
            if let Some(graph) = frames.find(&path).filter(|_| played) {
                feed.arrived(graph, kind);
                return;
            }
            spawn_local(async move {
                let answer = api::get::<Graph>(&path).await;
                if let (true, Ok(graph)) = (played, &answer) {
                    frames.keep(path, graph.clone());
                }
                // Another scope was chosen meanwhile, or the page is gone.
                if turn.try_get_value() != Some(mine) {
                    return;
                }
                match answer {
                    Ok(graph) => {
                        if untrack(|| pushed.get().is_none()) {
                            feed.lost.set(false);
                        }
                        feed.arrived(graph, kind);
                    }
                    Err(failure) => {
                        feed.lost.set(true);
                        feed.failure.set(Some(failure));
                    }
                }
            });
        });
        Effect::new(move |_| {
            time.report(
                feed.graph
                    .with(|graph| graph.as_ref().map(|graph| graph.as_of.clone())),
            );
        });
        feed.follow_comparison(choice, time);
        feed.follow_layout(choice, time);
        on_cleanup(move || open.set_value(None));
        feed
    }

    /// Tries again.
    pub fn retry(self) {
        self.failure.set(None);
        self.again.update(|times| *times += 1);
    }

    fn arrived(self, graph: Graph, kind: GraphType) {
        self.failure.set(None);
        if self.kind.get_untracked() != kind {
            self.layout.set(None);
            self.kind.set(kind);
        }
        self.graph.set(Some(graph));
    }

    /// Asks for the other time.
    fn follow_comparison(self, choice: Choice, time: Time) {
        Effect::new(move |_| {
            let (Some(other), scope) = (choice.compare.get(), choice.scope()) else {
                self.before.set(None);
                return;
            };
            let (from, to) = other.bounds(time.bounds());
            let path = format!("/api/graph?{scope}&from={}&to={}", iso(from), iso(to));
            spawn_local(async move {
                match api::get::<Graph>(&path).await {
                    Ok(graph) if untrack(|| choice.compare.try_get() == Some(Some(other))) => {
                        self.before.try_set(Some(graph));
                    }
                    Ok(_) => {}
                    Err(failure) => leptos::logging::warn!("no graph of the other time: {}", failure.message),
                }
            });
        });
    }

    /// Asks for places when a name appears that has none.
    fn follow_layout(self, choice: Choice, time: Time) {
        let asking = StoredValue::new(false);
        let last: StoredValue<(String, f64)> = StoredValue::new((String::new(), 0.0));
        Effect::new(move |_| {
            let mut path = format!("/api/layout?{}&{}", choice.scope(), time.interval());
            if choice.idle.get() {
                path.push_str("&idle=true");
            }
            if let Some(other) = choice.compare.get() {
                let (from, to) = other.bounds(untrack(|| time.bounds()));
                path.push_str(&format!("&beforeFrom={}&beforeTo={}", iso(from), iso(to)));
            }
            let known = self.whole.with(|graph| {
                graph.as_ref().is_none_or(|graph| {
                    self.layout
                        .with(|layout| layout.as_ref().is_some_and(|layout| covers(graph, layout)))
                })
            });
            // What had no place a moment ago has none now: lists and counts may disagree for a while.
            let now = clock::now();
            let repeated = last.with_value(|(before, at)| *before == path && now - at < ASK_AGAIN);
            if known || asking.get_value() || (repeated && self.layout.with_untracked(Option::is_some)) {
                return;
            }
            asking.set_value(true);
            last.set_value((path.clone(), now));
            spawn_local(async move {
                let layout = api::get::<Layout>(&path).await;
                asking.try_set_value(false);
                match layout {
                    Ok(layout) => {
                        self.layout.try_set(Some(layout));
                    }
                    Err(failure) => {
                        self.failure.try_set(Some(failure));
                    }
                }
            });
        });
    }

    fn open(self, scope: &str, window: u32, kind: GraphType) -> Option<Open> {
        let source = EventSource::new(&format!("/api/graph/stream?{scope}&window={window}")).ok()?;
        let on_graph = Closure::new(move |event: MessageEvent| {
            let Some(text) = event.data().as_string() else {
                return;
            };
            match serde_json::from_str::<Graph>(&text) {
                Ok(graph) => {
                    self.lost.set(false);
                    self.arrived(graph, kind);
                }
                Err(error) => leptos::logging::warn!("a graph that is not understood: {error}"),
            }
        });
        let on_open = Closure::new(move |_: MessageEvent| self.lost.set(false));
        let closed = source.clone();
        let on_error = Closure::new(move |_: MessageEvent| {
            self.lost.set(true);
            // After an HTTP error the browser does not try again by itself.
            if closed.ready_state() == EventSource::CLOSED {
                set_timeout(move || self.again.update(|times| *times += 1), REOPEN);
            }
        });
        let graph_listens =
            source.add_event_listener_with_callback("graph", on_graph.as_ref().unchecked_ref());
        let open_listens = source.add_event_listener_with_callback("open", on_open.as_ref().unchecked_ref());
        let error_listens =
            source.add_event_listener_with_callback("error", on_error.as_ref().unchecked_ref());
        if graph_listens.and(open_listens).and(error_listens).is_err() {
            return None;
        }
        Some(Open {
            source,
            _handlers: [on_graph, on_open, on_error],
        })
    }
}

/// The window that the stream pushes: short, live and up to now. Tracked.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between one second and ten minutes"
)]
fn pushed_window(time: Time) -> Option<u32> {
    let seconds = time.seconds();
    (time.live.get() && seconds <= PUSHED_MOST).then_some(seconds.round().max(1.0) as u32)
}

/// The interval of a frame that ends at a moment.
fn frame_of(moment: f64, time: Time) -> String {
    let length = super::playback::frame_seconds(time.seconds()) * 1000.0;
    format!("from={}&to={}", iso(moment - length), iso(moment))
}

fn iso(at: f64) -> String {
    api::encode(&clock::iso(at))
}

/// The newest graph with everything that is on the picture.
fn whole(
    graph: RwSignal<Option<Graph>>,
    before: RwSignal<Option<Graph>>,
    idle: RwSignal<Vec<Node>>,
) -> Option<Graph> {
    let mut all = graph.get()?;
    if let Some(before) = before.get() {
        all = united(&all, &before);
    }
    idle.with(|nodes| {
        for node in nodes {
            if !all.nodes.iter().any(|known| known.id == node.id) {
                all.nodes.push(node.clone());
            }
        }
    });
    Some(all)
}

/// Everything that is in the mesh, while the reader wants to see it.
fn idle_nodes(choice: Choice, time: Time) -> RwSignal<Vec<Node>> {
    let nodes = RwSignal::new(Vec::new());
    Effect::new(move |_| {
        let kind = choice.kind.get();
        let namespaces = api::encode(&choice.namespaces.get().join(","));
        if !choice.idle.get() {
            nodes.set(Vec::new());
            return;
        }
        let path = format!("{}?namespaces={namespaces}&{}", idle::path(kind), time.interval());
        spawn_local(async move {
            let list = match kind {
                GraphType::Workload | GraphType::VersionedApp => {
                    api::get(&path).await.map(|list| idle::of_workloads(&list, kind))
                }
                GraphType::App => api::get(&path).await.map(|list| idle::of_apps(&list)),
                GraphType::Service => api::get(&path).await.map(|list| idle::of_services(&list)),
            };
            match list {
                Ok(list) => {
                    nodes.try_set(list);
                }
                Err(failure) => leptos::logging::warn!("no list of idle nodes: {}", failure.message),
            }
        });
    });
    nodes
}

/// Frames that were played: going back and forth asks once.
#[derive(Clone, Copy)]
struct Frames(StoredValue<Vec<(String, Graph)>>);

impl Default for Frames {
    fn default() -> Self {
        Self(StoredValue::new(Vec::new()))
    }
}

impl Frames {
    const MOST: usize = 128;

    fn find(self, path: &str) -> Option<Graph> {
        self.0.with_value(|frames| {
            frames
                .iter()
                .find(|(known, _)| known == path)
                .map(|(_, graph)| graph.clone())
        })
    }

    fn keep(self, path: String, graph: Graph) {
        self.0.try_update_value(|frames| {
            if frames.len() >= Self::MOST {
                frames.remove(0);
            }
            frames.push((path, graph));
        });
    }
}
