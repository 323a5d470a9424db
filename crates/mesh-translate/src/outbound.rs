//! A sidecar's outbound side: one HTTP proxy port whose tables are chosen by the authority's port.

mod captured;
mod tcp;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_crd::host;
use mesh_model::address::WorkloadAddresses;
use mesh_model::cluster::{Balancer, Discovery, Endpoints};
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, FilterChain, Listener, RouteSource,
};
use mesh_model::route::{
    Action, DirectResponse, Domain, Forward, HeaderEdits, Route, RouteTable, VirtualHost, WeightedDestination,
};
use mesh_model::snapshot::Snapshot;

use crate::World;
use crate::access::Asked;
use crate::bound::{Bound, MESH};
use crate::cluster;
use crate::connection::{self, Place};
use crate::index::Index;
use crate::locality::{self, Near};
use crate::node::ProxyNode;
use crate::policy::{self, Client, Effective};
use crate::problem::Findings;
use crate::registry::{MeshService, Source};
use crate::route::{self, RouteContext};
use crate::visible::{self, Visible};

/// Table for ports that no visible service has.
const FALLBACK_TABLE: &str = "http_proxy";
/// Where hosts without a service are served.
const HTTP_PORT: u16 = 80;

/// Adds listener, tables, clusters and endpoints.
pub(crate) fn build(
    world: &World,
    index: &Index,
    node: &ProxyNode,
    out: &mut Snapshot,
    findings: &mut Findings,
) {
    let sidecar = visible::sidecar(world, index, node);
    let visible = Visible::to(world, index, node, sidecar);
    let allow_any = visible::allows_any(visible::outbound_policy(world, sidecar));
    clusters(world, index, node, &visible.services, out);
    for cluster in cluster::unknown_destinations(world) {
        out.clusters.insert(cluster.name.clone(), Arc::new(cluster));
    }
    if node.outbound.is_none() && !node.is_captured() {
        return;
    }
    let on_mesh: Vec<&Arc<Bound>> = visible.bound.iter().copied().filter(|b| b.is_on(MESH)).collect();
    let chosen = choose(&on_mesh, &visible.services);
    let gateways = [MESH.to_owned()];
    let mut context = RouteContext {
        world,
        index,
        client: Client {
            namespace: &node.namespace,
            labels: &node.labels,
        },
        gateways: &gateways,
        port: HTTP_PORT,
        at_gateway: false,
    };
    if node.is_captured() {
        captured::listeners(&mut context, &visible, &chosen, node, allow_any, out);
    }
    let place = Tables {
        visible: &visible,
        on_mesh: &on_mesh,
        chosen: &chosen,
        allow_any,
        workload: node.outbound.and_then(|at| WorkloadAddresses::of(at.ip())),
    };
    let mut tables = BTreeMap::new();
    for table in route_tables(&mut context, &place, findings) {
        if let Ok(port) = table.name.parse::<u16>() {
            tables.insert(port, table.name.clone());
        }
        out.routes.insert(table.name.clone(), Arc::new(table));
    }
    let Some(address) = node.outbound.filter(|_| !node.is_captured()) else {
        return;
    };
    let listeners = tcp::listeners(&mut context, &visible, &chosen, address, allow_any, out);
    let name = format!("{}_{}", address.ip(), address.port());
    let routes = RouteSource::ByAuthorityPort {
        tables,
        fallback: FALLBACK_TABLE.to_owned(),
        listeners,
    };
    let http = connection::http(world, Place::Outbound, format!("outbound_{name}"), routes);
    let listener = Listener {
        address,
        direction: Direction::Outbound,
        chains: vec![FilterChain {
            name: name.clone(),
            matches: ChainMatch::default(),
            tls: None,
            service: ConnectionService::Http(Box::new(http)),
        }],
        default_chain: None,
        detection_timeout: None,
        bind_to_port: true,
        capture: Capture::default(),
        name,
    };
    out.listeners.insert(listener.name.clone(), Arc::new(listener));
}

