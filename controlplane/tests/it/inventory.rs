//! Lists, charts, idle nodes, scrape targets, and what a proxy was sent.

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use mesh_api::graph::Graph;
use mesh_api::inventory::{
    AppList, NamespaceList, Overview, ServiceDetail, ServiceList, WorkloadDetail, WorkloadList,
};
use mesh_api::metrics::Metrics;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::support::{Mesh, PROXY, Proxy, eventually, export, report};

async fn scraped(mesh: &Mesh, path: &str) -> String {
    let socket = TcpStream::connect(mesh.control.metrics_address()).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = http::Request::get(path)
        .header("host", "localhost")
        .body(Empty::<bytes::Bytes>::new())
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_list_says_the_same_exact_counts() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let identity = mesh.identity("reviews").await;
    let mut proxy = Proxy::connect(&mesh, &identity).await.unwrap();
    proxy.take_all().await;

    // Without traffic, what is there is there.
    eventually("the pod is known", async || {
        let list: WorkloadList = mesh.get("/api/workloads").await;
        (list.workloads.len() == 1).then_some(())
    })
    .await;
    let graph: Graph = mesh.get("/api/graph?idle=true").await;
    assert_eq!(graph.nodes[0].id, "default/reviews-v1");
    let graph: Graph = mesh.get("/api/graph?type=service&idle=true").await;
    assert_eq!(graph.nodes[0].id, "service:reviews.default.svc.cluster.local");
    let graph: Graph = mesh.get("/api/graph").await;
    assert!(graph.nodes.is_empty());

    export(&mesh, &identity, &report(1, 7)).await.unwrap();
    let list: WorkloadList = mesh.get("/api/workloads?from=now-5m").await;
    let shape: Vec<_> = list
        .workloads
        .iter()
        .map(|w| {
            (
                w.name.as_str(),
                w.proxy.as_str(),
                w.pods,
                w.inbound.requests,
                w.outbound.requests,
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            ("productpage-v1", "none", 0, 0, 7),
            ("reviews-v1", "sidecar", 1, 7, 0)
        ]
    );
    assert_eq!(list.workloads[1].proxies, [PROXY]);
    let services: ServiceList = mesh.get("/api/services?namespaces=default").await;
    assert_eq!(services.services[0].host, "reviews.default.svc.cluster.local");
    assert_eq!(services.services[0].inbound.requests, 7);
    assert_eq!(services.services[0].inbound.mutual_tls, 7);
    let none: ServiceList = mesh.get("/api/services?namespaces=other").await;
    assert!(none.services.is_empty());
    let apps: AppList = mesh.get("/api/apps").await;
    assert_eq!(apps.apps.iter().map(|a| a.inbound.requests).sum::<u64>(), 7);
    let namespaces: NamespaceList = mesh.get("/api/namespaces").await;
    let own = namespaces
        .namespaces
        .iter()
        .find(|n| n.name == "default")
        .unwrap();
    assert_eq!((own.services, own.inbound.requests), (1, 7));
    let overview: Overview = mesh.get("/api/overview").await;
    assert_eq!((overview.mesh.requests, overview.proxies), (7, 1));

    let metrics: Metrics = mesh
        .get("/api/metrics?subject=default/reviews-v1&groupBy=code&from=now-5m&step=20")
        .await;
    assert_eq!(
        (metrics.groups.len(), metrics.groups[0].name.as_str()),
        (1, "200")
    );
    assert_eq!(
        metrics.groups[0].points.iter().map(|p| p.requests).sum::<u64>(),
        7
    );
    assert!(metrics.promql["requests"].contains("destination_workload=\"reviews-v1\""));
    let outbound: Metrics = mesh
        .get("/api/metrics?subject=default/reviews-v1&direction=outbound")
        .await;
    assert_eq!(outbound.groups[0].total.requests, 0);
    let whole: Metrics = mesh.get("/api/metrics").await;
    assert_eq!(whole.groups[0].total.requests, 7);

    let detail: ServiceDetail = mesh.get("/api/services/default/reviews").await;
    assert_eq!(detail.workloads[0].name, "reviews-v1");
    let detail: WorkloadDetail = mesh.get("/api/workloads/default/reviews-v1").await;
    assert_eq!(detail.services[0].name, "reviews");
    for (path, status) in [
        ("/api/services/default/nothing", 404),
        ("/api/workloads/default/nothing", 404),
        ("/api/metrics?groupBy=colour", 400),
        ("/api/metrics?quantiles=2", 400),
        ("/api/metrics?from=now-7d&step=10", 400),
        ("/api/proxies/nobody/config", 404),
        ("/api/revisions?limit=0", 400),
    ] {
        let refused = mesh.query::<Value>("GET", path, "").await.unwrap_err();
        assert_eq!(refused.0, status, "{path}: {refused:?}");
    }
    mesh.control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn proxies_are_shown_and_scraped() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let identity = mesh.identity("reviews").await;
    let mut proxy = Proxy::connect(&mesh, &identity).await.unwrap();
    let config = eventually("the proxy was sent something", async || {
        proxy.take_all().await;
        let path = format!("/api/proxies/{PROXY}/config");
        mesh.query::<Value>("GET", &path, "").await.ok()
    })
    .await;
    for kind in ["listeners", "routes", "clusters", "endpoints"] {
        assert!(config[kind].is_array(), "{kind}");
    }
    assert_eq!(
        config["clusters"][0]["@type"],
        "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    );
    let targets: Value = serde_json::from_str(&scraped(&mesh, "/http_sd").await).unwrap();
    assert_eq!(targets[0]["targets"][0], "127.64.1.2:15090");
    assert_eq!(targets[0]["labels"]["workload"], "reviews-v1");
    assert_eq!(targets[0]["labels"]["app"], "reviews");
    let text = scraped(&mesh, "/metrics").await;
    for name in [
        "pilot_xds 1",
        "pilot_xds_pushes{",
        "pilot_proxy_convergence_time_bucket",
        "pilot_total_xds_rejects 0",
        "pilot_services",
        "pilot_virt_services 0",
        "pilot_pushcontext_init_seconds_count 1",
        "citadel_server_csr_count",
        "galley_validation_passed",
        "sightline_controlplane_ingest_rows_total 0",
        "sightline_controlplane_records_dropped_total 0",
        "process_start_time_seconds 1",
    ] {
        assert!(text.contains(name), "{name}");
    }
    mesh.control.shutdown().await;
}
