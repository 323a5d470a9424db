//! The last ten minutes in memory, window by window.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_model::edge::{SeriesDelta, SeriesKey, WINDOW_SECONDS, WindowDelta};
use tokio::sync::watch;

/// How far back, seconds.
pub(crate) const KEPT: u64 = 600;

/// Facts by series; keys are shared between windows.
pub(crate) type Totals = HashMap<Arc<SeriesKey>, SeriesDelta>;

/// The live windows. What is committed to the history is added here, so for its time both say the same.
#[derive(Debug)]
pub(crate) struct Live {
    windows: Mutex<Windows>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Windows {
    /// From here on memory is complete; before it, the history is asked.
    floor: u64,
    windows: BTreeMap<u64, Totals>,
    keys: HashSet<Arc<SeriesKey>>,
}

impl Live {
    /// Empty; complete from the window of `now` (Unix seconds) minus [`KEPT`] on, once the caller has added what the
    /// history holds since then.
    pub(crate) fn new(now: u64) -> Self {
        Self {
            windows: Mutex::new(Windows {
                floor: floor(now),
                ..Windows::default()
            }),
            version: watch::Sender::new(0),
        }
    }

    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what a proxy reported.
    pub(crate) fn add(&self, deltas: &[WindowDelta], now: u64) {
        let mut windows = self.windows();
        windows.advance(now);
        for delta in deltas {
            for (key, facts) in &delta.series {
                windows.add(delta.window, key, facts);
            }
        }
        drop(windows);
        self.version.send_modify(|version| *version += 1);
    }

    /// Adds one series of one window without telling anyone: used while loading.
    pub(crate) fn load(&self, window: u64, key: &SeriesKey, facts: &SeriesDelta) {
        self.windows().add(window, key, facts);
    }

    /// Says when something was added.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    /// From when on memory is complete.
    pub(crate) fn floor(&self) -> u64 {
        self.windows().floor
    }

    /// Sums of `[from, to)` as far as memory has them, and from when on that is.
    pub(crate) fn sums(&self, from: u64, to: u64) -> (u64, Totals) {
        let windows = self.windows();
        let mut sums = Totals::new();
        for (_, window) in windows
            .windows
            .range(from.max(windows.floor)..to.max(from).max(windows.floor))
        {
            for (key, facts) in window {
                match sums.get_mut(key) {
                    Some(sum) => sum.merge(facts),
                    None => {
                        sums.insert(Arc::clone(key), facts.clone());
                    }
                }
            }
        }
        (windows.floor, sums)
    }

    /// Visits the windows of `[from, to)` as far as memory has them; answers from when on that is.
    pub(crate) fn visit(
        &self,
        from: u64,
        to: u64,
        visit: &mut dyn FnMut(u64, &SeriesKey, &SeriesDelta),
    ) -> u64 {
        let windows = self.windows();
        let range = from.max(windows.floor)..to.max(from).max(windows.floor);
        for (window, series) in windows.windows.range(range) {
            for (key, facts) in series {
                visit(*window, key, facts);
            }
        }
        windows.floor
    }
}

impl Windows {
    fn add(&mut self, window: u64, key: &SeriesKey, facts: &SeriesDelta) {
        // Late beyond memory: the history has it.
        if window < self.floor {
            return;
        }
        let shared = match self.keys.get(key) {
            Some(shared) => Arc::clone(shared),
            None => {
                let shared = Arc::new(key.clone());
                self.keys.insert(Arc::clone(&shared));
                shared
            }
        };
        self.windows
            .entry(window)
            .or_default()
            .entry(shared)
            .or_default()
            .merge(facts);
    }

    fn advance(&mut self, now: u64) {
        let floor = floor(now);
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        self.windows = self.windows.split_off(&floor);
        self.keys.retain(|key| Arc::strong_count(key) > 1);
    }
}

fn floor(now: u64) -> u64 {
    (now - now % WINDOW_SECONDS).saturating_sub(KEPT)
}

#[cfg(test)]
mod tests {
    use mesh_model::edge::WindowDelta;
    use mesh_store::conformance::{NOW, batch};

    use super::{KEPT, Live};

    fn windows(window: u64, requests: u64) -> Vec<WindowDelta> {
        batch("a", 1, 1, window, requests).windows
    }

    #[test]
    fn old_windows_leave_and_late_ones_stay_out() {
        let live = Live::new(NOW);
        live.add(&windows(NOW, 2), NOW);
        live.add(&windows(NOW, 3), NOW + 5);
        let sum = |from, to| live.sums(from, to).1.values().map(|d| d.requests).sum::<u64>();
        assert_eq!(sum(NOW, NOW + 10), 5);
        assert_eq!(sum(NOW + 10, NOW + 20), 0);
        assert_eq!(sum(NOW + 20, NOW), 0);
        live.add(&windows(NOW + KEPT + 10, 1), NOW + KEPT + 10);
        assert_eq!(live.sums(NOW, NOW + 10), (NOW + 10, super::Totals::new()));
        live.add(&windows(NOW, 3), NOW + KEPT + 10);
        assert_eq!(sum(0, u64::MAX), 1);
    }
}
