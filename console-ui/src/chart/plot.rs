//! The chart itself.

use leptos::ev::PointerEvent;
use leptos::html;
use leptos::prelude::*;

use super::axis::{time_ticks, value_ticks};
use super::data::{Data, Form, Line, place};
use super::marks::{MarkLayer, follow_marks};
use crate::clock;
use crate::parts::{copy, icon};
use crate::text::t;
use crate::time::{Time, time};

/// The drawing's own units; the picture stretches to the room that it has.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 100.0;
/// A drag shorter than this share of the chart is a click.
const DRAG_LEAST: f64 = 0.01;
/// About so many time labels fit.
const TIME_LABELS: f64 = 6.0;

/// Pointer on a chart, in shares of its width.
#[derive(Clone, Copy, PartialEq)]
struct Drag {
    from: f64,
    to: f64,
}

/// A chart over time. Dragging shows the chosen time (on the whole page, by the time bar).
#[component]
pub fn Chart(
    /// Above it.
    #[prop(into)]
    title: String,
    /// What it shows; `None` while nothing is known.
    #[prop(into)]
    data: Signal<Option<Data>>,
    /// The same question for a Prometheus.
    #[prop(optional, into)]
    promql: Option<Signal<Option<String>>>,
    /// A link beside the title, with its words.
    #[prop(optional, into)]
    link: Option<(Signal<String>, &'static str)>,
    /// Lines are named below even when there is one only.
    #[prop(optional)]
    named: bool,
) -> impl IntoView {
    follow_marks();
    let area = NodeRef::<html::Div>::new();
    let hovered: RwSignal<Option<f64>> = RwSignal::new(None);
    let drag: RwSignal<Option<Drag>> = RwSignal::new(None);
    let ticks = Memo::new(move |_| {
        data.with(|data| {
            data.as_ref()
                .map(|data| value_ticks(data.peak(), data.unit))
                .unwrap_or_default()
        })
    });
    // Which window the pointer is on.
    let window = Memo::new(move |_| {
        let share = hovered.get()?;
        data.with(|data| window_at(data.as_ref()?, share))
    });
    let pointer = Pointer {
        area,
        hovered,
        drag,
        data,
        time: time(),
    };
    // The name, for tests and readers.
    let spoken = title.clone();
    let unit = move || data.with(|data| data.as_ref().map_or("", |data| data.unit.words()));
    let at = move || {
        let window = window.get()?;
        data.with(|data| data.as_ref().map(|data| clock::full(data.at(window))))
    };
    let empty = Memo::new(move |_| data.with(|data| data.as_ref().is_some_and(Data::is_empty)));
    view! {
        <figure class="chart" data-chart=spoken.clone()>
            <figcaption>
                <span class="chart-title">{title}</span>
                <span class="kind">{unit}</span>
                <span class="spacer"></span>
                <span class="kind at">{at}</span>
                {promql.map(|promql| view! {
                    <Show when=move || promql.with(Option::is_some)>
                        {copy(t().copy_promql, Callback::new(move |()| promql.get_untracked().unwrap_or_default()))}
                    </Show>
                })}
                {link.map(|(link, words)| view! { <a class="button quiet square" href=move || link.get() title=words aria-label=words>{icon("search")}</a> })}
            </figcaption>
            <div class="plot">
                <div class="y-axis" aria-hidden="true">{move || value_labels(&ticks.get(), data)}</div>
                <div
                    class="area"
                    node_ref=area
                    title=t().drag_hint
                    on:pointerdown=move |event| pointer.press(&event)
                    on:pointermove=move |event| pointer.moved(&event)
                    on:pointerup=move |event| pointer.release(&event)
                    on:pointercancel=move |_| drag.set(None)
                    on:pointerleave=move |_| hovered.set(None)
                >
                    <svg viewBox=format!("0 0 {WIDTH} {HEIGHT}") preserveAspectRatio="none" role="img" aria-label=spoken.clone()>
                        {move || grid(&ticks.get())}
                        {move || data.with(|data| data.as_ref().map(|data| curves(data, ticks.with(|ticks| ticks.last().copied().unwrap_or(1.0)))))}
                        {move || drag.get().map(|drag| {
                            let (from, to) = (drag.from.min(drag.to), drag.from.max(drag.to));
                            view! { <rect class="chosen" x=units(from) y="0" width=units(to - from) height=HEIGHT.to_string()></rect> }
                        })}
                        {move || crosshair(window.get(), data)}
                    </svg>
                    <MarkLayer data/>
                    <Show when=move || empty.get()><p class="nothing">{t().no_data}</p></Show>
                </div>
                <div class="x-axis" aria-hidden="true">{move || data.with(|data| data.as_ref().map(time_labels))}</div>
            </div>
            {move || legend(data, window, named)}
        </figure>
    }
}

#[derive(Clone, Copy)]
struct Pointer {
    area: NodeRef<html::Div>,
    hovered: RwSignal<Option<f64>>,
    drag: RwSignal<Option<Drag>>,
    data: Signal<Option<Data>>,
    time: Time,
}

impl Pointer {
    /// Where the pointer is, as a share of the width.
    fn share(self, event: &PointerEvent) -> Option<f64> {
        let bounds = self.area.get_untracked()?.get_bounding_client_rect();
        (bounds.width() > 0.0)
            .then(|| ((f64::from(event.client_x()) - bounds.left()) / bounds.width()).clamp(0.0, 1.0))
    }

    fn press(self, event: &PointerEvent) {
        if event.button() != 0 {
            return;
        }
        if let Some(area) = self.area.get_untracked()
            && area.set_pointer_capture(event.pointer_id()).is_err()
        {
            leptos::logging::warn!("the pointer may leave the chart");
        }
        self.drag
            .set(self.share(event).map(|at| Drag { from: at, to: at }));
    }

    fn moved(self, event: &PointerEvent) {
        let share = self.share(event);
        self.hovered.set(share);
        if let (Some(at), Some(drag)) = (share, self.drag.get_untracked()) {
            self.drag.set(Some(Drag { to: at, ..drag }));
        }
    }

    fn release(self, event: &PointerEvent) {
        let Some(drag) = self.drag.get_untracked() else {
            return;
        };
        self.drag.set(None);
        let to = self.share(event).unwrap_or(drag.to);
        let (from, to) = (drag.from.min(to), drag.from.max(to));
        if to - from < DRAG_LEAST {
            return;
        }
        let bounds = self.data.with_untracked(|data| {
            data.as_ref()
                .map(|data| (data.from_ms, data.to_ms() - data.from_ms))
        });
        if let Some((start, length)) = bounds {
            self.time.select(start + from * length, start + to * length);
        }
    }
}

fn units(share: f64) -> String {
    format!("{:.2}", share * WIDTH)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the number of windows"
)]
fn window_at(data: &Data, share: f64) -> Option<usize> {
    let windows = data.windows();
    let at = (share * place(windows)).floor().max(0.0) as usize;
    (windows > 0).then(|| at.min(windows - 1))
}

