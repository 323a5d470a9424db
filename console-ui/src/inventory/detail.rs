//! One service, workload, application or namespace.

use leptos::prelude::*;
use leptos_router::hooks::use_params_map;
use mesh_api::config::ObjectSummary;
use mesh_api::graph::Graph;
use mesh_api::inventory::{
    AppDetail, NamespaceList, ServiceDetail, ServiceRow, Traffic, WorkloadDetail, WorkloadRow,
};
use mesh_api::traces::Links;

use super::metrics::MetricsTab;
use super::neighbours::mini_graph;
use super::proxy::ProxyView;
use super::rows;
use super::subject::{Kind, Subject};
use super::traffic::TrafficTab;
use crate::address::address;
use crate::api;
use crate::format;
use crate::grid::{Column, Grid, Row};
use crate::health::Health;
use crate::load::{load, skeleton_rows};
use crate::parts::{empty, health_badge, sized_icon};
use crate::requests::{Filter, RequestsView};
use crate::text::inventory::words;
use crate::text::t;
use crate::time::time;
use crate::traces::{Target, TracesView, links_out};

/// What every kind of detail says, in one shape.
#[derive(Debug, Clone, PartialEq, Default)]
struct Facts {
    subject: Option<Subject>,
    health: Health,
    inbound: Traffic,
    outbound: Traffic,
    lines: Vec<(&'static str, String)>,
    services: Vec<ServiceRow>,
    workloads: Vec<WorkloadRow>,
    endpoints: Vec<mesh_api::inventory::EndpointRow>,
    routes: Vec<mesh_api::inventory::RouteRow>,
    objects: Vec<ObjectSummary>,
    proxies: Vec<String>,
}

fn of_service(detail: &ServiceDetail) -> Facts {
    let w = words();
    let service = &detail.service;
    Facts {
        subject: Some(Subject::service(&service.host)),
        health: Health::from(service.health),
        inbound: service.inbound.clone(),
        lines: vec![
            (w.host, service.host.clone()),
            (t().kind, service.kind.clone()),
            (w.ports, service.ports.join(", ")),
            (w.endpoints, service.endpoints.to_string()),
        ],
        workloads: detail.workloads.clone(),
        endpoints: detail.endpoints.clone(),
        routes: detail.routes.clone(),
        objects: detail.objects.clone(),
        ..Facts::default()
    }
}

fn of_workload(detail: &WorkloadDetail) -> Facts {
    let w = words();
    let workload = &detail.workload;
    let labels: Vec<String> = workload
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    Facts {
        subject: Some(Subject::named(
            Kind::Workload,
            format!("{}/{}", workload.namespace, workload.name),
        )),
        health: Health::from(workload.health),
        inbound: workload.inbound.clone(),
        outbound: workload.outbound.clone(),
        lines: vec![
            (w.app, workload.app.clone()),
            (t().version, workload.version.clone()),
            (w.pods, format!("{} / {}", workload.ready, workload.pods)),
            (t().proxy, workload.proxy.clone()),
            (w.labels, labels.join(", ")),
        ],
        services: detail.services.clone(),
        objects: detail.objects.clone(),
        proxies: workload.proxies.clone(),
        ..Facts::default()
    }
}

fn of_app(detail: &AppDetail) -> Facts {
    let w = words();
    let app = &detail.app;
    Facts {
        subject: Some(Subject::named(
            Kind::App,
            format!("{}/{}", app.namespace, app.name),
        )),
        health: Health::from(app.health),
        inbound: app.inbound.clone(),
        outbound: app.outbound.clone(),
        lines: vec![(w.versions, app.versions.join(", "))],
        services: detail.services.clone(),
        workloads: detail.workloads.clone(),
        objects: detail.objects.clone(),
        proxies: detail
            .workloads
            .iter()
            .flat_map(|workload| workload.proxies.clone())
            .collect(),
        ..Facts::default()
    }
}

/// A tab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tab {
    Overview,
    Traffic,
    Metrics,
    Requests,
    Traces,
    Routes,
    Proxy,
    Config,
}

