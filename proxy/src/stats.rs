//! Counting: every completed request is in exactly one drained delta.
//!
//! A worker counts in its own slots, without locks or atomics; it publishes what it has at most 50 ms after the
//! first uncounted completion, when a window closes and when it ends. Readers only touch what was published.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_model::edge::{SeriesDelta, SeriesKey, WindowDelta};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};
use parking_lot::Mutex;

use series::SlotDelta;

mod series;
mod worker;

pub use series::{BUCKET_BOUNDS, FixedHistogram, SeriesTotals};
pub(crate) use worker::WordHasher;
pub use worker::{Completion, SlotKey, WorkerStats};

/// Most series that one source may have.
pub const SERIES_PER_SOURCE: usize = 2_000;
/// Most series of the proxy.
pub const SERIES_TOTAL: usize = 50_000;
/// Series without a completion for this long are forgotten by [`Registry::cumulative`].
pub const IDLE_EXPIRY: Duration = Duration::from_secs(15 * 60);

/// What all workers counted.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    shared: Arc<Mutex<Published>>,
}

/// Counters on their way from one process to the next.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Not yet drained.
    pub windows: Vec<WindowDelta>,
    /// Counted under `other` in them.
    pub overflowed: u64,
    /// Counted under `other` in all.
    pub overflowed_total: u64,
    /// Totals.
    pub totals: Vec<(SeriesKey, SeriesTotals)>,
}

impl Counted {
    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty() && self.totals.is_empty() && self.overflowed == 0
    }
}

#[derive(Debug, Default)]
struct Published {
    /// Not yet drained, by window.
    windows: BTreeMap<u64, HashMap<Arc<SeriesKey>, SeriesDelta>>,
    cumulative: HashMap<Arc<SeriesKey>, Total>,
    per_source: HashMap<String, usize>,
    overflowed: u64,
    overflowed_total: u64,
}

#[derive(Debug)]
struct Total {
    totals: SeriesTotals,
    last: Instant,
}

impl Registry {
    /// Takes everything published since the last call; every completion is in exactly one answer.
    #[must_use]
    pub fn drain_deltas(&self) -> Vec<WindowDelta> {
        let windows = std::mem::take(&mut self.shared.lock().windows);
        windows
            .into_iter()
            .map(|(window, series)| {
                let mut series: Vec<_> = series
                    .into_iter()
                    .map(|(key, delta)| (SeriesKey::clone(&key), delta))
                    .collect();
                series.sort_by(|(a, _), (b, _)| a.cmp(b));
                WindowDelta { window, series }
            })
            .collect()
    }

    /// Takes everything, totals too: another process counts on.
    #[must_use]
    pub fn hand_over(&self) -> Counted {
        let mut shared = self.shared.lock();
        let windows = std::mem::take(&mut shared.windows);
        let totals = std::mem::take(&mut shared.cumulative);
        shared.per_source.clear();
        let counted = Counted {
            windows: Vec::new(),
            overflowed: std::mem::take(&mut shared.overflowed),
            overflowed_total: std::mem::take(&mut shared.overflowed_total),
            totals: Vec::new(),
        };
        drop(shared);
        let plain = |series: HashMap<Arc<SeriesKey>, SeriesDelta>| {
            let series = series.into_iter();
            series
                .map(|(key, delta)| (SeriesKey::clone(&key), delta))
                .collect()
        };
        let windows = windows.into_iter().map(|(window, series)| WindowDelta {
            window,
            series: plain(series),
        });
        let totals = totals.into_iter();
        Counted {
            windows: windows.collect(),
            totals: totals
                .map(|(key, total)| (SeriesKey::clone(&key), total.totals))
                .collect(),
            ..counted
        }
    }

    /// Adds what another process had counted.
    pub fn take_over(&self, counted: Counted) {
        let now = Instant::now();
        let mut shared = self.shared.lock();
        shared.overflowed += counted.overflowed;
        shared.overflowed_total += counted.overflowed_total;
        for (key, totals) in counted.totals {
            let key = shared.admit(&Arc::new(key), 0, now);
            if let Some(total) = shared.cumulative.get_mut(&key) {
                total.totals.merge(&totals);
                total.last = now;
            }
        }
        for window in counted.windows {
            let series = shared.windows.entry(window.window).or_default();
            for (key, delta) in window.series {
                series.entry(Arc::new(key)).or_default().merge(&delta);
            }
        }
    }

