//! The workload's certificate: asked for, kept, renewed; and the TLS contexts that are made from it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_model::cluster::{CertificateSource, RootSource, UpstreamTls};
use mesh_model::identity::SpiffeId;
use mesh_model::listener::DownstreamTls;
use mesh_model::secret::Secret;
use mesh_tls::{CertificateRequest, Identity, IdentityWatch};
use mesh_xds::certificate::{IstioCertificateRequest, IstioCertificateServiceClient};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::connect::{Backoff, Service};
use crate::secure::{TlsContexts, TlsUnavailable};

/// The one file that holds key, chain and roots, so that a crash never leaves a mixture.
const FILE: &str = "identity.pem";
/// Stands between the chain and the roots.
const ROOTS_FOLLOW: &str = "# roots\n";
/// An answer with a key and a chain is far smaller.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// A clock that jumps is noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// Why there is no (new) certificate.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The authority cannot be reached or said no.
    #[error("certificate authority: {0}")]
    Authority(String),
    /// What came or was kept is unusable.
    #[error(transparent)]
    Tls(#[from] mesh_tls::Error),
    /// The folder cannot be used.
    #[error("identity folder {0}: {1}")]
    Folder(String, std::io::Error),
}

/// Asks for certificates and keeps the newest.
pub struct Keeper {
    /// Who we are.
    pub id: SpiffeId,
    /// The certificate authority.
    pub authority: Service,
    /// Roots that are always trusted, PEM file.
    pub roots: PathBuf,
    /// Where key, chain and roots are kept; `None` = in memory only.
    pub folder: Option<PathBuf>,
}

impl Keeper {
    /// The kept identity, if it is still ours and valid.
    #[must_use]
    pub fn kept(&self, now: SystemTime) -> Option<Identity> {
        let folder = self.folder.as_ref()?;
        match read(folder) {
            Ok(identity) if identity.id == self.id && now < identity.not_after => Some(identity),
            Ok(identity) => {
                tracing::info!(id = %identity.id, "the kept certificate is not ours or has expired");
                None
            }
            Err(error) => {
                tracing::debug!(%error, "no kept certificate");
                None
            }
        }
    }

    /// Runs for ever: publishes the kept identity, then a new one whenever 50 to 70 % of its life has passed.
    pub async fn run(self, sender: watch::Sender<Option<Arc<Identity>>>) {
        let mut current = self.kept(SystemTime::now()).map(Arc::new);
        if let Some(identity) = &current {
            tracing::info!(id = %identity.id, "serving with the kept certificate");
            let _ = sender.send(Some(Arc::clone(identity)));
        }
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(30));
        let mut chance = rand::random::<f64>();
        loop {
            if let Some(identity) = &current {
                sleep_until(identity.rotate_at(chance)).await;
            }
            match self.ask().await {
                Ok(identity) => {
                    tracing::info!(id = %identity.id, serial = %identity.serial, "new certificate");
                    backoff.reset();
                    chance = rand::random();
                    let identity = Arc::new(identity);
                    let _ = sender.send(Some(Arc::clone(&identity)));
                    current = Some(identity);
                }
                Err(error) => {
                    tracing::warn!(%error, "no new certificate; trying again");
                    tokio::time::sleep(backoff.next(rand::random())).await;
                }
            }
        }
    }

    /// Asks once, checks what came and keeps it.
    pub async fn ask(&self) -> Result<Identity, IdentityError> {
        let refused = |text: String| IdentityError::Authority(text);
        let request = CertificateRequest::create(&self.id)?;
        let bearer = self.authority.bearer().map_err(|e| refused(e.to_string()))?;
        // A token proves us alone; the old certificate is shown only without one.
        let channel = match bearer {
            Some(_) => self.authority.connect_as(None).await,
            None => self.authority.connect().await,
        }
        .map_err(|e| refused(e.to_string()))?;
        let mut call = tonic::Request::new(IstioCertificateRequest {
            csr: request.csr_pem.clone(),
            metadata: None,
            validity_duration: i64::try_from(mesh_tls::LEAF_LIFETIME.as_secs()).unwrap_or(0),
        });
        call.set_timeout(CALL_TIMEOUT);
        if let Some(bearer) = bearer {
            call.metadata_mut().insert("authorization", bearer);
        }
        let mut client = IstioCertificateServiceClient::new(channel);
        let answer = tokio::time::timeout(CALL_TIMEOUT, client.create_certificate(call))
            .await
            .map_err(|_| refused("no answer in time".into()))?
            .map_err(|e| refused(format!("{:?}: {}", e.code(), e.message())))?;
        let chain = answer.into_inner().cert_chain;
        let kept_roots = std::fs::read_to_string(&self.roots)
            .map_err(|e| IdentityError::Folder(self.roots.display().to_string(), e))?;
        // The last of the chain is the root that signed: after a change of roots both are trusted.
        let roots = match chain.last() {
            Some(last) if chain.len() > 1 && !kept_roots.contains(last.trim()) => {
                format!("{}\n{}", kept_roots.trim_end(), last)
            }
            _ => kept_roots,
        };
        let chain = chain
            .iter()
            .map(|c| format!("{}\n", c.trim_end()))
            .collect::<String>();
        let identity = Identity::from_pem(&chain, &request.key_pem, &roots)?;
        if identity.id != self.id {
            return Err(refused(format!(
                "certified {} instead of {}",
                identity.id, self.id
            )));
        }
        if let Some(folder) = &self.folder {
            write(folder, &request.key_pem, &chain, &roots)?;
        }
        Ok(identity)
    }
}

