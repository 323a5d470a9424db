//! The graph as a table: the same facts without a picture.

use leptos::prelude::*;
use mesh_api::graph::Edge;

use super::choice::Selection;
use super::scene::{Scene, place_of_target};
use crate::format;
use crate::health::Health;
use crate::parts::health_badge;
use crate::text::t;

/// All edges.
#[component]
pub fn EdgeTable(
    scene: Memo<Scene>,
    selection: Memo<Option<Selection>>,
    select: Callback<Option<Selection>>,
) -> impl IntoView {
    let rows = Memo::new(move |_| {
        scene.with(|scene| {
            scene
                .lines
                .iter()
                .flat_map(|line| line.edges.iter().cloned())
                .collect::<Vec<Edge>>()
        })
    });
    let head =
        [t().source, t().target, t().service, t().protocol].map(|name| view! { <th scope="col">{name}</th> });
    let numbers = [
        t().requests,
        t().rate,
        t().errors,
        t().client_errors,
        t().p50,
        t().p95,
        t().p99,
    ]
    .map(|name| view! { <th scope="col" class="number">{name}</th> });
    view! {
        <div class="table-wrap" tabindex="0" role="region" aria-label=t().table>
            <table class="grid" data-edges="" data-seconds=move || scene.with(|scene| scene.seconds).to_string()>
                <thead>
                    <tr>
                        {head.into_iter().collect_view()}
                        {numbers.into_iter().collect_view()}
                        <th scope="col">{t().mtls}</th>
                        <th scope="col">{t().health}</th>
                    </tr>
                </thead>
                <tbody>
                    {move || {
                        let seconds = scene.with(|scene| scene.seconds);
                        rows.get().into_iter().map(|edge| row(edge, seconds, selection, select)).collect_view()
                    }}
                </tbody>
            </table>
        </div>
    }
}

fn row(
    edge: Edge,
    seconds: f64,
    selection: Memo<Option<Selection>>,
    select: Callback<Option<Selection>>,
) -> impl IntoView {
    let mine = Selection::Edge(edge.source.clone(), place_of_target(&edge.target).to_owned());
    let selected = {
        let mine = mine.clone();
        move || {
            selection
                .with(|selection| *selection == Some(mine.clone()))
                .to_string()
        }
    };
    let number = |text: String| view! { <td class="number">{text}</td> };
    let numbers = [
        format::count(edge.requests),
        format!("{}/s", format::rate(edge.requests, seconds)),
        format::percent(edge.errors, edge.requests),
        format::percent(edge.client_errors, edge.requests),
        format::millis(edge.p50_ms),
        format::millis(edge.p95_ms),
        format::millis(edge.p99_ms),
    ];
    view! {
        <tr aria-selected=selected data-source=edge.source.clone() data-target=edge.target.clone() data-requests=edge.requests.to_string()>
            <td class="name">
                <button on:click=move |_| select.run(Some(mine.clone()))>{edge.source.clone()}</button>
            </td>
            <td class="name">{edge.target.clone()}</td>
            <td class="soft">{edge.service.clone()}</td>
            <td class="soft">{edge.protocol.clone()}</td>
            {numbers.map(number).into_iter().collect_view()}
            <td>{format::percent(edge.mutual_tls, edge.requests)}</td>
            <td>{health_badge(Health::of(edge.requests, edge.errors))}</td>
        </tr>
    }
}
