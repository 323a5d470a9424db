//! The whole trace on a strip: dragging over it shows that part below.

use leptos::ev::PointerEvent;
use leptos::html;
use leptos::prelude::*;

use super::detail::Shown;
use super::waterfall::{micros, tone_of};
use crate::format::number;
use crate::parts::sized_icon;
use crate::text::traces::words;

/// Most lines of the strip; a larger trace shows every n-th span.
const LINES: usize = 400;
const LABELS: u32 = 4;

/// The strip.
#[component]
pub fn Minimap(shown: Shown) -> impl IntoView {
    let area = NodeRef::<html::Div>::new();
    let drag: RwSignal<Option<(f64, f64)>> = RwSignal::new(None);
    let length = move || shown.tree.with(|tree| tree.length_us.max(1.0));
    let share = move |event: &PointerEvent| {
        let bounds = area.get_untracked()?.get_bounding_client_rect();
        let x = (f64::from(event.client_x()) - bounds.left()) / bounds.width().max(1.0);
        Some(x.clamp(0.0, 1.0))
    };
    let press = move |event: PointerEvent| {
        if event.button() == 0
            && let (Some(at), Some(area)) = (share(&event), area.get_untracked())
        {
            if area.set_pointer_capture(event.pointer_id()).is_err() {
                leptos::logging::warn!("the pointer may leave the strip");
            }
            drag.set(Some((at, at)));
        }
    };
    let moved = move |event: PointerEvent| {
        if let (Some((from, _)), Some(at)) = (drag.get_untracked(), share(&event)) {
            drag.set(Some((from, at)));
        }
    };
    let release = move |_: PointerEvent| {
        let Some((from, to)) = drag.get_untracked() else {
            return;
        };
        drag.set(None);
        let (from, to) = (from.min(to), from.max(to));
        let length = untrack(length);
        if to - from > 0.005 {
            shown.zoom_to(from * length, to * length);
        }
    };
    let lines = move || {
        shown.tree.with(|tree| {
            let step = tree.nodes.len().div_ceil(LINES).max(1);
            let rows = tree.nodes.len().div_ceil(step).max(1);
            let length = tree.length_us.max(1.0);
            let place = |rows: usize| number(u64::try_from(rows).unwrap_or(0));
            let bars = tree.nodes.iter().step_by(step).enumerate().map(|(row, node)| {
                let x = (node.span.started_us - tree.start_us) / length * 1000.0;
                let width = (node.span.duration_us.max(0.0) / length * 1000.0).max(1.5);
                let class = if node.span.error {
                    "fail".to_owned()
                } else {
                    tone_of(&node.span.app)
                };
                view! { <rect class=class x=format!("{x:.1}") y=row.to_string() width=format!("{width:.1}") height="0.8"></rect> }
            });
            view! {
                <svg viewBox=format!("0 0 1000 {:.0}", place(rows)) preserveAspectRatio="none" aria-hidden="true">{bars.collect_view()}</svg>
            }
        })
    };
    let frame = move || {
        let (from, to) = drag.get().map_or_else(
            || {
                let (from, to) = shown.zoom.get();
                (from / length(), to / length())
            },
            |(from, to)| (from.min(to), from.max(to)),
        );
        let percent = |share: f64| format!("{:.2}%", share * 100.0);
        view! {
            <div class="veil" style:left="0%" style:width=percent(from)></div>
            <div class="veil" style:left=percent(to) style:width=percent((1.0 - to).max(0.0))></div>
        }
    };
    let zoomed = move || {
        let (from, to) = shown.zoom.get();
        to - from < length() * 0.999
    };
    let labels = move || {
        let length = length();
        let label = |at: u32| {
            let share = f64::from(at) / f64::from(LABELS);
            view! { <span style:left=format!("{:.1}%", share * 100.0)>{micros(share * length)}</span> }
        };
        (0..LABELS).map(label).collect_view()
    };
    view! {
        <div class="minimap" data-minimap="">
            <div class="strip" node_ref=area title=words().minimap_hint on:pointerdown=press on:pointermove=moved on:pointerup=release on:pointercancel=move |_| drag.set(None)>
                {lines}
                {frame}
            </div>
            <div class="strip-labels" aria-hidden="true">{labels}</div>
            <Show when=zoomed>
                <button class="button whole" on:click=move |_| shown.zoom_to(0.0, f64::INFINITY)>{sized_icon("zoom-out", "icon small")}{words().whole}</button>
            </Show>
        </div>
    }
}
