//! The lists of the overview.

use leptos::prelude::*;
use mesh_api::inventory::{Offender, Overview};

use crate::api::encode;
use crate::chart::sparkline;
use crate::clock;
use crate::config::severity_face;
use crate::format;
use crate::health::Health;
use crate::parts::{health_badge, icon, sized_icon};
use crate::text::overview::words;
use crate::text::{history, t};
use crate::time::time;

/// Nothing to list is good news, or no news.
fn calm(name: &'static str, title: &'static str, hint: &'static str) -> AnyView {
    view! { <div class="calm">{icon(name)}<div><strong>{title}</strong><p>{hint}</p></div></div> }.into_any()
}

/// What does badly, worst first.
pub fn offenders(overview: &Overview) -> AnyView {
    if overview.offenders.is_empty() {
        return calm("circle-check", words().no_offenders, words().no_offenders_hint);
    }
    let rows = overview.offenders.iter().map(offender).collect_view();
    view! { <ul class="lines" data-rows="" data-offenders="">{rows}</ul> }.into_any()
}

fn offender(offender: &Offender) -> impl IntoView + use<> {
    let time = time();
    let (class, symbol, reason) = match offender.reason.as_str() {
        "latency" => ("health warn", "timer", words().reason_latency),
        "new errors" => ("health fail", "flame", words().reason_new),
        _ => ("health fail", "octagon-alert", words().reason_errors),
    };
    let slow = offender.reason == "latency";
    let figure = if slow {
        format::millis(offender.p95_ms)
    } else {
        format::percent(offender.errors, offender.requests)
    };
    let detail = if slow {
        words().p95.to_owned()
    } else {
        format!(
            "{} / {}",
            format::count(offender.errors),
            format::count(offender.requests)
        )
    };
    let edge = format!(
        "/graph?sel={}",
        encode(&format!("edge:{}~{}", offender.source, offender.target))
    );
    let filter = if slow {
        offender
            .p95_ms
            .map_or_else(|| "reason=slow".to_owned(), |ms| format!("minMs={ms:.0}"))
    } else {
        "reason=error".to_owned()
    };
    let requests = format!(
        "/requests?source={}&destination={}&{filter}",
        encode(&offender.source),
        encode(&offender.target)
    );
    view! {
        <li>
            <span class=class title=reason>{icon(symbol)}<span class="visually-hidden">{reason}</span></span>
            <a class="grow" href=move || time.link(&edge) title=words().see_graph>
                {offender.source.clone()}{sized_icon("arrow-right", "icon small")}{offender.target.clone()}
            </a>
            <span class="kind">{detail}</span>
            <strong class=class>{figure}</strong>
            <a class="button quiet square" href=move || time.link(&requests) title=words().see_requests aria-label=words().see_requests>{icon("search")}</a>
        </li>
    }
}

/// Objects with problems.
pub fn problems(overview: &Overview) -> AnyView {
    if overview.problems.is_empty() {
        return calm("circle-check", words().no_problems, "");
    }
    let rows = overview.problems.iter().map(|object| {
        let name = &object.object;
        let link = format!("/config/{}/{}/{}", name.kind, name.namespace, name.name);
        let worst = object.problems.iter().max_by_key(|problem| problem.severity);
        let (class, symbol) = worst.map_or(("unknown", "info"), |problem| severity_face(problem.severity));
        let message = worst.map(|problem| problem.message.clone()).unwrap_or_default();
        let more = (object.problems.len() > 1).then(|| format!("+{}", object.problems.len() - 1));
        view! {
            <li>
                <span class=format!("health {class}")>{icon(symbol)}</span>
                <a class="name" href=link>{format!("{} {}/{}", name.kind, name.namespace, name.name)}</a>
                <span class="grow soft" title=message.clone()>{message.clone()}</span>
                <span class="kind">{more}</span>
            </li>
        }
    });
    view! { <ul class="lines" data-rows="" data-problem-list="">{rows.collect_view()}</ul> }.into_any()
}

/// The last changes of the configuration.
pub fn changes(overview: &Overview) -> AnyView {
    if overview.changes.is_empty() {
        return calm("history", words().no_changes, words().no_changes_hint);
    }
    let now = clock::now();
    let rows = overview.changes.iter().map(|revision| {
        let name = &revision.object;
        let link = format!(
            "/history?kind={}&namespace={}&name={}&rev={}",
            name.kind, name.namespace, name.name, revision.id
        );
        let ago = clock::age(&revision.at, now).map(|age| (t().ago)(&age));
        let who = if revision.user.is_empty() {
            history::words().somebody.to_owned()
        } else {
            revision.user.clone()
        };
        let symbol = match revision.change.as_str() {
            "created" => "plus",
            "deleted" => "trash-2",
            _ => "git-commit-horizontal",
        };
        view! {
            <li>
                <span class="soft">{icon(symbol)}<span class="visually-hidden">{history::words().change(&revision.change)}</span></span>
                <a class="grow" href=link>{format!("{} {}/{}", name.kind, name.namespace, name.name)}</a>
                <span class="kind">{who}</span>
                <span class="kind ago" title=revision.at.clone()>{ago}</span>
            </li>
        }
    });
    view! { <ul class="lines" data-rows="" data-changes="">{rows.collect_view()}</ul> }.into_any()
}

/// Namespaces with their traffic.
pub fn namespaces(overview: &Overview) -> AnyView {
    let time = time();
    let head = [
        t().namespace,
        t().health,
        t().services,
        t().workloads,
        words().rate,
        words().errors,
        words().p95,
        words().traffic,
    ]
    .map(|name| view! { <th scope="col">{name}</th> });
    let rows = overview.namespaces.iter().map(|row| {
        let link = format!("/graph?namespaces={}", encode(&row.name));
        let problems = (row.problems > 0).then(|| {
            let path = format!("/config?q={}&problems=1", encode(&row.name));
            view! { <a class="chip warn" href=path title=words().problems>{sized_icon("triangle-alert", "icon small")}{row.problems.to_string()}</a> }
        });
        view! {
            <tr>
                <td class="name"><a href=move || time.link(&link)>{row.name.clone()}</a>" "{problems}</td>
                <td>{health_badge(Health::from(row.health))}</td>
                <td class="number">{row.services.to_string()}</td>
                <td class="number">{row.workloads.to_string()}</td>
                <td class="number">{format!("{}/s", format::decimals(row.inbound.rate))}</td>
                <td class="number">{format::percent(row.inbound.errors, row.inbound.requests)}</td>
                <td class="number">{format::millis(row.inbound.p95_ms)}</td>
                <td>{sparkline(&row.inbound.spark)}</td>
            </tr>
        }
    });
    view! {
        <div class="table-wrap" tabindex="0" role="region" aria-label=t().namespaces>
            <table class="grid" data-namespaces="">
                <thead><tr>{head.into_iter().collect_view()}</tr></thead>
                <tbody>{rows.collect_view()}</tbody>
            </table>
        </div>
    }
    .into_any()
}
