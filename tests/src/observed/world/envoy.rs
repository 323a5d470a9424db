//! A real Envoy in the place of our proxy: driven by our control plane over delta ADS, with its key material over SDS
//! from a server of the test, as Istio's agent would serve it.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::SystemTime;

use anyhow::{Context, bail};
use base64::Engine as _;
use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source::Specifier};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as tls;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use futures::{Stream, StreamExt as _};
use mesh_model::identity::SpiffeId;
use mesh_tls::{CertificateAuthority, CertificateRequest};
use prost::Message as _;
use serde_json::{Value, json};
use tonic::{Request, Response, Status, Streaming};

use super::objects;
use crate::observed::access_log::AccessLog;
use crate::observed::children::Process;
use crate::observed::cluster::Cluster;
use crate::observed::fixture::{ROOT_NAMESPACE, Workload};

/// Label of a workload whose proxy is Envoy.
pub(super) const LABEL: (&str, &str) = ("proxy", "envoy");

/// The binary, as `tests/envoy/fetch.sh` unpacks it.
pub fn binary() -> anyhow::Result<PathBuf> {
    let folder = match (std::env::var_os("SIGHTLINE_ENVOY"), std::env::var_os("HOME")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(home)) => PathBuf::from(home).join(".cache/sightline/envoy"),
        (None, None) => bail!("neither SIGHTLINE_ENVOY nor HOME is set"),
    };
    let path = folder.join("envoy/_bin/envoy");
    if !path.is_file() {
        bail!(
            "{} is missing: run `cargo xtask cluster` or `bash tests/envoy/fetch.sh`",
            path.display()
        );
    }
    Ok(path)
}

/// Starts Envoy for a workload.
pub(super) async fn start(
    plan: &super::Plan,
    cluster: &Cluster,
    workload: &Workload,
    control: IpAddr,
    root: &Path,
    log: AccessLog,
) -> anyhow::Result<Process> {
    let name = format!("envoy-{}-{}", workload.namespace, workload.name);
    let discovery = SocketAddr::new(control, super::DISCOVERY);
    let account = objects::account(workload);
    let token = cluster.token(&workload.namespace, account, &["istio-ca"]).await?;
    let secrets = Secrets::issue(cluster, &workload.namespace, account).await?;
    let sds = secrets.serve(workload.pod_ip()).await?;
    let mut bootstrap = objects::bootstrap(plan, workload, discovery, root);
    complete(&mut bootstrap, workload, sds, &token);
    let file = plan.folder.join(format!("{name}.json"));
    std::fs::write(&file, serde_json::to_string_pretty(&bootstrap)?)?;
    let arguments = ["-c", &file.display().to_string(), "--concurrency", "1"]
        .into_iter()
        .chain(["--disable-hot-restart", "--log-level", "warn"])
        .chain(["--file-flush-interval-msec", "50"])
        .map(str::to_owned)
        .collect::<Vec<_>>();
    plan.programs.start(&name, &binary()?, &arguments, log)
}

/// What Envoy needs beyond what ours does: the token as a header, the SDS cluster, and Istio's readiness port.
fn complete(bootstrap: &mut Value, workload: &Workload, sds: SocketAddr, token: &str) {
    let services = &mut bootstrap["dynamic_resources"]["ads_config"]["grpc_services"];
    services[0]["initial_metadata"] = json!([{"key": "authorization", "value": format!("Bearer {token}")}]);
    // The explicit proxy port is our proxy's own: tables by port and what is inside CONNECT are no matter of Envoy's.
    if let Some(metadata) = bootstrap["node"]["metadata"].as_object_mut() {
        metadata.remove("SIGHTLINE_OUTBOUND");
    }
    let ip = workload.pod_ip();
    let admin = SocketAddr::new(ip, mesh_model::address::port::ADMIN);
    let readiness = SocketAddr::new(ip, mesh_model::address::port::READINESS);
    let clusters = &mut bootstrap["static_resources"]["clusters"];
    if let Some(clusters) = clusters.as_array_mut() {
        clusters.push(static_cluster("sds-grpc", sds, true));
        clusters.push(static_cluster("agent", admin, false));
    }
    bootstrap["static_resources"]["listeners"] = json!([{
        "name": "readiness", "address": objects::socket(readiness),
        "filter_chains": [{"filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                "stat_prefix": "agent",
                "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                    "match": {"path": "/healthz/ready"},
                    "route": {"cluster": "agent", "prefix_rewrite": "/ready"},
                }]}]},
                "http_filters": [{
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
                }],
            },
        }]}],
    }]);
}

