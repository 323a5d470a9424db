//! From an endpoint to a connection that is ready for a request: pooled, or made anew.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_model::cluster::{CertificateSource, UpstreamProtocol};
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;

use crate::codec::head::Version;
use crate::compile::{ClusterEntry, Compiled, EndpointEntry};
use crate::overload::{self, Opened};
use crate::stats::WordHasher;
use crate::wire::{Stream, Wire, http1, http2};

/// Idle HTTP/1 connections kept for one endpoint.
const IDLE_MAX: usize = 1024;
/// Idle connections are closed after this long when the cluster says nothing (Envoy's default).
const IDLE_DEFAULT: Duration = Duration::from_secs(3600);

/// Upstream connections of one worker.
#[derive(Default)]
pub(crate) struct Pools(RefCell<HashMap<u32, Pool, BuildHasherDefault<WordHasher>>>);

#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "a connection moves between pool and exchange without being copied"
)]
struct Pool {
    idle: Vec<Box<Http1Connection>>,
    shared: Vec<Rc<Http2Connection>>,
}

/// An HTTP/1 connection that serves one request at a time.
pub(crate) struct Http1Connection {
    /// The exchange's end.
    pub(crate) side: http1::ServerSide,
    /// About the connection.
    pub(crate) facts: Rc<Facts>,
    idle_since: Instant,
    idle_timeout: Duration,
    _counted: Counted,
}

/// An HTTP/2 connection that many requests share.
pub(crate) struct Http2Connection {
    send: h2::client::SendRequest<Bytes>,
    closed: Rc<Cell<bool>>,
    served: Cell<u32>,
    /// About the connection.
    pub(crate) facts: Rc<Facts>,
}

/// What is known of an upstream connection.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    /// Our address.
    pub(crate) local: Option<SocketAddr>,
    /// SPIFFE id that the peer proved.
    pub(crate) principal: Option<String>,
    /// Both sides proved a mesh identity.
    pub(crate) mutual_tls: bool,
}

