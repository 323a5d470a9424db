//! The four lists.

use leptos::prelude::*;
use mesh_api::inventory::{AppList, Health as Judged, NamespaceList, ServiceList, WorkloadList};
use serde::de::DeserializeOwned;

use super::rows;
use crate::address::{Step, address};
use crate::grid::{Column, Grid, GridTools, Row};
use crate::health::Health;
use crate::load::{load, skeleton_rows};
use crate::parts::{empty, sized_icon};
use crate::text::inventory::words;
use crate::text::t;
use crate::time::{Time, time};

/// A row with what it is filtered by.
#[derive(Debug, Clone, PartialEq)]
struct Listed {
    row: Row,
    namespace: String,
    health: Health,
}

fn listed(row: Row, namespace: &str, health: Judged) -> Listed {
    Listed {
        row,
        namespace: namespace.to_owned(),
        health: Health::from(health),
    }
}

/// What a list is made of.
#[derive(Clone, Copy)]
struct List {
    name: &'static str,
    title: &'static str,
    icon: &'static str,
    columns: fn() -> Vec<Column>,
    order: &'static str,
    with_namespaces: bool,
}

/// All services.
#[component]
pub fn ServicesPage() -> impl IntoView {
    let list = List {
        name: "services",
        title: t().services,
        icon: "server",
        columns: rows::service_columns,
        order: "-health,-rate",
        with_namespaces: true,
    };
    page::<ServiceList>(list, |answer, time| {
        let one = |service: &mesh_api::inventory::ServiceRow| {
            listed(
                rows::service(service, |path| time.link(path)),
                &service.namespace,
                service.health,
            )
        };
        answer.services.iter().map(one).collect()
    })
}

/// All workloads.
#[component]
pub fn WorkloadsPage() -> impl IntoView {
    let list = List {
        name: "workloads",
        title: t().workloads,
        icon: "layers",
        columns: rows::workload_columns,
        order: "-health,-rate",
        with_namespaces: true,
    };
    page::<WorkloadList>(list, |answer, time| {
        let one = |workload: &mesh_api::inventory::WorkloadRow| {
            listed(
                rows::workload(workload, |path| time.link(path)),
                &workload.namespace,
                workload.health,
            )
        };
        answer.workloads.iter().map(one).collect()
    })
}

/// All applications.
#[component]
pub fn AppsPage() -> impl IntoView {
    let list = List {
        name: "apps",
        title: t().apps,
        icon: "package",
        columns: rows::app_columns,
        order: "-health,-rate",
        with_namespaces: true,
    };
    page::<AppList>(list, |answer, time| {
        let one = |app: &mesh_api::inventory::AppRow| {
            listed(rows::app(app, |path| time.link(path)), &app.namespace, app.health)
        };
        answer.apps.iter().map(one).collect()
    })
}

/// All namespaces.
#[component]
pub fn NamespacesPage() -> impl IntoView {
    let list = List {
        name: "namespaces",
        title: t().namespaces,
        icon: "component",
        columns: rows::namespace_columns,
        order: "-health,-rate",
        with_namespaces: false,
    };
    page::<NamespaceList>(list, |answer, time| {
        let one = |namespace: &mesh_api::inventory::NamespaceRow| {
            listed(
                rows::namespace(namespace, |path| time.link(path)),
                &namespace.name,
                namespace.health,
            )
        };
        answer.namespaces.iter().map(one).collect()
    })
}

fn page<T>(list: List, make: fn(&T, Time) -> Vec<Listed>) -> impl IntoView
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    let time = time();
    let name = list.name;
    let answer = load::<T>(move || Some(format!("/api/{name}?{}", time.query()))).reported();
    let all = Memo::new(move |_| {
        answer
            .value
            .with(|answer| answer.as_ref().map(|answer| make(answer, time)))
    });
    let shown = shown(all);
    let title = list.title;
    view! {
        <h1 class="visually-hidden">{title}</h1>
        {bar(&list, all, shown)}
        <div class="split column-split">
            {answer.view(title, || skeleton_rows(12), move || body(list, all, shown))}
        </div>
    }
}

