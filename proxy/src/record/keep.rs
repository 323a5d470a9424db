//! Which requests are kept: errors, slow ones, and a sample of the rest of each route. Pure but for its memory.
//!
//! Of one route: up to 50 errors and 10 slow requests a second, and one more request about every second, at random
//! gaps, so that regular traffic is not always met at the same place; and of one proxy up to 10 samples a second.
//! Each worker has its share of these numbers, so that none has to ask another.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::rc::Rc;
use std::time::Duration;

use mesh_model::record::KeptReason;

use super::{Rule, Settings, is_excluded, nanos};
use crate::stats::WordHasher;

/// Errors of a route kept in a second.
const ERRORS: u32 = 50;
/// Slow requests of a route kept in a second.
const SLOW: u32 = 10;
/// Samples of a proxy kept in a second.
const SAMPLES: u32 = 10;
/// Slow whatever the route's usual time is.
const ALWAYS_SLOW: Duration = Duration::from_secs(1);
/// Requests that a 99th percentile needs.
const ENOUGH: u32 = 200;
/// The percentile follows the last few of these, each counting half as much as the next.
const FOLD: u64 = 10_000;
/// Routes remembered; beyond that the table starts again.
const ROUTES: usize = 4096;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is kept.
    Keep(KeptReason),
    /// It deserved to be, but there were too many of them.
    Missed(KeptReason),
    /// It is like many others.
    Pass,
}

/// Durations in eighths of an octave from a microsecond to a minute.
const FIRST_OCTAVE: u32 = 10;
const OCTAVES: u32 = 26;
const BUCKETS: usize = (OCTAVES * 8) as usize;

/// The bucket of a duration.
fn bucket(ns: u64) -> usize {
    let ns = ns.max(1 << FIRST_OCTAVE);
    let octave = ns.ilog2();
    let eighth = (ns >> (octave - 3)) & 7;
    let at = u64::from(octave - FIRST_OCTAVE) * 8 + eighth;
    usize::try_from(at).unwrap_or(BUCKETS).min(BUCKETS - 1)
}

/// Where a bucket ends, nanoseconds.
fn upper(bucket: usize) -> u64 {
    let (octave, eighth) = (bucket / 8, bucket as u64 % 8);
    let octave = u32::try_from(octave).unwrap_or(OCTAVES) + FIRST_OCTAVE;
    (9 + eighth) << (octave - 3)
}

/// Memory of one route.
struct RouteState {
    excluded: bool,
    second: u64,
    errors: u32,
    slow: u32,
    next_sample_ms: u64,
    counts: [u32; BUCKETS],
    total: u32,
    /// Durations above it are slow.
    threshold_ns: u64,
    next_fold_ms: u64,
}

/// What one worker may keep.
#[derive(Debug, Clone, Copy)]
struct Share {
    errors: u32,
    slow: u32,
    samples: u32,
    workers: u64,
}

impl RouteState {
    fn new(excluded: bool, at_ms: u64) -> Self {
        Self {
            excluded,
            second: 0,
            errors: 0,
            slow: 0,
            // The first request of a route is worth seeing.
            next_sample_ms: at_ms,
            counts: [0; BUCKETS],
            total: 0,
            threshold_ns: nanos(ALWAYS_SLOW),
            next_fold_ms: at_ms + FOLD,
        }
    }

    fn count(&mut self, ns: u64, at_ms: u64) {
        if at_ms >= self.next_fold_ms {
            self.fold(at_ms);
        }
        if let Some(count) = self.counts.get_mut(bucket(ns)) {
            *count = count.saturating_add(1);
        }
        self.total = self.total.saturating_add(1);
    }

    /// Takes the percentile of what was seen and lets the past count half.
    fn fold(&mut self, at_ms: u64) {
        self.next_fold_ms = at_ms + FOLD;
        self.threshold_ns = nanos(ALWAYS_SLOW);
        if self.total >= ENOUGH {
            let above = self.total / 100;
            let mut seen = 0_u32;
            let reached = (0..BUCKETS).rev().find(|at| {
                seen = seen.saturating_add(self.counts.get(*at).copied().unwrap_or_default());
                seen > above
            });
            if let Some(at) = reached {
                self.threshold_ns = upper(at).min(self.threshold_ns);
            }
        }
        self.total = 0;
        for count in &mut self.counts {
            *count /= 2;
            self.total += *count;
        }
    }

