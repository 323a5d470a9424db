//! The time bar: presets, custom, arrows, zoom out, live or paused, how fresh the data is.

use std::time::Duration;

use leptos::html;
use leptos::prelude::*;

use super::range::length;
use super::{Bound, Range, Time, time};
use crate::clock::{self, ticker};
use crate::parts::{copy, icon, sized_icon};
use crate::text::t;

/// Offered lengths, seconds.
const PRESETS: &[u32] = &[
    60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
];

/// The bar, in the masthead of every page that shows an interval.
#[component]
pub fn TimeBar() -> impl IntoView {
    let time = time();
    let step = move |halves: f64| time.show(time.range.get_untracked().shifted(halves, clock::now()));
    let button = |name: &'static str, label: &'static str| {
        view! { {icon(name)}<span class="visually-hidden">{label}</span> }
    };
    let at_now = move || time.range.get().follows_now();
    view! {
        <div class="timebar" role="group" aria-label=t().time>
            <AsOf/>
            <div class="joined">
                <button class="button square" title=t().earlier on:click=move |_| step(-1.0)>{button("chevron-left", t().earlier)}</button>
                <Chooser/>
                <button class="button square" title=t().later disabled=at_now on:click=move |_| step(1.0)>{button("chevron-right", t().later)}</button>
                <button
                    class="button square"
                    title=t().widen
                    on:click=move |_| time.show(time.range.get_untracked().widened(clock::now()))
                >
                    {button("zoom-out", t().widen)}
                </button>
            </div>
            <LiveButton/>
        </div>
    }
}

/// How fresh the data is.
#[component]
fn AsOf() -> impl IntoView {
    let time = time();
    let now = ticker(Duration::from_secs(1));
    let words = move || {
        now.track();
        let age = time.as_of.get().and_then(|time| clock::age(&time, clock::now()));
        match (time.live.get(), age) {
            (true, Some(age)) => (t().as_of)(&age),
            (true, None) => t().waiting.to_owned(),
            (false, _) => t().paused.to_owned(),
        }
    };
    let title = move || time.as_of.get().map(|time| (t().as_of_title)(&time));
    let live = move || time.live.get() && !time.lost.get() && time.as_of.with(Option::is_some);
    view! {
        <span class="asof" title=title data-asof="">
            <span class="dot" class:live=live class:warn=move || time.lost.get()></span>
            {words}
        </span>
    }
}

/// Stops at what is on the screen, or follows the clock again.
#[component]
fn LiveButton() -> impl IntoView {
    let time = time();
    let toggle = move |_| {
        let now = clock::now();
        let range = time.range.get_untracked();
        if time.live.get_untracked() {
            let (from, to) = range.bounds(now);
            time.show(Range {
                from: Bound::At(from.round()),
                to: Bound::At(to.round()),
            });
        } else {
            time.show(range.lasting(now));
        }
    };
    view! {
        <button class="button" data-live=move || time.live.get().to_string() on:click=toggle>
            {move || if time.live.get() {
                view! { {icon("pause")}{t().pause} }.into_any()
            } else {
                view! { {icon("play")}{t().live} }.into_any()
            }}
        </button>
    }
}

/// Presets and custom times.
#[component]
fn Chooser() -> impl IntoView {
    let time = time();
    let menu = NodeRef::<html::Details>::new();
    let close = move || {
        if let Some(menu) = menu.get_untracked() {
            menu.set_open(false);
        }
    };
    close_outside(menu);
    let face = move || {
        time.range.get().words().unwrap_or_else(|| {
            let (from, to) = time.range.get().bounds(clock::now());
            let same_day = clock::day_and_time(from).get(..5) == clock::day_and_time(to).get(..5);
            let end = if same_day {
                clock::time_of_day(to, false)
            } else {
                clock::day_and_time(to)
            };
            format!("{} – {end}", clock::day_and_time(from))
        })
    };
    let presets = PRESETS.iter().map(|seconds| {
        let range = Range::last(*seconds);
        view! {
            <button
                aria-pressed=move || (time.range.get() == range).to_string()
                data-preset=seconds.to_string()
                on:click=move |_| {
                    close();
                    time.show(range);
                }
            >
                {length(*seconds)}
            </button>
        }
    });
    view! {
        <details class="chooser" node_ref=menu>
            <summary class="button" title=move || title(time)>{sized_icon("clock", "icon small")}<span>{face}</span>{sized_icon("chevron-down", "icon small")}</summary>
            <div class="popover">
                <div class="presets" role="group" aria-label=t().time>{presets.collect_view()}</div>
                <Custom done=Callback::new(move |()| close())/>
            </div>
        </details>
    }
}

fn title(time: Time) -> String {
    let (from, to) = time.range.get().bounds(clock::now());
    format!("{} – {}", clock::full(from), clock::full(to))
}

/// Two times, typed.
#[component]
fn Custom(done: Callback<()>) -> impl IntoView {
    let time = time();
    let (from, to) = (RwSignal::new(String::new()), RwSignal::new(String::new()));
    let wrong = RwSignal::new(false);
    Effect::new(move |_| {
        let (start, end) = time.range.get().bounds(clock::now());
        from.set(clock::for_input(start));
        to.set(clock::for_input(end));
    });
    let apply = move |event: leptos::ev::SubmitEvent| {
        event.prevent_default();
        let ends = (
            clock::parse(&from.get_untracked()),
            clock::parse(&to.get_untracked()),
        );
        match ends {
            (Some(start), Some(end)) if start < end => {
                wrong.set(false);
                time.show(Range {
                    from: Bound::At(start),
                    to: Bound::At(end),
                });
                done.run(());
            }
            _ => wrong.set(true),
        }
    };
    let field = |label: &'static str, value: RwSignal<String>| {
        view! {
            <label class="stacked">
                <span>{label}</span>
                <input class="input" type="datetime-local" step="1" prop:value=value on:input=move |event| value.set(event_target_value(&event))/>
            </label>
        }
    };
    view! {
        <form class="custom" on:submit=apply>
            <h3>{t().custom}</h3>
            {field(t().from, from)}
            {field(t().to, to)}
            {move || wrong.get().then(|| view! { <p class="health fail" role="alert">{t().wrong_range}</p> })}
            <button type="submit" class="button primary">{t().apply}</button>
            {copy(t().copy_link, Callback::new(move |()| time.pinned()))}
        </form>
    }
}

/// A menu closes when the reader turns to something else.
pub fn close_outside(menu: NodeRef<html::Details>) {
    let close_unless_inside = move |event: &web_sys::Event| {
        use wasm_bindgen::JsCast;
        let Some(menu) = menu.get_untracked() else { return };
        let inside = event
            .target()
            .and_then(|target| target.dyn_into::<web_sys::Node>().ok())
            .is_some_and(|node| menu.contains(Some(&node)));
        if menu.open() && !inside {
            menu.set_open(false);
        }
    };
    let pressed = window_event_listener_untyped("pointerdown", move |event| close_unless_inside(&event));
    let focused = window_event_listener_untyped("focusin", move |event| close_unless_inside(&event));
    let escaped = window_event_listener(leptos::ev::keydown, move |event| {
        if event.key() == "Escape"
            && let Some(menu) = menu.get_untracked()
            && menu.open()
        {
            menu.set_open(false);
            event.prevent_default();
        }
    });
    on_cleanup(move || {
        pressed.remove();
        focused.remove();
        escaped.remove();
    });
}
