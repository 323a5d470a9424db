//! A mergeable exponential histogram (OpenTelemetry, base-2).
//!
//! Scale 6 has a relative bucket width of 2^(1/64) = 1.09 %, so a quantile read at a bucket's middle is within
//! 0.55 %, at any aggregation: buckets of all histograms line up, so merging is addition. What was recorded at a lower
//! scale (1.09 % at scale 5) still merges: the finer one is made coarser, for a bucket cannot be told apart again.

use std::collections::BTreeMap;

/// Scale of what is recorded.
pub const SCALE: i32 = 6;
/// Lowest scale that is read: buckets of it are doublings.
pub const LOWEST_SCALE: i32 = 0;

/// Counts by bucket index; values at or below zero are counted apart. Unit of values: milliseconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExponentialHistogram {
    /// How far the scale is below [`SCALE`]; 0 unless older data is in it.
    pub coarser: u8,
    /// Values at or below zero.
    pub zero_count: u64,
    /// Bucket index to count; bucket `i` holds `(2^(i/s), 2^((i+1)/s)]`, where `s` is 2 to the power of the scale.
    pub buckets: BTreeMap<i32, u64>,
    /// Number of values.
    pub count: u64,
    /// Sum of values.
    pub sum: f64,
}

impl ExponentialHistogram {
    /// Its scale.
    #[must_use]
    pub fn scale(&self) -> i32 {
        SCALE - i32::from(self.coarser)
    }

    /// Bucket index of a positive value at [`SCALE`].
    #[must_use]
    pub fn index(value: f64) -> i32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "log2 of an f64 is within -1075..1024"
        )]
        let index = (value.log2() * f64::from(1 << SCALE)).ceil() as i32 - 1;
        index
    }

    /// Adds one value.
    pub fn record(&mut self, value: f64) {
        self.count += 1;
        if value > 0.0 {
            self.sum += value;
            *self
                .buckets
                .entry(Self::index(value) >> self.coarser)
                .or_default() += 1;
        } else {
            self.zero_count += 1;
        }
    }

    /// Lowers its scale: buckets join their neighbours.
    pub fn coarsen(&mut self, coarser: u8) {
        let Some(by @ 1..) = coarser.checked_sub(self.coarser) else {
            return;
        };
        let by = u32::from(by).min(31);
        for (index, count) in std::mem::take(&mut self.buckets) {
            *self.buckets.entry(index >> by).or_default() += count;
        }
        self.coarser = coarser;
    }

    /// Adds all of `other`; the result has the lower scale of the two.
    pub fn merge(&mut self, other: &Self) {
        self.coarsen(other.coarser);
        let by = u32::from(self.coarser.saturating_sub(other.coarser)).min(31);
        self.zero_count += other.zero_count;
        self.count += other.count;
        self.sum += other.sum;
        for (index, count) in &other.buckets {
            *self.buckets.entry(index >> by).or_default() += count;
        }
    }

    /// The `q`-quantile (0..=1) at the middle of its bucket; `None` when empty.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let wanted = (q.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0);
        #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
        let mut seen = self.zero_count as f64;
        if seen >= wanted {
            return Some(0.0);
        }
        let width = (-f64::from(self.scale())).exp2();
        for (index, count) in &self.buckets {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            {
                seen += *count as f64;
            }
            if seen >= wanted {
                return Some(((f64::from(*index) + 0.5) * width).exp2());
            }
        }
        self.buckets
            .keys()
            .next_back()
            .map(|i| ((f64::from(*i) + 1.0) * width).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::ExponentialHistogram;

    /// 1 to 1000, recorded in two halves at these scales.
    #[track_caller]
    fn check(coarser: [u8; 2], wanted: u8, within: f64) {
        let [mut a, mut b] = coarser.map(|coarser| ExponentialHistogram {
            coarser,
            ..ExponentialHistogram::default()
        });
        for i in 1..=1000 {
            if i % 2 == 0 {
                a.record(f64::from(i));
            } else {
                b.record(f64::from(i));
            }
        }
        for (mut one, other) in [(a.clone(), &b), (b.clone(), &a)] {
            one.merge(other);
            assert_eq!((one.count, one.coarser), (1000, wanted));
            assert_eq!(one.buckets.values().sum::<u64>(), 1000);
            for q in [0.1, 0.5, 0.9, 0.95, 0.99, 1.0] {
                let got = one.quantile(q).unwrap_or_default();
                assert!((got / (q * 1000.0) - 1.0).abs() < within, "q{q} = {got}");
            }
        }
    }

    #[test]
    fn quantiles_are_within_one_percent_also_after_merging() {
        check([0, 0], 0, 0.0055);
        check([1, 1], 1, 0.011);
        check([0, 1], 1, 0.011);
        check([2, 0], 2, 0.022);
        assert_eq!(ExponentialHistogram::default().quantile(0.5), None);
    }

    #[test]
    fn coarser_buckets_hold_what_their_halves_held() {
        let mut fine = ExponentialHistogram::default();
        let mut coarse = ExponentialHistogram {
            coarser: 1,
            ..ExponentialHistogram::default()
        };
        for value in [0.0, 1e-9, 0.3, 0.999, 1.0, 1.001, 2.0, 1e6] {
            fine.record(value);
            coarse.record(value);
        }
        fine.coarsen(1);
        assert_eq!(fine, coarse);
        fine.coarsen(0);
        assert_eq!(fine, coarse);
    }
}
