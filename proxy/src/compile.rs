//! A snapshot made ready for the request path: names resolved to entries, patterns compiled, state of endpoints
//! carried over from the snapshot before.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use mesh_model::listener::{ConnectionService, FilterChain, Listener, RouteSource};
use mesh_model::route::{Action, HostIndex, Rewriter, Route, RouteTable};
use mesh_model::snapshot::Snapshot;

use crate::access_log::{LogSinks, Sink};
use crate::runtime::Refused;
use crate::secure::{TlsContexts, TlsUnavailable};

mod cluster;
mod listener;

pub(crate) use cluster::{ClusterEntry, EndpointEntry, EndpointSet};
pub(crate) use listener::{ChainEntry, Hello, HttpEntry, ListenerEntry, Routes, Service, Sockets, TcpEntry};

/// Everything the request path looks at.
pub(crate) struct Compiled {
    /// The snapshot it was made of.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Clusters by name.
    pub(crate) clusters: HashMap<String, Arc<ClusterEntry>>,
    /// Listeners by name.
    pub(crate) listeners: BTreeMap<String, Arc<ListenerEntry>>,
    /// Listeners that are bound, by address.
    pub(crate) bound: BTreeMap<SocketAddr, Arc<ListenerEntry>>,
    /// Listeners that only a capturing one hands connections to, by address.
    behind: HashMap<SocketAddr, Arc<ListenerEntry>>,
}

impl Compiled {
    /// The listener for captured connections to `destination`: of that very address, or of all addresses of its port.
    #[must_use]
    pub(crate) fn behind(&self, destination: SocketAddr) -> Option<&Arc<ListenerEntry>> {
        let port = destination.port();
        let any = || {
            [IpAddr::from([0_u8; 4]), IpAddr::from([0_u16; 8])]
                .into_iter()
                .find_map(|ip| self.behind.get(&SocketAddr::new(ip, port)))
        };
        self.behind.get(&destination).or_else(any)
    }
}

/// A route table with its entries.
pub(crate) struct Table {
    /// As configured.
    pub(crate) table: Arc<RouteTable>,
    /// By host.
    pub(crate) hosts: HostIndex,
    /// Routes of each virtual host, in order.
    pub(crate) routes: Vec<Vec<Arc<RouteEntry>>>,
}

/// A route with its destinations resolved.
pub(crate) struct RouteEntry {
    /// Distinguishes it from every other route of this process's lifetime.
    pub(crate) id: u32,
    /// As configured.
    pub(crate) route: Arc<Route>,
    /// Clusters of a forward's destinations, in order; `None` = no such cluster.
    pub(crate) clusters: Vec<Option<Arc<ClusterEntry>>>,
    /// Clusters of its mirrors, in order.
    pub(crate) mirrors: Vec<Option<Arc<ClusterEntry>>>,
    /// Path rewrite.
    pub(crate) rewriter: Option<Rewriter>,
}

/// An id that was never given before; never 0.
pub(crate) fn next_id() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Compiles `snapshot`; nothing is bound and nothing of `before` changes.
pub(crate) fn compile(
    snapshot: Arc<Snapshot>,
    before: Option<&Compiled>,
    tls: &dyn TlsContexts,
    logs: &LogSinks,
    keep_tls: bool,
) -> Result<Compiled, Vec<Refused>> {
    tls.deliver(&snapshot.secrets);
    // New key material makes new contexts.
    let keep_tls = keep_tls && before.is_none_or(|b| b.snapshot.secrets == snapshot.secrets);
    let mut problems = Problems::default();
    let clusters: HashMap<_, _> = snapshot
        .clusters
        .iter()
        .map(|(name, cluster)| {
            let endpoints = cluster::endpoints_of(&snapshot, cluster);
            let before = before.and_then(|b| b.clusters.get(name));
            let entry = cluster::compile(cluster, &endpoints, before, tls, keep_tls, &mut problems);
            (name.clone(), entry)
        })
        .collect();
    let tables: HashMap<_, _> = snapshot
        .routes
        .iter()
        .map(|(name, table)| (name.clone(), compile_table(table, &clusters, &mut problems)))
        .collect();
    let mut listeners = BTreeMap::new();
    for (name, configured) in &snapshot.listeners {
        let context = listener::Context {
            clusters: &clusters,
            tables: &tables,
            tls,
            logs,
        };
        let before = before.and_then(|b| b.bound.get(&configured.address));
        if let Some(entry) = listener::compile(configured, &context, before, &mut problems) {
            listeners.insert(name.clone(), entry);
        }
    }
    let mut bound: BTreeMap<SocketAddr, Arc<ListenerEntry>> = BTreeMap::new();
    for entry in listeners.values().filter(|entry| entry.listener.bind_to_port) {
        if let Some(other) = bound.insert(entry.listener.address, Arc::clone(entry)) {
            problems.refuse(
                format!("listener {}", entry.listener.name),
                format!(
                    "address {} is also that of listener {}",
                    entry.listener.address, other.listener.name
                ),
            );
        }
    }
    let behind = listeners
        .values()
        .filter(|entry| !entry.listener.bind_to_port)
        .map(|entry| (entry.listener.address, Arc::clone(entry)))
        .collect();
    if problems.refused.is_empty() {
        Ok(Compiled {
            behind,
            snapshot,
            clusters,
            listeners,
            bound,
        })
    } else {
        Err(problems.refused)
    }
}

