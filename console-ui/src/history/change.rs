//! One change: its difference, and the way back to it.

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::config::{ObjectName, ObjectSource};
use mesh_api::history::{Revision, RevisionList};

use super::query_of;
use crate::api;
use crate::app::Who;
use crate::clock;
use crate::config::{Diff, Outcome, page_of, path_of, save};
use crate::load::{load, skeleton_rows};
use crate::parts::{icon, segmented};
use crate::text::history::words;
use crate::text::t;

/// Against what a version is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Against {
    Before,
    Present,
}

/// What became of a revert.
#[derive(Debug, Clone, PartialEq)]
enum Revert {
    Idle,
    Busy,
    Done,
    Refused(String),
}

/// The object as it is now: not known yet, absent, or there.
type Present = RwSignal<Option<Option<ObjectSource>>>;

/// The version with this id.
#[component]
pub fn ChangeView(id: u64, object: Memo<Option<ObjectName>>) -> impl IntoView {
    let list = load::<RevisionList>(move || {
        let name = object.get().map(|name| query_of(&name)).unwrap_or_default();
        Some(format!(
            "/api/revisions?limit=1&before={}{name}",
            id.saturating_add(1)
        ))
    });
    let against = RwSignal::new(Against::Before);
    list.view(
        words().change,
        || skeleton_rows(6),
        move || {
            let revision = Memo::new(move |_| {
                list.value.with(|list| {
                    let revisions = &list.as_ref()?.revisions;
                    revisions.iter().find(|revision| revision.id == id).cloned()
                })
            });
            move || {
                revision
                    .get()
                    .map(|revision| view! { <Change revision against/> })
            }
        },
    )
}

#[component]
fn Change(revision: Revision, against: RwSignal<Against>) -> impl IntoView {
    let name = revision.object.clone();
    let asked = format!("/api/revisions?limit=1&before={}{}", revision.id, query_of(&name));
    let earlier = load::<RevisionList>(move || Some(asked.clone()));
    // Read again after a revert.
    let turn = RwSignal::new(0_u32);
    let present = present_of(path_of(&name), turn);
    let state = RwSignal::new(Revert::Idle);
    let (own, at) = (
        StoredValue::new(revision.clone()),
        clock::parse(&revision.at).map(clock::full),
    );
    let other = move || match against.get() {
        Against::Before => earlier.get().map(|list| {
            let before = list.revisions.into_iter().next();
            let before = before.filter(|before| before.change != "deleted");
            before.map(|before| before.yaml).unwrap_or_default()
        }),
        Against::Present => present
            .get()
            .map(|present| present.map(|source| source.yaml).unwrap_or_default()),
    };
    let deleted = revision.change == "deleted";
    let sides = Memo::new(move |_| {
        let other = other()?;
        let text = own.with_value(|own| own.yaml.clone());
        // A deletion leaves nothing; its text is what was there.
        Some(match (against.get(), deleted) {
            (Against::Before, true) => (text, String::new()),
            (Against::Before, false) => (other, text),
            (Against::Present, _) => (text, other),
        })
    });
    let title = format!("{} {}/{}", name.kind, name.namespace, name.name);
    let who = if revision.user.is_empty() {
        words().somebody.to_owned()
    } else {
        revision.user.clone()
    };
    view! {
        <div class="page-head">
            <h2><a href=page_of(&name)>{title}</a></h2>
            <span class="soft">{words().change(&revision.change)}" · "{who}" · "{at}</span>
            <div class="spacer"></div>
            {segmented(
                words().change,
                vec![(Against::Before, words().against_before), (Against::Present, words().against_present)],
                move || against.get(),
                move |choice| against.set(choice),
            )}
            {revert_button(own, present, state, turn)}
        </div>
        {move || match state.get() {
            Revert::Refused(message) => view! { <div class="banner fail" role="alert">{icon("octagon-alert")}{message}</div> }.into_any(),
            Revert::Done => view! { <div class="banner info" role="status">{icon("check")}{own.with_value(|own| (words().reverted)(&own.object.name))}</div> }.into_any(),
            Revert::Idle | Revert::Busy => ().into_any(),
        }}
        {revision.gap.then(|| view! { <div class="banner" role="note">{icon("triangle-alert")}{words().gap}</div> })}
        <div class="change-diff" data-change="">
            {move || match sides.get() {
                Some((before, after)) if before == after => view! { <p class="kind same">{words().same}</p> }.into_any(),
                Some((before, after)) => view! { <Diff before after/> }.into_any(),
                None => skeleton_rows(6),
            }}
        </div>
    }
}

fn present_of(path: String, turn: RwSignal<u32>) -> Present {
    let present: Present = RwSignal::new(None);
    Effect::new(move |_| {
        turn.track();
        let path = path.clone();
        spawn_local(async move {
            // An object that is not there is nothing to compare with, not an error.
            present.try_set(Some(api::get::<ObjectSource>(&path).await.ok()));
        });
    });
    present
}

/// One click: this version becomes the present one, by the ordinary save.
fn revert_button(
    revision: StoredValue<Revision>,
    present: Present,
    state: RwSignal<Revert>,
    turn: RwSignal<u32>,
) -> impl IntoView {
    let who = expect_context::<Who>();
    let is_present = Memo::new(move |_| {
        present.with(|present| {
            let source = present.as_ref().and_then(|present| present.as_ref());
            // The control plane knows which one is in force; after a revert it needs a moment.
            source.is_some_and(|source| {
                revision.with_value(|own| {
                    own.resource_version == source.resource_version || own.yaml == source.yaml
                })
            })
        })
    });
    let gone = move || present.with(|present| matches!(present, Some(None)));
    let press = move |_| {
        let own = revision.get_value();
        let base = present.get_untracked().flatten().unwrap_or_else(|| ObjectSource {
            object: own.object.clone(),
            ..ObjectSource::default()
        });
        state.set(Revert::Busy);
        spawn_local(async move {
            state.try_set(revert(&base, own.yaml).await);
            turn.try_update(|turn| *turn += 1);
        });
    };
    let busy = move || state.with(|state| *state == Revert::Busy);
    move || {
        if is_present.get() {
            view! { <span class="chip ok">{words().present}</span> }.into_any()
        } else {
            view! {
                <button
                    class="button primary"
                    data-revert=""
                    disabled=move || !who.may_edit() || busy() || present.with(Option::is_none)
                    title=move || if who.may_edit() { "" } else { t().may_not_edit }
                    on:click=press
                >
                    {icon("undo-2")}
                    {move || if busy() { words().reverting } else if gone() { words().recreate } else { words().revert }}
                </button>
            }
            .into_any()
        }
    }
}

async fn revert(base: &ObjectSource, yaml: String) -> Revert {
    let outcome = match save(base, yaml.clone(), false).await {
        // The API server takes it; whether it is meant is asked.
        Outcome::Invalid(problems, _) => {
            let messages: Vec<String> = problems
                .iter()
                .map(|problem| format!("· {}", problem.message))
                .collect();
            let question = (t().save_despite)(&messages.join("\n"));
            if !window().confirm_with_message(&question).unwrap_or(false) {
                return Revert::Idle;
            }
            save(base, yaml, true).await
        }
        outcome => outcome,
    };
    match outcome {
        Outcome::Saved(_) => Revert::Done,
        Outcome::Conflict(conflict) => Revert::Refused(conflict.message),
        Outcome::Invalid(problems, failure) => Revert::Refused(
            problems
                .first()
                .map_or(failure.message, |problem| problem.message.clone()),
        ),
        Outcome::Failed(failure) => Revert::Refused(failure.message),
    }
}
