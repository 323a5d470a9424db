//! One worker: a thread with its own runtime, listeners, pools and counters.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use mesh_model::listener::Direction;
use slab::Slab;
use tokio::sync::watch;

use crate::access_log::LogBuffers;
use crate::codec::head::{Request, Response};
use crate::compile::{ClusterEntry, Compiled, EndpointEntry};
use crate::dial::Pools;
use crate::metadata::Peers;
use crate::overload::Opened;
use crate::record::{Recorder, Records};
use crate::runtime::Node;
use crate::secure::TlsContexts;
use crate::stats::{Registry, WordHasher, WorkerStats};

/// What the runtime wants of its workers; always the newest state, never a queue.
#[derive(Clone, Default)]
pub(crate) struct Desired {
    /// Configuration.
    pub(crate) compiled: Option<Arc<Compiled>>,
    /// How far inbound listeners are drained.
    pub(crate) inbound: Drain,
    /// How far all listeners are drained.
    pub(crate) all: Drain,
    /// The worker ends when its last connection has, but not later than this.
    pub(crate) stop_by: Option<Instant>,
    /// Another process asks for the listening sockets: each worker sends its own, once or more.
    pub(crate) share: Option<SyncSender<Shared>>,
}

/// Listening sockets of one worker, for another process.
pub(crate) struct Shared {
    /// Which worker.
    pub(crate) worker: usize,
    /// Its sockets by address, or why they cannot be shared.
    pub(crate) sockets: std::io::Result<Vec<(std::net::SocketAddr, std::os::fd::OwnedFd)>>,
}

/// How far a listener is drained.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) enum Drain {
    /// Not.
    #[default]
    Serving,
    /// Connections are accepted; answers ask clients to leave.
    Graceful,
    /// Another process accepts; answers ask clients to leave; idle connections wait for their next request.
    Handed,
    /// Connections are not accepted any more.
    Closed,
}

/// Configuration as this worker sees it.
pub(crate) struct View {
    /// The compiled snapshot.
    pub(crate) compiled: Arc<Compiled>,
}

type ByCluster<T> = RefCell<HashMap<u32, T, BuildHasherDefault<WordHasher>>>;

/// State of one worker; used by its thread only.
pub(crate) struct Worker {
    /// Position among the workers.
    pub(crate) index: usize,
    /// Who this proxy is.
    pub(crate) node: Arc<Node>,
    /// TLS material.
    pub(crate) tls: Arc<dyn TlsContexts>,
    /// `x-envoy-peer-metadata` of this proxy; empty = no exchange.
    pub(crate) metadata: Vec<u8>,
    /// Counters.
    pub(crate) stats: WorkerStats,
    /// Single requests.
    pub(crate) recorder: Rc<Recorder>,
    /// Upstream connections.
    pub(crate) pools: Pools,
    /// Access log lines.
    pub(crate) logs: LogBuffers,
    /// Peers met.
    pub(crate) peers: RefCell<Peers>,
    /// Round-robin positions by cluster.
    pub(crate) turns: ByCluster<Vec<i64>>,
    dynamic: RefCell<HashMap<(u32, std::net::SocketAddr), Arc<EndpointEntry>>>,
    view: RefCell<Option<Rc<View>>>,
    heads: RefCell<Vec<Heads>>,
    random: Cell<u64>,
    inbound: Cell<Drain>,
    all: Cell<Drain>,
    connections: RefCell<Slab<Rc<Connection>>>,
    inbound_open: Arc<AtomicUsize>,
    date: RefCell<(u64, [u8; 29])>,
    clock: Cell<(Instant, SystemTime)>,
}

/// The two heads of a request, reused.
#[derive(Default)]
pub(crate) struct Heads {
    /// Request.
    pub(crate) request: Box<Request>,
    /// Response.
    pub(crate) response: Box<Response>,
}

/// One downstream connection as the worker's timer and drain see it.
#[derive(Default)]
pub(crate) struct Connection {
    waker: RefCell<Option<Waker>>,
    deadline: Cell<Option<Instant>>,
    idle: Cell<bool>,
    unwanted: Cell<bool>,
}

/// Takes a connection off the books when it ends.
pub(crate) struct Registered {
    worker: Rc<Worker>,
    key: usize,
    _opened: Opened,
    _inbound: Option<InboundOpen>,
    /// The connection.
    pub(crate) connection: Rc<Connection>,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.worker.connections.borrow_mut().try_remove(self.key);
    }
}

