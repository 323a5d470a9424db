//! The lists' rows.

use mesh_api::config::{ObjectSummary, Severity};
use mesh_api::inventory::{AppRow, EndpointRow, NamespaceRow, RouteRow, ServiceRow, Traffic, WorkloadRow};

use crate::clock;
use crate::format;
use crate::grid::{Cell, Column, Look, Row};
use crate::health::Health;
use crate::text::inventory::words;
use crate::text::t;

/// Columns that every list has.
fn with_traffic(mut columns: Vec<Column>) -> Vec<Column> {
    columns.extend([
        Column::number("rate", t().rate),
        Column::text("spark", t().over_time),
        Column::number("errors", t().errors),
        Column::number("client_errors", t().client_errors).hidden(),
        Column::number("p50", t().p50).hidden(),
        Column::number("p95", t().p95),
        Column::number("p99", t().p99).hidden(),
        Column::number("mtls", t().mtls).hidden(),
        Column::number("requests", t().requests).hidden(),
    ]);
    columns
}

fn traffic(cells: &mut Vec<Cell>, traffic: &Traffic) {
    cells.extend([
        Cell::rate(traffic.rate),
        Cell::spark(&traffic.spark),
        Cell::share(traffic.errors, traffic.requests),
        Cell::share(traffic.client_errors, traffic.requests),
        Cell::millis(traffic.p50_ms),
        Cell::millis(traffic.p95_ms),
        Cell::millis(traffic.p99_ms),
        Cell::share(traffic.mutual_tls, traffic.requests),
        Cell::count(traffic.requests),
    ]);
}

fn problems(number: u32) -> Cell {
    if number == 0 {
        Cell::soft("–").valued(Some(0.0))
    } else {
        Cell::state("warn", "triangle-alert", &number.to_string()).valued(Some(f64::from(number)))
    }
}

/// Services.
pub fn service_columns() -> Vec<Column> {
    let w = words();
    with_traffic(vec![
        Column::text("name", t().name),
        Column::text("health", t().health),
        Column::text("namespace", t().namespace),
        Column::text("kind", t().kind),
        Column::text("host", w.host).hidden(),
        Column::text("ports", w.ports),
        Column::number("endpoints", w.endpoints),
        Column::text("problems", t().problems),
    ])
}

/// A service.
pub fn service(row: &ServiceRow, link: impl Fn(&str) -> String) -> Row {
    let href = (row.kind != "External").then(|| link(&format!("/services/{}/{}", row.namespace, row.name)));
    let endpoints = if row.endpoints == 0 && row.kind == "Service" {
        Cell::state("warn", "triangle-alert", "0").valued(Some(0.0))
    } else {
        Cell::count(u64::from(row.endpoints))
    };
    let mut cells = vec![
        Cell::text(row.name.clone()).titled(row.host.clone()),
        Cell::health(Health::from(row.health)),
        Cell::soft(row.namespace.clone()),
        Cell::soft(row.kind.clone()),
        Cell::soft(row.host.clone()),
        Cell::soft(row.ports.join(", ")),
        endpoints,
        problems(row.problems),
    ];
    traffic(&mut cells, &row.inbound);
    Row {
        id: format!("{}/{}/{}", row.kind, row.namespace, row.name),
        href,
        cells,
    }
}

/// Workloads.
pub fn workload_columns() -> Vec<Column> {
    let w = words();
    with_traffic(vec![
        Column::text("name", t().name),
        Column::text("health", t().health),
        Column::text("namespace", t().namespace),
        Column::text("app", w.app),
        Column::text("version", t().version),
        Column::text("proxy", t().proxy),
        Column::number("pods", w.pods),
        Column::text("labels", w.labels).hidden(),
    ])
}

/// A workload.
pub fn workload(row: &WorkloadRow, link: impl Fn(&str) -> String) -> Row {
    let w = words();
    let labels: Vec<String> = row
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let proxy = match row.proxy.as_str() {
        "none" => Cell::state("unknown", "circle-dashed", w.out_of_mesh),
        "gateway" => Cell::soft(t().kind_gateway),
        "sidecar" => Cell::soft(w.sidecar),
        other => Cell::soft(other),
    };
    let pods = format!("{} / {}", row.ready, row.pods);
    let mut cells = vec![
        Cell::text(row.name.clone()),
        Cell::health(Health::from(row.health)),
        Cell::soft(row.namespace.clone()),
        Cell::soft(row.app.clone()),
        Cell::soft(row.version.clone()),
        proxy,
        if row.ready < row.pods {
            Cell::state("warn", "triangle-alert", &pods).valued(Some(f64::from(row.ready)))
        } else {
            Cell::figure(pods, f64::from(row.ready))
        },
        Cell::soft(labels.join(", ")),
    ];
    traffic(&mut cells, busier(&row.inbound, &row.outbound));
    Row {
        id: format!("{}/{}", row.namespace, row.name),
        href: Some(link(&format!("/workloads/{}/{}", row.namespace, row.name))),
        cells,
    }
}

/// What comes in; what goes out for one that only calls.
fn busier<'t>(inbound: &'t Traffic, outbound: &'t Traffic) -> &'t Traffic {
    if inbound.requests == 0 { outbound } else { inbound }
}

/// Applications.
pub fn app_columns() -> Vec<Column> {
    let w = words();
    with_traffic(vec![
        Column::text("name", t().name),
        Column::text("health", t().health),
        Column::text("namespace", t().namespace),
        Column::text("versions", w.versions),
        Column::number("workloads", t().workloads),
    ])
}