/// Clusters of every port and subset, with their endpoints.
pub(crate) fn clusters(
    world: &World,
    index: &Index,
    node: &ProxyNode,
    services: &[&Arc<MeshService>],
    out: &mut Snapshot,
) {
    let client = Client {
        namespace: &node.namespace,
        labels: &node.labels,
    };
    let near = Near {
        locality: locality::of_node(index, node),
        labels: &node.labels,
    };
    for service in services {
        let rule = policy::lookup(world, index, client, service);
        let subsets = rule.map_or(&[][..], |r| r.subsets.as_slice());
        for port in &service.ports {
            for subset in std::iter::once(None).chain(subsets.iter().map(Some)) {
                let policy = rule
                    .map(|r| Effective::of(r, subset, port.number))
                    .unwrap_or_default();
                let mut made = cluster::outbound(world, service, port, subset, policy);
                if node.is_captured() && captured::is_headless(service) {
                    // The application chose the pod when it resolved the name.
                    made.discovery = Discovery::OriginalDestination;
                    made.balancer = Balancer::Passthrough;
                }
                if service.source == Source::Known {
                    let endpoints: Endpoints = cluster::endpoints(world, index, port, subset, policy, &near);
                    out.endpoints.insert(made.name.clone(), Arc::new(endpoints));
                }
                out.clusters.insert(made.name.clone(), Arc::new(made));
            }
        }
    }
}

/// Clusters of services that policies ask, also where a Sidecar object hides them from the application.
pub(crate) fn asked_services(
    world: &World,
    index: &Index,
    node: &ProxyNode,
    asked: &Asked,
    out: &mut Snapshot,
) {
    let missing: Vec<_> = asked
        .external
        .iter()
        .zip(&asked.services)
        .filter(|(external, _)| !out.clusters.contains_key(&external.cluster))
        .map(|(_, service)| service)
        .collect();
    clusters(world, index, node, &missing, out);
}

/// What the tables of all ports are made of.
struct Tables<'a> {
    visible: &'a Visible<'a>,
    on_mesh: &'a [&'a Arc<Bound>],
    /// The VirtualService of each visible service.
    chosen: &'a [Option<&'a Arc<Bound>>],
    allow_any: bool,
    workload: Option<WorkloadAddresses>,
}

fn route_tables(
    context: &mut RouteContext<'_>,
    place: &Tables<'_>,
    findings: &mut Findings,
) -> Vec<RouteTable> {
    let ports: BTreeSet<u16> = place
        .visible
        .services
        .iter()
        .flat_map(|s| &s.ports)
        .filter(|p| p.protocol.may_be_http())
        .map(|p| p.number)
        .chain([HTTP_PORT])
        .collect();
    let mut tables = Vec::with_capacity(ports.len() + 1);
    for port in ports {
        context.port = port;
        tables.push(table(context, place, findings));
    }
    tables.push(RouteTable {
        name: FALLBACK_TABLE.to_owned(),
        virtual_hosts: vec![Arc::new(catch_all(place.allow_any))],
    });
    tables
}

/// For each service (by its place in the list) the VirtualService that it gets: the one with the most specific
/// host, and of those the first.
fn choose<'a>(bound: &[&'a Arc<Bound>], services: &[&Arc<MeshService>]) -> Vec<Option<&'a Arc<Bound>>> {
    let mut exact: BTreeMap<&str, &Arc<Bound>> = BTreeMap::new();
    let mut wildcards: Vec<(&str, &Arc<Bound>)> = Vec::new();
    for b in bound {
        for host in &b.hosts {
            if host.starts_with('*') {
                wildcards.push((host, b));
            } else {
                exact.entry(host).or_insert(b);
            }
        }
    }
    // Stable: among equal hosts the first stays first.
    wildcards.sort_by(|a, b| host::specificity(a.0).cmp(&host::specificity(b.0)));
    services
        .iter()
        .map(|s| {
            exact.get(s.host.as_str()).copied().or_else(|| {
                wildcards
                    .iter()
                    .find(|(pattern, _)| host::covers(pattern, &s.host))
                    .map(|(_, b)| *b)
            })
        })
        .collect()
}

