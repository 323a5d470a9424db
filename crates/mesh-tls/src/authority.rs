//! The mesh's certificate authority: a self-made root that signs workload and control-plane certificates.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use mesh_model::identity::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;

use crate::{Error, LEAF_LIFETIME, ROOT_LIFETIME};

/// Certificates are valid from a little before they are made, for peers whose clock is behind.
const CLOCK_SKEW: Duration = Duration::from_secs(120);
/// Longest lifetime of a leaf, whatever is asked for (Istio's cap).
const LONGEST_LEAF: Duration = Duration::from_secs(90 * 24 * 3600);
/// Shortest lifetime that makes sense with rotation.
const SHORTEST_LEAF: Duration = Duration::from_secs(10);
/// A CSR with one key is far smaller.
const LARGEST_REQUEST: usize = 16 * 1024;

/// A certificate as a caller gets it.
#[derive(Debug, Clone)]
pub struct SignedCertificate {
    /// PEM certificates: leaf first, root last.
    pub chain: Vec<String>,
    /// End of validity.
    pub not_after: SystemTime,
}

/// A signing certificate with its key.
pub struct CertificateAuthority {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    trust_domain: String,
    not_after: SystemTime,
}

impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("trust_domain", &self.trust_domain)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl CertificateAuthority {
    /// Makes a new self-signed root (ECDSA P-256, ten years, signs leaves only).
    pub fn create(trust_domain: &str, now: SystemTime) -> Result<Self, Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(certificate)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, trust_domain);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.serial_number = Some(serial()?);
        params.not_before = (now - CLOCK_SKEW).into();
        params.not_after = (now + ROOT_LIFETIME).into();
        let made = params.self_signed(&key).map_err(certificate)?;
        Self::load(&made.pem(), &key.serialize_pem(), trust_domain, now)
    }

    /// Takes an existing root or intermediate; refuses what cannot sign or has expired.
    pub fn load(
        certificate_pem: &str,
        key_pem: &str,
        trust_domain: &str,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let chain = crate::identity::certificates("ca-cert.pem", certificate_pem)?;
        let der = chain
            .into_iter()
            .next()
            .ok_or_else(|| Error::material("ca-cert.pem", "holds no certificate"))?;
        let key = KeyPair::from_pem(key_pem).map_err(|e| Error::material("ca-key.pem", e))?;
        let not_after = check_authority(&der, &key, now)?;
        let issuer = Issuer::from_ca_cert_der(&der, key).map_err(|e| Error::material("ca-cert.pem", e))?;
        Ok(Self {
            certificate_pem: certificate_pem.to_owned(),
            certificate: der,
            issuer,
            trust_domain: trust_domain.to_owned(),
            not_after,
        })
    }

    /// The root as PEM: for `ca-cert.pem`, `root-cert.pem` and the end of chains.
    #[must_use]
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The root.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The signing key as PEM, for the Secret that keeps it.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.issuer.key().serialize_pem()
    }

    /// The trust domain in which it signs.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// End of the root's validity.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Signs a PEM request for an authenticated workload. Nothing but the key is taken from the request; a request
    /// that names another identity or wants to be a CA is refused. `lifetime` `None` = 24 h.
    pub fn sign(
        &self,
        request_pem: &str,
        id: &SpiffeId,
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<SignedCertificate, Error> {
        if id.trust_domain != self.trust_domain {
            return Err(Error::Request(format!(
                "{id} is not in the trust domain {:?}",
                self.trust_domain
            )));
        }
        let request = parse_request(request_pem, id)?;
        let not_after = self.leaf_end(lifetime, now);
        let mut params = leaf_params(now, not_after)?;
        params.subject_alt_names = vec![SanType::URI(
            id.to_string()
                .try_into()
                .map_err(|_| Error::Request("identity is not ASCII".into()))?,
        )];
        let signed = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(certificate)?;
        Ok(SignedCertificate {
            chain: vec![signed.pem(), self.certificate_pem.clone()],
            not_after,
        })
    }

    /// Makes key and certificate for the control plane's own port: (chain PEM, key PEM, end of validity).
    pub fn server(
        &self,
        dns_names: &[&str],
        addresses: &[IpAddr],
        lifetime: Option<Duration>,
        now: SystemTime,
    ) -> Result<(String, String, SystemTime), Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(certificate)?;
        let not_after = self.leaf_end(lifetime, now);
        let mut params = leaf_params(now, not_after)?;
        for name in dns_names {
            let name = (*name)
                .try_into()
                .map_err(|_| Error::Certificate(format!("{name:?} is not a DNS name")))?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        params
            .subject_alt_names
            .extend(addresses.iter().map(|a| SanType::IpAddress(*a)));
        let signed = params.signed_by(&key, &self.issuer).map_err(certificate)?;
        Ok((
            format!("{}{}", signed.pem(), self.certificate_pem),
            key.serialize_pem(),
            not_after,
        ))
    }

    fn leaf_end(&self, lifetime: Option<Duration>, now: SystemTime) -> SystemTime {
        let lifetime = lifetime
            .unwrap_or(LEAF_LIFETIME)
            .clamp(SHORTEST_LEAF, LONGEST_LEAF);
        (now + lifetime).min(self.not_after)
    }
}

