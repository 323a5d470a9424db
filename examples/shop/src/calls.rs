//! Calls to the other services, through the HTTP proxy where there is one.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::rt::ReadBufCursor;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::Value;
use tokio::net::TcpStream;

/// Headers that a service must copy from the request it serves to the requests it makes, so that a trace is one
/// trace; `end-user` is the sample's own, for routes that match on it.
const PROPAGATED: &[&str] = &[
    "x-request-id",
    "traceparent",
    "tracestate",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "end-user",
];

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Makes calls and keeps connections alive between them.
pub(crate) struct Caller {
    client: Client<Dialer, Empty<Bytes>>,
    port: u16,
}

impl Caller {
    /// `proxy` is `http://ADDRESS:PORT`; without one, services are called by name.
    pub(crate) fn new(proxy: Option<&str>, port: u16) -> Result<Self> {
        let proxy = proxy
            .filter(|text| !text.is_empty())
            .map(proxy_address)
            .transpose()?;
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(60))
            .build(Dialer { proxy });
        Ok(Self { client, port })
    }

    /// GET of a JSON value from another service of the shop, with the trace headers of `incoming`.
    pub(crate) async fn json(&self, host: &str, path: &str, incoming: &HeaderMap) -> Result<Value> {
        self.json_of(&format!("{host}:{}", self.port), path, incoming)
            .await
    }

    /// GET of a JSON value from any authority (`HOST` or `HOST:PORT`).
    pub(crate) async fn json_of(&self, host: &str, path: &str, incoming: &HeaderMap) -> Result<Value> {
        let uri: Uri = format!("http://{host}{path}")
            .parse()
            .with_context(|| format!("{host}{path} is not a URI"))?;
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = uri;
        copy_trace(incoming, request.headers_mut());
        match tokio::time::timeout(DEADLINE, self.exchange(request)).await {
            Ok(answer) => answer.with_context(|| format!("call to {host}{path}")),
            Err(_) => bail!("call to {host}{path}: no answer within {} s", DEADLINE.as_secs()),
        }
    }

    async fn exchange(&self, request: Request<Empty<Bytes>>) -> Result<Value> {
        let response = self.client.request(request).await.context("no answer")?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .context("answer broke off")?
            .to_bytes();
        if status != StatusCode::OK {
            bail!("answered {status}");
        }
        serde_json::from_slice(&body).context("answer is not JSON")
    }
}

pub(crate) fn copy_trace(from: &HeaderMap, to: &mut HeaderMap) {
    for name in PROPAGATED {
        let name = HeaderName::from_static(name);
        for value in from.get_all(&name) {
            to.append(name.clone(), value.clone());
        }
    }
}

fn proxy_address(text: &str) -> Result<String> {
    let uri: Uri = text
        .parse()
        .with_context(|| format!("http_proxy {text:?} is not a URI"))?;
    let authority = uri
        .authority()
        .with_context(|| format!("http_proxy {text:?} names no address"))?;
    let port = authority
        .port_u16()
        .with_context(|| format!("http_proxy {text:?} names no port"))?;
    Ok(format!("{}:{port}", authority.host()))
}

/// Connects to the proxy, whatever the URI, or to the URI's authority.
#[derive(Clone)]
struct Dialer {
    proxy: Option<String>,
}

impl tower::Service<Uri> for Dialer {
    type Response = Dialled;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Dialled>> + Send>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let proxied = self.proxy.is_some();
        let address = self.proxy.clone().unwrap_or_else(|| {
            uri.authority()
                .map(|authority| authority.as_str().to_owned())
                .unwrap_or_default()
        });
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Dialled {
                stream: TokioIo::new(stream),
                proxied,
            })
        })
    }
}

/// A connection that knows whether requests on it need the absolute form.
struct Dialled {
    stream: TokioIo<TcpStream>,
    proxied: bool,
}

impl Connection for Dialled {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl hyper::rt::Read for Dialled {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl hyper::rt::Write for Dialled {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn proxy_addresses() {
        assert_eq!(
            proxy_address("http://127.64.1.3:15001").unwrap(),
            "127.64.1.3:15001"
        );
        assert_eq!(
            proxy_address("http://127.64.1.3:15001/").unwrap(),
            "127.64.1.3:15001"
        );
        assert!(proxy_address("http://127.64.1.3").is_err());
        assert!(proxy_address("/path").is_err());
    }

    #[test]
    fn trace_headers_are_copied_and_nothing_else() {
        let mut from = HeaderMap::new();
        for (name, value) in [
            ("traceparent", "00-a-b-01"),
            ("x-b3-traceid", "1"),
            ("cookie", "secret"),
        ] {
            from.insert(name, value.parse().unwrap());
        }
        let mut to = HeaderMap::new();
        copy_trace(&from, &mut to);
        assert_eq!(to.len(), 2);
        assert!(!to.contains_key("cookie"));
    }
}
