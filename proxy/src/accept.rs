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
mod original;

pub(crate) use capture::open as open_tunnel;

use crate::compile::{ChainEntry, Compiled, Hello, ListenerEntry, Service, Sockets};
use crate::detect::{Heard, detect};
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
                let Some(view) = worker.view() else { continue };
                if let Some(entry) = view.compiled.bound.get(&address) {
                    let arrived = arrive(&worker, &view.compiled, entry, stream, remote);
                    tokio::task::spawn_local(serve_arrived(arrived));
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
    /// Where it was going when the kernel captured it.
    pub(crate) destination: Option<Destination>,
    /// The client said nothing: as soon as it does, this listener has to judge again.
    pub(crate) undecided: Option<Arc<ListenerEntry>>,
}

/// Where a captured connection was going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destination {
    /// There.
    At(SocketAddr),
    /// To the capturing port itself: what goes on to there comes back.
    Here,
}

impl Destination {
    /// Where a connection that goes on to it has to go.
    pub(crate) fn address(self) -> Option<SocketAddr> {
        match self {
            Self::At(address) => Some(address),
            Self::Here => None,
        }
    }
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
    destination: Option<Destination>,
    /// Serves what turns out to be TLS.
    not_http: Option<Arc<ListenerEntry>>,
}

fn arrive(
    worker: &Rc<Worker>,
    compiled: &Compiled,
    entry: &Arc<ListenerEntry>,
    socket: TcpStream,
    remote: SocketAddr,
) -> Arrived {
    let bound = entry.listener.address;
    // A socket bound to one address is reached by no other.
    let mut local = if bound.ip().is_unspecified() || bound.port() == 0 {
        canonical(socket.local_addr().unwrap_or(bound))
    } else {
        bound
    };
    let mut entry = entry;
    let mut destination = None;
    if entry.listener.capture.original_destination {
        let (found, address) = original::destination(&socket, local, bound.port());
        destination = Some(found);
        local = address;
        if entry.listener.capture.hand_off
            && let Some(address) = found.address()
            && let Some(behind) = compiled.behind(address)
        {
            entry = behind;
        }
    }
    Arrived {
        worker: Rc::clone(worker),
        entry: Arc::clone(entry),
        socket,
        read: Vec::new(),
        local,
        remote: canonical(remote),
        registered: worker.register(entry.listener.direction),
        captured: None,
        destination,
        not_http: None,
    }
}

/// IPv4 comes to IPv6 sockets in a wrapping.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn serve_arrived(mut arrived: Arrived) {
    // A client that was silent at first and then spoke something unexpected comes round a second time.
    while let Some(again) = serve_once(arrived).await {
        arrived = again;
    }
}

/// What was found out about a client.
enum Listened {
    Speech(Hello, Vec<u8>),
    /// It said nothing in time, and may be waiting for a server that this chain knows.
    Silence,
}

async fn listen(
    entry: &ListenerEntry,
    socket: &mut TcpStream,
    read: Vec<u8>,
    local: SocketAddr,
    is_edge: bool,
) -> std::io::Result<Listened> {
    let limit = entry
        .listener
        .detection_timeout
        .or(is_edge.then_some(HANDSHAKE_LIMIT));
    if let Heard::Speech(hello, read) = detect(socket, read, limit).await? {
        return Ok(Listened::Speech(hello, read));
    }
    let plain_tcp = |chain: &Arc<ChainEntry>| chain.tls.is_none() && matches!(chain.service, Service::Tcp(_));
    if entry.chain(&Hello::default(), local).is_some_and(plain_tcp) {
        return Ok(Listened::Silence);
    }
    // Nobody here speaks before the client does.
    let limit = is_edge.then_some(HANDSHAKE_LIMIT);
    match detect(socket, Vec::new(), limit).await? {
        Heard::Speech(hello, read) => Ok(Listened::Speech(hello, read)),
        Heard::Silence => Err(std::io::ErrorKind::TimedOut.into()),
    }
}

async fn serve_once(arrived: Arrived) -> Option<Arrived> {
    let Arrived {
        worker,
        mut entry,
        mut socket,
        read,
        local,
        remote,
        registered,
        captured,
        destination,
        not_http,
    } = arrived;
    let mut undecided = None;
    let (hello, read) = if entry.needs_detection || not_http.is_some() {
        let is_edge = worker.node.kind == NodeKind::Edge;
        match listen(&entry, &mut socket, read, local, is_edge).await {
            Ok(Listened::Speech(hello, read)) => (hello, read),
            Ok(Listened::Silence) => {
                undecided = Some(Arc::clone(&entry));
                (Hello::default(), Vec::new())
            }
            Err(error) => {
                tracing::debug!(listener = %entry.listener.name, %remote, %error, "nothing detected");
                return None;
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
        return None;
    };
    let (wire, peer, protocol) = secure(&entry, &chain, read, socket, remote).await?;
    let accepted = Accepted {
        worker: Rc::clone(&worker),
        registered,
        listener: entry.listener.name.clone(),
        wire,
        hello,
        peer,
        protocol,
        local,
        remote,
        captured,
        destination,
        undecided,
        chain: Arc::clone(&chain),
    };
    match &chain.service {
        Service::Http(_) => crate::http::serve(accepted).await,
        Service::Tcp(tcp) => {
            let tcp = Arc::clone(tcp);
            if let Some((socket, read)) = crate::relay::serve(accepted, &tcp).await {
                return Some(Arrived {
                    registered: worker.register(entry.listener.direction),
                    worker,
                    entry,
                    socket,
                    read,
                    local,
                    remote,
                    captured,
                    destination,
                    not_http: None,
                });
            }
        }
    }
    None
}

type Secured = (Wire, Option<ProvenPeer>, Option<Vec<u8>>);

/// Terminates TLS where the chain does.
async fn secure(
    entry: &ListenerEntry,
    chain: &ChainEntry,
    read: Vec<u8>,
    socket: TcpStream,
    remote: SocketAddr,
) -> Option<Secured> {
    let context = match &chain.tls {
        None => return Some((Wire::new(Stream::Tcp(socket), read), None, None)),
        Some(Err(reason)) => {
            tracing::debug!(listener = %entry.listener.name, %reason, "no TLS context yet");
            return None;
        }
        Some(Ok(context)) => context,
    };
    match crate::secure::terminate(Arc::clone(context), read, socket, HANDSHAKE_LIMIT).await {
        Ok(tls) => {
            let session = tls.get_ref().1;
            let peer = session.peer_certificates().and_then(ProvenPeer::of);
            let protocol = session.alpn_protocol().map(<[u8]>::to_vec);
            let wire = Wire::new(Stream::Server(Box::new(tls)), Vec::new());
            Some((wire, peer, protocol))
        }
        Err(error) => {
            tracing::debug!(listener = %entry.listener.name, %remote, %error, "TLS handshake failed");
            None
        }
    }
}
