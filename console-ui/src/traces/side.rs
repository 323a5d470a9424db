//! One span: what it was, and everything that it says.

use leptos::prelude::*;
use mesh_api::requests::RequestPage;

use super::detail::Shown;
use super::tree::Node;
use super::waterfall::micros;
use crate::address::Step;
use crate::parts::{copy, icon, sized_icon};
use crate::text::t;
use crate::text::traces::words;
use crate::time::time;

/// The panel.
#[component]
pub fn SpanPanel(
    node: Node,
    shown: Shown,
    trace: String,
    requests: RwSignal<Option<RequestPage>>,
) -> impl IntoView {
    let w = words();
    let time = time();
    let span = node.span.clone();
    let name = span.name.clone();
    let kind = if span.kind == "client" { w.client } else { w.server };
    let offset = shown.tree.with_untracked(|tree| span.started_us - tree.start_us);
    let state = if span.error {
        view! { <span class="health fail">{sized_icon("octagon-alert", "icon small")}{t().errors}</span> }
            .into_any()
    } else {
        view! { <span class="health ok">{sized_icon("circle-check", "icon small")}{w.fine}</span> }.into_any()
    };
    let workload = (!span.workload.is_empty()).then(|| {
        let path = format!("/workloads/{}", span.workload);
        view! { <dt>{w.workload}</dt><dd><a href=move || time.link(&path)>{span.workload.clone()}</a></dd> }
    });
    let app = (!span.app.is_empty()).then(|| {
        let path = format!("/apps/{}", span.app);
        let text = if span.version.is_empty() {
            span.app.clone()
        } else {
            format!("{} · {}", span.app, span.version)
        };
        view! { <dt>{t().kind_app}</dt><dd><a href=move || time.link(&path)>{text}</a></dd> }
    });
    let id = span.span.clone();
    let kept = move || {
        let found = requests.with(|page| {
            page.as_ref()
                .is_some_and(|page| page.requests.iter().any(|request| request.span == id))
        });
        let link = format!("/requests?trace={trace}&sel={trace}/{id}");
        found.then(|| view! { <a class="button" href=time.link(&link)>{icon("activity")}{w.its_request}</a> })
    };
    let attributes = StoredValue::new(span.attributes.clone());
    let tags = span
        .attributes
        .iter()
        .map(|(name, value)| view! { <dt class="mono">{name.clone()}</dt><dd class="mono">{value.clone()}</dd> })
        .collect_view();
    let none = span
        .attributes
        .is_empty()
        .then(|| view! { <p class="kind">{w.no_tags}</p> });
    view! {
        <aside class="panel" aria-label=w.span data-span-panel="">
            <header>
                <div class="title-row">
                    <h2>{name}</h2>
                    <button class="button quiet square" aria-label=t().close title=t().close on:click=move |_| shown.choose(None, Step::New)>{icon("x")}</button>
                </div>
                <div class="ends">{state}<span class="kind">{kind}</span>{node.critical.then(|| view! { <span class="chip warn" title=w.critical_hint>{w.critical}</span> })}</div>
            </header>
            <section>
                <div class="figures">
                    <div class="figure"><span class="value">{micros(span.duration_us)}</span><span class="label">{w.duration}</span></div>
                    <div class="figure"><span class="value">{micros(node.self_us)}</span><span class="label">{w.own_time}</span></div>
                    <div class="figure"><span class="value">{format!("+{}", micros(offset))}</span><span class="label">{w.started}</span></div>
                </div>
                {kept}
            </section>
            <section>
                <h3>{w.process}</h3>
                <dl class="facts">
                    {workload}
                    {app}
                    <dt>{t().proxy}</dt><dd class="mono">{span.proxy.clone()}</dd>
                    <dt>{w.span}</dt><dd class="mono">{span.span.clone()}</dd>
                    {span.parent.clone().map(|parent| view! { <dt>{w.parent}</dt><dd class="mono">{parent}</dd> })}
                    {(node.skew_us > 0.0).then(|| view! { <dt>{w.clock}</dt><dd>{(w.skew)(&micros(node.skew_us))}</dd> })}
                </dl>
            </section>
            <section>
                <h3>{w.tags}</h3>
                {none}
                <dl class="facts">{tags}</dl>
                {copy(w.copy_tags, Callback::new(move |()| attributes.with_value(|tags| tags.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n"))))}
            </section>
        </aside>
    }
}
