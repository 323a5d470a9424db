//! The graph as it comes: one event stream a page, closed while the page is hidden or paused.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::graph::{Graph, GraphType};
use mesh_api::layout::Layout;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventSource, MessageEvent};

use super::choice::Choice;
use super::scene::covers;
use crate::api::{self, Failure};
use crate::clock::visibility;
use crate::time::{Time, time};

/// A stream that the browser has given up is opened again after this.
const REOPEN: Duration = Duration::from_secs(2);

/// Longest window that is pushed; longer ones come from the history, and are asked for.
const PUSHED_MOST: f64 = 600.0;

/// What has arrived.
#[derive(Clone, Copy)]
pub struct Feed {
    /// The newest graph.
    pub graph: RwSignal<Option<Graph>>,
    /// Type of the newest graph: that of the page may be newer.
    pub kind: RwSignal<GraphType>,
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
        let feed = Self {
            graph: RwSignal::new(None),
            kind: RwSignal::new(choice.kind.get_untracked()),
            layout: RwSignal::new(None),
            lost: time.lost,
            failure: RwSignal::new(None),
            again: RwSignal::new(0),
        };
        let visible = visibility();
        let open: StoredValue<Option<Open>, LocalStorage> = StoredValue::new_local(None);
        let pushed = Memo::new(move |_| pushed_window(time));
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
            let asked = if pushed.get().is_some() {
                time.interval()
            } else {
                time.query()
            };
            spawn_local(async move {
                let answer = api::get::<Graph>(&format!("/api/graph?{scope}&{asked}")).await;
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
        feed.follow_layout(choice);
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

    /// Asks for places when a name appears that has none.
    fn follow_layout(self, choice: Choice) {
        let asking = StoredValue::new(false);
        Effect::new(move |_| {
            let scope = choice.scope();
            let asked = time().interval();
            let known = self.graph.with(|graph| {
                graph.as_ref().is_none_or(|graph| {
                    self.layout
                        .with(|layout| layout.as_ref().is_some_and(|layout| covers(graph, layout)))
                })
            });
            if known || asking.get_value() {
                return;
            }
            asking.set_value(true);
            spawn_local(async move {
                let layout = api::get::<Layout>(&format!("/api/layout?{scope}&{asked}")).await;
                asking.set_value(false);
                match layout {
                    Ok(layout) => self.layout.set(Some(layout)),
                    Err(failure) => self.failure.set(Some(failure)),
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
