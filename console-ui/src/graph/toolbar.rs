//! Scope, labels, picture or table.

use leptos::prelude::*;

use super::choice::{Choice, Label, label_name, type_name, type_words};
use super::feed::Feed;
use crate::address::{Step, address};
use crate::parts::segmented;
use crate::text::t;

/// The bar above the picture.
#[component]
pub fn Toolbar(choice: Choice, feed: Feed) -> impl IntoView {
    let address = address();
    let namespaces = known_namespaces(choice, feed);
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
            <span class="rule"></span>
            {segmented(
                t().labels,
                labels,
                move || choice.label.get(),
                move |label| address.write(&[("label", label_name(label))], Step::Replace),
            )}
            <div class="spacer"></div>
            {segmented(
                t().graph,
                vec![(false, t().picture), (true, t().table)],
                move || choice.table.get(),
                move |table| address.write(&[("view", table.then(|| "table".to_owned()))], Step::Replace),
            )}
        </div>
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