    fn judge(
        &mut self,
        error: bool,
        ns: u64,
        at_ms: u64,
        share: Share,
        samples: &mut Samples,
        draw: u64,
    ) -> Verdict {
        self.count(ns, at_ms);
        if self.excluded {
            return Verdict::Pass;
        }
        let second = at_ms / 1000;
        if second != self.second {
            (self.second, self.errors, self.slow) = (second, 0, 0);
        }
        let (reason, used, most) = if error {
            (KeptReason::Error, &mut self.errors, share.errors)
        } else if ns > self.threshold_ns {
            (KeptReason::Slow, &mut self.slow, share.slow)
        } else {
            if at_ms < self.next_sample_ms || !samples.take(second, share.samples) {
                return Verdict::Pass;
            }
            // Half a second to one and a half, for each worker that takes part.
            self.next_sample_ms = at_ms + (500 + draw % 1000) * share.workers;
            return Verdict::Keep(KeptReason::Sample);
        };
        *used += 1;
        if *used <= most {
            Verdict::Keep(reason)
        } else {
            Verdict::Missed(reason)
        }
    }
}

/// Samples of the current second over all routes.
#[derive(Default)]
struct Samples {
    second: u64,
    used: u32,
}

impl Samples {
    fn take(&mut self, second: u64, most: u32) -> bool {
        if second != self.second {
            (self.second, self.used) = (second, 0);
        }
        self.used += 1;
        self.used <= most
    }
}

type States = Rc<RefCell<RouteState>>;

/// Memory of all routes of one worker.
pub(super) struct Keeper {
    share: Share,
    samples: Samples,
    /// By the compiled route's id, which each configuration gives anew; 0 = no rule matched.
    by_id: HashMap<u32, States, BuildHasherDefault<WordHasher>>,
    /// By what a route is for people, so that its usual time outlives a configuration change.
    by_name: HashMap<String, States>,
}

impl Keeper {
    /// That of one of `workers`.
    pub(super) fn new(workers: usize) -> Self {
        let workers = u32::try_from(workers.max(1)).unwrap_or(u32::MAX);
        Self {
            share: Share {
                errors: ERRORS.div_ceil(workers),
                slow: SLOW.div_ceil(workers),
                samples: SAMPLES.div_ceil(workers),
                workers: workers.into(),
            },
            samples: Samples::default(),
            by_id: HashMap::default(),
            by_name: HashMap::default(),
        }
    }

    /// What becomes of a request that ended `at` (since any fixed moment).
    pub(super) fn judge(
        &mut self,
        rule: &Rule<'_>,
        error: bool,
        duration: Duration,
        at: Duration,
        random: &mut impl FnMut() -> u64,
        settings: &Settings,
    ) -> Verdict {
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        let id = rule.id();
        if !self.by_id.contains_key(&id) {
            self.learn(id, rule, at_ms, settings);
        }
        let Some(state) = self.by_id.get(&id) else {
            return Verdict::Pass;
        };
        state.borrow_mut().judge(
            error,
            nanos(duration),
            at_ms,
            self.share,
            &mut self.samples,
            random(),
        )
    }

    fn learn(&mut self, id: u32, rule: &Rule<'_>, at_ms: u64, settings: &Settings) {
        if self.by_name.len() >= ROUTES || self.by_id.len() >= ROUTES {
            self.by_id.clear();
            self.by_name.clear();
        }
        let excluded = is_excluded(rule, settings);
        let state = self
            .by_name
            .entry(rule.name())
            .or_insert_with(|| Rc::new(RefCell::new(RouteState::new(excluded, at_ms))));
        state.borrow_mut().excluded = excluded;
        self.by_id.insert(id, Rc::clone(state));
    }

    /// Ids of the configuration before are not met again.
    pub(super) fn forget_routes(&mut self) {
        self.by_id.clear();
    }
}

#[cfg(test)]
mod tests;
