//! OTLP to [`Batch`].

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use mesh_model::edge::{Batch, SeriesDelta, SeriesKey, WINDOW_SECONDS, WindowDelta};
use mesh_model::histogram::{ExponentialHistogram, LOWEST_SCALE, SCALE};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogramDataPoint, NumberDataPoint, metric, number_data_point,
};

use super::attributes::{invalid, series_key};
use super::{Invalid, MAX_BUCKET, MAX_POINTS, MAX_VALUE_BYTES, MAX_WINDOWS, MIN_BUCKET, NANOS, NANOS_PER_MS};
use crate::metrics;

/// Finest scale that is taken.
const HIGHEST_SCALE: i32 = 10;

pub(super) fn batch(
    request: &ExportMetricsServiceRequest,
    proxy: &str,
    epoch: u64,
    sequence: u64,
) -> Result<Batch, Invalid> {
    if proxy.is_empty() || proxy.len() > MAX_VALUE_BYTES {
        return Err(invalid("metadata", "the proxy's id is empty or too long"));
    }
    if epoch == 0 || sequence == 0 {
        return Err(invalid("metadata", "epoch and sequence count from 1"));
    }
    let mut gathered = Gathered::default();
    let metrics = request
        .resource_metrics
        .iter()
        .flat_map(|resource| &resource.scope_metrics)
        .flat_map(|scope| &scope.metrics);
    for metric in metrics {
        gathered.metric(&metric.name, metric.data.as_ref())?;
    }
    gathered.finish(proxy, epoch, sequence)
}

#[derive(Default)]
struct Gathered {
    points: usize,
    cut_at_ms: u64,
    overflowed: u64,
    windows: BTreeMap<u64, Window>,
}

#[derive(Default)]
struct Window {
    places: HashMap<SeriesKey, usize>,
    series: Vec<Series>,
}

struct Series {
    key: SeriesKey,
    delta: SeriesDelta,
    /// Set where the number of requests is not the histogram's count.
    requests: Option<u64>,
}

impl Gathered {
    fn metric(&mut self, name: &str, data: Option<&metric::Data>) -> Result<(), Invalid> {
        let field = match name {
            metrics::REQUEST_DURATION_MILLISECONDS => {
                let Some(metric::Data::ExponentialHistogram(points)) = data else {
                    return Err(invalid(name, "must be an exponential histogram"));
                };
                delta_only(name, points.aggregation_temporality)?;
                for (i, point) in points.data_points.iter().enumerate() {
                    self.duration(point).map_err(|e| at(name, i, e))?;
                }
                return Ok(());
            }
            metrics::PROXY_SERIES_OVERFLOWED_TOTAL => Field::Overflowed,
            metrics::REQUESTS_TOTAL => Field::Requests,
            metrics::ATTEMPTS_TOTAL => Field::Attempts,
            metrics::REQUEST_BYTES_TOTAL => Field::RequestBytes,
            metrics::RESPONSE_BYTES_TOTAL => Field::ResponseBytes,
            _ => return Ok(()),
        };
        let Some(metric::Data::Sum(sum)) = data else {
            return Err(invalid(name, "must be a sum"));
        };
        delta_only(name, sum.aggregation_temporality)?;
        for (i, point) in sum.data_points.iter().enumerate() {
            self.number(field, point).map_err(|e| at(name, i, e))?;
        }
        Ok(())
    }

    fn duration(&mut self, point: &ExponentialHistogramDataPoint) -> Result<(), Invalid> {
        self.count_point(point.time_unix_nano)?;
        let histogram = histogram(point)?;
        let series = self.series(point.start_time_unix_nano, &point.attributes)?;
        let total = series.delta.duration.count.checked_add(histogram.count);
        total.ok_or_else(|| invalid("count", "overflows"))?;
        series.delta.duration.merge(&histogram);
        Ok(())
    }

    fn number(&mut self, field: Field, point: &NumberDataPoint) -> Result<(), Invalid> {
        self.count_point(point.time_unix_nano)?;
        let value = match point.value {
            Some(number_data_point::Value::AsInt(value)) => {
                u64::try_from(value).map_err(|_| invalid("value", "must not be negative"))?
            }
            _ => return Err(invalid("value", "must be an integer")),
        };
        let slot = match field {
            Field::Overflowed => &mut self.overflowed,
            _ => {
                let series = self.series(point.start_time_unix_nano, &point.attributes)?;
                match field {
                    Field::Requests => series.requests.get_or_insert(0),
                    Field::Attempts => &mut series.delta.attempts,
                    Field::RequestBytes => &mut series.delta.request_bytes,
                    Field::ResponseBytes | Field::Overflowed => &mut series.delta.response_bytes,
                }
            }
        };
        *slot = slot
            .checked_add(value)
            .ok_or_else(|| invalid("value", "overflows"))?;
        Ok(())
    }

    fn count_point(&mut self, time_unix_nano: u64) -> Result<(), Invalid> {
        self.points += 1;
        if self.points > MAX_POINTS {
            return Err(invalid("points", format!("more than {MAX_POINTS}")));
        }
        self.cut_at_ms = self.cut_at_ms.max(time_unix_nano / NANOS_PER_MS);
        Ok(())
    }

