//! Scope, labels, picture or table.

use leptos::html;
use leptos::prelude::*;

use super::choice::{Choice, Label, label_name, type_name, type_words};
use super::feed::Feed;
use crate::address::{Step, address};
use crate::parts::{segmented, sized_icon};
use crate::text::graph::words;
use crate::text::t;
use crate::time::close_outside;

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
            <Namespaces choice namespaces/>
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

/// Which namespaces: none chosen is all.
#[component]
fn Namespaces(choice: Choice, namespaces: Memo<Vec<String>>) -> impl IntoView {
    let address = address();
    let menu = NodeRef::<html::Details>::new();
    close_outside(menu);
    let face = move || {
        choice.namespaces.with(|names| match names.as_slice() {
            [] => t().all_namespaces.to_owned(),
            [name] => name.clone(),
            names => (words().namespaces_chosen)(&names.len().to_string()),
        })
    };
    let write = move |names: Vec<String>| {
        let text = (!names.is_empty()).then(|| names.join(","));
        address.write(&[("namespaces", text), ("sel", None), ("at", None)], Step::New);
    };
    let all = move || choice.namespaces.with(Vec::is_empty);
    view! {
        <details class="chooser" node_ref=menu data-namespace-menu="">
            <summary class="button" title=t().namespaces>{sized_icon("component", "icon small")}<span>{face}</span>{sized_icon("chevron-down", "icon small")}</summary>
            <div class="popover start namespace-list" role="group" aria-label=words().choose_namespaces>
                <label><input type="checkbox" prop:checked=all on:change=move |_| write(Vec::new())/>{t().all_namespaces}</label>
                {move || namespaces.get().into_iter().map(|name| {
                    let (own, shown) = (name.clone(), name.clone());
                    let chosen = move || choice.namespaces.with(|names| names.contains(&own));
                    let toggle = move |_| {
                        let mut names = choice.namespaces.get_untracked();
                        if let Some(at) = names.iter().position(|known| *known == name) {
                            names.remove(at);
                        } else {
                            names.push(name.clone());
                        }
                        write(names);
                    };
                    view! { <label><input type="checkbox" prop:checked=chosen on:change=toggle/>{shown}</label> }
                }).collect_view()}
            </div>
        </details>
    }
}
