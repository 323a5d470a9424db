//! The answer: what becomes of the request, then each hop with its decisions in order.

use leptos::prelude::*;
use mesh_api::explain::{Candidate, Decision, EndpointFacts, Explanation, Hop, ObjectPlace, Outcome};

use crate::config::page_of;
use crate::parts::{icon, sized_icon};
use crate::text::explain::words;
use crate::text::t;
use crate::time::time;

/// Longer lists of candidates begin closed: only the winner stands.
const OPEN_UNTIL: usize = 8;

/// Everything that was answered.
pub fn answer(explanation: &Explanation) -> impl IntoView + use<> {
    let notes = explanation
        .notes
        .iter()
        .map(|note| view! { <li>{sized_icon("info", "icon small")}{note.clone()}</li> })
        .collect_view();
    let hops = explanation.hops.iter().map(hop).collect_view();
    view! {
        <div class="page-grid explained" data-explained="">
            {verdict(&explanation.outcome)}
            {(!explanation.notes.is_empty()).then(|| view! { <ul class="explain-notes">{notes}</ul> })}
            {hops}
        </div>
    }
}

/// Colour and shape of what a proxy does.
fn face(action: &str) -> (&'static str, &'static str) {
    match action {
        "forward" | "tunnel" => ("health ok", "circle-check"),
        "redirect" | "respond" => ("health info", "undo-2"),
        _ => ("health fail", "octagon-alert"),
    }
}

fn verdict(outcome: &Outcome) -> impl IntoView + use<> {
    let (class, symbol) = face(&outcome.action);
    view! {
        <section class="card-box" data-outcome=outcome.action.clone()>
            <header>
                <span class=class>{icon(symbol)}{words().action(&outcome.action).to_owned()}</span>
                <strong>{outcome.summary.clone()}</strong>
            </header>
            {outcome_facts(outcome)}
        </section>
    }
}

fn outcome_facts(outcome: &Outcome) -> impl IntoView + use<> {
    let w = words();
    let clusters = outcome
        .clusters
        .iter()
        .map(|(name, share)| {
            view! { <li><span class="mono">{name.clone()}</span><strong>{share_text(*share)}</strong></li> }
        })
        .collect_view();
    let chance = outcome
        .chance
        .iter()
        .map(|sentence| view! { <li>{sentence.clone()}</li> })
        .collect_view();
    let has = |text: &str| !matches!(text, "" | "-");
    view! {
        <dl class="facts wide padded">
            {outcome.status.map(|status| view! { <dt>{w.status}</dt><dd>{status.to_string()}</dd> })}
            {has(&outcome.flags).then(|| view! { <dt>{w.flags}</dt><dd class="mono">{outcome.flags.clone()}</dd> })}
            {has(&outcome.details).then(|| view! { <dt>{w.details}</dt><dd class="mono">{outcome.details.clone()}</dd> })}
            {has(&outcome.route).then(|| view! { <dt>{w.route}</dt><dd class="mono">{outcome.route.clone()}</dd> })}
            {(!outcome.clusters.is_empty()).then(|| view! { <dt>{w.clusters}</dt><dd><ul class="explain-shares">{clusters}</ul></dd> })}
            {(!outcome.chance.is_empty()).then(|| view! { <dt>{w.chance}</dt><dd><ul>{chance}</ul></dd> })}
        </dl>
    }
}

fn share_text(percent: f64) -> String {
    if (percent - percent.round()).abs() < 0.05 {
        format!("{percent:.0} %")
    } else {
        format!("{percent:.1} %")
    }
}

fn hop(hop: &Hop) -> impl IntoView + use<> {
    let time = time();
    let w = words();
    let workload = (!hop.workload.is_empty()).then(|| {
        let (path, name) = (format!("/workloads/{}", hop.workload), hop.workload.clone());
        view! { <a href=move || time.link(&path)>{name}</a> }
    });
    let proxy = (!hop.proxy.is_empty()).then(|| {
        let (path, name) = (
            format!("/mesh/{}", crate::api::encode(&hop.proxy)),
            hop.proxy.clone(),
        );
        view! { <a class="kind mono" href=path>{name}</a> }
    });
    let decisions = hop.decisions.iter().map(decision).collect_view();
    let (class, symbol) = face(&hop.outcome.action);
    view! {
        <section class="card-box" data-hop=hop.side.clone()>
            <header>
                <span class="chip">{w.side(&hop.side).to_owned()}</span>
                <h2>{workload}</h2>
                {proxy}
                <div class="spacer"></div>
                <span class=class>{icon(symbol)}{w.action(&hop.outcome.action).to_owned()}</span>
            </header>
            <p class="padded kind mono explain-asked">
                {format!("{} {}://{}{}", hop.request.method, hop.request.scheme, hop.request.authority, hop.request.path)}
            </p>
            <ol class="decisions">{decisions}</ol>
        </section>
    }
}

