//! A console with its two neighbours, on ports of their own.

use std::sync::{Arc, Mutex};

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use clap::Parser;
use http::{Method, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use sightline_console::cluster::Cluster;
use sightline_console::config::Config;
use sightline_console::server::router;
use sightline_console::state::Console;
use tempfile::TempDir;

/// Token that the API server knows, and the local user's.
pub(crate) const TOKEN: &str = "user-token";
/// The console's own token at the control plane.
pub(crate) const OWN: &str = "console-token";

/// What the neighbours know and saw.
pub(crate) struct Neighbours {
    /// The one object: VirtualService shop/reviews.
    pub(crate) object: Value,
    /// Problems that the analysis finds.
    pub(crate) problems: Value,
    /// Status and body with which writes are answered instead of being done.
    pub(crate) refusal: Option<(u16, Value)>,
    /// Writes that reached the API server: method, path, token, body.
    pub(crate) writes: Vec<(String, String, String, Value)>,
    /// Queries that reached the control plane.
    pub(crate) queries: Vec<String>,
    /// Whose token each of them carried.
    pub(crate) askers: Vec<String>,
}

/// The whole arrangement; ends when dropped.
pub(crate) struct World {
    /// `127.0.0.1:PORT` of the console.
    pub(crate) host: String,
    /// What the neighbours saw.
    pub(crate) neighbours: Arc<Mutex<Neighbours>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _folder: TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

/// Starts all three; `flags` are added to the console's.
pub(crate) async fn world(flags: &[&str]) -> World {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let neighbours = Arc::new(Mutex::new(Neighbours {
        object: json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": {"name": "reviews", "namespace": "shop", "resourceVersion": "7", "managedFields": []},
            "spec": {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]},
        }),
        problems: json!([]),
        refusal: None,
        writes: Vec::new(),
        queries: Vec::new(),
        askers: Vec::new(),
    }));
    let folder = TempDir::new().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut tasks = Vec::new();
    let control = serve(
        Router::new().fallback(query).with_state(neighbours.clone()),
        &mut tasks,
    )
    .await;
    let cluster = serve(
        Router::new().fallback(kubernetes).with_state(neighbours.clone()),
        &mut tasks,
    )
    .await;
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": format!("http://{cluster}")}}],
        "users": [{"name": "a", "user": {"token": OWN}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    let (kubeconfig, own, local) = (
        file("kubeconfig", &kubeconfig.to_string()),
        file("own", OWN),
        file("local", TOKEN),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let controlplane = format!("http://{control}");
    let given = [
        "sightline-console",
        "--kubeconfig",
        &kubeconfig,
        "--controlplane",
        &controlplane,
        "--token-path",
        &own,
        "--local-user-token",
        &local,
    ];
    let config = Config::parse_from(given.iter().chain(flags));
    let cluster = Cluster::connect(config.kubeconfig.as_deref()).await.unwrap();
    let console = Arc::new(Console::new(config, address, cluster));
    tasks.push(tokio::spawn(async move {
        axum::serve(listener, router(console)).await.unwrap()
    }));
    World {
        host: address.to_string(),
        neighbours,
        tasks,
        _folder: folder,
    }
}

impl World {
    /// Sends a request as it stands; `host` unless the headers say so.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = http::Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.host));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let client: Client<_, Full<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
        let response = client
            .request(request.body(Full::from(body.to_owned())).unwrap())
            .await
            .unwrap();
        let (parts, body) = response.into_parts();
        let text = body.collect().await.unwrap().to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&text).into_owned(),
        }
    }

    /// A plain GET.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// A request with the user's token.
    pub(crate) async fn as_user(&self, method: Method, path: &str, body: &Value) -> Answer {
        let token = format!("Bearer {TOKEN}");
        let headers = [
            ("authorization", token.as_str()),
            ("content-type", "application/json"),
        ];
        self.send(method, path, &headers, &body.to_string()).await
    }
}

async fn serve(router: Router, tasks: &mut Vec<tokio::task::JoinHandle<()>>) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tasks.push(tokio::spawn(async move {
        axum::serve(listener, router).await.unwrap()
    }));
    address
}

type Shared = State<Arc<Mutex<Neighbours>>>;

async fn query(State(neighbours): Shared, request: Request) -> Response {
    let asker = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
        .filter(|token| [OWN, TOKEN].contains(token))
        .map(str::to_owned);
    let Some(asker) = asker else {
        return StatusCode::UNAUTHORIZED.into_response();
    };
    let mut neighbours = neighbours.lock().unwrap();
    neighbours.askers.push(asker);
    neighbours.queries.push(request.uri().to_string());
    match request.uri().path() {
        "/api/analyze" => Json(json!({"problems": neighbours.problems})).into_response(),
        "/api/graph/stream" => ([(header::CONTENT_TYPE, "text/event-stream")], "event: graph\ndata: {}\n\n").into_response(),
        "/api/graph" => Json(json!({
            "nodes": [{"id": "a/x", "namespace": "a", "workload": "x", "app": "x", "version": "", "kind": "workload"}],
            "edges": [], "from": "", "to": "", "as_of": "", "complete": true, "seconds": 60.0,
        }))
        .into_response(),
        "/api/broken" => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"message": "later"}))).into_response(),
        _ => Json(json!({"seen": request.uri().to_string()})).into_response(),
    }
}

async fn kubernetes(State(neighbours): Shared, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let text = |name: header::HeaderName| parts.headers.get(name).map(|v| v.to_str().unwrap().to_owned());
    let token = text(header::AUTHORIZATION)
        .unwrap_or_default()
        .trim_start_matches("Bearer ")
        .to_owned();
    let body = body.collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut neighbours = neighbours.lock().unwrap();
    let path = parts.uri.to_string();
    if path.ends_with("/tokenreviews") {
        let valid = body["spec"]["token"] == TOKEN;
        return Json(json!({"status": {"authenticated": valid, "user": {"username": "ada"}}}))
            .into_response();
    }
    if path.ends_with("/selfsubjectaccessreviews") {
        return Json(json!({"status": {"allowed": token == TOKEN}})).into_response();
    }
    if parts.method == Method::GET {
        return Json(neighbours.object.clone()).into_response();
    }
    neighbours
        .writes
        .push((parts.method.to_string(), path, token, body.clone()));
    if let Some((status, body)) = neighbours.refusal.clone() {
        return (StatusCode::from_u16(status).unwrap(), Json(body)).into_response();
    }
    let expected = &neighbours.object["metadata"]["resourceVersion"];
    if parts.method == Method::PUT && body["metadata"]["resourceVersion"] != *expected {
        let status =
            json!({"kind": "Status", "reason": "Conflict", "message": "the object has been modified"});
        return (StatusCode::CONFLICT, Json(status)).into_response();
    }
    let mut saved = body;
    saved["metadata"]["resourceVersion"] = "8".into();
    neighbours.object = saved.clone();
    Json(saved).into_response()
}
