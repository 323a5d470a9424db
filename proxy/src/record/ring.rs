//! The traced requests of the last seconds, compact: pointers to what the configuration holds anyway, and one reused
//! buffer of text each.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_model::flags::ResponseFlags;
use mesh_model::record::{SpanKind, TraceId};

use crate::compile::{ClusterEntry, EndpointEntry, RouteEntry};
use crate::metadata::Peer;
use crate::trace::TraceContext;

/// How long spans wait for somebody to ask.
pub(super) const HELD: Duration = Duration::from_secs(10);
/// Most spans of a worker.
const SLOTS: usize = 16_384;
/// Most bytes of their texts.
const BYTES: usize = 6 * 1024 * 1024;
/// Buffers kept for the next spans.
const SPARE: usize = 1024;
/// Longest text of a slot, by its place; the rest is cut.
const LONGEST: [usize; TEXTS] = [32, 255, 1024, 255, 64, 255];
const TEXTS: usize = 6;

/// How a request ended, and what it was; taken over from it, not copied.
pub(crate) struct Ended {
    /// Side.
    pub(crate) kind: SpanKind,
    /// First byte.
    pub(crate) started: Instant,
    /// Last byte.
    pub(crate) at: Instant,
    /// Between them.
    pub(crate) duration: Duration,
    /// Rule that decided.
    pub(crate) route: Option<Arc<RouteEntry>>,
    /// Cluster.
    pub(crate) cluster: Option<Arc<ClusterEntry>>,
    /// Endpoint of the last attempt.
    pub(crate) endpoint: Option<Arc<EndpointEntry>>,
    /// The other side as learnt on the wire.
    pub(crate) peer: Option<Rc<Peer>>,
    /// Client.
    pub(crate) remote: SocketAddr,
    /// Status; 0 if none was sent.
    pub(crate) status: u16,
    /// gRPC status.
    pub(crate) grpc_status: Option<u16>,
    /// Flags.
    pub(crate) flags: ResponseFlags,
    /// `RESPONSE_CODE_DETAILS`.
    pub(crate) details: Cow<'static, str>,
    /// `HTTP/1.1`, `HTTP/2`, `TCP`.
    pub(crate) protocol: &'static str,
    /// Scheme.
    pub(crate) https: bool,
    /// Attempts.
    pub(crate) attempts: u32,
    /// Request body bytes.
    pub(crate) request_bytes: u64,
    /// Response body bytes.
    pub(crate) response_bytes: u64,
    /// Longest path in a tag.
    pub(crate) max_path_tag: usize,
    /// Tags of the user's own; `None` = none are configured.
    pub(crate) tags: Option<Box<[(String, String)]>>,
}

/// Texts of a request as sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Texts<'a> {
    /// Method.
    pub(crate) method: &'a [u8],
    /// Authority.
    pub(crate) authority: &'a [u8],
    /// Path with query.
    pub(crate) path: &'a [u8],
    /// `user-agent`.
    pub(crate) user_agent: &'a [u8],
    /// `x-request-id`.
    pub(crate) request_id: &'a [u8],
    /// `x-envoy-decorator-operation` of the response.
    pub(crate) operation: &'a [u8],
}

/// One request.
pub(super) struct Slot {
    pub(super) ended: Ended,
    pub(super) trace: TraceContext,
    pub(super) error: bool,
    sent: bool,
    text: Vec<u8>,
    ends: [u16; TEXTS],
}

impl Slot {
    /// Its texts.
    pub(super) fn texts(&self) -> Texts<'_> {
        let mut start = 0;
        let mut next = self.ends.iter().map(|end| {
            let end = usize::from(*end);
            self.text
                .get(std::mem::replace(&mut start, end)..end)
                .unwrap_or_default()
        });
        let mut next = || next.next().unwrap_or_default();
        Texts {
            method: next(),
            authority: next(),
            path: next(),
            user_agent: next(),
            request_id: next(),
            operation: next(),
        }
    }
}

/// The spans of the last [`HELD`], as far as there is room.
#[derive(Default)]
pub(super) struct Ring {
    slots: VecDeque<Slot>,
    bytes: usize,
    spare: Vec<Vec<u8>>,
}

impl Ring {
    /// Adds one; how many others had to go before their time. `sent` = it leaves the proxy now.
    pub(super) fn push(
        &mut self,
        ended: Ended,
        texts: &Texts<'_>,
        trace: TraceContext,
        error: bool,
        sent: bool,
    ) -> u64 {
        let now = ended.at;
        let mut evicted = 0;
        // Two at most for each that comes: a burst must not wait for its clearing away.
        for _ in 0..2 {
            if self.oldest_is_over(now) {
                self.pop();
            }
        }
        while self.slots.len() >= SLOTS || self.bytes >= BYTES {
            evicted += u64::from(!self.oldest_is_over(now));
            self.pop();
        }
        let mut text = self.spare.pop().unwrap_or_default();
        let all = [
            texts.method,
            texts.authority,
            texts.path,
            texts.user_agent,
            texts.request_id,
            texts.operation,
        ];
        let mut ends = [0; TEXTS];
        for ((part, longest), end) in all.into_iter().zip(LONGEST).zip(&mut ends) {
            text.extend_from_slice(part.get(..longest).unwrap_or(part));
            *end = u16::try_from(text.len()).unwrap_or(u16::MAX);
        }
        self.bytes += text.len();
        self.slots.push_back(Slot {
            ended,
            trace,
            error,
            sent,
            text,
            ends,
        });
        evicted
    }

