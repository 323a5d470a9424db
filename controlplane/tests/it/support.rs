//! A control plane with an embedded API server, proxies' ends of its protocols, and a client of its queries.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, Pod, Secret, Service, ServiceAccount};
use kube::api::{Api, DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
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

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);
pub(crate) const PROXY: &str = "sidecar~127.64.1.2~reviews-v1-abc.default~default.svc.cluster.local";

/// Tries until it works.
pub(crate) async fn eventually<T>(what: &str, mut attempt: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        if let Some(value) = attempt().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) struct Mesh {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) api: mesh_apiserver::Server,
    pub(crate) client: kube::Client,
    pub(crate) control: Running,
    pub(crate) root: String,
}

impl Mesh {
    pub(crate) async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further options of the control plane.
    pub(crate) async fn start_with(further: &[&str]) -> Self {
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
        let control = control(&folder, &api, further).await;
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

    pub(crate) async fn restart(self) -> Self {
        self.restart_after(async |_| ()).await
    }

    /// With something done while no control plane runs.
    pub(crate) async fn restart_after(self, between: impl AsyncFnOnce(&kube::Client)) -> Self {
        self.control.shutdown().await;
        between(&self.client).await;
        let control = control(&self.folder, &self.api, &[]).await;
        Self { control, ..self }
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in mesh_tls::identity::certificates("root", &self.root).unwrap() {
            roots.add(certificate).unwrap();
        }
        Arc::new(roots)
    }

    pub(crate) async fn channel(&self, identity: Option<&mesh_tls::Identity>) -> Channel {
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
    pub(crate) async fn query<T: DeserializeOwned>(
        &self,
        method: &str,
        path: &str,
        body: &str,
    ) -> Result<T, (u16, String)> {
        self.query_as(self.api.admin_token(), method, path, body).await
    }

    pub(crate) async fn send(
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

    pub(crate) async fn query_as<T: DeserializeOwned>(
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

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> T {
        self.query("GET", path, "").await.unwrap()
    }

    /// Namespace `default` with the service, pod and account of `reviews`.
    pub(crate) async fn sample(&self) {
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
    pub(crate) async fn token(&self, account: &str) -> String {
        self.token_for(account, &["istio-ca"]).await
    }

    /// A token with which the account calls the API server.
    pub(crate) async fn user_token(&self, account: &str) -> String {
        self.token_for(account, &[]).await
    }

    async fn token_for(&self, account: &str, audiences: &[&str]) -> String {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), "default");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: audiences.iter().map(|a| (*a).to_owned()).collect(),
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

    pub(crate) async fn identity(&self, account: &str) -> mesh_tls::Identity {
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

    pub(crate) fn virtual_services(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("networking.istio.io", "v1", "VirtualService");
        Api::namespaced_with(
            self.client.clone(),
            "default",
            &ApiResource::from_gvk_with_plural(&kind, "virtualservices"),
        )
    }
}

async fn control(folder: &tempfile::TempDir, api: &mesh_apiserver::Server, further: &[&str]) -> Running {
    let data = folder.path().join("data");
    let any = "127.0.0.1:0";
    let mut arguments = vec![
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
    ];
    arguments.extend(further);
    let options = Options::parse_from(arguments);
    let mut control = Running::start(options).await.unwrap();
    tokio::time::timeout(DEADLINE, control.ready()).await.unwrap();
    control
}

/// A proxy's end of a discovery stream that acknowledges everything.
pub(crate) struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: tonic::Streaming<DeltaDiscoveryResponse>,
    versions: BTreeMap<(String, String), String>,
}

impl Proxy {
    pub(crate) async fn connect(mesh: &Mesh, identity: &mesh_tls::Identity) -> Result<Self, tonic::Status> {
        Self::connect_as(mesh, identity, PROXY, "reviews-v1").await
    }

    /// As a proxy of this id and workload.
    pub(crate) async fn connect_as(
        mesh: &Mesh,
        identity: &mesh_tls::Identity,
        id: &str,
        workload: &str,
    ) -> Result<Self, tonic::Status> {
        let (requests, queue) = mpsc::channel(64);
        let text = |text: &str| Value {
            kind: Some(value::Kind::StringValue(text.into())),
        };
        let metadata = Struct {
            fields: [
                ("NAMESPACE", "default"),
                ("WORKLOAD_NAME", workload),
                ("SIGHTLINE_APPLICATION_ADDRESS", "127.64.1.1"),
                ("SIGHTLINE_OUTBOUND", "127.64.1.3:15001"),
            ]
            .into_iter()
            .map(|(k, v)| (k.to_owned(), text(v)))
            .collect(),
        };
        let node = Node {
            id: id.into(),
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
    pub(crate) async fn take_all(&mut self) {
        while let Ok(taken) = tokio::time::timeout(Duration::from_millis(100), self.take(None)).await {
            taken.unwrap();
        }
    }

    /// Takes one response, as a proxy that likes everything or nothing.
    pub(crate) async fn take(&mut self, refusal: Option<&str>) -> Result<(), tonic::Status> {
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

pub(crate) fn rules(prefix: &str) -> serde_json::Value {
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

pub(crate) fn now() -> u64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    since.as_secs()
}

pub(crate) fn report(sequence: u64, requests: u64) -> Batch {
    let window = now() / 10 * 10;
    let mut batch = conformance::batch("productpage-v1", 7, sequence, window, requests);
    batch.proxy = PROXY.into();
    batch.cut_at_ms = now() * 1000 + 999;
    batch
}

pub(crate) async fn export(
    mesh: &Mesh,
    identity: &mesh_tls::Identity,
    batch: &Batch,
) -> Result<(), tonic::Status> {
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
