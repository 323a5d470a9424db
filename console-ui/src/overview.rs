//! The mesh at a glance; each figure leads on.

mod lists;

use leptos::prelude::*;
use mesh_api::inventory::Overview;
use mesh_api::mesh::Status;
use mesh_api::metrics::Metrics;

use self::lists::{changes, namespaces, offenders, problems};
use crate::chart::{Chart, Data, from_metrics, sparkline};
use crate::clock;
use crate::format;
use crate::health::Health;
use crate::load::{Loaded, load, skeleton_chart, skeleton_rows};
use crate::parts::{card, figure, icon};
use crate::text::overview::words;
use crate::text::t;
use crate::time::time;

/// The page.
#[component]
pub fn OverviewPage() -> impl IntoView {
    let time = time();
    let overview = load::<Overview>(move || Some(format!("/api/overview?{}", time.query())));
    let by_code = load::<Metrics>(move || {
        Some(format!(
            "/api/metrics?groupBy=code&step={}&{}",
            time.step(),
            time.query()
        ))
    });
    let whole = load::<Metrics>(move || {
        Some(format!(
            "/api/metrics?quantiles=0.5,0.95,0.99&step={}&{}",
            time.step(),
            time.query()
        ))
    });
    let status = load::<Status>(move || {
        time.query();
        Some("/api/status".to_owned())
    });
    Effect::new(move |_| {
        let fresh = whole
            .value
            .with(|metrics| metrics.as_ref().map(|metrics| metrics.to.clone()));
        time.report(fresh);
        time.lost.set(overview.failure.with(Option::is_some));
    });
    view! {
        <h1 class="visually-hidden">{t().overview}</h1>
        <div class="scroll">
            {move || status.get().map(|status| not_recording(&status))}
            <div class="page-grid">
                {figures(overview)}
                {charts(by_code, whole)}
                <div class="two-columns">
                    {boxed(overview, words().offenders, offenders)}
                    {boxed(overview, words().problems, problems)}
                </div>
                <div class="two-columns wide-left">
                    {boxed(overview, t().namespaces, namespaces)}
                    {boxed(overview, words().changes, changes)}
                </div>
            </div>
        </div>
    }
}

/// A card of one part of the answer.
fn boxed(overview: Loaded<Overview>, title: &'static str, body: fn(&Overview) -> AnyView) -> impl IntoView {
    let time = time();
    let link = match title {
        _ if title == words().problems => Some("/config?problems=1"),
        _ if title == words().changes => Some("/history"),
        _ if title == t().namespaces => Some("/namespaces"),
        _ => None,
    };
    let link =
        link.map(|path| view! { <a class="soft" href=move || time.link(path)>{t().show_all}</a> }.into_any());
    let content = overview.view(
        title,
        || skeleton_rows(4),
        move || move || overview.value.with(|overview| overview.as_ref().map(body)),
    );
    card(title, link, content)
}

fn not_recording(status: &Status) -> impl IntoView + use<> {
    let reason = status.recording_error.clone();
    (!status.recording).then(|| view! { <div class="banner fail" role="status">{icon("octagon-alert")}{t().recording_lost}<span class="detail">{reason}</span></div> })
}

/// The golden signals, and the mesh's own state.
fn figures(overview: Loaded<Overview>) -> impl IntoView {
    let shown = overview.view(
        words().golden,
        || skeleton_rows(2),
        move || move || overview.value.with(|overview| overview.as_ref().map(figure_row)),
    );
    view! { <section class="figure-row" aria-label=words().golden data-figures="">{shown}</section> }
}

fn figure_row(overview: &Overview) -> impl IntoView + use<> {
    let mesh = &overview.mesh;
    let time = time();
    let health = Health::of(mesh.requests, mesh.errors);
    let tone = match health {
        Health::Fail => "fail",
        Health::Warn => "warn",
        Health::Ok | Health::Unknown => "",
    };
    let detail = |text: String| view! { <span class="detail">{text}</span> };
    let behind = overview.proxies.saturating_sub(overview.synced);
    let now = clock::now();
    let left = clock::parse(&overview.certificate_expires).map(|at| (at - now) / 1000.0);
    let expiry = left.map_or_else(|| words().unknown_expiry.to_owned(), format::span);
    let versions = overview
        .versions
        .iter()
        .map(|(version, count)| format!("{version} × {count}"))
        .collect::<Vec<_>>()
        .join(", ");
    view! {
        <a class="figure-link" href=move || time.link("/requests")>
            {figure(words().rate, format!("{}/s", format::decimals(mesh.rate)), "", view! { {sparkline(&mesh.spark)}{detail(format!("{} · {}", format::count(mesh.requests), words().requests_total))} })}
        </a>
        <a class="figure-link" href=move || time.link("/requests?reason=error")>
            {figure(words().errors, format::percent(mesh.errors, mesh.requests), tone, detail(format!("{} 5xx · {} 4xx", format::count(mesh.errors), format::count(mesh.client_errors))))}
        </a>
        <a class="figure-link" href=move || time.link("/requests?reason=slow")>
            {figure("p95", format::millis(mesh.p95_ms), "", detail(format!("p50 {} · p99 {}", format::millis(mesh.p50_ms), format::millis(mesh.p99_ms))))}
        </a>
        <a class="figure-link" href=move || time.link("/graph")>
            {figure(words().mtls_share, format::percent(mesh.mutual_tls, mesh.requests), "", detail(words().golden_hint.to_owned()))}
        </a>
        <a class="figure-link" href="/mesh">
            {figure(t().in_sync, format!("{} / {}", overview.synced, overview.proxies), if behind > 0 { "warn" } else { "" }, detail(versions))}
        </a>
        <a class="figure-link" href="/mesh">
            {figure(words().certificates, expiry, if left.is_some_and(|left| left < 3600.0) { "fail" } else { "" }, detail(String::new()))}
        </a>
    }
}

fn charts(by_code: Loaded<Metrics>, whole: Loaded<Metrics>) -> impl IntoView {
    let time = time();
    let drawn = |metrics: Loaded<Metrics>, draw: fn(&Metrics, f64) -> Data| {
        Signal::derive(move || {
            metrics
                .value
                .with(|metrics| metrics.as_ref().map(|metrics| draw(metrics, clock::now())))
        })
    };
    let asked = |metrics: Loaded<Metrics>, name: &'static str| {
        Signal::derive(move || {
            metrics
                .value
                .with(|metrics| metrics.as_ref()?.promql.get(name).cloned())
        })
    };
    let link = move |path: &'static str| Signal::derive(move || time.link(path));
    let codes = by_code.view(words().rate, skeleton_chart, move || {
        view! { <Chart title=words().rate data=drawn(by_code, from_metrics::rates) promql=asked(by_code, "requests") link=(link("/requests"), words().see_requests) named=true/> }
    });
    let errors = whole.view(words().errors, skeleton_chart, move || {
        view! { <Chart title=words().errors data=drawn(whole, from_metrics::error_share) promql=asked(whole, "errors") link=(link("/requests?reason=error"), words().see_requests) named=true/> }
    });
    let durations = whole.view(words().latency, skeleton_chart, move || {
        view! { <Chart title=words().latency data=drawn(whole, from_metrics::durations) promql=asked(whole, "duration") link=(link("/requests?reason=slow"), words().see_requests)/> }
    });
    view! {
        <div class="chart-row">
            <div class="card-box padded">{codes}</div>
            <div class="card-box padded">{errors}</div>
            <div class="card-box padded">{durations}</div>
        </div>
    }
}
