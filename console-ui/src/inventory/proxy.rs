//! One proxy: its state, and the configuration that it was sent.

use leptos::prelude::*;
use mesh_api::mesh::{Proxy, ProxyList};
use serde_json::Value;

use super::dump::{Item, Part};
use crate::address::{Step, address};
use crate::api;
use crate::clock;
use crate::grid::{Cell, Column, Grid, GridTools, Row};
use crate::load::{Loaded, load, skeleton_rows};
use crate::parts::{copy, icon, segmented};
use crate::text::inventory::words;
use crate::text::t;

/// The proxies named, one at a time.
#[component]
pub fn ProxyView(ids: Memo<Vec<String>>) -> impl IntoView {
    let address = address();
    let chosen = Memo::new(move |_| {
        let asked = address.read("proxy");
        ids.with(|ids| {
            asked
                .filter(|asked| ids.contains(asked))
                .or_else(|| ids.first().cloned())
        })
    });
    let proxies = load::<ProxyList>(|| Some("/api/proxies".to_owned()));
    let state = move || {
        let id = chosen.get()?;
        let found = proxies.value.with(|list| {
            list.as_ref()?
                .proxies
                .iter()
                .find(|proxy| proxy.id == id)
                .cloned()
        });
        found.map(|proxy| facts(&proxy))
    };
    let choices = move || {
        let ids = ids.get();
        (ids.len() > 1).then(|| {
            let options = ids.into_iter().map(|id| {
                let (value, this) = (id.clone(), id.clone());
                view! { <option value=value selected=move || chosen.get().as_ref() == Some(&this)>{id}</option> }
            });
            view! {
                <select class="select" aria-label=t().proxy on:change=move |event| address.write(&[("proxy", Some(event_target_value(&event)))], Step::Replace)>
                    {options.collect_view()}
                </select>
            }
        })
    };
    let dump = load::<Value>(move || {
        let id = chosen.get()?;
        Some(format!("/api/proxies/{}/config", api::encode(&id)))
    });
    view! {
        <div class="proxy-view" data-proxy-view="">
            {choices}
            {state}
            <Dump dump/>
        </div>
    }
}

/// Class, icon, word of a proxy's state.
pub fn state_face(state: &str) -> (&'static str, &'static str, &'static str) {
    match state {
        "synced" => ("ok", "circle-check", t().synced),
        "stale" => ("info", "loader-circle", t().stale),
        "refused" => ("fail", "octagon-alert", t().refused),
        _ => ("warn", "unplug", t().disconnected),
    }
}

fn facts(proxy: &Proxy) -> impl IntoView + use<> {
    let now = clock::now();
    let ago = |time: &str| clock::age(time, now).map(|age| (t().ago)(&age));
    let (class, name, word) = state_face(&proxy.state);
    let refused = proxy.refused.clone().map(|reason| {
        view! { <div class="banner fail" role="status">{icon("octagon-alert")}{t().refused}<span class="detail">{reason}</span></div> }
    });
    let cell = |name: &'static str, value: AnyView| view! { <div><dt>{name}</dt><dd>{value}</dd></div> };
    let certificate = clock::parse(&proxy.certificate_expires)
        .map(|at| (t().expires_in)(&crate::format::span((at - now) / 1000.0)));
    view! {
        {refused}
        <dl class="mesh-figures">
            {cell(t().state, view! { <span class=format!("health {class}")>{icon(name)}{word}</span> }.into_any())}
            {cell(t().version, view! { {proxy.version.clone()} }.into_any())}
            {cell(t().revision, view! { <span title=proxy.revision.clone()>{proxy.revision.chars().take(12).collect::<String>()}</span> }.into_any())}
            {cell(t().last_seen, view! { {ago(&proxy.last_seen)} }.into_any())}
            {cell(t().last_flush, view! { {ago(&proxy.last_flush)} }.into_any())}
            {cell(t().certificate, view! { {certificate} }.into_any())}
        </dl>
    }
}

/// What the URL chooses of the dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Table(Part),
    Raw,
}

