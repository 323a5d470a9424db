//! Round trip and refusals of the OTLP shape.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use mesh_model::edge::{Batch, Reporter, RequestProtocol, SeriesDelta, SeriesKey, WindowDelta};
use mesh_model::flags::ResponseFlags;
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};
use mesh_telemetry::otlp::{decode, encode};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::metrics::v1::{ExponentialHistogramDataPoint, Metric, metric};
use proptest::prelude::*;

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("unknown".to_owned()),
        "[a-z0-9./:*-]{1,12}"
    ]
}

fn workload() -> impl Strategy<Value = Workload> {
    (name(), name(), name(), name(), name()).prop_map(|(namespace, name, app, version, cluster)| Workload {
        namespace,
        name,
        app,
        version,
        cluster,
    })
}

fn origin() -> impl Strategy<Value = RouteOrigin> {
    (name(), name(), name(), name()).prop_map(|(virtual_service, route, match_name, revision)| RouteOrigin {
        virtual_service,
        route,
        match_name,
        revision,
    })
}

fn key() -> impl Strategy<Value = SeriesKey> {
    (
        (workload(), workload(), name(), name(), origin()),
        (name(), name(), name()),
        (
            0..3_usize,
            any::<u16>(),
            proptest::option::of(0..20_u16),
            any::<u32>(),
            any::<bool>(),
            any::<bool>(),
        ),
    )
        .prop_map(
            |((source, destination, sp, dp, origin), (host, short, namespace), rest)| {
                let (protocol, response_code, grpc_status, bits, mutual_tls, at_source) = rest;
                SeriesKey {
                    reporter: if at_source {
                        Reporter::Source
                    } else {
                        Reporter::Destination
                    },
                    source,
                    source_principal: sp,
                    service: ServiceName {
                        host,
                        name: short,
                        namespace,
                    },
                    destination,
                    destination_principal: dp,
                    protocol: [RequestProtocol::Http, RequestProtocol::Grpc, RequestProtocol::Tcp][protocol],
                    response_code,
                    grpc_status,
                    flags: ResponseFlags::from_bits(bits),
                    mutual_tls,
                    origin,
                }
            },
        )
}

fn delta() -> impl Strategy<Value = SeriesDelta> {
    (
        proptest::collection::vec(prop_oneof![Just(0.0), 1e-6..3.6e6], 0..12),
        0..5_u64,
        0..9_u64,
        any::<u32>(),
        any::<u32>(),
    )
        .prop_map(
            |(values, without_duration, attempts, request_bytes, response_bytes)| {
                let mut duration = ExponentialHistogram::default();
                values.iter().for_each(|v| duration.record(*v));
                SeriesDelta {
                    requests: duration.count + without_duration,
                    attempts,
                    duration,
                    request_bytes: request_bytes.into(),
                    response_bytes: response_bytes.into(),
                }
            },
        )
}

