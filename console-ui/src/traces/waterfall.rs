//! Spans below each other, each at its time.

use leptos::ev::KeyboardEvent;
use leptos::html;
use leptos::prelude::*;
use wasm_bindgen::JsCast;
use web_sys::HtmlElement;

use super::detail::Shown;
use super::tree::Node;
use crate::address::Step;
use crate::format;
use crate::parts::sized_icon;
use crate::text::t;
use crate::text::traces::words;

/// Height of a row, as the style sheet has it.
const ROW_HEIGHT: f64 = 28.0;
/// Rows drawn beyond the border.
const BEYOND: usize = 15;
/// Indents beyond this depth are not deeper.
const DEEPEST: usize = 24;
const LABELS: u32 = 4;

/// The spans.
#[component]
pub fn Waterfall(shown: Shown) -> impl IntoView {
    let wrap = NodeRef::<html::Div>::new();
    let visible = Memo::new(move |_| {
        shown
            .closed
            .with(|closed| shown.tree.with(|tree| tree.visible(closed)))
    });
    let place: RwSignal<(f64, f64)> = RwSignal::new((0.0, 1400.0));
    let window = Memo::new(move |_| {
        let (top, height) = place.get();
        between(top, height, visible.with(Vec::len))
    });
    let rows = Memo::new(move |_| {
        let (first, last) = window.get();
        visible.with(|visible| {
            visible
                .get(first..last)
                .map(<[usize]>::to_vec)
                .unwrap_or_default()
        })
    });
    let scrolled = move |_| {
        if let Some(element) = wrap.get_untracked() {
            place.set((
                f64::from(element.scroll_top()),
                f64::from(element.client_height()),
            ));
        }
    };
    let pixels = |rows: usize| {
        format!(
            "{}px",
            ROW_HEIGHT * format::number(u64::try_from(rows).unwrap_or(0))
        )
    };
    let above = move || pixels(window.get().0);
    let below = move || pixels(visible.with(Vec::len).saturating_sub(window.get().1));
    let key = move |event: KeyboardEvent| walk(&event, shown, visible);
    view! {
        <div class="waterfall" node_ref=wrap on:scroll=scrolled>
            <div role="treegrid" aria-label=words().waterfall data-waterfall="" on:keydown=key>
                <div class="fall-head" role="row">
                    <span role="columnheader">{words().span_column}</span>
                    <span role="columnheader" class="ruler" aria-label=words().time_column>{move || ruler(shown.zoom.get())}</span>
                </div>
                <div role="presentation" style:height=above></div>
                <For each=move || rows.get() key=|at| *at let:at>
                    <FallRow at shown/>
                </For>
                <div role="presentation" style:height=below></div>
            </div>
        </div>
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "heights are positive, and no trace has 2^32 spans"
)]
fn between(top: f64, height: f64, rows: usize) -> (usize, usize) {
    let first = (top.max(0.0) / ROW_HEIGHT).floor() as usize;
    let last = ((top.max(0.0) + height.max(0.0)) / ROW_HEIGHT).ceil() as usize;
    (first.saturating_sub(BEYOND).min(rows), (last + BEYOND).min(rows))
}

fn ruler((from, to): (f64, f64)) -> impl IntoView {
    let label = |at: u32| {
        let share = f64::from(at) / f64::from(LABELS);
        view! { <span style:left=format!("{:.1}%", share * 100.0)>{micros(from + (to - from) * share)}</span> }
    };
    (0..LABELS).map(label).collect_view()
}

#[component]
fn FallRow(at: usize, shown: Shown) -> impl IntoView {
    let node = Memo::new(move |_| shown.tree.with(|tree| tree.nodes.get(at).cloned()));
    move || node.get().map(|node| fall_row(&node, at, shown))
}

