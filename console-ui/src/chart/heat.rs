//! A heat map: requests by time and duration. A brush over it chooses both.

use std::collections::BTreeMap;

use leptos::ev::PointerEvent;
use leptos::html;
use leptos::prelude::*;
use mesh_api::requests::HeatMap;

use super::axis::time_ticks;
use super::data::place;
use crate::clock;
use crate::format::{self, number};
use crate::text::t;

/// Shades from pale to strong.
const SHADES: usize = 6;
const DRAG_LEAST: f64 = 0.01;

/// A rectangle of the map.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// Start, milliseconds since 1970.
    pub from_ms: f64,
    /// End.
    pub to_ms: f64,
    /// Shortest duration, milliseconds.
    pub min_ms: f64,
    /// Longest duration; none when the brush reaches the top.
    pub max_ms: Option<f64>,
}

/// A rectangle in shares of the map; y grows downwards.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Frame {
    from: (f64, f64),
    to: (f64, f64),
}

/// The map of requests. `brush` gets what is chosen by dragging.
#[component]
pub fn HeatChart(
    /// What it shows.
    #[prop(into)]
    map: Signal<Option<HeatMap>>,
    /// What was chosen.
    brush: Callback<Brush>,
) -> impl IntoView {
    super::marks::follow_marks();
    let area = NodeRef::<html::Div>::new();
    let drag: RwSignal<Option<Frame>> = RwSignal::new(None);
    let hovered: RwSignal<Option<(f64, f64)>> = RwSignal::new(None);
    let share = move |event: &PointerEvent| {
        let bounds = area.get_untracked()?.get_bounding_client_rect();
        let within = |at: f64, start: f64, length: f64| ((at - start) / length.max(1.0)).clamp(0.0, 1.0);
        Some((
            within(f64::from(event.client_x()), bounds.left(), bounds.width()),
            within(f64::from(event.client_y()), bounds.top(), bounds.height()),
        ))
    };
    let press = move |event: PointerEvent| {
        if event.button() == 0
            && let Some(at) = share(&event)
        {
            if let Some(area) = area.get_untracked()
                && area.set_pointer_capture(event.pointer_id()).is_err()
            {
                leptos::logging::warn!("the pointer may leave the chart");
            }
            drag.set(Some(Frame { from: at, to: at }));
        }
    };
    let moved = move |event: PointerEvent| {
        let at = share(&event);
        hovered.set(at);
        if let (Some(at), Some(frame)) = (at, drag.get_untracked()) {
            drag.set(Some(Frame { to: at, ..frame }));
        }
    };
    let release = move |_: PointerEvent| {
        if let Some(frame) = drag.get_untracked() {
            drag.set(None);
            let chosen = map.with_untracked(|map| map.as_ref().and_then(|map| chosen(map, frame)));
            if let Some(chosen) = chosen {
                brush.run(chosen);
            }
        }
    };
    let reading = move || {
        hovered
            .get()
            .and_then(|at| map.with(|map| reading(map.as_ref()?, at)))
    };
    // The marks need the interval only.
    let span = Signal::derive(move || {
        map.with(|map| {
            map.as_ref().map(|map| super::Data {
                from_ms: map.from_ms,
                step_ms: map.column_ms * f64::from(map.columns),
                lines: vec![super::Line {
                    name: String::new(),
                    tone: super::Tone::Info,
                    values: vec![None],
                }],
                ..super::Data::default()
            })
        })
    });
    view! {
        <figure class="chart heat" data-heat="">
            <figcaption>
                <span class="chart-title">{t().heat_map}</span>
                <span class="spacer"></span>
                <span class="kind at">{reading}</span>
            </figcaption>
            <div class="plot">
                <div class="y-axis" aria-hidden="true">{move || map.with(|map| map.as_ref().map(duration_labels))}</div>
                <div
                    class="area"
                    node_ref=area
                    title=t().drag_hint
                    on:pointerdown=press
                    on:pointermove=moved
                    on:pointerup=release
                    on:pointercancel=move |_| drag.set(None)
                    on:pointerleave=move |_| hovered.set(None)
                >
                    {move || map.with(|map| map.as_ref().map(cells))}
                    {move || drag.get().map(|frame| {
                        let (x, y) = (frame.from.0.min(frame.to.0), frame.from.1.min(frame.to.1));
                        let (width, height) = ((frame.from.0 - frame.to.0).abs(), (frame.from.1 - frame.to.1).abs());
                        let percent = |share: f64| format!("{:.2}%", share * 100.0);
                        view! { <div class="brush" style:left=percent(x) style:top=percent(y) style:width=percent(width) style:height=percent(height)></div> }
                    })}
                    <super::marks::MarkLayer data=span/>
                </div>
                <div class="x-axis" aria-hidden="true">{move || map.with(|map| map.as_ref().map(column_labels))}</div>
            </div>
        </figure>
    }
}

/// One path for each shade: thousands of cells are a dozen elements.
fn cells(map: &HeatMap) -> impl IntoView + use<> {
    let (columns, rows) = (map.columns.max(1), map.rows_ms.len().max(1));
    let most = map.cells.iter().map(|cell| cell.requests).max().unwrap_or(1);
    let mut paths: BTreeMap<(bool, usize), String> = BTreeMap::new();
    for cell in &map.cells {
        let y = place(rows) - 1.0 - f64::from(cell.row);
        let failing = cell.errors * 2 > cell.requests;
        paths
            .entry((failing, shade(cell.requests, most)))
            .or_default()
            .push_str(&format!("M{} {y}h1v1h-1z", cell.column));
    }
    let shades = paths.into_iter().map(|((failing, shade), path)| {
        let class = format!("cell {} shade{shade}", if failing { "fail" } else { "ok" });
        view! { <path class=class d=path></path> }
    });
    view! {
        <svg viewBox=format!("0 0 {columns} {rows}") preserveAspectRatio="none" role="img" aria-label=t().heat_map>
            {shades.collect_view()}
        </svg>
    }
}

