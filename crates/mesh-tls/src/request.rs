//! Certificate signing requests of a workload.

use mesh_model::identity::SpiffeId;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};

use crate::Error;

/// A fresh key with the request that asks for its certificate.
pub struct CertificateRequest {
    /// PEM request.
    pub csr_pem: String,
    /// PEM private key (PKCS#8); never leaves the workload.
    pub key_pem: String,
}

impl std::fmt::Debug for CertificateRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateRequest").finish_non_exhaustive()
    }
}

impl CertificateRequest {
    /// Makes an ECDSA P-256 key and a request that names `id`.
    pub fn create(id: &SpiffeId) -> Result<Self, Error> {
        let wrap = |e: rcgen::Error| Error::Certificate(e.to_string());
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(wrap)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(
            id.to_string()
                .try_into()
                .map_err(|_| Error::Request("identity is not ASCII".into()))?,
        )];
        let csr = params.serialize_request(&key).map_err(wrap)?;
        Ok(Self {
            csr_pem: csr.pem().map_err(wrap)?,
            key_pem: key.serialize_pem(),
        })
    }
}