    /// Requests counted under `other` because a cap was reached, since the last call.
    #[must_use]
    pub fn drain_overflowed(&self) -> u64 {
        std::mem::take(&mut self.shared.lock().overflowed)
    }

    /// Requests counted under `other` since the start.
    #[must_use]
    pub fn overflowed_total(&self) -> u64 {
        self.shared.lock().overflowed_total
    }

    /// Totals since the start, in key order.
    #[must_use]
    pub fn cumulative(&self) -> Vec<(SeriesKey, SeriesTotals)> {
        let mut shared = self.shared.lock();
        shared.expire(Instant::now());
        let mut all: Vec<_> = shared
            .cumulative
            .iter()
            .map(|(key, total)| (SeriesKey::clone(key), total.totals.clone()))
            .collect();
        drop(shared);
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        all
    }

    fn publish<'a>(&self, window: u64, slots: impl Iterator<Item = (&'a Arc<SeriesKey>, &'a mut SlotDelta)>) {
        let now = Instant::now();
        let mut shared = self.shared.lock();
        for (key, delta) in slots {
            shared.add(window, key, delta, now);
            delta.clear();
        }
    }
}

impl Published {
    fn add(&mut self, window: u64, key: &Arc<SeriesKey>, delta: &SlotDelta, now: Instant) {
        let key = self.admit(key, delta.totals.requests, now);
        if let Some(total) = self.cumulative.get_mut(&key) {
            total.totals.merge(&delta.totals);
            total.last = now;
        }
        let series = self.windows.entry(window).or_default();
        series.entry(key).or_default().merge(&delta.to_delta());
    }

    /// The key itself if it is known or fits the caps, else the `other` series.
    fn admit(&mut self, key: &Arc<SeriesKey>, requests: u64, now: Instant) -> Arc<SeriesKey> {
        if self.cumulative.contains_key(key) {
            return Arc::clone(key);
        }
        let source = source_of(key);
        let of_source = self.per_source.get(&source).copied().unwrap_or(0);
        if of_source >= SERIES_PER_SOURCE || self.cumulative.len() >= SERIES_TOTAL {
            self.overflowed += requests;
            self.overflowed_total += requests;
            let other = Arc::new(other_series(key));
            self.cumulative.entry(Arc::clone(&other)).or_insert(Total {
                totals: SeriesTotals::default(),
                last: now,
            });
            return other;
        }
        *self.per_source.entry(source).or_default() += 1;
        self.cumulative.insert(
            Arc::clone(key),
            Total {
                totals: SeriesTotals::default(),
                last: now,
            },
        );
        Arc::clone(key)
    }

    fn expire(&mut self, now: Instant) {
        let per_source = &mut self.per_source;
        self.cumulative.retain(|key, total| {
            let keep = now.saturating_duration_since(total.last) < IDLE_EXPIRY;
            if !keep && let Some(count) = per_source.get_mut(&source_of(key)) {
                *count = count.saturating_sub(1);
            }
            keep
        });
        per_source.retain(|_, count| *count > 0);
    }
}

fn source_of(key: &SeriesKey) -> String {
    format!("{}/{}", key.source.namespace, key.source.name)
}

/// The series that takes what does not fit: only bounded labels are kept.
fn other_series(key: &SeriesKey) -> SeriesKey {
    let other = || "other".to_owned();
    let workload = || Workload {
        namespace: other(),
        name: other(),
        app: other(),
        version: other(),
        cluster: other(),
    };
    SeriesKey {
        reporter: key.reporter,
        source: workload(),
        source_principal: other(),
        service: ServiceName {
            host: other(),
            name: other(),
            namespace: other(),
        },
        destination: workload(),
        destination_principal: other(),
        protocol: key.protocol,
        response_code: key.response_code,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        mutual_tls: key.mutual_tls,
        origin: RouteOrigin::default(),
    }
}

#[cfg(test)]
mod tests;
