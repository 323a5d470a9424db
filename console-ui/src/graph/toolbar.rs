//! Scope, window, labels, live or paused.

use std::time::Duration;

use leptos::prelude::*;

use super::choice::{Choice, Label, WINDOWS, label_name, type_name, type_words, window_words};
use super::feed::Feed;
use crate::address::{Step, address};
use crate::clock::{self, ticker};
use crate::parts::{icon, segmented};
use crate::text::t;

/// The bar above the picture.
#[component]
pub fn Toolbar(choice: Choice, feed: Feed) -> impl IntoView {
    let address = address();
    let namespaces = known_namespaces(choice, feed);
    let windows = WINDOWS.iter().map(|seconds| {
        let seconds = *seconds;
        view! {
            <option value=seconds.to_string() selected=move || choice.window.get() == seconds>
                {(t().last)(&window_words(seconds))}
            </option>
        }
    });
    let labels = vec![
        (Label::Rate, t().label_rate),
        (Label::Errors, t().label_errors),
        (Label::P95, t().label_p95),
        (Label::None, t().label_none),
    ];
    view! {
        <div class="toolbar" role="toolbar" aria-label=t().graph>
            {segmented(
                t().graph_type,
                type_words(),
                move || choice.kind.get(),
                move |kind| address.write(&[("type", Some(type_name(kind).to_owned())), ("sel", None), ("at", None)], Step::New),
            )}
            <select
                class="select"
                aria-label=t().namespaces
                on:change=move |event| {
                    let name = event_target_value(&event);
                    address.write(&[("namespaces", (!name.is_empty()).then_some(name)), ("sel", None), ("at", None)], Step::New);
                }
            >
                <option value="" selected=move || choice.namespaces.with(Vec::is_empty)>{t().all_namespaces}</option>
                {move || {
                    namespaces.get().into_iter().map(|name| {
                        let value = name.clone();
                        let chosen = name.clone();
                        let selected = move || choice.namespaces.with(|names| names.join(",") == chosen);
                        view! { <option value=value selected=selected>{name}</option> }
                    }).collect_view()
                }}
            </select>
            <select
                class="select"
                aria-label=t().window
                on:change=move |event| address.write(&[("window", Some(event_target_value(&event)))], Step::New)
            >
                {windows.collect_view()}
            </select>
            <span class="rule"></span>
            {segmented(
                t().labels,
                labels,
                move || choice.label.get(),
                move |label| address.write(&[("label", label_name(label))], Step::Replace),
            )}
            <div class="spacer"></div>
            <AsOf choice feed/>
            {segmented(
                t().graph,
                vec![(false, t().picture), (true, t().table)],
                move || choice.table.get(),
                move |table| address.write(&[("view", table.then(|| "table".to_owned()))], Step::Replace),
            )}
        </div>
    }
}

/// How fresh the numbers are, and the switch that stops them.
#[component]
fn AsOf(choice: Choice, feed: Feed) -> impl IntoView {
    let address = address();
    let now = ticker(Duration::from_millis(1000));
    let known_until = Memo::new(move |_| {
        feed.graph
            .with(|graph| graph.as_ref().map(|graph| graph.as_of.clone()))
    });
    let words = move || {
        now.track();
        let age = known_until.get().and_then(|time| clock::age(&time, clock::now()));
        age.map_or_else(|| t().waiting.to_owned(), |age| (t().as_of)(&age))
    };
    let title = move || known_until.get().map(|time| (t().as_of_title)(&time));
    let live = move || !choice.paused.get() && !feed.lost.get() && known_until.with(Option::is_some);
    view! {
        <span class="asof" title=title data-asof="">
            <span class="dot" class:live=live class:warn=move || feed.lost.get()></span>
            {words}
        </span>
        <button
            class="button"
            aria-pressed=move || choice.paused.get().to_string()
            on:click=move |_| {
                let paused = choice.paused.get_untracked();
                address.write(&[("live", (!paused).then(|| "off".to_owned()))], Step::Replace);
            }
        >
            {move || if choice.paused.get() { view! { {icon("play")}{t().live} }.into_any() } else { view! { {icon("pause")}{t().pause} }.into_any() }}
        </button>
    }
}

/// Namespaces that have been on the picture, and the chosen ones.
fn known_namespaces(choice: Choice, feed: Feed) -> Memo<Vec<String>> {
    Memo::new(move |before: Option<&Vec<String>>| {
        let mut names = before.cloned().unwrap_or_default();
        feed.graph.with(|graph| {
            names.extend(
                graph
                    .iter()
                    .flat_map(|graph| graph.nodes.iter().map(|node| node.namespace.clone())),
            )
        });
        names.extend(choice.namespaces.get());
        names.retain(|name| !name.is_empty() && name != "unknown");
        names.sort();
        names.dedup();
        names
    })
}
