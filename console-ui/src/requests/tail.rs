//! The live tail's event stream: open while it is wanted and the page is on the screen.

use std::time::Duration;

use leptos::prelude::*;
use mesh_api::requests::KeptRequest;
use wasm_bindgen::JsCast;
use wasm_bindgen::closure::Closure;
use web_sys::{EventSource, MessageEvent};

use super::flow::Tail;
use crate::clock;

/// A stream that the browser has given up is opened again after this.
const REOPEN: Duration = Duration::from_secs(2);

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

/// A tail and whether its stream is interrupted.
#[derive(Clone, Copy)]
pub struct Feed {
    /// What has arrived.
    pub tail: RwSignal<Tail>,
    /// The stream is interrupted.
    pub lost: RwSignal<bool>,
    again: RwSignal<u32>,
}

impl Feed {
    /// Follows `query` while it is `Some` and the owner lives.
    pub fn follow(query: Memo<Option<String>>) -> Self {
        let feed = Self {
            tail: RwSignal::new(Tail::default()),
            lost: RwSignal::new(false),
            again: RwSignal::new(0),
        };
        let visible = clock::visibility();
        let open: StoredValue<Option<Open>, LocalStorage> = StoredValue::new_local(None);
        // Another question: what has arrived answers the old one.
        Effect::new(move |_| {
            query.track();
            feed.tail.update(|tail| {
                let paused = tail.paused && query.with_untracked(Option::is_some);
                *tail = Tail::default();
                tail.paused = paused;
            });
            feed.lost.set(false);
        });
        Effect::new(move |_| {
            feed.again.track();
            open.set_value(None);
            if let (Some(query), true) = (query.get(), visible.get()) {
                open.set_value(feed.open(&query));
            }
        });
        on_cleanup(move || open.set_value(None));
        feed
    }

    fn open(self, query: &str) -> Option<Open> {
        let source = EventSource::new(&format!("/api/requests/stream?{query}")).ok()?;
        let on_requests = Closure::new(move |event: MessageEvent| {
            let text = event.data().as_string().unwrap_or_default();
            match serde_json::from_str::<Vec<KeptRequest>>(&text) {
                Ok(arrived) => {
                    self.lost.set(false);
                    self.tail.update(|tail| tail.take(arrived));
                }
                Err(error) => leptos::logging::warn!("requests that are not understood: {error}"),
            }
        });
        let on_open = Closure::new(move |_: MessageEvent| self.lost.set(false));
        let closed = source.clone();
        let on_error = Closure::new(move |_: MessageEvent| {
            self.lost.set(true);
            // After an HTTP error the browser does not try again by itself.
            if closed.ready_state() == EventSource::CLOSED {
                set_timeout(
                    move || {
                        self.again.try_update(|times| *times = times.wrapping_add(1));
                    },
                    REOPEN,
                );
            }
        });
        let listen = |name: &str, handler: &Closure<dyn FnMut(MessageEvent)>| {
            source.add_event_listener_with_callback(name, handler.as_ref().unchecked_ref())
        };
        let listening = listen("requests", &on_requests)
            .and(listen("open", &on_open))
            .and(listen("error", &on_error));
        if listening.is_err() {
            return None;
        }
        Some(Open {
            source,
            _handlers: [on_requests, on_open, on_error],
        })
    }
}
