//! Time in the browser.

use std::time::Duration;

use leptos::prelude::*;

/// Milliseconds since 1970.
pub fn now() -> f64 {
    js_sys::Date::now()
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub fn parse(time: &str) -> Option<f64> {
    let at = js_sys::Date::parse(time);
    (!at.is_nan()).then_some(at)
}

/// How long ago, in words.
pub fn age(time: &str, now: f64) -> Option<String> {
    parse(time).map(|at| crate::format::span((now - at) / 1000.0))
}

/// A signal that moves every `period`, while its owner lives.
pub fn ticker(period: Duration) -> ReadSignal<f64> {
    let (read, write) = signal(now());
    if let Ok(handle) = set_interval_with_handle(move || write.set(now()), period) {
        on_cleanup(move || handle.clear());
    }
    read
}
