//! Who a peer is, and whether its certificate is accepted.

use std::sync::Arc;

use mesh_model::identity::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};
use x509_parser::extensions::GeneralName;

use crate::provider;

/// Why a peer's certificate says nothing that the mesh accepts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAPeer {
    /// Not an X.509 certificate.
    #[error("certificate cannot be read")]
    Unreadable,
    /// Not exactly one URI SAN.
    #[error("certificate has {0} URI subject alternative names, exactly one is needed")]
    UriCount(usize),
    /// The URI is not a workload's SPIFFE id.
    #[error("{0:?} is not spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
    NotSpiffe(String),
    /// Another trust domain.
    #[error("{0} is not in the trust domain {1:?}")]
    TrustDomain(SpiffeId, String),
    /// Not among the expected names.
    #[error("peer names {0:?} are not among the expected {1:?}")]
    Unexpected(Vec<String>, Vec<String>),
}

/// The SPIFFE id of a certificate: exactly one URI SAN in the strict form; common name and DNS names never count.
pub fn spiffe_id(certificate: &CertificateDer<'_>) -> Result<SpiffeId, NotAPeer> {
    let names = names(certificate)?;
    match names.uris.as_slice() {
        [one] => SpiffeId::parse(one).ok_or_else(|| NotAPeer::NotSpiffe(one.clone())),
        other => Err(NotAPeer::UriCount(other.len())),
    }
}

/// The SPIFFE id of a verified peer, from the chain that it presented.
#[must_use]
pub fn peer_identity(chain: Option<&[CertificateDer<'_>]>) -> Option<SpiffeId> {
    spiffe_id(chain?.first()?).ok()
}

/// The DNS names of a certificate; none if it cannot be read.
pub(crate) fn dns_names(certificate: &CertificateDer<'_>) -> Vec<String> {
    names(certificate).map(|n| n.dns).unwrap_or_default()
}

struct Names {
    uris: Vec<String>,
    dns: Vec<String>,
}

fn names(certificate: &CertificateDer<'_>) -> Result<Names, NotAPeer> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|_| NotAPeer::Unreadable)?;
    let mut found = Names {
        uris: Vec::new(),
        dns: Vec::new(),
    };
    let extension = parsed
        .subject_alternative_name()
        .map_err(|_| NotAPeer::Unreadable)?;
    for name in extension.iter().flat_map(|e| &e.value.general_names) {
        match name {
            GeneralName::URI(uri) => found.uris.push((*uri).to_owned()),
            GeneralName::DNSName(dns) => found.dns.push((*dns).to_owned()),
            _ => {}
        }
    }
    Ok(found)
}

/// What is asked of a peer beyond a chain to the roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: any certificate that chains (Envoy without SAN matches).
    Chain,
    /// A mesh peer: one strict SPIFFE id of this trust domain, and one of `names` unless that is empty.
    Mesh {
        /// Trust domain.
        trust_domain: String,
        /// Accepted ids; empty = any of the trust domain.
        names: Vec<String>,
    },
    /// One of these URI or DNS names.
    Names(Vec<String>),
    /// Nothing at all, not even a chain (Envoy without `trusted_ca`).
    Anything,
}

impl Expect {
    fn check(&self, leaf: &CertificateDer<'_>) -> Result<(), NotAPeer> {
        match self {
            Self::Chain | Self::Anything => Ok(()),
            Self::Mesh {
                trust_domain,
                names: expected,
            } => {
                let id = spiffe_id(leaf)?;
                if id.trust_domain != *trust_domain {
                    return Err(NotAPeer::TrustDomain(id, trust_domain.clone()));
                }
                let text = id.to_string();
                if expected.is_empty() || expected.contains(&text) {
                    Ok(())
                } else {
                    Err(NotAPeer::Unexpected(vec![text], expected.clone()))
                }
            }
            Self::Names(expected) => {
                let mut names = names(leaf)?;
                let found = names.uris.iter().any(|u| expected.contains(u))
                    || names
                        .dns
                        .iter()
                        .any(|d| expected.iter().any(|e| e.eq_ignore_ascii_case(d)));
                if found {
                    return Ok(());
                }
                names.uris.append(&mut names.dns);
                Err(NotAPeer::Unexpected(names.uris, expected.clone()))
            }
        }
    }
}

/// Verifies peers on both sides of a handshake.
#[derive(Debug)]
pub struct PeerVerifier {
    roots: Arc<RootCertStore>,
    hints: Vec<DistinguishedName>,
    expect: Expect,
    client_certificate_required: bool,
    provider: Arc<CryptoProvider>,
}

impl PeerVerifier {
    /// Makes a verifier. `client_certificate_required` matters on the server side only.
    #[must_use]
    pub fn new(roots: Arc<RootCertStore>, expect: Expect, client_certificate_required: bool) -> Self {
        Self {
            hints: roots.subjects(),
            roots,
            expect,
            client_certificate_required,
            provider: provider(),
        }
    }

    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), rustls::Error> {
        if self.expect == Expect::Anything {
            return Ok(());
        }
        let certificate = EndEntityCert::try_from(leaf).map_err(refused)?;
        certificate
            .verify_for_usage(
                self.provider.signature_verification_algorithms.all,
                &self.roots.roots,
                intermediates,
                now,
                usage,
                None,
                None,
            )
            .map_err(refused)?;
        self.expect
            .check(leaf)
            .map_err(|e| rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(e)))))
    }
}

/// Maps to the error that makes rustls send the fitting alert.
fn refused(error: webpki::Error) -> rustls::Error {
    use webpki::Error as W;
    let reason = match &error {
        W::CertExpired { .. } => CertificateError::Expired,
        W::CertNotValidYet { .. } => CertificateError::NotValidYet,
        W::UnknownIssuer => CertificateError::UnknownIssuer,
        W::InvalidSignatureForPublicKey => CertificateError::BadSignature,
        W::BadDer | W::TrailingData(_) => CertificateError::BadEncoding,
        _ => CertificateError::Other(OtherError(Arc::new(error))),
    };
    rustls::Error::InvalidCertificate(reason)
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, now, KeyUsage::server_auth())?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn client_auth_mandatory(&self) -> bool {
        self.client_certificate_required
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(leaf, intermediates, now, KeyUsage::client_auth())?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}
