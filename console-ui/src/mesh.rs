//! The mesh's own parts: proxies, control plane, history.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::mesh::{Proxy, ProxyList, Status};

use crate::api::{self, Failure};
use crate::clock::{self, ticker};
use crate::format;
use crate::parts::{empty, failed, icon};
use crate::text::t;

const EVERY: Duration = Duration::from_secs(2);

/// The page.
#[component]
pub fn MeshPage() -> impl IntoView {
    let proxies: RwSignal<Option<ProxyList>> = RwSignal::new(None);
    let status: RwSignal<Option<Status>> = RwSignal::new(None);
    let failure: RwSignal<Option<Failure>> = RwSignal::new(None);
    let again = RwSignal::new(0_u32);
    let now = ticker(EVERY);
    Effect::new(move |_| {
        now.track();
        again.track();
        if document().hidden() {
            return;
        }
        spawn_local(async move {
            let answers = (
                api::get::<ProxyList>("/api/proxies").await,
                api::get::<Status>("/api/status").await,
            );
            match answers {
                (Ok(list), Ok(state)) => {
                    failure.try_set(None);
                    proxies.try_set(Some(list));
                    status.try_set(Some(state));
                }
                (Err(error), _) | (_, Err(error)) => {
                    failure.try_set(Some(error));
                }
            }
        });
    });
    let known = Memo::new(move |_| proxies.with(Option::is_some));
    let lost = Memo::new(move |_| failure.with(Option::is_some));
    view! {
        <h1 class="visually-hidden">{t().mesh}</h1>
        <Show when=move || lost.get() && known.get()>
            <div class="banner" role="status">{icon("unplug")}{move || failure.get().map(|failure| failure.message)}</div>
        </Show>
        {move || status.get().map(|status| banner(&status))}
        {move || status.get().map(|status| figures(&status, &proxies.get().unwrap_or_default()))}
        <div class="split">
            {move || match (known.get(), lost.get()) {
                (false, true) => failure.get_untracked().map(|error| failed(t().mesh, error, move || again.update(|times| *times += 1))).into_any(),
                (false, false) => view! { <div class="empty" role="status"><p>{t().waiting}</p></div> }.into_any(),
                (true, _) => table(proxies).into_any(),
            }}
        </div>
    }
}

fn banner(status: &Status) -> impl IntoView + use<> {
    let reason = status.recording_error.clone();
    (!status.recording).then(|| view! { <div class="banner fail" role="status">{icon("octagon-alert")}{t().recording_lost}<span class="detail">{reason}</span></div> })
}

fn figures(status: &Status, proxies: &ProxyList) -> impl IntoView + use<> {
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
    let cell = |name: &'static str, value: String, detail: String| {
        view! { <div><dt>{name}</dt><dd title=value.clone()>{value.clone()}" "<small>{detail}</small></dd></div> }
    };
    view! {
        <dl class="mesh-figures">
            {cell(t().in_sync, format!("{synced} / {total}"), String::new())}
            {cell(t().control_plane, status.version.clone(), String::new())}
            {cell(t().revision, status.revision.chars().take(12).collect(), String::new())}
            {cell(t().history, size, limit)}
            {cell(t().state, if status.recording { t().recording } else { t().not_recording }.to_owned(), String::new())}
            {cell(t().gaps, status.gaps.len().to_string(), String::new())}
        </dl>
    }
}

fn table(proxies: RwSignal<Option<ProxyList>>) -> impl IntoView {
    let head = [
        t().proxy,
        t().namespace,
        t().kind,
        t().state,
        t().version,
        t().revision,
        t().last_flush,
        t().last_seen,
        t().certificate,
    ]
    .map(|name| view! { <th scope="col">{name}</th> });
    let head = StoredValue::new_local(Some(head));
    let none =
        Memo::new(move |_| proxies.with(|list| list.as_ref().is_some_and(|list| list.proxies.is_empty())));
    view! {
        <Show when=move || none.get()>{empty("boxes", t().no_proxies.to_owned(), t().no_proxies_hint.to_owned())}</Show>
        <div class="table-wrap" tabindex="0" role="region" aria-label=t().proxies hidden=move || none.get()>
            <table class="grid" data-proxies="">
                <thead><tr>{head.try_update_value(Option::take).flatten().map(|head| head.into_iter().collect_view())}</tr></thead>
                <tbody>{move || proxies.get().unwrap_or_default().proxies.iter().map(row).collect_view()}</tbody>
            </table>
        </div>
    }
}

fn row(proxy: &Proxy) -> impl IntoView + use<> {
    let now = clock::now();
    let ago = |time: &str| clock::age(time, now).map(|age| (t().ago)(&age));
    let expires = clock::parse(&proxy.certificate_expires)
        .map(|at| (t().expires_in)(&format::span((at - now) / 1000.0)));
    let (class, name, word) = match proxy.state.as_str() {
        "synced" => ("health ok", "circle-check", t().synced),
        "stale" => ("health info", "loader-circle", t().stale),
        "refused" => ("health fail", "octagon-alert", t().refused),
        _ => ("health warn", "unplug", t().disconnected),
    };
    view! {
        <tr>
            <td class="name" title=proxy.id.clone()>{proxy.workload.clone()}</td>
            <td class="soft">{proxy.namespace.clone()}</td>
            <td class="soft">{proxy.kind.clone()}</td>
            <td><span class=class title=proxy.refused.clone()>{icon(name)}{word}</span></td>
            <td class="soft">{proxy.version.clone()}</td>
            <td class="mono" title=proxy.revision.clone()>{proxy.revision.chars().take(8).collect::<String>()}</td>
            <td class="soft">{ago(&proxy.last_flush)}</td>
            <td class="soft">{ago(&proxy.last_seen)}</td>
            <td class="soft">{expires}</td>
        </tr>
    }
}
