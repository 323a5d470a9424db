//! Listens: HTTP/1.1 and h2c on the same ports, TLS with a certificate of its own, and a line echo.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Options;
use crate::answer::{Answer, Query, decide};
use crate::ledger::{Hit, Ledger};

/// Serves until killed.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let server = Arc::new(Server {
        service: options.service,
        version: options.version,
        pod: std::env::var("HOSTNAME").unwrap_or_default(),
        ledger: Ledger::default(),
    });
    let listen = async |port: u16| {
        let address = SocketAddr::new(options.bind, port);
        TcpListener::bind(address)
            .await
            .with_context(|| format!("listen on {address}"))
    };
    for &port in &options.http {
        tokio::spawn(accept(listen(port).await?, {
            let server = server.clone();
            move |stream, peer| http(server.clone(), port, stream, peer)
        }));
    }
    if let Some(port) = options.tls {
        let acceptor = tls(&options.tls_host)?;
        let server = server.clone();
        tokio::spawn(accept(listen(port).await?, move |stream, peer| {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            async move {
                let Some(socket) = duplicate(&stream) else { return };
                if let Ok(stream) = acceptor.accept(stream).await {
                    connection(server, port, stream, socket, peer).await;
                }
            }
        }));
    }
    if let Some(port) = options.tcp {
        let version = server.version.clone();
        tokio::spawn(accept(listen(port).await?, move |stream, _| {
            lines(version.clone(), stream)
        }));
    }
    std::future::pending().await
}

struct Server {
    service: String,
    version: String,
    pod: String,
    ledger: Ledger,
}

async fn accept<F, R>(listener: TcpListener, handle: F)
where
    F: Fn(TcpStream, SocketAddr) -> R + Send + 'static,
    R: Future<Output = ()> + Send + 'static,
{
    loop {
        if let Ok((stream, peer)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            tokio::spawn(handle(stream, peer));
        }
    }
}

async fn http(server: Arc<Server>, port: u16, stream: TcpStream, peer: SocketAddr) {
    if let Some(socket) = duplicate(&stream) {
        connection(server, port, stream, socket, peer).await;
    }
}

/// A second handle, so that a handler can ask for RST while the protocol owns the stream.
fn duplicate(stream: &TcpStream) -> Option<Arc<socket2::Socket>> {
    socket2::SockRef::from(stream).try_clone().ok().map(Arc::new)
}

async fn connection<S>(
    server: Arc<Server>,
    port: u16,
    stream: S,
    socket: Arc<socket2::Socket>,
    peer: SocketAddr,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = hyper::service::service_fn(move |request| {
        let (server, socket) = (server.clone(), socket.clone());
        async move { handle(&server, port, peer, &socket, request).await }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().keep_alive(true).max_buf_size(1 << 20);
    builder.http2().max_header_list_size(1 << 20);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A handler's error makes hyper end the HTTP/1.1 connection, or reset the HTTP/2 stream.
#[derive(Debug)]
struct Gone;

impl std::fmt::Display for Gone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ended as asked")
    }
}

impl std::error::Error for Gone {}

async fn handle(
    server: &Server,
    port: u16,
    peer: SocketAddr,
    socket: &socket2::Socket,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Gone> {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    match parts.uri.path() {
        "/seen" => {
            let seen = serde_json::to_vec(&server.ledger.seen(query.text("key"))).unwrap_or_default();
            return Ok(Response::new(Full::from(seen)));
        }
        "/count" => {
            let count = server.ledger.flaky(query.text("key")).to_string();
            return Ok(Response::new(Full::from(count)));
        }
        _ => {}
    }
    let Ok(body) = body.collect().await else {
        return Err(Gone);
    };
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let mut headers = BTreeMap::<String, String>::new();
    for (name, value) in &parts.headers {
        if name == http::header::HOST {
            continue;
        }
        let value = String::from_utf8_lossy(value.as_bytes());
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| {
                all.push(',');
                all.push_str(&value);
            })
            .or_insert_with(|| value.into_owned());
    }
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let host = match parts.headers.get(http::header::HOST) {
        Some(host) => String::from_utf8_lossy(host.as_bytes()).into_owned(),
        None => parts.uri.authority().map(ToString::to_string).unwrap_or_default(),
    };
    let hit = Hit {
        path: target.to_owned(),
        host,
        method: parts.method.to_string(),
        version: server.version.clone(),
        service: server.service.clone(),
        headers,
        body,
        remote: peer.to_string(),
        at: now(),
    };
    let key = hit.headers.get("x-key").cloned();
    let _running = key.map(|key| server.ledger.enter(&key, hit.clone()));
    match decide(parts.uri.path(), &query, &server.version, &server.ledger) {
        Answer::Close { reset } => {
            if reset {
                let _ = socket.set_linger(Some(Duration::ZERO));
            }
            Err(Gone)
        }
        Answer::Grpc { status } => Ok(grpc(server, &status)),
        Answer::Echo { status, after } => {
            if !after.is_zero() {
                tokio::time::sleep(after).await;
            }
            let proto = match parts.version {
                http::Version::HTTP_10 => "HTTP/1.0",
                http::Version::HTTP_2 => "HTTP/2.0",
                _ => "HTTP/1.1",
            };
            Ok(echo(server, port, status, proto, &query, &hit))
        }
    }
}

fn marked(server: &Server) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    let upstream = format!("{}-{}", server.service, server.version);
    insert(&mut response, "x-upstream", &upstream);
    insert(&mut response, "x-drop-me", "1");
    response
}

fn grpc(server: &Server, status: &str) -> Response<Full<Bytes>> {
    let mut response = marked(server);
    insert(&mut response, "content-type", "application/grpc");
    insert(&mut response, "grpc-status", status);
    response
}

fn echo(
    server: &Server,
    port: u16,
    status: u16,
    proto: &str,
    query: &Query,
    hit: &Hit,
) -> Response<Full<Bytes>> {
    let mut response = marked(server);
    for (name, value) in query.response_headers() {
        insert(&mut response, name, value);
    }
    insert(&mut response, "content-type", "application/json");
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or_default();
    let body = serde_json::json!({
        "service": server.service, "version": server.version, "pod": server.pod,
        "method": hit.method, "path": hit.path, "host": hit.host, "proto": proto,
        "port": port.to_string(), "headers": hit.headers, "body": hit.body,
    });
    if !matches!(status, 204 | 304) {
        *response.body_mut() = Full::from(format!("{body}\n"));
    }
    response
}

fn insert(response: &mut Response<Full<Bytes>>, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        response.headers_mut().insert(name, value);
    }
}

async fn lines(version: String, stream: TcpStream) {
    let (read, mut write) = stream.into_split();
    let mut read = BufReader::new(read).lines();
    while let Ok(Some(line)) = read.next_line().await {
        if write
            .write_all(format!("{version} {line}\n").as_bytes())
            .await
            .is_err()
        {
            return;
        }
    }
}

fn tls(host: &str) -> anyhow::Result<tokio_rustls::TlsAcceptor> {
    let certified = rcgen::generate_simple_self_signed([host.to_owned()])?;
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der())
        .map_err(|reason| anyhow::anyhow!("own TLS key: {reason}"))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certified.cert.der().clone()], key)?;
    Ok(tokio_rustls::TlsAcceptor::from(Arc::new(config)))
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or_default()
}
