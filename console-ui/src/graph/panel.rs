//! What is behind a node or an edge.

use std::collections::BTreeMap;
use std::time::Duration;

use leptos::prelude::*;
use leptos::task::spawn_local;
use mesh_api::graph::{Edge, RouteCount, Series};
use mesh_api::layout::LOCAL_ANSWERS;
use mesh_api::metrics::Metrics;

use super::choice::{Choice, Selection, type_name};
use super::links::{self, Filter};
use super::scene::{Card, Line, Scene};
use crate::address::{Step, address};
use crate::api;
use crate::chart::{Chart, Data, Form, Line as DataLine, Tone, Unit, from_metrics};
use crate::clock::{self, ticker};
use crate::format;
use crate::health::Health;
use crate::load::load;
use crate::parts::{health_badge, icon, sized_icon};
use crate::text::graph::words;
use crate::text::{overview, t};
use crate::time::time;

/// The chart moves on this often.
const SERIES_EVERY: Duration = Duration::from_secs(5);

type Select = Callback<Option<Selection>>;

/// The side panel; nothing when nothing is selected.
#[component]
pub fn Panel(scene: Memo<Scene>, choice: Choice, select: Select) -> impl IntoView {
    move || match choice.selection.get()? {
        Selection::Node(id) => scene
            .with(|scene| scene.card(&id).is_some())
            .then(|| view! { <NodePanel id scene choice select/> }.into_any()),
        Selection::Edge(source, target) => {
            let known = scene.with(|scene| scene.line(&source, &target).is_some());
            known.then(|| view! { <EdgePanel source target scene choice select/> }.into_any())
        }
    }
}

#[component]
fn EdgePanel(
    source: String,
    target: String,
    scene: Memo<Scene>,
    choice: Choice,
    select: Select,
) -> impl IntoView {
    let (from, to) = (source.clone(), target.clone());
    let line = Memo::new(move |_| scene.with(|scene| scene.line(&from, &to).cloned()));
    let name =
        |id: &str| scene.with_untracked(|scene| scene.card(id).map_or_else(|| id.to_owned(), full_name));
    let (source_name, target_name) = (name(&source), name(&target));
    let series = series(choice, source.clone(), target.clone());
    let (source_id, target_id) = (source.clone(), target.clone());
    let seconds = move || scene.with(|scene| scene.seconds);
    let filter = Memo::new(move |_| {
        let services = line.with(|line| {
            let edges = line.iter().flat_map(|line| &line.edges);
            let mut services: Vec<String> = edges.map(|edge| edge.service.clone()).collect();
            services.sort();
            services.dedup();
            services
        });
        links::edge(choice.kind.get(), &source, &target, &services)
    });
    view! {
        <aside class="panel" aria-label=(t().edge_label)(&source_name, &target_name) data-panel="edge">
            <header>
                <div class="title-row">
                    <h2 class="ends">
                        <button on:click=move |_| select.run(Some(Selection::Node(source_id.clone())))>{source_name.clone()}</button>
                        {sized_icon("arrow-right", "icon small")}
                        <button on:click=move |_| select.run(Some(Selection::Node(target_id.clone())))>{target_name.clone()}</button>
                    </h2>
                    {close(select)}
                </div>
                {move || line.get().map(|line| summary(&line, seconds()))}
                <div class="actions">{ways(filter, None)}</div>
            </header>
            {move || line.with(|line| line.as_ref().is_some_and(|line| line.gap)).then(|| view! {
                <div class="banner" role="note" data-gap="">{icon("triangle-alert")}{words().gap_edge}</div>
            })}
            {move || line.get().map(|line| figures(&line, seconds()))}
            <section>
                <Chart title=t().over_time data=Signal::derive(move || series.with(|series| series.as_ref().map(drawn))) named=true/>
            </section>
            {move || line.get().map(|line| details(&line.edges, filter))}
        </aside>
    }
}