fn fall_row(node: &Node, at: usize, shown: Shown) -> impl IntoView + use<> {
    let span = &node.span;
    let id = StoredValue::new(span.span.clone());
    let chosen = move || {
        shown
            .chosen
            .with(|chosen| id.with_value(|id| chosen.as_ref() == Some(id)))
    };
    let closed = move || {
        shown
            .closed
            .with(|closed| id.with_value(|id| closed.contains(id)))
    };
    let first = at == 0;
    let tabindex = move || {
        let here = chosen() || (first && shown.chosen.with(Option::is_none));
        if here { "0" } else { "-1" }
    };
    let inner = node.children > 0;
    let expanded = move || inner.then(|| (!closed()).to_string());
    let indent = format!(
        "{:.0}px",
        8.0 + 14.0 * format::number(u64::try_from(node.depth.min(DEEPEST)).unwrap_or(0))
    );
    let caret = inner.then(|| {
        view! {
            <button class="caret" class:open=move || !closed() tabindex="-1" aria-label=words().fold on:click=move |_| {
                let open = untrack(closed);
                id.with_value(|id| shown.fold(id, open));
            }>
                {sized_icon("chevron-right", "icon small")}
            </button>
        }
    });
    let hidden = node.below;
    let tone = tone_of(&span.app);
    let name = span.name.clone();
    let who = span.workload.rsplit('/').next().unwrap_or_default().to_owned();
    let side = if span.kind == "client" {
        ("arrow-up-right", words().client)
    } else {
        ("server", words().server)
    };
    let mark = span.error.then(|| view! { <span class="health fail" title=t().errors>{sized_icon("octagon-alert", "icon small")}<span class="visually-hidden">{t().errors}</span></span> });
    let orphan = node
        .orphan
        .then(|| view! { <span class="chip info" title=words().orphan_hint>{words().orphan}</span> });
    let skew = (node.skew_us > 0.0).then(|| {
        let text = (words().skew)(&micros(node.skew_us));
        let title = text.clone();
        view! { <span class="chip info" title=title>{sized_icon("clock", "icon small")}<span class="visually-hidden">{text}</span></span> }
    });
    let found = move || shown.found.with(|found| found.binary_search(&at).is_ok());
    view! {
        <div
            class="fall-row"
            role="row"
            attr:aria-level=(node.depth + 1).to_string()
            aria-expanded=expanded
            aria-selected=move || chosen().to_string()
            class:found=found
            class:critical=node.critical
            data-span=span.span.clone()
        >
            <div class="fall-name" role="gridcell" style:padding-left=indent>
                {if inner { caret.into_any() } else { view! { <span class="caret-room"></span> }.into_any() }}
                <span class=format!("swatch {tone}") aria-hidden="true"></span>
                <a class="fall-link" href=move || id.with_value(|id| shown.link(id)) tabindex=tabindex title=format!("{} · {name}", span.workload)>
                    <strong>{who}</strong>" "
                    <span class="soft" title=side.1>{sized_icon(side.0, "icon tiny")}</span>" "
                    <span class="soft">{name.clone()}</span>
                </a>
                {mark}{orphan}{skew}
                <Show when=closed><span class="chip">{format!("+{hidden}")}</span></Show>
            </div>
            <div class="fall-time" role="gridcell">{bar(node, shown)}</div>
        </div>
    }
}

/// The bar at its time. What lies outside the zoom is cut off at its border.
fn bar(node: &Node, shown: Shown) -> impl IntoView + use<> {
    let (start, length) = (node.span.started_us, node.span.duration_us.max(0.0));
    let error = node.span.error;
    let tone = tone_of(&node.span.app);
    let shares = move || {
        let origin = shown.tree.with(|tree| tree.start_us);
        let (from, to) = shown.zoom.get();
        let width = (to - from).max(1.0);
        let left = (start - origin - from) / width;
        (left, left + length / width)
    };
    let percent = |share: f64| format!("{:.3}%", share * 100.0);
    let left = move || percent(shares().0.clamp(0.0, 1.0));
    let width = move || {
        let (left, right) = shares();
        percent((right.clamp(0.0, 1.0) - left.clamp(0.0, 1.0)).max(0.0))
    };
    let outside = move || {
        let (left, right) = shares();
        right < 0.0 || left > 1.0
    };
    // The figure stands where there is room.
    let before = move || shares().1 > 0.85;
    let label_at = move || {
        let (left, right) = shares();
        if right > 0.85 {
            format!("calc({} - 4px)", percent((1.0 - left.clamp(0.0, 1.0)).min(1.0)))
        } else {
            format!("calc({} + 4px)", percent(right.clamp(0.0, 1.0)))
        }
    };
    let place = move |right: bool| (before() == right).then(label_at);
    let text = micros(length);
    let inside = move || before() && shares().0 < 0.12;
    view! {
        <span class=format!("fall-bar {tone}") class:fail=error style:left=left style:width=width hidden=outside></span>
        <span class="fall-length" class:inside=inside style:left=move || place(false) style:right=move || if inside() { Some("6px".to_owned()) } else { place(true) } hidden=outside>{text}</span>
    }
}

