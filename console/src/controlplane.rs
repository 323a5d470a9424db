//! Queries to the control plane, with the token of whoever asks, so that the control plane judges them by their own
//! rights; with the console's own where nobody is signed in.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::answer::Failure;
use crate::session::User;

/// A query that takes longer has failed; streams are only held to it until their first byte.
const HEAD_TIMEOUT: Duration = Duration::from_secs(20);
/// A graph of 20,000 edges is some 15 MB.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

type Transport = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The control plane's query port.
pub struct ControlPlane {
    address: Uri,
    ca: Option<PathBuf>,
    token: Option<PathBuf>,
    // Rebuilt when the CA file changes. Held for a look-up only.
    transport: Mutex<Option<(Option<SystemTime>, Transport)>>,
}

impl ControlPlane {
    /// Files are read when used: they may appear after the console, and may rotate.
    pub fn new(address: Uri, ca: Option<PathBuf>, token: Option<PathBuf>) -> Self {
        Self {
            address,
            ca,
            token,
            transport: Mutex::new(None),
        }
    }

    /// Sends a query for a user, or for nobody in particular; the answer's body streams.
    pub async fn send(
        &self,
        user: Option<&User>,
        method: Method,
        path_and_query: &str,
        body: Option<Bytes>,
        stream: bool,
    ) -> Result<Response<Body>, Failure> {
        let authority = self.address.authority().map_or("", http::uri::Authority::as_str);
        let scheme = self.address.scheme_str().unwrap_or("https");
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{scheme}://{authority}{path_and_query}"));
        request = request.header(
            header::ACCEPT,
            if stream {
                "text/event-stream"
            } else {
                "application/json"
            },
        );
        if let Some(token) = self.token(user)? {
            request = request.header(header::AUTHORIZATION, token);
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request
            .body(Full::new(body.unwrap_or_default()))
            .map_err(|error| Failure::new(StatusCode::BAD_REQUEST, format!("not a valid query: {error}")))?;
        let answer = tokio::time::timeout(HEAD_TIMEOUT, self.transport()?.request(request)).await;
        match answer {
            Ok(Ok(response)) => Ok(response.map(Body::new)),
            Ok(Err(error)) => Err(self.unreachable(&innermost(&error))),
            Err(_) => Err(self.unreachable(&format!("no answer within {} s", HEAD_TIMEOUT.as_secs()))),
        }
    }

    /// Sends a query and takes its JSON.
    pub async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        user: Option<&User>,
        method: Method,
        path_and_query: &str,
        body: Option<Bytes>,
    ) -> Result<T, Failure> {
        let response = self.send(user, method, path_and_query, body, false).await?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| self.unreachable(&error.to_string()))?
            .to_bytes();
        if !status.is_success() {
            let reason = serde_json::from_slice::<mesh_api::error::ApiError>(&bytes)
                .map_or_else(|_| format!("status {status}"), |error| error.message);
            return Err(Failure::new(
                status,
                format!("the control plane answers: {reason}"),
            ));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Failure::new(
                StatusCode::BAD_GATEWAY,
                format!("the control plane's answer is not understood: {error}"),
            )
        })
    }

    fn token(&self, user: Option<&User>) -> Result<Option<HeaderValue>, Failure> {
        if let Some(user) = user {
            let token = bearer(&user.token).map_err(|_| {
                Failure::new(
                    StatusCode::UNAUTHORIZED,
                    "the token holds signs that no header may hold",
                )
                .remedy("sign in with a token of the API server")
            })?;
            return Ok(Some(token));
        }
        let Some(path) = &self.token else { return Ok(None) };
        let unusable = |reason: String| {
            Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the console's token {} cannot be used: {reason}", path.display()),
            )
            .remedy("check --token-path")
        };
        let token = std::fs::read_to_string(path).map_err(|error| unusable(error.to_string()))?;
        let value = bearer(&token).map_err(|error| unusable(error.to_string()))?;
        Ok(Some(value))
    }

    fn transport(&self) -> Result<Transport, Failure> {
        let modified = self
            .ca
            .as_ref()
            .and_then(|path| std::fs::metadata(path).ok()?.modified().ok());
        if let Some((at, transport)) = &*self.transport.lock()
            && *at == modified
        {
            return Ok(transport.clone());
        }
        let transport = self.connect()?;
        *self.transport.lock() = Some((modified, transport.clone()));
        Ok(transport)
    }

    fn connect(&self) -> Result<Transport, Failure> {
        let mut roots = rustls::RootCertStore::empty();
        if let Some(path) = &self.ca {
            let unusable = |reason: String| {
                Failure::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    format!(
                        "the control plane's CA {} cannot be used: {reason}",
                        path.display()
                    ),
                )
                .remedy("it is written when the control plane starts; else check --controlplane-ca")
            };
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots
                    .add(certificate)
                    .map_err(|error| unusable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("it holds no certificate".into()));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| self.unreachable(&error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_all_versions()
            .build();
        Ok(Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .build(connector))
    }

    fn unreachable(&self, reason: &str) -> Failure {
        Failure::new(
            StatusCode::BAD_GATEWAY,
            format!("the control plane at {} does not answer: {reason}", self.address),
        )
        .remedy("it may be restarting: the page tries again by itself; else see its log")
    }
}

fn bearer(token: &str) -> Result<HeaderValue, http::header::InvalidHeaderValue> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