/// What the filters in the URL leave.
fn shown(all: Memo<Option<Vec<Listed>>>) -> Memo<Vec<Row>> {
    let address = address();
    Memo::new(move |_| {
        let text = address.read("q").unwrap_or_default().to_lowercase();
        let namespace = address.read("namespaces");
        let health = address.read("health");
        let wanted = |listed: &&Listed| {
            let words = listed
                .row
                .cells
                .iter()
                .map(|cell| cell.text.to_lowercase())
                .collect::<Vec<_>>()
                .join(" ");
            text.split_whitespace().all(|word| words.contains(word))
                && namespace
                    .as_ref()
                    .is_none_or(|names| names.split(',').any(|name| name == listed.namespace))
                && health
                    .as_ref()
                    .is_none_or(|health| health.split(',').any(|class| class == listed.health.class()))
        };
        all.with(|all| {
            all.iter()
                .flatten()
                .filter(wanted)
                .map(|listed| listed.row.clone())
                .collect()
        })
    })
}

/// Erased: four lists share it.
fn body(list: List, all: Memo<Option<Vec<Listed>>>, shown: Memo<Vec<Row>>) -> AnyView {
    let (title, name, icon, order) = (list.title, list.name, list.icon, list.order);
    let columns = (list.columns)();
    let none = Memo::new(move |_| all.with(|all| all.as_ref().is_some_and(Vec::is_empty)));
    let no_match = Memo::new(move |_| !none.get() && shown.with(Vec::is_empty));
    view! {
        <div class="list-room" hidden=move || none.get() || no_match.get()>
            <Grid label=title name=name columns=columns rows=shown order=order/>
        </div>
        <Show when=move || none.get()>{empty(icon, words().none.to_owned(), words().none_hint.to_owned())}</Show>
        <Show when=move || no_match.get()>{empty("search", t().no_matches.to_owned(), words().no_matches_hint.to_owned())}</Show>
    }
    .into_any()
}

fn bar(list: &List, all: Memo<Option<Vec<Listed>>>, shown: Memo<Vec<Row>>) -> impl IntoView + use<> {
    let address = address();
    let (name, columns) = (list.name, (list.columns)());
    let namespaces = Memo::new(move |_| {
        let mut names: Vec<String> = all.with(|all| {
            all.iter()
                .flatten()
                .map(|listed| listed.namespace.clone())
                .collect()
        });
        names.extend(address.read("namespaces"));
        names.sort();
        names.dedup();
        names
    });
    let chooser = list.with_namespaces.then(|| view! {
        <select
            class="select"
            aria-label=t().namespace
            on:change=move |event| {
                let value = event_target_value(&event);
                address.write(&[("namespaces", (!value.is_empty()).then_some(value))], Step::Replace);
            }
        >
            <option value="" selected=move || address.read("namespaces").is_none()>{t().all_namespaces}</option>
            {move || namespaces.get().into_iter().map(|name| {
                let (value, this) = (name.clone(), name.clone());
                view! { <option value=value selected=move || address.read("namespaces").as_ref() == Some(&this)>{name}</option> }
            }).collect_view()}
        </select>
    });
    let healths = [Health::Fail, Health::Warn, Health::Ok, Health::Unknown].map(|health| {
        let class = health.class();
        let number = move || {
            all.with(|all| {
                all.iter()
                    .flatten()
                    .filter(|listed| listed.health == health)
                    .count()
            })
        };
        let pressed = move || address.read("health").as_deref() == Some(class);
        view! {
            <button
                class=format!("button health-filter {class}")
                aria-pressed=move || pressed().to_string()
                on:click=move |_| {
                    let next = (!untrack(pressed)).then(|| class.to_owned());
                    address.write(&[("health", next)], Step::Replace);
                }
            >
                <span class=format!("health {class}")>{sized_icon(health.icon(), "icon small")}</span>{health.word()}" "<span class="soft">{number}</span>
            </button>
        }
    });
    view! {
        <div class="toolbar" role="toolbar" aria-label=list.title>
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
            {chooser}
            {healths.into_iter().collect_view()}
            <div class="spacer"></div>
            <GridTools name=name columns=columns rows=shown/>
        </div>
    }
}
