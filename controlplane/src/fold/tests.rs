#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};

use mesh_api::graph::{Edge, GraphType, NodeKind};
use mesh_model::edge::{Reporter, RequestProtocol, SeriesDelta, SeriesKey};
use mesh_model::flags::ResponseFlags;
use mesh_model::histogram::ExponentialHistogram;
use mesh_model::workload::{ServiceName, UNKNOWN, Workload};
use mesh_store::conformance;

use super::{View, graph};

fn workload(name: &str) -> Workload {
    if name == UNKNOWN {
        return Workload::unknown();
    }
    let (app, version) = name.rsplit_once('-').unwrap_or((name, "v1"));
    Workload {
        namespace: "default".into(),
        name: name.into(),
        app: app.into(),
        version: version.into(),
        cluster: "Kubernetes".into(),
    }
}

fn series(
    reporter: Reporter,
    from: &str,
    service: &str,
    to: &str,
    code: u16,
    n: u64,
) -> (SeriesKey, SeriesDelta) {
    let mut duration = ExponentialHistogram::default();
    (0..n).for_each(|_| duration.record(20.0));
    let key = SeriesKey {
        reporter,
        source: workload(from),
        destination: workload(to),
        service: ServiceName {
            host: format!("{service}.default.svc.cluster.local"),
            name: service.into(),
            namespace: "default".into(),
        },
        ..conformance::key("x", code)
    };
    let delta = SeriesDelta {
        requests: n,
        attempts: n,
        duration,
        request_bytes: n,
        response_bytes: n,
    };
    (key, delta)
}

const S: Reporter = Reporter::Source;
const D: Reporter = Reporter::Destination;

fn sample() -> Vec<(SeriesKey, SeriesDelta)> {
    vec![
        series(D, UNKNOWN, "ingress", "ingress", 200, 10),
        series(S, "ingress", "productpage", "productpage-v1", 200, 9),
        series(D, "ingress", "productpage", "productpage-v1", 200, 9),
        series(S, "ingress", "productpage", UNKNOWN, 404, 1),
        series(S, "productpage-v1", "reviews", "reviews-v1", 200, 4),
        series(S, "productpage-v1", "reviews", "reviews-v2", 200, 3),
        series(S, "productpage-v1", "reviews", "reviews-v2", 503, 2),
        series(D, "productpage-v1", "reviews", "reviews-v2", 200, 3),
    ]
}

fn edges(kind: GraphType, view: View) -> Vec<Edge> {
    let sample = sample();
    let view = View { kind, ..view };
    graph(sample.iter().map(|(k, d)| (k, d)), &view).1
}

#[track_caller]
fn check(kind: GraphType, wanted: &[(&str, &str, u64)]) {
    let edges = edges(kind, View::default());
    let got: Vec<_> = edges
        .iter()
        .map(|e| (e.source.as_str(), e.target.as_str(), e.requests))
        .collect();
    assert_eq!(got, wanted);
}

#[test]
fn every_request_is_counted_once_in_every_view() {
    check(
        GraphType::Workload,
        &[
            ("default/ingress", "default/productpage-v1", 9),
            ("default/ingress", "unknown", 1),
            ("default/productpage-v1", "default/reviews-v1", 4),
            ("default/productpage-v1", "default/reviews-v2", 5),
            ("unknown", "default/ingress", 10),
        ],
    );
    check(
        GraphType::App,
        &[
            ("default/ingress", "default/productpage", 9),
            ("default/ingress", "unknown", 1),
            ("default/productpage", "default/reviews", 9),
            ("unknown", "default/ingress", 10),
        ],
    );
    check(
        GraphType::VersionedApp,
        &[
            ("default/ingress@v1", "default/productpage@v1", 9),
            ("default/ingress@v1", "unknown", 1),
            ("default/productpage@v1", "default/reviews@v1", 4),
            ("default/productpage@v1", "default/reviews@v2", 5),
            ("unknown", "default/ingress@v1", 10),
        ],
    );
    check(
        GraphType::Service,
        &[
            (
                "default/ingress",
                "service:productpage.default.svc.cluster.local",
                10,
            ),
            (
                "default/productpage",
                "service:reviews.default.svc.cluster.local",
                9,
            ),
            ("unknown", "service:ingress.default.svc.cluster.local", 10),
        ],
    );
}

