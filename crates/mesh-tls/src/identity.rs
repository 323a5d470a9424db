//! A workload's key, chain and roots, and the watch through which a rotation is seen.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_model::identity::SpiffeId;
use rustls::RootCertStore;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use x509_parser::certificate::X509Certificate;

use crate::{Error, provider};

/// One generation of a workload's identity.
pub struct Identity {
    /// Who it is.
    pub id: SpiffeId,
    /// Key and chain, ready for handshakes.
    pub certified: Arc<CertifiedKey>,
    /// Trust anchors of the mesh.
    pub roots: Arc<RootCertStore>,
    /// The anchors' certificates.
    pub root_certificates: Vec<CertificateDer<'static>>,
    /// Start of validity.
    pub not_before: SystemTime,
    /// End of validity.
    pub not_after: SystemTime,
    /// Serial number of the leaf, lower-case hex.
    pub serial: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("id", &self.id)
            .field("serial", &self.serial)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads PEM texts and checks that they belong together: the key to the leaf, exactly one SPIFFE id.
    pub fn from_pem(chain_pem: &str, key_pem: &str, roots_pem: &str) -> Result<Self, Error> {
        let chain = certificates("cert-chain.pem", chain_pem)?;
        let leaf = chain
            .first()
            .ok_or_else(|| Error::material("cert-chain.pem", "holds no certificate"))?;
        let id = crate::verify::spiffe_id(leaf).map_err(|e| Error::material("cert-chain.pem", e))?;
        let (_, parsed) =
            x509_parser::parse_x509_certificate(leaf).map_err(|e| Error::material("cert-chain.pem", e))?;
        let (not_before, not_after) = validity(&parsed);
        let serial = parsed.raw_serial().iter().map(|b| format!("{b:02x}")).collect();
        let (root_certificates, roots) = root_store("root-cert.pem", roots_pem)?;
        Ok(Self {
            id,
            certified: Arc::new(certified_key("cert-chain.pem", chain_pem, "key.pem", key_pem)?),
            roots,
            root_certificates,
            not_before,
            not_after,
            serial,
        })
    }

    /// When to ask for the next certificate: at 50 to 70 % of the lifetime; `chance` is in 0..=1.
    #[must_use]
    pub fn rotate_at(&self, chance: f64) -> SystemTime {
        let lifetime = self
            .not_after
            .duration_since(self.not_before)
            .unwrap_or(Duration::ZERO);
        self.not_before + lifetime.mul_f64(0.5 + 0.2 * chance.clamp(0.0, 1.0))
    }
}

/// The identity in force, and its changes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct IdentityWatch(watch::Receiver<Option<Arc<Identity>>>);

impl IdentityWatch {
    /// The identity in force, if there is one yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Identity>> {
        self.0.borrow().clone()
    }

    /// Waits for the next change; `false` when there will be none.
    pub async fn changed(&mut self) -> bool {
        self.0.changed().await.is_ok()
    }

    /// Waits until there is an identity; `None` when there will be none.
    pub async fn first(&mut self) -> Option<Arc<Identity>> {
        self.0
            .wait_for(Option::is_some)
            .await
            .ok()
            .and_then(|i| i.clone())
    }
}

/// A sender for the one owner of the identity, and the watch for everyone else.
#[must_use]
pub fn identity_channel() -> (watch::Sender<Option<Arc<Identity>>>, IdentityWatch) {
    let (sender, receiver) = watch::channel(None);
    (sender, IdentityWatch(receiver))
}

/// All certificates of a PEM text; an empty text is an error.
pub fn certificates(what: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let all = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| Error::material(what, e))?;
    if all.is_empty() {
        return Err(Error::material(what, "holds no PEM certificate"));
    }
    Ok(all)
}

/// The certificates of a PEM text as trust anchors.
pub fn root_store(
    what: &str,
    pem: &str,
) -> Result<(Vec<CertificateDer<'static>>, Arc<RootCertStore>), Error> {
    let all = certificates(what, pem)?;
    let mut store = RootCertStore::empty();
    for root in &all {
        store.add(root.clone()).map_err(|e| Error::material(what, e))?;
    }
    Ok((all, Arc::new(store)))
}

/// Key and chain from PEM texts; refuses a key that is not the leaf's.
pub fn certified_key(
    chain_name: &str,
    chain_pem: &str,
    key_name: &str,
    key_pem: &str,
) -> Result<CertifiedKey, Error> {
    let chain = certificates(chain_name, chain_pem)?;
    let key = PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).map_err(|e| Error::material(key_name, e))?;
    CertifiedKey::from_der(chain, key, &provider())
        .map_err(|e| Error::material(key_name, format!("does not fit {chain_name}: {e}")))
}

pub(crate) fn validity(certificate: &X509Certificate<'_>) -> (SystemTime, SystemTime) {
    let at = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = certificate.validity();
    (
        at(validity.not_before.timestamp()),
        at(validity.not_after.timestamp()),
    )
}