impl Tab {
    fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Traffic => "traffic",
            Self::Metrics => "metrics",
            Self::Requests => "requests",
            Self::Traces => "traces",
            Self::Routes => "routes",
            Self::Proxy => "proxy",
            Self::Config => "config",
        }
    }

    fn word(self) -> &'static str {
        let w = words();
        match self {
            Self::Overview => t().overview,
            Self::Traffic => w.traffic,
            Self::Metrics => w.metrics,
            Self::Requests => t().requests_page,
            Self::Traces => t().traces,
            Self::Routes => w.routes,
            Self::Proxy => t().proxy,
            Self::Config => t().config,
        }
    }

    /// What a kind has: routes belong to services, proxies to workloads.
    fn of(kind: Kind) -> Vec<Self> {
        let all = [
            Self::Overview,
            Self::Traffic,
            Self::Metrics,
            Self::Requests,
            Self::Traces,
            Self::Routes,
            Self::Proxy,
            Self::Config,
        ];
        let has = |tab: &Self| match tab {
            Self::Routes => kind == Kind::Service,
            Self::Proxy => kind != Kind::Service,
            _ => true,
        };
        all.into_iter().filter(has).collect()
    }
}

/// One service.
#[component]
pub fn ServicePage() -> impl IntoView {
    page::<ServiceDetail>(Kind::Service, of_service)
}

/// One workload.
#[component]
pub fn WorkloadPage() -> impl IntoView {
    page::<WorkloadDetail>(Kind::Workload, of_workload)
}

/// One application.
#[component]
pub fn AppPage() -> impl IntoView {
    page::<AppDetail>(Kind::App, of_app)
}

/// Where the page is: namespace and name.
#[derive(Clone, Copy)]
struct Named {
    namespace: Memo<String>,
    name: Memo<String>,
}

fn page<T>(kind: Kind, make: fn(&T) -> Facts) -> impl IntoView
where
    T: serde::de::DeserializeOwned + Clone + Send + Sync + 'static,
{
    let time = time();
    let parameters = use_params_map();
    let read = move |name: &'static str| {
        Memo::new(move |_| parameters.with(|parameters| parameters.get(name).unwrap_or_default()))
    };
    let named = Named {
        namespace: read("namespace"),
        name: read("name"),
    };
    let detail = load::<T>(move || {
        let (namespace, name) = (
            api::encode(&named.namespace.get()),
            api::encode(&named.name.get()),
        );
        Some(format!("/api{}/{namespace}/{name}?{}", kind.path(), time.query()))
    })
    .reported();
    let facts = Memo::new(move |_| {
        detail
            .value
            .with(|detail| detail.as_ref().map(make).unwrap_or_default())
    });
    view! {
        {head(kind, named, facts).into_any()}
        {detail.view(title_of(kind), || skeleton_rows(12), move || tabs(kind, named, facts))}
    }
}

fn title_of(kind: Kind) -> &'static str {
    match kind {
        Kind::Service => t().services,
        Kind::Workload => t().workloads,
        Kind::App => t().apps,
    }
}

fn tab_of(kind: Kind) -> Memo<Tab> {
    let address = address();
    Memo::new(move |_| {
        let name = address.read("tab").unwrap_or_default();
        Tab::of(kind)
            .into_iter()
            .find(|tab| tab.name() == name)
            .unwrap_or(Tab::Overview)
    })
}

fn head(kind: Kind, named: Named, facts: Memo<Facts>) -> impl IntoView {
    let time = time();
    let tab = tab_of(kind);
    let links = load::<Links>(|| Some("/api/links".to_owned()));
    let out = move || {
        let shows = match kind {
            Kind::Service | Kind::App => "service",
            Kind::Workload => "workload",
        };
        let target = Target::object(shows, &named.namespace.get(), &named.name.get(), time.bounds());
        links.value.get().map(|links| links_out(&links, &target))
    };
    let graph = move || {
        let node = facts.with(|facts| facts.subject.as_ref().map(|subject| subject.node.clone()))?;
        let link = format!(
            "/graph?type={}&sel=node:{}",
            kind.graph(),
            crate::requests::percent_encode(&node)
        );
        Some(
            view! { <a class="button" href=time.link(&link)>{sized_icon("network", "icon small")}{t().graph}</a> },
        )
    };
    let tabs = Tab::of(kind).into_iter().map(|choice| {
        // Another tab has its own state in the URL: only the time goes with the reader.
        let link = move || {
            let path = format!(
                "{}/{}/{}?tab={}",
                kind.path(),
                named.namespace.get(),
                named.name.get(),
                choice.name()
            );
            time.link(&path)
        };
        let current = move || (tab.get() == choice).then_some("page");
        view! { <a href=link aria-current=current data-tab=choice.name()>{choice.word()}</a> }
    });
    view! {
        <div class="page-head">
            <div class="crumbs"><a href=move || time.link(kind.path())>{title_of(kind)}</a>{sized_icon("chevron-right", "icon small")}<span>{move || named.namespace.get()}</span>{sized_icon("chevron-right", "icon small")}</div>
            <h1>{move || named.name.get()}</h1>
            {move || health_badge(facts.with(|facts| facts.health))}
            <div class="spacer"></div>
            {graph}
            {out}
        </div>
        <nav class="tabs" aria-label=words().tabs>{tabs.collect_view()}</nav>
    }
}

