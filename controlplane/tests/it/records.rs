//! Kept requests and spans: from two proxies to lists, traces, the tail, and two collectors of which one is slow.

use std::sync::Mutex;
use std::sync::{Arc, atomic::AtomicUsize, atomic::Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use http_body_util::BodyExt;
use mesh_api::mesh::Status;
use mesh_api::requests::{Facets, HeatMap, KeptRequest, RequestPage};
use mesh_api::traces::{Trace, TraceList};
use mesh_model::record::{self, KeptReason, Span, SpanId, SpanKind, TraceId};
use mesh_store::conformance;
use mesh_telemetry::otlp;
use mesh_xds::kept_traces::{KeptTracesClient, unpack};
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use tokio::net::TcpListener;

use crate::support::{DEADLINE, Mesh, PROXY, eventually, now};

const OTHER: &str = "sidecar~127.64.2.2~ratings-v1-abc.default~default.svc.cluster.local";
const TRACE: TraceId = TraceId([7; 16]);
const HOSTILE: &str = "/<script>alert(1)</script>\"';DROP TABLE request;--\u{202e}";

fn span(proxy: &str, id: u8, parent: Option<u8>, kind: SpanKind) -> Span {
    Span {
        trace_id: TRACE,
        span_id: SpanId([id; 8]),
        parent: parent.map(|id| SpanId([id; 8])),
        kind,
        name: "reviews.default.svc.cluster.local:9080/*".into(),
        proxy: proxy.into(),
        workload: conformance::key("reviews-v1", 200).source,
        started_ns: now() * 1_000_000_000 - 50_000_000 + u64::from(id),
        duration_ns: 12_000_000,
        error: true,
        sampled: false,
        attributes: vec![("http.url".into(), HOSTILE.into())],
    }
}

fn request() -> record::KeptRequest {
    record::KeptRequest {
        trace_id: TRACE,
        span_id: SpanId([1; 8]),
        proxy: PROXY.into(),
        started_ns: now() * 1_000_000_000 - 50_000_000,
        duration_ns: 12_000_000,
        key: conformance::key("productpage-v1", 503),
        reason: KeptReason::Error,
        method: "GET".into(),
        authority: "reviews:9080".into(),
        path: HOSTILE.into(),
        http_version: "HTTP/1.1".into(),
        user_agent: "test".into(),
        request_id: "abc-1".into(),
        details: "no_healthy_upstream".into(),
        upstream_host: String::new(),
        upstream_cluster: "outbound|9080||reviews.default.svc.cluster.local".into(),
        downstream_remote: "127.0.0.1:1".into(),
        attempts: 1,
        request_bytes: 0,
        response_bytes: 19,
        headers: vec![("x-a".into(), HOSTILE.into())],
    }
}

fn from<T>(proxy: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request
        .metadata_mut()
        .insert(otlp::metadata::PROXY, proxy.parse().unwrap());
    request
}

/// Takes everything; ids of spans in the order of their coming.
#[derive(Clone, Default)]
struct Jaeger(Arc<Mutex<Vec<Vec<u8>>>>);

#[tonic::async_trait]
impl TraceService for Jaeger {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let resources = &request.get_ref().resource_spans;
        let spans = resources
            .iter()
            .flat_map(|r| &r.scope_spans)
            .flat_map(|s| &s.spans);
        let mut seen = self.0.lock().unwrap();
        for span in spans {
            assert!(span.attributes.iter().all(|a| a.key != "sightline.sampled"));
            seen.push(span.span_id.clone());
        }
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

async fn jaeger() -> (Jaeger, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let jaeger = Jaeger::default();
    let server = tonic::transport::Server::builder()
        .add_service(TraceServiceServer::new(jaeger.clone()))
        .serve_with_incoming(tokio_stream::wrappers::TcpListenerStream::new(listener));
    tokio::spawn(server);
    (jaeger, format!("http://{address}"))
}

/// Is overloaded at first.
#[derive(Clone, Default)]
struct Zipkin {
    calls: Arc<AtomicUsize>,
    spans: Arc<Mutex<Vec<serde_json::Value>>>,
}

async fn zipkin() -> (Zipkin, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let zipkin = Zipkin::default();
    let take = async |State(zipkin): State<Zipkin>, body: axum::Json<Vec<serde_json::Value>>| {
        if zipkin.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        zipkin.spans.lock().unwrap().extend(body.0);
        StatusCode::ACCEPTED
    };
    let router = axum::Router::new()
        .route("/api/v2/spans", axum::routing::post(take))
        .with_state(zipkin.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (zipkin, format!("http://{address}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_request_has_its_whole_trace_everywhere() {
    let (jaeger, otlp_url) = jaeger().await;
    let (zipkin, zipkin_url) = zipkin().await;
    let mesh = Mesh::start_with(&["--otlp-endpoint", &otlp_url, "--zipkin-endpoint", &zipkin_url]).await;
    mesh.sample().await;
    let (reviews, ratings) = (mesh.identity("reviews").await, mesh.identity("ratings").await);
    let (channel, other) = (
        mesh.channel(Some(&reviews)).await,
        mesh.channel(Some(&ratings)).await,
    );

    // The other proxy follows what is kept; the browser follows the tail.
    let mut kept = KeptTracesClient::new(other.clone())
        .watch(from(OTHER, ()))
        .await
        .unwrap()
        .into_inner();
    let mut tail = mesh
        .send(mesh.api.admin_token(), "GET", "/api/requests/stream?code=5xx", "")
        .await
        .into_body();

    let mut logs = LogsServiceClient::new(channel.clone());
    let mut spans = TraceServiceClient::new(channel);
    logs.export(from(PROXY, otlp::encode_requests(&[request()])))
        .await
        .unwrap();
    let own = [span(PROXY, 1, None, SpanKind::Server)];
    spans.export(from(PROXY, otlp::encode_spans(&own))).await.unwrap();
    // Sent again: nothing is doubled.
    logs.export(from(PROXY, otlp::encode_requests(&[request()])))
        .await
        .unwrap();
    spans.export(from(PROXY, otlp::encode_spans(&own))).await.unwrap();

    let asked = tokio::time::timeout(DEADLINE, kept.message())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert_eq!(unpack(&asked).unwrap(), [TRACE]);
    let held = [span(OTHER, 2, Some(1), SpanKind::Client)];
    TraceServiceClient::new(other)
        .export(from(OTHER, otlp::encode_spans(&held)))
        .await
        .unwrap();

    let frame = tokio::time::timeout(DEADLINE, tail.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    let data = text.strip_prefix("event: requests\ndata: ").unwrap();
    let shown: Vec<KeptRequest> = serde_json::from_str(data.trim()).unwrap();
    assert_eq!((shown.len(), shown[0].path.as_str()), (1, HOSTILE));

    let page: RequestPage = mesh
        .get("/api/requests?workload=default/reviews-v1&code=503&text=%3Cscript%3E")
        .await;
    assert_eq!(page.requests, shown);
    assert_eq!(page.requests[0].headers, [("x-a".to_owned(), HOSTILE.to_owned())]);
    let none: RequestPage = mesh.get("/api/requests?code=200").await;
    assert!(none.requests.is_empty());
    let path = format!("/api/requests/{TRACE}/{}", SpanId([1; 8]));
    let one: KeptRequest = mesh.get(&path).await;
    assert_eq!(one, shown[0]);
    let facets: Facets = mesh.get("/api/requests/facets").await;
    assert_eq!(facets.total, 1);
    let codes = facets.fields.iter().find(|f| f.field == "code").unwrap();
    assert_eq!(codes.values, [("503".to_owned(), 1)]);
    assert!(facets.fields.iter().any(|f| f.field == "virtualService"));
    let map: HeatMap = mesh.get("/api/requests/heatmap?from=now-1m&columns=30").await;
    assert_eq!(
        map.cells
            .iter()
            .map(|c| (c.requests, c.errors))
            .collect::<Vec<_>>(),
        [(1, 1)]
    );
    assert!(map.cells[0].column < map.columns, "{map:?}");

    let traces: TraceList = mesh.get("/api/traces?errors=true").await;
    assert_eq!((traces.traces.len(), traces.traces[0].spans), (1, 2));
    let trace: Trace = mesh.get(&format!("/api/traces/{TRACE}")).await;
    let ids: Vec<_> = trace
        .spans
        .iter()
        .map(|s| (s.span.as_str(), s.proxy.as_str()))
        .collect();
    assert_eq!(ids, [("0101010101010101", PROXY), ("0202020202020202", OTHER)]);

    eventually("both collectors have both spans, once", async || {
        let status: Status = mesh.get("/api/status").await;
        let done = status
            .exporters
            .iter()
            .all(|e| e.sent == 2 && e.queued == 0 && e.error.is_none());
        done.then_some(())
    })
    .await;
    let mut seen = jaeger.0.lock().unwrap().clone();
    seen.sort();
    assert_eq!(seen, [vec![1; 8], vec![2; 8]]);
    let ids: Vec<_> = zipkin
        .spans
        .lock()
        .unwrap()
        .iter()
        .map(|s| s["id"].clone())
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(
        zipkin
            .spans
            .lock()
            .unwrap()
            .iter()
            .all(|s| s["traceId"] == TRACE.to_string())
    );
    mesh.control.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_taken_and_shown_only_where_that_is_allowed() {
    let mesh = Mesh::start().await;
    mesh.sample().await;
    let ratings = mesh.identity("ratings").await;
    let mut logs = LogsServiceClient::new(mesh.channel(Some(&ratings)).await);
    let elsewhere = PROXY.replace(".default", ".shop");
    for (message, code) in [
        (
            tonic::Request::new(otlp::encode_requests(&[request()])),
            tonic::Code::InvalidArgument,
        ),
        (
            from(&elsewhere, otlp::encode_requests(&[request()])),
            tonic::Code::PermissionDenied,
        ),
    ] {
        let refused = logs.export(message).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
    }
    let mut anonymous = LogsServiceClient::new(mesh.channel(None).await);
    let refused = anonymous
        .export(from(PROXY, otlp::encode_requests(&[request()])))
        .await
        .unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated, "{refused}");

    // A user of the API server without rights reads the graph, not the requests.
    let token = mesh.user_token("ratings").await;
    let graph = mesh
        .query_as::<serde_json::Value>(&token, "GET", "/api/graph", "")
        .await;
    assert!(graph.is_ok(), "{graph:?}");
    for path in [
        "/api/requests",
        "/api/requests/facets",
        "/api/traces",
        "/api/requests/stream",
    ] {
        let refused = mesh
            .query_as::<serde_json::Value>(&token, "GET", path, "")
            .await
            .unwrap_err();
        assert_eq!(refused.0, 403, "{path}: {refused:?}");
        assert!(
            refused.1.contains("requests of apiGroup sightline.io"),
            "{refused:?}"
        );
    }
    for path in [
        "/api/requests?sauce=x",
        "/api/requests?limit=0",
        "/api/traces/xyz",
        "/api/requests/heatmap?columns=0",
    ] {
        let refused = mesh
            .query::<serde_json::Value>("GET", path, "")
            .await
            .unwrap_err();
        assert_eq!(refused.0, 400, "{path}: {refused:?}");
    }
    mesh.control.shutdown().await;
}
