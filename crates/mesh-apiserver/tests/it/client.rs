//! A plain HTTPS client: one connection for each request, nothing interpreted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};

/// How long any answer may take.
const PATIENCE: Duration = Duration::from_secs(8);

/// A server to ask.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
    tls: Arc<rustls::ClientConfig>,
}

/// An answer whose body may still come.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Incoming,
}

impl Client {
    pub(crate) fn new(address: SocketAddr, ca_pem: &str, token: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self {
            address,
            token: token.to_owned(),
            tls: Arc::new(tls),
        }
    }

    /// Sends a request; `headers` replace the defaults (the token, the address as Host).
    pub(crate) async fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: Bytes,
    ) -> Answer {
        let work = async {
            let stream = tokio::net::TcpStream::connect(self.address)
                .await
                .expect("the server listens");
            let name = ServerName::IpAddress(self.address.ip().into());
            let stream = tokio_rustls::TlsConnector::from(Arc::clone(&self.tls))
                .connect(name, stream)
                .await
                .unwrap();
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
                .await
                .unwrap();
            tokio::spawn(connection);
            let mut request = Request::builder().method(method).uri(target);
            let given = |name: &str| headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
            if !given("host") {
                request = request.header("host", self.address.to_string());
            }
            if !given("authorization") && !self.token.is_empty() {
                request = request.header("authorization", format!("Bearer {}", self.token));
            }
            for (name, value) in headers {
                request = request.header(name, value);
            }
            let response = sender
                .send_request(request.body(Full::new(body)).unwrap())
                .await
                .unwrap();
            let (head, body) = response.into_parts();
            Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            }
        };
        tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| panic!("no answer to {method} {target}"))
    }
}

impl Answer {
    /// The whole body, or what came of it within a while.
    pub(crate) async fn text(mut self) -> String {
        let mut text = Vec::new();
        let reading = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                if let Ok(data) = frame.into_data() {
                    text.extend_from_slice(&data);
                }
            }
        };
        if tokio::time::timeout(PATIENCE, reading).await.is_err() {
            text.extend_from_slice(b" (the body does not end)");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
