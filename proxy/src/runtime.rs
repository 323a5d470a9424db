//! The data plane as one object: workers, the configuration in force, draining.
//!
//! `apply` is the only way in for configuration: it checks and compiles a whole snapshot off the request path, binds
//! what is new, and only then hands it to the workers, so that a refused snapshot changes nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use mesh_model::listener::{Capture, ConnectionService, Direction};
use mesh_model::names::NameTable;
use mesh_model::snapshot::Snapshot;
use mesh_model::workload::Workload;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::sync::watch;

use crate::access_log::LogSinks;
use crate::compile::{Compiled, EndpointEntry, ListenerEntry, compile};
use crate::exposition::View;
use crate::record::Records;
use crate::secure::TlsContexts;
use crate::stats::Registry;
use crate::worker::{self, Desired, Drain, Worker};

/// What kind of node this is: decides how strict it is towards its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// Beside one application: Istio's defaults wherever a well-behaved client can see the difference.
    Sidecar,
    /// Gateways and static files: strict.
    Edge,
}

impl NodeKind {
    /// `sidecar~…` is a sidecar; everything else is an edge.
    #[must_use]
    pub fn of_node_id(id: &str) -> Self {
        if id.starts_with("sidecar~") {
            Self::Sidecar
        } else {
            Self::Edge
        }
    }
}

/// Who this proxy is, for telemetry and metadata exchange.
#[derive(Debug, Clone)]
pub struct Node {
    /// `sidecar~ip~pod.ns~ns.svc.cluster.local`.
    pub id: String,
    /// Sidecar or edge.
    pub kind: NodeKind,
    /// The workload it serves, as metrics name it.
    pub workload: Workload,
    /// Istio's peer metadata of this workload (serialised `google.protobuf.Struct`), sent base64-encoded to peers in
    /// the mesh; empty = no metadata exchange.
    pub peer_metadata: Vec<u8>,
}

/// How to run the data plane.
#[derive(Clone)]
pub struct RuntimeConfig {
    /// Who this proxy is.
    pub node: Node,
    /// Number of workers; 0 means one per available core.
    pub concurrency: usize,
    /// How long connections may finish their work after `drain` or when their listener goes.
    pub drain_time: Duration,
    /// TLS contexts made from the workload identity and from secrets.
    pub tls: Arc<dyn TlsContexts>,
}

/// A resource that was refused, and why; its whole snapshot was not applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Kind and name, for example `listener 0.0.0.0_80`.
    pub resource: String,
    /// Reason with field and remedy.
    pub reason: String,
}

/// State of one listener, for `/listeners`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenerState {
    /// Name.
    pub name: String,
    /// Address.
    pub address: SocketAddr,
}

/// State of one endpoint, for `/clusters`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointState {
    /// Cluster name.
    pub cluster: String,
    /// Address.
    pub address: SocketAddr,
    /// As discovery says.
    pub healthy: bool,
    /// Taken out by outlier detection at the moment.
    pub ejected: bool,
    /// Weight.
    pub weight: u32,
    /// Priority.
    pub priority: u32,
    /// Locality.
    pub locality: String,
    /// Requests in flight.
    pub requests_active: u64,
    /// Requests sent.
    pub requests_total: u64,
    /// Requests that ended in a 5xx or a reset.
    pub requests_error: u64,
    /// Connections open.
    pub connections_active: u64,
    /// Connections tried.
    pub connections_total: u64,
    /// Connections that failed.
    pub connections_failed: u64,
}

/// The running data plane. Cheap to clone.
#[derive(Clone)]
pub struct Runtime(Arc<Shared>);

struct Shared {
    config: RuntimeConfig,
    workers: usize,
    registry: Registry,
    records: Records,
    logs: LogSinks,
    desired: watch::Sender<Desired>,
    /// The one owner of configuration: whoever holds it may change what is desired.
    compiled: Mutex<Option<Arc<Compiled>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Connections towards the application that are open.
    inbound_open: Arc<AtomicUsize>,
    /// Sockets of the process before this one, by address, until a listener takes them.
    inherited: Mutex<HashMap<SocketAddr, Vec<std::net::TcpListener>>>,
}

/// Between two looks at whether the last connection towards the application has ended.
const INBOUND_LOOK: Duration = Duration::from_millis(5);
/// How long workers may take to share their sockets.
const SHARE_LIMIT: Duration = Duration::from_secs(5);
/// How long an address may still be held by our own listener that was just removed.
const REBIND_LIMIT: Duration = Duration::from_millis(500);

