#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::edge::Reporter;
use mesh_model::identity::SpiffeId;
use mesh_model::workload::{ServiceName, UNKNOWN};
use mesh_store::conformance::{NOW, batch};
use tonic::metadata::MetadataMap;

use super::{Head, add_calls_from_outside, may_report};

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://cluster.local/{text}")).unwrap()
}

#[test]
fn a_proxy_reports_for_itself_only() {
    let proxy = "sidecar~127.64.1.2~reviews-v1-abc.default~default.svc.cluster.local";
    let own = id("ns/default/sa/reviews");
    assert!(may_report(&own, proxy, None));
    assert!(may_report(&own, proxy, Some(&own)));
    assert!(!may_report(&own, proxy, Some(&id("ns/default/sa/ratings"))));
    assert!(!may_report(&id("ns/other/sa/reviews"), proxy, None));
    for nonsense in [
        "",
        "sidecar",
        "sidecar~ip~pod~x",
        "waypoint~ip~pod.default~x",
        "sidecar~ip~default~x",
    ] {
        assert!(!may_report(&own, nonsense, None), "{nonsense}");
    }
}

#[test]
fn the_head_is_complete_or_refused() {
    let head = |pairs: &[(&'static str, &str)]| {
        let mut map = MetadataMap::new();
        for (name, value) in pairs {
            map.insert(*name, value.parse().unwrap());
        }
        Head::read(&map)
    };
    let full = [
        ("sightline-proxy", "p"),
        ("sightline-epoch", "7"),
        ("sightline-sequence", "1"),
        ("sightline-final", "true"),
    ];
    let read = head(&full).unwrap();
    assert_eq!((read.epoch, read.sequence, read.last), (7, 1, true));
    assert!(!head(&full[..3]).unwrap().last);
    for missing in 0..3 {
        let rest: Vec<_> = full
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != missing)
            .map(|(_, p)| *p)
            .collect();
        assert!(head(&rest).is_err(), "{}", full[missing].0);
    }
    for bad in ["0", "-1", "x", "18446744073709551616"] {
        assert!(
            head(&[full[0], ("sightline-epoch", bad), full[2]]).is_err(),
            "{bad}"
        );
    }
}

#[test]
fn what_a_gateway_sends_came_in_from_outside() {
    let service = ServiceName {
        host: "istio-ingressgateway.istio-system.svc.cluster.local".into(),
        name: "istio-ingressgateway".into(),
        namespace: "istio-system".into(),
    };
    let mut sent = batch("gateway", 1, 1, NOW, 3);
    add_calls_from_outside(&mut sent, &service);
    let [(out, _), (incoming, delta)] = sent.windows[0].series.as_slice() else {
        panic!("one of each");
    };
    assert_eq!(incoming.reporter, Reporter::Destination);
    assert_eq!(incoming.source.name, UNKNOWN);
    assert_eq!(
        (&incoming.destination, &incoming.service),
        (&out.source, &service)
    );
    assert_eq!((delta.requests, delta.attempts), (3, 3));
    // A gateway that reports it itself is taken at its word, and nothing is added twice.
    let before = sent.clone();
    add_calls_from_outside(&mut sent, &service);
    assert_eq!(sent, before);
}