/// A connection ready for one request.
pub(crate) enum Ready {
    /// Alone.
    Http1(Box<Http1Connection>),
    /// One of many streams.
    Http2(h2::client::SendRequest<Bytes>, Rc<Facts>),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialError {
    /// A circuit breaker refused.
    Overflow,
    /// The connect timeout passed.
    Timeout,
    /// The connection failed; the text is Envoy's transport failure reason.
    Failed(String),
}

/// Keeps the connection numbers of cluster and endpoint true.
struct Counted {
    cluster: Arc<ClusterEntry>,
    endpoint: Arc<EndpointEntry>,
    _opened: Opened,
}

impl Counted {
    fn new(cluster: &Arc<ClusterEntry>, endpoint: &Arc<EndpointEntry>) -> Self {
        cluster.shared.connections.fetch_add(1, Ordering::Relaxed);
        endpoint.counters.connections.fetch_add(1, Ordering::Relaxed);
        Self {
            cluster: Arc::clone(cluster),
            endpoint: Arc::clone(endpoint),
            _opened: Opened::new(),
        }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.cluster.shared.connections.fetch_sub(1, Ordering::Relaxed);
        self.endpoint.counters.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What will be spoken to a cluster on behalf of a client.
#[must_use]
pub(crate) fn protocol(cluster: &ClusterEntry, downstream: Version) -> UpstreamProtocol {
    match cluster.config.protocol {
        UpstreamProtocol::Http2 => UpstreamProtocol::Http2,
        UpstreamProtocol::UseDownstream if downstream == Version::Http2 => UpstreamProtocol::Http2,
        _ => UpstreamProtocol::Http1,
    }
}

impl Pools {
    /// A connection for one request: pooled if there is one.
    pub(crate) async fn ready(
        &self,
        cluster: &Arc<ClusterEntry>,
        endpoint: &Arc<EndpointEntry>,
        protocol: UpstreamProtocol,
    ) -> Result<Ready, DialError> {
        if protocol == UpstreamProtocol::Http2 {
            return self.shared(cluster, endpoint).await;
        }
        if let Some(connection) = self.checkout(endpoint) {
            return Ok(Ready::Http1(connection));
        }
        let _pending = Pending::enter(cluster)?;
        while cluster.shared.connections.load(Ordering::Relaxed) >= cluster.config.limits.max_connections {
            // Another request of this or another worker must end first.
            tokio::time::sleep(Duration::from_millis(2)).await;
            if let Some(connection) = self.checkout(endpoint) {
                return Ok(Ready::Http1(connection));
            }
        }
        let counted = Counted::new(cluster, endpoint);
        let (stream, facts) = connect(cluster, endpoint, Some(protocol)).await?;
        Ok(Ready::Http1(Box::new(Http1Connection {
            side: http1::ServerSide::new(Wire::new(stream, Vec::new())),
            facts: Rc::new(facts),
            idle_since: Instant::now(),
            idle_timeout: cluster.config.idle_timeout.unwrap_or(IDLE_DEFAULT),
            _counted: counted,
        })))
    }

    fn checkout(&self, endpoint: &EndpointEntry) -> Option<Box<Http1Connection>> {
        let mut pools = self.0.borrow_mut();
        let idle = &mut pools.get_mut(&endpoint.id)?.idle;
        while let Some(mut connection) = idle.pop() {
            if connection.side.is_alive() {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next request, if it can serve one.
    pub(crate) fn give_back(
        &self,
        mut connection: Box<Http1Connection>,
        cluster: &ClusterEntry,
        endpoint: &EndpointEntry,
    ) {
        let spent = cluster
            .config
            .max_requests_per_connection
            .is_some_and(|most| connection.side.served >= most);
        if spent || !connection.side.is_reusable() {
            return;
        }
        connection.side.wire.release();
        connection.idle_since = Instant::now();
        // As configured now: the connection may be older than the configuration.
        connection.idle_timeout = cluster.config.idle_timeout.unwrap_or(IDLE_DEFAULT);
        let mut pools = self.0.borrow_mut();
        let idle = &mut pools.entry(endpoint.id).or_default().idle;
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
    }

    async fn shared(
        &self,
        cluster: &Arc<ClusterEntry>,
        endpoint: &Arc<EndpointEntry>,
    ) -> Result<Ready, DialError> {
        let most = cluster.config.max_requests_per_connection.unwrap_or(u32::MAX);
        for _ in 0..2 {
            let found = self.0.borrow_mut().get_mut(&endpoint.id).and_then(|pool| {
                pool.shared.retain(|c| !c.closed.get() && c.served.get() < most);
                pool.shared.first().cloned()
            });
            let Some(connection) = found else { break };
            connection.served.set(connection.served.get() + 1);
            if let Ok(send) = connection.send.clone().ready().await {
                return Ok(Ready::Http2(send, Rc::clone(&connection.facts)));
            }
            connection.closed.set(true);
        }
        let _pending = Pending::enter(cluster)?;
        if cluster.shared.connections.load(Ordering::Relaxed) >= cluster.config.limits.max_connections {
            return Err(DialError::Overflow);
        }
        let counted = Counted::new(cluster, endpoint);
        let (stream, facts) = connect(cluster, endpoint, Some(UpstreamProtocol::Http2)).await?;
        let (send, driver) = h2::client::Builder::new()
            .initial_window_size(http2::STREAM_WINDOW)
            .initial_connection_window_size(http2::CONNECTION_WINDOW)
            .max_header_list_size(http2::HEADER_LIST_MAX)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await
            .map_err(|error| DialError::Failed(error.to_string()))?;
        let closed = Rc::new(Cell::new(false));
        tokio::task::spawn_local({
            let closed = Rc::clone(&closed);
            async move {
                if let Err(error) = driver.await {
                    tracing::debug!(%error, "upstream HTTP/2 connection ended");
                }
                closed.set(true);
                drop(counted);
            }
        });
        let facts = Rc::new(facts);
        let connection = Rc::new(Http2Connection {
            send: send.clone(),
            closed,
            served: Cell::new(1),
            facts: Rc::clone(&facts),
        });
        self.0
            .borrow_mut()
            .entry(endpoint.id)
            .or_default()
            .shared
            .push(connection);
        let send = send
            .ready()
            .await
            .map_err(|error| DialError::Failed(error.to_string()))?;
        Ok(Ready::Http2(send, facts))
    }

    /// Closes connections to endpoints that the configuration does not know any more.
    pub(crate) fn retain(&self, compiled: &Compiled) {
        let known: std::collections::HashSet<u32> = compiled
            .clusters
            .values()
            .flat_map(|cluster| {
                cluster
                    .endpoints
                    .load()
                    .all
                    .iter()
                    .map(|e| e.id)
                    .collect::<Vec<_>>()
            })
            .collect();
        self.0.borrow_mut().retain(|id, _| known.contains(id));
    }

    /// Closes connections that were idle for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        for pool in self.0.borrow_mut().values_mut() {
            pool.idle.retain_mut(|c| {
                now.saturating_duration_since(c.idle_since) < c.idle_timeout && c.side.is_alive()
            });
            pool.shared.retain(|c| !c.closed.get());
        }
    }
}

/// A request that waits for a connection.
struct Pending<'a>(Option<&'a ClusterEntry>);

impl<'a> Pending<'a> {
    fn enter(cluster: &'a ClusterEntry) -> Result<Self, DialError> {
        if overload::is_exhausted() {
            return Err(DialError::Overflow);
        }
        let most = cluster.config.limits.max_pending;
        if most == u32::MAX {
            return Ok(Self(None));
        }
        if cluster.shared.pending.fetch_add(1, Ordering::Relaxed) >= most {
            cluster.shared.pending.fetch_sub(1, Ordering::Relaxed);
            return Err(DialError::Overflow);
        }
        Ok(Self(Some(cluster)))
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if let Some(cluster) = self.0 {
            cluster.shared.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An opaque connection, counted against the cluster's limit as long as the second value lives.
pub(crate) async fn tunnel(
    cluster: &Arc<ClusterEntry>,
    endpoint: &Arc<EndpointEntry>,
) -> Result<(Stream, Facts, impl Drop + use<>), DialError> {
    let counted = Counted::new(cluster, endpoint);
    if cluster.shared.connections.load(Ordering::Relaxed) > cluster.config.limits.max_connections {
        return Err(DialError::Overflow);
    }
    let (stream, facts) = connect(cluster, endpoint, None).await?;
    Ok((stream, facts, counted))
}

/// Connects (and secures) within the cluster's connect timeout; `protocol` `None` = opaque bytes.
pub(crate) async fn connect(
    cluster: &Arc<ClusterEntry>,
    endpoint: &Arc<EndpointEntry>,
    protocol: Option<UpstreamProtocol>,
) -> Result<(Stream, Facts), DialError> {
    endpoint
        .counters
        .connections_total
        .fetch_add(1, Ordering::Relaxed);
    let made = tokio::time::timeout(
        cluster.config.connect_timeout,
        connect_unbounded(cluster, endpoint, protocol),
    )
    .await
    .unwrap_or(Err(DialError::Timeout));
    if made.is_err() {
        endpoint
            .counters
            .connections_failed
            .fetch_add(1, Ordering::Relaxed);
    }
    made
}

async fn connect_unbounded(
    cluster: &ClusterEntry,
    endpoint: &EndpointEntry,
    protocol: Option<UpstreamProtocol>,
) -> Result<(Stream, Facts), DialError> {
    let address = endpoint.endpoint.address;
    let socket = open(cluster, address)
        .await
        .map_err(|error| DialError::Failed(connect_reason(&error)))?;
    let local = socket.local_addr().ok();
    if !endpoint.secured {
        let facts = Facts {
            local,
            principal: None,
            mutual_tls: false,
        };
        return Ok((Stream::Tcp(socket), facts));
    }
    let context = cluster.client_tls(protocol).map_err(DialError::Failed)?;
    let name = cluster
        .tls
        .as_ref()
        .and_then(|tls| tls.config.sni.clone())
        .and_then(|sni| ServerName::try_from(sni).ok())
        .unwrap_or_else(|| ServerName::IpAddress(address.ip().into()));
    let tls = TlsConnector::from(context)
        .connect(name, socket)
        .await
        .map_err(|error| DialError::Failed(format!("TLS_error:{error}")))?;
    let principal = tls
        .get_ref()
        .1
        .peer_certificates()
        .and_then(crate::secure::spiffe_id_of);
    let ours = cluster
        .tls
        .as_ref()
        .is_some_and(|tls| tls.config.certificate == CertificateSource::Workload);
    let facts = Facts {
        local,
        mutual_tls: ours && principal.is_some(),
        principal,
    };
    Ok((Stream::Client(Box::new(tls)), facts))
}

async fn open(cluster: &ClusterEntry, address: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(source) = cluster.config.bind.and_then(|bind| source(bind, address)) {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    socket.set_nodelay(true)?;
    socket.connect(address).await
}

/// The source address for a destination: what is configured, or what stands for it in the other kind of address.
fn source(configured: IpAddr, destination: SocketAddr) -> Option<IpAddr> {
    let (v4, v6) = (
        IpAddr::from([127, 0, 0, 6]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 6]),
    );
    match (configured.is_ipv4(), destination.is_ipv4()) {
        (true, true) | (false, false) => Some(configured),
        (true, false) => (configured == v4).then_some(v6),
        (false, true) => (configured == v6).then_some(v4),
    }
}

fn connect_reason(error: &std::io::Error) -> String {
    let text = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => "Connection refused",
        std::io::ErrorKind::NetworkUnreachable => "Network is unreachable",
        std::io::ErrorKind::HostUnreachable => "No route to host",
        std::io::ErrorKind::ConnectionReset => "Connection reset by peer",
        std::io::ErrorKind::AddrNotAvailable => "Cannot assign requested address",
        _ => return format!("delayed connect error: {error}"),
    };
    format!("delayed connect error: {text}")
}
