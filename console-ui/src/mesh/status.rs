//! Control plane, history, exporters, gaps.

use leptos::prelude::*;
use mesh_api::mesh::{Exporter, ProxyList, Status};

use crate::clock;
use crate::format;
use crate::parts::{icon, sized_icon};
use crate::text::meshes::words;
use crate::text::t;

/// What must be known at once.
pub fn banners(status: &Status) -> impl IntoView + use<> {
    let reason = status.recording_error.clone();
    let dropped = status.records_dropped;
    view! {
        {(!status.recording).then(|| view! { <div class="banner fail" role="status">{icon("octagon-alert")}{t().recording_lost}<span class="detail">{reason}</span></div> })}
        {(dropped > 0).then(|| view! { <div class="banner" role="status" data-dropped="">{icon("triangle-alert")}{(words().dropped)(&format::count(dropped))}</div> })}
    }
}

/// The most important numbers.
pub fn figures(status: &Status, proxies: &ProxyList) -> impl IntoView + use<> {
    let w = words();
    let synced = proxies
        .proxies
        .iter()
        .filter(|proxy| proxy.state == "synced")
        .count();
    let total = proxies.proxies.len();
    // A history that cannot be used does not know its size.
    let (size, limit) = match status.history_limit_bytes {
        0 => ("–".to_owned(), String::new()),
        limit => (
            format::bytes(status.history_bytes),
            (t().of_limit)(&format::bytes(limit)),
        ),
    };
    let first = proxies
        .proxies
        .iter()
        .filter_map(|proxy| clock::parse(&proxy.certificate_expires))
        .min_by(f64::total_cmp);
    let certificate = first.map_or_else(|| "–".to_owned(), |at| format::span((at - clock::now()) / 1000.0));
    let store = if status.store.is_empty() {
        "–".to_owned()
    } else {
        status.store.clone()
    };
    let cell = |name: &'static str, value: String, detail: AnyView| {
        view! { <div><dt>{name}</dt><dd title=value.clone()>{value.clone()}" "<small>{detail}</small></dd></div> }
    };
    let none = || ().into_any();
    view! {
        <dl class="mesh-figures">
            {cell(t().in_sync, format!("{synced} / {total}"), none())}
            {cell(t().control_plane, status.version.clone(), none())}
            {cell(t().revision, status.revision.chars().take(12).collect(), none())}
            {cell(w.first_expiry, certificate, none())}
            {cell(w.store, store, none())}
            {cell(t().history, size, view! { {limit} }.into_any())}
        </dl>
    }
}

/// Where spans are sent.
pub fn exporters(status: &Status) -> impl IntoView + use<> {
    let w = words();
    let rows: Vec<_> = status.exporters.iter().map(exporter).collect();
    let head = [w.collector, t().state, w.sent, w.queued, w.given_up];
    (!rows.is_empty()).then(|| view! {
        <section class="table-section" data-exporters="">
            <h2>{w.exporters}</h2>
            <div class="table-wrap inline" tabindex="0" role="region" aria-label=w.exporters>
                <table class="grid">
                    <thead><tr>{head.map(|name| view! { <th scope="col">{name}</th> }).into_iter().collect_view()}</tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    })
}

fn exporter(exporter: &Exporter) -> impl IntoView + use<> {
    let w = words();
    let state = match (&exporter.error, exporter.dropped) {
        (Some(error), _) => view! { <span class="health fail" title=error.clone()>{sized_icon("octagon-alert", "icon")}{error.clone()}</span> }.into_any(),
        (None, 0) => view! { <span class="health ok">{sized_icon("circle-check", "icon")}{w.delivering}</span> }.into_any(),
        (None, _) => view! { <span class="health warn">{sized_icon("triangle-alert", "icon")}{w.lossy}</span> }.into_any(),
    };
    view! {
        <tr>
            <td class="name">{exporter.kind.clone()}" "<span class="mono soft">{exporter.endpoint.clone()}</span></td>
            <td class="wrap">{state}</td>
            <td>{format::count(exporter.sent)}</td>
            <td>{format::count(exporter.queued)}</td>
            <td>{format::count(exporter.dropped)}</td>
        </tr>
    }
}

/// Times for which counts may lack something.
pub fn gaps(status: &Status) -> impl IntoView + use<> {
    let w = words();
    let now = clock::now();
    let row = |gap: &mesh_api::mesh::Gap| {
        let ago = clock::age(&gap.at, now).map(|age| (t().ago)(&age));
        view! {
            <tr>
                <td class="mono">{gap.proxy.clone()}</td>
                <td class="soft" title=gap.at.clone()>{ago}</td>
                <td class="wrap">{gap.reason.clone()}</td>
            </tr>
        }
    };
    let rows: Vec<_> = status.gaps.iter().take(50).map(row).collect();
    let head = [t().proxy, w.when, w.why];
    (!rows.is_empty()).then(|| view! {
        <section class="table-section" data-gaps="">
            <h2>{t().gaps}</h2>
            <div class="table-wrap inline" tabindex="0" role="region" aria-label=t().gaps>
                <table class="grid">
                    <thead><tr>{head.map(|name| view! { <th scope="col">{name}</th> }).into_iter().collect_view()}</tr></thead>
                    <tbody>{rows}</tbody>
                </table>
            </div>
        </section>
    })
}
