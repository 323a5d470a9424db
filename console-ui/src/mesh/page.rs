//! Every proxy, and one of them.

use std::collections::BTreeMap;
use std::time::Duration;

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use mesh_api::mesh::{Proxy, ProxyList, Status};

use super::status;
use crate::address::{Step, address};
use crate::clock::{self, ticker};
use crate::format;
use crate::grid::{Cell, Column, Grid, GridTools, Row};
use crate::inventory::{ProxyView, state_face};
use crate::load::{load, skeleton_rows};
use crate::parts::{empty, icon, sized_icon};
use crate::requests::percent_encode;
use crate::text::meshes::words;
use crate::text::t;

const EVERY: Duration = Duration::from_secs(2);
/// A certificate that ends sooner than this is told, seconds.
const SOON: f64 = 3600.0;

/// The page.
#[component]
pub fn MeshPage() -> impl IntoView {
    let address = address();
    let (now, visible) = (ticker(EVERY), clock::visibility());
    let often = move || {
        if visible.get() {
            now.track();
        }
    };
    let proxies = load::<ProxyList>(move || {
        often();
        Some("/api/proxies".to_owned())
    });
    let status = load::<Status>(move || {
        often();
        Some("/api/status".to_owned())
    });
    let rows = Memo::new(move |_| {
        let words = address.read("q").unwrap_or_default().to_lowercase();
        let state = address.read("state");
        let wanted = |proxy: &&Proxy| {
            let text = format!(
                "{} {} {} {}",
                proxy.id, proxy.namespace, proxy.workload, proxy.version
            )
            .to_lowercase();
            words.split_whitespace().all(|word| text.contains(word))
                && state.as_ref().is_none_or(|state| *state == proxy.state)
        };
        proxies.value.with(|list| {
            let all = list.iter().flat_map(|list| &list.proxies);
            all.filter(wanted).map(row).collect::<Vec<Row>>()
        })
    });
    let none = Memo::new(move |_| {
        proxies
            .value
            .with(|list| list.as_ref().is_some_and(|list| list.proxies.is_empty()))
    });
    let lost = move || proxies.failure.with(Option::is_some) && proxies.value.with(Option::is_some);
    view! {
        <h1 class="visually-hidden">{t().mesh}</h1>
        <Show when=lost>
            <div class="banner" role="status">{icon("unplug")}{move || proxies.failure.get().map(|failure| failure.message)}</div>
        </Show>
        {move || status.value.get().map(|status| status::banners(&status))}
        {move || status.value.get().map(|status| status::figures(&status, &proxies.value.get().unwrap_or_default()))}
        <div class="scroll mesh-body">
            {move || status.value.get().map(|status| status::exporters(&status))}
            {move || status.value.get().map(|status| status::gaps(&status))}
            <section class="table-section">
                <h2>{t().proxies}</h2>
                <ProxyBar list=proxies.value rows/>
                {proxies.view(t().proxies, || skeleton_rows(8), move || view! {
                    <Show when=move || none.get()>{empty("boxes", t().no_proxies.to_owned(), t().no_proxies_hint.to_owned())}</Show>
                    <div hidden=move || none.get() data-proxies="">
                        <Grid label=t().proxies name="proxies" columns=columns() rows order="state" inline=true/>
                    </div>
                })}
            </section>
        </div>
    }
}

