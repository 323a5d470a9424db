#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;

use mesh_crd::ObjectKey;
use mesh_translate::World;
use serde_json::{Value, json};

use super::{Concerns, Connected, Inventory};

fn world(objects: &[Value]) -> World {
    let mut world = World::default();
    for object in objects {
        let parsed = mesh_crd::parse_value(object);
        assert!(parsed.object.is_some(), "{:?}", parsed.problems);
        world.apply(parsed);
    }
    world
}

fn pod(name: &str, labels: Value, ready: bool) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "default", "labels": labels },
        "spec": { "containers": [{ "name": "app", "image": "x" }] },
        "status": { "podIP": "127.64.1.2", "conditions": [{ "type": "Ready", "status": if ready { "True" } else { "False" } }] },
    })
}

fn istio(group: &str, kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("{group}.istio.io/v1"), "kind": kind,
        "metadata": { "name": name, "namespace": "default" },
        "spec": spec,
    })
}

fn shop() -> World {
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "reviews", "namespace": "default" },
        "spec": { "selector": { "app": "reviews" }, "ports": [
            { "name": "http", "port": 9080 }, { "name": "tcp-db", "port": 5432, "targetPort": 15432 },
        ] },
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": { "name": "reviews-1", "namespace": "default", "labels": { "kubernetes.io/service-name": "reviews" } },
        "addressType": "IPv4",
        "ports": [{ "name": "http", "port": 9080 }, { "name": "tcp-db", "port": 15432 }],
        "endpoints": [
            { "addresses": ["127.64.1.2"], "conditions": { "ready": true },
              "targetRef": { "kind": "Pod", "name": "reviews-v1-abc", "namespace": "default" } },
            { "addresses": ["127.64.2.2"], "conditions": { "ready": false } },
        ],
    });
    let labels = json!({ "app": "reviews", "version": "v1", "sightline.io/workload": "reviews-v1" });
    world(&[
        service,
        slice,
        pod("reviews-v1-abc", labels.clone(), true),
        pod("reviews-v1-def", labels, false),
        pod("edge-1", json!({ "istio": "ingressgateway" }), true),
        istio(
            "networking",
            "VirtualService",
            "reviews",
            json!({
                "hosts": ["shop.example.com"], "gateways": ["shop"],
                "http": [{ "route": [{ "destination": { "host": "reviews" } }] }],
            }),
        ),
        istio(
            "networking",
            "VirtualService",
            "other",
            json!({
                "hosts": ["*"], "gateways": ["shop"],
                "http": [{ "route": [{ "destination": { "host": "details" } }] }],
            }),
        ),
        istio(
            "networking",
            "DestinationRule",
            "all",
            json!({ "host": "*.default.svc.cluster.local" }),
        ),
        istio(
            "networking",
            "Gateway",
            "shop",
            json!({
                "selector": { "istio": "ingressgateway" },
                "servers": [{ "port": { "number": 80, "name": "http", "protocol": "HTTP" }, "hosts": ["*"] }],
            }),
        ),
        istio(
            "networking",
            "ServiceEntry",
            "books",
            json!({
                "hosts": ["books.example.com"], "resolution": "STATIC",
                "ports": [{ "number": 80, "name": "http", "protocol": "HTTP" }],
                "endpoints": [{ "address": "127.0.0.9" }],
            }),
        ),
        istio(
            "security",
            "PeerAuthentication",
            "strict",
            json!({ "mtls": { "mode": "STRICT" } }),
        ),
        istio(
            "telemetry",
            "Telemetry",
            "v2",
            json!({ "selector": { "matchLabels": { "version": "v2" } } }),
        ),
    ])
}

fn connected() -> BTreeMap<(String, String), Connected> {
    let proxy = |pod: &str, workload: &str, gateway| {
        let connected = Connected {
            id: format!("x~127.64.1.2~{pod}.default~default.svc.cluster.local"),
            workload: workload.into(),
            gateway,
        };
        (("default".to_owned(), pod.to_owned()), connected)
    };
    BTreeMap::from([
        proxy("reviews-v1-abc", "reviews-v1", false),
        proxy("edge-1", "edge", true),
    ])
}

#[test]
fn workloads_are_pods_of_one_name() {
    let inventory = Inventory::of(&shop(), &connected());
    let rows: Vec<_> = inventory
        .workloads
        .values()
        .map(|w| {
            (
                w.workload.name.as_str(),
                w.workload.version.as_str(),
                w.pods,
                w.ready,
                w.proxy(),
            )
        })
        .collect();
    assert_eq!(
        rows,
        [
            ("edge", "latest", 1, 1, "gateway"),
            ("reviews-v1", "v1", 2, 1, "sidecar")
        ]
    );
}

#[test]
fn services_have_ports_and_endpoints() {
    let inventory = Inventory::of(&shop(), &connected());
    let rows: Vec<_> = inventory
        .services
        .iter()
        .map(|s| (s.key.kind.as_str(), s.host(), s.ready(), s.ports.join(" ")))
        .collect();
    assert_eq!(
        rows,
        [
            ("ServiceEntry", "books.example.com", 1, "http:80/HTTP".to_owned()),
            (
                "Service",
                "reviews.default.svc.cluster.local",
                1,
                "http:9080/http tcp-db:5432→15432/tcp".to_owned()
            ),
        ]
    );
    let reviews = &inventory.services[1];
    assert_eq!(reviews.endpoints.len(), 4, "two addresses, two ports");
    assert_eq!(
        reviews.endpoints[0].workload,
        Some(("default".to_owned(), "reviews-v1".to_owned()))
    );
    let workload = &inventory.workloads[&("default".to_owned(), "reviews-v1".to_owned())];
    assert_eq!(inventory.services_of(workload).count(), 1);
}

#[test]
fn objects_concern_what_they_name_or_select() {
    let world = shop();
    let inventory = Inventory::of(&world, &connected());
    let concerns = Concerns::of(&world);
    let key = |kind: &str, name: &str| ObjectKey::new(kind, "default", name);
    let of_service = |i: usize| {
        concerns
            .of_service(&inventory.services[i])
            .into_iter()
            .collect::<Vec<_>>()
    };
    assert_eq!(of_service(0), [key("ServiceEntry", "books")]);
    assert_eq!(
        of_service(1),
        [
            key("DestinationRule", "all"),
            key("Gateway", "shop"),
            key("VirtualService", "reviews")
        ]
    );
    let of_workload = |name: &str| {
        let facts = &inventory.workloads[&("default".to_owned(), name.to_owned())];
        concerns.of_workload(facts).into_iter().collect::<Vec<_>>()
    };
    assert_eq!(of_workload("reviews-v1"), [key("PeerAuthentication", "strict")]);
    assert_eq!(
        of_workload("edge"),
        [key("Gateway", "shop"), key("PeerAuthentication", "strict")]
    );
}
