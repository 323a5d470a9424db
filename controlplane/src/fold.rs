//! Series become the graph (pure).
//!
//! An edge is (source workload, destination service, destination workload, protocol). Its requests are those of
//! the source's proxy if the source is in the mesh, else those of the destination's proxy.

use std::collections::{BTreeMap, BTreeSet};

use mesh_api::graph::{Edge, GraphType, Node, NodeKind, RouteCount};
use mesh_model::edge::{Reporter, RequestProtocol, SeriesDelta, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::workload::{UNKNOWN, Workload};

use crate::inventory::Inventory;

/// Namespace and name of a workload.
pub(crate) type Name = (String, String);

/// How the series are looked at.
#[derive(Debug, Clone, Default)]
pub(crate) struct View {
    pub(crate) kind: GraphType,
    /// Only edges that touch one of these; empty = all.
    pub(crate) namespaces: BTreeSet<String>,
    pub(crate) gateways: BTreeSet<Name>,
    /// Workloads whose reports have a gap in the interval.
    pub(crate) gaps: BTreeSet<Name>,
    /// Host of the service in front of a workload, as the configuration says.
    pub(crate) services: BTreeMap<Name, String>,
}

/// Whether this series counts: each request once, by the end that knows most.
pub(crate) fn counts(key: &SeriesKey) -> bool {
    match key.reporter {
        Reporter::Source => true,
        Reporter::Destination => key.source.name == UNKNOWN && key.source_principal == UNKNOWN,
    }
}

/// Nodes and edges, sorted.
pub(crate) fn graph<'s>(
    series: impl IntoIterator<Item = (&'s SeriesKey, &'s SeriesDelta)>,
    view: &View,
) -> (Vec<Node>, Vec<Edge>) {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let mut edges: BTreeMap<(String, String, &str, RequestProtocol), Sum> = BTreeMap::new();
    for (key, delta) in series {
        if !counts(key) || !view.shows(key) {
            continue;
        }
        let (source, target) = (view.source(key), view.target(key));
        let edge = (
            source.id.clone(),
            target.id.clone(),
            key.service.host.as_str(),
            key.protocol,
        );
        for node in [source, target] {
            nodes.entry(node.id.clone()).or_insert(node);
        }
        edges.entry(edge).or_default().add(key, delta, view.has_gap(key));
    }
    let edges = edges
        .into_iter()
        .map(|((source, target, service, protocol), sum)| sum.edge(source, target, service, protocol));
    (nodes.into_values().collect(), edges.collect())
}

impl View {
    fn shows(&self, key: &SeriesKey) -> bool {
        self.namespaces.is_empty()
            || [
                &key.source.namespace,
                &key.destination.namespace,
                &key.service.namespace,
            ]
            .into_iter()
            .any(|namespace| self.namespaces.contains(namespace))
    }

    fn has_gap(&self, key: &SeriesKey) -> bool {
        // Either end: a killed proxy also leaves its callers' requests without the answer that it would have counted.
        !self.gaps.is_empty()
            && [&key.source, &key.destination]
                .into_iter()
                .any(|end| self.gaps.contains(&name(end)))
    }

    /// The node of the caller.
    pub(crate) fn source(&self, key: &SeriesKey) -> Node {
        if self.kind == GraphType::Service && key.source.name != UNKNOWN {
            if let Some(host) = self.services.get(&name(&key.source)) {
                return service(host, &key.source.namespace);
            }
            return self.node(&key.source, GraphType::App);
        }
        self.node(&key.source, self.kind)
    }

    /// The node of the called.
    pub(crate) fn target(&self, key: &SeriesKey) -> Node {
        if self.kind == GraphType::Service && key.service.host != UNKNOWN {
            return service(&key.service.host, &key.service.namespace);
        }
        if self.kind == GraphType::Service {
            if let Some(host) = self.services.get(&name(&key.destination)) {
                return service(host, &key.destination.namespace);
            }
            return self.node(&key.destination, GraphType::App);
        }
        self.node(&key.destination, self.kind)
    }