fn decision(decision: &Decision) -> impl IntoView + use<> {
    let w = words();
    let ends = decision
        .ends
        .then(|| view! { <span class="chip warn">{w.ends_here}</span> });
    view! {
        <li data-step=decision.step.clone()>
            <div class="decision-head">
                <span class="decision-step">{w.step(&decision.step).to_owned()}</span>
                <strong>{decision.result.clone()}</strong>
                {ends}
                <span class="soft">{decision.reason.clone()}</span>
            </div>
            {candidates(&decision.candidates)}
        </li>
    }
}

fn candidates(all: &[Candidate]) -> Option<AnyView> {
    if all.is_empty() {
        return None;
    }
    let rows = |list: Vec<&Candidate>| list.into_iter().map(candidate).collect_view();
    if all.len() <= OPEN_UNTIL {
        return Some(view! { <ul class="candidates">{rows(all.iter().collect())}</ul> }.into_any());
    }
    let (winners, losers): (Vec<_>, Vec<_>) = all.iter().partition(|candidate| candidate.won);
    let count = (words().others)(losers.len());
    Some(
        view! {
            <ul class="candidates">{rows(winners)}</ul>
            <details class="losers">
                <summary>{count}</summary>
                <ul class="candidates">{rows(losers)}</ul>
            </details>
        }
        .into_any(),
    )
}

fn candidate(candidate: &Candidate) -> impl IntoView + use<> {
    let (class, symbol, word) = if candidate.won {
        ("candidate won", "check", words().won)
    } else {
        ("candidate", "x", words().lost)
    };
    let share = candidate
        .percent
        .map(|percent| view! { <span class="chip info">{share_text(percent)}</span> });
    let summary = (!candidate.summary.is_empty())
        .then(|| view! { <span class="soft mono">{candidate.summary.clone()}</span> });
    view! {
        <li class=class data-won=candidate.won.to_string()>
            {sized_icon(symbol, "icon small")}
            <span class="visually-hidden">{word}</span>
            <span class="candidate-text">
                <span class="candidate-line"><span class="name">{candidate.name.clone()}</span>{share}{summary}{candidate.object.as_ref().map(place)}</span>
                <span class="soft">{candidate.reason.clone()}</span>
                {candidate.endpoint.as_ref().map(endpoint)}
            </span>
        </li>
    }
}

/// The object that made it, at its line.
fn place(place: &ObjectPlace) -> impl IntoView + use<> {
    let name = &place.object;
    let line = place.line.map(|line| format!("?line={line}")).unwrap_or_default();
    let href = format!("{}{line}", page_of(name));
    let at = match (place.field.is_empty(), place.line) {
        (false, Some(line)) => format!(" · {} · {}", place.field, (words().line)(line)),
        (false, None) => format!(" · {}", place.field),
        (true, Some(line)) => format!(" · {}", (words().line)(line)),
        (true, None) => String::new(),
    };
    let text = format!("{} {}/{}", name.kind, name.namespace, name.name);
    view! { <a class="candidate-object" href=href data-object="">{sized_icon("file-cog", "icon small")}{text}<span class="kind">{at}</span></a> }
}

fn endpoint(facts: &EndpointFacts) -> impl IntoView + use<> {
    let w = words();
    let time = time();
    let state = match (facts.healthy, facts.ejected) {
        (true, false) => ("chip ok", w.healthy),
        (true, true) => ("chip warn", w.ejected),
        (false, _) => ("chip fail", w.unhealthy),
    };
    let lock = if facts.mutual_tls {
        view! { <span class="chip ok">{sized_icon("lock", "icon small")}{t().mtls}</span> }
    } else {
        view! { <span class="chip">{sized_icon("lock-open", "icon small")}{w.plain}</span> }
    };
    let workload = (!facts.workload.is_empty()).then(|| {
        let (path, name) = (format!("/workloads/{}", facts.workload), facts.workload.clone());
        view! { <a href=move || time.link(&path)>{name}</a> }
    });
    let locality =
        (!facts.locality.is_empty()).then(|| view! { <span class="kind">{facts.locality.clone()}</span> });
    view! {
        <span class="candidate-line">
            <span class="mono">{facts.address.clone()}</span>
            {workload}
            <span class=state.0>{state.1}</span>
            {lock}
            <span class="kind">{(w.weight)(facts.weight, facts.priority)}</span>
            {locality}
        </span>
    }
}
