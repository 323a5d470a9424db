//! Series of an interval, window by window, summed for lists and charts (pure).

use std::collections::HashMap;

use mesh_api::inventory::{Health, Traffic};
use mesh_model::edge::{RequestProtocol, SeriesDelta, SeriesKey};
use mesh_store::Resolution;

use crate::health::Counts;

/// Widths of points, seconds: each a multiple of the windows that it is made of.
const WIDTHS: [u64; 14] = [
    10, 20, 30, 60, 120, 300, 600, 1200, 3600, 7200, 14_400, 21_600, 43_200, 86_400,
];

/// How an interval is cut into points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Start of what is covered, a window border.
    pub(crate) from: u64,
    /// Start of the first point.
    start: u64,
    /// Its end, a window border, or now if that comes first.
    pub(crate) to: u64,
    /// Width of a point.
    pub(crate) step: u64,
}

impl Cut {
    /// Into at most `most` points of the smallest width that allows it.
    pub(crate) fn into_points(from: u64, to: u64, most: u64) -> Self {
        let fits = |width: &u64| to.saturating_sub(from).div_ceil(*width) <= most;
        let step = WIDTHS.into_iter().find(fits).unwrap_or(86_400);
        Self::new(from, to, step)
    }

    /// Into points of a width, which is a multiple of 10 s; their borders are multiples of it.
    pub(crate) fn new(from: u64, to: u64, step: u64) -> Self {
        Self {
            from,
            start: from - from % step,
            to,
            step,
        }
    }

    /// The windows that suffice for it.
    pub(crate) fn resolution(self) -> Resolution {
        let fits = |r: &Resolution| self.step.is_multiple_of(r.seconds());
        Resolution::ALL
            .into_iter()
            .rev()
            .find(fits)
            .unwrap_or(Resolution::TenSeconds)
    }

    /// Number of points.
    pub(crate) fn points(self) -> usize {
        let points = self.to.saturating_sub(self.start).div_ceil(self.step);
        usize::try_from(points).unwrap_or(usize::MAX)
    }

    /// The point of a window. A coarser window than asked for may begin before the first point.
    pub(crate) fn point(self, window: u64) -> usize {
        let index = window.saturating_sub(self.start) / self.step;
        usize::try_from(index)
            .unwrap_or(usize::MAX)
            .min(self.points().saturating_sub(1))
    }

    /// Start of a point.
    pub(crate) fn at(self, point: usize) -> u64 {
        self.start + self.step * u64::try_from(point).unwrap_or_default()
    }

    /// Seconds of a point that lie in the interval.
    fn covered(self, point: usize) -> u64 {
        let start = self.at(point).max(self.from);
        (self.at(point) + self.step).min(self.to).saturating_sub(start)
    }

    pub(crate) fn seconds(self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// Everything of an interval by series.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) cut: Cut,
    series: HashMap<SeriesKey, Entry>,
}

/// One series in the interval.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) sum: SeriesDelta,
    /// Requests by point; points at the end may be missing.
    points: Vec<u64>,
}

impl Ledger {
    pub(crate) fn new(cut: Cut) -> Self {
        Self {
            cut,
            series: HashMap::new(),
        }
    }

    pub(crate) fn add(&mut self, window: u64, key: &SeriesKey, delta: &SeriesDelta) {
        let point = self.cut.point(window);
        let entry = match self.series.get_mut(key) {
            Some(entry) => entry,
            None => self.series.entry(key.clone()).or_default(),
        };
        entry.sum.merge(delta);
        if entry.points.len() <= point {
            entry.points.resize(point + 1, 0);
        }
        if let Some(requests) = entry.points.get_mut(point) {
            *requests += delta.requests;
        }
    }

    /// What was read begins at `start`: earlier than asked for if only coarse windows are kept, later if the history
    /// cannot be used.
    pub(crate) fn begin(&mut self, start: u64) {
        self.cut.from = start.min(self.cut.to);
    }

    pub(crate) fn series(&self) -> impl Iterator<Item = (&SeriesKey, &Entry)> {
        self.series.iter()
    }
}

/// Sums of some series.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Tally {
    http: Counts,
    grpc: Counts,
    tcp: Counts,
    mutual_tls: u64,
    duration: mesh_model::histogram::ExponentialHistogram,
    points: Vec<u64>,
}

