//! HTTP connections: which codec serves them, and what their requests share.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use mesh_model::listener::{Codec, Direction};

use crate::accept::{Accepted, Destination};
use crate::codec::head::{Request, Response};
use crate::compile::{HttpEntry, Service};
use crate::metadata::Peer;
use crate::runtime::NodeKind;
use crate::secure::ProvenPeer;
use crate::wire::patience::Limits;
use crate::wire::{Failure, Sink, Source};
use crate::worker::{Drain, View, Worker};

mod http1;
mod http2;

/// A connection without a request is closed after this long when nothing else is configured (Envoy's default).
const IDLE_DEFAULT: Duration = Duration::from_secs(3600);
/// The same at edges.
const IDLE_EDGE: Duration = Duration::from_secs(60);
/// A request head must be complete within this time at edges.
const HEAD_LIMIT_EDGE: Duration = Duration::from_secs(10);

/// Facts of a connection that all its requests share.
pub(crate) struct Downstream {
    /// Listener's name.
    pub(crate) listener: String,
    /// Chain's name.
    pub(crate) chain: String,
    /// Where the client connected to.
    pub(crate) local: SocketAddr,
    /// The client.
    pub(crate) remote: SocketAddr,
    /// SNI.
    pub(crate) server_name: Option<String>,
    /// TLS.
    pub(crate) tls: bool,
    /// Port that the client meant, when it came through the HTTP proxy port.
    pub(crate) captured: Option<u16>,
    /// Where the connection was going when the kernel captured it.
    pub(crate) destination: Option<Destination>,
    /// What the client's certificate proved.
    pub(crate) peer: Option<ProvenPeer>,
    /// The client proved a mesh identity.
    pub(crate) mesh: bool,
    /// Peer of the last request with the metadata that it sent.
    last_peer: RefCell<Option<(Vec<u8>, Rc<Peer>)>>,
}

impl Downstream {
    /// The peer that sent this metadata; the usual case is that it is the same as before.
    pub(crate) fn peer(&self, worker: &Worker, metadata: Option<&[u8]>) -> Rc<Peer> {
        let sent = metadata.unwrap_or_default();
        let mut last = self.last_peer.borrow_mut();
        if let Some((known, peer)) = last.as_ref()
            && known == sent
        {
            return Rc::clone(peer);
        }
        let principal = self.peer.as_ref().map(|peer| peer.principal.as_str());
        let peer = worker.peers.borrow_mut().find(principal, metadata);
        *last = Some((sent.to_vec(), Rc::clone(&peer)));
        peer
    }
}

/// Everything that serves one request: looked up anew when the configuration has changed.
pub(crate) struct Context {
    /// Worker.
    pub(crate) worker: Rc<Worker>,
    /// Connection.
    pub(crate) downstream: Rc<Downstream>,
    /// Configuration.
    pub(crate) view: Rc<View>,
    /// HTTP connection manager.
    pub(crate) http: Arc<HttpEntry>,
    /// The listener or chain is gone: answers ask the client to leave.
    pub(crate) leaving: bool,
}

impl Context {
    /// Which side of the mesh.
    #[must_use]
    pub(crate) fn direction(&self) -> Direction {
        self.http.direction
    }

    /// Edges are strict and believe nothing of what clients say about themselves.
    #[must_use]
    pub(crate) fn is_edge(&self) -> bool {
        self.worker.node.kind == NodeKind::Edge
    }

    /// From the first byte of a request head to its last.
    #[must_use]
    pub(crate) fn head_limit(&self) -> Option<Duration> {
        let configured = self.http.config.request_headers_timeout;
        configured.or(self.is_edge().then_some(HEAD_LIMIT_EDGE))
    }

    /// How long a connection may have no request.
    #[must_use]
    pub(crate) fn idle_limit(&self) -> Duration {
        let default = if self.is_edge() { IDLE_EDGE } else { IDLE_DEFAULT };
        self.http.config.idle_timeout.unwrap_or(default)
    }

