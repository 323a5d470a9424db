//! A gateway: the servers of the Gateways that select it, with the VirtualServices bound to them.

mod l4;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_crd::networking::gateway::{Gateway, Server};
use mesh_crd::networking::labels_match;
use mesh_crd::{Object, ObjectKey, Resource, host};
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, DownstreamTls, FilterChain, Listener, RouteSource,
};
use mesh_model::route::{Domain, Route, RouteTable, VirtualHost};
use mesh_model::snapshot::Snapshot;

use l4::Kind;

use crate::World;
use crate::access;
use crate::bound::Bound;
use crate::connection::{self, Place};
use crate::index::Index;
use crate::node::ProxyNode;
use crate::outbound;
use crate::policy::Client;
use crate::problem::Findings;
use crate::protocol::Protocol;
use crate::registry::TargetPort;
use crate::route::{self, RouteContext, is_catch_all};
use crate::visible::Visible;

/// A server of a Gateway that selects the proxy.
struct Chosen<'a> {
    gateway: &'a Resource<Gateway>,
    server: &'a Server,
    /// `namespace/name`.
    name: String,
    protocol: Protocol,
}

impl Chosen<'_> {
    fn kind(&self) -> Kind {
        Kind::of(self.protocol, self.server.tls.as_ref())
    }
}

/// Adds listeners, tables, clusters and endpoints.
pub(crate) fn build(
    world: &World,
    index: &Index,
    node: &ProxyNode,
    out: &mut Snapshot,
    findings: &mut Findings,
) {
    let visible = Visible::to(world, index, node, None);
    outbound::clusters(world, index, node, &visible.services, out);
    let workload = access::Workload {
        namespace: &node.namespace,
        labels: &node.labels,
    };
    let asked = access::of(world, index, workload);
    outbound::asked_services(world, index, node, &asked, out);
    let mut ports: BTreeMap<(u16, String), Vec<Chosen<'_>>> = BTreeMap::new();
    for chosen in servers(index, node, findings) {
        if let Ok(number) = u16::try_from(chosen.server.port.number) {
            let bind = chosen.server.bind.clone();
            ports.entry((number, bind)).or_default().push(chosen);
        }
    }
    for ((number, bind), servers) in ports {
        let target = target_port(world, index, node, number);
        let ip = bind.parse().ok().or(node.gateway_bind).unwrap_or(node.address);
        let place = Port {
            world,
            index,
            node,
            visible: &visible,
            asked: &asked,
            number,
            address: SocketAddr::new(ip, target),
        };
        place.build(&servers, out, findings);
    }
}

/// One port of the gateway.
struct Port<'a> {
    world: &'a World,
    index: &'a Index,
    node: &'a ProxyNode,
    visible: &'a Visible<'a>,
    asked: &'a access::Asked,
    number: u16,
    address: SocketAddr,
}

