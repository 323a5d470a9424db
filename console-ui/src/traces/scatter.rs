//! Traces by time and duration, each a dot. A brush chooses both; the table below says the same in words.

use leptos::ev::PointerEvent;
use leptos::html;
use leptos::prelude::*;
use mesh_api::traces::TraceSummary;

use crate::address::{Step, address};
use crate::clock;
use crate::format;
use crate::text::t;
use crate::text::traces::words;
use crate::time::time;

/// A pointer that moved less than this (pixels) has clicked.
const SLACK: f64 = 4.0;
const TIME_LABELS: usize = 6;

/// What is between the borders: time rises to the right, the logarithm of the duration upwards.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Field {
    from_ms: f64,
    to_ms: f64,
    least_ms: f64,
    most_ms: f64,
}

impl Field {
    fn around((from_ms, to_ms): (f64, f64), durations: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for duration in durations.filter(|ms| ms.is_finite()) {
            least = least.min(duration);
            most = most.max(duration);
        }
        let power = |ms: f64, up: bool| {
            let log = ms.max(0.1).log10();
            10_f64.powf(if up { log.ceil() } else { log.floor() })
        };
        let least_ms = power(if least.is_finite() { least } else { 1.0 }, false);
        let most_ms = power(most.max(1.0), true).max(least_ms * 10.0);
        Self {
            from_ms,
            to_ms: to_ms.max(from_ms + 1.0),
            least_ms,
            most_ms,
        }
    }

    /// Shares of width and height, from below.
    fn place(self, at_ms: f64, duration_ms: f64) -> (f64, f64) {
        let x = (at_ms - self.from_ms) / (self.to_ms - self.from_ms);
        let height = (self.most_ms / self.least_ms).log10();
        let y = (duration_ms.max(self.least_ms) / self.least_ms).log10() / height;
        (x.clamp(0.0, 1.0), y.clamp(0.0, 1.0))
    }

    fn duration_at(self, y: f64) -> f64 {
        self.least_ms * (self.most_ms / self.least_ms).powf(y.clamp(0.0, 1.0))
    }

    fn time_at(self, x: f64) -> f64 {
        self.from_ms + (self.to_ms - self.from_ms) * x.clamp(0.0, 1.0)
    }

    /// Powers of ten.
    fn durations(self) -> Vec<f64> {
        let mut marks = vec![self.least_ms];
        while let Some(last) = marks.last()
            && *last * 9.0 < self.most_ms
            && marks.len() < 12
        {
            marks.push(last * 10.0);
        }
        marks
    }
}

#[derive(Clone, Copy, PartialEq)]
struct Drag {
    from: (f64, f64),
    to: (f64, f64),
    begun: (f64, f64),
    moved: bool,
}

/// The picture.
#[component]
pub fn Scatter(traces: Memo<Vec<TraceSummary>>) -> impl IntoView {
    let (address, time) = (address(), time());
    let area = NodeRef::<html::Div>::new();
    let drag: RwSignal<Option<Drag>> = RwSignal::new(None);
    let field = Memo::new(move |_| {
        traces.with(|traces| {
            Field::around(
                untrack(|| time.bounds()),
                traces.iter().map(|trace| trace.duration_ms),
            )
        })
    });
    let share = move |event: &PointerEvent| {
        let bounds = area.get_untracked()?.get_bounding_client_rect();
        let x = (f64::from(event.client_x()) - bounds.left()) / bounds.width().max(1.0);
        let y = 1.0 - (f64::from(event.client_y()) - bounds.top()) / bounds.height().max(1.0);
        Some((x.clamp(0.0, 1.0), y.clamp(0.0, 1.0)))
    };
    let pixels = |event: &PointerEvent| (f64::from(event.client_x()), f64::from(event.client_y()));
    let press = move |event: PointerEvent| {
        if event.button() == 0
            && let Some(at) = share(&event)
        {
            drag.set(Some(Drag {
                from: at,
                to: at,
                begun: pixels(&event),
                moved: false,
            }));
        }
    };
    let moved = move |event: PointerEvent| {
        let (Some(at), Some(before)) = (share(&event), drag.get_untracked()) else {
            return;
        };
        let here = pixels(&event);
        let far = (here.0 - before.begun.0).hypot(here.1 - before.begun.1) > SLACK;
        // From here on it is a brush, and no click on a dot.
        if far
            && !before.moved
            && let Some(area) = area.get_untracked()
            && area.set_pointer_capture(event.pointer_id()).is_err()
        {
            leptos::logging::warn!("the pointer may leave the picture");
        }
        drag.set(Some(Drag {
            to: at,
            moved: before.moved || far,
            ..before
        }));
    };
    let release = move |_: PointerEvent| {
        let Some(frame) = drag.get_untracked() else { return };
        drag.set(None);
        if !frame.moved {
            return;
        }
        let field = field.get_untracked();
        let (low, high) = (frame.from.1.min(frame.to.1), frame.from.1.max(frame.to.1));
        let (left, right) = (frame.from.0.min(frame.to.0), frame.from.0.max(frame.to.0));
        let millis = |y: f64| Some(format!("{:.2}", field.duration_at(y)));
        let at = |x: f64| Some(format!("{:.0}", field.time_at(x)));
        address.write(
            &[
                ("from", at(left)),
                ("to", at(right)),
                ("window", None),
                ("live", None),
                ("minMs", if low > 0.01 { millis(low) } else { None }),
                ("maxMs", if high < 0.99 { millis(high) } else { None }),
            ],
            Step::New,
        );
    };
    let dots = move || {
        let field = field.get();
        traces.with(|traces| {
            traces
                .iter()
                .map(|trace| dot(trace, field, time.link(&format!("/traces/{}", trace.trace))))
                .collect_view()
        })
    };
    view! {
        <figure class="chart scatter" data-scatter="">
            <figcaption>
                <span class="chart-title">{words().scatter}</span>
                <span class="kind">{words().scatter_hint}</span>
            </figcaption>
            <div class="plot">
                <div class="y-axis" aria-hidden="true">{move || duration_labels(field.get())}</div>
                <div
                    class="area"
                    node_ref=area
                    on:pointerdown=press
                    on:pointermove=moved
                    on:pointerup=release
                    on:pointercancel=move |_| drag.set(None)
                    on:dragstart=|event| event.prevent_default()
                >
                    {dots}
                    {move || drag.get().filter(|drag| drag.moved).map(brush)}
                </div>
                <div class="x-axis" aria-hidden="true">{move || time_labels(field.get())}</div>
            </div>
        </figure>
    }
}

