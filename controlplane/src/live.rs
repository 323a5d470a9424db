//! The last ten minutes in memory, window by window.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use mesh_model::edge::{SeriesDelta, SeriesKey, WINDOW_SECONDS, WindowDelta};
use tokio::sync::watch;

/// How far back, seconds.
pub(crate) const KEPT: u64 = 600;
/// Windows are also summed by minute, so that long sums are short.
const MINUTE: u64 = 60;
/// Keys beyond twice those in use are forgotten from this number on.
const FEW_KEYS: usize = 1024;

/// Facts by series.
pub(crate) type Totals = HashMap<Arc<SeriesKey>, SeriesDelta>;

/// The live windows. What is committed to the history is added here, so for its time both say the same.
#[derive(Debug)]
pub(crate) struct Live {
    windows: Mutex<Windows>,
    version: watch::Sender<u64>,
}

/// Facts by the place of their series.
type Places = HashMap<usize, SeriesDelta>;

#[derive(Debug, Default)]
struct Windows {
    /// From here on memory is complete; before it, the history is asked.
    floor: u64,
    windows: BTreeMap<u64, Places>,
    minutes: BTreeMap<u64, Places>,
    /// Every series by its place: a key is hashed once when it comes, and never again.
    keys: Vec<Arc<SeriesKey>>,
    places: HashMap<Arc<SeriesKey>, usize>,
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

