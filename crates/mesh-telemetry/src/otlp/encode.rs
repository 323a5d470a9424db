//! [`Batch`] to OTLP.

use mesh_model::edge::{Batch, Reporter, SeriesDelta, SeriesKey};
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::workload::{UNKNOWN, Workload};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, ExponentialHistogram as HistogramPoints, ExponentialHistogramDataPoint, Metric,
    NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::attributes::{attribute, of_series};
use super::{MAX_BUCKET, MIN_BUCKET, NANOS, NANOS_PER_MS, SCOPE};
use crate::{metrics, spans};

const DELTA: i32 = AggregationTemporality::Delta as i32;

pub(super) fn request(batch: &Batch) -> ExportMetricsServiceRequest {
    let cut = batch.cut_at_ms.saturating_mul(NANOS_PER_MS);
    let mut points = Points::default();
    for window in &batch.windows {
        let start = window.window.saturating_mul(NANOS);
        for (key, delta) in &window.series {
            points.add(key, delta, start, cut);
        }
    }
    let mut list = vec![Metric {
        name: metrics::REQUEST_DURATION_MILLISECONDS.into(),
        unit: "ms".into(),
        data: Some(metric::Data::ExponentialHistogram(HistogramPoints {
            data_points: points.durations,
            aggregation_temporality: DELTA,
        })),
        ..Metric::default()
    }];
    for (name, unit, data_points) in [
        (metrics::REQUESTS_TOTAL, "1", points.requests),
        (metrics::ATTEMPTS_TOTAL, "1", points.attempts),
        (metrics::REQUEST_BYTES_TOTAL, "By", points.request_bytes),
        (metrics::RESPONSE_BYTES_TOTAL, "By", points.response_bytes),
        // Always present: it carries the time of the cut when there is nothing else to send.
        (
            metrics::PROXY_SERIES_OVERFLOWED_TOTAL,
            "1",
            vec![number(batch.overflowed, Vec::new(), 0, cut)],
        ),
    ] {
        if !data_points.is_empty() {
            list.push(Metric {
                name: name.into(),
                unit: unit.into(),
                data: Some(metric::Data::Sum(Sum {
                    data_points,
                    aggregation_temporality: DELTA,
                    is_monotonic: true,
                })),
                ..Metric::default()
            });
        }
    }
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource {
                attributes: vec![attribute(spans::SERVICE_NAME, &service_name(batch))],
                ..Resource::default()
            }),
            scope_metrics: vec![ScopeMetrics {
                scope: Some(InstrumentationScope {
                    name: SCOPE.into(),
                    ..InstrumentationScope::default()
                }),
                metrics: list,
                ..ScopeMetrics::default()
            }],
            ..ResourceMetrics::default()
        }],
    }
}

#[derive(Default)]
struct Points {
    durations: Vec<ExponentialHistogramDataPoint>,
    requests: Vec<NumberDataPoint>,
    attempts: Vec<NumberDataPoint>,
    request_bytes: Vec<NumberDataPoint>,
    response_bytes: Vec<NumberDataPoint>,
}

impl Points {
    fn add(&mut self, key: &SeriesKey, delta: &SeriesDelta, start: u64, cut: u64) {
        let attributes = of_series(key);
        for (value, list, needed) in [
            // The histogram's count says it, unless some requests have no duration.
            (
                delta.requests,
                &mut self.requests,
                delta.requests != delta.duration.count,
            ),
            (delta.attempts, &mut self.attempts, delta.attempts != 0),
            (
                delta.request_bytes,
                &mut self.request_bytes,
                delta.request_bytes != 0,
            ),
            (
                delta.response_bytes,
                &mut self.response_bytes,
                delta.response_bytes != 0,
            ),
        ] {
            if needed {
                list.push(number(value, attributes.clone(), start, cut));
            }
        }
        self.durations
            .push(histogram_point(&delta.duration, attributes, start, cut));
    }
}

fn number(value: u64, attributes: Vec<KeyValue>, start: u64, cut: u64) -> NumberDataPoint {
    NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: cut,
        value: Some(number_data_point::Value::AsInt(
            i64::try_from(value).unwrap_or(i64::MAX),
        )),
        ..NumberDataPoint::default()
    }
}

fn histogram_point(
    duration: &ExponentialHistogram,
    attributes: Vec<KeyValue>,
    start: u64,
    cut: u64,
) -> ExponentialHistogramDataPoint {
    ExponentialHistogramDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: cut,
        count: duration.count,
        sum: Some(duration.sum),
        scale: duration.scale(),
        zero_count: duration.zero_count,
        positive: dense(duration),
        ..ExponentialHistogramDataPoint::default()
    }
}

/// OTLP buckets are dense from an offset on.
fn dense(duration: &ExponentialHistogram) -> Option<Buckets> {
    let (low, high) = (MIN_BUCKET >> duration.coarser, MAX_BUCKET >> duration.coarser);
    let bounded = |index: &i32| (*index).clamp(low, high);
    let first = duration.buckets.keys().next().map(bounded)?;
    let last = duration.buckets.keys().next_back().map(bounded)?;
    let mut counts = vec![0_u64; usize::try_from(last - first).ok()? + 1];
    for (index, count) in &duration.buckets {
        let place = usize::try_from(bounded(index) - first).ok();
        if let Some(slot) = place.and_then(|place| counts.get_mut(place)) {
            *slot += count;
        }
    }
    Some(Buckets {
        offset: first,
        bucket_counts: counts,
    })
}

/// `<app>.<namespace>` of the reporting workload; the node's own name while it has reported nothing.
fn service_name(batch: &Batch) -> String {
    let own = |(key, _): &(SeriesKey, SeriesDelta)| -> Workload {
        match key.reporter {
            Reporter::Source => key.source.clone(),
            Reporter::Destination => key.destination.clone(),
        }
    };
    batch
        .windows
        .iter()
        .flat_map(|window| window.series.iter().map(own))
        .find(|workload| workload.name != UNKNOWN)
        .map(|workload| format!("{}.{}", workload.app, workload.namespace))
        .or_else(|| batch.proxy.split('~').nth(2).map(str::to_owned))
        .unwrap_or_else(|| batch.proxy.clone())
}
