//! Traces of an interval.

use leptos::prelude::*;
use mesh_api::traces::{TraceList, TraceSummary};

use super::scatter::Scatter;
use crate::address::{Step, address};
use crate::api;
use crate::clock;
use crate::format;
use crate::grid::{Cell, Column, Grid, GridTools, Look, Row};
use crate::load::{load, signed_in_known, skeleton_rows};
use crate::parts::{empty, icon};
use crate::text::t;
use crate::text::traces::words;
use crate::time::time;

/// Traces of one answer, and what the reader may choose.
const LIMITS: [u32; 4] = [50, 200, 500, 1000];
const LIMIT: u32 = 200;

/// All traces.
#[component]
pub fn TracesPage() -> impl IntoView {
    view! {
        <h1 class="visually-hidden">{t().traces}</h1>
        <TracesView base=String::new()/>
    }
}

/// Traces, held to `base` (a part of the query such as `&app=default/reviews`).
#[component]
pub fn TracesView(base: String) -> impl IntoView {
    let (address, time) = (address(), time());
    let list = load::<TraceList>(move || {
        if !signed_in_known() {
            return None;
        }
        let mut path = format!("/api/traces?{}{base}", time.query());
        for name in ["workload", "app", "minMs", "maxMs", "text"] {
            if let Some(value) = address.read(name) {
                path.push_str(&format!("&{name}={}", api::encode(&value)));
            }
        }
        if address.read("errors").is_some() {
            path.push_str("&errors=true");
        }
        Some(format!(
            "{path}&limit={}",
            limit(address.read("limit").as_deref())
        ))
    })
    .reported();
    let traces = Memo::new(move |_| {
        list.value
            .with(|list| list.as_ref().map(|list| list.traces.clone()).unwrap_or_default())
    });
    let rows = Memo::new(move |_| {
        let longest = traces.with(|traces| traces.iter().map(|trace| trace.duration_ms).fold(0.0, f64::max));
        traces.with(|traces| {
            traces
                .iter()
                .map(|trace| row(trace, longest, &time.link(&format!("/traces/{}", trace.trace))))
                .collect::<Vec<Row>>()
        })
    });
    let nothing = Memo::new(move |_| rows.with(Vec::is_empty));
    let filtered = move || {
        ["workload", "app", "minMs", "maxMs", "text", "errors"]
            .iter()
            .any(|name| address.read(name).is_some())
    };
    view! {
        <TraceBar rows/>
        <div class="split column-split">
            {list.view(t().traces, || skeleton_rows(10), move || view! {
                <Scatter traces/>
                <div class="list-room" hidden=move || nothing.get()>
                    <Grid label=t().traces name="traces" columns=columns() rows/>
                </div>
                <Show when=move || nothing.get()>
                    {move || if filtered() {
                        empty("search", t().no_matches.to_owned(), words().no_matches_hint.to_owned())
                    } else {
                        empty("waypoints", words().none.to_owned(), words().none_hint.to_owned())
                    }}
                </Show>
            })}
        </div>
    }
}

fn limit(text: Option<&str>) -> u32 {
    text.and_then(|text| text.parse().ok())
        .filter(|limit| LIMITS.contains(limit))
        .unwrap_or(LIMIT)
}

#[component]
fn TraceBar(rows: Memo<Vec<Row>>) -> impl IntoView {
    let address = address();
    let given = |name: &'static str| move || address.read(name).unwrap_or_default();
    let write = move |name: &'static str, value: String| {
        address.write(&[(name, (!value.is_empty()).then_some(value))], Step::Replace);
    };
    let errors = move || address.read("errors").is_some();
    let brushed = move || ["minMs", "maxMs"].iter().any(|name| address.read(name).is_some());
    let options = LIMITS.map(|choice| {
        view! { <option value=choice.to_string() selected=move || limit(address.read("limit").as_deref()) == choice>{(words().newest)(choice)}</option> }
    });
    view! {
        <div class="toolbar" role="toolbar" aria-label=t().traces>
            <input
                class="input grow"
                type="search"
                placeholder=words().search
                aria-label=words().search
                prop:value=given("text")
                on:change=move |event| write("text", event_target_value(&event))
            />
            <button
                class="button"
                aria-pressed=move || errors().to_string()
                on:click=move |_| write("errors", if untrack(errors) { String::new() } else { "1".to_owned() })
            >
                {icon("octagon-alert")}{words().only_errors}
            </button>
            <label class="field">
                {words().longer_than}
                <input class="input short" type="number" min="0" step="any" prop:value=given("minMs") on:change=move |event| write("minMs", event_target_value(&event))/>
                "ms"
            </label>
            <Show when=brushed>
                <button class="button quiet" on:click=move |_| address.write(&[("minMs", None), ("maxMs", None)], Step::New)>{icon("x")}{words().any_length}</button>
            </Show>
            <div class="spacer"></div>
            <select class="select" aria-label=words().how_many on:change=move |event| write("limit", event_target_value(&event))>{options.into_iter().collect_view()}</select>
            <GridTools name="traces" columns=columns() rows/>
        </div>
    }
}

fn columns() -> Vec<Column> {
    let w = words();
    vec![
        Column::text("name", w.operation),
        Column::text("root", w.entry),
        Column::number("duration", w.duration),
        Column::number("spans", w.spans),
        Column::text("errors", t().errors),
        Column::text("apps", t().apps),
        Column::text("started", w.started),
        Column::text("trace", w.trace),
    ]
}

fn row(trace: &TraceSummary, longest: f64, link: &str) -> Row {
    let at = clock::parse(&trace.started);
    let apps: Vec<String> = trace
        .apps
        .iter()
        .map(|(app, spans)| format!("{} ({spans})", app.rsplit('/').next().unwrap_or(app)))
        .collect();
    let share = if longest > 0.0 {
        trace.duration_ms / longest
    } else {
        0.0
    };
    let name = if trace.name.is_empty() {
        words().unnamed.to_owned()
    } else {
        trace.name.clone()
    };
    Row {
        id: trace.trace.clone(),
        href: Some(link.to_owned()),
        cells: vec![
            Cell::text(name),
            Cell::soft(trace.root.clone()),
            Cell {
                look: Look::Bar(share),
                ..Cell::millis(Some(trace.duration_ms))
            },
            Cell::count(u64::from(trace.spans)),
            if trace.errors > 0 {
                Cell::chip("fail", trace.errors.to_string()).valued(Some(f64::from(trace.errors)))
            } else {
                Cell::soft("–").valued(Some(0.0))
            },
            Cell::soft(apps.join(" · ")),
            Cell::soft(at.map_or_else(|| trace.started.clone(), |at| clock::time_of_day(at, true)))
                .valued(at)
                .titled(trace.started.clone()),
            Cell::mono(format::shorten(&trace.trace, 12)).titled(trace.trace.clone()),
        ],
    }
}
