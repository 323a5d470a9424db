//! Every Istio object.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::config::{ObjectList, ObjectSummary};

use super::problems::problem_chip;
use super::progress::meter;
use crate::address::{Step, address};
use crate::api::{self, Failure};
use crate::app::Who;
use crate::clock::{self, ticker};
use crate::parts::{empty, failed, icon};
use crate::text::t;

const EVERY: Duration = Duration::from_secs(3);

/// The list.
#[component]
pub fn ListPage() -> impl IntoView {
    let list: RwSignal<Option<ObjectList>> = RwSignal::new(None);
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
            match api::get::<ObjectList>("/api/objects").await {
                Ok(objects) => {
                    failure.try_set(None);
                    list.try_set(Some(objects));
                }
                Err(error) => {
                    failure.try_set(Some(error));
                }
            }
        });
    });
    let shown = shown(list);
    let kind_of_view = Memo::new(move |_| {
        match (
            list.with(|list| list.as_ref().map(|list| list.objects.is_empty())),
            failure.with(Option::is_some),
        ) {
            (None, true) => 0,
            (None, false) => 1,
            (Some(true), _) => 2,
            (Some(false), _) if shown.with(Vec::is_empty) => 3,
            _ => 4,
        }
    });
    view! {
        <h1 class="visually-hidden">{t().objects}</h1>
        <Filters list/>
        <Show when=move || failure.with(Option::is_some) && list.with(Option::is_some)>
            <div class="banner" role="status">{icon("unplug")}{move || failure.get().map(|failure| failure.message)}</div>
        </Show>
        <div class="split">
            {move || match kind_of_view.get() {
                0 => failure.get_untracked().map(|error| failed(t().objects, error, move || again.update(|times| *times += 1))).into_any(),
                1 => view! { <div class="empty" role="status"><p>{t().waiting}</p></div> }.into_any(),
                2 => empty("file-cog", t().no_objects.to_owned(), t().no_objects_hint.to_owned()).into_any(),
                3 => empty("search", t().no_matches.to_owned(), t().no_matches_hint.to_owned()).into_any(),
                _ => view! { <Table shown/> }.into_any(),
            }}
        </div>
    }
}

/// What the filters in the URL leave.
fn shown(list: RwSignal<Option<ObjectList>>) -> Memo<Vec<ObjectSummary>> {
    let address = address();
    Memo::new(move |_| {
        let words = address.read("q").unwrap_or_default().to_lowercase();
        let kind = address.read("kind");
        let only_problems = address.read("problems").is_some();
        let wanted = |object: &&ObjectSummary| {
            let text = format!(
                "{} {} {}",
                object.object.name, object.object.namespace, object.summary
            )
            .to_lowercase();
            words.split_whitespace().all(|word| text.contains(word))
                && kind.as_ref().is_none_or(|kind| *kind == object.object.kind)
                && (!only_problems || !object.problems.is_empty())
        };
        list.with(|list| {
            list.iter()
                .flat_map(|list| &list.objects)
                .filter(wanted)
                .cloned()
                .collect()
        })
    })
}

#[component]
fn Filters(list: RwSignal<Option<ObjectList>>) -> impl IntoView {
    let address = address();
    let who = expect_context::<Who>();
    let kinds = Memo::new(move |_| {
        let mut kinds: Vec<String> = list.with(|list| {
            list.iter()
                .flat_map(|list| &list.objects)
                .map(|object| object.object.kind.clone())
                .collect()
        });
        kinds.extend(address.read("kind"));
        kinds.sort();
        kinds.dedup();
        kinds
    });
    let only_problems = move || address.read("problems").is_some();
    view! {
        <div class="toolbar" role="toolbar" aria-label=t().config>
            <input
                class="input"
                type="search"
                size="32"
                placeholder=t().filter
                aria-label=t().filter
                prop:value=move || address.read("q").unwrap_or_default()
                on:input=move |event| {
                    let words = event_target_value(&event);
                    address.write(&[("q", (!words.is_empty()).then_some(words))], Step::Replace);
                }
            />
            <select
                class="select"
                aria-label=t().kind
                on:change=move |event| {
                    let kind = event_target_value(&event);
                    address.write(&[("kind", (!kind.is_empty()).then_some(kind))], Step::Replace);
                }
            >
                <option value="" selected=move || address.read("kind").is_none()>{t().all_kinds}</option>
                {move || kinds.get().into_iter().map(|kind| {
                    let value = kind.clone();
                    let this = kind.clone();
                    view! { <option value=value selected=move || address.read("kind").as_ref() == Some(&this)>{kind}</option> }
                }).collect_view()}
            </select>
            <button
                class="button"
                aria-pressed=move || only_problems().to_string()
                on:click=move |_| {
                    let on = untrack(only_problems);
                    address.write(&[("problems", (!on).then(|| "1".to_owned()))], Step::Replace);
                }
            >
                {icon("triangle-alert")}{t().only_problems}
            </button>
            <div class="spacer"></div>
            <Show when=move || who.may_edit()>
                <a class="button" href="/config/new">{icon("file-plus")}{t().new_object}</a>
            </Show>
        </div>
    }
}

#[component]
fn Table(shown: Memo<Vec<ObjectSummary>>) -> impl IntoView {
    let head = [
        t().name,
        t().kind,
        t().namespace,
        t().what,
        t().problems,
        t().live_on,
        t().age,
    ]
    .map(|name| view! { <th scope="col">{name}</th> });
    view! {
        <div class="table-wrap" tabindex="0" role="region" aria-label=t().objects>
            <table class="grid" data-objects="">
                <thead><tr>{head.into_iter().collect_view()}</tr></thead>
                <tbody>{move || shown.get().into_iter().map(|object| row(&object)).collect_view()}</tbody>
            </table>
        </div>
    }
}

fn row(object: &ObjectSummary) -> impl IntoView + use<> {
    let name = object.object.clone();
    let link = format!("/config/{}/{}/{}", name.kind, name.namespace, name.name);
    let age = clock::age(&object.created, clock::now());
    view! {
        <tr>
            <td class="name"><a href=link>{name.name}</a></td>
            <td>{name.kind}</td>
            <td class="soft">{name.namespace}</td>
            <td class="soft">{object.summary.clone()}</td>
            <td>{problem_chip(&object.problems)}</td>
            <td>{meter(&object.propagation)}</td>
            <td class="soft" title=object.created.clone()>{age}</td>
        </tr>
    }
}