fn grid(ticks: &[f64]) -> impl IntoView + use<> {
    let top = ticks.last().copied().unwrap_or(1.0);
    let lines = ticks.iter().map(|tick| {
        let y = format!("{:.2}", HEIGHT - tick / top * HEIGHT);
        view! { <line class="grid-line" x1="0" x2=WIDTH.to_string() y1=y.clone() y2=y></line> }
    });
    lines.collect_view()
}

fn value_labels(ticks: &[f64], data: Signal<Option<Data>>) -> impl IntoView + use<> {
    let unit = data.with(|data| data.as_ref().map(|data| data.unit).unwrap_or_default());
    let top = ticks.last().copied().unwrap_or(1.0);
    let labels = ticks.iter().map(|tick| {
        let bottom = format!("{:.2}%", tick / top * 100.0);
        view! { <span style:bottom=bottom>{axis_text(*tick, unit)}</span> }
    });
    labels.collect_view()
}

/// Axis labels are short: the unit stands in the title.
fn axis_text(value: f64, unit: super::Unit) -> String {
    use super::Unit;
    match unit {
        Unit::Rate | Unit::Percent => crate::format::short(value),
        Unit::Millis if value >= 1000.0 => format!("{} s", crate::format::short(value / 1000.0)),
        Unit::Millis => crate::format::short(value),
        Unit::Bytes | Unit::BytesRate => crate::format::byte_size(value),
    }
}

