//! A mergeable exponential histogram (OpenTelemetry, base-2, fixed scale).
//!
//! Scale 5 has a relative bucket width of 2^(1/32) = 2.2 %, so a quantile read at a bucket's middle is within
//! 1.1 %; buckets of all histograms line up, so merging is addition.

use std::collections::BTreeMap;

/// Scale of every histogram in the mesh.
pub const SCALE: i32 = 5;

/// Counts by bucket index; values at or below zero are counted apart. Unit of values: milliseconds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExponentialHistogram {
    /// Values at or below zero.
    pub zero_count: u64,
    /// Bucket index to count; bucket `i` holds `(2^(i/32), 2^((i+1)/32)]`.
    pub buckets: BTreeMap<i32, u64>,
    /// Number of values.
    pub count: u64,
    /// Sum of values.
    pub sum: f64,
}

impl ExponentialHistogram {
    /// Bucket index of a positive value.
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
            *self.buckets.entry(Self::index(value)).or_default() += 1;
        } else {
            self.zero_count += 1;
        }
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.zero_count += other.zero_count;
        self.count += other.count;
        self.sum += other.sum;
        for (index, count) in &other.buckets {
            *self.buckets.entry(*index).or_default() += count;
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
        for (index, count) in &self.buckets {
            #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
            {
                seen += *count as f64;
            }
            if seen >= wanted {
                return Some(((f64::from(*index) + 0.5) / f64::from(1 << SCALE)).exp2());
            }
        }
        self.buckets
            .keys()
            .next_back()
            .map(|i| (f64::from(*i + 1) / f64::from(1 << SCALE)).exp2())
    }
}

#[cfg(test)]
mod tests {
    use super::ExponentialHistogram;

    #[test]
    fn quantiles_are_within_two_percent_also_after_merging() {
        let (mut a, mut b) = (ExponentialHistogram::default(), ExponentialHistogram::default());
        for i in 1..=1000 {
            if i % 2 == 0 {
                a.record(f64::from(i))
            } else {
                b.record(f64::from(i))
            }
        }
        a.merge(&b);
        assert_eq!(a.count, 1000);
        for q in [0.5, 0.9, 0.95, 0.99] {
            let got = a.quantile(q).unwrap_or_default();
            assert!((got / (q * 1000.0) - 1.0).abs() < 0.02, "q{q} = {got}");
        }
        assert_eq!(ExponentialHistogram::default().quantile(0.5), None);
    }
}
