//! How far a version of an object has come: live on n of m proxies.

use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::config::{ObjectSource, Propagation};

use crate::api;
use crate::clock::ticker;
use crate::format::number;
use crate::parts::{icon, sized_icon};
use crate::text::t;

/// Proxies answer within half a second.
const EVERY: Duration = Duration::from_millis(250);

/// A short bar with its numbers.
pub fn meter(propagation: &Propagation) -> impl IntoView + use<> {
    if propagation.total == 0 {
        return view! { <span class="soft">{t().concerns_none}</span> }.into_any();
    }
    let words = (t().proxies_of)(propagation.live, propagation.total);
    let waiting = propagation.live < propagation.total;
    let refused = propagation.refused.first().map(|refusal| {
        let title = refusal.reason.clone();
        view! { <span class="chip fail" title=title>{(t().refused_by)(&refusal.proxy)}</span> }
    });
    view! {
        <span class="meter" class:waiting=waiting>
            <progress max=propagation.total.to_string() value=propagation.live.to_string() aria-label=t().live_on></progress>
            {words}
            {refused}
        </span>
    }
    .into_any()
}

/// Follows a saved version until every proxy runs it.
#[component]
pub fn Effects(saved: Signal<Option<ObjectSource>>) -> impl IntoView {
    let state: RwSignal<Option<Propagation>> = RwSignal::new(None);
    let done = move || state.with(|state| state.as_ref().is_some_and(|state| state.live >= state.total));
    let now = ticker(EVERY);
    Effect::new(move |before: Option<String>| {
        let Some(source) = saved.get() else {
            return String::new();
        };
        now.track();
        if before.as_ref() != Some(&source.resource_version) {
            state.set(None);
        } else if untrack(done) {
            return source.resource_version;
        }
        let name = &source.object;
        let path = format!(
            "/api/propagation?kind={}&namespace={}&name={}&resourceVersion={}",
            name.kind, name.namespace, name.name, source.resource_version
        );
        spawn_local(async move {
            if let Ok(answer) = api::get::<Propagation>(&path).await {
                state.try_set(Some(answer));
            }
        });
        source.resource_version
    });
    view! {
        <section aria-live="polite" data-effect="">
            <h2>{t().effect}</h2>
            {move || state.get().map(|propagation| {
                let all = propagation.total > 0 && propagation.live >= propagation.total;
                let share = format!("{:.0}", number(propagation.live.into()) * 100.0 / number(propagation.total.max(1).into()));
                let refusals = propagation.refused.iter().map(|refusal| view! {
                    <li class="problem error">
                        {icon("octagon-alert")}
                        <span class="body"><span>{(t().refused_by)(&refusal.proxy)}</span><span class="where">{refusal.reason.clone()}</span></span>
                    </li>
                }).collect_view();
                view! {
                    <div class="progress-line" data-share=share>{meter(&propagation)}</div>
                    {all.then(|| view! { <span class="health ok">{sized_icon("circle-check", "icon")}{t().live_everywhere}</span> })}
                    <ul>{refusals}</ul>
                }
            })}
        </section>
    }
}