    fn series(&mut self, start: u64, attributes: &[KeyValue]) -> Result<&mut Series, Invalid> {
        let seconds = start / NANOS;
        if !start.is_multiple_of(NANOS) || !seconds.is_multiple_of(WINDOW_SECONDS) || seconds == 0 {
            return Err(invalid(
                "start_time_unix_nano",
                format!("must be a multiple of {WINDOW_SECONDS} s"),
            ));
        }
        let windows = self.windows.len();
        let window = match self.windows.entry(seconds) {
            Entry::Occupied(occupied) => occupied.into_mut(),
            Entry::Vacant(_) if windows >= MAX_WINDOWS => {
                return Err(invalid(
                    "start_time_unix_nano",
                    format!("more than {MAX_WINDOWS} windows"),
                ));
            }
            Entry::Vacant(vacant) => vacant.insert(Window::default()),
        };
        let key = series_key(attributes)?;
        let next = window.series.len();
        let place = *window.places.entry(key.clone()).or_insert(next);
        if place == next {
            window.series.push(Series {
                key,
                delta: SeriesDelta::default(),
                requests: None,
            });
        }
        window
            .series
            .get_mut(place)
            .ok_or_else(|| invalid("attributes", "series lost"))
    }

    fn finish(self, proxy: &str, epoch: u64, sequence: u64) -> Result<Batch, Invalid> {
        if self.cut_at_ms == 0 {
            return Err(invalid("time_unix_nano", "no point says when the batch was cut"));
        }
        let last = self.windows.last_key_value().map_or(0, |(last, _)| *last);
        if last.saturating_mul(1000) > self.cut_at_ms {
            return Err(invalid(
                "start_time_unix_nano",
                "a window begins after the batch was cut",
            ));
        }
        let windows = self.windows.into_iter().map(|(window, found)| WindowDelta {
            window,
            series: found.series.into_iter().map(Series::finish).collect(),
        });
        Ok(Batch {
            proxy: proxy.into(),
            epoch,
            sequence,
            cut_at_ms: self.cut_at_ms,
            windows: windows.collect(),
            overflowed: self.overflowed,
        })
    }
}

impl Series {
    fn finish(mut self) -> (SeriesKey, SeriesDelta) {
        self.delta.requests = self.requests.unwrap_or(self.delta.duration.count);
        (self.key, self.delta)
    }
}

#[derive(Clone, Copy)]
enum Field {
    Requests,
    Attempts,
    RequestBytes,
    ResponseBytes,
    Overflowed,
}

fn histogram(point: &ExponentialHistogramDataPoint) -> Result<ExponentialHistogram, Invalid> {
    // A proxy of another version may be finer or coarser: finer buckets join, coarser ones stay as they are.
    if !(LOWEST_SCALE..=HIGHEST_SCALE).contains(&point.scale) {
        return Err(invalid(
            "scale",
            format!("must be within {LOWEST_SCALE}..={HIGHEST_SCALE}"),
        ));
    }
    let finer = (point.scale - SCALE).max(0);
    let coarser = (SCALE - point.scale).max(0);
    let (lowest, highest) = (
        (MIN_BUCKET << finer) >> coarser,
        (((MAX_BUCKET + 1) << finer) - 1) >> coarser,
    );
    if point
        .negative
        .as_ref()
        .is_some_and(|n| n.bucket_counts.iter().any(|c| *c != 0))
    {
        return Err(invalid("negative", "durations are not negative"));
    }
    let sum = point.sum.unwrap_or_default();
    if !sum.is_finite() || sum < 0.0 {
        return Err(invalid("sum", "must be finite and not negative"));
    }
    let mut buckets = BTreeMap::new();
    let mut count = point.zero_count;
    if let Some(positive) = &point.positive {
        let width = i32::try_from(positive.bucket_counts.len()).unwrap_or(i32::MAX);
        let last = positive.offset.saturating_add(width).saturating_sub(1);
        if width > 0 && (positive.offset < lowest || last > highest) {
            return Err(invalid(
                "positive",
                format!("buckets must lie within {lowest}..={highest}"),
            ));
        }
        for (index, bucket) in (positive.offset..).zip(&positive.bucket_counts) {
            if *bucket != 0 {
                count = count
                    .checked_add(*bucket)
                    .ok_or_else(|| invalid("positive", "overflows"))?;
                *buckets.entry(index >> finer).or_default() += *bucket;
            }
        }
    }
    if count != point.count {
        return Err(invalid("count", "is not the sum of the buckets"));
    }
    Ok(ExponentialHistogram {
        coarser: u8::try_from(coarser).unwrap_or_default(),
        zero_count: point.zero_count,
        buckets,
        count,
        sum,
    })
}

fn delta_only(name: &str, temporality: i32) -> Result<(), Invalid> {
    if temporality == AggregationTemporality::Delta as i32 {
        Ok(())
    } else {
        Err(invalid(name, "must have delta temporality"))
    }
}

fn at(metric: &str, point: usize, error: Invalid) -> Invalid {
    Invalid {
        path: format!("{metric}[{point}].{}", error.path),
        reason: error.reason,
    }
}