/// Requests, traces and the page behind a selection.
fn ways(filter: Memo<Filter>, page: Option<Memo<Option<String>>>) -> impl IntoView {
    let time = time();
    let requests = move || time.link(&links::path("/requests", &filter.get(), api::encode));
    let traces = move || {
        // Traces know workloads and applications only.
        let known = filter.with(|filter| {
            let end = filter.iter().find_map(|(name, value)| match *name {
                "workload" | "app" => Some((*name, value.clone())),
                "destination" if value != "unknown" => Some(("workload", value.clone())),
                _ => None,
            });
            end.into_iter().collect::<Vec<_>>()
        });
        time.link(&links::path("/traces", &known, api::encode))
    };
    let page = move || {
        let path = page.and_then(|page| page.get())?;
        Some(
            view! { <a class="button" href=move || time.link(&path) data-details="">{icon("arrow-up-right")}{words().see_details}</a> },
        )
    };
    view! {
        <a class="button" href=requests data-requests="">{icon("activity")}{words().see_requests}</a>
        <a class="button" href=traces>{icon("waypoints")}{words().see_traces}</a>
        {page}
    }
}

/// Requests and errors a second.
fn drawn(series: &Series) -> Data {
    let step = format::number(series.step_seconds).max(1.0);
    let line = |name: &str, tone, value: fn(&mesh_api::graph::Point) -> u64| DataLine {
        name: name.to_owned(),
        tone,
        values: series
            .points
            .iter()
            .map(|point| Some(format::number(value(point)) / step))
            .collect(),
    };
    Data {
        from_ms: format::number(series.points.first().map_or(0, |point| point.at)) * 1000.0,
        step_ms: step * 1000.0,
        lines: vec![
            line(t().requests, Tone::Series(0), |point| point.requests),
            line(t().errors, Tone::Fail, |point| point.errors),
        ],
        form: Form::Areas,
        unit: Unit::Rate,
    }
    .closed(clock::now())
}

#[component]
fn NodePanel(id: String, scene: Memo<Scene>, choice: Choice, select: Select) -> impl IntoView {
    let key = StoredValue::new(id);
    let card = Memo::new(move |_| scene.with(|scene| key.with_value(|id| scene.card(id).cloned())));
    let name = move || card.with(|card| card.as_ref().map(full_name));
    let incoming = Memo::new(move |_| neighbours(scene, key, true));
    let outgoing = Memo::new(move |_| neighbours(scene, key, false));
    let edges = Memo::new(move |_| {
        let lines = if key.with_value(|id| id == "unknown") {
            outgoing.get()
        } else {
            incoming.get()
        };
        lines.into_iter().flat_map(|line| line.edges).collect::<Vec<_>>()
    });
    let seconds = move || scene.with(|scene| scene.seconds);
    let filter = Memo::new(move |_| key.with_value(|id| links::node(choice.kind.get(), id)));
    let page = Memo::new(move |_| key.with_value(|id| links::page(choice.kind.get(), id)));
    view! {
        <aside class="panel" aria-label=name data-panel="node">
            <header>
                <div class="title-row">
                    <h2>{name}</h2>
                    {close(select)}
                </div>
                {move || card.get().map(|card| view! {
                    <div class="ends">
                        {health_badge(card.health())}
                        <span class="kind">{card.kind_word()}</span>
                        {(!card.namespace.is_empty()).then(|| view! { <span class="chip">{card.namespace.clone()}</span> })}
                    </div>
                })}
                <div class="actions">{ways(filter, Some(page))}</div>
                {isolate(key)}
            </header>
            {move || sum(&edges.get()).map(|line| figures(&line, seconds()))}
            <NodeCharts key choice/>
            <section>
                <h3>{t().inbound}</h3>
                {move || calls(&incoming.get(), scene, select, true)}
            </section>
            <section>
                <h3>{t().outbound}</h3>
                {move || calls(&outgoing.get(), scene, select, false)}
            </section>
            {move || details(&edges.get(), filter)}
        </aside>
    }
}

/// Only this node's callers, or what it calls, or both.
fn isolate(key: StoredValue<String>) -> impl IntoView {
    let address = address();
    let button = |symbol: &'static str, name: &'static str, direction: Option<&'static str>| {
        let press = move |_| {
            let changes = [
                ("iso", Some(key.get_value())),
                ("dir", direction.map(str::to_owned)),
                ("at", None),
            ];
            address.write(&changes, Step::New);
        };
        view! { <button class="button quiet" data-isolate=direction.unwrap_or("both") on:click=press>{icon(symbol)}{name}</button> }
    };
    view! {
        <div class="actions" role="group" aria-label=words().isolate>
            {button("arrow-left", words().upstream, Some("up"))}
            {button("target", words().isolate, None)}
            {button("arrow-right", words().downstream, Some("down"))}
        </div>
    }
}