fn percent(share: f64) -> String {
    format!("{:.2}%", share * 100.0)
}

fn brush(drag: Drag) -> impl IntoView {
    let left = drag.from.0.min(drag.to.0);
    let top = 1.0 - drag.from.1.max(drag.to.1);
    let (width, height) = ((drag.from.0 - drag.to.0).abs(), (drag.from.1 - drag.to.1).abs());
    view! { <div class="brush" style:left=percent(left) style:top=percent(top) style:width=percent(width) style:height=percent(height)></div> }
}

/// Bigger with its spans; errors are squares on their tip.
fn dot(trace: &TraceSummary, field: Field, link: String) -> impl IntoView + use<> {
    let at = clock::parse(&trace.started).unwrap_or(field.from_ms);
    let (x, y) = field.place(at, trace.duration_ms);
    let size = format!("{:.0}px", 7.0 + f64::from(trace.spans).ln_1p() * 1.6);
    let title = format!(
        "{}\n{} · {} {} · {} {}\n{}",
        trace.name,
        format::millis(Some(trace.duration_ms)),
        trace.spans,
        words().spans,
        trace.errors,
        t().errors,
        clock::full(at)
    );
    let class = if trace.errors > 0 {
        "trace-dot fail"
    } else {
        "trace-dot"
    };
    view! {
        <a class=class href=link title=title tabindex="-1" aria-hidden="true" draggable="false" style:left=percent(x) style:bottom=percent(y) style:width=size.clone() style:height=size></a>
    }
}

fn duration_labels(field: Field) -> impl IntoView {
    let label = |ms: f64| {
        let (_, y) = field.place(field.from_ms, ms);
        view! { <span style:bottom=percent(y)>{format::millis(Some(ms))}</span> }
    };
    field.durations().into_iter().map(label).collect_view()
}

fn time_labels(field: Field) -> impl IntoView {
    let seconds = field.to_ms - field.from_ms < 300_000.0;
    let days = field.to_ms - field.from_ms > 86_400_000.0;
    let label = |at: usize| {
        let share = crate::format::number(u64::try_from(at).unwrap_or(0)) / 6.0;
        let time = field.time_at(share);
        let text = if days {
            clock::day_and_time(time)
        } else {
            clock::time_of_day(time, seconds)
        };
        view! { <span style:left=percent(share)>{text}</span> }
    };
    (1..TIME_LABELS).map(label).collect_view()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_are_inside() {
        let field = Field::around((0.0, 1000.0), [3.0, 40.0, 900.0].into_iter());
        assert!((field.least_ms - 1.0).abs() < 1e-9 && (field.most_ms - 1000.0).abs() < 1e-6);
        for (at, duration, expected) in [
            (500.0, 1.0, (0.5, 0.0)),
            (500.0, 1000.0, (0.5, 1.0)),
            (2000.0, 0.0, (1.0, 0.0)),
            (-5.0, 31.622_776, (0.0, 0.5)),
        ] {
            let (x, y) = field.place(at, duration);
            assert!(
                (x - expected.0).abs() < 1e-6 && (y - expected.1).abs() < 1e-6,
                "{at} {duration}: {x} {y}"
            );
        }
        assert!((field.duration_at(0.5) - 31.622_776).abs() < 1e-3);
        assert_eq!(field.durations().len(), 4);
    }

    #[test]
    fn no_trace_still_gives_a_field() {
        let field = Field::around((5.0, 5.0), std::iter::empty());
        assert!(field.to_ms > field.from_ms && field.most_ms > field.least_ms);
    }
}