fn time_labels(data: &Data) -> impl IntoView + use<> {
    let (from, to) = (data.from_ms, data.to_ms());
    let (step, ticks) = time_ticks(from, to, TIME_LABELS, clock::offset_minutes(to));
    let labels = ticks.into_iter().map(move |at| {
        let share = (at - from) / (to - from).max(1.0) * 100.0;
        let text = if step >= 86_400.0 || (step >= 21_600.0 && clock::time_of_day(at, false) == "00:00") {
            clock::day_and_time(at).chars().take(5).collect()
        } else {
            clock::time_of_day(at, step < 60.0)
        };
        // At the ends a label would be cut off.
        (4.0..=96.0)
            .contains(&share)
            .then(|| view! { <span style:left=format!("{share:.2}%")>{text}</span> })
    });
    labels.collect_view()
}

/// The points of a line in pieces without gaps: (x, bottom, top) in drawing units.
fn pieces(data: &Data, line: usize, top: f64) -> Vec<Vec<(f64, f64, f64)>> {
    let windows = place(data.windows()).max(1.0);
    let y = |value: f64| HEIGHT - value / top * HEIGHT;
    let mut pieces = vec![Vec::new()];
    for window in 0..data.windows() {
        match (data.extent(line, window), pieces.last_mut()) {
            (Some((low, high)), Some(piece)) => {
                piece.push(((place(window) + 0.5) / windows * WIDTH, y(low), y(high)));
            }
            (None, Some(piece)) if !piece.is_empty() => pieces.push(Vec::new()),
            _ => {}
        }
    }
    // The ends reach the chart's borders.
    if let Some(first) = pieces.first_mut().and_then(|piece| piece.first_mut())
        && first.0 <= 0.51 / windows * WIDTH
    {
        first.0 = 0.0;
    }
    if let Some(last) = pieces.last_mut().and_then(|piece| piece.last_mut())
        && last.0 >= (windows - 0.51) / windows * WIDTH
    {
        last.0 = WIDTH;
    }
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

/// Path of a line, and of the room below it.
fn paths(pieces: &[Vec<(f64, f64, f64)>]) -> (String, String) {
    let (mut stroke, mut fill) = (String::new(), String::new());
    for piece in pieces {
        for (at, (x, _, top)) in piece.iter().enumerate() {
            let word = if at == 0 { 'M' } else { 'L' };
            stroke.push_str(&format!("{word}{x:.1} {top:.2}"));
            fill.push_str(&format!("{word}{x:.1} {top:.2}"));
        }
        if let [(x, _, top)] = piece.as_slice() {
            // A lone window is a dot, not nothing.
            stroke.push_str(&format!("M{:.1} {top:.2}L{:.1} {top:.2}", x - 2.0, x + 2.0));
        }
        for (x, bottom, _) in piece.iter().rev() {
            fill.push_str(&format!("L{x:.1} {bottom:.2}"));
        }
        fill.push('Z');
    }
    (stroke, fill)
}

fn curves(data: &Data, top: f64) -> impl IntoView + use<> {
    let filled = data.form != Form::Lines;
    let curve = |(at, line): (usize, &Line)| {
        let (stroke, fill) = paths(&pieces(data, at, top));
        let class = line.tone.class();
        let form = if data.form == Form::Stacked {
            "stack"
        } else {
            "tint"
        };
        view! {
            {filled.then(|| view! { <path class=format!("{form} {class}") d=fill></path> })}
            <path class=format!("curve {class}") d=stroke></path>
        }
    };
    data.lines.iter().enumerate().map(curve).collect_view()
}

fn crosshair(window: Option<usize>, data: Signal<Option<Data>>) -> impl IntoView {
    let windows = data.with(|data| data.as_ref().map_or(0, Data::windows));
    window.filter(|_| windows > 0).map(|window| {
        let x = units((place(window) + 0.5) / place(windows));
        view! { <line class="crosshair" x1=x.clone() x2=x y1="0" y2=HEIGHT.to_string()></line> }
    })
}

fn legend(data: Signal<Option<Data>>, window: Memo<Option<usize>>, named: bool) -> impl IntoView {
    let lines = data.with(|data| {
        data.as_ref()
            .map(|data| {
                data.lines
                    .iter()
                    .map(|line| (line.name.clone(), line.tone.class()))
                    .collect::<Vec<_>>()
            })
            .unwrap_or_default()
    });
    if lines.len() <= 1 && !named {
        let value = move || value_of(data, 0, window.get());
        return view! { <p class="chart-legend single"><span class="value">{value}</span></p> }.into_any();
    }
    let entries = lines.into_iter().enumerate().map(|(at, (name, class))| {
        let value = move || value_of(data, at, window.get());
        view! {
            <li>
                <span class=format!("swatch {class}")></span>
                <span class="series-name" title=name.clone()>{name.clone()}</span>
                <span class="value">{value}</span>
            </li>
        }
    });
    view! { <ul class="chart-legend">{entries.collect_view()}</ul> }.into_any()
}

/// The value of a line where the pointer is, else its latest.
fn value_of(data: Signal<Option<Data>>, line: usize, window: Option<usize>) -> String {
    data.with(|data| {
        let found = data.as_ref().and_then(|data| {
            let values = &data.lines.get(line)?.values;
            let value = match window {
                Some(window) => values.get(window).copied().flatten(),
                None => values.iter().rev().copied().flatten().next(),
            };
            value.map(|value| data.unit.text(value))
        });
        found.unwrap_or_else(|| "–".to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Tone, Unit};
    use super::*;

    #[test]
    fn lines_break_at_gaps_and_reach_the_borders() {
        let data = Data {
            from_ms: 0.0,
            step_ms: 1.0,
            lines: vec![Line {
                name: String::new(),
                tone: Tone::Ok,
                values: vec![Some(1.0), Some(2.0), None, Some(2.0)],
            }],
            form: Form::Lines,
            unit: Unit::Rate,
        };
        let pieces = pieces(&data, 0, 2.0);
        assert_eq!(
            pieces,
            [
                vec![(0.0, 100.0, 50.0), (375.0, 100.0, 0.0)],
                vec![(1000.0, 100.0, 0.0)]
            ]
        );
        assert_eq!(
            paths(&pieces[..1]),
            (
                "M0.0 50.00L375.0 0.00".to_owned(),
                "M0.0 50.00L375.0 0.00L375.0 100.00L0.0 100.00Z".to_owned()
            )
        );
    }

    #[test]
    fn the_pointer_is_on_a_window() {
        let data = Data {
            lines: vec![Line {
                name: String::new(),
                tone: Tone::Ok,
                values: vec![Some(1.0); 10],
            }],
            ..Data::default()
        };
        assert_eq!(window_at(&data, 0.0), Some(0));
        assert_eq!(window_at(&data, 0.55), Some(5));
        assert_eq!(window_at(&data, 1.0), Some(9));
        assert_eq!(window_at(&Data::default(), 0.5), None);
    }
}