/// Requests and durations of a node over time.
#[component]
fn NodeCharts(key: StoredValue<String>, choice: Choice) -> impl IntoView {
    let time = time();
    let local = key.with_value(|id| id == LOCAL_ANSWERS);
    let metrics = load::<Metrics>(move || {
        let direction = key.with_value(|id| if id == "unknown" { "outbound" } else { "inbound" });
        (!local).then(|| {
            format!(
                "/api/metrics?type={}&subject={}&direction={direction}&quantiles=0.5,0.95,0.99&step={}&{}",
                type_name(choice.kind.get()),
                key.with_value(|id| api::encode(id)),
                time.step(),
                time.query()
            )
        })
    });
    let data = move |draw: fn(&Metrics, f64) -> Data| {
        Signal::derive(move || {
            metrics
                .value
                .with(|metrics| metrics.as_ref().map(|metrics| draw(metrics, clock::now())))
        })
    };
    (!local).then(|| {
        view! {
            <section data-node-charts="">
                <Chart title=t().over_time data=data(from_metrics::rates)/>
                <Chart title=overview::words().latency data=data(from_metrics::durations)/>
            </section>
        }
    })
}

fn neighbours(scene: Memo<Scene>, key: StoredValue<String>, incoming: bool) -> Vec<Line> {
    scene.with(|scene| {
        let mine = |line: &&Line| {
            key.with_value(|id| {
                if incoming {
                    line.target == *id
                } else {
                    line.source == *id
                }
            })
        };
        scene.lines.iter().filter(mine).cloned().collect()
    })
}

fn close(select: Select) -> impl IntoView {
    view! {
        <button class="button quiet square" aria-label=t().close title=t().close on:click=move |_| select.run(None)>{icon("x")}</button>
    }
}

fn full_name(card: &Card) -> String {
    if card.version.is_empty() {
        card.title.clone()
    } else {
        format!("{} {}", card.title, card.version)
    }
}

fn summary(line: &Line, seconds: f64) -> impl IntoView + use<> {
    let services: Vec<String> = line
        .edges
        .iter()
        .map(|edge| format!("{} · {}", edge.protocol, edge.service))
        .collect();
    let mutual = line
        .mutual_tls
        .then(|| view! { <span class="chip ok">{sized_icon("lock", "icon small")}{t().mtls}</span> });
    view! {
        <div class="ends">
            {health_badge(line.health())}
            {mutual}
            <span class="kind">{(t().of_window)(&format::span(seconds))}</span>
        </div>
        {services.into_iter().map(|service| view! { <span class="kind">{service}</span> }).collect_view()}
    }
}

fn figures(line: &Line, seconds: f64) -> impl IntoView + use<> {
    let class = match line.health() {
        Health::Warn => "value warn",
        Health::Fail => "value fail",
        Health::Ok | Health::Unknown => "value",
    };
    let most = |pick: fn(&Edge) -> Option<f64>| {
        format::millis(line.edges.iter().filter_map(pick).max_by(f64::total_cmp))
    };
    let (sent, received) = line.edges.iter().fold((0, 0), |(sent, received), edge| {
        (sent + edge.request_bytes, received + edge.response_bytes)
    });
    let attempts: u64 = line.edges.iter().map(|edge| edge.attempts).sum();
    if line.tcp {
        return connections(line, seconds, sent, received).into_any();
    }
    let plain = |label: &'static str, value: String| {
        view! { <div class="figure"><span class="value">{value}</span><span class="label">{label}</span></div> }
    };
    view! {
        <section>
            <div class="figures">
                <div class="figure">
                    <span class="value">{format::rate(line.requests, seconds)}<small>{t().rps}</small></span>
                    <span class="label">{t().rate}</span>
                </div>
                <div class="figure"><span class=class>{format::percent(line.errors, line.requests)}</span><span class="label">{t().errors}</span></div>
                {plain(t().requests, format::count(line.requests))}
                {plain(t().p50, most(|edge| edge.p50_ms))}
                {plain(t().p95, most(|edge| edge.p95_ms))}
                {plain(t().p99, most(|edge| edge.p99_ms))}
                {plain(t().attempts, format::count(attempts))}
                <div class="figure wide"><span class="value">{format::bytes(sent)}<small>{format!("/ {}", format::bytes(received))}</small></span><span class="label">{t().bytes}</span></div>
            </div>
        </section>
    }
    .into_any()
}

