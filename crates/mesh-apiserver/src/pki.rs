//! The server's own certificate authority, kept in the data folder, and the certificate signed by it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::Error;
use crate::folder::Folder;

/// What TLS needs.
pub(crate) struct Pki {
    /// The authority's certificate, for kubeconfig.
    pub(crate) ca_pem: String,
    pub(crate) tls: Arc<rustls::ServerConfig>,
}

/// Names that the certificate carries beside the listening address.
pub(crate) const NAMES: &[&str] = &[
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Loads or makes the authority and signs a fresh server certificate.
pub(crate) fn load(folder: &Folder, listen: SocketAddr) -> Result<Pki, Error> {
    let (ca_pem, ca_key) = authority(folder)?;
    let issuer = Issuer::from_ca_cert_pem(&ca_pem, KeyPair::from_pem(&ca_key)?)?;
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(NAMES.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
    params.subject_alt_names.push(SanType::IpAddress(listen.ip()));
    for ip in [
        IpAddr::from([127, 0, 0, 1]),
        IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
    ] {
        if ip != listen.ip() {
            params.subject_alt_names.push(SanType::IpAddress(ip));
        }
    }
    params.distinguished_name = name("kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let now = jiff::Timestamp::now().as_second();
    let unix = |seconds: i64| {
        jiff::Timestamp::from_second(seconds).map(|t| {
            let date = t.to_zoned(jiff::tz::TimeZone::UTC).date();
            let byte = |v: i8| u8::try_from(v).unwrap_or(1);
            rcgen::date_time_ymd(i32::from(date.year()), byte(date.month()), byte(date.day()))
        })
    };
    if let (Ok(before), Ok(after)) = (unix(now - 86_400), unix(now + 365 * 86_400)) {
        params.not_before = before;
        params.not_after = after;
    }
    let certificate = params.signed_by(&key, &issuer)?;
    let chain = vec![certificate.der().clone(), authority_der(&ca_pem)?];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let mut tls =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Pki {
        ca_pem,
        tls: Arc::new(tls),
    })
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn authority(folder: &Folder) -> Result<(String, String), Error> {
    if let (Some(certificate), Some(key)) = (folder.read("ca.crt")?, folder.read("ca.key")?) {
        return Ok((
            String::from_utf8_lossy(&certificate).into_owned(),
            String::from_utf8_lossy(&key).into_owned(),
        ));
    }
    let key = KeyPair::generate()?;
    let key_pem = key.serialize_pem();
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params.distinguished_name = name("sightline-api");
    let issuer = CertifiedIssuer::self_signed(params, key)?;
    let pem = issuer.pem();
    folder.write("ca.key", key_pem.as_bytes())?;
    folder.write("ca.crt", pem.as_bytes())?;
    Ok((pem, key_pem))
}

fn authority_der(pem: &str) -> Result<CertificateDer<'static>, Error> {
    use rustls_pki_types::pem::PemObject;
    CertificateDer::from_pem_slice(pem.as_bytes())
        .map_err(|error| Error::Authority(format!("ca.crt in the data folder is not a certificate: {error}")))
}
