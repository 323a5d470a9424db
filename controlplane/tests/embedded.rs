//! The control plane against the embedded API server, over real sockets: certificates, configuration, telemetry,
//! queries, restart.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service, ServiceAccount};
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use mesh_api::config::{AnalyzeAnswer, ObjectList, Propagation, Severity};
use mesh_api::graph::{Graph, Series};
use mesh_api::mesh::{ProxyList, Status};
use mesh_model::edge::Batch;
use mesh_model::identity::SpiffeId;
use mesh_store::conformance;
use mesh_telemetry::otlp;
use mesh_xds::certificate::{IstioCertificateRequest, IstioCertificateServiceClient};
use mesh_xds::discovery::{
    AggregatedDiscoveryServiceClient, DeltaDiscoveryRequest, DeltaDiscoveryResponse, Node, Struct, Value,
    value,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use rustls::RootCertStore;
use rustls::pki_types::ServerName;
use serde::de::DeserializeOwned;
use serde_json::json;
use sightline_controlplane::options::Options;
use sightline_controlplane::run::Running;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

const DEADLINE: Duration = Duration::from_secs(20);
const PROXY: &str = "sidecar~127.64.1.2~reviews-v1-abc.default~default.svc.cluster.local";

/// Tries until it works.
async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

struct Mesh {
    folder: tempfile::TempDir,
    api: mesh_apiserver::Server,
    client: kube::Client,
    control: Running,
    root: String,
}

impl Mesh {
    async fn start() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let local: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let config = mesh_apiserver::Config::new(local, folder.path().join("api"));
        let api = mesh_apiserver::Server::start(config).await.unwrap();
        let kubeconfig = kube::config::Kubeconfig::read_from(api.kubeconfig_path()).unwrap();
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &Default::default())
            .await
            .unwrap();
        let client = kube::Client::try_from(config).unwrap();
        let control = control(&folder, &api).await;
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "istio-system");
        let secret = secrets.get("istio-ca-secret").await.unwrap();
        let root = String::from_utf8(secret.data.unwrap()["ca-cert.pem"].0.clone()).unwrap();
        Self {
            folder,
            api,
            client,
            control,
            root,
        }
    }

    async fn restart(self) -> Self {
        self.control.shutdown().await;
        let control = control(&self.folder, &self.api).await;
        Self { control, ..self }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in mesh_tls::identity::certificates("root", &self.root).unwrap() {
            roots.add(certificate).unwrap();
        }
        Arc::new(roots)
    }

    async fn channel(&self, identity: Option<&mesh_tls::Identity>) -> Channel {
        let tls = Arc::new(mesh_tls::config::control_plane_client(self.roots(), identity).unwrap());
        let address = self.control.discovery_address();
        let connect = tower::service_fn(move |_: Uri| {
            let tls = Arc::clone(&tls);
            async move {
                let socket = TcpStream::connect(address).await?;
                let name = ServerName::try_from("istiod.istio-system.svc").unwrap();
                let stream = tokio_rustls::TlsConnector::from(tls)
                    .connect(name, socket)
                    .await?;
                Ok::<_, std::io::Error>(TokioIo::new(stream))
            }
        });
        Endpoint::from_static("https://istiod.istio-system.svc:15012")
            .connect_with_connector(connect)
            .await
            .unwrap()
    }

    /// A query with the admin's token.
    async fn query<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<T, (u16, String)> {
        self.query_as(self.api.admin_token(), method, path, body).await
    }

    async fn send(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> http::Response<hyper::body::Incoming> {
        let mut tls = mesh_tls::config::control_plane_client(self.roots(), None).unwrap();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let socket = TcpStream::connect(self.control.query_address()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::new(tls))
            .connect(name, socket)
            .await
            .unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .unwrap();
        tokio::spawn(connection);
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {token}"))
            .body(Full::new(bytes::Bytes::from(body.to_owned())))
            .unwrap();
        sender.send_request(request).await.unwrap()
    }

    async fn query_as<T: DeserializeOwned>(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<T, (u16, String)> {
        let answer = self.send(token, method, path, body).await;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        if status != 200 {
            return Err((status, String::from_utf8_lossy(&bytes).into_owned()));
        }
        Ok(serde_json::from_slice(&bytes).unwrap())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.query("GET", path, "").await.unwrap()
    }

    /// Namespace `default` with the service, pod and account of `reviews`.
    async fn sample(&self) {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        if namespaces.get_opt("default").await.unwrap().is_none() {
            let namespace = serde_json::from_value(json!({ "metadata": { "name": "default" } })).unwrap();
            namespaces
                .create(&PostParams::default(), &namespace)
                .await
                .unwrap();
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "default");
        for name in ["reviews", "ratings"] {
            let account = serde_json::from_value(json!({ "metadata": { "name": name } })).unwrap();
            accounts.create(&PostParams::default(), &account).await.unwrap();
        }
        let services: Api<Service> = Api::namespaced(self.client.clone(), "default");
        let service = json!({
            "metadata": { "name": "reviews" },
            "spec": { "selector": { "app": "reviews" }, "ports": [{ "name": "http", "port": 9080 }] },
        });
        services
            .create(&PostParams::default(), &serde_json::from_value(service).unwrap())
            .await
            .unwrap();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), "default");
        let pod = json!({
            "metadata": { "name": "reviews-v1-abc", "labels": { "app": "reviews", "version": "v1" } },
            "spec": { "serviceAccountName": "reviews", "containers": [{ "name": "app", "image": "x" }] },
        });
        pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap())
            .await
            .unwrap();
    }

    /// A workload token, as the supervisor mints it.
    async fn token(&self, account: &str) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: vec!["istio-ca".into()],
                expiration_seconds: Some(3600),
                ..Default::default()
            },
            ..Default::default()
        };
        let answer = accounts
            .create_token_request(account, &PostParams::default(), &request)
            .await
            .unwrap();
        answer.status.unwrap().token
    }

    async fn identity(&self, account: &str) -> mesh_tls::Identity {
        let token = self.token(account).await;
        let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/default/sa/{account}")).unwrap();
        let made = mesh_tls::CertificateRequest::create(&id).unwrap();
        let mut client = IstioCertificateServiceClient::new(self.channel(None).await);
        let mut request = tonic::Request::new(IstioCertificateRequest {
            csr: made.csr_pem.clone(),
            ..Default::default()
        });
        let header = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", header);
        let chain = client
            .create_certificate(request)
            .await
            .unwrap()
            .into_inner()
            .cert_chain;
        assert!(chain.len() >= 2, "leaf and root");
        mesh_tls::Identity::from_pem(&chain.concat(), &made.key_pem, &self.root).unwrap()
    }

    fn virtual_services(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
        Api::namespaced_with(
            self.client.clone(),
            "default",
            &ApiResource::from_gvk_with_plural(&kind, "virtualservices"),
        )
    }
}