/// TCP has bytes and connections.
fn connections(line: &Line, seconds: f64, sent: u64, received: u64) -> impl IntoView + use<> {
    let each = |bytes: u64| {
        format!(
            "{}/s",
            format::byte_size(format::number(bytes) / seconds.max(1.0))
        )
    };
    let figure = |label: &'static str, value: String| {
        view! { <div class="figure"><span class="value">{value}</span><span class="label">{label}</span></div> }
    };
    view! {
        <section data-tcp="">
            <div class="figures">
                {figure(words().connections, format::count(line.requests))}
                {figure(words().sent, each(sent))}
                {figure(words().received, each(received))}
                {figure(t().errors, format::count(line.errors))}
            </div>
        </section>
    }
}

/// Codes, flags, routes of some edges together.
fn details(edges: &[Edge], filter: Memo<Filter>) -> impl IntoView + use<> {
    let mut codes: BTreeMap<String, u64> = BTreeMap::new();
    let mut flags: BTreeMap<String, u64> = BTreeMap::new();
    let mut routes: BTreeMap<(String, String, String), (u64, u64)> = BTreeMap::new();
    for edge in edges {
        for (code, count) in &edge.codes {
            *codes.entry(code.clone()).or_default() += count;
        }
        for (flag, count) in edge.flags.iter().filter(|(flag, _)| *flag != "-") {
            *flags.entry(flag.clone()).or_default() += count;
        }
        for RouteCount {
            virtual_service,
            route,
            match_name,
            requests,
            errors,
        } in &edge.routes
        {
            let entry = routes
                .entry((virtual_service.clone(), route.clone(), match_name.clone()))
                .or_default();
            entry.0 += requests;
            entry.1 += errors;
        }
    }
    let total: u64 = edges.iter().map(|edge| edge.requests).sum();
    let no_flags = flags
        .is_empty()
        .then(|| view! { <p class="kind">{t().no_flags}</p> });
    view! {
        <section data-codes="">
            <h3>{t().codes}</h3>
            {code_bar(&codes, total)}
            <ul class="pairs">{codes.into_iter().map(|(code, count)| pair(code_chip(&code), count, total, filter, vec![("code", code.clone())])).collect_view()}</ul>
        </section>
        <section data-flags="">
            <h3>{t().flags}</h3>
            {no_flags}
            <ul class="pairs">
                {flags.into_iter().map(|(flag, count)| pair(view! { <span class="chip warn mono">{flag.clone()}</span> }.into_any(), count, total, filter, vec![("flags", flag)])).collect_view()}
            </ul>
        </section>
        <section data-routes="">
            <h3>{t().routes}</h3>
            <ul class="pairs">
                {routes.into_iter().map(|((service, route, name), (requests, errors))| pair(route_name(&service, &route, &name, Health::of(requests, errors)), requests, total, filter, route_filter(service, route, name))).collect_view()}
            </ul>
        </section>
    }
}

/// A value with its count; the count leads to the requests behind it.
fn pair(key: AnyView, count: u64, total: u64, filter: Memo<Filter>, more: Filter) -> impl IntoView {
    let time = time();
    let href = move || {
        let mut all = filter.get();
        all.extend(more.iter().cloned());
        time.link(&links::path("/requests", &all, api::encode))
    };
    view! {
        <li>
            <span class="key">{key}</span>
            <a class="count" href=href title=words().see_requests>{format::count(count)}</a>
            <span class="share">{format::percent(count, total)}</span>
        </li>
    }
}

/// Generated defaults have no VirtualService.
fn route_filter(virtual_service: String, route: String, name: String) -> Filter {
    let pairs = [
        ("virtualService", virtual_service),
        ("route", route),
        ("match", name),
    ];
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect()
}

fn code_chip(code: &str) -> AnyView {
    let (class, text) = match code.as_bytes().first() {
        Some(b'2') => ("chip ok", code.to_owned()),
        Some(b'1' | b'3') => ("chip info", code.to_owned()),
        Some(b'4') => ("chip warn", code.to_owned()),
        Some(b'0') => ("chip fail", t().no_answer.to_owned()),
        _ => ("chip fail", code.to_owned()),
    };
    view! { <span class=class>{text}</span> }.into_any()
}

