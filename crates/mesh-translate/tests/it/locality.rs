//! Endpoints near a client: priorities and weights by locality settings; ports by Sidecar objects.

use mesh_translate::ProxyNode;
use serde_json::json;

use crate::support::{BASE, server, world};

const ENTRY: &str = "apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: x, namespace: app}
spec:
  hosts: [x.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints:
  - {address: 127.64.20.2, locality: r1/z1/s1, labels: {tier: a}}
  - {address: 127.64.21.2, locality: r1/z2/s1, labels: {tier: b}}
  - {address: 127.64.22.2, locality: r2/z1/s1, labels: {tier: a}}
  - {address: 127.64.23.2, locality: r3/z1/s1, labels: {tier: b}}
";

/// `priority/weight` of each endpoint, by address.
#[track_caller]
fn check(policy: &str, expected: &[&str]) {
    let rule = format!(
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: x, namespace: app}}\nspec: {{host: x.test, trafficPolicy: {policy}}}"
    );
    let metadata = json!({
        "LABELS": {"app": "client", "istio-locality": "r1.z1.s1", "tier": "b"},
        "SIGHTLINE_APPLICATION_ADDRESS": "127.64.9.1",
        "SIGHTLINE_OUTBOUND": "127.64.9.3:15001",
    });
    let node = ProxyNode::parse("sidecar~127.64.9.2~client-1.app~app.svc.cluster.local", &metadata).unwrap();
    let (snapshot, _) = mesh_translate::snapshot(&world(&[BASE, ENTRY, &rule]), &node);
    let endpoints = &snapshot.endpoints["outbound|80||x.test"].0;
    let got: Vec<String> = endpoints
        .iter()
        .map(|e| format!("{} {}/{}", e.address.ip(), e.priority, e.weight))
        .collect();
    assert_eq!(got, expected, "{policy}");
}

#[test]
fn near_endpoints_come_first_when_failures_are_seen() {
    let flat = [
        "127.64.20.2 0/1",
        "127.64.21.2 0/1",
        "127.64.22.2 0/1",
        "127.64.23.2 0/1",
    ];
    check("{loadBalancer: {simple: ROUND_ROBIN}}", &flat);
    let by_distance = [
        "127.64.20.2 0/1",
        "127.64.21.2 1/1",
        "127.64.22.2 2/1",
        "127.64.23.2 2/1",
    ];
    check("{outlierDetection: {}}", &by_distance);
    check(
        "{outlierDetection: {}, loadBalancer: {localityLbSetting: {enabled: false}}}",
        &flat,
    );
    check(
        "{loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}}",
        &flat,
    );
    let to = [
        "127.64.20.2 0/1",
        "127.64.21.2 1/1",
        "127.64.22.2 3/1",
        "127.64.23.2 2/1",
    ];
    check(
        "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failover: [{from: r1, to: r3}]}}}",
        &to,
    );
    let by_label = [
        "127.64.20.2 1/1",
        "127.64.21.2 0/1",
        "127.64.22.2 1/1",
        "127.64.23.2 0/1",
    ];
    check(
        "{outlierDetection: {}, loadBalancer: {localityLbSetting: {failoverPriority: [tier]}}}",
        &by_label,
    );
}

#[test]
fn shares_by_place() {
    check(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: 'r1/z1/*', to: {'r1/*': 80, 'r2/*': 20}}]}}}",
        &[
            "127.64.20.2 0/40000",
            "127.64.21.2 0/40000",
            "127.64.22.2 0/20000",
        ],
    );
    check(
        "{loadBalancer: {localityLbSetting: {distribute: [{from: 'r9/*', to: {'r1/*': 100}}]}}}",
        &[
            "127.64.20.2 0/1",
            "127.64.21.2 0/1",
            "127.64.22.2 0/1",
            "127.64.23.2 0/1",
        ],
    );
}

/// Inbound listeners, each with the address of its application.
#[track_caller]
fn inbound(sidecar: &str, expected: &[&str]) {
    let sidecar = format!(
        "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {{name: s, namespace: app}}\nspec: {sidecar}"
    );
    let (snapshot, _) = mesh_translate::snapshot(&world(&[BASE, &sidecar]), &server());
    let mut got: Vec<String> = Vec::new();
    for (name, cluster) in snapshot
        .clusters
        .iter()
        .filter(|(name, _)| name.starts_with("inbound"))
    {
        let mesh_model::cluster::Discovery::Static(endpoints) = &cluster.discovery else {
            panic!("{cluster:?}");
        };
        got.push(format!(
            "{name} {} {}",
            endpoints.0[0].address, cluster.limits.max_pending
        ));
    }
    assert_eq!(got, expected, "{sidecar}");
}

#[test]
fn a_sidecar_object_says_which_ports_are_served() {
    let all = u32::MAX;
    inbound(
        "{egress: [{hosts: ['*/*']}]}",
        &[&format!("inbound|8080|| 127.64.1.1:8080 {all}")],
    );
    inbound(
        "{ingress: [{port: {number: 9000, protocol: HTTP, name: http}, defaultEndpoint: '127.0.0.1:9999', \
          connectionPool: {http: {http1MaxPendingRequests: 7}}}, \
          {port: {number: 8080, protocol: HTTP, name: http}}], \
          inboundConnectionPool: {http: {http1MaxPendingRequests: 5}}}",
        &[
            "inbound|8080|| 127.64.1.1:8080 5",
            "inbound|9000|| 127.64.1.1:9999 7",
        ],
    );
}
