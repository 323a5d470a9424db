//! One `check` helper: a world in YAML, who asks, and lines that the snapshot must (or must not) have.

use std::fmt::Write as _;

use mesh_crd::{Parsed, parse_yaml};
use mesh_model::cluster::{Discovery, Transport};
use mesh_model::listener::{ConnectionService, RouteSource};
use mesh_model::matching::{HeaderCheck, StringMatch};
use mesh_model::route::{Action, Domain, PathMatch, Route, RouteTable};
use mesh_model::snapshot::Snapshot;
use mesh_translate::{ProxyNode, World};
use serde_json::json;

/// Services `web` (v1, v2 on 8080), `multi`, `tcp-echo` in `app`, `other` in `app2`, an ingress gateway.
pub(crate) const BASE: &str = include_str!("base.yaml");

pub(crate) fn parse_all(text: &str) -> Vec<Parsed> {
    text.split("\n---\n")
        .filter(|t| !t.trim().is_empty())
        .map(parse_yaml)
        .collect()
}

pub(crate) fn world(texts: &[&str]) -> World {
    let mut world = World::default();
    for parsed in texts.iter().flat_map(|t| parse_all(t)) {
        assert!(parsed.object.is_some(), "{:?}", parsed.problems);
        world.apply(parsed);
    }
    world
}

pub(crate) fn client() -> ProxyNode {
    node(
        "sidecar~127.64.9.2~client-1.app~app.svc.cluster.local",
        9,
        json!({"app": "client", "tier": "gold"}),
    )
}

pub(crate) fn client2() -> ProxyNode {
    node(
        "sidecar~127.64.10.2~client-1.app2~app2.svc.cluster.local",
        10,
        json!({"app": "client"}),
    )
}

pub(crate) fn server() -> ProxyNode {
    node(
        "sidecar~127.64.1.2~web-v1-1.app~app.svc.cluster.local",
        1,
        json!({"app": "web", "version": "v1"}),
    )
}

pub(crate) fn gateway() -> ProxyNode {
    let metadata = json!({
        "LABELS": {"istio": "ingressgateway"},
        "SIGHTLINE_GATEWAY_BIND": "127.0.0.1",
    });
    ProxyNode::parse(
        "router~127.64.8.2~ingress-1.istio-system~istio-system.svc.cluster.local",
        &metadata,
    )
    .unwrap()
}

fn node(id: &str, number: u8, labels: serde_json::Value) -> ProxyNode {
    let metadata = json!({
        "LABELS": labels,
        "SIGHTLINE_APPLICATION_ADDRESS": format!("127.64.{number}.1"),
        "SIGHTLINE_OUTBOUND": format!("127.64.{number}.3:15001"),
    });
    ProxyNode::parse(id, &metadata).unwrap()
}

/// Each expectation is a line of [`describe`]; one that begins with `!` must not be there. `…` at the end of an
/// expectation lets the line go on.
#[track_caller]
pub(crate) fn check(configuration: &str, node: &ProxyNode, expectations: &[&str]) {
    let (snapshot, problems) = mesh_translate::snapshot(&world(&[BASE, configuration]), node);
    let text = describe(&snapshot);
    for expectation in expectations {
        let (wanted, present) = match expectation.strip_prefix('!') {
            Some(line) => (line, false),
            None => (*expectation, true),
        };
        let found = text.lines().any(|line| match wanted.strip_suffix('…') {
            Some(start) => line.starts_with(start),
            None => line == wanted,
        });
        assert_eq!(found, present, "{expectation}\n--- is:\n{text}\n{problems:?}");
    }
}