fn tabs(kind: Kind, named: Named, facts: Memo<Facts>) -> AnyView {
    let time = time();
    let tab = tab_of(kind);
    let subject = Memo::new(move |_| facts.with(|facts| facts.subject.clone()));
    let graph = load::<Graph>(move || {
        matches!(tab.get(), Tab::Overview | Tab::Traffic)
            .then(|| format!("/api/graph?type={}&{}", kind.graph(), time.query()))
    });
    let known = Memo::new(move |_| graph.value.get());
    let content = move || match tab.get() {
        Tab::Overview => overview(named, facts, known).into_any(),
        Tab::Traffic => view! { <TrafficTab graph=known subject/> }.into_any(),
        Tab::Metrics => view! { <div class="scroll tab-body"><MetricsTab subject/></div> }.into_any(),
        Tab::Requests => {
            let base = move || subject.get().map(|subject| subject.filter());
            view! { {move || base().map(|base| view! { <RequestsView base/> })} }.into_any()
        }
        Tab::Traces => {
            let base = move || {
                subject
                    .get()
                    .map(|subject| trace_filter(&subject, &facts.get_untracked()))
            };
            view! { {move || base().map(|base| view! { <TracesView base/> })} }.into_any()
        }
        Tab::Routes => routes(facts, subject).into_any(),
        Tab::Proxy => proxies(facts).into_any(),
        Tab::Config => objects(facts).into_any(),
    };
    view! { {content} }.into_any()
}

/// Traces know workloads and applications; a service's are those of its applications.
fn trace_filter(subject: &Subject, facts: &Facts) -> String {
    match subject.kind {
        Kind::Workload | Kind::App => subject.filter().query(),
        Kind::Service => {
            let mut apps: Vec<String> = facts
                .workloads
                .iter()
                .map(|workload| format!("{}/{}", workload.namespace, workload.app))
                .collect();
            apps.sort();
            apps.dedup();
            let parts = apps.into_iter().map(|app| Filter::of("app", app).query());
            parts.collect()
        }
    }
}

fn overview(named: Named, facts: Memo<Facts>, graph: Memo<Option<Graph>>) -> impl IntoView {
    let picture = move || {
        let facts = facts.get();
        let title = named.name.get();
        graph.with(|graph| {
            let subject = facts.subject.as_ref()?;
            graph.as_ref().map(|graph| mini_graph(graph, subject, title))
        })
    };
    let figures = move || {
        facts.with(|facts| {
            view! {
                <div class="card-row">
                    {traffic_card(words().into_it, &facts.inbound)}
                    {(facts.outbound.requests > 0).then(|| traffic_card(words().out_of_it, &facts.outbound))}
                </div>
            }
        })
    };
    let lines = move || {
        facts.with(|facts| {
            let line = |(name, value): &(&'static str, String)| {
                (!value.is_empty()).then(|| view! { <dt>{*name}</dt><dd>{value.clone()}</dd> })
            };
            view! { <dl class="facts wide">{facts.lines.iter().map(line).collect_view()}</dl> }
        })
    };
    let time = time();
    let services = Memo::new(move |_| {
        facts.with(|facts| {
            let row = |service: &ServiceRow| rows::service(service, |path| time.link(path));
            facts.services.iter().map(row).collect::<Vec<Row>>()
        })
    });
    let workloads = Memo::new(move |_| {
        facts.with(|facts| {
            let row = |workload: &WorkloadRow| rows::workload(workload, |path| time.link(path));
            facts.workloads.iter().map(row).collect::<Vec<Row>>()
        })
    });
    let endpoints = Memo::new(move |_| {
        facts.with(|facts| {
            let row = |endpoint: &mesh_api::inventory::EndpointRow| {
                rows::endpoint(endpoint, |path| time.link(path))
            };
            facts.endpoints.iter().map(row).collect::<Vec<Row>>()
        })
    });
    view! {
        <div class="scroll tables" data-overview="">
            {figures}
            <section class="table-section"><h2>{words().neighbours}</h2>{picture}</section>
            <section class="table-section"><h2>{t().details}</h2>{lines}</section>
            {section(t().workloads, "workloads", "w.", rows::workload_columns(), workloads)}
            {section(t().services, "services", "s.", rows::service_columns(), services)}
            {section(words().endpoints, "endpoints", "e.", rows::endpoint_columns(), endpoints)}
        </div>
    }
}

