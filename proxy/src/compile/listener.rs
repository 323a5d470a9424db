//! Listeners with their chains, TLS contexts and sockets.

use std::collections::{BTreeMap, HashMap};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use mesh_model::cluster::RootSource;
use mesh_model::listener::{
    ChainMatch, ChosenChain, ConnectionFacts, ConnectionService, Direction, DownstreamTls, FilterChain,
    HttpConnection, Listener, RouteSource,
};
use parking_lot::Mutex;
use rustls::ServerConfig;

use super::{
    ClusterEntry, Problems, Table, chain_name, compile_table, is_http, listener_resource, next_id, sinks,
};
use crate::access_log::{LogSinks, Sink};
use crate::secure::TlsContexts;
use crate::walk::admit::Guard;
use crate::walk::external::Asking;
use crate::walk::token::Tokens;

/// A listener with everything that serving a connection needs.
pub(crate) struct ListenerEntry {
    /// As configured.
    pub(crate) listener: Arc<Listener>,
    /// Chains in configured order.
    pub(crate) chains: Vec<Arc<ChainEntry>>,
    /// Serves what no chain matches.
    pub(crate) default_chain: Option<Arc<ChainEntry>>,
    /// Nothing about the first bytes decides which chain serves.
    pub(crate) needs_detection: bool,
    /// Bound sockets.
    pub(crate) sockets: Arc<Sockets>,
}

/// Bound sockets of one address by worker; each worker takes its own. Usually one; more when another process with
/// more workers had bound them.
#[derive(Debug, Default)]
pub(crate) struct Sockets(pub(crate) Mutex<Vec<Vec<TcpListener>>>);

/// A filter chain.
pub(crate) struct ChainEntry {
    /// Name, or position.
    pub(crate) name: String,
    /// When it applies.
    pub(crate) matches: ChainMatch,
    /// TLS termination; the error says why handshakes fail for now.
    pub(crate) tls: Option<Result<Arc<ServerConfig>, String>>,
    /// Clients prove a mesh identity.
    pub(crate) mesh_peers: bool,
    /// What serves the connection.
    pub(crate) service: Service,
}

/// What serves a connection.
pub(crate) enum Service {
    /// HTTP.
    Http(Arc<HttpEntry>),
    /// Opaque bytes.
    Tcp(Arc<TcpEntry>),
}

/// HTTP connection manager.
pub(crate) struct HttpEntry {
    /// As configured.
    pub(crate) config: HttpConnection,
    /// Side of the mesh.
    pub(crate) direction: Direction,
    /// Routes.
    pub(crate) routes: Routes,
    /// Services that are asked, in order.
    pub(crate) external: Vec<Asking>,
    /// Policies.
    pub(crate) guard: Option<Guard>,
    /// Token rules.
    pub(crate) tokens: Option<Tokens>,
    /// Access logs.
    pub(crate) logs: Vec<Sink>,
}

/// TCP proxy.
pub(crate) struct TcpEntry {
    /// As configured.
    pub(crate) config: mesh_model::listener::TcpProxy,
    /// Side of the mesh.
    pub(crate) direction: Direction,
    /// Clusters in configured order; `None` = no such cluster.
    pub(crate) clusters: Vec<Option<Arc<ClusterEntry>>>,
    /// Identity for counters.
    pub(crate) id: u32,
    /// Policies.
    pub(crate) guard: Option<Guard>,
    /// Access logs.
    pub(crate) logs: Vec<Sink>,
}

/// Where routes come from.
pub(crate) enum Routes {
    /// One table; `None` = not there yet.
    One(Option<Arc<Table>>),
    /// By the authority's port.
    ByPort {
        /// Port to table.
        tables: HashMap<u16, Arc<Table>>,
        /// Any other port.
        fallback: Option<Arc<Table>>,
        /// What CONNECT to an authority opens: the name of a listener.
        listeners: BTreeMap<String, String>,
    },
}

pub(super) struct Context<'a> {
    pub(super) clusters: &'a HashMap<String, Arc<ClusterEntry>>,
    pub(super) tables: &'a HashMap<String, Arc<Table>>,
    pub(super) tls: &'a dyn TlsContexts,
    pub(super) logs: &'a LogSinks,
}

pub(super) fn compile(
    listener: &Arc<Listener>,
    context: &Context<'_>,
    before: Option<&Arc<ListenerEntry>>,
    problems: &mut Problems,
) -> Option<Arc<ListenerEntry>> {
    if listener.bind_to_port && listener.address.port() == 0 {
        problems.refuse(
            format!("listener {}", listener.name),
            "address has port 0; give the port to listen on".into(),
        );
        return None;
    }
    let chains: Vec<_> = listener
        .chains
        .iter()
        .enumerate()
        .map(|(position, chain)| compile_chain(listener, chain, position, context, problems))
        .collect();
    let default_chain = listener
        .default_chain
        .as_ref()
        .map(|chain| compile_chain(listener, chain, chains.len(), context, problems));
    let needs_detection = chains.iter().any(|chain| {
        let matches = &chain.matches;
        matches.tls.is_some() || !matches.server_names.is_empty() || !matches.application_protocols.is_empty()
    });
    let sockets = before
        .filter(|_| listener.bind_to_port)
        .map(|b| Arc::clone(&b.sockets))
        .unwrap_or_default();
    Some(Arc::new(ListenerEntry {
        listener: Arc::clone(listener),
        chains,
        default_chain,
        needs_detection,
        sockets,
    }))
}

