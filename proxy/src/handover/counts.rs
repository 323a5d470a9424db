//! Counters on their way to the next process: series travel in the shapes of the OTLP export.

use std::io;

use mesh_model::edge::{Batch, SeriesDelta, SeriesKey, WindowDelta};
use mesh_telemetry::otlp;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

use super::broken;
use crate::report::outbox::Parts;
use crate::stats::{Counted, FixedHistogram, SeriesTotals};

/// Everything that was counted and is not acknowledged, and totals.
#[derive(Debug, Default)]
pub struct Counts {
    /// The run of telemetry; only when it is handed over.
    pub run: Option<Parts>,
    /// What was counted since the last message.
    pub counted: Counted,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Message {
    #[prost(message, optional, tag = "1")]
    run: Option<Run>,
    #[prost(message, optional, tag = "2")]
    windows: Option<ExportMetricsServiceRequest>,
    #[prost(uint64, tag = "3")]
    overflowed: u64,
    #[prost(uint64, tag = "4")]
    overflowed_total: u64,
    #[prost(message, repeated, tag = "5")]
    totals: Vec<Total>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Run {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(uint64, tag = "2")]
    sequence: u64,
    /// The batch that is numbered and not acknowledged.
    #[prost(message, optional, tag = "3")]
    numbered: Option<ExportMetricsServiceRequest>,
    #[prost(uint64, tag = "4")]
    cut_at_ms: u64,
    #[prost(uint64, tag = "5")]
    numbered_overflowed: u64,
    #[prost(message, optional, tag = "6")]
    waiting: Option<ExportMetricsServiceRequest>,
    #[prost(uint64, tag = "7")]
    overflowed: u64,
    #[prost(uint64, tag = "8")]
    dropped: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Total {
    /// An export of one point, for its labels.
    #[prost(message, optional, tag = "1")]
    key: Option<ExportMetricsServiceRequest>,
    /// Requests, attempts, retries, messages from and to the client, connections opened.
    #[prost(uint64, repeated, tag = "2")]
    numbers: Vec<u64>,
    /// Duration, request bytes, response bytes.
    #[prost(message, repeated, tag = "3")]
    histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Histogram {
    #[prost(uint64, repeated, tag = "1")]
    buckets: Vec<u64>,
    #[prost(double, tag = "2")]
    sum: f64,
}

/// Windows without a run: number and epoch mean nothing.
fn batch(windows: Vec<WindowDelta>) -> Batch {
    let last = windows.iter().map(|window| window.window).max().unwrap_or(0);
    Batch {
        proxy: String::new(),
        epoch: 0,
        sequence: 0,
        cut_at_ms: last.saturating_mul(1000) + 1,
        windows,
        overflowed: 0,
    }
}

fn decode(request: Option<&ExportMetricsServiceRequest>) -> io::Result<Vec<WindowDelta>> {
    let Some(request) = request else {
        return Ok(Vec::new());
    };
    let batch = otlp::decode(request, "handover", 1, 1).map_err(|e| broken(e.to_string()))?;
    Ok(batch.windows)
}

impl Counts {
    pub(super) fn encode(&self) -> Message {
        Message {
            run: self.run.as_ref().map(Run::of),
            windows: Some(otlp::encode(&batch(self.counted.windows.clone()))),
            overflowed: self.counted.overflowed,
            overflowed_total: self.counted.overflowed_total,
            totals: self
                .counted
                .totals
                .iter()
                .map(|(key, total)| Total::of(key, total))
                .collect(),
        }
    }

    pub(super) fn decode(message: &Message) -> io::Result<Self> {
        let totals: io::Result<Vec<_>> = message.totals.iter().map(Total::read).collect();
        Ok(Self {
            run: message.run.as_ref().map(Run::read).transpose()?,
            counted: Counted {
                windows: decode(message.windows.as_ref())?,
                overflowed: message.overflowed,
                overflowed_total: message.overflowed_total,
                totals: totals?,
            },
        })
    }
}

impl Run {
    fn of(parts: &Parts) -> Self {
        let numbered = parts.numbered.as_ref();
        Self {
            epoch: parts.epoch,
            sequence: parts.sequence,
            numbered: numbered.map(otlp::encode),
            cut_at_ms: numbered.map_or(0, |batch| batch.cut_at_ms),
            numbered_overflowed: numbered.map_or(0, |batch| batch.overflowed),
            waiting: Some(otlp::encode(&batch(parts.waiting.clone()))),
            overflowed: parts.overflowed,
            dropped: parts.dropped,
        }
    }

    fn read(&self) -> io::Result<Parts> {
        let numbered = match &self.numbered {
            None => None,
            Some(request) => Some(Batch {
                epoch: self.epoch,
                sequence: self.sequence,
                cut_at_ms: self.cut_at_ms,
                overflowed: self.numbered_overflowed,
                ..batch(decode(Some(request))?)
            }),
        };
        Ok(Parts {
            epoch: self.epoch,
            sequence: self.sequence,
            numbered,
            waiting: decode(self.waiting.as_ref())?,
            overflowed: self.overflowed,
            dropped: self.dropped,
        })
    }
}

impl Histogram {
    fn of(histogram: &FixedHistogram) -> Self {
        Self {
            buckets: histogram.buckets.to_vec(),
            sum: histogram.sum,
        }
    }

    fn read(&self) -> FixedHistogram {
        let mut histogram = FixedHistogram {
            sum: self.sum,
            ..FixedHistogram::default()
        };
        for (mine, theirs) in histogram.buckets.iter_mut().zip(&self.buckets) {
            *mine = *theirs;
        }
        histogram
    }
}

impl Total {
    fn of(key: &SeriesKey, total: &SeriesTotals) -> Self {
        let delta = SeriesDelta {
            requests: 1,
            ..SeriesDelta::default()
        };
        let window = WindowDelta {
            window: 10,
            series: vec![(key.clone(), delta)],
        };
        Self {
            key: Some(otlp::encode(&batch(vec![window]))),
            numbers: vec![
                total.requests,
                total.attempts,
                total.retries,
                total.request_messages,
                total.response_messages,
                total.opened,
            ],
            histograms: [&total.duration, &total.request_bytes, &total.response_bytes]
                .map(Histogram::of)
                .to_vec(),
        }
    }

    fn read(&self) -> io::Result<(SeriesKey, SeriesTotals)> {
        let windows = decode(self.key.as_ref())?;
        let key = windows.into_iter().flat_map(|window| window.series).next();
        let (key, _) = key.ok_or_else(|| broken("a total without labels"))?;
        let number = |at: usize| self.numbers.get(at).copied().unwrap_or_default();
        let histogram = |at: usize| self.histograms.get(at).map(Histogram::read).unwrap_or_default();
        let totals = SeriesTotals {
            requests: number(0),
            attempts: number(1),
            retries: number(2),
            request_messages: number(3),
            response_messages: number(4),
            opened: number(5),
            duration: histogram(0),
            request_bytes: histogram(1),
            response_bytes: histogram(2),
        };
        Ok((key, totals))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use mesh_model::edge::{Reporter, RequestProtocol};
    use mesh_model::flags::ResponseFlags;
    use mesh_model::route::RouteOrigin;
    use mesh_model::workload::{ServiceName, Workload};

    use super::*;

    fn windows(at: u64, requests: u64) -> Vec<WindowDelta> {
        let mut delta = SeriesDelta {
            requests,
            attempts: requests + 1,
            request_bytes: 3,
            ..SeriesDelta::default()
        };
        for _ in 0..requests {
            delta.duration.record(5.0);
        }
        vec![WindowDelta {
            window: at,
            series: vec![(key(), delta)],
        }]
    }

    fn key() -> SeriesKey {
        SeriesKey {
            reporter: Reporter::Source,
            source: Workload::unknown(),
            source_principal: "unknown".into(),
            service: ServiceName::unknown(),
            destination: Workload::unknown(),
            destination_principal: "unknown".into(),
            protocol: RequestProtocol::Http,
            response_code: 503,
            grpc_status: None,
            flags: ResponseFlags::NO_HEALTHY_UPSTREAM,
            mutual_tls: true,
            origin: RouteOrigin {
                virtual_service: "default/vs".into(),
                route: "r".into(),
                ..RouteOrigin::default()
            },
        }
    }

    #[test]
    fn everything_arrives_as_it_was() {
        let mut totals = SeriesTotals {
            requests: 7,
            attempts: 8,
            retries: 1,
            opened: 2,
            ..SeriesTotals::default()
        };
        totals.duration.record(12.0);
        let numbered = Batch {
            proxy: "p".into(),
            epoch: 77,
            sequence: 5,
            cut_at_ms: 1_700_000_000_123,
            windows: windows(1_700_000_000, 4),
            overflowed: 2,
        };
        let counts = Counts {
            run: Some(Parts {
                epoch: 77,
                sequence: 5,
                numbered: Some(numbered),
                waiting: windows(1_700_000_010, 2),
                overflowed: 1,
                dropped: 9,
            }),
            counted: Counted {
                windows: windows(1_700_000_020, 1),
                overflowed: 3,
                overflowed_total: 4,
                totals: vec![(key(), totals.clone())],
            },
        };
        let arrived = Counts::decode(&counts.encode()).unwrap();
        let (sent, got) = (counts.run.unwrap(), arrived.run.unwrap());
        assert_eq!(got.waiting, sent.waiting);
        let (sent, got) = (sent.numbered.unwrap(), got.numbered.unwrap());
        assert_eq!(
            (got.windows, got.cut_at_ms, got.sequence),
            (sent.windows, sent.cut_at_ms, 5)
        );
        assert_eq!((got.overflowed, got.epoch), (2, 77));
        assert_eq!(arrived.counted.windows, counts.counted.windows);
        assert_eq!(arrived.counted.totals, [(key(), totals)]);
        assert_eq!(
            (arrived.counted.overflowed, arrived.counted.overflowed_total),
            (3, 4)
        );
    }

    #[test]
    fn nothing_arrives_as_nothing() {
        let arrived = Counts::decode(&Counts::default().encode()).unwrap();
        assert!(arrived.run.is_none() && arrived.counted.is_empty());
    }
}
