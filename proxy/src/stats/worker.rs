//! One worker's slots.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_model::edge::{Reporter, RequestProtocol, SeriesKey, WINDOW_SECONDS};
use tokio::sync::Notify;

use super::series::SlotDelta;
use super::{Registry, SERIES_TOTAL};

/// Slots that saw nothing for this long are dropped (their series stays known to the registry).
const SLOT_IDLE: Duration = Duration::from_secs(60);

/// Precomputed ids that tell one slot from another: a lookup hashes these few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SlotKey {
    /// Compiled route; 0 = none matched.
    pub route: u32,
    /// Compiled cluster; 0 = none.
    pub cluster: u32,
    /// Endpoint; 0 = answered locally.
    pub endpoint: u32,
    /// Peer as learnt on the wire; 0 = nothing.
    pub peer: u32,
    /// Flags.
    pub flags: u32,
    /// Response code, 0 if none was sent.
    pub code: u16,
    /// gRPC status + 1; 0 = not gRPC.
    pub grpc: u16,
    /// Reporting side.
    pub reporter: Reporter,
    /// Protocol.
    pub protocol: RequestProtocol,
    /// Whether the hop was mutual TLS.
    pub mutual_tls: bool,
}

impl SlotKey {
    /// As [`SeriesKey::is_error`].
    #[must_use]
    pub fn is_error(&self) -> bool {
        match self.protocol {
            RequestProtocol::Tcp => self.flags != 0,
            RequestProtocol::Http | RequestProtocol::Grpc => {
                self.code == 0 || self.code >= 500 || self.grpc > 1
            }
        }
    }
}

/// Facts of one completed request.
#[derive(Debug, Clone, Copy)]
pub struct Completion {
    /// Where it is counted.
    pub slot: SlotKey,
    /// When it ended.
    pub ended: Instant,
    /// How long it took.
    pub duration: Duration,
    /// Upstream attempts.
    pub attempts: u32,
    /// Request body bytes.
    pub request_bytes: u64,
    /// Response body bytes.
    pub response_bytes: u64,
}

struct Slot {
    key: Arc<SeriesKey>,
    delta: SlotDelta,
    last: Instant,
}

/// Counters of one worker; used by its thread only.
pub struct WorkerStats {
    registry: Registry,
    slots: RefCell<HashMap<SlotKey, Slot, BuildHasherDefault<WordHasher>>>,
    window: Cell<u64>,
    clock: Cell<(Instant, SystemTime)>,
    dirty: Cell<bool>,
    wake: Notify,
}

impl WorkerStats {
    /// A worker's view of `registry`.
    #[must_use]
    pub fn new(registry: Registry) -> Self {
        Self {
            registry,
            slots: RefCell::default(),
            window: Cell::new(0),
            clock: Cell::new((Instant::now(), SystemTime::now())),
            dirty: Cell::new(false),
            wake: Notify::new(),
        }
    }

    /// Counts one completion; `describe` runs at the first sight of its slot only.
    pub fn record(&self, done: &Completion, describe: impl FnOnce() -> SeriesKey) {
        self.change(&done.slot, done.ended, describe, |delta| {
            delta.record(
                done.duration.as_secs_f64() * 1e3,
                done.attempts,
                done.request_bytes,
                done.response_bytes,
            );
        });
    }

    /// Counts a TCP connection that was opened.
    pub fn opened(&self, slot: &SlotKey, at: Instant, describe: impl FnOnce() -> SeriesKey) {
        self.change(slot, at, describe, |delta| delta.totals.opened += 1);
    }

    /// Counts bytes (from and to the client) of a TCP connection that goes on; its end counts the rest of them.
    pub fn moved(
        &self,
        slot: &SlotKey,
        at: Instant,
        bytes: (u64, u64),
        describe: impl FnOnce() -> SeriesKey,
    ) {
        if bytes != (0, 0) {
            self.change(slot, at, describe, |delta| delta.moved(bytes.0, bytes.1));
        }
    }

    /// Counts gRPC messages (from and to the client) of a request that was just recorded.
    pub fn messages(&self, slot: &SlotKey, messages: (u64, u64)) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(slot) {
            slot.delta.totals.request_messages += messages.0;
            slot.delta.totals.response_messages += messages.1;
        }
    }

    fn change(
        &self,
        key: &SlotKey,
        at: Instant,
        describe: impl FnOnce() -> SeriesKey,
        count: impl FnOnce(&mut SlotDelta),
    ) {
        let window = self.window_of(at);
        if window != self.window.get() {
            self.publish();
            self.window.set(window);
        }
        let mut slots = self.slots.borrow_mut();
        let slot = if let Some(slot) = slots.get_mut(key) {
            slot
        } else {
            let (place, series) = if slots.len() < SERIES_TOTAL {
                (*key, describe())
            } else {
                let place = SlotKey {
                    route: u32::MAX,
                    cluster: 0,
                    endpoint: 0,
                    peer: 0,
                    ..*key
                };
                (place, super::other_series(&describe()))
            };
            slots.entry(place).or_insert_with(|| Slot {
                key: Arc::new(series),
                delta: SlotDelta::default(),
                last: at,
            })
        };
        slot.last = at;
        count(&mut slot.delta);
        drop(slots);
        if !self.dirty.replace(true) {
            self.wake.notify_one();
        }
    }

    /// Hands everything counted so far to the registry.
    pub fn publish(&self) {
        self.clock.set((Instant::now(), SystemTime::now()));
        if !self.dirty.replace(false) {
            return;
        }
        let now = Instant::now();
        let mut slots = self.slots.borrow_mut();
        self.registry.publish(
            self.window.get(),
            slots
                .values_mut()
                .filter(|slot| slot.delta.is_touched())
                .map(|slot| (&slot.key, &mut slot.delta)),
        );
        slots.retain(|_, slot| now.saturating_duration_since(slot.last) < SLOT_IDLE);
    }

    /// Publishes 50 ms after the first uncounted completion, for ever; an idle worker is not woken.
    pub async fn run(&self) {
        loop {
            self.wake.notified().await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            self.publish();
        }
    }

    fn window_of(&self, at: Instant) -> u64 {
        let (instant, wall) = self.clock.get();
        let wall = match at.checked_duration_since(instant) {
            Some(later) => wall + later,
            None => wall - instant.saturating_duration_since(at),
        };
        let seconds = wall
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs());
        seconds - seconds % WINDOW_SECONDS
    }
}

impl Drop for WorkerStats {
    fn drop(&mut self) {
        self.publish();
    }
}

impl std::fmt::Debug for WorkerStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerStats").finish_non_exhaustive()
    }
}

/// Multiply-and-rotate over words: keys are our own small integers, not a client's.
#[derive(Default)]
pub(crate) struct WordHasher(u64);

impl WordHasher {
    fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for WordHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.mix(u64::from(*byte));
        }
    }
    fn write_u8(&mut self, value: u8) {
        self.mix(u64::from(value));
    }
    fn write_u16(&mut self, value: u16) {
        self.mix(u64::from(value));
    }
    fn write_u32(&mut self, value: u32) {
        self.mix(u64::from(value));
    }
    fn write_u64(&mut self, value: u64) {
        self.mix(value);
    }
    fn write_usize(&mut self, value: usize) {
        self.mix(value as u64);
    }
    fn write_isize(&mut self, value: isize) {
        self.mix(value.cast_unsigned() as u64);
    }
}