fn static_cluster(name: &str, at: SocketAddr, http2: bool) -> Value {
    let protocol = if http2 {
        json!({"http2_protocol_options": {}})
    } else {
        json!({"http_protocol_options": {}})
    };
    json!({
        "name": name, "type": "STATIC", "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": objects::socket(at)}}]}],
        },
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": protocol,
            },
        },
    })
}

/// Key, chain and roots of one workload, by the names under which Istio's proxies ask for them.
#[derive(Clone)]
struct Secrets {
    certificate: tls::Secret,
    roots: tls::Secret,
}

impl Secrets {
    /// A request of the workload, signed by the mesh's own authority.
    async fn issue(cluster: &Cluster, namespace: &str, account: &str) -> anyhow::Result<Self> {
        let path = format!("/api/v1/namespaces/{ROOT_NAMESPACE}/secrets/istio-ca-secret");
        let secret = cluster.get(&path).await?;
        let part = |name: &str| -> anyhow::Result<String> {
            let text = secret["data"][name]
                .as_str()
                .with_context(|| format!("{path}: no {name}"))?;
            let bytes = base64::engine::general_purpose::STANDARD.decode(text)?;
            Ok(String::from_utf8(bytes)?)
        };
        let now = SystemTime::now();
        let authority =
            CertificateAuthority::load(&part("ca-cert.pem")?, &part("ca-key.pem")?, "cluster.local", now)?;
        let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/{namespace}/sa/{account}"))
            .context("identity")?;
        let request = CertificateRequest::create(&id)?;
        let signed = authority.sign(&request.csr_pem, &id, None, now)?;
        let inline = |text: String| DataSource {
            specifier: Some(Specifier::InlineString(text)),
            ..DataSource::default()
        };
        let certificate = tls::TlsCertificate {
            certificate_chain: Some(inline(signed.chain.concat())),
            private_key: Some(inline(request.key_pem.clone())),
            ..tls::TlsCertificate::default()
        };
        let validation = tls::CertificateValidationContext {
            trusted_ca: Some(inline(authority.certificate_pem().to_owned())),
            ..tls::CertificateValidationContext::default()
        };
        Ok(Self {
            certificate: tls::Secret {
                name: "default".to_owned(),
                r#type: Some(tls::secret::Type::TlsCertificate(certificate)),
            },
            roots: tls::Secret {
                name: "ROOTCA".to_owned(),
                r#type: Some(tls::secret::Type::ValidationContext(validation)),
            },
        })
    }

    /// Serves them on this address for as long as the test runs.
    async fn serve(self, ip: IpAddr) -> anyhow::Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind(SocketAddr::new(ip, 0)).await?;
        let address = listener.local_addr()?;
        let incoming = futures::stream::unfold(listener, |listener| async move {
            let accepted = listener.accept().await.map(|(stream, _)| stream);
            Some((accepted, listener))
        });
        let server = tonic::transport::Server::builder()
            .add_service(SecretDiscoveryServiceServer::new(self))
            .serve_with_incoming(incoming);
        tokio::spawn(server);
        Ok(address)
    }

    fn answer(&self, request: &DiscoveryRequest, version: u64) -> DiscoveryResponse {
        let known = [&self.certificate, &self.roots];
        let wanted = known
            .into_iter()
            .filter(|s| request.resource_names.contains(&s.name));
        let resources = wanted.map(|secret| envoy_types::pb::google::protobuf::Any {
            type_url: request.type_url.clone(),
            value: secret.encode_to_vec(),
        });
        DiscoveryResponse {
            version_info: version.to_string(),
            resources: resources.collect(),
            type_url: request.type_url.clone(),
            nonce: version.to_string(),
            ..DiscoveryResponse::default()
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SecretDiscoveryService for Secrets {
    type StreamSecretsStream = Answers<DiscoveryResponse>;
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let secrets = self.clone();
        let state = (request.into_inner(), Vec::new(), 0_u64);
        let answers = futures::stream::unfold(state, move |(mut requests, mut told, mut version)| {
            let secrets = secrets.clone();
            async move {
                loop {
                    let request = requests.next().await?.ok()?;
                    // An acknowledgement asks for nothing new.
                    if request.response_nonce.is_empty() || request.resource_names != told {
                        told.clone_from(&request.resource_names);
                        version += 1;
                        let answer = secrets.answer(&request, version);
                        return Some((Ok(answer), (requests, told, version)));
                    }
                }
            }
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("state of the world only"))
    }

    async fn fetch_secrets(
        &self,
        request: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Ok(Response::new(self.answer(request.get_ref(), 1)))
    }
}
