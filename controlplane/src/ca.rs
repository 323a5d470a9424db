//! The certificate authority: its root in a Secret, its certificate in every namespace, its signatures.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{Api, Patch, PatchParams, PostParams};
use mesh_model::identity::SpiffeId;
use mesh_tls::CertificateAuthority;
use mesh_xds::certificate::{IstioCertificateRequest, IstioCertificateResponse, IstioCertificateService};
use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::Authenticator;
use crate::index::Generation;
use crate::metrics::Metrics;

const SECRET: &str = "istio-ca-secret";
const CERTIFICATE_KEY: &str = "ca-cert.pem";
const PRIVATE_KEY: &str = "ca-key.pem";
const ROOT_CONFIG_MAP: &str = "istio-ca-root-cert";
const ROOT_KEY: &str = "root-cert.pem";

/// Requests that one identity may make at once, and the time that gives one back.
const BURST: u32 = 20;
const REFILL: Duration = Duration::from_secs(1);
/// Most identities whose rate is remembered.
const MAX_RATES: usize = 20_000;
/// Time between looks at the roots of all namespaces when nothing changes.
const ROOTS_AGAIN: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(1);

/// Names of the control plane's own certificate.
const SERVER_NAMES: [&str; 2] = ["istiod.istio-system.svc", "localhost"];

/// Reads the root from its Secret, or makes one and stores it: whoever creates the Secret first wins.
pub(crate) async fn load_or_create(
    client: &kube::Client,
    namespace: &str,
    trust_domain: &str,
) -> anyhow::Result<CertificateAuthority> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), namespace);
    if let Some(secret) = secrets.get_opt(SECRET).await? {
        return read(&secret, trust_domain);
    }
    ensure_namespace(client, namespace).await?;
    let authority = CertificateAuthority::create(trust_domain, SystemTime::now())?;
    let secret = Secret {
        metadata: named(SECRET, namespace),
        type_: Some("istio.io/ca-root".into()),
        data: Some(BTreeMap::from([
            (
                CERTIFICATE_KEY.to_owned(),
                ByteString(authority.certificate_pem().into()),
            ),
            (
                PRIVATE_KEY.to_owned(),
                ByteString(authority.key_pem().into_bytes()),
            ),
        ])),
        ..Secret::default()
    };
    match secrets.create(&PostParams::default(), &secret).await {
        Ok(_) => Ok(authority),
        Err(kube::Error::Api(status)) if status.code == 409 => {
            read(&secrets.get(SECRET).await?, trust_domain)
        }
        Err(error) => Err(error.into()),
    }
}

fn read(secret: &Secret, trust_domain: &str) -> anyhow::Result<CertificateAuthority> {
    let text = |key: &str| -> anyhow::Result<String> {
        let bytes = secret
            .data
            .as_ref()
            .and_then(|data| data.get(key))
            .ok_or_else(|| {
                anyhow::anyhow!("secret {SECRET} has no key {key}; remove it to make a new root")
            })?;
        Ok(String::from_utf8(bytes.0.clone())?)
    };
    let (certificate, key) = (text(CERTIFICATE_KEY)?, text(PRIVATE_KEY)?);
    CertificateAuthority::load(&certificate, &key, trust_domain, SystemTime::now())
        .map_err(|e| anyhow::anyhow!("secret {SECRET}: {e}"))
}

async fn ensure_namespace(client: &kube::Client, name: &str) -> anyhow::Result<()> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..Namespace::default()
    };
    match namespaces.create(&PostParams::default(), &namespace).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn named(name: &str, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        ..ObjectMeta::default()
    }
}

/// The TLS configuration of the control plane's ports, renewed at half of its certificate's life.
pub(crate) struct ServerTls {
    authority: Arc<CertificateAuthority>,
    addresses: Vec<IpAddr>,
    /// HTTP/2 only.
    pub(crate) discovery: Arc<ArcSwap<ServerConfig>>,
    /// HTTP/2 and HTTP/1.1.
    pub(crate) query: Arc<ArcSwap<ServerConfig>>,
}

