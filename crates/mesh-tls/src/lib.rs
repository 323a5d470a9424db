//! SPIFFE identities, rustls configurations, peer verification, the certificate authority.
//!
//! Everything here uses aws-lc-rs explicitly; nothing relies on a process-wide default provider.

pub mod authority;
pub mod config;
pub mod identity;
pub mod request;
pub mod verify;

pub use authority::{CertificateAuthority, SignedCertificate};
pub use identity::{Identity, IdentityWatch, identity_channel};
pub use request::CertificateRequest;
pub use verify::peer_identity;

/// Lifetime of a workload certificate unless asked otherwise (Istio's default).
pub const LEAF_LIFETIME: std::time::Duration = std::time::Duration::from_secs(24 * 3600);
/// Lifetime of the self-made root (Istio's default).
pub const ROOT_LIFETIME: std::time::Duration = std::time::Duration::from_secs(10 * 365 * 24 * 3600);

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A PEM file or text is not what it should be.
    #[error("{what}: {reason}")]
    Material {
        /// Which file or secret.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A certificate request was refused.
    #[error("certificate request refused: {0}")]
    Request(String),
    /// TLS library said no.
    #[error("TLS configuration: {0}")]
    Tls(#[from] rustls::Error),
    /// Certificate library said no.
    #[error("certificate: {0}")]
    Certificate(String),
    /// The workload has no identity yet.
    #[error("this workload has no certificate yet: {0}")]
    NoIdentity(&'static str),
}

impl Error {
    pub(crate) fn material(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Material {
            what: what.into(),
            reason: reason.to_string(),
        }
    }
}

/// The one crypto provider.
#[must_use]
pub fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: std::sync::OnceLock<std::sync::Arc<rustls::crypto::CryptoProvider>> =
        std::sync::OnceLock::new();
    std::sync::Arc::clone(
        PROVIDER.get_or_init(|| std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider())),
    )
}