#[component]
fn Dump(dump: Loaded<Value>) -> impl IntoView {
    let address = address();
    let shown = Memo::new(move |_| {
        let name = address.read("part").unwrap_or_default();
        if name == "raw" {
            return Shown::Raw;
        }
        let part = Part::ALL.into_iter().find(|part| part.name() == name);
        Shown::Table(part.unwrap_or(Part::Clusters))
    });
    let w = words();
    let choices = vec![
        (Shown::Table(Part::Clusters), w.clusters),
        (Shown::Table(Part::Listeners), w.listeners),
        (Shown::Table(Part::Routes), w.proxy_routes),
        (Shown::Table(Part::Endpoints), w.endpoints),
        (Shown::Raw, w.raw),
    ];
    let choose = move |next: Shown| {
        let name = match next {
            Shown::Table(Part::Clusters) => None,
            Shown::Table(part) => Some(part.name().to_owned()),
            Shown::Raw => Some("raw".to_owned()),
        };
        address.write(
            &[("part", name), ("item", None), ("psort", None), ("pcols", None)],
            Step::Replace,
        );
    };
    let content = move || match shown.get() {
        Shown::Raw => raw(dump).into_any(),
        Shown::Table(part) => table(part, dump).into_any(),
    };
    view! {
        <div class="toolbar" role="toolbar" aria-label=w.proxy_config>
            {segmented(w.proxy_config, choices, move || shown.get(), choose)}
            <input
                class="input"
                type="search"
                size="28"
                placeholder=w.filter
                aria-label=w.filter
                prop:value=move || address.read("pq").unwrap_or_default()
                on:input=move |event| {
                    let words = event_target_value(&event);
                    address.write(&[("pq", (!words.is_empty()).then_some(words))], Step::Replace);
                }
            />
        </div>
        <div class="split">{dump.view(w.proxy_config, || skeleton_rows(10), move || view! { {content} })}</div>
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn raw(dump: Loaded<Value>) -> impl IntoView {
    let text = move || {
        dump.value
            .with(|value| value.as_ref().map(pretty).unwrap_or_default())
    };
    view! {
        <div class="raw-room">
            {copy(words().copy_json, Callback::new(move |()| untrack(text)))}
            <pre class="raw" tabindex="0">{text}</pre>
        </div>
    }
}

fn columns(part: Part) -> Vec<Column> {
    let w = words();
    match part {
        Part::Clusters => vec![
            Column::text("host", w.host),
            Column::text("direction", w.direction),
            Column::text("port", w.port),
            Column::text("subset", w.subset),
            Column::text("type", t().kind),
            Column::text("balancing", w.balancing),
            Column::text("tls", w.tls),
        ],
        Part::Listeners => vec![
            Column::text("name", t().name),
            Column::text("address", w.address),
            Column::text("direction", w.direction),
            Column::text("chains", w.chains),
            Column::text("filters", w.filters),
        ],
        Part::Routes => vec![
            Column::text("table", w.route_table),
            Column::text("domains", w.domains),
            Column::text("match", w.match_name),
            Column::text("target", t().target),
            Column::text("name", t().name),
        ],
        Part::Endpoints => vec![
            Column::text("address", w.address),
            Column::text("cluster", w.cluster),
            Column::text("health", t().health),
            Column::text("weight", w.weight),
            Column::text("priority", w.priority),
        ],
    }
}

fn table(part: Part, dump: Loaded<Value>) -> impl IntoView {
    let address = address();
    let items = Memo::new(move |_| {
        dump.value
            .with(|value| value.as_ref().map(|value| part.items(value)).unwrap_or_default())
    });
    let rows = Memo::new(move |_| {
        let wanted = address.read("pq").unwrap_or_default().to_lowercase();
        let row = |(at, item): (usize, &Item)| {
            let text = item.cells.join(" ").to_lowercase();
            wanted
                .split_whitespace()
                .all(|word| text.contains(word))
                .then(|| Row {
                    id: at.to_string(),
                    href: Some(address.with(&[("item", Some(at.to_string()))])),
                    cells: item.cells.iter().map(Cell::text).collect(),
                })
        };
        items.with(|items| items.iter().enumerate().filter_map(row).collect::<Vec<Row>>())
    });
    let chosen = Memo::new(move |_| address.read("item"));
    let resource = move || {
        let at: usize = chosen.get()?.parse().ok()?;
        items.with(|items| items.get(at).map(|item| pretty(&item.resource)))
    };
    let panel = move || {
        resource().map(|text| {
            let copied = text.clone();
            view! {
                <aside class="panel json-panel" aria-label=words().raw>
                    <header><div class="title-row">
                        {copy(words().copy_json, Callback::new(move |()| copied.clone()))}
                        <div class="spacer"></div>
                        <button class="button quiet square" aria-label=t().close title=t().close on:click=move |_| address.write(&[("item", None)], Step::Replace)>{icon("x")}</button>
                    </div></header>
                    <pre class="raw" tabindex="0">{text}</pre>
                </aside>
            }
        })
    };
    view! {
        <div class="list-room">
            <div class="table-tools"><GridTools name=part.name() prefix="p" columns=columns(part) rows/></div>
            <Grid label=words().proxy_config name=part.name() prefix="p" columns=columns(part) rows selected=chosen/>
        </div>
        {panel}
    }
}