/// An application.
pub fn app(row: &AppRow, link: impl Fn(&str) -> String) -> Row {
    let workloads = u64::try_from(row.workloads.len()).unwrap_or(0);
    let mut cells = vec![
        Cell::text(row.name.clone()),
        Cell::health(Health::from(row.health)),
        Cell::soft(row.namespace.clone()),
        Cell::soft(row.versions.join(", ")),
        Cell::count(workloads).titled(row.workloads.join("\n")),
    ];
    traffic(&mut cells, busier(&row.inbound, &row.outbound));
    Row {
        id: format!("{}/{}", row.namespace, row.name),
        href: Some(link(&format!("/apps/{}/{}", row.namespace, row.name))),
        cells,
    }
}

/// Namespaces.
pub fn namespace_columns() -> Vec<Column> {
    with_traffic(vec![
        Column::text("name", t().name),
        Column::text("health", t().health),
        Column::number("services", t().services),
        Column::number("workloads", t().workloads),
        Column::text("problems", t().problems),
    ])
}

/// A namespace.
pub fn namespace(row: &NamespaceRow, link: impl Fn(&str) -> String) -> Row {
    let mut cells = vec![
        Cell::text(row.name.clone()),
        Cell::health(Health::from(row.health)),
        Cell::count(u64::from(row.services)),
        Cell::count(u64::from(row.workloads)),
        problems(row.problems),
    ];
    traffic(&mut cells, &row.inbound);
    Row {
        id: row.name.clone(),
        href: Some(link(&format!("/namespaces/{}", row.name))),
        cells,
    }
}

/// Endpoints.
pub fn endpoint_columns() -> Vec<Column> {
    let w = words();
    vec![
        Column::text("address", w.address),
        Column::text("workload", w.workload),
        Column::text("version", t().version),
        Column::text("ready", t().state),
    ]
}

/// An endpoint.
pub fn endpoint(row: &EndpointRow, link: impl Fn(&str) -> String) -> Row {
    let w = words();
    let href = row
        .workload
        .contains('/')
        .then(|| link(&format!("/workloads/{}", row.workload)));
    let workload = Cell::text(row.workload.clone());
    Row {
        id: row.address.clone(),
        href: None,
        cells: vec![
            Cell::mono(row.address.clone()),
            match href {
                Some(href) => workload.linked(href),
                None => workload,
            },
            Cell::soft(row.version.clone()),
            if row.ready {
                Cell::state("ok", "circle-check", w.ready)
            } else {
                Cell::state("warn", "triangle-alert", w.not_ready)
            },
        ],
    }
}

/// Rules.
pub fn route_columns() -> Vec<Column> {
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

/// A rule with its traffic, out of `total` requests; `link` leads to its requests.
pub fn route(row: &RouteRow, total: u64, link: impl Fn(&RouteRow) -> String) -> Row {
    let w = words();
    let named: Vec<&str> = [row.route.as_str(), row.match_name.as_str()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    let name = if named.is_empty() {
        t().default_route.to_owned()
    } else {
        named.join(" › ")
    };
    let object = if row.virtual_service.is_empty() {
        Cell::soft("–")
    } else {
        Cell::text(row.virtual_service.clone())
            .linked(format!("/config/VirtualService/{}", row.virtual_service))
    };
    let never = row.requests == 0;
    Row {
        id: format!("{}/{}/{}", row.virtual_service, row.route, row.match_name),
        href: Some(link(row)),
        cells: vec![
            Cell::text(name),
            object,
            Cell::count(row.requests),
            Cell {
                look: Look::Bar(format::number(row.requests) / format::number(total.max(1))),
                ..Cell::share(row.requests, total)
            },
            Cell::share(row.errors, row.requests),
            if never {
                Cell::state("unknown", "circle-dashed", w.never_matched).valued(Some(-1.0))
            } else {
                Cell::health(Health::of(row.requests, row.errors))
            },
        ],
    }
}

/// Configuration objects.
pub fn object_columns() -> Vec<Column> {
    vec![
        Column::text("name", t().name),
        Column::text("kind", t().kind),
        Column::text("namespace", t().namespace),
        Column::text("what", t().what),
        Column::text("problems", t().problems),
        Column::number("live", t().live_on),
        Column::number("age", t().age),
    ]
}

/// A configuration object.
pub fn object(object: &ObjectSummary) -> Row {
    let name = &object.object;
    let worst = object.problems.iter().map(|problem| problem.severity).max();
    let number = object.problems.len().to_string();
    let problems = match worst {
        Some(Severity::Error) => Cell::state("fail", "octagon-alert", &number),
        Some(Severity::Warning) => Cell::state("warn", "triangle-alert", &number),
        Some(Severity::Info) => Cell::state("info", "info", &number),
        None => Cell::state("ok", "circle-check", t().no_problems),
    };
    let first = object
        .problems
        .first()
        .map(|problem| problem.message.clone())
        .unwrap_or_default();
    let age = clock::parse(&object.created).map(|at| (clock::now() - at) / 1000.0);
    Row {
        id: format!("{}/{}/{}", name.kind, name.namespace, name.name),
        href: Some(format!("/config/{}/{}/{}", name.kind, name.namespace, name.name)),
        cells: vec![
            Cell::text(name.name.clone()),
            Cell::soft(name.kind.clone()),
            Cell::soft(name.namespace.clone()),
            Cell::soft(object.summary.clone()),
            problems.titled(first),
            Cell::figure(
                (t().proxies_of)(object.propagation.live, object.propagation.total),
                f64::from(object.propagation.live),
            ),
            Cell::soft(age.map(format::span).unwrap_or_default())
                .valued(age)
                .titled(object.created.clone()),
        ],
    }
}
