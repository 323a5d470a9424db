//! Totals of one series with Istio's fixed buckets.

use mesh_model::edge::SeriesDelta;

/// Upper bounds of Istio's histograms (milliseconds, and bytes with the same numbers); `+Inf` follows.
pub const BUCKET_BOUNDS: [f64; 19] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6,
    3.6e6,
];

/// A histogram over [`BUCKET_BOUNDS`].
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct FixedHistogram {
    /// Counts per bucket (not cumulative); the last is `+Inf`.
    pub buckets: [u64; BUCKET_BOUNDS.len() + 1],
    /// Sum of values.
    pub sum: f64,
}

impl FixedHistogram {
    /// Adds one value.
    pub fn record(&mut self, value: f64) {
        let at = BUCKET_BOUNDS
            .iter()
            .position(|bound| value <= *bound)
            .unwrap_or(BUCKET_BOUNDS.len());
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.sum += value;
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.sum += other.sum;
    }

    /// Number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Everything counted under one series since the start of the proxy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SeriesTotals {
    /// Completed requests (TCP: closed connections).
    pub requests: u64,
    /// Upstream attempts.
    pub attempts: u64,
    /// Duration, milliseconds.
    pub duration: FixedHistogram,
    /// Request bytes.
    pub request_bytes: FixedHistogram,
    /// Response bytes.
    pub response_bytes: FixedHistogram,
    /// Attempts after the first.
    pub retries: u64,
    /// gRPC messages from the client.
    pub request_messages: u64,
    /// gRPC messages to the client.
    pub response_messages: u64,
    /// TCP connections opened.
    pub opened: u64,
}

impl SeriesTotals {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.duration.merge(&other.duration);
        self.request_bytes.merge(&other.request_bytes);
        self.response_bytes.merge(&other.response_bytes);
        self.retries += other.retries;
        self.request_messages += other.request_messages;
        self.response_messages += other.response_messages;
        self.opened += other.opened;
    }
}

/// What a slot gathered since it was last published.
#[derive(Debug, Clone, Default)]
pub(super) struct SlotDelta {
    pub(super) totals: SeriesTotals,
    /// Exponential buckets (index, count), sorted by index.
    pub(super) exponential: Vec<(i32, u64)>,
    pub(super) zero: u64,
    pub(super) request_bytes: u64,
    pub(super) response_bytes: u64,
}

impl SlotDelta {
    pub(super) fn record(
        &mut self,
        duration_ms: f64,
        attempts: u32,
        request_bytes: u64,
        response_bytes: u64,
    ) {
        self.totals.requests += 1;
        self.totals.attempts += u64::from(attempts);
        self.totals.retries += u64::from(attempts.saturating_sub(1));
        self.totals.duration.record(duration_ms);
        #[expect(clippy::cast_precision_loss, reason = "bucket bounds are far apart")]
        {
            self.totals.request_bytes.record(request_bytes as f64);
            self.totals.response_bytes.record(response_bytes as f64);
        }
        self.request_bytes += request_bytes;
        self.response_bytes += response_bytes;
        if duration_ms > 0.0 {
            let index = mesh_model::histogram::ExponentialHistogram::index(duration_ms);
            match self.exponential.binary_search_by_key(&index, |(i, _)| *i) {
                Ok(at) => {
                    if let Some((_, count)) = self.exponential.get_mut(at) {
                        *count += 1;
                    }
                }
                Err(at) => self.exponential.insert(at, (index, 1)),
            }
        } else {
            self.zero += 1;
        }
    }

    /// Bytes of a connection that goes on.
    pub(super) fn moved(&mut self, request_bytes: u64, response_bytes: u64) {
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        {
            self.totals.request_bytes.sum += request_bytes as f64;
            self.totals.response_bytes.sum += response_bytes as f64;
        }
        self.request_bytes += request_bytes;
        self.response_bytes += response_bytes;
    }

    /// Whether anything was counted since it was last published.
    pub(super) fn is_touched(&self) -> bool {
        let totals = &self.totals;
        totals.requests > 0
            || totals.opened > 0
            || self.request_bytes > 0
            || self.response_bytes > 0
            || totals.request_messages > 0
            || totals.response_messages > 0
    }

    pub(super) fn to_delta(&self) -> SeriesDelta {
        let mut delta = SeriesDelta {
            requests: self.totals.requests,
            attempts: self.totals.attempts,
            request_bytes: self.request_bytes,
            response_bytes: self.response_bytes,
            ..SeriesDelta::default()
        };
        delta.duration.zero_count = self.zero;
        delta.duration.count = self.totals.requests;
        delta.duration.sum = self.totals.duration.sum;
        delta.duration.buckets = self.exponential.iter().copied().collect();
        delta
    }

    pub(super) fn clear(&mut self) {
        self.totals = SeriesTotals::default();
        self.exponential.clear();
        self.zero = 0;
        self.request_bytes = 0;
        self.response_bytes = 0;
    }
}