impl Runtime {
    /// Starts the workers; nothing listens until the first [`Runtime::apply`].
    pub fn start(config: RuntimeConfig) -> std::io::Result<Self> {
        let workers = match config.concurrency {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            given => given,
        };
        let (desired, _) = watch::channel(Desired::default());
        let (registry, records) = (Registry::default(), Records::default());
        let node = Arc::new(config.node.clone());
        let inbound_open = Arc::new(AtomicUsize::new(0));
        let mut threads = Vec::with_capacity(workers + 1);
        for index in 0..workers {
            let (node, tls) = (Arc::clone(&node), Arc::clone(&config.tls));
            let (registry, records) = (registry.clone(), records.clone());
            let wanted = desired.subscribe();
            let inbound = Arc::clone(&inbound_open);
            threads.push(spawn(format!("worker-{index}"), move || async move {
                let worker = Worker::new(index, node, tls, registry, records, workers, inbound);
                worker::run(worker, wanted).await;
            })?);
        }
        let wanted = desired.subscribe();
        threads.push(spawn("endpoints".into(), move || crate::resolve::run(wanted))?);
        Ok(Self(Arc::new(Shared {
            config,
            workers,
            registry,
            records,
            logs: LogSinks::default(),
            desired,
            compiled: Mutex::new(None),
            threads: Mutex::new(threads),
            inbound_open,
            inherited: Mutex::default(),
        })))
    }

    /// Listeners take these sockets of the process before instead of binding their addresses anew.
    pub fn inherit(&self, sockets: Vec<(SocketAddr, std::net::TcpListener)>) {
        let mut inherited = self.0.inherited.lock();
        for (address, socket) in sockets {
            inherited.entry(address).or_default().push(socket);
        }
    }

    /// Closes the sockets of the process before that no listener has taken.
    pub fn forget_inherited(&self) {
        self.0.inherited.lock().clear();
    }

    /// Every listening socket once more, for the process after this one. Waits for the workers: not on an async thread.
    pub fn share_sockets(&self) -> std::io::Result<Vec<(SocketAddr, std::os::fd::OwnedFd)>> {
        // A worker may answer more than once.
        let (sender, answers) = std::sync::mpsc::sync_channel(self.0.workers * 16);
        self.0.desired.send_modify(|desired| desired.share = Some(sender));
        let began = Instant::now();
        let mut answered: HashMap<usize, Vec<_>> = HashMap::new();
        while answered.len() < self.0.workers {
            let left = SHARE_LIMIT.saturating_sub(began.elapsed());
            let answer = answers
                .recv_timeout(left)
                .map_err(|_| std::io::Error::other("a worker did not share its sockets"))?;
            answered.insert(answer.worker, answer.sockets?);
        }
        self.0.desired.send_modify(|desired| desired.share = None);
        Ok(answered.into_values().flatten().collect())
    }

    /// Another process accepts now: no connection is accepted any more, running requests end normally, idle
    /// connections wait for their next request, which is told to leave. Ends when the last connection has, after
    /// `limit` at most. Counters are complete then.
    pub async fn leave(&self, limit: Duration) {
        self.end(Drain::Handed, limit).await;
    }

    /// Checks and compiles `snapshot`, binds new listeners, then swaps it in on every worker. On refusal everything
    /// stays as it was.
    pub fn apply(&self, snapshot: Arc<Snapshot>) -> Result<(), Vec<Refused>> {
        self.compile_and_swap(snapshot, true)
    }

    /// Makes all TLS contexts anew after a certificate or secret changed. Live connections stay.
    pub fn refresh_tls(&self) {
        let snapshot = self.0.compiled.lock().as_ref().map(|c| Arc::clone(&c.snapshot));
        if let Some(snapshot) = snapshot
            && let Err(refused) = self.compile_and_swap(snapshot, false)
        {
            tracing::warn!(?refused, "TLS contexts stay as they were");
        }
    }

    fn compile_and_swap(&self, snapshot: Arc<Snapshot>, keep_tls: bool) -> Result<(), Vec<Refused>> {
        let shared = &*self.0;
        let mut current = shared.compiled.lock();
        let compiled = compile(
            snapshot,
            current.as_deref(),
            &*shared.config.tls,
            &shared.logs,
            keep_tls,
        )?;
        for entry in compiled.bound.values() {
            let inherited = shared.inherited.lock().remove(&entry.listener.address);
            bind(entry, shared.workers, inherited)?;
        }
        let compiled = Arc::new(compiled);
        *current = Some(Arc::clone(&compiled));
        shared
            .desired
            .send_modify(|desired| desired.compiled = Some(compiled));
        Ok(())
    }

