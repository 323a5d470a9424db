//! Counters on their way out. Pure: a batch that got its number never changes; what has none yet is merged per window.

use std::collections::{BTreeMap, HashMap};

use mesh_model::edge::{Batch, SeriesDelta, SeriesKey, WindowDelta};

/// Series of one batch: some megabytes on the wire at most.
const SERIES_PER_BATCH: usize = 10_000;
/// Series (over all windows) that may wait for a control plane; beyond that the oldest window goes.
const SERIES_WAITING: usize = 200_000;
/// Windows that may wait: an hour.
const WINDOWS_WAITING: usize = 360;

/// The queue between counting and the control plane.
#[derive(Debug)]
pub struct Outbox {
    proxy: String,
    epoch: u64,
    sequence: u64,
    waiting: BTreeMap<u64, HashMap<SeriesKey, SeriesDelta>>,
    waiting_series: usize,
    overflowed: u64,
    /// Numbered and not acknowledged: sent again unchanged.
    numbered: Option<Batch>,
    dropped: u64,
}

/// What an outbox holds, for the process that goes on with its run.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parts {
    /// Start of the run.
    pub epoch: u64,
    /// Last number given.
    pub sequence: u64,
    /// Numbered and not acknowledged.
    pub numbered: Option<Batch>,
    /// Not numbered yet.
    pub waiting: Vec<WindowDelta>,
    /// Counted under `other` and not numbered yet.
    pub overflowed: u64,
    /// Given up.
    pub dropped: u64,
}

impl Outbox {
    /// Takes everything out.
    #[must_use]
    pub fn into_parts(self) -> Parts {
        let waiting = self.waiting.into_iter().map(|(window, series)| WindowDelta {
            window,
            series: series.into_iter().collect(),
        });
        Parts {
            epoch: self.epoch,
            sequence: self.sequence,
            numbered: self.numbered,
            waiting: waiting.collect(),
            overflowed: self.overflowed,
            dropped: self.dropped,
        }
    }

    /// Goes on with another's run.
    #[must_use]
    pub fn resume(proxy: String, parts: Parts) -> Self {
        let mut outbox = Self::new(proxy.clone(), parts.epoch);
        outbox.sequence = parts.sequence;
        outbox.numbered = parts.numbered.map(|batch| Batch { proxy, ..batch });
        outbox.dropped = parts.dropped;
        outbox.add(parts.waiting, parts.overflowed);
        outbox
    }

    /// Empty; `epoch` is the start of this run, Unix nanoseconds.
    #[must_use]
    pub fn new(proxy: String, epoch: u64) -> Self {
        Self {
            proxy,
            epoch,
            sequence: 0,
            waiting: BTreeMap::new(),
            waiting_series: 0,
            overflowed: 0,
            numbered: None,
            dropped: 0,
        }
    }

    /// Takes counted windows.
    pub fn add(&mut self, windows: Vec<WindowDelta>, overflowed: u64) {
        self.overflowed += overflowed;
        for window in windows {
            let into = self.waiting.entry(window.window).or_default();
            for (key, delta) in window.series {
                let mut new = false;
                into.entry(key)
                    .or_insert_with(|| {
                        new = true;
                        SeriesDelta::default()
                    })
                    .merge(&delta);
                self.waiting_series += usize::from(new);
            }
        }
        while self.waiting.len() > WINDOWS_WAITING
            || (self.waiting_series > SERIES_WAITING && self.waiting.len() > 1)
        {
            let Some((_, series)) = self.waiting.pop_first() else {
                break;
            };
            self.waiting_series -= series.len();
            self.dropped += series.values().map(|d| d.requests).sum::<u64>();
        }
    }

    /// The batch to send now: the unacknowledged one, else a new one from what waits; `None` when nothing waits.
    /// `cut_at_ms` is used for a new one only.
    pub fn next(&mut self, cut_at_ms: u64) -> Option<&Batch> {
        if self.numbered.is_none() && (!self.waiting.is_empty() || self.overflowed != 0) {
            self.number(cut_at_ms);
        }
        self.numbered.as_ref()
    }

    /// As [`Outbox::next`], with a batch also when nothing waits: the first of a run tells that it has begun, the
    /// last that nothing is missing.
    pub fn next_even_if_empty(&mut self, cut_at_ms: u64) -> Option<&Batch> {
        if self.numbered.is_none() {
            self.number(cut_at_ms);
        }
        self.numbered.as_ref()
    }

    fn number(&mut self, cut_at_ms: u64) {
        self.sequence += 1;
        let mut windows = Vec::new();
        let mut room = SERIES_PER_BATCH;
        while room > 0
            && let Some(mut entry) = self.waiting.first_entry()
        {
            let window = *entry.key();
            let mut series: Vec<_> = if entry.get().len() <= room {
                entry.remove().into_iter().collect()
            } else {
                let keys: Vec<SeriesKey> = entry.get().keys().take(room).cloned().collect();
                keys.into_iter()
                    .filter_map(|key| entry.get_mut().remove_entry(&key))
                    .collect()
            };
            series.sort_by(|(a, _), (b, _)| a.cmp(b));
            room -= series.len();
            self.waiting_series -= series.len();
            windows.push(WindowDelta { window, series });
        }
        self.numbered = Some(Batch {
            proxy: self.proxy.clone(),
            epoch: self.epoch,
            sequence: self.sequence,
            cut_at_ms,
            windows,
            overflowed: std::mem::take(&mut self.overflowed),
        });
    }