    /// How long bodies may stand still; `None` = for ever.
    #[must_use]
    pub(crate) fn patience(&self) -> Option<Limits> {
        let configured = self.http.config.stream_idle_timeout.map(Limits::idle);
        configured.or(self.is_edge().then_some(Limits::EDGE))
    }

    /// Whether answers ask the client to leave.
    #[must_use]
    pub(crate) fn is_draining(&self) -> bool {
        self.leaving || self.worker.drain(self.direction()) != Drain::Serving
    }
}

/// A client as the rooms see it: a request body, a way to answer, and a way to leave.
pub(crate) trait Client: Source + Sink {
    /// Sends the response head.
    fn begin(&mut self, response: &Response, request: &Request, close: bool) -> Result<(), Failure>;
    /// Ready when the client has left.
    fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()>;
    /// Ends the exchange so that the client sees an error.
    fn cut(&mut self);
    /// Whether the whole request body was read.
    fn body_done(&self) -> bool;
    /// The wire, for tunnels (HTTP/1).
    fn wire(&mut self) -> Option<&mut crate::wire::Wire>;
}

/// The context of a connection, kept up to date.
struct Session {
    context: Rc<Context>,
}

impl Session {
    fn new(accepted: &mut Accepted) -> Option<Self> {
        let Service::Http(http) = &accepted.chain.service else {
            return None;
        };
        let proven = accepted.peer.take();
        let mesh =
            accepted.chain.mesh_peers && proven.as_ref().is_some_and(|peer| !peer.principal.is_empty());
        let downstream = Rc::new(Downstream {
            listener: std::mem::take(&mut accepted.listener),
            chain: accepted.chain.name.clone(),
            local: accepted.local,
            remote: accepted.remote,
            server_name: accepted.hello.server_name.take(),
            tls: accepted.wire.stream.is_tls(),
            captured: accepted.captured,
            destination: accepted.destination,
            peer: proven,
            mesh,
            last_peer: RefCell::new(None),
        });
        Some(Self {
            context: Rc::new(Context {
                view: accepted.worker.view()?,
                worker: Rc::clone(&accepted.worker),
                downstream,
                http: Arc::clone(http),
                leaving: false,
            }),
        })
    }

    /// The context in force now.
    fn current(&mut self) -> Rc<Context> {
        let before = &self.context;
        if let Some(view) = before
            .worker
            .view()
            .filter(|view| !Rc::ptr_eq(view, &before.view))
        {
            let chain = view
                .compiled
                .listeners
                .get(&before.downstream.listener)
                .and_then(|listener| listener.chain_named(&before.downstream.chain));
            let http = match chain.map(|chain| &chain.service) {
                Some(Service::Http(http)) => Some(Arc::clone(http)),
                _ => None,
            };
            self.context = Rc::new(Context {
                worker: Rc::clone(&before.worker),
                downstream: Rc::clone(&before.downstream),
                view,
                leaving: http.is_none(),
                http: http.unwrap_or_else(|| Arc::clone(&before.http)),
            });
        }
        Rc::clone(&self.context)
    }
}

/// Finds out the protocol of an HTTP connection; a task of its own then serves it to its end.
pub(crate) async fn serve(mut accepted: Accepted) {
    let Some(session) = Session::new(&mut accepted) else {
        return;
    };
    let codec = session.context.http.config.codec;
    let agreed = accepted.protocol.as_deref();
    let is_http2 = match (codec, agreed) {
        (Codec::Http2, _) | (Codec::Auto, Some(b"h2" | b"istio-h2")) => true,
        (Codec::Http1, _)
        | (Codec::Auto, Some(b"http/1.1" | b"http/1.0" | b"istio-http/1.1" | b"istio-http/1.0")) => false,
        (Codec::Auto, _) => match http1::starts_with_preface(&mut accepted, &session.context).await {
            Some(preface) => preface,
            None => return,
        },
    };
    // A task of its own: what detection and handshake needed is not kept for as long as the connection lives.
    if is_http2 {
        tokio::task::spawn_local(http2::serve(session, accepted));
    } else {
        tokio::task::spawn_local(http1::serve(session, accepted));
    }
}
