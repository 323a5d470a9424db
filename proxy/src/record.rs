//! Single requests: which are kept, the spans of the last seconds, and what leaves the proxy of them.
//!
//! A worker writes every traced request into its own ring, without locks and without allocation. What is kept or
//! head-sampled goes out at once; the rest waits there for somebody to ask for its trace.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use mesh_model::edge::SeriesKey;
use mesh_model::record::{KeptReason, KeptRequest, Span, TraceId};
use mesh_model::route::RouteOrigin;
use parking_lot::Mutex;
use tokio::sync::{broadcast, mpsc};

use crate::compile::RouteEntry;
use crate::runtime::Node;
use crate::trace::TraceContext;

mod asked;
mod describe;
mod keep;
pub mod redact;
mod ring;
pub mod settings;

pub use redact::Policy;
pub(crate) use ring::{Ended, Texts};

use asked::Asked;
use keep::{Keeper, Verdict};
use ring::{Ring, Slot};

/// Records that may wait for the exporter.
const QUEUE: usize = 4096;
/// Messages of asked-for traces that may wait for a worker.
const ASKS: usize = 1024;
/// Between two walks through a ring.
const ASKS_GATHER: Duration = Duration::from_millis(50);

/// What leaves the proxy.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A span.
    Span(Box<Span>),
    /// A kept request.
    Request(Box<KeptRequest>),
}

/// What must not be recorded, beyond what never is, and facts of the proxy that spans carry.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Headers.
    pub policy: Policy,
    /// Rules of which no request is kept: `namespace/virtualservice` or `namespace/virtualservice/route`.
    pub excluded: Vec<String>,
    /// `istio.mesh_id`.
    pub mesh_id: String,
}

/// Records of all workers. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Records(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    on: AtomicBool,
    settings: OnceLock<Settings>,
    sender: mpsc::Sender<Record>,
    receiver: Mutex<Option<mpsc::Receiver<Record>>>,
    asks: broadcast::Sender<Arc<[TraceId]>>,
    numbers: Numbers,
}

#[derive(Debug, Default)]
struct Numbers {
    dropped_spans: AtomicU64,
    dropped_requests: AtomicU64,
    dropped_asks: AtomicU64,
    errors_not_kept: AtomicU64,
    slow_not_kept: AtomicU64,
    evicted: AtomicU64,
}

/// What metrics show of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// Spans that were to leave and could not.
    pub dropped_spans: u64,
    /// Kept requests that were to leave and could not.
    pub dropped_requests: u64,
    /// Messages of asked-for traces that a worker did not get to.
    pub dropped_asks: u64,
    /// Errors beyond what is kept of a route in a second.
    pub errors_not_kept: u64,
    /// Slow requests beyond what is kept of a route in a second.
    pub slow_not_kept: u64,
    /// Spans that left the ring before their time, because it was full.
    pub evicted: u64,
}

impl Default for Records {
    fn default() -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        Self(Arc::new(Shared {
            on: AtomicBool::new(false),
            settings: OnceLock::new(),
            sender,
            receiver: Mutex::new(Some(receiver)),
            asks: broadcast::Sender::new(ASKS),
            numbers: Numbers::default(),
        }))
    }
}

impl Records {
    /// Begins recording; everything that leaves comes out here. `None` when it was begun before.
    #[must_use]
    pub fn open(&self, settings: Settings) -> Option<mpsc::Receiver<Record>> {
        let receiver = self.0.receiver.lock().take()?;
        // Only the holder of the receiver comes here.
        let _ = self.0.settings.set(settings);
        self.0.on.store(true, Ordering::Release);
        Some(receiver)
    }

    /// Asks all workers for the spans of these traces: those in their rings, and those that end soon.
    pub fn ask(&self, traces: &[TraceId]) {
        if !traces.is_empty() {
            // Without workers there is nobody to tell.
            let _ = self.0.asks.send(traces.into());
        }
    }

