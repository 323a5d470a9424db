//! Small HTTP requests to the mesh's own ports.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::failure::{Code, Failure, Tried};

/// Longest wait for an answer from our own machine.
const DEADLINE: Duration = Duration::from_secs(2);

/// Largest answer that is read.
const LARGEST: usize = 16 * 1024 * 1024;

/// Whether something accepts connections; nothing is sent.
pub(crate) async fn accepts(address: SocketAddr) -> bool {
    matches!(
        tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}

/// Status of a plain GET, `None` without an answer.
pub(crate) async fn status(address: SocketAddr, path: &str) -> Option<StatusCode> {
    let get = async {
        let stream = TcpStream::connect(address).await.ok()?;
        exchange(stream, Method::GET, &address.to_string(), path, None)
            .await
            .ok()
            .map(|(status, _)| status)
    };
    tokio::time::timeout(DEADLINE, get).await.ok().flatten()
}

/// A request without a body to a plain HTTP port of our own.
pub(crate) async fn plain(
    address: SocketAddr,
    method: Method,
    path: &str,
) -> Result<(StatusCode, Bytes), Failure> {
    let what = || format!("no answer from {address}");
    let exchange = async {
        let stream = TcpStream::connect(address).await.tried(what)?;
        exchange(stream, method, &address.to_string(), path, None).await
    };
    tokio::time::timeout(DEADLINE, exchange).await.tried(what)?
}

/// Asks the control plane's query port.
pub(crate) struct Query {
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    token: String,
}

impl Query {
    /// `roots` is the mesh's root certificate, `token` a Kubernetes bearer token.
    pub(crate) fn new(address: SocketAddr, roots: &Path, token: String) -> Result<Self, Failure> {
        let what = || format!("cannot use the certificates in {}", roots.display());
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(roots).tried(what)? {
            store.add(certificate.tried(what)?).tried(what)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .tried_as(Code::Bug, || "cannot set up TLS".to_owned())?
            .with_root_certificates(store)
            .with_no_client_auth();
        Ok(Self {
            address,
            tls: Arc::new(tls),
            token,
        })
    }

    /// GET of a JSON value.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let what = || format!("cannot ask the control plane at {} for {path}", self.address);
        let get = async {
            let stream = TcpStream::connect(self.address).await.tried(what)?;
            let name = ServerName::from(self.address.ip());
            let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls))
                .connect(name, stream)
                .await
                .tried(what)?;
            exchange(
                stream,
                Method::GET,
                &self.address.to_string(),
                path,
                Some(&self.token),
            )
            .await
        };
        let (status, body) = tokio::time::timeout(DEADLINE, get).await.tried(what)??;
        if status != StatusCode::OK {
            let said = serde_json::from_slice::<mesh_api::error::ApiError>(&body).ok();
            return Err(match said {
                Some(error) if status == StatusCode::BAD_REQUEST => {
                    let remedy = error
                        .remedy
                        .map(|remedy| format!("; {remedy}"))
                        .unwrap_or_default();
                    Failure::new(Code::Configuration, format!("{}{remedy}", error.message))
                }
                Some(error) => Failure::unavailable(format!("{}: {}", what(), error.message)),
                None => Failure::unavailable(format!("{}: answer {status}", what())),
            });
        }
        serde_json::from_slice(&body).tried(what)
    }
}

async fn exchange<S>(
    stream: S,
    method: Method,
    host: &str,
    path: &str,
    token: Option<&str>,
) -> Result<(StatusCode, Bytes), Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let what = || format!("no answer from {host}");
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .tried(what)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, host);
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request
        .body(Empty::<Bytes>::new())
        .tried_as(Code::Bug, || format!("cannot make a request for {path}"))?;
    let response = sender.send_request(request).await.tried(what)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), LARGEST)
        .collect()
        .await
        .tried(what)?
        .to_bytes();
    driver.abort();
    Ok((status, body))
}