fn leaf_params(now: SystemTime, not_after: SystemTime) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params.use_authority_key_identifier_extension = true;
    params.serial_number = Some(serial()?);
    params.not_before = (now - CLOCK_SKEW).into();
    params.not_after = not_after.into();
    Ok(params)
}

fn parse_request(pem: &str, id: &SpiffeId) -> Result<CertificateSigningRequestParams, Error> {
    if pem.len() > LARGEST_REQUEST {
        return Err(Error::Request(format!("longer than {LARGEST_REQUEST} bytes")));
    }
    let request =
        CertificateSigningRequestParams::from_pem(pem).map_err(|e| Error::Request(e.to_string()))?;
    if matches!(request.params.is_ca, IsCa::Ca(_)) {
        return Err(Error::Request("asks for a CA certificate".into()));
    }
    for name in &request.params.subject_alt_names {
        if let SanType::URI(uri) = name
            && uri.as_str() != id.to_string()
        {
            return Err(Error::Request(format!(
                "asks for {:?}, but the caller is {id}",
                uri.as_str()
            )));
        }
    }
    let algorithm = request.public_key.algorithm();
    let ecdsa = *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 || *algorithm == rcgen::PKCS_ECDSA_P384_SHA384;
    let rsa = [
        &rcgen::PKCS_RSA_SHA256,
        &rcgen::PKCS_RSA_SHA384,
        &rcgen::PKCS_RSA_SHA512,
    ]
    .into_iter()
    .any(|a| algorithm == a);
    // A PKCS#1 RSA key of 2048 bits is 270 bytes long.
    let rsa_long_enough = rcgen::PublicKeyData::der_bytes(&request.public_key).len() >= 268;
    let accepted = ecdsa || (rsa && rsa_long_enough);
    if !accepted {
        return Err(Error::Request(
            "its key must be ECDSA P-256 or P-384, or RSA of at least 2048 bits".into(),
        ));
    }
    Ok(request)
}

fn check_authority(der: &CertificateDer<'_>, key: &KeyPair, now: SystemTime) -> Result<SystemTime, Error> {
    let (_, parsed) =
        x509_parser::parse_x509_certificate(der).map_err(|e| Error::material("ca-cert.pem", e))?;
    let is_ca = parsed
        .basic_constraints()
        .ok()
        .flatten()
        .is_some_and(|b| b.value.ca);
    let may_sign = parsed
        .key_usage()
        .ok()
        .flatten()
        .is_none_or(|u| u.value.key_cert_sign());
    if !is_ca || !may_sign {
        return Err(Error::material("ca-cert.pem", "is not a CA certificate"));
    }
    if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(Error::material(
            "ca-key.pem",
            "is not the key of ca-cert.pem; restore both from one backup",
        ));
    }
    let (not_before, not_after) = crate::identity::validity(&parsed);
    if now >= not_after {
        return Err(Error::material("ca-cert.pem", "has expired"));
    }
    if now < not_before {
        return Err(Error::material(
            "ca-cert.pem",
            "is not valid yet; check the clock",
        ));
    }
    Ok(not_after)
}

/// A random positive 127-bit number.
fn serial() -> Result<SerialNumber, Error> {
    let mut bytes = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| Error::Certificate("the system gives no random bytes".into()))?;
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "used as a function in map_err, which passes the error by value"
)]
fn certificate(error: rcgen::Error) -> Error {
    Error::Certificate(error.to_string())
}