    /// Notes records that the exporter had to give up.
    pub fn note_dropped(&self, record: &Record) {
        let counter = match record {
            Record::Span(_) => &self.0.numbers.dropped_spans,
            Record::Request(_) => &self.0.numbers.dropped_requests,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Numbers.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let numbers = &self.0.numbers;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Shown {
            dropped_spans: get(&numbers.dropped_spans),
            dropped_requests: get(&numbers.dropped_requests),
            dropped_asks: get(&numbers.dropped_asks),
            errors_not_kept: get(&numbers.errors_not_kept),
            slow_not_kept: get(&numbers.slow_not_kept),
            evicted: get(&numbers.evicted),
        }
    }

    fn is_on(&self) -> bool {
        self.0.on.load(Ordering::Relaxed)
    }

    fn send(&self, record: Record) {
        if let Err(mpsc::error::TrySendError::Full(record) | mpsc::error::TrySendError::Closed(record)) =
            self.0.sender.try_send(record)
        {
            self.note_dropped(&record);
        }
    }
}

/// A completed request or connection, as the recorder looks at it.
pub(crate) struct Completed<'a> {
    /// What served it.
    pub(crate) rule: Rule<'a>,
    /// When it ended.
    pub(crate) at: Instant,
    /// How long it took.
    pub(crate) duration: Duration,
    /// Where it stands in its trace; `None` without tracing.
    pub(crate) trace: Option<TraceContext>,
    /// Whether it failed.
    pub(crate) error: bool,
}

/// The TCP proxy that served a connection.
#[derive(Clone, Copy)]
pub(crate) struct Connected<'a> {
    /// Its id.
    pub(crate) id: u32,
    /// Its name.
    pub(crate) name: &'a str,
    /// Which configuration decided.
    pub(crate) origin: Option<&'a RouteOrigin>,
}

/// A rule whose requests are kept apart from those of others.
pub(crate) enum Rule<'a> {
    /// A route; `None` = no rule matched.
    Http(Option<&'a RouteEntry>),
    /// A TCP proxy.
    Tcp(Connected<'a>),
}

impl Rule<'_> {
    /// Distinguishes it from every other rule of this process's lifetime; 0 = no rule.
    fn id(&self) -> u32 {
        match self {
            Self::Http(route) => route.map_or(0, |route| route.id),
            Self::Tcp(tcp) => tcp.id,
        }
    }

    fn origin(&self) -> Option<&RouteOrigin> {
        match self {
            Self::Http(route) => route.and_then(|route| route.route.origin.as_ref()),
            Self::Tcp(tcp) => tcp.origin,
        }
    }

    /// What it is for people; the same after a configuration change.
    fn name(&self) -> String {
        if let Some(origin) = self.origin() {
            return format!(
                "{}\n{}\n{}",
                origin.virtual_service, origin.route, origin.match_name
            );
        }
        match self {
            Self::Http(None) => String::new(),
            Self::Http(Some(entry)) => {
                let route = &entry.route;
                format!(
                    "{}\n{}",
                    route.name,
                    route.operation.as_deref().unwrap_or_default()
                )
            }
            Self::Tcp(tcp) => format!("tcp\n{}", tcp.name),
        }
    }
}

/// One worker's part; used by its thread only.
pub(crate) struct Recorder {
    records: Records,
    node: Arc<Node>,
    base: Instant,
    state: RefCell<State>,
}

struct State {
    ring: Ring,
    keeper: Keeper,
    asked: Asked,
}

impl Recorder {
    /// One of `workers`.
    pub(crate) fn new(records: Records, node: Arc<Node>, workers: usize) -> Self {
        Self {
            records,
            node,
            base: Instant::now(),
            state: RefCell::new(State {
                ring: Ring::default(),
                keeper: Keeper::new(workers),
                asked: Asked::default(),
            }),
        }
    }

    /// Whether anybody wants records.
    pub(crate) fn is_on(&self) -> bool {
        self.records.is_on()
    }