    /// Empty; complete from the next window on: what was committed before `now` has to be asked of the history.
    pub(crate) fn beginning(now: u64) -> Self {
        let live = Self::new(now);
        live.windows().floor = now - now % WINDOW_SECONDS + WINDOW_SECONDS;
        live
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

    /// Sums of the wanted series in `[from, to)` as far as memory has them, and from when on that is.
    pub(crate) fn sums(&self, from: u64, to: u64, wanted: impl Fn(&SeriesKey) -> bool) -> (u64, Totals) {
        let windows = self.windows();
        let from = from.max(windows.floor);
        let mut sums: Vec<Option<SeriesDelta>> = Vec::new();
        sums.resize_with(windows.keys.len(), || None);
        let mut add = |series: &Places| {
            for (place, facts) in series {
                match sums.get_mut(*place) {
                    Some(Some(sum)) => sum.merge(facts),
                    Some(empty) => *empty = Some(facts.clone()),
                    None => {}
                }
            }
        };
        let mut whole = None;
        for (at, window) in windows.windows.range(from..to.max(from)) {
            let minute = at - at % MINUTE;
            if minute < from || minute + MINUTE > to {
                add(window);
            } else if whole != Some(minute) {
                windows.minutes.get(&minute).into_iter().for_each(&mut add);
                whole = Some(minute);
            }
        }
        let found = sums.into_iter().zip(&windows.keys);
        let totals = found.filter_map(|(sum, key)| Some((Arc::clone(key), sum?)));
        (windows.floor, totals.filter(|(key, _)| wanted(key)).collect())
    }

    /// Visits the windows of `[from, to)` as far as memory has them; answers from when on that is.
    pub(crate) fn visit(
        &self,
        from: u64,
        to: u64,
        visit: &mut dyn FnMut(u64, &SeriesKey, &SeriesDelta),
    ) -> u64 {
        let windows = self.windows();
        let from = from.max(windows.floor);
        for (window, series) in windows.windows.range(from..to.max(from)) {
            for (place, facts) in series {
                if let Some(key) = windows.keys.get(*place) {
                    visit(*window, key, facts);
                }
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
        let place = match self.places.get(key) {
            Some(place) => *place,
            None => {
                let shared = Arc::new(key.clone());
                self.keys.push(Arc::clone(&shared));
                self.places.insert(shared, self.keys.len() - 1);
                self.keys.len() - 1
            }
        };
        let minute = window - window % MINUTE;
        let series = self.windows.entry(window).or_default();
        series.entry(place).or_default().merge(facts);
        let series = self.minutes.entry(minute).or_default();
        series.entry(place).or_default().merge(facts);
    }

    fn advance(&mut self, now: u64) {
        let floor = floor(now);
        if floor <= self.floor {
            return;
        }
        self.floor = floor;
        self.windows = self.windows.split_off(&floor);
        // A minute that lost windows is never used whole again.
        self.minutes = self.minutes.split_off(&floor);
        self.forget();
    }

    /// Drops the keys of series that are in no window any more.
    fn forget(&mut self) {
        if self.keys.len() < FEW_KEYS {
            return;
        }
        let used: HashSet<usize> = self
            .windows
            .values()
            .flat_map(|series| series.keys().copied())
            .collect();
        if self.keys.len() < 2 * used.len() {
            return;
        }
        let mut moved: HashMap<usize, usize> = HashMap::new();
        let mut kept = Vec::with_capacity(used.len());
        for (place, key) in self.keys.drain(..).enumerate() {
            if used.contains(&place) {
                moved.insert(place, kept.len());
                kept.push(key);
            }
        }
        self.keys = kept;
        self.places = self.keys.iter().cloned().zip(0..).collect();
        for series in self.windows.values_mut().chain(self.minutes.values_mut()) {
            let old = std::mem::take(series);
            let places = old.into_iter();
            *series = places
                .filter_map(|(place, facts)| Some((*moved.get(&place)?, facts)))
                .collect();
        }
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
        let sum = |from, to| {
            live.sums(from, to, |_| true)
                .1
                .values()
                .map(|d| d.requests)
                .sum::<u64>()
        };
        assert_eq!(sum(NOW, NOW + 10), 5);
        assert_eq!(sum(NOW + 10, NOW + 20), 0);
        assert_eq!(sum(NOW + 20, NOW), 0);
        live.add(&windows(NOW + KEPT + 10, 1), NOW + KEPT + 10);
        assert_eq!(
            live.sums(NOW, NOW + 10, |_| true),
            (NOW + 10, super::Totals::new())
        );
        live.add(&windows(NOW, 3), NOW + KEPT + 10);
        assert_eq!(sum(0, u64::MAX), 1);
    }

    /// A history that could not be read at the start is asked later for what was committed before.
    #[test]
    fn memory_says_what_it_does_not_know() {
        let live = Live::beginning(NOW + 3);
        live.add(&windows(NOW, 2), NOW + 4);
        live.add(&windows(NOW + 10, 3), NOW + 12);
        let sums = live.sums(0, u64::MAX, |_| true);
        let requests: u64 = sums.1.values().map(|d| d.requests).sum();
        assert_eq!((sums.0, requests), (NOW + 10, 3));
        live.add(&windows(NOW + KEPT, 1), NOW + KEPT + 5);
        assert_eq!(live.floor(), NOW + 10);
        live.add(&windows(NOW + KEPT + 20, 1), NOW + KEPT + 20);
        assert_eq!(live.floor(), NOW + 20);
    }

    #[test]
    fn minutes_and_windows_say_the_same() {
        let live = Live::new(NOW);
        for i in 0..30 {
            live.add(&windows(NOW + 10 * i, i + 1), NOW + 10 * i);
        }
        for (from, to) in [
            (0, 30),
            (1, 29),
            (6, 12),
            (7, 12),
            (6, 11),
            (5, 13),
            (29, 30),
            (3, 3),
        ] {
            let (from_s, to_s) = (NOW + 10 * from, NOW + 10 * to);
            let sums = live.sums(from_s, to_s, |_| true).1;
            let got: u64 = sums.values().map(|d| d.requests).sum();
            let wanted: u64 = (from..to).map(|i| i + 1).sum();
            assert_eq!(got, wanted, "{from}..{to}");
            let mut visited = 0;
            live.visit(from_s, to_s, &mut |_, _, delta| visited += delta.requests);
            assert_eq!(visited, wanted, "{from}..{to}");
        }
        assert!(live.sums(NOW, NOW + 300, |_| false).1.is_empty());
    }

    #[test]
    fn keys_of_gone_series_are_forgotten() {
        let live = Live::new(NOW);
        for i in 0..3000 {
            live.add(&batch(&format!("w{i}"), 1, 1, NOW, 1).windows, NOW);
        }
        live.add(&batch("stays", 1, 1, NOW + KEPT, 7).windows, NOW + KEPT + 10);
        assert_eq!(live.windows().keys.len(), 1);
        live.add(&batch("stays", 1, 1, NOW + KEPT, 7).windows, NOW + KEPT + 10);
        let sums = live.sums(0, u64::MAX, |_| true).1;
        assert_eq!(sums.values().map(|d| d.requests).collect::<Vec<_>>(), [14]);
    }
}