/// Arrows walk and fold, as in every tree.
fn walk(event: &KeyboardEvent, shown: Shown, visible: Memo<Vec<usize>>) {
    let Some(row) = event
        .target()
        .and_then(|target| target.dyn_into::<HtmlElement>().ok())
        .and_then(|element| element.closest("[data-span]").ok().flatten())
    else {
        return;
    };
    let id = row.get_attribute("data-span").unwrap_or_default();
    let Some(at) = shown.tree.with_untracked(|tree| tree.place(&id)) else {
        return;
    };
    let Some(node) = shown.tree.with_untracked(|tree| tree.nodes.get(at).cloned()) else {
        return;
    };
    let closed = shown.closed.with_untracked(|closed| closed.contains(&id));
    let step = |forward: bool| {
        visible.with_untracked(|visible| {
            let here = visible.iter().position(|place| *place == at)?;
            let next = if forward { here + 1 } else { here.checked_sub(1)? };
            visible.get(next).copied()
        })
    };
    let target = match event.key().as_str() {
        "ArrowDown" => step(true),
        "ArrowUp" => step(false),
        "Home" => Some(0),
        "End" => visible.with_untracked(|visible| visible.last().copied()),
        "ArrowLeft" if node.children > 0 && !closed => {
            event.prevent_default();
            return shown.fold(&id, false);
        }
        "ArrowLeft" => node.parent,
        "ArrowRight" if closed => {
            event.prevent_default();
            return shown.fold(&id, true);
        }
        "ArrowRight" if node.children > 0 => step(true),
        "Escape" => {
            event.prevent_default();
            return shown.choose(None, Step::Replace);
        }
        _ => return,
    };
    event.prevent_default();
    let Some(target) = target else { return };
    let span = shown
        .tree
        .with_untracked(|tree| tree.nodes.get(target).map(|node| node.span.span.clone()));
    if let Some(span) = span {
        focus(&span);
    }
}

fn focus(span: &str) {
    let safe: String = span.chars().filter(char::is_ascii_alphanumeric).collect();
    let link = document()
        .query_selector(&format!("[data-span=\"{safe}\"] .fall-link"))
        .ok()
        .flatten()
        .and_then(|element| element.dyn_into::<HtmlElement>().ok());
    if let Some(link) = link
        && link.focus().is_err()
    {
        leptos::logging::warn!("the span cannot be focused");
    }
}

/// A length of microseconds.
pub fn micros(us: f64) -> String {
    let us = us.max(0.0);
    if us < 1000.0 {
        format!("{us:.0} µs")
    } else if us < 1_000_000.0 {
        let ms = us / 1000.0;
        if ms < 10.0 {
            format!("{ms:.2} ms")
        } else {
            format!("{ms:.1} ms")
        }
    } else {
        format!("{:.2} s", us / 1_000_000.0)
    }
}

/// The colour of an application: the same on every page, whatever else the trace has.
pub fn tone_of(app: &str) -> String {
    // FNV-1a: near names get far colours.
    let hash = app.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    format!("s{}", (hash ^ (hash >> 15)) % 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        for (us, expected) in [
            (-5.0, "0 µs"),
            (0.4, "0 µs"),
            (950.0, "950 µs"),
            (1234.0, "1.23 ms"),
            (45_600.0, "45.6 ms"),
            (2_500_000.0, "2.50 s"),
        ] {
            assert_eq!(micros(us), expected);
        }
    }

    #[test]
    fn the_window_covers_the_screen() {
        assert_eq!(between(0.0, 280.0, 5), (0, 5));
        assert_eq!(between(2800.0, 280.0, 1000), (85, 125));
    }
}
