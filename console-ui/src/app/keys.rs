//! Keys that do the same on every page.

use leptos::ev::KeyboardEvent;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::{Overlays, PAGES};
use crate::address::{Address, Step};
use crate::clock;
use crate::time::Time;

/// The second key of `g g` comes within this, milliseconds.
const PAIR: f64 = 1200.0;

/// Listens while the shell lives.
pub fn follow(address: Address, time: Time, overlays: Overlays) {
    let began: StoredValue<Option<f64>> = StoredValue::new(None);
    let handle = window_event_listener(leptos::ev::keydown, move |event| {
        let key = event.key();
        if (event.ctrl_key() || event.meta_key()) && key.eq_ignore_ascii_case("k") {
            event.prevent_default();
            Overlays::open(overlays.palette);
            return;
        }
        if event.ctrl_key()
            || event.meta_key()
            || event.alt_key()
            || event.default_prevented()
            || typing(&event)
        {
            return;
        }
        let paired = began.get_value().is_some_and(|at| clock::now() - at < PAIR);
        began.set_value(None);
        if paired {
            if let Some(page) = PAGES.iter().find(|page| key.chars().eq([page.key])) {
                event.prevent_default();
                address.go(&untrack(|| time.link(page.path)), Step::New);
            }
            return;
        }
        match key.as_str() {
            "g" => began.set_value(Some(clock::now())),
            "?" => Overlays::open(overlays.help),
            "/" => focus_first("main input[type=search]"),
            "j" => walk(true),
            "k" => walk(false),
            _ => return,
        }
        event.prevent_default();
    });
    on_cleanup(move || handle.remove());
}

/// Whether the key belongs to a field, the editor or an open dialog.
fn typing(event: &KeyboardEvent) -> bool {
    let Some(element) = event
        .target()
        .and_then(|target| target.dyn_into::<HtmlElement>().ok())
    else {
        return false;
    };
    let field = matches!(element.tag_name().as_str(), "INPUT" | "TEXTAREA" | "SELECT");
    let inside = |selector: &str| element.closest(selector).is_ok_and(|found| found.is_some());
    field || element.is_content_editable() || inside("dialog[open], .cm-editor")
}

fn focus_first(selector: &str) {
    let found = document()
        .query_selector(selector)
        .ok()
        .flatten()
        .and_then(|element| element.dyn_into::<HtmlElement>().ok());
    if let Some(element) = found
        && element.focus().is_err()
    {
        leptos::logging::warn!("nothing to search in");
    }
}

/// From row to row: the first link or button of each takes the focus.
fn walk(down: bool) {
    let Ok(rows) = document().query_selector_all("main tbody tr, main [data-rows] > li") else {
        return;
    };
    let active = document().active_element();
    let rows: Vec<HtmlElement> = (0..rows.length())
        .filter_map(|at| rows.get(at)?.dyn_into().ok())
        .collect();
    let here = active.and_then(|active| rows.iter().position(|row| row.contains(Some(&active))));
    let next = match (here, down) {
        (None, _) => 0,
        (Some(at), true) => at + 1,
        (Some(at), false) => at.saturating_sub(1),
    };
    let target = rows
        .get(next)
        .and_then(|row| row.query_selector("a[href], button").ok().flatten())
        .and_then(|element| element.dyn_into::<HtmlElement>().ok());
    if let Some(target) = target
        && target.focus().is_err()
    {
        leptos::logging::warn!("the row cannot be focused");
    }
}