    /// Records one completion. `told` (how it ended, and its texts as sent, which are redacted before they leave) runs
    /// only if it is traced or kept, `series` and `headers` only if it is kept; `wall` gives the clock of a moment.
    pub(crate) fn record<'h, 't, H>(
        &self,
        completed: &Completed<'_>,
        told: impl FnOnce() -> (Ended, Texts<'t>),
        mut random: impl FnMut() -> u64,
        wall: impl Fn(Instant) -> SystemTime,
        series: impl FnOnce() -> SeriesKey,
        headers: impl FnOnce() -> H,
    ) where
        H: Iterator<Item = (&'h [u8], &'h [u8])>,
    {
        let Some(settings) = self.records.0.settings.get() else {
            return;
        };
        let (trace, error) = (completed.trace, completed.error);
        let state = &mut *self.state.borrow_mut();
        let at = completed.at.saturating_duration_since(self.base);
        // How long a TCP connection lasted says nothing about it.
        let duration = match completed.rule {
            Rule::Tcp(_) => Duration::ZERO,
            Rule::Http(_) => completed.duration,
        };
        let verdict = state
            .keeper
            .judge(&completed.rule, error, duration, at, &mut random, settings);
        let reason = self.reason(verdict);
        let Some(trace) = trace.or_else(|| reason.map(|_| TraceContext::root(&mut random))) else {
            return;
        };
        let wanted = reason.is_some() || trace.sampled || state.asked.contains(trace.trace_id);
        let (ended, texts) = told();
        let evicted = state.ring.push(ended, &texts, trace, error, wanted);
        if evicted > 0 {
            self.records
                .0
                .numbers
                .evicted
                .fetch_add(evicted, Ordering::Relaxed);
        }
        let Some(slot) = state.ring.newest().filter(|_| wanted) else {
            return;
        };
        self.send_span(slot, settings, &wall);
        if let Some(reason) = reason {
            let kept = describe::request(
                slot,
                reason,
                &self.node,
                &wall,
                series(),
                headers(),
                &settings.policy,
            );
            self.records.send(Record::Request(Box::new(kept)));
            // Other spans of this proxy belong to the same trace; the control plane asks the other proxies only.
            self.records.ask(&[trace.trace_id]);
        }
    }

    fn reason(&self, verdict: Verdict) -> Option<KeptReason> {
        let numbers = &self.records.0.numbers;
        match verdict {
            Verdict::Keep(reason) => Some(reason),
            Verdict::Missed(KeptReason::Error) => {
                numbers.errors_not_kept.fetch_add(1, Ordering::Relaxed);
                None
            }
            Verdict::Missed(_) => {
                numbers.slow_not_kept.fetch_add(1, Ordering::Relaxed);
                None
            }
            Verdict::Pass => None,
        }
    }

    fn send_span(&self, slot: &Slot, settings: &Settings, wall: &impl Fn(Instant) -> SystemTime) {
        let span = describe::span(slot, &self.node, &settings.mesh_id, wall);
        self.records.send(Record::Span(Box::new(span)));
    }

    /// Sends the spans of these traces that the ring still holds, and remembers the ids.
    fn answer(&self, traces: &[TraceId], now: Instant, wall: &impl Fn(Instant) -> SystemTime) {
        let Some(settings) = self.records.0.settings.get() else {
            return;
        };
        let state = &mut *self.state.borrow_mut();
        state.asked.add(traces, now);
        state.ring.take_matching(
            |trace| state.asked.is_new(trace),
            |slot| self.send_span(slot, settings, wall),
        );
        state.asked.settle();
    }

    /// Frees what is older than it may be; called twice a second.
    pub(crate) fn sweep(&self, now: Instant) {
        let state = &mut *self.state.borrow_mut();
        state.ring.sweep(now);
        state.asked.sweep(now);
    }

    /// Routes of a new configuration have new ids.
    pub(crate) fn forget_routes(&self) {
        self.state.borrow_mut().keeper.forget_routes();
    }

    /// Answers what is asked, until the proxy ends.
    pub(crate) async fn follow(self: Rc<Self>, wall: impl Fn(Instant) -> SystemTime) {
        let mut asks = self.records.0.asks.subscribe();
        let mut traces = Vec::new();
        loop {
            match asks.recv().await {
                Ok(ids) => traces.extend_from_slice(&ids),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    let counter = &self.records.0.numbers.dropped_asks;
                    counter.fetch_add(missed, Ordering::Relaxed);
                    continue;
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
            // One walk through the ring for everything that is asked in a short while.
            tokio::time::sleep(ASKS_GATHER).await;
            while let Ok(ids) = asks.try_recv() {
                traces.extend_from_slice(&ids);
            }
            self.answer(&traces, Instant::now(), &wall);
            traces.clear();
        }
    }
}

/// Whether a rule's requests are never kept.
fn is_excluded(rule: &Rule<'_>, settings: &Settings) -> bool {
    let Some(origin) = rule.origin() else {
        return false;
    };
    settings.excluded.iter().any(|excluded| {
        excluded
            .strip_prefix(origin.virtual_service.as_str())
            .is_some_and(|rest| {
                rest.is_empty() || rest.strip_prefix('/').is_some_and(|name| name == origin.route)
            })
    })
}

/// Nanoseconds since the epoch.
fn unix_ns(at: SystemTime) -> u64 {
    let since = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    nanos(since)
}

/// A duration in nanoseconds.
fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;
