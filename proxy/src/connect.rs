//! Connections to the control plane: one place that dials, secures and authenticates.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mesh_model::cluster::UpstreamTls;
use mesh_tls::{Identity, IdentityWatch};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(20);

/// How connections to one service of the control plane are secured.
#[derive(Debug, Clone)]
pub enum Security {
    /// Plaintext (a sink on loopback).
    Plain,
    /// As a TLS context of the bootstrap says.
    Context(UpstreamTls),
    /// The server's name is verified against the roots in this file.
    Roots(PathBuf),
}

/// A service of the control plane.
#[derive(Debug, Clone)]
pub struct Service {
    /// Addresses, tried in order.
    pub addresses: Vec<(String, u16)>,
    /// Name for TLS and `:authority`.
    pub name: String,
    /// Security.
    pub security: Security,
    /// Presented when there is one.
    pub identity: Option<IdentityWatch>,
    /// Token that proves who we are as long as there is no certificate.
    pub token_path: Option<PathBuf>,
}

/// Why the control plane cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No address answered.
    #[error("{0}")]
    Unreachable(String),
    /// Files or certificates do not work.
    #[error("{0}")]
    Material(String),
}

impl Service {
    /// Connects; the identity of this moment is presented.
    pub async fn connect(&self) -> Result<Channel, ConnectError> {
        let identity = self.identity.as_ref().and_then(IdentityWatch::current);
        self.connect_as(identity.as_deref()).await
    }

    /// Connects and presents `identity`, if any.
    pub async fn connect_as(&self, identity: Option<&Identity>) -> Result<Channel, ConnectError> {
        let tls = self.tls(identity)?;
        let uri: Uri = format!("http://{}", bracketed(&self.name))
            .parse()
            .map_err(|_| ConnectError::Material(format!("{:?} is not a host name", self.name)))?;
        let addresses: Arc<[(String, u16)]> = self.addresses.clone().into();
        let name = self.name.clone();
        let connector = tower::service_fn(move |_: Uri| {
            let (addresses, tls, name) = (Arc::clone(&addresses), tls.clone(), name.clone());
            async move { dial(&addresses, tls, &name).await }
        });
        Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(|e| ConnectError::Unreachable(chain(&e)))
    }

    fn tls(&self, identity: Option<&Identity>) -> Result<Option<Arc<rustls::ClientConfig>>, ConnectError> {
        let bad = |e: mesh_tls::Error| ConnectError::Material(e.to_string());
        let mut config = match &self.security {
            Security::Plain => return Ok(None),
            Security::Context(context) if context.validation.subject_alt_names.is_empty() => {
                match &context.validation.roots {
                    mesh_model::cluster::RootSource::File(path) => by_name(path.as_ref(), identity)?,
                    _ => mesh_tls::config::client(context, identity).map_err(bad)?,
                }
            }
            Security::Context(context) => {
                let mut context = context.clone();
                if identity.is_some() {
                    context.certificate = mesh_model::cluster::CertificateSource::Workload;
                }
                mesh_tls::config::client(&context, identity).map_err(bad)?
            }
            Security::Roots(path) => by_name(path, identity)?,
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Some(Arc::new(config)))
    }

    /// The `authorization` value while there is no certificate; the file is read anew, because tokens rotate.
    pub fn authorization(&self) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
        if self.identity.as_ref().is_some_and(|i| i.current().is_some()) {
            return Ok(None);
        }
        self.bearer()
    }

    /// The `authorization` value from the token file, if one is configured.
    pub fn bearer(&self) -> Result<Option<MetadataValue<Ascii>>, ConnectError> {
        let Some(path) = &self.token_path else {
            return Ok(None);
        };
        let token = std::fs::read_to_string(path)
            .map_err(|e| ConnectError::Material(format!("token {}: {e}", path.display())))?;
        let mut value = MetadataValue::try_from(format!("Bearer {}", token.trim()))
            .map_err(|_| ConnectError::Material(format!("token {} is not a token", path.display())))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

fn by_name(
    path: &std::path::Path,
    identity: Option<&Identity>,
) -> Result<rustls::ClientConfig, ConnectError> {
    let bad = |e: mesh_tls::Error| ConnectError::Material(e.to_string());
    let pem = std::fs::read_to_string(path)
        .map_err(|e| ConnectError::Material(format!("roots {}: {e}", path.display())))?;
    let (_, roots) = mesh_tls::identity::root_store(&path.display().to_string(), &pem).map_err(bad)?;
    mesh_tls::config::control_plane_client(roots, identity).map_err(bad)
}

fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

/// Bytes to the control plane, secured or not.
trait Stream: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Stream for T {}

async fn dial(
    addresses: &[(String, u16)],
    tls: Option<Arc<rustls::ClientConfig>>,
    name: &str,
) -> std::io::Result<TokioIo<Box<dyn Stream>>> {
    let mut last = std::io::Error::other("no address");
    for (host, port) in addresses {
        match TcpStream::connect((host.as_str(), *port)).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                let Some(config) = tls else {
                    return Ok(TokioIo::new(Box::new(stream)));
                };
                let server = ServerName::try_from(name.to_owned())
                    .map_err(|_| std::io::Error::other(format!("{name:?} is not a server name")))?;
                let stream = tokio_rustls::TlsConnector::from(config)
                    .connect(server, stream)
                    .await?;
                return Ok(TokioIo::new(Box::new(stream)));
            }
            Err(error) => last = std::io::Error::new(error.kind(), format!("{host}:{port}: {error}")),
        }
    }
    Err(last)
}

/// Gaps between attempts: each is random up to a bound that doubles, so that a fleet does not come back at once.
#[derive(Debug)]
pub struct Backoff {
    bound: Duration,
    first: Duration,
    longest: Duration,
}

impl Backoff {
    /// From `first` up to `longest`.
    #[must_use]
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self {
            bound: first,
            first,
            longest,
        }
    }

    /// The next gap, at least half of the bound; `chance` is in 0..=1.
    pub fn next(&mut self, chance: f64) -> Duration {
        let gap = self.bound.mul_f64(0.5 + 0.5 * chance.clamp(0.0, 1.0));
        self.bound = (self.bound * 2).min(self.longest);
        gap
    }

    /// After a success.
    pub fn reset(&mut self) {
        self.bound = self.first;
    }
}