    /// The one that was added last.
    pub(super) fn newest(&self) -> Option<&Slot> {
        self.slots.back()
    }

    /// Calls `found` with every span of the traces that `wanted` accepts, unless it was sent before.
    pub(super) fn take_matching(&mut self, wanted: impl Fn(TraceId) -> bool, mut found: impl FnMut(&Slot)) {
        for slot in &mut self.slots {
            if !slot.sent && wanted(slot.trace.trace_id) {
                slot.sent = true;
                found(slot);
            }
        }
    }

    /// Frees what is over.
    pub(super) fn sweep(&mut self, now: Instant) {
        while self.oldest_is_over(now) {
            self.pop();
        }
        if self.slots.capacity() > 64 && self.slots.len() < self.slots.capacity() / 8 {
            self.slots.shrink_to(self.slots.len() * 2);
            self.spare.truncate(self.slots.len() * 2);
        }
    }

    fn oldest_is_over(&self, now: Instant) -> bool {
        self.slots
            .front()
            .is_some_and(|slot| now.saturating_duration_since(slot.ended.at) >= HELD)
    }

    fn pop(&mut self) {
        if let Some(slot) = self.slots.pop_front() {
            let mut text = slot.text;
            self.bytes -= text.len();
            if self.spare.len() < SPARE {
                text.clear();
                self.spare.push(text);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::record::fixtures::{context, ended};

    fn held(ring: &mut Ring) -> usize {
        ring.slots.len()
    }

    #[test]
    fn spans_are_held_for_a_while() {
        let mut ring = Ring::default();
        let start = Instant::now();
        ring.push(ended(start), &Texts::default(), context(1), false, false);
        ring.sweep(start + HELD - Duration::from_millis(1));
        assert_eq!(held(&mut ring), 1);
        ring.sweep(start + HELD);
        assert_eq!(held(&mut ring), 0);
    }

    #[test]
    fn a_full_ring_lets_the_oldest_go_and_says_so() {
        let mut ring = Ring::default();
        let start = Instant::now();
        let evicted: u64 = (0..SLOTS + 3)
            .map(|_| ring.push(ended(start), &Texts::default(), context(1), false, false))
            .sum();
        assert_eq!((evicted, held(&mut ring)), (3, SLOTS));
        // What is over is no loss.
        let later = start + HELD;
        assert_eq!(
            ring.push(ended(later), &Texts::default(), context(1), false, false),
            0
        );
    }

    #[test]
    fn texts_are_bounded_one_by_one_and_together() {
        let mut ring = Ring::default();
        let long = vec![b'x'; 5000];
        let texts = Texts {
            method: b"GET",
            path: &long,
            operation: b"end",
            ..Texts::default()
        };
        let evicted: u64 = (0..BYTES / 1000)
            .map(|_| ring.push(ended(Instant::now()), &texts, context(1), false, false))
            .sum();
        assert!(evicted > 0 && ring.bytes < BYTES + 2000);
        let found = ring.newest().unwrap().texts();
        assert_eq!(
            (found.method, found.path.len(), found.authority, found.operation),
            (&b"GET"[..], 1024, &b""[..], &b"end"[..])
        );
        assert_eq!(ring.bytes, ring.slots.iter().map(|s| s.text.len()).sum::<usize>());
    }

    #[test]
    fn a_span_is_taken_once() {
        let mut ring = Ring::default();
        for (trace, sent) in [(1, false), (2, false), (1, true), (1, false)] {
            ring.push(
                ended(Instant::now()),
                &Texts::default(),
                context(trace),
                false,
                sent,
            );
        }
        let mut taken = 0;
        ring.take_matching(|id| id == context(1).trace_id, |_| taken += 1);
        ring.take_matching(|id| id == context(1).trace_id, |_| taken += 1);
        assert_eq!(taken, 2);
    }

    #[test]
    fn steady_traffic_needs_no_memory() {
        let mut ring = Ring::default();
        let texts = Texts {
            path: b"/productpage?u=normal",
            ..Texts::default()
        };
        let start = Instant::now();
        let mut at = |n: u64| {
            let now = start + Duration::from_millis(n * 20);
            ring.push(ended(now), &texts, context(1), false, false);
            (ring.slots.capacity(), ring.slots.len() + ring.spare.len())
        };
        (0..1000).for_each(|n| {
            at(n);
        });
        let after_twenty_seconds = at(1000);
        let after_forty_seconds = (1001..2000).map(&mut at).last().unwrap();
        assert_eq!(after_twenty_seconds, after_forty_seconds);
    }
}