impl ServerTls {
    pub(crate) fn new(authority: Arc<CertificateAuthority>, listening: &[IpAddr]) -> anyhow::Result<Self> {
        let mut addresses = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
        let given = listening.iter().filter(|ip| !ip.is_unspecified());
        addresses.extend(given.filter(|ip| **ip != IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let (discovery, query, _) = configurations(&authority, &addresses)?;
        Ok(Self {
            authority,
            addresses,
            discovery: Arc::new(ArcSwap::from_pointee(discovery)),
            query: Arc::new(ArcSwap::from_pointee(query)),
        })
    }

    /// Renews until the process ends.
    pub(crate) async fn renew(self) {
        loop {
            tokio::time::sleep(mesh_tls::LEAF_LIFETIME / 2).await;
            match configurations(&self.authority, &self.addresses) {
                Ok((discovery, query, _)) => {
                    self.discovery.store(Arc::new(discovery));
                    self.query.store(Arc::new(query));
                }
                Err(error) => tracing::error!(%error, "own certificate cannot be renewed"),
            }
        }
    }
}

fn configurations(
    authority: &CertificateAuthority,
    addresses: &[IpAddr],
) -> anyhow::Result<(ServerConfig, ServerConfig, SystemTime)> {
    let (chain, key, end) = authority.server(&SERVER_NAMES, addresses, None, SystemTime::now())?;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.certificate().clone())?;
    let discovery =
        mesh_tls::config::control_plane_server(&chain, &key, Arc::new(roots), authority.trust_domain())?;
    let mut query = discovery.clone();
    query.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((discovery, query, end))
}

/// Keeps the root's certificate in a ConfigMap of every namespace.
pub(crate) async fn publish_roots(
    client: kube::Client,
    root_pem: String,
    mut worlds: watch::Receiver<Option<Arc<Generation>>>,
) {
    let mut done: BTreeMap<String, Instant> = BTreeMap::new();
    loop {
        let namespaces = worlds
            .borrow_and_update()
            .as_ref()
            .map(|generation| generation.namespaces())
            .unwrap_or_default();
        done.retain(|name, at| namespaces.contains(name) && at.elapsed() < ROOTS_AGAIN);
        let mut failed = false;
        for namespace in namespaces {
            if done.contains_key(&namespace) {
                continue;
            }
            match write_root(&client, &namespace, &root_pem).await {
                Ok(()) => {
                    done.insert(namespace, Instant::now());
                }
                Err(error) => {
                    failed = true;
                    tracing::warn!(%namespace, %error, "root certificate cannot be written");
                }
            }
        }
        let pause = if failed { RETRY } else { ROOTS_AGAIN };
        tokio::select! {
            changed = worlds.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn write_root(client: &kube::Client, namespace: &str, root_pem: &str) -> Result<(), kube::Error> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let data = BTreeMap::from([(ROOT_KEY.to_owned(), root_pem.to_owned())]);
    match maps.get_opt(ROOT_CONFIG_MAP).await? {
        Some(present) if present.data.as_ref() == Some(&data) => return Ok(()),
        Some(_) => {
            let patch = serde_json::json!({ "data": data });
            maps.patch(ROOT_CONFIG_MAP, &PatchParams::default(), &Patch::Merge(patch))
                .await?;
        }
        None => {
            let map = ConfigMap {
                metadata: named(ROOT_CONFIG_MAP, namespace),
                data: Some(data),
                ..ConfigMap::default()
            };
            maps.create(&PostParams::default(), &map).await?;
        }
    }
    Ok(())
}

/// Signs workload certificates.
pub(crate) struct Signer {
    pub(crate) authority: Arc<CertificateAuthority>,
    pub(crate) authenticator: Authenticator,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) rates: Rates,
}

#[tonic::async_trait]
impl IstioCertificateService for Signer {
    async fn create_certificate(
        &self,
        request: tonic::Request<IstioCertificateRequest>,
    ) -> Result<tonic::Response<IstioCertificateResponse>, tonic::Status> {
        self.metrics.csr_count.inc();
        let id = self.authenticator.workload(&request).await.inspect_err(|_| {
            self.metrics.csr_authn_failures.inc();
        })?;
        if !self.rates.take(&id, Instant::now()) {
            return Err(tonic::Status::resource_exhausted(format!("{id} asks too often")));
        }
        let request = request.into_inner();
        let lifetime = u64::try_from(request.validity_duration)
            .ok()
            .filter(|seconds| *seconds > 0)
            .map(Duration::from_secs);
        let signed = self
            .authority
            .sign(&request.csr, &id, lifetime, SystemTime::now())
            .map_err(|e| tonic::Status::invalid_argument(e.to_string()))?;
        self.metrics.csr_success.inc();
        tracing::info!(%id, "certificate signed");
        Ok(tonic::Response::new(IstioCertificateResponse {
            cert_chain: signed.chain,
        }))
    }
}

/// A token bucket per identity.
#[derive(Debug, Default)]
pub(crate) struct Rates(Mutex<HashMap<SpiffeId, (u32, Instant)>>);

impl Rates {
    fn take(&self, id: &SpiffeId, now: Instant) -> bool {
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= MAX_RATES && !rates.contains_key(id) {
            let full_again = REFILL * BURST;
            rates.retain(|_, (_, at)| now.duration_since(*at) < full_again);
            if rates.len() >= MAX_RATES {
                return false;
            }
        }
        let (tokens, at) = rates.entry(id.clone()).or_insert((BURST, now));
        let back = now.duration_since(*at).as_secs() / REFILL.as_secs();
        if back > 0 {
            *tokens = tokens
                .saturating_add(u32::try_from(back).unwrap_or(BURST))
                .min(BURST);
            *at = now;
        }
        let granted = *tokens > 0;
        *tokens = tokens.saturating_sub(1);
        granted
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use mesh_model::identity::SpiffeId;
    use tokio::time::Instant;

    use super::{BURST, Rates};

    #[test]
    fn one_identity_cannot_use_up_another_ones_rate() {
        let [a, b] = ["a", "b"].map(|sa| SpiffeId::parse(&format!("spiffe://t/ns/n/sa/{sa}")).unwrap());
        let (rates, now) = (Rates::default(), Instant::now());
        assert!((0..BURST).all(|_| rates.take(&a, now)));
        assert!(!rates.take(&a, now));
        assert!(rates.take(&b, now));
        assert!(rates.take(&a, now + Duration::from_secs(1)));
        assert!(!rates.take(&a, now + Duration::from_secs(1)));
    }
}