    /// Counters.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Kept requests and spans.
    #[must_use]
    pub fn records(&self) -> &Records {
        &self.0.records
    }

    /// Access log lines that were dropped because a writer did not keep up.
    #[must_use]
    pub fn dropped_log_lines(&self) -> u64 {
        self.0.logs.dropped()
    }

    /// Revision in force, if any.
    #[must_use]
    pub fn revision(&self) -> Option<String> {
        let compiled = self.0.compiled.lock();
        compiled.as_ref().map(|c| c.snapshot.revision.clone())
    }

    /// How metrics are shown, as the first listener of each side that says it has it.
    #[must_use]
    pub fn view(&self) -> View {
        let compiled = self.0.compiled.lock();
        let mut view = View::default();
        for listener in compiled.iter().flat_map(|c| c.snapshot.listeners.values()) {
            let side = match listener.direction {
                Direction::Inbound => &mut view.server,
                Direction::Outbound | Direction::Unspecified => &mut view.client,
            };
            let rules = listener.chains.iter().find_map(|chain| match &chain.service {
                ConnectionService::Http(http) if !http.metrics.is_empty() => Some(&http.metrics),
                _ => None,
            });
            if side.is_empty() {
                side.extend(rules.into_iter().flatten().cloned());
            }
        }
        view
    }

    /// What captured lookups are answered; `None` until it is known, or when nothing is answered.
    #[must_use]
    pub fn names(&self) -> Option<Arc<NameTable>> {
        let compiled = self.0.compiled.lock();
        compiled
            .iter()
            .flat_map(|c| c.bound.values())
            .find_map(|entry| entry.listener.capture.names.clone())
    }

    /// Bound listeners.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerState> {
        let compiled = self.0.compiled.lock();
        compiled
            .iter()
            .flat_map(|c| c.bound.values())
            .map(|entry| ListenerState {
                name: entry.listener.name.clone(),
                address: entry.listener.address,
            })
            .collect()
    }

    /// Endpoints of all clusters, by cluster name.
    #[must_use]
    pub fn endpoints_state(&self) -> Vec<EndpointState> {
        let compiled = self.0.compiled.lock();
        let mut states: Vec<_> = compiled
            .iter()
            .flat_map(|c| c.clusters.values())
            .flat_map(|cluster| {
                let set = cluster.endpoints.load();
                set.all
                    .iter()
                    .map(|entry| endpoint_state(&cluster.config.name, entry))
                    .collect::<Vec<_>>()
            })
            .collect();
        states.sort_by(|a, b| (&a.cluster, a.address).cmp(&(&b.cluster, b.address)));
        states
    }

    /// What the proxy would do with a request now; `None` before the first configuration.
    #[must_use]
    pub fn explain(&self, question: &mesh_model::explain::Question) -> Option<mesh_model::explain::Answer> {
        let compiled = self.0.compiled.lock().clone()?;
        Some(crate::explain::explain(&compiled, question))
    }

    /// Who this proxy is.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.0.config.node
    }

    /// Istio's `/drain_listeners`: with `graceful`, connections are still accepted and answers say
    /// `connection: close`; without, listeners close at once. Running requests end normally in both.
    pub fn drain(&self, inbound_only: bool, graceful: bool) {
        let how = if graceful { Drain::Graceful } else { Drain::Closed };
        self.0.desired.send_modify(|desired| {
            let drained = if inbound_only {
                &mut desired.inbound
            } else {
                &mut desired.all
            };
            *drained = how.max(*drained);
        });
    }

    /// Drains everything, waits for the last request for at most `drain_time`, ends the workers. Counters are
    /// complete when this returns.
    ///
    /// What an application still answers may need others: its own calls are served until the last connection towards
    /// it has ended.
    pub async fn shutdown(&self, drain_time: Duration) {
        let deadline = Instant::now() + drain_time;
        self.drain(true, false);
        while self.0.inbound_open.load(Ordering::Relaxed) > 0 && Instant::now() < deadline {
            tokio::time::sleep(INBOUND_LOOK).await;
        }
        self.end(Drain::Closed, deadline.saturating_duration_since(Instant::now()))
            .await;
    }

    async fn end(&self, how: Drain, limit: Duration) {
        self.0.desired.send_modify(|desired| {
            desired.all = how.max(desired.all);
            desired.stop_by = Some(Instant::now() + limit);
        });
        let threads = std::mem::take(&mut *self.0.threads.lock());
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a worker ended by a panic");
                }
            }
        });
        // The blocking task itself does not panic.
        let _ = joined.await;
    }
}