impl Port<'_> {
    fn build(&self, servers: &[Chosen<'_>], out: &mut Snapshot, findings: &mut Findings) {
        let Some(first) = servers.first() else { return };
        let name = format!("{}_{}", self.address.ip(), self.address.port());
        // The first decides what the port speaks; servers of another kind are not served on it.
        let tls = first.kind().is_tls(first.server.tls.as_ref());
        let same: Vec<&Chosen<'_>> = servers
            .iter()
            .filter(|c| c.kind().is_tls(c.server.tls.as_ref()) == tls && (tls || c.kind() == first.kind()))
            .collect();
        let mut chains = Vec::new();
        if first.kind() == Kind::Http {
            let table_name = format!("http.{}", self.address.port());
            let table = self.table(&same, table_name, findings);
            chains.push(self.http(&name, &table.name, ChainMatch::default(), None));
            out.routes.insert(table.name.clone(), Arc::new(table));
        } else {
            let mut taken = BTreeSet::new();
            let mut secure = BTreeSet::new();
            for chosen in same {
                self.opaque_or_https(
                    chosen,
                    &name,
                    (&mut taken, &mut secure),
                    &mut chains,
                    out,
                    findings,
                );
            }
        }
        if chains.is_empty() {
            return;
        }
        for chain in &mut chains {
            if let ConnectionService::Tcp(proxy) = &mut chain.service {
                proxy.policies = self.asked.tcp.clone();
            }
        }
        let listener = Listener {
            address: self.address,
            direction: Direction::Unspecified,
            chains,
            default_chain: None,
            detection_timeout: None,
            bind_to_port: true,
            capture: Capture::default(),
            name,
        };
        out.listeners.insert(listener.name.clone(), Arc::new(listener));
    }

    fn opaque_or_https(
        &self,
        chosen: &Chosen<'_>,
        name: &str,
        (taken, secure): (&mut BTreeSet<String>, &mut BTreeSet<String>),
        chains: &mut Vec<FilterChain>,
        out: &mut Snapshot,
        findings: &mut Findings,
    ) {
        let gateways = [chosen.name.clone()];
        if chosen.kind() != Kind::Https {
            chains.extend(l4::chains(
                &self.context(&gateways),
                self.visible,
                chosen,
                chosen.kind(),
                name,
                taken,
            ));
            return;
        }
        let Some(names) = l4::server_names(chosen, secure) else {
            return;
        };
        let Some(tls) = l4::termination(chosen.server.tls.as_ref(), true) else {
            return;
        };
        let gateway = &chosen.gateway.meta;
        let table_name = format!(
            "https.{}.{}.{}.{}",
            self.number, chosen.server.port.name, gateway.name, gateway.namespace
        );
        let table = self.table(&[chosen], table_name, findings);
        let matches = ChainMatch {
            tls: Some(true),
            server_names: names,
            ..ChainMatch::default()
        };
        let chain_name = format!("{name}-{}", table.name);
        chains.push(self.http(&chain_name, &table.name, matches, Some(tls)));
        out.routes.insert(table.name.clone(), Arc::new(table));
    }

    fn http(&self, name: &str, table: &str, matches: ChainMatch, tls: Option<DownstreamTls>) -> FilterChain {
        let mut http = connection::http(
            self.world,
            Place::Gateway,
            format!("outbound_{name}"),
            RouteSource::Named(table.to_owned()),
        );
        http.policies = self.asked.http.clone();
        http.external.clone_from(&self.asked.external);
        http.tokens.clone_from(&self.asked.tokens);
        FilterChain {
            name: name.to_owned(),
            matches,
            tls,
            service: ConnectionService::Http(Box::new(http)),
        }
    }

    fn context<'b>(&'b self, gateways: &'b [String]) -> RouteContext<'b> {
        RouteContext {
            world: self.world,
            index: self.index,
            client: Client {
                namespace: &self.node.namespace,
                labels: &self.node.labels,
            },
            gateways,
            port: self.number,
            at_gateway: true,
        }
    }
}

/// Servers of Gateways that select this proxy, oldest Gateway first.
fn servers<'a>(index: &'a Index, node: &ProxyNode, findings: &mut Findings) -> Vec<Chosen<'a>> {
    let mut out = Vec::new();
    for gateway in index.gateways() {
        if !labels_match(&gateway.spec.selector, &node.labels) {
            continue;
        }
        let key = ObjectKey::new("Gateway", &gateway.meta.namespace, &gateway.meta.name);
        for (i, server) in gateway.spec.servers.iter().enumerate() {
            match Protocol::by_name(&server.port.protocol) {
                Some(protocol) if protocol != Protocol::Udp => out.push(Chosen {
                    gateway,
                    server,
                    name: format!("{}/{}", gateway.meta.namespace, gateway.meta.name),
                    protocol,
                }),
                _ => findings.unsupported(
                    &key,
                    format!("spec.servers[{i}].port.protocol"),
                    &format!("servers of protocol {} are not served", server.port.protocol),
                    "use HTTP, HTTPS, TLS or TCP",
                ),
            }
        }
    }
    out
}

/// Where a server port is on the pod: as the Service that selects the gateway says, else the same.
fn target_port(world: &World, index: &Index, node: &ProxyNode, number: u16) -> u16 {
    let named = |name: &str| match world
        .get(&ObjectKey::new("Pod", &node.namespace, &node.name))
        .map(Arc::as_ref)
    {
        Some(Object::Pod(pod)) => pod.spec.named_ports.get(name).copied(),
        _ => None,
    };
    index
        .registry
        .services
        .iter()
        .filter(|s| {
            s.namespace == node.namespace && !s.selector.is_empty() && labels_match(&s.selector, &node.labels)
        })
        .find_map(|s| match &s.port(number)?.target {
            TargetPort::Number(target) => Some(*target),
            TargetPort::Named(name) => named(name),
        })
        .unwrap_or(number)
}