fn compile_chain(
    listener: &Arc<Listener>,
    chain: &FilterChain,
    position: usize,
    context: &Context<'_>,
    problems: &mut Problems,
) -> Arc<ChainEntry> {
    let name = chain_name(chain, position);
    let tls = chain.tls.as_ref().map(|tls| {
        let made = problems.tls(|| listener_resource(listener, &name), context.tls.server(tls));
        made.map(|base| with_mesh_protocols(base, tls))
    });
    let service = match &chain.service {
        ConnectionService::Http(http) => {
            let routes = match is_http(&chain.service) {
                Some(RouteSource::Inline(table)) => {
                    Routes::One(Some(compile_table(table, context.clusters, problems)))
                }
                Some(RouteSource::Named(name)) => Routes::One(context.tables.get(name).cloned()),
                Some(RouteSource::ByAuthorityPort {
                    tables,
                    fallback,
                    listeners,
                }) => Routes::ByPort {
                    listeners: listeners.clone(),
                    tables: tables
                        .iter()
                        .filter_map(|(port, name)| Some((*port, Arc::clone(context.tables.get(name)?))))
                        .collect(),
                    fallback: context.tables.get(fallback).cloned(),
                },
                None => Routes::One(None),
            };
            Service::Http(Arc::new(HttpEntry {
                config: HttpConnection::clone(http),
                direction: listener.direction,
                routes,
                external: http
                    .external
                    .iter()
                    .map(|external| Asking::new(external, context.clusters.get(&external.cluster).cloned()))
                    .collect(),
                guard: Guard::new(&http.policies),
                tokens: http.tokens.as_deref().map(Tokens::new),
                logs: sinks(context.logs, &http.access_logs),
            }))
        }
        ConnectionService::Tcp(tcp) => Service::Tcp(Arc::new(TcpEntry {
            config: tcp.clone(),
            direction: listener.direction,
            clusters: tcp
                .clusters
                .iter()
                .map(|(name, _)| context.clusters.get(name).cloned())
                .collect(),
            id: next_id(),
            guard: Guard::new(&tcp.policies),
            logs: sinks(context.logs, &tcp.access_logs),
        })),
    };
    Arc::new(ChainEntry {
        mesh_peers: chain
            .tls
            .as_ref()
            .is_some_and(|tls| tls.validation.roots == RootSource::Mesh),
        name,
        matches: chain.matches.clone(),
        tls,
        service,
    })
}

/// A listener for mesh peers takes Istio's protocol names beside the configured ones.
fn with_mesh_protocols(base: Arc<ServerConfig>, tls: &DownstreamTls) -> Arc<ServerConfig> {
    if tls.validation.roots != RootSource::Mesh {
        return base;
    }
    let mut config = ServerConfig::clone(&base);
    for protocol in ["istio-h2", "istio-http/1.1", "h2", "http/1.1", "istio"] {
        let protocol = protocol.as_bytes().to_vec();
        if !config.alpn_protocols.contains(&protocol) {
            config.alpn_protocols.push(protocol);
        }
    }
    Arc::new(config)
}

/// What is known about a connection before a chain is chosen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hello {
    /// TLS.
    pub(crate) tls: bool,
    /// SNI.
    pub(crate) server_name: Option<String>,
    /// ALPN offered, or the protocol detected.
    pub(crate) protocols: Vec<Vec<u8>>,
}

impl ListenerEntry {
    /// The chain that serves a connection: the most specific of those that match.
    #[must_use]
    pub(crate) fn chain(&self, hello: &Hello, destination: SocketAddr) -> Option<&Arc<ChainEntry>> {
        let facts = ConnectionFacts {
            tls: hello.tls,
            server_name: hello.server_name.as_deref(),
            protocols: &hello.protocols,
            destination,
        };
        match self.listener.choose(&facts)? {
            ChosenChain::Chain(position) => self.chains.get(position),
            ChosenChain::Default => self.default_chain.as_ref(),
        }
    }

    /// A chain by name.
    #[must_use]
    pub(crate) fn chain_named(&self, name: &str) -> Option<&Arc<ChainEntry>> {
        self.chains
            .iter()
            .chain(&self.default_chain)
            .find(|chain| chain.name == name)
    }
}