    /// The batch with this number was committed.
    pub fn acknowledged(&mut self, sequence: u64) {
        self.numbered.take_if(|batch| batch.sequence == sequence);
    }

    /// The batch with this number can never be taken: it is given up and counted.
    pub fn refused(&mut self, sequence: u64) {
        if let Some(batch) = self.numbered.take_if(|batch| batch.sequence == sequence) {
            let requests = batch
                .windows
                .iter()
                .flat_map(|w| &w.series)
                .map(|(_, d)| d.requests);
            self.dropped += requests.sum::<u64>();
        }
    }

    /// Whether nothing waits any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbered.is_none() && self.waiting.is_empty() && self.overflowed == 0
    }

    /// Requests that were counted and given up.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use mesh_model::edge::{Reporter, RequestProtocol};
    use mesh_model::flags::ResponseFlags;
    use mesh_model::route::RouteOrigin;
    use mesh_model::workload::{ServiceName, Workload};

    fn key(status: u16) -> SeriesKey {
        SeriesKey {
            reporter: Reporter::Source,
            source: Workload::unknown(),
            source_principal: "unknown".into(),
            service: ServiceName::unknown(),
            destination: Workload::unknown(),
            destination_principal: "unknown".into(),
            protocol: RequestProtocol::Http,
            response_code: status,
            grpc_status: None,
            flags: ResponseFlags::NONE,
            mutual_tls: false,
            origin: RouteOrigin::default(),
        }
    }

    fn window(at: u64, status: u16, requests: u64) -> Vec<WindowDelta> {
        let delta = SeriesDelta {
            requests,
            ..SeriesDelta::default()
        };
        vec![WindowDelta {
            window: at,
            series: vec![(key(status), delta)],
        }]
    }

    fn requests(batch: &Batch) -> u64 {
        batch
            .windows
            .iter()
            .flat_map(|w| &w.series)
            .map(|(_, d)| d.requests)
            .sum()
    }

    #[test]
    fn a_numbered_batch_never_changes_and_the_rest_is_merged() {
        let mut outbox = Outbox::new("p".into(), 7);
        assert!(outbox.next(1).is_none());
        outbox.add(window(10, 200, 1), 0);
        let first = outbox.next(1).unwrap().clone();
        assert_eq!((first.sequence, first.epoch, requests(&first)), (1, 7, 1));
        outbox.add(window(10, 200, 2), 0);
        outbox.add(window(10, 200, 3), 0);
        assert_eq!(outbox.next(99).unwrap(), &first, "sent again unchanged");
        outbox.acknowledged(5);
        assert_eq!(outbox.next(99).unwrap(), &first, "another's acknowledgement");
        outbox.acknowledged(1);
        let second = outbox.next(2).unwrap().clone();
        assert_eq!(
            (second.sequence, requests(&second), second.windows.len()),
            (2, 5, 1)
        );
        outbox.acknowledged(2);
        assert!(outbox.is_empty());
        assert_eq!(
            requests(outbox.next_even_if_empty(3).unwrap()),
            0,
            "the last one tells that nothing is missing"
        );
    }

    #[test]
    fn what_waits_is_bounded_and_the_loss_is_counted() {
        let mut outbox = Outbox::new("p".into(), 7);
        for at in 0..(WINDOWS_WAITING as u64 + 5) {
            outbox.add(window(at * 10, 200, 1), 0);
        }
        assert_eq!(outbox.dropped(), 5);
        assert_eq!(requests(outbox.next(1).unwrap()), WINDOWS_WAITING as u64);
        outbox.refused(1);
        assert_eq!(outbox.dropped(), 5 + WINDOWS_WAITING as u64);
        assert!(outbox.is_empty());
    }

    #[test]
    fn another_process_goes_on_with_the_same_batch_and_numbers() {
        let mut outbox = Outbox::new("p".into(), 7);
        outbox.add(window(10, 200, 1), 0);
        let first = outbox.next(1).unwrap().clone();
        outbox.add(window(10, 200, 2), 1);
        outbox.add(window(20, 500, 4), 0);
        let mut next = Outbox::resume("p".into(), outbox.into_parts());
        assert_eq!(next.next(99).unwrap(), &first, "sent again unchanged");
        next.acknowledged(1);
        let second = next.next(2).unwrap();
        assert_eq!(
            (second.sequence, second.epoch, requests(second), second.overflowed),
            (2, 7, 6, 1)
        );
    }

    #[test]
    fn a_large_window_is_split_without_loss() {
        let mut outbox = Outbox::new("p".into(), 7);
        for status in 0..25_000_u16 {
            outbox.add(window(10, status, 1), u64::from(status == 0));
        }
        let mut total = 0;
        let mut overflowed = 0;
        for sequence in 1..=3 {
            let batch = outbox.next(1).unwrap();
            assert_eq!(batch.sequence, sequence);
            total += requests(batch);
            overflowed += batch.overflowed;
            outbox.acknowledged(sequence);
        }
        assert_eq!((total, overflowed), (25_000, 1));
        assert!(outbox.is_empty() && outbox.dropped() == 0);
    }
}