/// In steps, so that a wall clock that jumps is noticed.
async fn sleep_until(at: SystemTime) {
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(LONGEST_SLEEP)).await;
    }
}

fn read(folder: &Path) -> Result<Identity, IdentityError> {
    let path = folder.join(FILE);
    let text =
        std::fs::read_to_string(&path).map_err(|e| IdentityError::Folder(path.display().to_string(), e))?;
    let (own, roots) = text.split_once(ROOTS_FOLLOW).unwrap_or((&text, ""));
    Ok(Identity::from_pem(own, own, roots)?)
}

/// Writes beside and renames: a reader sees the old or the new, whole.
fn write(folder: &Path, key: &str, chain: &str, roots: &str) -> Result<(), IdentityError> {
    let failed = |e| IdentityError::Folder(folder.display().to_string(), e);
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let next = folder.join(format!("{FILE}.next"));
    let _ = std::fs::remove_file(&next);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&next)
        .map_err(failed)?;
    let text = format!("{key}{chain}{ROOTS_FOLLOW}{roots}");
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&next, folder.join(FILE)))
        .map_err(failed)
}

/// TLS contexts from the workload's identity and from files.
pub struct Contexts {
    identity: Option<IdentityWatch>,
    secrets: Mutex<BTreeMap<String, Arc<Secret>>>,
}

impl Contexts {
    /// Without an identity only contexts from files can be made.
    #[must_use]
    pub fn new(identity: Option<IdentityWatch>) -> Self {
        Self {
            identity,
            secrets: Mutex::default(),
        }
    }

    fn current(&self) -> Option<Arc<Identity>> {
        self.identity.as_ref().and_then(IdentityWatch::current)
    }

    fn unavailable(&self, error: &mesh_tls::Error) -> TlsUnavailable {
        match error {
            mesh_tls::Error::NoIdentity(secret) if self.identity.is_some() => {
                TlsUnavailable::NotYet((*secret).to_owned())
            }
            mesh_tls::Error::NoIdentity(secret) => TlsUnavailable::Invalid(format!(
                "secret {secret:?} is the workload's certificate; start with --ca-endpoint"
            )),
            other => TlsUnavailable::Invalid(other.to_string()),
        }
    }
}

