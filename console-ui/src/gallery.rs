//! The building blocks of all pages on one page: to look at, and for screenshots in both themes.

use leptos::prelude::*;
use mesh_api::requests::{HeatCell, HeatMap};

use crate::api::Failure;
use crate::chart::{Chart, Data, Form, HeatChart, Line, Tone, Unit, sparkline};
use crate::health::Health;
use crate::load::{skeleton_chart, skeleton_rows};
use crate::parts::{card, copy, empty, failed, figure, health_badge, icon, segmented};
use crate::text::t;

/// Windows of the example charts.
const WINDOWS: u32 = 60;
const STEP_MS: f64 = 10_000.0;
/// A fixed time: screenshots must not differ.
const START_MS: f64 = 1_800_000_000_000.0;

/// The page.
#[component]
pub fn GalleryPage() -> impl IntoView {
    view! {
        <div class="scroll" data-gallery="">
            <div class="page-grid">
                <h1>{t().gallery}</h1>
                <div class="two-columns">
                    {card("button, chip, kbd", None, controls())}
                    {card("health, figure", None, figures())}
                </div>
                <div class="chart-row">
                    <div class="card-box padded"><Chart title="stacked" data=Signal::stored(Some(example(Form::Stacked, Unit::Rate))) named=true/></div>
                    <div class="card-box padded"><Chart title="areas" data=Signal::stored(Some(example(Form::Areas, Unit::Percent)))/></div>
                    <div class="card-box padded"><Chart title="lines" data=Signal::stored(Some(example(Form::Lines, Unit::Millis)))/></div>
                </div>
                <div class="two-columns">
                    <div class="card-box padded"><HeatChart map=Signal::stored(Some(heat())) brush=Callback::new(|_| ())/></div>
                    {card("skeleton", None, view! { {skeleton_rows(4)}<div class="padded">{skeleton_chart()}</div> })}
                </div>
                <div class="two-columns">
                    {card("empty", None, empty("network", t().no_traffic.to_owned(), t().no_traffic_hint.to_owned()))}
                    {card("error", None, failed(t().graph_failed, failure(), || ()))}
                </div>
                {card("banner", None, banners())}
                {card("table", None, table())}
            </div>
        </div>
    }
}

fn controls() -> impl IntoView {
    let choice = RwSignal::new(0_u8);
    view! {
        <div class="gallery-flow">
            <button class="button primary">{icon("save")}{t().save}</button>
            <button class="button">{icon("git-compare")}{t().review}</button>
            <button class="button danger">{icon("trash-2")}{t().delete}</button>
            <button class="button" aria-pressed="true">{t().only_problems}</button>
            <button class="button" disabled=true>{t().unchanged}</button>
            <button class="button quiet square" aria-label=t().close>{icon("x")}</button>
            {copy(t().copy, Callback::new(|()| "Sightline".to_owned()))}
            {segmented(t().labels, vec![(0, t().label_rate), (1, t().label_errors), (2, t().label_p95)], move || choice.get(), move |value| choice.set(value))}
            <input class="input" type="search" placeholder=t().filter aria-label=t().filter/>
            <span class="chip">"default"</span>
            <span class="chip ok">"200"</span>
            <span class="chip info">"302"</span>
            <span class="chip warn">"404"</span>
            <span class="chip fail">"503"</span>
            <kbd>"Ctrl K"</kbd>
        </div>
    }
}

fn figures() -> impl IntoView {
    let healths = [Health::Ok, Health::Warn, Health::Fail, Health::Unknown];
    view! {
        <div class="gallery-flow">{healths.map(health_badge).into_iter().collect_view()}</div>
        <div class="figures padded">
            {figure(t().rate, "41.9/s".to_owned(), "", sparkline(&wave(30.0)))}
            {figure(t().errors, "2.1 %".to_owned(), "warn", ())}
            {figure("p95", "58 ms".to_owned(), "", ())}
        </div>
    }
}

fn banners() -> impl IntoView {
    view! {
        <div class="banner">{icon("unplug")}{t().lost}<span class="detail">{t().lost_detail}</span></div>
        <div class="banner fail">{icon("octagon-alert")}{t().invalid}</div>
        <div class="banner info">{icon("info")}{t().gap}</div>
    }
}

fn table() -> impl IntoView {
    let rows = [("reviews", Health::Ok), ("ratings", Health::Fail), ("details", Health::Unknown)].map(|(name, health)| {
        view! { <tr><td class="name"><a href="/gallery">{name}</a></td><td class="soft">"default"</td><td>{health_badge(health)}</td><td class="number">"41.9/s"</td><td>{sparkline(&wave(12.0))}</td></tr> }
    });
    view! {
        <table class="grid">
            <thead><tr><th scope="col">{t().name}</th><th scope="col">{t().namespace}</th><th scope="col">{t().health}</th><th scope="col" class="number">{t().rate}</th><th scope="col">{t().over_time}</th></tr></thead>
            <tbody>{rows.into_iter().collect_view()}</tbody>
        </table>
    }
}

fn failure() -> Failure {
    Failure {
        status: 502,
        message: "the control plane at https://127.0.0.1:15019 does not answer".into(),
        remedy: Some("it may be restarting: the page tries again by itself".into()),
        request_id: "5f0c2a9be1d34471".into(),
        body: String::new(),
    }
}

/// Something that looks like traffic, the same each time.
fn wave(height: f64) -> Vec<f64> {
    (0..WINDOWS)
        .map(|at| {
            let at = f64::from(at);
            height * (1.0 + 0.25 * (at / 7.0).sin() + 0.1 * (at * 1.9).sin())
        })
        .collect()
}

fn example(form: Form, unit: Unit) -> Data {
    let line = |name: &str, tone, height: f64, gap: bool| Line {
        name: name.to_owned(),
        tone,
        values: wave(height)
            .into_iter()
            .enumerate()
            .map(|(at, value)| (!gap || !(24..28).contains(&at)).then_some(value))
            .collect(),
    };
    let lines = match form {
        Form::Stacked => vec![
            line("200", Tone::Ok, 36.0, false),
            line("404", Tone::Warn, 5.0, false),
            line("503", Tone::Fail, 3.0, false),
        ],
        Form::Areas => vec![line("reviews", Tone::Fail, 2.4, true)],
        Form::Lines => vec![
            line("p50", Tone::Series(0), 12.0, false),
            line("p95", Tone::Series(1), 31.0, false),
            line("p99", Tone::Series(2), 58.0, false),
        ],
    };
    Data {
        from_ms: START_MS,
        step_ms: STEP_MS,
        lines,
        form,
        unit,
    }
}

fn heat() -> HeatMap {
    let rows_ms: Vec<f64> = (0..14).map(|row| 2_f64.powi(row)).collect();
    let cells = (0..WINDOWS)
        .flat_map(|column| {
            (2..9_u32).map(move |row| HeatCell {
                column,
                row,
                requests: u64::from((column * 7 + row * 13) % 40) / (1 + u64::from(row.abs_diff(4))),
                errors: if row == 8 && column.is_multiple_of(9) {
                    4
                } else {
                    0
                },
            })
        })
        .filter(|cell| cell.requests > 0)
        .collect();
    HeatMap {
        from_ms: START_MS,
        column_ms: STEP_MS,
        columns: WINDOWS,
        rows_ms,
        cells,
    }
}