fn code_bar(codes: &BTreeMap<String, u64>, total: u64) -> impl IntoView + use<> {
    let mut classes: BTreeMap<(u8, &'static str), u64> = BTreeMap::new();
    for (code, count) in codes {
        let class = match code.as_bytes().first() {
            Some(b'2') => (0, "ok"),
            Some(b'1' | b'3') => (1, "redirect"),
            Some(b'4') => (2, "client"),
            _ => (3, "fail"),
        };
        *classes.entry(class).or_default() += count;
    }
    let mut x = 0.0;
    let bars: Vec<_> = classes
        .into_iter()
        .map(|((_, class), count)| {
            let width = format::number(count) / format::number(total.max(1)) * 100.0;
            let bar = view! { <rect class=class x=format!("{x:.2}") y="0" width=format!("{width:.2}") height="6"></rect> };
            x += width;
            bar
        })
        .collect();
    view! { <svg class="bar" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">{bars}</svg> }
}

/// A route, with a link to the object that decided.
fn route_name(virtual_service: &str, route: &str, name: &str, health: Health) -> AnyView {
    let mark = (health != Health::Ok).then(|| view! { <span class=format!("health {}", health.class())>{sized_icon(health.icon(), "icon small")}</span> });
    if virtual_service.is_empty() {
        return view! { {mark}<span class="kind">{t().default_route}</span> }.into_any();
    }
    let text = match (route.is_empty(), name.is_empty()) {
        (true, _) => virtual_service.to_owned(),
        (false, true) => route.to_owned(),
        (false, false) => format!("{route} › {name}"),
    };
    let link = format!("/config/VirtualService/{virtual_service}");
    view! { {mark}<a href=link title=virtual_service.to_owned()>{text}</a> }.into_any()
}

fn calls(lines: &[Line], scene: Memo<Scene>, select: Select, incoming: bool) -> AnyView {
    if lines.is_empty() {
        return view! { <p class="kind">{t().nothing}</p> }.into_any();
    }
    let seconds = scene.with(|scene| scene.seconds);
    let rows = lines.iter().map(|line| {
        let other = if incoming { &line.source } else { &line.target };
        let name = scene.with(|scene| scene.card(other).map_or_else(|| other.clone(), full_name));
        let (health, rate) = (line.health(), format!("{}/s", format::rate(line.requests, seconds)));
        let selection = Selection::Edge(line.source.clone(), line.target.clone());
        view! {
            <li>
                <button on:click=move |_| select.run(Some(selection.clone()))>
                    <span class=format!("health {}", health.class()) title=health.word()>{sized_icon(health.icon(), "icon small")}</span>
                    <span class="grow">{name}</span>
                    <span>{rate}</span>
                    {sized_icon("chevron-right", "icon small")}
                </button>
            </li>
        }
    });
    view! { <ul class="rows">{rows.collect_view()}</ul> }.into_any()
}

/// Some edges as one line, for the figures.
fn sum(edges: &[Edge]) -> Option<Line> {
    (!edges.is_empty()).then(|| {
        let mut line = Line::new(
            String::new(),
            String::new(),
            super::curve::Curve::default(),
            edges.to_vec(),
        );
        // Percentiles do not add up.
        if edges.len() > 1 {
            line.p95_ms = None;
        }
        line
    })
}

/// The edge over time, asked for again and again while the panel is open.
fn series(choice: Choice, source: String, target: String) -> RwSignal<Option<Series>> {
    let series = RwSignal::new(None);
    let (time, now) = (time(), ticker(SERIES_EVERY));
    Effect::new(move |_| {
        let kind = type_name(choice.kind.get());
        if time.live.get() {
            now.track();
        }
        // A minute of 10 s windows is too short for a curve.
        let asked = if time.live.get() && time.seconds() < 600.0 {
            "from=now-600s&to=now".to_owned()
        } else {
            time.interval()
        };
        let end = if target == LOCAL_ANSWERS {
            "unknown"
        } else {
            &target
        };
        let path = format!(
            "/api/series?type={kind}&source={}&target={}&{asked}",
            api::encode(&source),
            api::encode(end)
        );
        spawn_local(async move {
            match api::get::<Series>(&path).await {
                Ok(answer) => {
                    series.try_set(Some(answer));
                }
                Err(failure) => leptos::logging::warn!("no series: {}", failure.message),
            }
        });
    });
    series
}