/// A connection towards the application.
struct InboundOpen(Arc<AtomicUsize>);

impl InboundOpen {
    fn new(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(counter))
    }
}

impl Drop for InboundOpen {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Connection {
    /// Until when the connection may wait for what it waits for.
    pub(crate) fn set_deadline(&self, deadline: Option<Instant>) {
        self.deadline.set(deadline);
    }

    /// Remembers whom to wake at the deadline or at a drain; ready when the deadline has passed.
    pub(crate) fn poll_deadline(&self, cx: &Context<'_>) -> Poll<()> {
        if self
            .deadline
            .get()
            .is_some_and(|deadline| Instant::now() >= deadline)
        {
            return Poll::Ready(());
        }
        let mut waker = self.waker.borrow_mut();
        if !waker.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// It waits for its next request, or does not.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    /// Its room is needed: it should end when it is idle.
    #[must_use]
    pub(crate) fn is_unwanted(&self) -> bool {
        self.unwanted.get()
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

impl Worker {
    /// A worker before its first configuration.
    pub(crate) fn new(
        index: usize,
        node: Arc<Node>,
        tls: Arc<dyn TlsContexts>,
        registry: Registry,
        records: Records,
        workers: usize,
        inbound_open: Arc<AtomicUsize>,
    ) -> Rc<Self> {
        let metadata = if node.peer_metadata.is_empty() {
            Vec::new()
        } else {
            crate::metadata::encode_header(&node.peer_metadata).into_bytes()
        };
        Rc::new(Self {
            index,
            recorder: Rc::new(Recorder::new(records, Arc::clone(&node), workers)),
            node,
            tls,
            metadata,
            stats: WorkerStats::new(registry),
            pools: Pools::default(),
            logs: LogBuffers::default(),
            peers: RefCell::default(),
            turns: RefCell::default(),
            dynamic: RefCell::default(),
            view: RefCell::new(None),
            heads: RefCell::default(),
            random: Cell::new(rand::random::<u64>() | 1),
            inbound: Cell::default(),
            all: Cell::default(),
            connections: RefCell::default(),
            inbound_open,
            date: RefCell::new((0, [0; 29])),
            clock: Cell::new((Instant::now(), SystemTime::now())),
        })
    }

    /// The configuration in force.
    #[must_use]
    pub(crate) fn view(&self) -> Option<Rc<View>> {
        self.view.borrow().clone()
    }

    /// A fast random number (not for secrets).
    pub(crate) fn random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// An endpoint that was asked for by address; the same one each time, so that its connections are pooled.
    pub(crate) fn dynamic_endpoint(
        &self,
        cluster: &ClusterEntry,
        address: std::net::SocketAddr,
    ) -> Arc<EndpointEntry> {
        let mut known = self.dynamic.borrow_mut();
        if known.len() > 1000 {
            known.clear();
        }
        Arc::clone(
            known
                .entry((cluster.id, address))
                .or_insert_with(|| cluster.dynamic_endpoint(address)),
        )
    }

    /// Heads for one request.
    pub(crate) fn take_heads(&self) -> Heads {
        self.heads.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives heads back.
    pub(crate) fn give_heads(&self, mut heads: Heads) {
        heads.request.fields.clear();
        heads.response.fields.clear();
        let mut spare = self.heads.borrow_mut();
        if spare.len() < 64 {
            spare.push(heads);
        }
    }

    /// How far connections of this direction are drained.
    #[must_use]
    pub(crate) fn drain(&self, direction: Direction) -> Drain {
        let all = self.all.get();
        if direction == Direction::Inbound {
            all.max(self.inbound.get())
        } else {
            all
        }
    }

    /// Puts a connection on the books.
    pub(crate) fn register(self: &Rc<Self>, direction: Direction) -> Registered {
        let connection = Rc::new(Connection::default());
        let key = self.connections.borrow_mut().insert(Rc::clone(&connection));
        Registered {
            worker: Rc::clone(self),
            key,
            _opened: Opened::new(),
            _inbound: (direction == Direction::Inbound).then(|| InboundOpen::new(&self.inbound_open)),
            connection,
        }
    }

    /// Wall clock of a moment.
    #[must_use]
    pub(crate) fn wall(&self, at: Instant) -> SystemTime {
        let (instant, wall) = self.clock.get();
        match at.checked_duration_since(instant) {
            Some(later) => wall + later,
            None => wall - instant.saturating_duration_since(at),
        }
    }

    /// Calls `f` with the `date` header's value.
    pub(crate) fn with_date<T>(&self, f: impl FnOnce(&[u8]) -> T) -> T {
        let seconds = self
            .wall(Instant::now())
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| d.as_secs());
        let mut date = self.date.borrow_mut();
        if date.0 != seconds {
            *date = (seconds, http_date(seconds));
        }
        f(&date.1)
    }

    fn adopt(&self, desired: &Desired) {
        if let Some(compiled) = &desired.compiled {
            let same = self
                .view
                .borrow()
                .as_ref()
                .is_some_and(|view| Arc::ptr_eq(&view.compiled, compiled));
            if !same {
                *self.view.borrow_mut() = Some(Rc::new(View {
                    compiled: Arc::clone(compiled),
                }));
                self.pools.retain(compiled);
                self.recorder.forget_routes();
                self.dynamic.borrow_mut().clear();
            }
        }
        self.inbound.set(desired.inbound);
        self.all.set(desired.all);
    }

    /// Ends some idle connections, to make room for others.
    pub(crate) fn reap_idle(&self) {
        const AT_ONCE: usize = 16;
        let idle: Vec<_> = self
            .connections
            .borrow()
            .iter()
            .filter(|(_, connection)| connection.idle.get() && !connection.unwanted.get())
            .take(AT_ONCE)
            .map(|(_, connection)| Rc::clone(connection))
            .collect();
        for connection in idle {
            connection.unwanted.set(true);
            connection.wake();
        }
    }

    fn wake_connections(&self) {
        let all: Vec<_> = self
            .connections
            .borrow()
            .iter()
            .map(|(_, c)| Rc::clone(c))
            .collect();
        for connection in all {
            connection.wake();
        }
    }

    /// Wakes connections whose deadline has passed.
    fn sweep(&self) {
        let now = Instant::now();
        // The wall clock may have been set since.
        self.clock.set((now, SystemTime::now()));
        let due: Vec<_> = self
            .connections
            .borrow()
            .iter()
            .filter(|(_, c)| c.deadline.get().is_some_and(|deadline| now >= deadline))
            .map(|(_, c)| Rc::clone(c))
            .collect();
        for connection in due {
            connection.wake();
        }
        self.pools.sweep(now);
        self.recorder.sweep(now);
        self.logs.flush();
        crate::wire::trim_spare();
    }
}

/// Runs until told to stop and the last connection has ended.
pub(crate) async fn run(worker: Rc<Worker>, mut desired: watch::Receiver<Desired>) {
    let publisher = tokio::task::spawn_local({
        let worker = Rc::clone(&worker);
        async move { worker.stats.run().await }
    });
    let sweeper = tokio::task::spawn_local({
        let worker = Rc::clone(&worker);
        async move {
            let mut tick = tokio::time::interval(Duration::from_millis(500));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                worker.sweep();
            }
        }
    });
    let answerer = tokio::task::spawn_local({
        let (worker, recorder) = (Rc::clone(&worker), Rc::clone(&worker.recorder));
        recorder.follow(move |at| worker.wall(at))
    });
    let mut listeners = crate::accept::Listeners::default();
    loop {
        let now = desired.borrow_and_update().clone();
        worker.adopt(&now);
        listeners.reconcile(&worker, &now);
        worker.wake_connections();
        if let Some(share) = &now.share {
            let sockets = listeners.share();
            // Nobody waits any more: fine.
            let _ = share.try_send(Shared {
                worker: worker.index,
                sockets,
            });
        }
        if let Some(stop_by) = now.stop_by {
            drain(&worker, stop_by).await;
            break;
        }
        if desired.changed().await.is_err() {
            break;
        }
    }
    publisher.abort();
    sweeper.abort();
    answerer.abort();
    worker.stats.publish();
    worker.logs.flush();
}

async fn drain(worker: &Worker, stop_by: Instant) {
    while !worker.connections.borrow().is_empty() && Instant::now() < stop_by {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if worker.all.get() == Drain::Closed {
            worker.wake_connections();
        }
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(seconds: u64) -> [u8; 29] {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let days = seconds / 86_400;
    let (year, month, day) = crate::access_log::civil_date(days);
    let name =
        |names: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| names.get(at)).copied();
    let text = format!(
        "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
        name(&DAYS, days % 7).unwrap_or_default(),
        name(&MONTHS, month - 1).unwrap_or_default(),
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    );
    let mut date = [b' '; 29];
    for (slot, byte) in date.iter_mut().zip(text.bytes()) {
        *slot = byte;
    }
    date
}