/// Rules of one host, with what the server says about it.
#[derive(Default)]
struct HostRoutes {
    routes: Vec<Arc<Route>>,
    require_tls: bool,
}

impl Port<'_> {
    fn table(&self, servers: &[&Chosen<'_>], name: String, findings: &mut Findings) -> RouteTable {
        let mut hosts: BTreeMap<String, HostRoutes> = BTreeMap::new();
        let mut oldest_first: Vec<&Arc<Bound>> = self.visible.bound.clone();
        let age: BTreeMap<&ObjectKey, usize> = self
            .index
            .bound
            .iter()
            .enumerate()
            .map(|(i, b)| (&b.key, i))
            .collect();
        oldest_first.sort_by_key(|b| age.get(&b.key).copied());
        for bound in oldest_first {
            // One VirtualService gives a host its rules once, through however many servers it comes.
            let mut done: BTreeSet<String> = BTreeSet::new();
            for chosen in servers.iter().filter(|c| bound.is_on(&c.name)) {
                let common = intersection(chosen, bound);
                if common.iter().all(|h| done.contains(h)) {
                    continue;
                }
                let gateways = [chosen.name.clone()];
                let context = self.context(&gateways);
                let routes = route::routes(&context, bound, findings);
                for name in common {
                    if routes.is_empty() || !done.insert(name.clone()) {
                        continue;
                    }
                    let entry = hosts.entry(name).or_default();
                    entry.routes.extend(routes.iter().cloned());
                    entry.require_tls |= redirects(chosen);
                }
            }
        }
        for chosen in servers.iter().filter(|c| redirects(c)) {
            for pattern in &chosen.server.hosts {
                let name = pattern.rsplit('/').next().unwrap_or(pattern);
                hosts.entry(name.to_ascii_lowercase()).or_default().require_tls = true;
            }
        }
        RouteTable {
            name,
            virtual_hosts: virtual_hosts(hosts, self.number),
        }
    }
}

fn redirects(chosen: &Chosen<'_>) -> bool {
    chosen.protocol.is_http() && chosen.server.tls.as_ref().is_some_and(|t| t.https_redirect)
}

fn virtual_hosts(hosts: BTreeMap<String, HostRoutes>, number: u16) -> Vec<Arc<VirtualHost>> {
    let mut out: Vec<Arc<VirtualHost>> = hosts
        .into_iter()
        .map(|(name, mut host)| {
            // Rules of different objects meet here; those that take everything go last.
            host.routes.sort_by_key(|r| is_catch_all(&r.matches));
            Arc::new(VirtualHost {
                domains: vec![outbound::domain(&name)],
                name: format!("{name}:{number}"),
                routes: host.routes,
                require_tls: host.require_tls,
                include_attempt_count: true,
            })
        })
        .collect();
    if out.is_empty() {
        out.push(Arc::new(VirtualHost {
            name: format!("blackhole:{number}"),
            domains: vec![Domain::Any],
            ..VirtualHost::default()
        }));
    }
    out
}

/// Hosts that both the server and the VirtualService have: of each pair the narrower.
fn intersection(chosen: &Chosen<'_>, bound: &Bound) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for pattern in &chosen.server.hosts {
        let (namespace, pattern) = pattern.split_once('/').unwrap_or(("*", pattern));
        let allowed = match namespace {
            "*" => true,
            "." => bound.key.namespace == chosen.gateway.meta.namespace,
            other => bound.key.namespace == other,
        };
        if !allowed {
            continue;
        }
        let pattern = pattern.to_ascii_lowercase();
        for name in &bound.hosts {
            let narrower = if host::covers(&pattern, name) {
                name
            } else if host::covers(name, &pattern) {
                &pattern
            } else {
                continue;
            };
            if !out.contains(narrower) {
                out.push(narrower.clone());
            }
        }
    }
    out
}
