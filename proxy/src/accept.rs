//! From a bound socket to a served connection.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

mod capture;

pub(crate) use capture::open as open_tunnel;

use crate::compile::{ChainEntry, Hello, ListenerEntry, Service, Sockets};
use crate::runtime::NodeKind;
use crate::secure::ProvenPeer;
use crate::wire::{Stream, Wire};
use crate::worker::{Desired, Drain, Registered, Worker};

/// A TLS handshake must end within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// Pause after a failed accept (out of descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Pause while there is no room for another connection.
const FULL_PAUSE: Duration = Duration::from_millis(10);

/// Accept loops of one worker by address.
#[derive(Default)]
pub(crate) struct Listeners(BTreeMap<SocketAddr, Accepting>);

struct Accepting {
    sockets: Arc<Sockets>,
    loops: Vec<(Rc<TcpListener>, JoinHandle<()>)>,
}

impl Drop for Accepting {
    fn drop(&mut self) {
        for (_, task) in &self.loops {
            task.abort();
        }
    }
}

impl Listeners {
    /// Starts and ends accept loops so that they fit what is desired; new ones first.
    pub(crate) fn reconcile(&mut self, worker: &Rc<Worker>, desired: &Desired) {
        let Some(compiled) = &desired.compiled else { return };
        let wanted = |entry: &ListenerEntry| {
            entry.listener.bind_to_port
                && desired.stop_by.is_none()
                && worker.drain(entry.listener.direction) < Drain::Handed
        };
        for (address, entry) in compiled.bound.iter().filter(|(_, entry)| wanted(entry)) {
            let running = self
                .0
                .get(address)
                .is_some_and(|a| Arc::ptr_eq(&a.sockets, &entry.sockets));
            if running {
                continue;
            }
            let own = entry.sockets.0.lock().get_mut(worker.index).map(std::mem::take);
            let mut loops = Vec::new();
            for socket in own.unwrap_or_default() {
                match TcpListener::from_std(socket) {
                    Ok(socket) => {
                        let socket = Rc::new(socket);
                        let accepting = accept(Rc::clone(worker), *address, Rc::clone(&socket));
                        loops.push((socket, tokio::task::spawn_local(accepting)));
                    }
                    Err(error) => {
                        tracing::error!(listener = %entry.listener.name, %error, "socket cannot be used")
                    }
                }
            }
            if !loops.is_empty() {
                let accepting = Accepting {
                    sockets: Arc::clone(&entry.sockets),
                    loops,
                };
                self.0.insert(*address, accepting);
            }
        }
        self.0.retain(|address, accepting| {
            compiled
                .bound
                .get(address)
                .is_some_and(|entry| wanted(entry) && Arc::ptr_eq(&accepting.sockets, &entry.sockets))
        });
    }

    /// Its sockets once more, for another process.
    pub(crate) fn share(&self) -> std::io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let all = self.0.iter();
        all.flat_map(|(address, accepting)| accepting.loops.iter().map(move |(socket, _)| (address, socket)))
            .map(|(address, socket)| Ok((*address, socket.as_fd().try_clone_to_owned()?)))
            .collect()
    }
}

