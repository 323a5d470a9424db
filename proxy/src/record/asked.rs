//! Traces that somebody asked for: their spans go out when they end.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasherDefault;
use std::time::{Duration, Instant};

use mesh_model::record::TraceId;

use crate::stats::WordHasher;

/// How long spans that end later still go out.
pub(super) const REMEMBERED: Duration = Duration::from_secs(15);
/// Most ids remembered; beyond that the oldest go.
const MOST: usize = 16_384;

type Ids = HashSet<u64, BuildHasherDefault<WordHasher>>;

/// Remembered ids. Half an id tells traces apart: a chance hit sends one span too many.
#[derive(Default)]
pub(super) struct Asked {
    order: VecDeque<(Instant, u64)>,
    known: Ids,
    new: Ids,
}

fn half(id: TraceId) -> u64 {
    let (_, low) = id.0.split_at(8);
    low.try_into().map(u64::from_be_bytes).unwrap_or_default()
}

impl Asked {
    /// Remembers ids; those that were not known are new until [`Asked::settle`].
    pub(super) fn add(&mut self, ids: &[TraceId], now: Instant) {
        for id in ids {
            let id = half(*id);
            if self.known.insert(id) {
                self.order.push_back((now, id));
                self.new.insert(id);
            }
        }
        while self.order.len() > MOST {
            self.forget_oldest();
        }
    }

    /// Whether spans of this trace go out.
    pub(super) fn contains(&self, id: TraceId) -> bool {
        !self.known.is_empty() && self.known.contains(&half(id))
    }

    /// Whether it was asked for since the last [`Asked::settle`].
    pub(super) fn is_new(&self, id: TraceId) -> bool {
        self.new.contains(&half(id))
    }

    /// The ring was walked.
    pub(super) fn settle(&mut self) {
        self.new.clear();
    }

    /// Forgets what was asked too long ago.
    pub(super) fn sweep(&mut self, now: Instant) {
        while self
            .order
            .front()
            .is_some_and(|(at, _)| now.saturating_duration_since(*at) >= REMEMBERED)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, id)) = self.order.pop_front() {
            self.known.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> TraceId {
        TraceId([n; 16])
    }

    #[test]
    fn ids_are_new_once_and_remembered_for_a_while() {
        let mut asked = Asked::default();
        let start = Instant::now();
        asked.add(&[id(1), id(2)], start);
        assert!(asked.is_new(id(1)) && asked.contains(id(2)) && !asked.contains(id(3)));
        asked.settle();
        asked.add(&[id(1)], start + Duration::from_secs(10));
        assert!(!asked.is_new(id(1)));
        asked.sweep(start + REMEMBERED - Duration::from_millis(1));
        assert!(asked.contains(id(1)));
        asked.sweep(start + REMEMBERED);
        assert!(!asked.contains(id(1)) && !asked.contains(id(2)));
    }

    #[test]
    fn their_number_is_bounded() {
        let mut asked = Asked::default();
        for n in 0..=u128::try_from(MOST).unwrap_or_default() {
            asked.add(&[TraceId((n + 1).to_be_bytes())], Instant::now());
        }
        assert_eq!((asked.order.len(), asked.known.len()), (MOST, MOST));
        assert!(!asked.contains(TraceId(1_u128.to_be_bytes())));
    }
}