#[test]
fn services_join_where_the_configuration_names_them() {
    let services = BTreeMap::from([(
        ("default".to_owned(), "productpage-v1".to_owned()),
        "productpage.default.svc.cluster.local".to_owned(),
    )]);
    let edges = edges(
        GraphType::Service,
        View {
            services,
            ..View::default()
        },
    );
    let joined = edges
        .iter()
        .any(|e| e.source == "service:productpage.default.svc.cluster.local");
    assert!(joined, "{edges:?}");
}

#[test]
fn an_edge_tells_codes_errors_and_quantiles() {
    let edges = edges(GraphType::Workload, View::default());
    let reviews = edges.iter().find(|e| e.target == "default/reviews-v2").unwrap();
    assert_eq!(
        (reviews.requests, reviews.errors, reviews.client_errors),
        (5, 2, 0)
    );
    assert_eq!(
        reviews.codes,
        BTreeMap::from([("200".into(), 3), ("503".into(), 2)])
    );
    assert_eq!(reviews.flags, BTreeMap::from([("-".into(), 5)]));
    assert!((reviews.p95_ms.unwrap() / 20.0 - 1.0).abs() < 0.02);
    let local = edges.iter().find(|e| e.target == UNKNOWN).unwrap();
    assert_eq!((local.errors, local.client_errors), (0, 1));
    assert_eq!(local.service, "productpage.default.svc.cluster.local");
}

#[test]
fn errors_are_no_answer_5xx_and_grpc_failures() {
    let check = |code: u16, grpc: Option<u16>, protocol: RequestProtocol, error: bool, client: bool| {
        let key = SeriesKey {
            protocol,
            grpc_status: grpc,
            ..conformance::key("a", code)
        };
        assert_eq!(
            (key.is_error(), key.is_client_error()),
            (error, client),
            "{code} {grpc:?}"
        );
    };
    let (http, grpc, tcp) = (RequestProtocol::Http, RequestProtocol::Grpc, RequestProtocol::Tcp);
    check(0, None, http, true, false);
    check(200, None, http, false, false);
    check(404, None, http, false, true);
    check(499, None, http, false, true);
    check(500, None, http, true, false);
    check(200, Some(0), grpc, false, false);
    check(200, Some(5), grpc, true, false);
    check(0, None, tcp, false, false);
    let mut key = conformance::key("a", 0);
    key.protocol = tcp;
    key.flags = ResponseFlags::UPSTREAM_FAILURE;
    assert!(key.is_error());
}

#[test]
fn filters_and_marks() {
    let mut view = View {
        namespaces: BTreeSet::from(["other".to_owned()]),
        ..View::default()
    };
    assert!(edges(GraphType::Workload, view.clone()).is_empty());
    view.namespaces = BTreeSet::from(["other".to_owned(), "default".to_owned()]);
    assert_eq!(edges(GraphType::Workload, view.clone()).len(), 5);
    view.gaps = BTreeSet::from([("default".to_owned(), "ingress".to_owned())]);
    view.gateways = view.gaps.clone();
    let sample = sample();
    let (nodes, edges) = graph(sample.iter().map(|(k, d)| (k, d)), &view);
    let marked: Vec<&str> = edges
        .iter()
        .filter(|e| e.gap)
        .map(|e| e.source.as_str())
        .collect();
    assert_eq!(marked, ["default/ingress", "default/ingress", "unknown"]);
    let gateway = nodes.iter().find(|n| n.id == "default/ingress").unwrap();
    assert_eq!(gateway.kind, NodeKind::Gateway);
    assert_eq!(
        nodes.iter().find(|n| n.id == UNKNOWN).unwrap().kind,
        NodeKind::Unknown
    );
}
