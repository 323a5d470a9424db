//! Explain: type a request, or come from a kept one, and see each decision with the rule that won and why each other
//! lost.

mod answer;
mod question;

use leptos::ev::SubmitEvent;
use leptos::html;
use leptos::prelude::*;
use mesh_api::explain::Explanation;
use mesh_api::inventory::WorkloadList;

use self::answer::answer;
pub use self::question::Question;
use crate::address::{Step, address};
use crate::load::{load, signed_in_known, skeleton_rows};
use crate::parts::{empty, icon};
use crate::text::explain::words;
use crate::text::t;

const METHODS: [&str; 7] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

/// The page.
#[component]
pub fn ExplainPage() -> impl IntoView {
    let address = address();
    let question = Memo::new(move |_| Question::read(|name| address.read(name).unwrap_or_default()));
    let explained = load::<Explanation>(move || {
        let asked = question.get();
        (signed_in_known() && !asked.host.is_empty()).then(|| asked.path_at_the_api())
    });
    let result = move || {
        if question.with(|question| question.host.is_empty()) {
            return empty(
                "route",
                words().nothing_asked.to_owned(),
                words().nothing_asked_hint.to_owned(),
            )
            .into_any();
        }
        explained
            .view(
                words().title,
                || skeleton_rows(10),
                move || view! { {move || explained.get().map(|explanation| answer(&explanation))} },
            )
            .into_any()
    };
    // An answer to an older question must not stand below an error about the newer one.
    let refused = move || {
        let known = explained.value.with(Option::is_some);
        let failure = explained.failure.get().filter(|_| known);
        failure.map(|failure| {
            view! {
                <div class="banner fail" role="alert">
                    {icon("octagon-alert")}{failure.message}<span class="detail">{failure.remedy}</span>
                </div>
            }
        })
    };
    view! {
        <h1 class="visually-hidden">{words().title}</h1>
        <div class="split">
            {move || form(&question.get())}
            <div class="explain-answer" role="region" aria-label=words().answer tabindex="0">
                {refused}
                {result}
            </div>
        </div>
    }
}

/// Filled in from the URL; sending it writes the URL.
fn form(asked: &Question) -> impl IntoView + use<> {
    let address = address();
    let (source, gateway, host, port, path) = <(
        NodeRef<html::Input>,
        NodeRef<html::Input>,
        NodeRef<html::Input>,
        NodeRef<html::Input>,
        NodeRef<html::Input>,
    )>::default();
    let method = NodeRef::<html::Select>::new();
    let headers = NodeRef::<html::Textarea>::new();
    let workloads = load::<WorkloadList>(|| Some("/api/workloads?from=now-1h&to=now".to_owned()));
    let names = move || {
        let list = workloads.get().unwrap_or_default().workloads;
        list.into_iter()
            .map(|row| view! { <option value=format!("{}/{}", row.namespace, row.name)></option> })
            .collect_view()
    };
    let text = |input: NodeRef<html::Input>| {
        input
            .get_untracked()
            .map(|input| input.value().trim().to_owned())
            .unwrap_or_default()
    };
    let submit = move |event: SubmitEvent| {
        event.prevent_default();
        let question = Question {
            source: text(source),
            gateway: text(gateway),
            method: method
                .get_untracked()
                .map(|select| select.value())
                .unwrap_or_default(),
            host: text(host),
            port: text(port),
            path: text(path),
            headers: headers
                .get_untracked()
                .map(|area| area.value())
                .unwrap_or_default(),
        };
        address.write(&question.parameters(), Step::New);
    };
    let methods = METHODS
        .iter()
        .map(|name| {
            let chosen = asked.method == *name || (asked.method.is_empty() && *name == "GET");
            view! { <option value=*name selected=chosen>{*name}</option> }
        })
        .collect_view();
    let w = words();
    view! {
        <form class="side explain-form" on:submit=submit data-explain-form="">
            <h2>{w.request}</h2>
            <label>{w.from}
                <input class="input" name="source" list="explain-workloads" placeholder=w.outside value=asked.source.clone() node_ref=source/>
            </label>
            <label>{w.gateway}
                <input class="input" name="gateway" list="explain-workloads" placeholder=w.gateway_hint value=asked.gateway.clone() node_ref=gateway/>
            </label>
            <datalist id="explain-workloads">{names}</datalist>
            <div class="explain-pair">
                <label>{w.method}<select class="select" name="method" node_ref=method>{methods}</select></label>
                <label>{w.path}
                    <input class="input" name="path" placeholder="/" value=asked.path.clone() node_ref=path/>
                </label>
            </div>
            <div class="explain-pair last-short">
                <label>{w.host}
                    <input class="input" name="host" required placeholder="reviews" value=asked.host.clone() node_ref=host/>
                </label>
                <label>{w.port}
                    <input class="input" name="port" type="number" min="1" max="65535" placeholder="80" value=asked.port.clone() node_ref=port/>
                </label>
            </div>
            <label>{w.headers}
                <textarea class="input mono" name="headers" rows="4" spellcheck="false" placeholder="end-user: jason" node_ref=headers prop:value=asked.headers.clone()></textarea>
            </label>
            <div>
                <button class="button primary" type="submit" data-explain="">{icon("route")}{t().explain}</button>
            </div>
            <p class="kind">{w.hint}</p>
        </form>
    }
}
