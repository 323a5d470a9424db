//! rustls configurations from the model's TLS contexts.
//!
//! A configuration belongs to one generation of the workload's identity and holds its own session store, so that a
//! resumed session never outlives the identity or the expectations under which it was made.

use std::sync::Arc;

use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource, UpstreamTls};
use mesh_model::listener::DownstreamTls;
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::server::{ClientHello, ResolvesServerCert, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::identity::{certified_key, root_store};
use crate::verify::{Expect, PeerVerifier};
use crate::{Error, Identity, provider};

/// Sessions kept for resumption by one configuration.
const SESSIONS: usize = 4096;

/// TLS termination as a listener's filter chain asks for it. `identity` serves `CertificateSource::Workload` and
/// `RootSource::Mesh`; without it those answer [`Error::NoIdentity`].
pub fn server(tls: &DownstreamTls, identity: Option<&Identity>) -> Result<ServerConfig, Error> {
    let mut keys = Vec::new();
    for source in &tls.certificates {
        keys.extend(certificate(source, identity)?);
    }
    if keys.is_empty() {
        return Err(Error::material(
            "TLS context",
            "a listener needs a certificate; give tls_certificates or tls_certificate_sds_secret_configs",
        ));
    }
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match roots(&tls.validation.roots, identity)? {
        Some(roots) => builder.with_client_cert_verifier(Arc::new(PeerVerifier::new(
            roots,
            expect(&tls.validation, identity),
            tls.require_client_certificate,
        ))),
        None if tls.require_client_certificate => builder.with_client_cert_verifier(Arc::new(
            PeerVerifier::new(Arc::new(RootCertStore::empty()), Expect::Anything, true),
        )),
        None => builder.with_client_cert_verifier(WebPkiClientVerifier::no_client_auth()),
    };
    let mut config = builder.with_cert_resolver(Arc::new(BySni::new(keys)));
    config.alpn_protocols = tls.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    Ok(config)
}

/// TLS origination as a cluster asks for it.
pub fn client(tls: &UpstreamTls, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let verifier = match roots(&tls.validation.roots, identity)? {
        Some(roots) => PeerVerifier::new(roots, expect(&tls.validation, identity), false),
        None => PeerVerifier::new(Arc::new(RootCertStore::empty()), Expect::Anything, false),
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match certificate(&tls.certificate, identity)? {
        Some(key) => {
            let resolver: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(key));
            builder.with_client_cert_resolver(resolver)
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = tls.alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config.resumption = Resumption::in_memory_sessions(SESSIONS / 16);
    Ok(config)
}

/// The control plane's own port: HTTP/2, client certificate optional and, if given, a mesh peer's.
pub fn control_plane_server(
    chain_pem: &str,
    key_pem: &str,
    roots: Arc<RootCertStore>,
    trust_domain: &str,
) -> Result<ServerConfig, Error> {
    let key = certified_key("server certificate", chain_pem, "server key", key_pem)?;
    let expect = Expect::Mesh {
        trust_domain: trust_domain.to_owned(),
        names: Vec::new(),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(Arc::new(PeerVerifier::new(roots, expect, false)))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

/// A client of the control plane: the server's DNS name is verified against `roots`; the identity, if there is one,
/// is presented.
pub fn control_plane_client(
    roots: Arc<RootCertStore>,
    identity: Option<&Identity>,
) -> Result<ClientConfig, Error> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let mut config = match identity {
        Some(identity) => builder
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(&identity.certified)))),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(config)
}

fn expect(validation: &PeerValidation, identity: Option<&Identity>) -> Expect {
    let names = validation.subject_alt_names.clone();
    match (&validation.roots, identity) {
        (RootSource::None, _) => Expect::Anything,
        (RootSource::Mesh, Some(identity)) => Expect::Mesh {
            trust_domain: identity.id.trust_domain.clone(),
            names,
        },
        _ if names.is_empty() => Expect::Chain,
        _ => Expect::Names(names),
    }
}

/// Istio's name for the roots of the operating system.
const SYSTEM_ROOTS: &str = "file-root:system";
/// Where operating systems keep them.
const SYSTEM_BUNDLES: [&str; 3] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

fn roots(source: &RootSource, identity: Option<&Identity>) -> Result<Option<Arc<RootCertStore>>, Error> {
    Ok(match source {
        RootSource::None => None,
        RootSource::Mesh => Some(Arc::clone(&identity.ok_or(Error::NoIdentity("ROOTCA"))?.roots)),
        RootSource::File(path) => Some(root_store(path, &read(path)?)?.1),
        RootSource::Inline(pem) => Some(root_store("inline trusted_ca", pem)?.1),
        RootSource::Secret(name) if name == SYSTEM_ROOTS => {
            let found = SYSTEM_BUNDLES
                .iter()
                .find_map(|path| Some((path, read(path).ok()?)));
            let (path, pem) = found.ok_or_else(|| {
                Error::material(
                    name,
                    "the system has no certificate bundle; install ca-certificates",
                )
            })?;
            Some(root_store(path, &pem)?.1)
        }
        RootSource::Secret(name) => {
            return Err(Error::material(
                name,
                "secrets by name are not delivered to this proxy; use ROOTCA or a file",
            ));
        }
    })
}

fn certificate(
    source: &CertificateSource,
    identity: Option<&Identity>,
) -> Result<Option<Arc<CertifiedKey>>, Error> {
    Ok(match source {
        CertificateSource::None => None,
        CertificateSource::Workload => Some(Arc::clone(
            &identity.ok_or(Error::NoIdentity("default"))?.certified,
        )),
        CertificateSource::Files { chain, key } => {
            Some(Arc::new(certified_key(chain, &read(chain)?, key, &read(key)?)?))
        }
        CertificateSource::Inline { chain, key } => Some(Arc::new(certified_key(
            "inline certificate_chain",
            chain,
            "inline private_key",
            key,
        )?)),
        CertificateSource::Secret(name) => {
            return Err(Error::material(
                name,
                "secrets by name are not delivered to this proxy; use `default` or files",
            ));
        }
    })
}

fn read(path: &str) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|e| Error::material(path, e))
}

/// Chooses a certificate by SNI: exact name, then wildcard, then the first.
#[derive(Debug)]
struct BySni {
    keys: Vec<(Vec<String>, Arc<CertifiedKey>)>,
}

impl BySni {
    fn new(keys: Vec<Arc<CertifiedKey>>) -> Self {
        let keys = keys
            .into_iter()
            .map(|key| {
                let names = key.cert.first().map(crate::verify::dns_names).unwrap_or_default();
                (names, key)
            })
            .collect();
        Self { keys }
    }

    fn find(&self, matches: impl Fn(&str) -> bool) -> Option<&Arc<CertifiedKey>> {
        self.keys
            .iter()
            .find(|(names, _)| names.iter().any(|n| matches(n)))
            .map(|(_, key)| key)
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let first = self.keys.first().map(|(_, key)| key);
        let chosen = match hello.server_name() {
            Some(name) if self.keys.len() > 1 => {
                let parent = name.split_once('.').map(|(_, parent)| parent);
                self.find(|n| n.eq_ignore_ascii_case(name))
                    .or_else(|| {
                        self.find(|n| {
                            n.strip_prefix("*.")
                                .is_some_and(|p| parent.is_some_and(|q| p.eq_ignore_ascii_case(q)))
                        })
                    })
                    .or(first)
            }
            _ => first,
        };
        chosen.map(Arc::clone)
    }
}