async fn control(folder: &tempfile::TempDir, api: &mesh_apiserver::Server) -> Running {
    let data = folder.path().join("data");
    let any = "127.0.0.1:0";
    let options = Options::parse_from([
        "sightline-controlplane",
        "--kubeconfig",
        api.kubeconfig_path().to_str().unwrap(),
        "--discovery-address",
        any,
        "--query-address",
        any,
        "--metrics-address",
        any,
        "--data",
        data.to_str().unwrap(),
    ]);
    let mut control = Running::start(options).await.unwrap();
    tokio::time::timeout(DEADLINE, control.ready()).await.unwrap();
    control
}

/// A proxy's end of a discovery stream that acknowledges everything.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: tonic::Streaming<DeltaDiscoveryResponse>,
    versions: BTreeMap<(String, String), String>,
}

impl Proxy {
    async fn connect(mesh: &Mesh, identity: &mesh_tls::Identity) -> Result<Self, tonic::Status> {
        let (requests, queue) = mpsc::channel(64);
        let text = |text: &str| Value {
            kind: Some(value::Kind::StringValue(text.into())),
        };
        let metadata = Struct {
            fields: [
                ("NAMESPACE", "default"),
                ("WORKLOAD_NAME", "reviews-v1"),
                ("SIGHTLINE_APPLICATION_ADDRESS", "127.64.1.1"),
                ("SIGHTLINE_OUTBOUND", "127.64.1.3:15001"),
            ]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), text(v)))
            .collect(),
        };
        let node = Node {
            id: PROXY.into(),
            metadata: Some(metadata),
            ..Default::default()
        };
        for (i, type_url) in [mesh_xds::TYPE_CLUSTER, mesh_xds::TYPE_LISTENER]
            .into_iter()
            .enumerate()
        {
            let request = DeltaDiscoveryRequest {
                node: (i == 0).then(|| node.clone()),
                type_url: type_url.into(),
                ..Default::default()
            };
            requests.send(request).await.unwrap();
        }
        for type_url in [mesh_xds::TYPE_ENDPOINTS, mesh_xds::TYPE_ROUTE] {
            let request = DeltaDiscoveryRequest {
                type_url: type_url.into(),
                resource_names_subscribe: vec!["*".into()],
                ..Default::default()
            };
            requests.send(request).await.unwrap();
        }
        let mut client = AggregatedDiscoveryServiceClient::new(mesh.channel(Some(identity)).await);
        let responses = client
            .delta_aggregated_resources(ReceiverStream::new(queue))
            .await?
            .into_inner();
        Ok(Self {
            requests,
            responses,
            versions: BTreeMap::new(),
        })
    }

    /// Takes what comes until there is a pause.
    async fn take_all(&mut self) {
        while let Ok(taken) = tokio::time::timeout(Duration::from_millis(100), self.take(None)).await {
            taken.unwrap();
        }
    }

    /// Takes one response, as a proxy that likes everything or nothing.
    async fn take(&mut self, refusal: Option<&str>) -> Result<(), tonic::Status> {
        let response = tokio::time::timeout(DEADLINE, self.responses.message())
            .await
            .expect("a response")?
            .expect("the stream is open");
        for resource in &response.resources {
            let key = (response.type_url.clone(), resource.name.clone());
            self.versions.insert(key, resource.version.clone());
        }
        let answer = DeltaDiscoveryRequest {
            type_url: response.type_url,
            response_nonce: response.nonce,
            error_detail: refusal.map(|message| mesh_xds::discovery::Status {
                code: 3,
                message: message.into(),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.requests.send(answer).await.unwrap();
        Ok(())
    }
}

fn rules(prefix: &str) -> serde_json::Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "name": "reviews", "namespace": "default" },
        "spec": {
            "hosts": ["reviews"],
            "http": [{
                "name": "main",
                "match": [{ "uri": { "prefix": prefix } }],
                "route": [{ "destination": { "host": "reviews" } }],
            }],
        },
    })
}

fn now() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_secs()
}

fn report(sequence: u64, requests: u64) -> Batch {
    let window = now() / 10 * 10;
    let mut batch = conformance::batch("productpage-v1", 7, sequence, window, requests);
    batch.proxy = PROXY.into();
    batch.cut_at_ms = now() * 1000 + 999;
    batch
}

async fn export(mesh: &Mesh, identity: &mesh_tls::Identity, batch: &Batch) -> Result<(), tonic::Status> {
    let mut client = MetricsServiceClient::new(mesh.channel(Some(identity)).await);
    let mut request = tonic::Request::new(otlp::encode(batch));
    for (name, value) in [
        (otlp::metadata::PROXY, batch.proxy.clone()),
        (otlp::metadata::EPOCH, batch.epoch.to_string()),
        (otlp::metadata::SEQUENCE, batch.sequence.to_string()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    client.export(request).await.map(|_| ())
}

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