fn table(context: &RouteContext<'_>, place: &Tables<'_>, findings: &mut Findings) -> RouteTable {
    let visible = place.visible;
    let own = |service: &MeshService| {
        let number = context.index.tcp_numbers.get(&service.host)?;
        place.workload.map(|w| w.tcp(*number))
    };
    let mut hosts = Hosts::default();
    // VirtualServices come first: a literal host of one beats the short name of a service.
    let mut by_bound: BTreeMap<*const Bound, Vec<&Arc<MeshService>>> = BTreeMap::new();
    let mut plain: Vec<&Arc<MeshService>> = Vec::new();
    for (service, bound) in visible.services.iter().zip(place.chosen) {
        let serves = service
            .port(context.port)
            .is_some_and(|p| p.protocol.may_be_http());
        match bound {
            _ if !serves => {}
            Some(bound) => by_bound.entry(Arc::as_ptr(bound)).or_default().push(service),
            None => plain.push(service),
        }
    }
    let known: BTreeSet<&str> = visible.services.iter().map(|s| s.host.as_str()).collect();
    for bound in place.on_mesh {
        let services = by_bound.remove(&Arc::as_ptr(bound)).unwrap_or_default();
        let literal = literal_hosts(context.port, bound, &known);
        if services.is_empty() && literal.is_empty() {
            continue;
        }
        let routes = route::routes(context, bound, findings);
        if routes.is_empty() {
            // As if the VirtualService were absent.
            plain.extend(services);
            continue;
        }
        for service in services {
            let name = format!("{}:{}", service.host, context.port);
            let domains = domains(service, context.client.namespace, own(service));
            hosts.add(name, domains, routes.clone());
        }
        for name in literal {
            hosts.add(format!("{name}:{HTTP_PORT}"), vec![domain(name)], routes.clone());
        }
    }
    for service in plain {
        let name = format!("{}:{}", service.host, context.port);
        let routes = vec![Arc::new(route::default_route(context, service))];
        hosts.add(
            name,
            domains(service, context.client.namespace, own(service)),
            routes,
        );
    }
    hosts.list.push(Arc::new(catch_all(place.allow_any)));
    RouteTable {
        name: context.port.to_string(),
        virtual_hosts: hosts.list,
    }
}

/// Hosts of a VirtualService that no service has: served on the HTTP port only.
fn literal_hosts<'a>(port: u16, bound: &'a Bound, known: &BTreeSet<&str>) -> Vec<&'a str> {
    if port != HTTP_PORT {
        return Vec::new();
    }
    let of_services = |name: &str| {
        known.contains(name) || (name.starts_with('*') && known.iter().any(|k| host::covers(name, k)))
    };
    bound
        .hosts
        .iter()
        .map(String::as_str)
        .filter(|name| !of_services(name))
        .collect()
}

/// Virtual hosts whose domains do not repeat: the first keeps a domain.
#[derive(Default)]
struct Hosts {
    list: Vec<Arc<VirtualHost>>,
    taken: BTreeSet<Domain>,
}

impl Hosts {
    fn add(&mut self, name: String, mut domains: Vec<Domain>, routes: Vec<Arc<Route>>) {
        domains.retain(|d| self.taken.insert(d.clone()));
        if !domains.is_empty() {
            self.list.push(Arc::new(VirtualHost {
                name,
                domains,
                routes,
                require_tls: false,
                include_attempt_count: true,
            }));
        }
    }
}

/// A host name or wildcard as a domain.
pub(crate) fn domain(name: &str) -> Domain {
    match name.strip_prefix('*') {
        Some("") => Domain::Any,
        Some(suffix) => Domain::Suffix(suffix.to_ascii_lowercase()),
        None => Domain::Exact(name.to_ascii_lowercase()),
    }
}

/// The FQDN with and without the final dot, short forms as seen from the client's namespace, addresses.
fn domains(service: &MeshService, client: &str, own: Option<IpAddr>) -> Vec<Domain> {
    let mut names = vec![service.host.clone()];
    if service.kubernetes {
        names.push(format!("{}.", service.host));
        let (name, namespace) = (&service.key.name, &service.namespace);
        if namespace == client {
            names.push(name.clone());
        }
        names.push(format!("{name}.{namespace}"));
        names.push(format!("{name}.{namespace}.svc"));
    }
    names.extend(service.vips.iter().chain(&own).map(|ip| {
        if ip.is_ipv6() {
            format!("[{ip}]")
        } else {
            ip.to_string()
        }
    }));
    names.iter().map(|n| domain(n)).collect()
}

/// What is not in the registry: through, or 502.
fn catch_all(allow_any: bool) -> VirtualHost {
    let (name, action) = if allow_any {
        let forward = Forward {
            destinations: vec![WeightedDestination {
                cluster: cluster::PASSTHROUGH.into(),
                weight: 1,
                ..WeightedDestination::default()
            }],
            max_grpc_timeout: Some(std::time::Duration::ZERO),
            ..Forward::default()
        };
        ("allow_any", Action::Forward(Box::new(forward)))
    } else {
        let response = DirectResponse {
            status: 502,
            body: Vec::new(),
        };
        ("block_all", Action::Respond(response))
    };
    VirtualHost {
        name: name.into(),
        domains: vec![Domain::Any],
        routes: vec![Arc::new(Route {
            name: name.into(),
            matches: route::everything(),
            action,
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            fault: None,
            cors: None,
            operation: None,
            origin: None,
        })],
        require_tls: false,
        include_attempt_count: true,
    }
}