impl Tally {
    pub(crate) fn add(&mut self, key: &SeriesKey, entry: &Entry) {
        let requests = entry.sum.requests;
        let counted = |it: bool| if it { requests } else { 0 };
        let counts = match key.protocol {
            RequestProtocol::Http => &mut self.http,
            RequestProtocol::Grpc => &mut self.grpc,
            RequestProtocol::Tcp => &mut self.tcp,
        };
        counts.add(Counts {
            requests,
            errors: counted(key.is_error()),
            client_errors: counted(key.is_client_error()),
        });
        self.mutual_tls += counted(key.mutual_tls);
        self.duration.merge(&entry.sum.duration);
        self.add_points(&entry.points);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.http.add(other.http);
        self.grpc.add(other.grpc);
        self.tcp.add(other.tcp);
        self.mutual_tls += other.mutual_tls;
        self.duration.merge(&other.duration);
        self.add_points(&other.points);
    }

    fn add_points(&mut self, points: &[u64]) {
        if self.points.len() < points.len() {
            self.points.resize(points.len(), 0);
        }
        for (sum, requests) in self.points.iter_mut().zip(points) {
            *sum += requests;
        }
    }

    /// All protocols together.
    pub(crate) fn counts(&self) -> Counts {
        let mut all = self.http;
        all.add(self.grpc);
        all.add(self.tcp);
        all
    }

    /// The worst protocol's.
    pub(crate) fn health(&self) -> Health {
        self.http.health().max(self.grpc.health()).max(self.tcp.health())
    }

    pub(crate) fn p95_ms(&self) -> Option<f64> {
        self.duration.quantile(0.95)
    }

    pub(crate) fn traffic(&self, cut: Cut) -> Traffic {
        let all = self.counts();
        let spark = (0..cut.points()).map(|point| {
            let requests = self.points.get(point).copied().unwrap_or_default();
            rate(requests, cut.covered(point))
        });
        Traffic {
            requests: all.requests,
            errors: all.errors,
            client_errors: all.client_errors,
            rate: rate(all.requests, cut.seconds()),
            p50_ms: self.duration.quantile(0.5),
            p95_ms: self.duration.quantile(0.95),
            p99_ms: self.duration.quantile(0.99),
            mutual_tls: self.mutual_tls,
            spark: spark.collect(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
fn rate(requests: u64, seconds: u64) -> f64 {
    requests as f64 / seconds.max(1) as f64
}

#[cfg(test)]
mod tests {
    use mesh_store::Resolution;
    use mesh_store::conformance::{NOW, key};

    use super::{Cut, Ledger, SeriesDelta, Tally};

    #[track_caller]
    fn check(seconds: u64, step: u64, points: usize, resolution: Resolution) {
        let cut = Cut::into_points(NOW, NOW + seconds, 36);
        assert_eq!(
            (cut.step, cut.points(), cut.resolution()),
            (step, points, resolution),
            "{seconds}"
        );
    }

    #[test]
    fn about_thirty_points() {
        check(0, 10, 0, Resolution::TenSeconds);
        check(300, 10, 30, Resolution::TenSeconds);
        check(310, 10, 31, Resolution::TenSeconds);
        check(3600, 120, 30, Resolution::Minute);
        check(24 * 3600, 3600, 24, Resolution::Hour);
        check(90 * 24 * 3600, 86_400, 91, Resolution::Hour);
    }

    #[test]
    fn points_and_totals_agree() {
        // The first point is half outside, the last is open.
        let cut = Cut::new(NOW + 10, NOW + 45, 20);
        let mut ledger = Ledger::new(cut);
        for (window, requests) in [(NOW, 1), (NOW + 10, 2), (NOW + 20, 4), (NOW + 40, 5)] {
            let delta = SeriesDelta {
                requests,
                ..SeriesDelta::default()
            };
            ledger.add(window, &key("a", 200), &delta);
            ledger.add(window, &key("a", 503), &delta);
        }
        let mut tally = Tally::default();
        ledger.series().for_each(|(key, entry)| tally.add(key, entry));
        let traffic = tally.traffic(cut);
        assert_eq!(
            (traffic.requests, traffic.errors, traffic.mutual_tls),
            (24, 12, 24)
        );
        assert_eq!(traffic.spark, [0.6, 0.4, 2.0]);
        assert!((traffic.rate - 24.0 / 35.0).abs() < 1e-9);
    }
}