fn section(
    title: &'static str,
    name: &'static str,
    prefix: &'static str,
    columns: Vec<Column>,
    rows: Memo<Vec<Row>>,
) -> impl IntoView {
    view! {
        <section class="table-section" hidden=move || rows.with(Vec::is_empty)>
            <h2>{title}</h2>
            <Grid label=title name=name prefix=prefix columns=columns rows=rows inline=true/>
        </section>
    }
}

fn traffic_card(title: &'static str, traffic: &Traffic) -> impl IntoView + use<> {
    let health = Health::of(traffic.requests, traffic.errors);
    let class = match health {
        Health::Warn => "value warn",
        Health::Fail => "value fail",
        Health::Ok | Health::Unknown => "value",
    };
    let plain = |label: &'static str, value: String| {
        view! { <div class="figure"><span class="value">{value}</span><span class="label">{label}</span></div> }
    };
    view! {
        <section class="traffic-card" aria-label=title>
            <h2>{title}</h2>
            <div class="figures six">
                <div class="figure"><span class="value">{format::short(traffic.rate)}<small>{t().rps}</small></span><span class="label">{t().rate}</span></div>
                <div class="figure"><span class=class>{format::percent(traffic.errors, traffic.requests)}</span><span class="label">{t().errors}</span></div>
                {plain(t().p50, format::millis(traffic.p50_ms))}
                {plain(t().p95, format::millis(traffic.p95_ms))}
                {plain(t().p99, format::millis(traffic.p99_ms))}
                {plain(t().mtls, format::percent(traffic.mutual_tls, traffic.requests))}
            </div>
            {crate::chart::sparkline(&traffic.spark)}
        </section>
    }
}

fn routes(facts: Memo<Facts>, subject: Memo<Option<Subject>>) -> impl IntoView {
    let time = time();
    let rows = Memo::new(move |_| {
        let base = subject.with(|subject| subject.as_ref().map(Subject::filter).unwrap_or_default());
        facts.with(|facts| {
            let total = facts.routes.iter().map(|route| route.requests).sum();
            let link = |route: &mesh_api::inventory::RouteRow| {
                let mut filter = base.clone();
                for (field, value) in [
                    ("virtualService", &route.virtual_service),
                    ("route", &route.route),
                    ("match", &route.match_name),
                ] {
                    if !value.is_empty() {
                        filter = filter.and(&Filter::of(field, value.clone()));
                    }
                }
                time.link(&format!("/requests?{}", filter.query().trim_start_matches('&')))
            };
            let row = |route: &mesh_api::inventory::RouteRow| rows::route(route, total, link);
            facts.routes.iter().map(row).collect::<Vec<Row>>()
        })
    });
    let never = Memo::new(move |_| {
        facts.with(|facts| facts.routes.iter().filter(|route| route.requests == 0).count())
    });
    let none = Memo::new(move |_| rows.with(Vec::is_empty));
    view! {
        <Show when=move || none.get()>{empty("route", words().no_routes.to_owned(), words().no_routes_hint.to_owned())}</Show>
        <div class="list-room" hidden=move || none.get()>
            {move || (never.get() > 0).then(|| view! { <div class="banner info" role="status" data-never="">{sized_icon("info", "icon")}{(words().never_matched_number)(never.get())}</div> })}
            <Grid label=words().routes name="routes" columns=rows::route_columns() rows/>
        </div>
    }
}