/// One line for each listener, route, cluster and endpoint.
pub(crate) fn describe(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for listener in snapshot.listeners.values() {
        for chain in &listener.chains {
            let tls = match chain.matches.tls {
                Some(true) => " tls",
                Some(false) => " plain",
                None => "",
            };
            let alpn = chain.matches.application_protocols.join(",");
            let to = match &chain.service {
                ConnectionService::Tcp(tcp) => format!("tcp {}", tcp.clusters[0].0),
                ConnectionService::Http(http) => match &http.routes {
                    RouteSource::Inline(table) => format!("http {}", table.name),
                    RouteSource::Named(name) => format!("routes {name}"),
                    RouteSource::ByAuthorityPort { tables, fallback, .. } => {
                        let ports: Vec<String> = tables.keys().map(u16::to_string).collect();
                        format!("ports {} else {fallback}", ports.join(","))
                    }
                },
            };
            writeln!(out, "listener {}{tls} [{alpn}] {to}", listener.address).unwrap();
        }
    }
    for table in snapshot.routes.values() {
        routes(table, &mut out);
    }
    for cluster in snapshot.clusters.values() {
        let transport = match &cluster.transport {
            Transport::Plain => "plain".to_owned(),
            Transport::Tls(tls) => format!("tls {}", tls.sni.clone().unwrap_or_default()),
            Transport::Auto(tls) => format!(
                "auto {} {}",
                tls.sni.clone().unwrap_or_default(),
                tls.validation.subject_alt_names.join(",")
            ),
        };
        let from = match &cluster.discovery {
            Discovery::Eds(_) => "eds".to_owned(),
            Discovery::Static(e) => e.0.iter().map(|e| e.address.to_string()).collect(),
            other => format!("{other:?}"),
        };
        writeln!(
            out,
            "cluster {} {from} {:?} {:?} {transport}",
            cluster.name, cluster.balancer, cluster.protocol
        )
        .unwrap();
    }
    for (name, endpoints) in &snapshot.endpoints {
        let list: Vec<String> = endpoints
            .0
            .iter()
            .map(|e| {
                let name = e.workload.as_ref().map_or("?", |w| w.name.as_str());
                format!("{}={name}{}", e.address, if e.mutual_tls { "+tls" } else { "" })
            })
            .collect();
        writeln!(out, "endpoints {name} {}", list.join(" ")).unwrap();
    }
    out
}

fn routes(table: &RouteTable, out: &mut String) {
    for host in &table.virtual_hosts {
        let domains: Vec<String> = host
            .domains
            .iter()
            .map(|d| match d {
                Domain::Any => "*".into(),
                Domain::Exact(name) => name.clone(),
                Domain::Suffix(name) => format!("*{name}"),
                Domain::Prefix(name) => format!("{name}*"),
            })
            .collect();
        writeln!(out, "host {} {} = {}", table.name, host.name, domains.join(" ")).unwrap();
        for route in &host.routes {
            writeln!(out, "route {} {}: {}", table.name, host.name, one(route)).unwrap();
        }
    }
}

fn one(route: &Route) -> String {
    let mut text = format!("{} ", route.name);
    text += &match &route.matches.path {
        PathMatch::Prefix(p) => format!("{p}*"),
        PathMatch::Exact(p) => format!("={p}"),
        PathMatch::Regex(p) => format!("~{}", p.source()),
        PathMatch::SegmentPrefix(p) => format!("{p}/*"),
    };
    for header in &route.matches.headers {
        let value = match &header.check {
            HeaderCheck::Present(p) => format!("present {p}"),
            HeaderCheck::Value(StringMatch::Exact(v)) => format!("={v}"),
            HeaderCheck::Value(other) => format!("{other:?}"),
        };
        let invert = if header.invert { "not " } else { "" };
        text += &format!(" ({invert}{} {value})", header.name);
    }
    text += " -> ";
    match &route.action {
        Action::Respond(r) => text += &format!("{} {:?}", r.status, String::from_utf8_lossy(&r.body)),
        Action::Redirect(r) => text += &format!("{} {:?}", r.status, r.path),
        Action::Forward(f) => {
            let to: Vec<String> = f
                .destinations
                .iter()
                .map(|d| match f.destinations.len() {
                    1 => d.cluster.clone(),
                    _ => format!("{}*{}", d.weight, d.cluster),
                })
                .collect();
            text += &to.join(" + ");
            if let Some(timeout) = f.timeout {
                text += &format!(" timeout {timeout:?}");
            }
            match &f.retry {
                None => text += " no-retry",
                Some(r) => text += &format!(" retry {}", r.attempts),
            }
            if let Some(host) = &f.host_rewrite {
                text += &format!(" host {host}");
            }
            for mirror in &f.mirrors {
                text += &format!(" mirror {}@{}", mirror.cluster, mirror.per_million);
            }
            if !f.hash.is_empty() {
                text += &format!(" hash {:?}", f.hash);
            }
        }
    }
    for (name, value) in &route.request_headers.set {
        text += &format!(" set {name}={value}");
    }
    if let Some(fault) = &route.fault {
        text += &format!(" fault {fault:?}");
    }
    text
}

/// What analysis says about the objects of `configuration`, as `Kind name: code field`.
#[track_caller]
pub(crate) fn check_analysis(configuration: &str, expected: &[&str]) {
    let world = world(&[BASE, configuration]);
    let base: Vec<_> = parse_all(BASE).into_iter().filter_map(|p| p.key).collect();
    let mut found = Vec::new();
    for (key, problems) in mesh_translate::analyze(&world) {
        for problem in problems.iter().filter(|_| !base.contains(&key)) {
            assert!(
                !problem.message.is_empty() && !problem.remedy.is_empty(),
                "{problem:?}"
            );
            found.push(format!(
                "{} {}: {} {}",
                key.kind, key.name, problem.code, problem.field
            ));
        }
    }
    assert_eq!(found, expected);
}
