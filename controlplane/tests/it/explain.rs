//! `/api/explain`: decisions of the proxies that are connected, with the objects that made them.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, PostParams};
use mesh_api::explain::{Candidate, Decision, Explanation, Hop};
use mesh_api::mesh::ProxyList;
use serde_json::json;

use crate::support::{Mesh, Proxy, eventually, rules};

fn decision<'h>(hop: &'h Hop, step: &str) -> &'h Decision {
    let found = hop.decisions.iter().find(|decision| decision.step == step);
    found.unwrap_or_else(|| panic!("no {step} in {hop:#?}"))
}

fn winner(decision: &Decision) -> &Candidate {
    decision
        .candidates
        .iter()
        .find(|candidate| candidate.won)
        .expect("a winner")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_explained_from_rule_to_endpoint() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let slices: Api<EndpointSlice> = Api::namespaced(mesh.client.clone(), "default");
    let slice = json!({
        "metadata": { "name": "reviews-1", "labels": { "kubernetes.io/service-name": "reviews" } },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["127.64.1.2"],
            "conditions": { "ready": true },
            "targetRef": { "kind": "Pod", "name": "reviews-v1-abc", "namespace": "default" },
        }],
        "ports": [{ "name": "http", "port": 9080, "protocol": "TCP" }],
    });
    slices
        .create(&PostParams::default(), &serde_json::from_value(slice).unwrap())
        .await
        .unwrap();
    let object: DynamicObject = serde_json::from_value(rules("/a")).unwrap();
    mesh.virtual_services()
        .create(&PostParams::default(), &object)
        .await
        .unwrap();
    let identity = mesh.identity("reviews").await;
    let mut proxy = Proxy::connect(&mesh, &identity).await.unwrap();
    let from = "/api/explain?from=default/reviews-v1&host=reviews:9080";
    let explained = eventually("the rule is explained", async || {
        proxy.take_all().await;
        let list: ProxyList = mesh.get("/api/proxies").await;
        list.proxies.first().filter(|proxy| proxy.state == "synced")?;
        let explained: Explanation = mesh.get(&format!("{from}&path=/a/x")).await;
        let hop = explained.hops.first()?;
        let route = hop.decisions.iter().find(|d| d.step == "route")?;
        (route.result != "none" && hop.outcome.action == "forward").then_some(explained)
    })
    .await;

    let hop = &explained.hops[0];
    assert_eq!(
        (hop.side.as_str(), hop.workload.as_str()),
        ("outbound", "default/reviews-v1")
    );
    let won = winner(decision(hop, "route"));
    let place = won.object.as_ref().expect("a place");
    assert_eq!(
        (
            place.object.kind.as_str(),
            place.object.namespace.as_str(),
            place.object.name.as_str()
        ),
        ("VirtualService", "default", "reviews")
    );
    assert_eq!(place.field, "spec.http[0].match[0]");
    assert!(place.line.is_some_and(|line| line > 5), "{place:?}");
    let endpoint = winner(decision(hop, "endpoint"))
        .endpoint
        .clone()
        .expect("an endpoint");
    assert_eq!(endpoint.address, "127.64.1.2:9080");
    assert!(endpoint.healthy);

    // The destination's own proxy decides next.
    let next = explained
        .hops
        .get(1)
        .unwrap_or_else(|| panic!("one hop: {explained:#?}"));
    assert_eq!(
        (next.side.as_str(), next.workload.as_str()),
        ("inbound", "default/reviews-v1")
    );
    assert_eq!(decision(next, "authorization").result, "allowed");

    // A path that no rule has.
    let refused: Explanation = mesh.get(&format!("{from}&path=/b")).await;
    assert_eq!(refused.outcome.status, Some(404), "{refused:#?}");
    assert_eq!(refused.outcome.flags, "NR");
    let route = decision(&refused.hops[0], "route");
    assert!(route.ends || route.result == "none");
    let lost = &route.candidates[0];
    assert!(!lost.won && lost.reason.contains("path is \"/b\""), "{lost:?}");

    mesh.control.shutdown().await;
}