impl Contexts {
    /// A certificate by the name of a secret, in its place. Answers whether it came from a secret.
    fn certificate(&self, source: &mut CertificateSource) -> Result<bool, TlsUnavailable> {
        let CertificateSource::Secret(name) = source else {
            return Ok(false);
        };
        match self.secrets.lock().get(name.as_str()).map(Arc::as_ref) {
            Some(Secret::Certificate { chain, key }) => {
                *source = CertificateSource::Inline {
                    chain: chain.clone(),
                    key: key.clone(),
                };
                Ok(true)
            }
            _ => Err(TlsUnavailable::NotYet(format!("secret {name}"))),
        }
    }

    /// Trust anchors, likewise.
    fn roots(&self, source: &mut RootSource) -> Result<bool, TlsUnavailable> {
        let RootSource::Secret(name) = source else {
            return Ok(false);
        };
        if name.starts_with("file-root:") {
            return Ok(false);
        }
        match self.secrets.lock().get(name.as_str()).map(Arc::as_ref) {
            Some(Secret::Roots(pem)) => {
                *source = RootSource::Inline(pem.clone());
                Ok(true)
            }
            _ => Err(TlsUnavailable::NotYet(format!("secret {name}"))),
        }
    }

    /// A secret with bad content fails the handshakes that need it, not the configuration.
    fn failed(&self, error: &mesh_tls::Error, from_secret: bool) -> TlsUnavailable {
        if from_secret {
            TlsUnavailable::NotYet(error.to_string())
        } else {
            self.unavailable(error)
        }
    }
}

impl TlsContexts for Contexts {
    fn server(&self, tls: &DownstreamTls) -> Result<Arc<rustls::ServerConfig>, TlsUnavailable> {
        let mut tls = tls.clone();
        let mut from_secret = self.roots(&mut tls.validation.roots)?;
        for certificate in &mut tls.certificates {
            from_secret |= self.certificate(certificate)?;
        }
        mesh_tls::config::server(&tls, self.current().as_deref())
            .map(Arc::new)
            .map_err(|e| self.failed(&e, from_secret))
    }

    fn client(&self, tls: &UpstreamTls) -> Result<Arc<rustls::ClientConfig>, TlsUnavailable> {
        let mut tls = tls.clone();
        let from_secret = self.roots(&mut tls.validation.roots)? | self.certificate(&mut tls.certificate)?;
        mesh_tls::config::client(&tls, self.current().as_deref())
            .map(Arc::new)
            .map_err(|e| self.failed(&e, from_secret))
    }

    fn deliver(&self, secrets: &BTreeMap<String, Arc<Secret>>) {
        let mut held = self.secrets.lock();
        if *held != *secrets {
            held.clone_from(secrets);
        }
    }

    fn principal(&self) -> Option<String> {
        self.current().map(|i| i.id.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn keeper(folder: &Path, id: &str) -> Keeper {
        Keeper {
            id: SpiffeId::parse(id).unwrap(),
            authority: Service {
                addresses: Vec::new(),
                name: "istiod.istio-system.svc".into(),
                security: crate::connect::Security::Plain,
                identity: None,
                token_path: None,
            },
            roots: folder.join("root.pem"),
            folder: Some(folder.to_path_buf()),
        }
    }

    #[test]
    fn a_kept_identity_serves_again_and_only_its_owner_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ours = "spiffe://cluster.local/ns/default/sa/reviews";
        let keeper = keeper(folder.path(), ours);
        assert!(keeper.kept(now).is_none());
        let authority = mesh_tls::CertificateAuthority::create("cluster.local", now).unwrap();
        let request = CertificateRequest::create(&keeper.id).unwrap();
        let signed = authority.sign(&request.csr_pem, &keeper.id, None, now).unwrap();
        let chain = signed.chain.concat();
        write(
            folder.path(),
            &request.key_pem,
            &chain,
            authority.certificate_pem(),
        )
        .unwrap();
        assert_eq!(keeper.kept(now).unwrap().id.to_string(), ours);
        let mode = std::fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let late = now + mesh_tls::LEAF_LIFETIME + Duration::from_secs(1);
        assert!(keeper.kept(late).is_none(), "expired");
        let other = super::tests::keeper(folder.path(), "spiffe://cluster.local/ns/default/sa/ratings");
        assert!(other.kept(now).is_none(), "another's");
    }
}
