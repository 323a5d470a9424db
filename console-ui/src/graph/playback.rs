//! Back through the recorded time: a slider over the interval, and play.

use std::time::Duration;

use leptos::prelude::*;

use super::choice::Choice;
use crate::address::{Step, address};
use crate::clock;
use crate::format;
use crate::parts::icon;
use crate::text::graph::words;
use crate::time::{Bound, Range, time};

/// Frames of the whole interval.
const FRAMES: f64 = 60.0;
/// Windows of the history are this long.
const WINDOW: f64 = 10.0;
/// One frame stays this long.
const EVERY: Duration = Duration::from_millis(700);

/// Length of a frame: whole windows, some sixty in the interval.
pub fn frame_seconds(interval: f64) -> f64 {
    ((interval / FRAMES / WINDOW).ceil() * WINDOW).max(WINDOW)
}

/// Enters playback at the end of the interval, which stands still from now on.
pub fn enter() -> impl Fn() + Copy {
    let (address, time) = (address(), time());
    move || {
        let (from, to) = time.range.get_untracked().bounds(clock::now());
        let range = Range {
            from: Bound::At(from.round()),
            to: Bound::At(to.round()),
        };
        let [from, end] = range.for_url().map(Some);
        let changes = [
            ("from", from),
            ("to", end),
            ("window", None),
            ("live", None),
            ("cmp", None),
            ("moment", Some(format!("{to:.0}"))),
        ];
        address.write(&changes, Step::New);
    }
}

/// The bar below the picture.
#[component]
pub fn PlaybackBar(choice: Choice) -> impl IntoView {
    let (address, time) = (address(), time());
    let playing = RwSignal::new(false);
    let frame = move || frame_seconds(time.seconds()) * 1000.0;
    let bounds = move || time.range.get().bounds(clock::now());
    let show = move |at: f64| address.write(&[("moment", Some(format!("{at:.0}")))], Step::Replace);
    let advance = move || {
        let Some(moment) = choice.moment.get_untracked() else {
            return;
        };
        let (_, to) = untrack(bounds);
        let next = moment + untrack(frame);
        if next > to + 1.0 {
            playing.set(false);
        } else {
            show(next);
        }
    };
    let running: StoredValue<Option<IntervalHandle>> = StoredValue::new(None);
    Effect::new(move |_| {
        if let Some(handle) = running.get_value() {
            handle.clear();
            running.set_value(None);
        }
        if playing.get() {
            running.set_value(set_interval_with_handle(advance, EVERY).ok());
        }
    });
    on_cleanup(move || {
        if let Some(handle) = running.try_get_value().flatten() {
            handle.clear();
        }
    });
    let toggle = move |_| {
        let (from, to) = untrack(bounds);
        let at_end = choice
            .moment
            .get_untracked()
            .is_none_or(|moment| moment + 1.0 >= to);
        if !playing.get_untracked() && at_end {
            show(from + untrack(frame));
        }
        playing.update(|playing| *playing = !*playing);
    };
    let words_of = move || choice.moment.get().map(clock::full);
    view! {
        <div class="playback" role="group" aria-label=words().scrub data-playback="">
            <button class="button square" title=move || if playing.get() { words().stop } else { words().play } aria-label=move || if playing.get() { words().stop } else { words().play } on:click=toggle>
                {move || if playing.get() { icon("pause").into_any() } else { icon("play").into_any() }}
            </button>
            <input
                type="range"
                aria-label=words().position
                aria-valuetext=words_of
                min=move || format!("{:.0}", bounds().0 + frame())
                max=move || format!("{:.0}", bounds().1)
                step=move || format!("{:.0}", frame())
                prop:value=move || choice.moment.get().map(|at| format!("{at:.0}"))
                on:input=move |event| {
                    playing.set(false);
                    if let Ok(at) = event_target_value(&event).parse() {
                        show(at);
                    }
                }
            />
            <span class="moment">{words_of}</span>
            <span class="kind">{move || (words().window_of)(&format::span(frame() / 1000.0))}</span>
            <button class="button" on:click=move |_| address.write(&[("moment", None)], Step::New)>{icon("x")}{words().leave}</button>
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::frame_seconds;

    #[test]
    fn frames_are_whole_windows() {
        for (interval, frame) in [
            (60.0, 10.0),
            (300.0, 10.0),
            (3600.0, 60.0),
            (3700.0, 70.0),
            (86_400.0, 1440.0),
        ] {
            assert!((frame_seconds(interval) - frame).abs() < 1e-9, "{interval}");
        }
    }
}
