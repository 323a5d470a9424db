//! A small HTTP/1 server for the proxy's own pages: bounded, one handler, no bodies read.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

/// Connections of one port.
const CONNECTIONS: usize = 64;
/// From the first byte to the end of a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A request as handlers see it.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Method.
    pub method: Method,
    /// Path without query.
    pub path: String,
    /// Query parameters, decoded.
    pub query: Vec<(String, String)>,
    /// Who asks.
    pub peer: SocketAddr,
    /// Whether a browser page of another site may be behind it: it has an Origin, or names a foreign host.
    pub foreign: bool,
}

impl Asked {
    /// A query parameter.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Content type.
    pub content_type: &'static str,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// Plain text.
    pub fn text(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: "text/plain; charset=UTF-8",
            body: body.into(),
        }
    }

    /// JSON, indented as Envoy does.
    #[must_use]
    pub fn json(value: &serde_json::Value) -> Self {
        match serde_json::to_vec_pretty(value) {
            Ok(body) => Self {
                status: StatusCode::OK,
                content_type: "application/json",
                body: body.into(),
            },
            Err(error) => Self::text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }

    /// Prometheus text.
    #[must_use]
    pub fn metrics(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: body.into(),
        }
    }
}

/// Answers requests; runs on a blocking thread.
pub type Handler = Arc<dyn Fn(&Asked) -> Answer + Send + Sync>;

/// The proxy's own ports.
#[derive(Default)]
pub struct Pages(Vec<Page>);

struct Page {
    address: SocketAddr,
    socket: Arc<TcpListener>,
    handler: Handler,
    serving: Option<JoinHandle<()>>,
}

impl Pages {
    /// A port that is open; it is served from [`Pages::serve`] on.
    pub fn add(&mut self, address: SocketAddr, socket: TcpListener, handler: Handler) {
        self.0.push(Page {
            address,
            socket: Arc::new(socket),
            handler,
            serving: None,
        });
    }

    /// Serves all of them.
    pub fn serve(&mut self) {
        for page in self.0.iter_mut().filter(|page| page.serving.is_none()) {
            let serving = serve(Arc::clone(&page.socket), Arc::clone(&page.handler));
            page.serving = Some(tokio::spawn(serving));
        }
    }

    /// Their sockets once more, for the process after this one.
    pub fn share(&self) -> std::io::Result<Vec<(SocketAddr, OwnedFd)>> {
        let pages = self.0.iter();
        pages
            .map(|page| Ok((page.address, page.socket.as_fd().try_clone_to_owned()?)))
            .collect()
    }

    /// Accepts no more connections.
    pub fn close(&mut self) {
        for page in self.0.drain(..) {
            if let Some(serving) = page.serving {
                serving.abort();
            }
        }
    }
}

/// Serves until dropped.
async fn serve(listener: Arc<TcpListener>, handler: Handler) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let handler = Arc::clone(&handler);
        tokio::spawn(async move {
            let service = hyper::service::service_fn(move |request: Request<Incoming>| {
                let handler = Arc::clone(&handler);
                async move { Ok::<_, Infallible>(answer(&request, peer, handler).await) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, %peer, "connection ended");
            }
            drop(permit);
        });
    }
}

async fn answer(request: &Request<Incoming>, peer: SocketAddr, handler: Handler) -> Response<Full<Bytes>> {
    let asked = Asked {
        method: request.method().clone(),
        path: request.uri().path().to_owned(),
        query: parameters(request.uri().query().unwrap_or_default()),
        peer,
        foreign: is_foreign(request.headers()),
    };
    let given = tokio::task::spawn_blocking(move || handler(&asked))
        .await
        .unwrap_or_else(|_| Answer::text(StatusCode::INTERNAL_SERVER_ERROR, "the page failed\n"));
    let response = Response::builder()
        .status(given.status)
        .header("content-type", given.content_type)
        .header("cache-control", "no-cache, max-age=0")
        .header("x-content-type-options", "nosniff")
        .body(Full::new(given.body));
    response.unwrap_or_else(|_| Response::new(Full::default()))
}

/// A page of another site can make a browser send requests here; it cannot hide its Origin, nor name our address as
/// its host.
fn is_foreign(headers: &hyper::HeaderMap) -> bool {
    if headers.contains_key("origin") {
        return true;
    }
    let host = headers
        .get("host")
        .and_then(|h| h.to_str().ok())
        .unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    !(name.is_empty() || name == "localhost" || name.parse::<std::net::IpAddr>().is_ok())
}

fn parameters(query: &str) -> Vec<(String, String)> {
    query
        .split('&')
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (percent_decoded(key), percent_decoded(value))
        })
        .collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(if byte == b'+' { b' ' } else { byte });
            continue;
        }
        let digit = |b: Option<u8>| {
            b.and_then(|b| char::from(b).to_digit(16))
                .and_then(|d| u8::try_from(d).ok())
        };
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(high << 4 | low),
            _ => bytes.push(b'%'),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
