//! Time in the browser.

use std::time::Duration;

use leptos::prelude::*;
use wasm_bindgen::JsValue;

/// Milliseconds since 1970.
pub fn now() -> f64 {
    js_sys::Date::now()
}

/// Milliseconds since 1970 of an RFC 3339 time.
pub fn parse(time: &str) -> Option<f64> {
    let at = js_sys::Date::parse(time);
    (!at.is_nan()).then_some(at)
}

/// RFC 3339 in UTC.
pub fn iso(at: f64) -> String {
    js_sys::Date::new(&JsValue::from_f64(at)).to_iso_string().into()
}

/// How long ago, in words.
pub fn age(time: &str, now: f64) -> Option<String> {
    parse(time).map(|at| crate::format::span((now - at) / 1000.0))
}

/// The reader's own clock at an instant: year, month, day, hour, minute, second.
fn local(at: f64) -> [u32; 6] {
    let date = js_sys::Date::new(&JsValue::from_f64(at));
    [
        date.get_full_year(),
        date.get_month() + 1,
        date.get_date(),
        date.get_hours(),
        date.get_minutes(),
        date.get_seconds(),
    ]
}

/// `14:05`, with seconds where asked for.
pub fn time_of_day(at: f64, seconds: bool) -> String {
    let [_, _, _, hour, minute, second] = local(at);
    if seconds {
        format!("{hour:02}:{minute:02}:{second:02}")
    } else {
        format!("{hour:02}:{minute:02}")
    }
}

/// `11-24 14:05`
pub fn day_and_time(at: f64) -> String {
    let [_, month, day, hour, minute, _] = local(at);
    format!("{month:02}-{day:02} {hour:02}:{minute:02}")
}

/// `2026-11-24 14:05:09`, for titles and read-outs.
pub fn full(at: f64) -> String {
    let [year, month, day, hour, minute, second] = local(at);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// As `<input type="datetime-local">` writes it.
pub fn for_input(at: f64) -> String {
    full(at).replace(' ', "T")
}

/// Minutes that the reader's clock is ahead of UTC.
pub fn offset_minutes(at: f64) -> f64 {
    -js_sys::Date::new(&JsValue::from_f64(at)).get_timezone_offset()
}

/// A signal that moves every `period`, while its owner lives.
pub fn ticker(period: Duration) -> ReadSignal<f64> {
    let (read, write) = signal(now());
    if let Ok(handle) = set_interval_with_handle(move || write.set(now()), period) {
        on_cleanup(move || handle.clear());
    }
    read
}

/// Whether the page is on the screen.
pub fn visibility() -> ReadSignal<bool> {
    let (visible, set) = signal(!document().hidden());
    let handle = window_event_listener_untyped("visibilitychange", move |_| set.set(!document().hidden()));
    on_cleanup(move || handle.remove());
    visible
}
