//! TLS both ways: the seam to whoever owns keys, and the handshakes.

use std::sync::Arc;

use mesh_model::cluster::UpstreamTls;
use mesh_model::listener::DownstreamTls;

/// Makes rustls configurations for what the model asks. Called when a snapshot is compiled and again after
/// [`crate::runtime::Runtime::refresh_tls`]; never on the request path.
pub trait TlsContexts: Send + Sync {
    /// For a listener's filter chain.
    fn server(&self, tls: &DownstreamTls) -> Result<Arc<rustls::ServerConfig>, TlsUnavailable>;
    /// For a cluster.
    fn client(&self, tls: &UpstreamTls) -> Result<Arc<rustls::ClientConfig>, TlsUnavailable>;
    /// The workload's own SPIFFE id, once it has a certificate.
    fn principal(&self) -> Option<String>;
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
