//! Traffic of one thing in tables: by peer, by code, by rule. Each figure leads to its requests.

use std::collections::BTreeMap;

use leptos::prelude::*;
use mesh_api::graph::{Edge, Graph};

use super::subject::{Kind, Subject, filter_of_edge, page_of_node};
use crate::format;
use crate::grid::{Cell, Column, Grid, Look, Row};
use crate::health::Health;
use crate::parts::empty;
use crate::requests::Filter;
use crate::text::inventory::words;
use crate::text::t;
use crate::time::{Time, time};

/// The tab.
#[component]
pub fn TrafficTab(graph: Memo<Option<Graph>>, subject: Memo<Option<Subject>>) -> impl IntoView {
    let time = time();
    let edges = move |incoming: bool| {
        Memo::new(move |_| {
            graph.with(|graph| {
                subject.with(|subject| match (graph, subject) {
                    (Some(graph), Some(subject)) => {
                        let edges = subject.edges(&graph.edges, incoming);
                        (edges.cloned().collect::<Vec<Edge>>(), graph.seconds)
                    }
                    _ => (Vec::new(), 1.0),
                })
            })
        })
    };
    let (incoming, outgoing) = (edges(true), edges(false));
    let kind =
        move || subject.with(|subject| subject.as_ref().map_or(Kind::Workload, |subject| subject.kind));
    let peers = move |edges: Memo<(Vec<Edge>, f64)>, incoming: bool| {
        Memo::new(move |_| {
            edges.with(|(edges, seconds)| {
                let rows = edges
                    .iter()
                    .map(|edge| peer(edge, *seconds, incoming, kind(), time));
                rows.collect::<Vec<Row>>()
            })
        })
    };
    let (callers, callees) = (peers(incoming, true), peers(outgoing, false));
    let base = move || subject.with(|subject| subject.as_ref().map(Subject::filter).unwrap_or_default());
    let codes = Memo::new(move |_| incoming.with(|(edges, _)| code_rows(edges, &base(), time)));
    let rules = Memo::new(move |_| incoming.with(|(edges, _)| rule_rows(edges, &base(), time)));
    let quiet = Memo::new(move |_| callers.with(Vec::is_empty) && callees.with(Vec::is_empty));
    let table = |title: &'static str,
                 name: &'static str,
                 prefix: &'static str,
                 columns: Vec<Column>,
                 rows: Memo<Vec<Row>>| {
        view! {
            <section class="table-section" hidden=move || rows.with(Vec::is_empty)>
                <h2>{title}</h2>
                <Grid label=title name=name prefix=prefix columns=columns rows=rows order="-requests" inline=true/>
            </section>
        }
    };
    let w = words();
    view! {
        <div class="scroll tables">
            <Show when=move || quiet.get()>{empty("activity", t().no_traffic.to_owned(), w.no_traffic_hint.to_owned())}</Show>
            {table(t().inbound, "callers", "in.", peer_columns(), callers)}
            {table(t().outbound, "callees", "out.", peer_columns(), callees)}
            {table(w.by_code, "codes", "code.", code_columns(), codes)}
            {table(w.by_rule, "rules", "rule.", rule_columns(), rules)}
        </div>
    }
}

fn peer_columns() -> Vec<Column> {
    let w = words();
    vec![
        Column::text("peer", w.peer),
        Column::text("requests_link", w.kept_requests),
        Column::text("health", t().health),
        Column::text("service", t().service),
        Column::text("protocol", t().protocol),
        Column::number("rate", t().rate),
        Column::number("requests", t().requests),
        Column::number("errors", t().errors),
        Column::number("client_errors", t().client_errors),
        Column::number("p50", t().p50).hidden(),
        Column::number("p95", t().p95),
        Column::number("p99", t().p99).hidden(),
        Column::text("flags", t().flags),
        Column::number("mtls", t().mtls),
    ]
}