/// What is wrong with a snapshot.
#[derive(Default)]
struct Problems {
    refused: Vec<Refused>,
}

impl Problems {
    fn refuse(&mut self, resource: String, reason: String) {
        self.refused.push(Refused { resource, reason });
    }

    /// A context, or why handshakes must fail for now.
    fn tls<T>(
        &mut self,
        resource: impl Fn() -> String,
        made: Result<T, TlsUnavailable>,
    ) -> Result<T, String> {
        made.map_err(|error| {
            if matches!(error, TlsUnavailable::Invalid(_)) {
                self.refuse(resource(), format!("TLS context: {error}"));
            }
            error.to_string()
        })
    }
}

fn compile_table(
    table: &Arc<RouteTable>,
    clusters: &HashMap<String, Arc<ClusterEntry>>,
    problems: &mut Problems,
) -> Arc<Table> {
    let routes = table
        .virtual_hosts
        .iter()
        .map(|virtual_host| {
            virtual_host
                .routes
                .iter()
                .map(|route| {
                    let resource = || {
                        format!(
                            "route {:?} of {} in table {}",
                            route.name, virtual_host.name, table.name
                        )
                    };
                    Arc::new(compile_route(route, clusters, resource, problems))
                })
                .collect()
        })
        .collect();
    Arc::new(Table {
        table: Arc::clone(table),
        hosts: HostIndex::new(table),
        routes,
    })
}

fn compile_route(
    route: &Arc<Route>,
    clusters: &HashMap<String, Arc<ClusterEntry>>,
    resource: impl Fn() -> String,
    problems: &mut Problems,
) -> RouteEntry {
    let mut entry = RouteEntry {
        id: next_id(),
        route: Arc::clone(route),
        clusters: Vec::new(),
        mirrors: Vec::new(),
        rewriter: None,
    };
    match &route.action {
        Action::Forward(forward) => {
            let weight: u64 = forward.destinations.iter().map(|d| u64::from(d.weight)).sum();
            if forward.destinations.is_empty() || (forward.destinations.len() > 1 && weight == 0) {
                problems.refuse(resource(), "action has no destination with a weight".into());
            }
            let find = |name: &str| clusters.get(name).cloned();
            entry.clusters = forward.destinations.iter().map(|d| find(&d.cluster)).collect();
            entry.mirrors = forward.mirrors.iter().map(|m| find(&m.cluster)).collect();
            match forward.path_rewrite.as_ref().map(Rewriter::new).transpose() {
                Ok(rewriter) => entry.rewriter = rewriter,
                Err(error) => problems.refuse(resource(), format!("path rewrite: {error}")),
            }
        }
        Action::Redirect(redirect) if !matches!(redirect.status, 301 | 302 | 303 | 307 | 308) => {
            problems.refuse(resource(), format!("redirect status {} is none", redirect.status));
        }
        Action::Respond(respond) if !(200..600).contains(&respond.status) => {
            problems.refuse(
                resource(),
                format!("direct response status {} is outside 200..=599", respond.status),
            );
        }
        Action::Redirect(_) | Action::Respond(_) => {}
    }
    entry
}

fn sinks(logs: &LogSinks, configured: &[mesh_model::listener::AccessLog]) -> Vec<Sink> {
    configured.iter().map(|log| logs.open(log)).collect()
}

fn chain_name(chain: &FilterChain, position: usize) -> String {
    if chain.name.is_empty() {
        position.to_string()
    } else {
        chain.name.clone()
    }
}

fn is_http(service: &ConnectionService) -> Option<&RouteSource> {
    match service {
        ConnectionService::Http(http) => Some(&http.routes),
        ConnectionService::Tcp(_) => None,
    }
}

fn listener_resource(listener: &Listener, chain: &str) -> String {
    format!("listener {} chain {chain}", listener.name)
}
