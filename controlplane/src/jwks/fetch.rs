//! One GET: to an address that was checked, without redirects, within limits of time and size.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use mesh_translate::KeySource;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::address::Allowed;
use super::keys;

/// Longest time for a document.
const TIME: Duration = Duration::from_secs(5);
/// Largest document.
const SIZE: usize = 1024 * 1024;
/// Longest URL.
const URL_MAX: usize = 2048;
const DISCOVERY: &str = "/.well-known/openid-configuration";

/// Fetches keys.
pub(super) struct Fetcher {
    allowed: Allowed,
    tls: TlsConnector,
}

/// A URL in parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) path: String,
}

impl Fetcher {
    pub(super) fn new(allowed: Allowed) -> anyhow::Result<Self> {
        let mut roots = rustls::RootCertStore::empty();
        for root in crate::export::system_roots().unwrap_or_default() {
            // Bundles of systems hold certificates that are no roots any more.
            let _ = roots.add(root);
        }
        let mut tls: ClientConfig = mesh_tls::config::control_plane_client(Arc::new(roots), None)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self {
            allowed,
            tls: TlsConnector::from(Arc::new(tls)),
        })
    }

    /// The keys of a source.
    pub(super) async fn keys(&self, source: &KeySource) -> Result<String, String> {
        let uri = match source {
            KeySource::Uri(uri) => uri.clone(),
            KeySource::Issuer(issuer) => {
                let at = format!("{}{DISCOVERY}", issuer.strip_suffix('/').unwrap_or(issuer));
                keys::discovered(&self.document(&at).await?, issuer)?
            }
        };
        keys::check(&self.document(&uri).await?)
    }

    async fn document(&self, uri: &str) -> Result<Bytes, String> {
        let place = place(uri)?;
        match tokio::time::timeout(TIME, self.get(&place)).await {
            Ok(fetched) => fetched,
            Err(_) => Err(format!("{uri}: no answer within {} s", TIME.as_secs())),
        }
    }

    async fn get(&self, place: &Place) -> Result<Bytes, String> {
        let address = self.resolve(place).await?;
        let socket = TcpStream::connect(address)
            .await
            .map_err(|error| format!("{address}: {error}"))?;
        if !place.tls {
            return exchange(socket, place).await;
        }
        let name = ServerName::try_from(place.host.clone()).map_err(|error| error.to_string())?;
        let secured = self.tls.connect(name, socket).await;
        exchange(
            secured.map_err(|error| format!("{}: {error}", place.host))?,
            place,
        )
        .await
    }

    /// Resolves once; what is connected to is what was checked.
    async fn resolve(&self, place: &Place) -> Result<SocketAddr, String> {
        let host = place.host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((host, place.port)).await;
        let found: Vec<SocketAddr> = found.map_err(|error| format!("{host}: {error}"))?.collect();
        let allowed = found.iter().find(|at| self.allowed.admits(host, at.ip()));
        allowed.copied().ok_or_else(|| {
            format!("{host} has no public address; an operator can allow it with --jwks-allow")
        })
    }
}

/// Reads a URL strictly: http or https, a host, no credentials.
pub(super) fn place(uri: &str) -> Result<Place, String> {
    let wrong = |why: &str| format!("{uri:?} is no http(s) URL that is fetched: {why}");
    if uri.len() > URL_MAX {
        return Err("the URL is too long".to_owned());
    }
    let parsed: Uri = uri.parse().map_err(|_| wrong("it cannot be read"))?;
    let tls = match parsed.scheme_str() {
        Some("https") => true,
        Some("http") => false,
        _ => return Err(wrong("it has another scheme")),
    };
    let authority = parsed.authority().ok_or_else(|| wrong("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(wrong("it has credentials"));
    }
    let host = authority.host().to_ascii_lowercase();
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    if host.is_empty() || !host.bytes().all(fits) {
        return Err(wrong("its host is no name or address"));
    }
    let port = match authority.port_u16() {
        Some(0) => return Err(wrong("its port is 0")),
        Some(port) => port,
        None if authority.as_str().len() != authority.host().len() => {
            return Err(wrong("its port is no number"));
        }
        None if tls => 443,
        None => 80,
    };
    Ok(Place {
        tls,
        host,
        port,
        path: parsed.path_and_query().map_or("/", |p| p.as_str()).to_owned(),
    })
}

async fn exchange<S>(stream: S, place: &Place) -> Result<Bytes, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let text = |error: hyper::Error| error.to_string();
    let (mut send, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(text)?;
    let default = if place.tls { 443 } else { 80 };
    let authority = if place.port == default {
        place.host.clone()
    } else {
        format!("{}:{}", place.host, place.port)
    };
    let request = Request::get(&place.path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    // Ends with this call, also when that is given up.
    let mut driver = tokio::task::JoinSet::new();
    driver.spawn(connection);
    let answered = async {
        let answer = send.send_request(request).await.map_err(text)?;
        if answer.status() != StatusCode::OK {
            // A redirect would lead past the check of the address.
            return Err(format!("{} answered {}", place.host, answer.status()));
        }
        let body = Limited::new(answer.into_body(), SIZE).collect().await;
        body.map(|body| body.to_bytes())
            .map_err(|error| format!("{}: {error}", place.host))
    };
    answered.await
}
