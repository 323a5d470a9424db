//! Plain HTTP requests, each on a connection of its own.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// GET, whatever the status.
pub async fn get(url: &str) -> Result<Answer> {
    let request = Request::get(url)
        .body(Full::default())
        .with_context(|| format!("{url} is not a URL"))?;
    request_with(request).await
}

/// GET of a text; another status than 200 is an error.
pub async fn get_text(url: &str) -> Result<String> {
    let answer = get(url).await?;
    if answer.status != StatusCode::OK {
        bail!("{url} answered {}: {}", answer.status, answer.text());
    }
    Ok(answer.text())
}

/// GET of a JSON value; another status than 200 is an error.
pub async fn get_json(url: &str) -> Result<Value> {
    let text = get_text(url).await?;
    serde_json::from_str(&text).with_context(|| format!("{url} did not answer JSON: {text}"))
}

/// Any request; the URI is absolute and names where to connect, a `Host` header may name another host.
pub async fn request(request: Request<Bytes>) -> Result<Answer> {
    request_with(request.map(Full::new)).await
}

async fn request_with(request: Request<Full<Bytes>>) -> Result<Answer> {
    let url = request.uri().to_string();
    match tokio::time::timeout(DEADLINE, exchange(request)).await {
        Ok(answer) => answer.with_context(|| url),
        Err(_) => bail!("{url}: no answer within {} s", DEADLINE.as_secs()),
    }
}

async fn exchange(mut request: Request<Full<Bytes>>) -> Result<Answer> {
    let uri = request.uri().clone();
    let authority = uri.authority().context("the URL names no host")?.clone();
    if !request.headers().contains_key(header::HOST) {
        request
            .headers_mut()
            .insert(header::HOST, authority.as_str().parse().context("bad host")?);
    }
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    *request.uri_mut() = target.parse::<Uri>().context("bad path")?;
    let stream = TcpStream::connect(authority.as_str())
        .await
        .context("cannot connect")?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.context("no answer")?;
    let (head, body) = response.into_parts();
    let body = body.collect().await.context("the answer broke off")?.to_bytes();
    driver.abort();
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body,
    })
}