fn proxies(facts: Memo<Facts>) -> impl IntoView {
    let ids = Memo::new(move |_| facts.with(|facts| facts.proxies.clone()));
    let none = Memo::new(move |_| ids.with(Vec::is_empty));
    move || {
        if none.get() {
            empty(
                "unplug",
                words().no_proxy.to_owned(),
                words().no_proxy_hint.to_owned(),
            )
            .into_any()
        } else {
            view! { <ProxyView ids/> }.into_any()
        }
    }
}

fn objects(facts: Memo<Facts>) -> impl IntoView {
    let rows =
        Memo::new(move |_| facts.with(|facts| facts.objects.iter().map(rows::object).collect::<Vec<Row>>()));
    let none = Memo::new(move |_| rows.with(Vec::is_empty));
    view! {
        <Show when=move || none.get()>{empty("file-cog", words().no_objects.to_owned(), words().no_objects_hint.to_owned())}</Show>
        <div class="list-room" hidden=move || none.get()>
            <Grid label=t().objects name="objects" columns=rows::object_columns() rows/>
        </div>
    }
}

/// One namespace: what is in it, each list filtered.
#[component]
pub fn NamespacePage() -> impl IntoView {
    let time = time();
    let parameters = use_params_map();
    let name = Memo::new(move |_| parameters.with(|parameters| parameters.get("name").unwrap_or_default()));
    let list = load::<NamespaceList>(move || Some(format!("/api/namespaces?{}", time.query()))).reported();
    let workloads = load::<mesh_api::inventory::WorkloadList>(move || {
        Some(format!(
            "/api/workloads?{}&namespaces={}",
            time.query(),
            api::encode(&name.get())
        ))
    });
    let services = load::<mesh_api::inventory::ServiceList>(move || {
        Some(format!(
            "/api/services?{}&namespaces={}",
            time.query(),
            api::encode(&name.get())
        ))
    });
    let row = Memo::new(move |_| {
        list.value.with(|list| {
            let found = list.as_ref()?.namespaces.iter();
            name.with(|name| found.clone().find(|row| row.name == *name).cloned())
        })
    });
    let workload_rows = Memo::new(move |_| {
        let one = |workload: &WorkloadRow| rows::workload(workload, |path| time.link(path));
        workloads.value.with(|list| {
            list.iter()
                .flat_map(|list| &list.workloads)
                .map(one)
                .collect::<Vec<Row>>()
        })
    });
    let service_rows = Memo::new(move |_| {
        let one = |service: &ServiceRow| rows::service(service, |path| time.link(path));
        services.value.with(|list| {
            list.iter()
                .flat_map(|list| &list.services)
                .map(one)
                .collect::<Vec<Row>>()
        })
    });
    let link = move |path: &str, icon: &'static str, word: &'static str| {
        let path = path.to_owned();
        view! { <a class="button" href=move || time.link(&format!("{path}{}", crate::requests::percent_encode(&name.get())))>{sized_icon(icon, "icon small")}{word}</a> }
    };
    view! {
        <div class="page-head">
            <div class="crumbs"><a href=move || time.link("/namespaces")>{t().namespaces}</a>{sized_icon("chevron-right", "icon small")}</div>
            <h1>{move || name.get()}</h1>
            {move || row.get().map(|row| health_badge(Health::from(row.health)))}
            <div class="spacer"></div>
            {link("/graph?namespaces=", "network", t().graph)}
            {link("/requests?namespace=", "activity", t().requests_page)}
            {link("/config?q=", "file-cog", t().config)}
        </div>
        {list.view(t().namespaces, || skeleton_rows(10), move || view! {
            <div class="scroll tables">
                {move || row.get().map(|row| view! { <div class="card-row">{traffic_card(words().into_it, &row.inbound)}</div> })}
                {section(t().workloads, "workloads", "w.", rows::workload_columns(), workload_rows)}
                {section(t().services, "services", "s.", rows::service_columns(), service_rows)}
            </div>
        })}
    }
}