fn peer(edge: &Edge, seconds: f64, incoming: bool, kind: Kind, time: Time) -> Row {
    let other = if incoming { &edge.source } else { &edge.target };
    let (name, path) = page_of_node(kind, other);
    let name = match (name.as_str(), incoming) {
        ("unknown", true) => t().outside.to_owned(),
        ("unknown", false) => t().local_answers.to_owned(),
        _ => name,
    };
    let flags: Vec<String> = edge
        .flags
        .iter()
        .filter(|(flag, _)| *flag != "-")
        .map(|(flag, number)| format!("{flag} {number}"))
        .collect();
    let requests = time.link(&format!("/requests?{}", query(&filter_of_edge(kind, edge))));
    Row {
        id: format!(
            "{}>{}>{}>{}",
            edge.source, edge.target, edge.service, edge.protocol
        ),
        href: path.map(|path| time.link(&path)),
        cells: vec![
            Cell::text(name),
            Cell::text(words().see_requests).linked(requests),
            Cell::health(Health::of(edge.requests, edge.errors)),
            Cell::soft(edge.service.clone()),
            Cell::soft(edge.protocol.clone()),
            Cell::rate(format::number(edge.requests) / seconds.max(1.0)),
            Cell::count(edge.requests),
            Cell::share(edge.errors, edge.requests),
            Cell::share(edge.client_errors, edge.requests),
            Cell::millis(edge.p50_ms),
            Cell::millis(edge.p95_ms),
            Cell::millis(edge.p99_ms),
            Cell::soft(flags.join(", ")),
            Cell::share(edge.mutual_tls, edge.requests),
        ],
    }
}

fn query(filter: &Filter) -> String {
    filter.query().trim_start_matches('&').to_owned()
}

fn code_columns() -> Vec<Column> {
    vec![
        Column::text("code", t().codes),
        Column::number("requests", t().requests),
        Column::number("share", words().share),
    ]
}

fn code_rows(edges: &[Edge], base: &Filter, time: Time) -> Vec<Row> {
    let mut codes: BTreeMap<&str, u64> = BTreeMap::new();
    for edge in edges {
        for (code, number) in &edge.codes {
            *codes.entry(code).or_default() += number;
        }
    }
    let total: u64 = codes.values().sum();
    let row = |(code, number): (&str, u64)| {
        let word = if code == "0" { t().no_answer } else { code };
        let link = format!("/requests?{}", query(&base.and(&Filter::of("code", code))));
        Row {
            id: code.to_owned(),
            href: Some(time.link(&link)),
            cells: vec![
                Cell::text(word).valued(code.parse().ok()),
                Cell::count(number),
                share(number, total),
            ],
        }
    };
    codes.into_iter().map(row).collect()
}

fn share(part: u64, whole: u64) -> Cell {
    Cell {
        look: Look::Bar(format::number(part) / format::number(whole.max(1))),
        ..Cell::share(part, whole)
    }
}

fn rule_columns() -> Vec<Column> {
    let w = words();
    vec![
        Column::text("rule", w.rule),
        Column::text("object", w.virtual_service),
        Column::number("requests", t().requests),
        Column::number("share", w.share),
        Column::number("errors", t().errors),
        Column::text("health", t().health),
    ]
}

fn rule_rows(edges: &[Edge], base: &Filter, time: Time) -> Vec<Row> {
    let mut rules: BTreeMap<(&str, &str, &str), (u64, u64)> = BTreeMap::new();
    for route in edges.iter().flat_map(|edge| &edge.routes) {
        let key = (
            route.virtual_service.as_str(),
            route.route.as_str(),
            route.match_name.as_str(),
        );
        let entry = rules.entry(key).or_default();
        entry.0 += route.requests;
        entry.1 += route.errors;
    }
    let total: u64 = rules.values().map(|(requests, _)| requests).sum();
    let row = |((object, route, name), (requests, errors)): ((&str, &str, &str), (u64, u64))| {
        let parts: Vec<&str> = [route, name]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let generated = object.is_empty();
        let word = if generated || parts.is_empty() {
            t().default_route.to_owned()
        } else {
            parts.join(" › ")
        };
        let mut filter = base.clone();
        for (field, value) in [("virtualService", object), ("route", route), ("match", name)] {
            if !value.is_empty() {
                filter = filter.and(&Filter::of(field, value));
            }
        }
        let link = format!("/requests?{}", query(&filter));
        Row {
            id: format!("{object}/{route}/{name}"),
            href: Some(time.link(&link)),
            cells: vec![
                Cell::text(word),
                if generated {
                    Cell::soft("–")
                } else {
                    Cell::text(object).linked(format!("/config/VirtualService/{object}"))
                },
                Cell::count(requests),
                share(requests, total),
                Cell::share(errors, requests),
                Cell::health(Health::of(requests, errors)),
            ],
        }
    };
    rules.into_iter().map(row).collect()
}