fn spawn<F, Fut>(name: String, run: F) -> std::io::Result<JoinHandle<()>>
where
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::Builder::new().name(name).spawn(move || {
        let tasks = tokio::task::LocalSet::new();
        tasks.block_on(&runtime, run());
        // What did not end in time is dropped here, and counted while it is.
        drop(tasks);
    })
}

fn endpoint_state(cluster: &str, entry: &EndpointEntry) -> EndpointState {
    use std::sync::atomic::Ordering::Relaxed;
    let counters = &entry.counters;
    EndpointState {
        cluster: cluster.to_owned(),
        address: entry.endpoint.address,
        healthy: entry.endpoint.healthy,
        ejected: entry.is_ejected(),
        weight: entry.endpoint.weight,
        priority: entry.endpoint.priority,
        locality: entry.endpoint.locality.clone(),
        requests_active: u64::from(counters.active.load(Relaxed)),
        requests_total: counters.requests.load(Relaxed),
        requests_error: counters.errors.load(Relaxed),
        connections_active: u64::from(counters.connections.load(Relaxed)),
        connections_total: counters.connections_total.load(Relaxed),
        connections_failed: counters.connections_failed.load(Relaxed),
    }
}

/// Binds one socket per worker, unless the address is bound already.
fn bind(
    entry: &ListenerEntry,
    workers: usize,
    inherited: Option<Vec<std::net::TcpListener>>,
) -> Result<(), Vec<Refused>> {
    let mut sockets = entry.sockets.0.lock();
    if !sockets.is_empty() {
        return Ok(());
    }
    let address = entry.listener.address;
    let began = Instant::now();
    let bound = loop {
        match bind_all(address, &entry.listener.capture, workers, inherited.as_deref()) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && began.elapsed() < REBIND_LIMIT => {
                std::thread::sleep(Duration::from_millis(10));
            }
            other => break other,
        }
    };
    let outbound = entry.listener.direction == Direction::Outbound;
    if let Err(error) = &bound
        && outbound
        && error.kind() == std::io::ErrorKind::PermissionDenied
    {
        // A port under 1024 is for root; the service is still reached by CONNECT.
        tracing::warn!(listener = %entry.listener.name, %address, "no right to listen on this port");
        return Ok(());
    }
    *sockets = bound.map_err(|error| {
        vec![Refused {
            resource: format!("listener {}", entry.listener.name),
            reason: format!("cannot listen on {address}: {error}; free the port or choose another address"),
        }]
    })?;
    Ok(())
}

fn bind_all(
    address: SocketAddr,
    capture: &Capture,
    workers: usize,
    inherited: Option<&[std::net::TcpListener]>,
) -> std::io::Result<Vec<Vec<std::net::TcpListener>>> {
    let Some(inherited) = inherited else {
        // Without SO_REUSEPORT first: a port that another process shares is a port in use.
        drop(listening_socket(address, capture, false)?);
        return (0..workers)
            .map(|_| Ok(vec![listening_socket(address, capture, true)?]))
            .collect();
    };
    // Every queue that the process before had filled is emptied by somebody.
    let mut all: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
    for (position, socket) in inherited.iter().enumerate() {
        if let Some(own) = all.get_mut(position % workers.max(1)) {
            own.push(socket.try_clone()?);
        }
    }
    for own in all.iter_mut().filter(|own| own.is_empty()) {
        own.push(listening_socket(address, capture, true)?);
    }
    Ok(all)
}

fn listening_socket(
    address: SocketAddr,
    capture: &Capture,
    shared: bool,
) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    if capture.original_destination && address.is_ipv6() {
        // Captured traffic of both kinds comes to one port.
        socket.set_only_v6(false)?;
    }
    if capture.transparent {
        transparent(&socket)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    // Latency over packet count; accepted connections inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    if shared {
        socket.listen(4096)?;
    }
    Ok(socket.into())
}

/// Takes connections to any address.
fn transparent(socket: &Socket) -> std::io::Result<()> {
    // One bit of the socket, whichever kind of address it has.
    socket.set_ip_transparent_v4(true).map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!(
                "a transparent socket is not permitted ({error}): give the proxy the capability NET_ADMIN"
            ),
        )
    })
}
