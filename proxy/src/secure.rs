//! TLS both ways: the seam to whoever owns keys, and the handshakes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use mesh_model::cluster::UpstreamTls;
use mesh_model::identity::SpiffeId;
use mesh_model::listener::DownstreamTls;
use mesh_model::secret::Secret;
use rustls_pki_types::CertificateDer;
use sha2::Digest as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;

use crate::wire::Rewound;

/// Makes rustls configurations for what the model asks. Called when a snapshot is compiled and again after
/// [`crate::runtime::Runtime::refresh_tls`]; never on the request path.
pub trait TlsContexts: Send + Sync {
    /// For a listener's filter chain.
    fn server(&self, tls: &DownstreamTls) -> Result<Arc<rustls::ServerConfig>, TlsUnavailable>;
    /// For a cluster.
    fn client(&self, tls: &UpstreamTls) -> Result<Arc<rustls::ClientConfig>, TlsUnavailable>;
    /// The workload's own SPIFFE id, once it has a certificate.
    fn principal(&self) -> Option<String>;
    /// Key material that came with a configuration; told before its contexts are asked for.
    fn deliver(&self, _secrets: &BTreeMap<String, Arc<Secret>>) {}
}

/// Why no TLS configuration can be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsUnavailable {
    /// A certificate or secret is not there yet: handshakes fail until the next refresh, the snapshot is good.
    #[error("{0} is not available yet")]
    NotYet(String),
    /// The configuration can never work: the snapshot is refused.
    #[error("{0}")]
    Invalid(String),
}

/// For proxies without any TLS: every request for a context is refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoTls;

impl TlsContexts for NoTls {
    fn server(&self, _: &DownstreamTls) -> Result<Arc<rustls::ServerConfig>, TlsUnavailable> {
        Err(TlsUnavailable::Invalid("this proxy has no TLS material".into()))
    }
    fn client(&self, _: &UpstreamTls) -> Result<Arc<rustls::ClientConfig>, TlsUnavailable> {
        Err(TlsUnavailable::Invalid("this proxy has no TLS material".into()))
    }
    fn principal(&self) -> Option<String> {
        None
    }
}

/// The SPIFFE id of a verified peer: exactly one URI name in its leaf certificate, of the one accepted form.
#[must_use]
pub fn spiffe_id_of(certificates: &[CertificateDer<'static>]) -> Option<String> {
    let (_, leaf) = x509_parser::parse_x509_certificate(certificates.first()?).ok()?;
    let names = leaf.subject_alternative_name().ok()??;
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let uri = uris.next()?;
    if uris.next().is_some() {
        return None;
    }
    SpiffeId::parse(uri).map(|id| id.to_string())
}

/// What a client proved by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProvenPeer {
    /// SPIFFE id; empty when the certificate has none.
    pub(crate) principal: String,
    /// SHA-256 of the leaf, lower-case hex.
    pub(crate) hash: String,
    /// Subject of the leaf.
    pub(crate) subject: String,
}

impl ProvenPeer {
    /// Reads the leaf certificate.
    #[must_use]
    pub(crate) fn of(certificates: &[CertificateDer<'static>]) -> Option<Self> {
        let leaf = certificates.first()?;
        let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
        let mut hash = String::with_capacity(64);
        for byte in sha2::Sha256::digest(leaf) {
            // Writing into a string does not fail.
            let _ = write!(hash, "{byte:02x}");
        }
        Some(Self {
            principal: spiffe_id_of(certificates).unwrap_or_default(),
            hash,
            subject: parsed.subject().to_string(),
        })
    }
}

/// Terminates TLS on a connection whose first bytes were already read; bounded by `limit`.
pub(crate) async fn terminate(
    context: Arc<rustls::ServerConfig>,
    prefix: Vec<u8>,
    socket: TcpStream,
    limit: Duration,
) -> std::io::Result<TlsStream<Rewound>> {
    tokio::time::timeout(
        limit,
        TlsAcceptor::from(context).accept(Rewound::new(prefix, socket)),
    )
    .await
    .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
}
