//! Sends the requests of a step, as a process beside its sidecar would.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

use crate::pods::Namespace;

mod secure;

/// How long one request may take in all.
const REQUEST_DEADLINE: Duration = Duration::from_secs(15);

/// The way from a client to where the request goes.
#[derive(Debug, Clone)]
pub struct Way {
    /// Address that the client binds.
    pub source: IpAddr,
    /// First socket to connect to: the sidecar's proxy port, the gateway, or the service itself.
    pub first: SocketAddr,
    /// If the first hop is a sidecar and the bytes are not HTTP: ask it to `CONNECT` there.
    pub tunnel: Option<String>,
    /// TLS with this server name inside.
    pub tls: Option<String>,
    /// The pod that the client is in; the node if there is none.
    pub pod: Option<Namespace>,
}

/// What is sent once the way is open.
#[derive(Debug, Clone)]
pub enum Call {
    /// An HTTP request.
    Http(HttpCall),
    /// Bytes, then one line is read.
    Bytes {
        /// What to write.
        send: Vec<u8>,
        /// How long to stay connected afterwards.
        hold: Duration,
    },
}

/// An HTTP request.
#[derive(Debug, Clone)]
pub struct HttpCall {
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// `Host`, or `:authority`.
    pub authority: String,
    /// Other headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
    /// HTTP/2 by prior knowledge.
    pub http2: bool,
    /// Ask the server to close afterwards.
    pub close: bool,
}

/// What came back for one request.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Status; none without an HTTP answer.
    pub status: Option<u16>,
    /// Headers; several values are joined by ` | `.
    pub headers: BTreeMap<String, String>,
    /// Body, or the line read.
    pub body: String,
    /// The body, if it is an echo.
    pub echo: Option<Value>,
    /// Why there is no answer.
    pub error: Option<String>,
    /// How long it took.
    pub seconds: f64,
    /// The client's own socket address.
    pub local: Option<SocketAddr>,
}

impl Answer {
    /// A text of the echo.
    #[must_use]
    pub fn echo_text(&self, name: &str) -> Option<&str> {
        self.echo.as_ref()?.get(name)?.as_str()
    }

    /// How a distribution counts it: by the echo's `key`, a line's first word, the status, or the error's first word.
    #[must_use]
    pub fn label(&self, key: &str) -> String {
        let first_word = |text: &str| text.split_whitespace().next().unwrap_or_default().to_owned();
        match (self.echo_text(key), self.status, &self.error) {
            (Some(label), ..) => label.to_owned(),
            (None, Some(status), _) => status.to_string(),
            (None, None, Some(_)) => "read".to_owned(),
            (None, None, None) => first_word(&self.body),
        }
    }
}

/// A connection that may carry several requests.
pub struct Session {
    way: Way,
    open: Option<Open>,
}

struct Open {
    sender: Sender,
    local: SocketAddr,
}

enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Session {
    /// A session that connects at its first request.
    #[must_use]
    pub fn new(way: Way) -> Self {
        Self { way, open: None }
    }

    /// Sends one request. Errors are part of the answer.
    pub async fn call(&mut self, call: &Call) -> Answer {
        let start = Instant::now();
        let mut answer = Answer::default();
        let outcome = tokio::time::timeout(REQUEST_DEADLINE, async {
            match call {
                Call::Http(call) => self.http(call, &mut answer).await,
                Call::Bytes { send, hold } => self.bytes(send, *hold, &mut answer).await,
            }
        })
        .await
        .unwrap_or_else(|_| Err(anyhow::anyhow!("deadline of {REQUEST_DEADLINE:?} exceeded")));
        if let Err(error) = outcome {
            answer.error = Some(format!("{error:#}"));
            self.open = None;
        }
        answer.seconds = start.elapsed().as_secs_f64();
        answer
    }

    async fn http(&mut self, call: &HttpCall, answer: &mut Answer) -> anyhow::Result<()> {
        let mut open = match self.open.take() {
            Some(open) if open.sender.usable() => open,
            _ => self.connect_http(call.http2, answer).await?,
        };
        answer.local = Some(open.local);
        let response = open.sender.send(call).await?;
        let (parts, body) = response.into_parts();
        answer.status = Some(parts.status.as_u16());
        for (name, value) in &parts.headers {
            let value = String::from_utf8_lossy(value.as_bytes());
            answer
                .headers
                .entry(name.as_str().to_owned())
                .and_modify(|all| {
                    all.push_str(" | ");
                    all.push_str(&value);
                })
                .or_insert_with(|| value.into_owned());
        }
        let body = body.collect().await.context("read: body ended early")?;
        answer.body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
        answer.echo = serde_json::from_str(&answer.body)
            .ok()
            .filter(|value: &Value| value.get("service").is_some());
        if !call.close {
            self.open = Some(open);
        }
        Ok(())
    }

    async fn connect_http(&self, http2: bool, answer: &mut Answer) -> anyhow::Result<Open> {
        let (stream, local) = self.connect(answer).await?;
        let io = TokioIo::new(stream);
        let sender = if http2 {
            let (sender, connection) =
                hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await?;
            tokio::spawn(connection);
            Sender::Http2(sender)
        } else {
            let (sender, connection) = hyper::client::conn::http1::Builder::new()
                .max_buf_size(1 << 20)
                .handshake(io)
                .await?;
            tokio::spawn(connection);
            Sender::Http1(sender)
        };
        Ok(Open { sender, local })
    }

    async fn bytes(&self, send: &[u8], hold: Duration, answer: &mut Answer) -> anyhow::Result<()> {
        let (mut stream, _) = self.connect(answer).await?;
        stream.write_all(send).await.context("write")?;
        let mut line = String::new();
        let read = BufReader::new(&mut stream)
            .read_line(&mut line)
            .await
            .context("read")?;
        answer.body = line;
        anyhow::ensure!(read > 0, "EOF");
        if !hold.is_zero() {
            tokio::time::sleep(hold).await;
        }
        Ok(())
    }

    async fn connect(&self, answer: &mut Answer) -> anyhow::Result<(Box<dyn Stream>, SocketAddr)> {
        let first = self.way.first;
        let open = move || {
            if first.is_ipv4() {
                TcpSocket::new_v4()
            } else {
                TcpSocket::new_v6()
            }
        };
        let socket = match &self.way.pod {
            Some(pod) => tokio::task::block_in_place(|| pod.run(open))??,
            None => {
                let socket = open()?;
                socket.bind(SocketAddr::new(self.way.source, 0)).context("bind")?;
                socket
            }
        };
        let mut stream = socket.connect(self.way.first).await.context("dial")?;
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr()?;
        answer.local = Some(local);
        if let Some(target) = &self.way.tunnel {
            tunnel(&mut stream, target).await?;
        }
        let stream: Box<dyn Stream> = match &self.way.tls {
            Some(name) => Box::new(secure::connect(stream, name).await?),
            None => Box::new(stream),
        };
        Ok((stream, local))
    }
}

impl Sender {
    fn usable(&self) -> bool {
        match self {
            Self::Http1(sender) => !sender.is_closed(),
            Self::Http2(sender) => !sender.is_closed(),
        }
    }

    async fn send(&mut self, call: &HttpCall) -> anyhow::Result<http::Response<hyper::body::Incoming>> {
        let http2 = matches!(self, Self::Http2(_));
        let uri = if http2 {
            format!("http://{}{}", call.authority, call.target)
        } else {
            call.target.clone()
        };
        let mut request = http::Request::builder().method(call.method.as_bytes()).uri(uri);
        if !http2 {
            request = request.header("host", &call.authority);
        }
        for (name, value) in &call.headers {
            request = request.header(name, value);
        }
        if call.close && !http2 {
            request = request.header("connection", "close");
        }
        let request = request.body(Full::from(call.body.clone())).context("request")?;
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.context("read: connection closed")?;
                sender.send_request(request).await
            }
            Self::Http2(sender) => {
                sender.ready().await.context("read: connection closed")?;
                sender.send_request(request).await
            }
        };
        response.map_err(|error| {
            let closed = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
            let context = if closed { "read: EOF" } else { "read" };
            anyhow::Error::new(error).context(context)
        })
    }
}

/// Asks an HTTP proxy for a tunnel.
async fn tunnel(stream: &mut TcpStream, target: &str) -> anyhow::Result<()> {
    let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.context("write")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = stream.read_u8().await.context("read: EOF")?;
        head.push(byte);
        anyhow::ensure!(head.len() < 1 << 16, "answer to CONNECT without end");
    }
    let head = String::from_utf8_lossy(&head);
    let line = head.lines().next().unwrap_or_default();
    anyhow::ensure!(
        line.split_whitespace().nth(1) == Some("200"),
        "CONNECT {target} answered {line:?}: closed"
    );
    Ok(())
}

/// Sends `times` equal requests, `concurrency` at once, each lane on one connection (or a new one each time if `fresh`).
pub async fn send_all(way: &Way, calls: Vec<Call>, concurrency: usize, fresh: bool) -> Vec<Answer> {
    let calls: Arc<[Call]> = calls.into();
    let next = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let mut lanes = tokio::task::JoinSet::new();
    for _ in 0..concurrency.max(1) {
        let (way, calls, next) = (way.clone(), calls.clone(), next.clone());
        lanes.spawn(async move {
            let mut session = Session::new(way.clone());
            let mut answers = Vec::new();
            loop {
                let at = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                let Some(call) = calls.get(at) else { break };
                if fresh {
                    session = Session::new(way.clone());
                }
                answers.push((at, session.call(call).await));
            }
            answers
        });
    }
    let mut answers: Vec<(usize, Answer)> = lanes.join_all().await.into_iter().flatten().collect();
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}