fn batch() -> impl Strategy<Value = Batch> {
    let series = proptest::collection::btree_map(key(), delta(), 1..6);
    let windows = proptest::collection::btree_map(170_000_000..170_000_050_u64, series, 0..4);
    (windows, 1..u64::MAX, 1..u64::MAX, 0..7_u64).prop_map(|(windows, epoch, sequence, overflowed)| Batch {
        proxy: "sidecar~127.64.1.2~a.default~default.svc.cluster.local".into(),
        epoch,
        sequence,
        cut_at_ms: 1_700_000_600_123,
        windows: windows
            .into_iter()
            .map(|(window, series)| WindowDelta {
                window: window * 10,
                series: series.into_iter().collect(),
            })
            .collect(),
        overflowed,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn decode_gives_back_what_was_encoded(batch in batch()) {
        let request = encode(&batch);
        let got = decode(&request, &batch.proxy, batch.epoch, batch.sequence).unwrap();
        prop_assert_eq!(got, batch);
    }
}

fn one() -> ExportMetricsServiceRequest {
    let mut duration = ExponentialHistogram::default();
    duration.record(12.0);
    let key = SeriesKey {
        reporter: Reporter::Source,
        source: Workload::unknown(),
        source_principal: "unknown".into(),
        service: ServiceName::unknown(),
        destination: Workload::unknown(),
        destination_principal: "unknown".into(),
        protocol: RequestProtocol::Http,
        response_code: 200,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        mutual_tls: false,
        origin: RouteOrigin::default(),
    };
    let delta = SeriesDelta {
        requests: 1,
        attempts: 1,
        duration,
        ..SeriesDelta::default()
    };
    encode(&Batch {
        proxy: "p".into(),
        epoch: 1,
        sequence: 1,
        cut_at_ms: 1_700_000_000_000,
        windows: vec![WindowDelta {
            window: 1_700_000_000,
            series: vec![(key, delta)],
        }],
        overflowed: 0,
    })
}

fn metrics(request: &mut ExportMetricsServiceRequest) -> &mut Vec<Metric> {
    &mut request.resource_metrics[0].scope_metrics[0].metrics
}

fn point(request: &mut ExportMetricsServiceRequest) -> &mut ExponentialHistogramDataPoint {
    match metrics(request)[0].data.as_mut() {
        Some(metric::Data::ExponentialHistogram(h)) => &mut h.data_points[0],
        _ => panic!("the first metric is the histogram"),
    }
}

fn set(request: &mut ExportMetricsServiceRequest, name: &str, value: Value) {
    let attribute = point(request)
        .attributes
        .iter_mut()
        .find(|a| a.key == name)
        .expect("the attribute is there");
    attribute.value.as_mut().unwrap().value = Some(value);
}

#[track_caller]
fn check(edit: impl FnOnce(&mut ExportMetricsServiceRequest), refused: Option<&str>) {
    let mut request = one();
    edit(&mut request);
    let got = decode(&request, "p", 1, 1).err().map(|e| e.to_string());
    match (got, refused) {
        (None, None) => {}
        (Some(got), Some(wanted)) => assert!(got.contains(wanted), "{got}"),
        (got, wanted) => panic!("got {got:?}, wanted {wanted:?}"),
    }
}

/// Proxies of another version, finer or coarser.
#[test]
fn histograms_of_other_scales_are_taken() {
    for (scale, offset, wanted) in [
        (6, 229, (0, 229)),
        (5, 114, (1, 114)),
        (8, 917, (0, 229)),
        (0, 3, (6, 3)),
    ] {
        let mut request = one();
        let point = point(&mut request);
        (point.scale, point.positive.as_mut().unwrap().offset) = (scale, offset);
        let batch = decode(&request, "p", 1, 1).unwrap();
        let duration = &batch.windows[0].series[0].1.duration;
        let first = *duration.buckets.keys().next().unwrap();
        assert_eq!((duration.coarser, first), wanted, "scale {scale}");
        assert!((duration.quantile(0.5).unwrap() / 12.0 - 1.0).abs() < 0.5);
    }
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let text = |t: &str| Value::StringValue(t.into());
    check(|_| {}, None);
    check(
        |r| point(r).attributes.push(Default::default()),
        Some("[0].: must be a string"),
    );
    check(
        |r| point(r).scale = 11,
        Some("istio_request_duration_milliseconds[0].scale: must be within 0..=10"),
    );
    check(|r| point(r).count = 2, Some("[0].count: is not the sum"));
    check(|r| point(r).sum = Some(f64::NAN), Some("[0].sum"));
    check(|r| point(r).sum = Some(-1.0), Some("[0].sum"));
    check(
        |r| point(r).positive.as_mut().unwrap().offset = 5000,
        Some("[0].positive"),
    );
    check(
        |r| point(r).positive.as_mut().unwrap().offset = i32::MIN,
        Some("[0].positive"),
    );
    check(
        |r| point(r).positive.as_mut().unwrap().bucket_counts = vec![u64::MAX; 2],
        Some("[0].positive: overflows"),
    );
    check(
        |r| point(r).start_time_unix_nano += 1,
        Some("[0].start_time_unix_nano"),
    );
    check(
        |r| point(r).start_time_unix_nano = 0,
        Some("[0].start_time_unix_nano"),
    );
    check(
        |r| point(r).start_time_unix_nano += 10_000_000_000,
        Some("begins after the batch was cut"),
    );
    check(|r| set(r, "reporter", text("waypoint")), Some("[0].reporter"));
    check(
        |r| set(r, "reporter", Value::IntValue(1)),
        Some("[0].reporter: must be a string"),
    );
    check(|r| set(r, "response_code", text("-1")), Some("[0].response_code"));
    check(|r| set(r, "response_flags", text("UH")), None);
    check(
        |r| set(r, "response_flags", text("XX")),
        Some("[0].response_flags"),
    );
    check(
        |r| set(r, "request_protocol", text(&"x".repeat(3000))),
        Some("longer than"),
    );
    check(|r| point(r).attributes.clear(), Some("[0].reporter: is missing"));
    check(
        |r| metrics(r)[0].data = None,
        Some("must be an exponential histogram"),
    );
    check(
        |r| match metrics(r)[0].data.as_mut() {
            Some(metric::Data::ExponentialHistogram(h)) => h.aggregation_temporality = 2,
            _ => panic!("histogram"),
        },
        Some("delta temporality"),
    );
    check(|r| metrics(r).clear(), Some("no point says when"));
    check(|r| metrics(r)[0].name = "some_other_metric".into(), None);
    assert!(decode(&one(), "", 1, 1).is_err());
    assert!(decode(&one(), "p", 0, 1).is_err());
    assert!(decode(&one(), "p", 1, 0).is_err());
}