#[component]
fn ProxyBar(list: RwSignal<Option<ProxyList>>, rows: Memo<Vec<Row>>) -> impl IntoView {
    let address = address();
    let states = ["refused", "stale", "disconnected", "synced"].map(|state| {
        let (class, name, word) = state_face(state);
        let number = move || {
            list.with(|list| {
                list.iter()
                    .flat_map(|list| &list.proxies)
                    .filter(|proxy| proxy.state == state)
                    .count()
            })
        };
        let pressed = move || address.read("state").as_deref() == Some(state);
        view! {
            <button
                class="button"
                aria-pressed=move || pressed().to_string()
                on:click=move |_| address.write(&[("state", (!untrack(pressed)).then(|| state.to_owned()))], Step::Replace)
            >
                <span class=format!("health {class}")>{sized_icon(name, "icon small")}</span>{word}" "<span class="soft">{number}</span>
            </button>
        }
    });
    let versions = move || {
        let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
        list.with(|list| {
            for proxy in list.iter().flat_map(|list| &list.proxies) {
                *numbers.entry(proxy.version.clone()).or_default() += 1;
            }
        });
        let several = numbers.len() > 1;
        let chip = move |(version, number): (String, usize)| {
            let class = if several { "chip warn" } else { "chip" };
            view! { <span class=class>{format!("{} · {number}", if version.is_empty() { "?" } else { &version })}</span> }
        };
        numbers.into_iter().map(chip).collect_view()
    };
    view! {
        <div class="toolbar" role="toolbar" aria-label=t().proxies>
            <input
                class="input"
                type="search"
                size="28"
                placeholder=words().filter
                aria-label=words().filter
                prop:value=move || address.read("q").unwrap_or_default()
                on:input=move |event| {
                    let words = event_target_value(&event);
                    address.write(&[("q", (!words.is_empty()).then_some(words))], Step::Replace);
                }
            />
            {states.into_iter().collect_view()}
            <span class="field">{t().version}{versions}</span>
            <div class="spacer"></div>
            <GridTools name="proxies" columns=columns() rows/>
        </div>
    }
}

fn columns() -> Vec<Column> {
    vec![
        Column::text("workload", t().proxy),
        Column::text("namespace", t().namespace),
        Column::text("kind", t().kind),
        Column::text("state", t().state),
        Column::text("why", words().why),
        Column::text("version", t().version),
        Column::text("revision", t().revision),
        Column::number("flush", t().last_flush),
        Column::number("seen", t().last_seen),
        Column::number("certificate", t().certificate),
        Column::text("id", words().node_id).hidden(),
    ]
}

fn row(proxy: &Proxy) -> Row {
    let now = clock::now();
    let ago = |time: &str| {
        let age = clock::parse(time).map(|at| (now - at) / 1000.0);
        Cell::soft(age.map_or_else(|| "–".to_owned(), |age| (t().ago)(&format::span(age))))
            .valued(age)
            .titled(time)
    };
    let (class, name, word) = state_face(&proxy.state);
    let weight = match class {
        "fail" => 0.0,
        "warn" => 1.0,
        "info" => 2.0,
        _ => 3.0,
    };
    let left = clock::parse(&proxy.certificate_expires).map(|at| (at - now) / 1000.0);
    let certificate = match left {
        None => Cell::soft("–"),
        Some(left) if left <= 0.0 => Cell::state("fail", "octagon-alert", words().expired),
        Some(left) if left < SOON => {
            Cell::state("warn", "triangle-alert", &(t().expires_in)(&format::span(left)))
        }
        Some(left) => Cell::soft((t().expires_in)(&format::span(left))),
    };
    Row {
        id: proxy.id.clone(),
        href: Some(format!("/mesh/{}", percent_encode(&proxy.id))),
        cells: vec![
            Cell::text(proxy.workload.clone()).titled(proxy.id.clone()),
            Cell::soft(proxy.namespace.clone()),
            Cell::soft(proxy.kind.clone()),
            Cell::state(class, name, word).valued(Some(weight)),
            Cell::soft(proxy.refused.clone().unwrap_or_default())
                .titled(proxy.refused.clone().unwrap_or_default()),
            Cell::soft(proxy.version.clone()),
            Cell::mono(proxy.revision.chars().take(12).collect::<String>()).titled(proxy.revision.clone()),
            ago(&proxy.last_flush),
            ago(&proxy.last_seen),
            certificate.valued(left).titled(proxy.certificate_expires.clone()),
            Cell::mono(proxy.id.clone()),
        ],
    }
}

/// One proxy.
#[component]
pub fn ProxyPage() -> impl IntoView {
    let parameters = use_params_map();
    let id = Memo::new(move |_| parameters.with(|parameters| parameters.get("proxy").unwrap_or_default()));
    let ids = Memo::new(move |_| vec![id.get()]);
    view! {
        <div class="page-head">
            <div class="crumbs"><a href="/mesh">{t().mesh}</a>{sized_icon("chevron-right", "icon small")}</div>
            <h1 class="mono">{move || id.get()}</h1>
        </div>
        <ProxyView ids/>
    }
}