/// By the logarithm: one request must be seen beside a thousand.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the number of shades"
)]
fn shade(requests: u64, most: u64) -> usize {
    let share = number(requests.max(1)).ln_1p() / number(most.max(1)).ln_1p();
    ((share * place(SHADES)).ceil() as usize).clamp(1, SHADES) - 1
}

/// The row under a height, from below.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "between 0 and the number of rows"
)]
fn row_at(map: &HeatMap, y: f64) -> usize {
    let rows = map.rows_ms.len();
    (((1.0 - y) * place(rows)).floor() as usize).min(rows.saturating_sub(1))
}

fn chosen(map: &HeatMap, frame: Frame) -> Option<Brush> {
    let (left, right) = (frame.from.0.min(frame.to.0), frame.from.0.max(frame.to.0));
    let (top, bottom) = (frame.from.1.min(frame.to.1), frame.from.1.max(frame.to.1));
    if right - left < DRAG_LEAST {
        return None;
    }
    let length = map.column_ms * f64::from(map.columns);
    let (lowest, highest) = (row_at(map, bottom.min(0.999)), row_at(map, top));
    Some(Brush {
        from_ms: map.from_ms + left * length,
        to_ms: map.from_ms + right * length,
        min_ms: if lowest == 0 {
            0.0
        } else {
            map.rows_ms.get(lowest).copied().unwrap_or(0.0)
        },
        max_ms: map.rows_ms.get(highest + 1).copied(),
    })
}

fn reading(map: &HeatMap, at: (f64, f64)) -> Option<String> {
    let row = row_at(map, at.1);
    let column = (at.0 * f64::from(map.columns)).floor();
    let cell = map.cells.iter().find(|cell| {
        u32::try_from(row).is_ok_and(|row| cell.row == row) && (f64::from(cell.column) - column).abs() < 0.5
    });
    let low = format::millis(map.rows_ms.get(row).copied());
    let high = map
        .rows_ms
        .get(row + 1)
        .map_or_else(|| "∞".to_owned(), |high| format::millis(Some(*high)));
    let (requests, errors) = cell.map_or((0, 0), |cell| (cell.requests, cell.errors));
    let time = clock::full(map.from_ms + column * map.column_ms);
    Some(format!(
        "{time} · {low} – {high} · {} {} · {} {}",
        format::count(requests),
        t().requests,
        format::count(errors),
        t().errors
    ))
}

fn duration_labels(map: &HeatMap) -> impl IntoView + use<> {
    let rows = map.rows_ms.len().max(1);
    // Four or five labels, whatever the number of rows.
    let every = (rows / 5).max(1);
    let labels = map
        .rows_ms
        .iter()
        .enumerate()
        .filter(move |(row, _)| row % every == 0)
        .map(move |(row, ms)| {
            view! { <span style:bottom=format!("{:.2}%", place(row) / place(rows) * 100.0)>{format::millis(Some(*ms))}</span> }
        });
    labels.collect_view()
}

fn column_labels(map: &HeatMap) -> impl IntoView + use<> {
    let (from, to) = (map.from_ms, map.from_ms + map.column_ms * f64::from(map.columns));
    let (step, ticks) = time_ticks(from, to, 8.0, clock::offset_minutes(to));
    let labels = ticks.into_iter().filter_map(move |at| {
        let share = (at - from) / (to - from).max(1.0) * 100.0;
        (2.0..=97.0).contains(&share).then(
            || view! { <span style:left=format!("{share:.2}%")>{clock::time_of_day(at, step < 60.0)}</span> },
        )
    });
    labels.collect_view()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> HeatMap {
        HeatMap {
            from_ms: 1000.0,
            column_ms: 10.0,
            columns: 10,
            rows_ms: vec![0.0, 1.0, 10.0, 100.0],
            cells: Vec::new(),
        }
    }

    #[test]
    fn a_brush_is_time_and_duration() {
        let frame = Frame {
            from: (0.5, 0.3),
            to: (0.2, 0.6),
        };
        assert_eq!(
            chosen(&map(), frame),
            Some(Brush {
                from_ms: 1020.0,
                to_ms: 1050.0,
                min_ms: 1.0,
                max_ms: Some(100.0),
            })
        );
        let whole = Frame {
            from: (0.0, 0.0),
            to: (1.0, 1.0),
        };
        assert_eq!(
            chosen(&map(), whole),
            Some(Brush {
                from_ms: 1000.0,
                to_ms: 1100.0,
                min_ms: 0.0,
                max_ms: None,
            })
        );
        let click = Frame {
            from: (0.5, 0.5),
            to: (0.5, 0.9),
        };
        assert_eq!(chosen(&map(), click), None);
    }

    #[test]
    fn a_single_request_is_seen_beside_thousands() {
        assert_eq!(shade(1, 1), SHADES - 1);
        assert_eq!(shade(1, 100_000), 0);
        assert_eq!(shade(100_000, 100_000), SHADES - 1);
    }
}
