//! The same world gives the same snapshot, however it came together.

use mesh_crd::{Parsed, parse_yaml};
use mesh_translate::World;
use proptest::prelude::*;

use crate::support::{BASE, client, gateway, parse_all, server};

const RULES: &str = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b, namespace: app}
spec: {hosts: [web], http: [{name: b, route: [{destination: {host: web, subset: v1}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: app}
spec: {hosts: [web, x.test], http: [{name: a, route: [{destination: {host: web, subset: v2}}]}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: app}
spec: {host: web, subsets: [{name: v1, labels: {version: v1}}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: app}
spec: {host: web, trafficPolicy: {loadBalancer: {simple: RANDOM}}, subsets: [{name: v1, labels: {version: v2}}, {name: v2, labels: {version: v2}}]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: app}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: g, namespace: app}
spec: {hosts: ['*'], gateways: [g], http: [{route: [{destination: {host: web}}]}]}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p2, namespace: app}
spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: p1, namespace: app}
spec: {mtls: {mode: DISABLE}}
";

fn all() -> Vec<Parsed> {
    let mut all = parse_all(BASE);
    all.extend(parse_all(RULES));
    all
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    #[test]
    fn order_of_arrival_does_not_matter(order in Just((0..all().len()).collect::<Vec<_>>()).prop_shuffle()) {
        let objects = all();
        let (mut first, mut second) = (World::default(), World::default());
        for parsed in &objects {
            first.apply(parsed.clone());
        }
        for i in order {
            // Twice, and removed in between, must end the same.
            second.apply(objects[i].clone());
            second.remove(objects[i].key.as_ref().unwrap());
            second.apply(objects[i].clone());
        }
        for node in [client(), server(), gateway()] {
            prop_assert_eq!(mesh_translate::snapshot(&first, &node), mesh_translate::snapshot(&second, &node));
        }
        prop_assert_eq!(mesh_translate::analyze(&first), mesh_translate::analyze(&second));
    }
}

#[test]
fn a_bad_version_leaves_the_last_good_one() {
    let mut world = World::default();
    for parsed in all() {
        world.apply(parsed);
    }
    let (before, _) = mesh_translate::snapshot(&world, &client());
    let bad = parse_yaml(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: b, namespace: app}\nspec: {hosts: [web], http: [{timeout: 0s}]}",
    );
    let key = bad.key.clone().unwrap();
    assert!(!world.apply(bad));
    let (after, _) = mesh_translate::snapshot(&world, &client());
    assert_eq!(before, after);
    assert!(
        mesh_translate::analyze(&world)[&key]
            .iter()
            .any(|p| p.field == "spec.http[0].timeout")
    );
    world.remove(&key);
    assert!(!mesh_translate::analyze(&world).contains_key(&key));
}

#[test]
fn status_changes_nothing() {
    let mut world = World::default();
    for parsed in all() {
        world.apply(parsed);
    }
    let (before, _) = mesh_translate::snapshot(&world, &client());
    let same = RULES.split("\n---\n").next().unwrap().to_owned() + "status: {conditions: []}\n";
    assert!(!world.apply(parse_yaml(&same)), "nothing new");
    assert_eq!(
        mesh_translate::snapshot(&world, &client()).0.revision,
        before.revision
    );
}