async fn accept(worker: Rc<Worker>, address: SocketAddr, socket: Rc<TcpListener>) {
    loop {
        while crate::overload::is_full() {
            worker.reap_idle();
            tokio::time::sleep(FULL_PAUSE).await;
        }
        match socket.accept().await {
            Ok((stream, remote)) => {
                let entry = worker
                    .view()
                    .and_then(|v| v.compiled.bound.get(&address).cloned());
                if let Some(entry) = entry {
                    let registered = worker.register();
                    tokio::task::spawn_local(serve(Rc::clone(&worker), entry, stream, remote, registered));
                }
            }
            Err(error) => {
                // Whatever it is, the loop goes on: a proxy that stops accepting is down.
                tracing::warn!(%address, %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection after its transport is settled.
pub(crate) struct Accepted {
    /// Its worker.
    pub(crate) worker: Rc<Worker>,
    /// Timer and drain.
    pub(crate) registered: Registered,
    /// Listener's name.
    pub(crate) listener: String,
    /// Chain that serves it.
    pub(crate) chain: Arc<ChainEntry>,
    /// Bytes.
    pub(crate) wire: Wire,
    /// What was known when the chain was chosen.
    pub(crate) hello: Hello,
    /// What the client's certificate proved.
    pub(crate) peer: Option<ProvenPeer>,
    /// ALPN agreed on.
    pub(crate) protocol: Option<Vec<u8>>,
    /// Where the client connected to.
    pub(crate) local: SocketAddr,
    /// The client.
    pub(crate) remote: SocketAddr,
    /// Port that the client meant, when it came through the HTTP proxy port.
    pub(crate) captured: Option<u16>,
}

/// A connection before anything is known of it.
struct Arrived {
    worker: Rc<Worker>,
    entry: Arc<ListenerEntry>,
    socket: TcpStream,
    /// Bytes already read.
    read: Vec<u8>,
    local: SocketAddr,
    remote: SocketAddr,
    registered: Registered,
    captured: Option<u16>,
    /// Serves what turns out to be TLS.
    not_http: Option<Arc<ListenerEntry>>,
}

async fn serve(
    worker: Rc<Worker>,
    entry: Arc<ListenerEntry>,
    socket: TcpStream,
    remote: SocketAddr,
    registered: Registered,
) {
    let bound = entry.listener.address;
    // A socket bound to one address is reached by no other.
    let local = if bound.ip().is_unspecified() || bound.port() == 0 {
        socket.local_addr().unwrap_or(bound)
    } else {
        bound
    };
    let arrived = Arrived {
        worker,
        entry,
        socket,
        read: Vec::new(),
        local,
        remote,
        registered,
        captured: None,
        not_http: None,
    };
    serve_arrived(arrived).await;
}

async fn serve_arrived(arrived: Arrived) {
    let Arrived {
        worker,
        mut entry,
        mut socket,
        read,
        local,
        remote,
        registered,
        captured,
        not_http,
    } = arrived;
    let (hello, read) = if entry.needs_detection || not_http.is_some() {
        let edge = worker.node.kind == NodeKind::Edge;
        let limit = entry
            .listener
            .detection_timeout
            .or(edge.then_some(HANDSHAKE_LIMIT));
        match crate::detect::detect(&mut socket, read, limit).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(listener = %entry.listener.name, %remote, %error, "nothing detected");
                return;
            }
        }
    } else {
        (Hello::default(), read)
    };
    if let Some(other) = not_http.filter(|_| hello.tls) {
        entry = other;
    }
    let Some(chain) = entry.chain(&hello, local).cloned() else {
        tracing::debug!(listener = %entry.listener.name, %remote, ?hello, "filter_chain_not_found");
        return;
    };
    let (wire, peer, protocol) = match &chain.tls {
        None => (Wire::new(Stream::Tcp(socket), read), None, None),
        Some(Err(reason)) => {
            tracing::debug!(listener = %entry.listener.name, %reason, "no TLS context yet");
            return;
        }
        Some(Ok(context)) => {
            match crate::secure::terminate(Arc::clone(context), read, socket, HANDSHAKE_LIMIT).await {
                Ok(tls) => {
                    let session = tls.get_ref().1;
                    let peer = session.peer_certificates().and_then(ProvenPeer::of);
                    let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
                    (
                        Wire::new(Stream::Server(Box::new(tls)), Vec::new()),
                        peer,
                        protocol,
                    )
                }
                Err(error) => {
                    tracing::debug!(listener = %entry.listener.name, %remote, %error, "TLS handshake failed");
                    return;
                }
            }
        }
    };
    let accepted = Accepted {
        worker,
        registered,
        listener: entry.listener.name.clone(),
        wire,
        hello,
        peer,
        protocol,
        local,
        remote,
        captured,
        chain: Arc::clone(&chain),
    };
    match &chain.service {
        Service::Http(_) => crate::http::serve(accepted).await,
        Service::Tcp(tcp) => {
            let tcp = Arc::clone(tcp);
            crate::relay::serve(accepted, &tcp).await;
        }
    }
}