    /// Nodes of what is there, with or without traffic.
    pub(crate) fn present<'i>(
        &'i self,
        inventory: &'i Inventory,
    ) -> Box<dyn Iterator<Item = Node> + Send + 'i> {
        let shows = |namespace: &str| self.namespaces.is_empty() || self.namespaces.contains(namespace);
        if self.kind == GraphType::Service {
            let shown = inventory.services.iter().filter(move |s| shows(&s.key.namespace));
            // A wildcard is no host that anybody calls.
            let named = shown.filter(|s| !s.host().starts_with('*'));
            return Box::new(named.map(|s| service(s.host(), &s.key.namespace)));
        }
        let shown = inventory
            .workloads
            .values()
            .filter(move |w| shows(&w.workload.namespace));
        Box::new(shown.map(|w| self.node(&w.workload, self.kind)))
    }

    fn node(&self, workload: &Workload, kind: GraphType) -> Node {
        if workload.name == UNKNOWN {
            return Node {
                id: UNKNOWN.into(),
                kind: NodeKind::Unknown,
                ..Node::default()
            };
        }
        let namespace = workload.namespace.clone();
        let (app, version) = (workload.app.clone(), workload.version.clone());
        let own = if self.gateways.contains(&name(workload)) {
            NodeKind::Gateway
        } else if kind == GraphType::Workload {
            NodeKind::Workload
        } else {
            NodeKind::App
        };
        let (id, name, version) = match kind {
            GraphType::Workload => (
                format!("{namespace}/{}", workload.name),
                workload.name.clone(),
                version,
            ),
            GraphType::VersionedApp => (format!("{namespace}/{app}@{version}"), String::new(), version),
            GraphType::App | GraphType::Service => {
                (format!("{namespace}/{app}"), String::new(), String::new())
            }
        };
        Node {
            id,
            namespace,
            workload: name,
            app,
            version,
            kind: own,
        }
    }
}

fn name(workload: &Workload) -> Name {
    (workload.namespace.clone(), workload.name.clone())
}

fn service(host: &str, namespace: &str) -> Node {
    Node {
        id: format!("service:{host}"),
        namespace: namespace.to_owned(),
        kind: NodeKind::Service,
        ..Node::default()
    }
}

#[derive(Debug, Default)]
struct Sum {
    requests: u64,
    attempts: u64,
    errors: u64,
    client_errors: u64,
    codes: BTreeMap<u16, u64>,
    flags: BTreeMap<ResponseFlags, u64>,
    routes: BTreeMap<(String, String, String), (u64, u64)>,
    mutual_tls: u64,
    duration: ExponentialHistogram,
    request_bytes: u64,
    response_bytes: u64,
    gap: bool,
}

impl Sum {
    fn add(&mut self, key: &SeriesKey, delta: &SeriesDelta, gap: bool) {
        let requests = delta.requests;
        let errors = if key.is_error() { requests } else { 0 };
        self.requests += requests;
        self.attempts += delta.attempts;
        self.errors += errors;
        if key.is_client_error() {
            self.client_errors += requests;
        }
        *self.codes.entry(key.response_code).or_default() += requests;
        *self.flags.entry(key.flags).or_default() += requests;
        let origin = &key.origin;
        let route = (
            origin.virtual_service.clone(),
            origin.route.clone(),
            origin.match_name.clone(),
        );
        let counts = self.routes.entry(route).or_default();
        counts.0 += requests;
        counts.1 += errors;
        if key.mutual_tls {
            self.mutual_tls += requests;
        }
        self.duration.merge(&delta.duration);
        self.request_bytes += delta.request_bytes;
        self.response_bytes += delta.response_bytes;
        self.gap |= gap;
    }

    fn edge(self, source: String, target: String, service: &str, protocol: RequestProtocol) -> Edge {
        let routes = self.routes.into_iter();
        Edge {
            source,
            target,
            service: service.to_owned(),
            protocol: protocol.as_str().to_owned(),
            requests: self.requests,
            attempts: self.attempts,
            errors: self.errors,
            client_errors: self.client_errors,
            codes: self
                .codes
                .iter()
                .map(|(code, n)| (code.to_string(), *n))
                .collect(),
            flags: self
                .flags
                .iter()
                .map(|(flags, n)| (flags.to_string(), *n))
                .collect(),
            routes: routes
                .map(
                    |((virtual_service, route, match_name), (requests, errors))| RouteCount {
                        virtual_service,
                        route,
                        match_name,
                        requests,
                        errors,
                    },
                )
                .collect(),
            mutual_tls: self.mutual_tls,
            p50_ms: self.duration.quantile(0.5),
            p95_ms: self.duration.quantile(0.95),
            p99_ms: self.duration.quantile(0.99),
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            gap: self.gap,
        }
    }
}

#[cfg(test)]
mod tests;
