//! The changes of the configuration: who, when, what, and the way back.

mod change;

use leptos::prelude::*;
use mesh_api::config::ObjectName;
use mesh_api::history::{Revision, RevisionList};

use self::change::ChangeView;
use crate::address::{Address, address};
use crate::api::encode;
use crate::clock;
use crate::load::{load, skeleton_rows};
use crate::parts::{empty, icon, sized_icon};
use crate::text::history::words;
use crate::text::t;

/// Changes of one page of the list.
const PAGE: u32 = 100;

/// What the URL says: whose changes, and which one is looked at.
#[derive(Clone, Copy)]
struct Scope {
    address: Address,
    object: Memo<Option<ObjectName>>,
    chosen: Memo<Option<u64>>,
}

/// The page.
#[component]
pub fn HistoryPage() -> impl IntoView {
    let address = address();
    let scope = Scope {
        address,
        object: Memo::new(move |_| {
            Some(ObjectName {
                kind: address.read("kind")?,
                namespace: address.read("namespace")?,
                name: address.read("name")?,
            })
        }),
        chosen: Memo::new(move |_| address.read("rev")?.parse().ok()),
    };
    let before = Memo::new(move |_| address.read("before").and_then(|text| text.parse::<u64>().ok()));
    let now = clock::ticker(std::time::Duration::from_secs(5));
    let visible = clock::visibility();
    let list = load::<RevisionList>(move || {
        if visible.get() {
            now.track();
        }
        let object = scope.object.get().map(|name| query_of(&name)).unwrap_or_default();
        let before = before.get().map(|id| format!("&before={id}")).unwrap_or_default();
        Some(format!("/api/revisions?limit={PAGE}{object}{before}"))
    });
    let rows = list.view(
        words().title,
        || skeleton_rows(8),
        move || {
            move || {
                rows(
                    &list.get().unwrap_or_default().revisions,
                    scope,
                    before.get().is_some(),
                )
            }
        },
    );
    view! {
        <h1 class="visually-hidden">{words().title}</h1>
        {head(scope)}
        <div class="split">
            <div class="change-list" role="region" aria-label=words().title tabindex="0">{rows}</div>
            <div class="change-view">
                {move || match scope.chosen.get() {
                    Some(id) => view! { <ChangeView id object=scope.object/> }.into_any(),
                    None => empty("history", words().choose.to_owned(), String::new()).into_any(),
                }}
            </div>
        </div>
    }
}

/// Query parameters that name an object.
fn query_of(name: &ObjectName) -> String {
    format!(
        "&kind={}&namespace={}&name={}",
        encode(&name.kind),
        encode(&name.namespace),
        encode(&name.name)
    )
}

fn head(scope: Scope) -> impl IntoView {
    view! {
        <div class="page-head">
            <strong>{words().title}</strong>
            {move || scope.object.get().map(|name| {
                let link = crate::config::page_of(&name);
                view! {
                    <span class="chip info">
                        <a href=link>{format!("{} {}/{}", name.kind, name.namespace, name.name)}</a>
                        <a class="chip-close" href="/history" aria-label=words().all_objects title=words().all_objects>{sized_icon("x", "icon small")}</a>
                    </span>
                }
            })}
        </div>
    }
}

fn rows(revisions: &[Revision], scope: Scope, paged: bool) -> AnyView {
    if revisions.is_empty() {
        return empty("history", words().none.to_owned(), words().none_hint.to_owned()).into_any();
    }
    let now = clock::now();
    let items = revisions
        .iter()
        .map(|revision| row(revision, scope, now))
        .collect_view();
    let last = revisions.last().map(|revision| revision.id);
    let more = u32::try_from(revisions.len()).is_ok_and(|count| count >= PAGE);
    let older = more.then(|| {
        let href = move || scope.address.with(&[("before", last.map(|id| id.to_string()))]);
        view! { <a class="button" href=href>{words().older}</a> }
    });
    let newest = paged.then(|| {
        let href = move || scope.address.with(&[("before", None)]);
        view! { <a class="button" href=href>{icon("arrow-left")}{t().changes}</a> }
    });
    view! {
        {newest}
        <ol class="lines changes" data-rows="" data-revisions="">{items}</ol>
        {older}
    }
    .into_any()
}

fn row(revision: &Revision, scope: Scope, now: f64) -> impl IntoView + use<> {
    let (id, name) = (revision.id, revision.object.clone());
    let href = move || scope.address.with(&[("rev", Some(id.to_string()))]);
    let (symbol, class) = match revision.change.as_str() {
        "created" => ("plus", "health ok"),
        "deleted" => ("trash-2", "health fail"),
        _ => ("git-commit-horizontal", "health info"),
    };
    let who = if revision.user.is_empty() {
        words().somebody.to_owned()
    } else {
        revision.user.clone()
    };
    let through = (!revision.manager.is_empty()).then(|| (words().through)(&revision.manager));
    let ago = clock::age(&revision.at, now).map(|age| (t().ago)(&age));
    let at = clock::parse(&revision.at).map(clock::full);
    let running = revision
        .live
        .map(|live| view! { <span class="chip ok">{(words().proxies_run)(&live.to_string())}</span> });
    let gap = revision.gap.then(|| view! { <span class="health warn" title=words().gap>{sized_icon("triangle-alert", "icon small")}<span class="visually-hidden">{words().gap}</span></span> });
    view! {
        <li>
            <a class="change" href=href aria-current=move || (scope.chosen.get() == Some(id)).then_some("true")>
                <span class=class>{icon(symbol)}</span>
                <span class="grow">
                    <span class="what">{name.kind}" "<strong>{name.name}</strong>" "<span class="kind">{name.namespace}</span></span>
                    <span class="kind">{words().change(&revision.change)}" · "{who}" "{through}</span>
                </span>
                {gap}
                {running}
                <span class="kind ago" title=at>{ago}</span>
            </a>
        </li>
    }
}
