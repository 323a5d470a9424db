//! Latency with bounded memory: buckets that grow by about 3 %.

use std::time::Duration;

/// Buckets for each doubling.
const PER_OCTAVE: f64 = 24.0;
/// Enough for 2^32 microseconds.
const BUCKETS: usize = 768;

/// Counts of latencies.
pub(crate) struct Latency {
    buckets: Vec<u64>,
    count: u64,
    longest: Duration,
}

impl Latency {
    /// No latencies yet.
    pub(crate) fn new() -> Self {
        Self {
            buckets: vec![0; BUCKETS],
            count: 0,
            longest: Duration::ZERO,
        }
    }

    /// One more.
    pub(crate) fn record(&mut self, latency: Duration) {
        let micros = (latency.as_secs_f64() * 1e6).max(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0..=767 by construction"
        )]
        let index = (micros.log2() * PER_OCTAVE)
            .floor()
            .clamp(0.0, (BUCKETS - 1) as f64) as usize;
        if let Some(bucket) = self.buckets.get_mut(index) {
            *bucket += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(latency);
    }

    /// Milliseconds that a share `quantile` of the answers did not exceed.
    pub(crate) fn quantile_ms(&self, quantile: f64) -> f64 {
        let mut left = (quantile * self.count as f64).ceil();
        for (index, bucket) in self.buckets.iter().enumerate() {
            left -= *bucket as f64;
            if left <= 0.0 && self.count > 0 {
                let upper = ((index + 1) as f64 / PER_OCTAVE).exp2() / 1000.0;
                return upper.min(self.longest_ms());
            }
        }
        self.longest_ms()
    }

    /// The longest, milliseconds.
    pub(crate) fn longest_ms(&self) -> f64 {
        self.longest.as_secs_f64() * 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_bucket() {
        let mut latency = Latency::new();
        for millis in 1..=100 {
            latency.record(Duration::from_millis(millis));
        }
        for (quantile, expected) in [(0.5, 50.0), (0.99, 99.0), (1.0, 100.0)] {
            let found = latency.quantile_ms(quantile);
            assert!((found - expected).abs() <= expected * 0.03, "{quantile}: {found}");
        }
        assert!(Latency::new().quantile_ms(0.5) < f64::EPSILON);
    }
}
