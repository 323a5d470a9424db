#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::edge::SeriesKey;
use mesh_store::conformance::{NOW, batch, key};

use super::{Chart, Field, MAX_GROUPS, Subject, promql};
use crate::traffic::Cut;

fn chart(field: Field, keys: &[(u64, SeriesKey, u64)]) -> Vec<super::Group> {
    let mut chart = Chart::new(Cut::new(NOW, NOW + 40, 20), field);
    for (window, key, requests) in keys {
        let (_, delta) = &batch("a", 1, 1, *window, *requests).windows[0].series[0];
        chart.add(*window, key, delta);
    }
    chart.finish(&[0.5])
}

#[test]
fn points_of_every_group_sum_up() {
    let groups = chart(
        Field::Code,
        &[
            (NOW, key("a", 200), 3),
            (NOW + 10, key("a", 200), 4),
            (NOW + 30, key("a", 503), 2),
        ],
    );
    let shape: Vec<_> = groups
        .iter()
        .map(|g| {
            let points: Vec<_> = g.points.iter().map(|p| (p.at, p.requests, p.errors)).collect();
            (g.name.as_str(), g.total.requests, points)
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("200", 7, vec![(NOW, 7, 0), (NOW + 20, 0, 0)]),
            ("503", 2, vec![(NOW, 0, 0), (NOW + 20, 2, 2)]),
        ]
    );
    assert_eq!(groups[0].points[1].quantiles_ms, [None]);
    assert!((groups[0].total.quantiles_ms[0].unwrap() / 12.5 - 1.0).abs() < 0.02);
}

#[test]
fn no_traffic_is_one_line_of_zeros() {
    let groups = chart(Field::Nothing, &[]);
    assert_eq!((groups.len(), groups[0].points.len()), (1, 2));
    assert!(chart(Field::Code, &[]).is_empty());
}

#[test]
fn the_rest_is_one_group() {
    let keys: Vec<_> = (0..MAX_GROUPS as u64 + 5)
        .map(|i| (NOW, key(&format!("w{i:02}"), 200), i + 1))
        .collect();
    let groups = chart(Field::Source, &keys);
    assert_eq!(groups.len(), MAX_GROUPS + 1);
    assert_eq!(groups[0].name, "default/w24");
    assert_eq!(
        (groups[20].name.as_str(), groups[20].total.requests),
        ("other", 15)
    );
}

#[test]
fn routes_are_named_as_far_as_they_have_names() {
    let mut key = key("a", 200);
    for (virtual_service, route, match_name, wanted) in [
        ("", "", "", ""),
        ("default/reviews", "", "", "default/reviews"),
        ("default/reviews", "main", "", "default/reviews: main"),
        (
            "default/reviews",
            "main",
            "mobile",
            "default/reviews: main.mobile",
        ),
        ("", "default", "", "default"),
    ] {
        key.origin.virtual_service = virtual_service.into();
        key.origin.route = route.into();
        key.origin.match_name = match_name.into();
        assert_eq!(super::route(&key), wanted);
    }
}

#[test]
fn promql_asks_for_the_same_requests() {
    let none = promql(&Subject::Mesh, Field::Nothing, 0.95, 20);
    assert_eq!(
        none["requests"],
        "sum(rate(istio_requests_total{reporter=\"source\"}[1m]) or \
         rate(istio_requests_total{reporter=\"destination\",source_workload=\"unknown\",source_principal=\"unknown\"}[1m]))"
    );
    let workload = Subject::Workload {
        namespace: "default".into(),
        name: "re\"views".into(),
        inbound: true,
    };
    let by_code = promql(&workload, Field::Code, 0.99, 300);
    assert!(
        by_code["duration"].starts_with(
            "histogram_quantile(0.99, sum by (le, response_code) (rate(istio_request_duration_milliseconds_bucket{\
             destination_workload_namespace=\"default\",destination_workload=\"re\\\"views\",reporter=\"source\"}[300s]) or "
        ),
        "{}",
        by_code["duration"]
    );
    let by_route = promql(&workload, Field::Route, 0.95, 20);
    assert!(by_route["requests"].contains("sightline_route_requests_total"));
    assert!(!by_route["requests"].contains("destination_workload_namespace"));
    let keys: Vec<_> = none.keys().map(String::as_str).collect();
    assert_eq!(
        keys,
        [
            "duration",
            "errors",
            "request_bytes",
            "requests",
            "response_bytes"
        ]
    );
}
