//! Certificates, configuration, telemetry, queries, restart.

use std::time::Duration;

use http_body_util::BodyExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use mesh_api::config::{AnalyzeAnswer, ObjectList, Propagation, Severity};
use mesh_api::graph::{Graph, Series};
use mesh_api::mesh::{ProxyList, Status};
use mesh_model::edge::Batch;
use serde_json::json;

use crate::support::{DEADLINE, Mesh, Proxy, eventually, export, report, rules};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_on_the_event_stream_within_a_second() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let identity = mesh.identity("reviews").await;
    let mut stream = mesh
        .send(mesh.api.admin_token(), "GET", "/api/graph/stream?window=60", "")
        .await
        .into_body();
    let mut graph = async || loop {
        let frame = stream.frame().await.expect("the stream is open").unwrap();
        let text = String::from_utf8(frame.into_data().unwrap_or_default().to_vec()).unwrap();
        if let Some(data) = text.strip_prefix("event: graph\ndata: ") {
            return serde_json::from_str::<Graph>(data.trim()).unwrap();
        }
    };
    assert!(graph().await.edges.is_empty());
    export(&mesh, &identity, &report(1, 2)).await.unwrap();
    let sent = tokio::time::Instant::now();
    let shown = tokio::time::timeout(DEADLINE, graph()).await.unwrap();
    assert_eq!(shown.edges.iter().map(|e| e.requests).sum::<u64>(), 2);
    assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
    mesh.control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_reaches_a_proxy_and_its_progress_is_told() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let identity = mesh.identity("reviews").await;
    let mut proxy = Proxy::connect(&mesh, &identity).await.unwrap();
    eventually("the proxy is synced", async || {
        proxy.take_all().await;
        let list: ProxyList = mesh.get("/api/proxies").await;
        let found = list.proxies.into_iter().next()?;
        (found.state == "synced" && found.workload == "reviews-v1").then_some(())
    })
    .await;

    let api = mesh.virtual_services();
    let object: DynamicObject = serde_json::from_value(rules("/a")).unwrap();
    let saved = api.create(&PostParams::default(), &object).await.unwrap();
    let version = saved.metadata.resource_version.unwrap();
    let path = format!(
        "/api/propagation?kind=VirtualService&namespace=default&name=reviews&resourceVersion={version}"
    );
    let started = tokio::time::Instant::now();
    proxy.take(None).await.unwrap();
    let pushed = started.elapsed();
    eventually("the edit is live", async || {
        let propagation: Propagation = mesh.get(&path).await;
        (propagation.live == 1 && propagation.total == 1).then_some(())
    })
    .await;
    assert!(pushed < Duration::from_secs(2), "{pushed:?}");

    // A refusal is told with its reason, and a status write by someone else pushes nothing.
    let patch = json!({ "spec": rules("/b")["spec"] });
    api.patch("reviews", &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
    proxy.take(Some("too new for me")).await.unwrap();
    eventually("the refusal is told", async || {
        let list: ObjectList = mesh.get("/api/objects").await;
        let found = list.objects.into_iter().find(|o| o.object.name == "reviews")?;
        let refusal = found.propagation.refused.into_iter().next()?;
        refusal.reason.contains("too new for me").then_some(())
    })
    .await;

    // Nobody asks for another namespace's configuration.
    let ratings = mesh.identity("ratings").await;
    let other = export(&mesh, &ratings, &report(1, 1)).await.unwrap_err();
    assert_eq!(other.code(), tonic::Code::PermissionDenied, "{other}");
    mesh.control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_is_counted_once_also_after_a_restart() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let identity = mesh.identity("reviews").await;
    let batch = report(1, 3);
    export(&mesh, &identity, &batch).await.unwrap();
    export(&mesh, &identity, &batch).await.unwrap();
    export(&mesh, &identity, &report(2, 4)).await.unwrap();
    let check = async |mesh: &Mesh| {
        let graph: Graph = mesh.get("/api/graph?from=now-5m").await;
        let [edge] = graph.edges.as_slice() else {
            panic!("one edge: {graph:?}");
        };
        assert_eq!(
            (edge.source.as_str(), edge.target.as_str()),
            ("default/productpage-v1", "default/reviews-v1")
        );
        assert_eq!((edge.requests, edge.attempts, edge.mutual_tls), (7, 7, 7));
        let path = "/api/series?source=default/productpage-v1&target=default/reviews-v1&from=now-5m";
        let series: Series = mesh.get(path).await;
        assert_eq!(series.points.iter().map(|p| p.requests).sum::<u64>(), 7);
    };
    check(&mesh).await;
    let root = mesh.root.clone();
    let mesh = mesh.restart().await;
    check(&mesh).await;
    // Same root, same sequences; a certificate from before is still good.
    let secrets: Api<Secret> = Api::namespaced(mesh.client.clone(), "istio-system");
    let secret = secrets.get("istio-ca-secret").await.unwrap();
    assert_eq!(secret.data.unwrap()["ca-cert.pem"].0, root.as_bytes());
    export(&mesh, &identity, &batch).await.unwrap();
    check(&mesh).await;
    let status: Status = mesh.get("/api/status").await;
    assert!(status.recording, "{status:?}");
    let invalid = export(
        &mesh,
        &identity,
        &Batch {
            cut_at_ms: 0,
            ..batch
        },
    )
    .await
    .unwrap_err();
    assert_eq!(invalid.code(), tonic::Code::InvalidArgument, "{invalid}");
    mesh.control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn problems_are_told_before_and_after_saving() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let yaml = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: reviews\n  \
                namespace: default\nspec:\n  hosts: [reviews]\n  http:\n  - route:\n    - destination:\n        \
                host: reviews\n        subset: v9\n";
    let body = json!({ "yaml": yaml }).to_string();
    let problem = eventually("the missing subset is found", async || {
        let answer: AnalyzeAnswer = mesh.query("POST", "/api/analyze", &body).await.unwrap();
        assert_eq!(answer.object?.name, "reviews");
        let subset = |p: &mesh_api::config::Problem| p.code == "IST0101" && p.field.ends_with("subset");
        answer.problems.into_iter().find(subset)
    })
    .await;
    assert_eq!(problem.severity, Severity::Error);
    assert_eq!(problem.line, Some(12), "{problem:?}");

    let api = mesh.virtual_services();
    let mut bad = rules("/a");
    bad["spec"]["http"][0]["route"][0]["destination"]["subset"] = json!("v9");
    let object: DynamicObject = serde_json::from_value(bad).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
    eventually("its status tells it", async || {
        let object = api.get_status("reviews").await.unwrap();
        let messages = object.data.pointer("/status/validationMessages")?.clone();
        messages
            .as_array()?
            .iter()
            .any(|m| m["type"]["code"] == "IST0101")
            .then_some(())
    })
    .await;
    let fixed = json!({ "spec": rules("/a")["spec"] });
    api.patch("reviews", &PatchParams::default(), &Patch::Merge(&fixed))
        .await
        .unwrap();
    eventually("its status is clean again", async || {
        let object = api.get_status("reviews").await.unwrap();
        let messages = object.data.pointer("/status/validationMessages")?.clone();
        messages.as_array()?.is_empty().then_some(())
    })
    .await;

    let maps: Api<ConfigMap> = Api::namespaced(mesh.client.clone(), "default");
    let map = eventually("the root is in every namespace", async || {
        maps.get_opt("istio-ca-root-cert").await.unwrap()
    })
    .await;
    assert_eq!(map.data.unwrap()["root-cert.pem"], mesh.root);

    let refused = mesh
        .query_as::<Graph>("nonsense", "GET", "/api/graph", "")
        .await
        .unwrap_err();
    assert_eq!(refused.0, 401, "{refused:?}");
    // A workload's token is for the CA, not for reading the graph.
    let token = mesh.token("reviews").await;
    let refused = mesh
        .query_as::<Graph>(&token, "GET", "/api/graph", "")
        .await
        .unwrap_err();
    assert_eq!(refused.0, 401, "{refused:?}");
    let refused = mesh
        .query::<Graph>("GET", "/api/graph?from=nonsense", "")
        .await
        .unwrap_err();
    assert_eq!(refused.0, 400, "{refused:?}");
    mesh.control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_history_memory_answers_and_the_end_is_quick() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let identity = mesh.identity("reviews").await;
    export(&mesh, &identity, &report(1, 7)).await.unwrap();
    // The disk is gone.
    let data = mesh.folder.path().join("data");
    std::fs::rename(&data, mesh.folder.path().join("elsewhere")).unwrap();
    std::fs::write(&data, "not a folder").unwrap();
    let mut sequence = 1;
    eventually("the loss is noticed", async || {
        sequence += 1;
        let _ = export(&mesh, &identity, &report(sequence, 1)).await;
        let status: Status = mesh.get("/api/status").await;
        (!status.recording).then_some(())
    })
    .await;
    let refused = export(&mesh, &identity, &report(sequence + 1, 1))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused}");
    let graph: Graph = mesh.get("/api/graph?from=now-1h").await;
    assert!(graph.edges[0].requests >= 7 && !graph.complete, "{graph:?}");
    assert!(graph.seconds <= 620.0, "only what memory has: {}", graph.seconds);
    let older = mesh
        .query::<Graph>("GET", "/api/graph?from=now-2h&to=now-1h", "")
        .await
        .unwrap_err();
    assert_eq!(older.0, 503, "{older:?}");
    let started = tokio::time::Instant::now();
    mesh.control.shutdown().await;
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "{:?}",
        started.elapsed()
    );
}
