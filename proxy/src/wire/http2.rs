//! The two ends of an HTTP/2 exchange, on the `h2` crate.

use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::patience::Patience;
use super::{Failure, Next, Sink, Source};
use crate::codec::fields::{Fields, Id};
use crate::codec::head::{Framing, Method, Request, Response, Version};
use crate::codec::write::Extras;

/// Largest header list taken from a peer.
pub(crate) const HEADER_LIST_MAX: u32 = 64 * 1024;
/// Stream window.
pub(crate) const STREAM_WINDOW: u32 = 1 << 20;
/// Connection window.
pub(crate) const CONNECTION_WINDOW: u32 = 8 << 20;
/// Most concurrent streams of one client.
pub(crate) const STREAMS_MAX: u32 = 1000;

/// A body that arrives on a stream.
pub(crate) struct Incoming {
    stream: Option<RecvStream>,
    data: Bytes,
    trailers: Option<Box<Fields>>,
    over: bool,
}

impl Incoming {
    fn new(stream: Option<RecvStream>) -> Self {
        let over = stream.as_ref().is_none_or(RecvStream::is_end_stream);
        Self {
            stream,
            data: Bytes::new(),
            trailers: None,
            over,
        }
    }

    /// Whether all of it was read.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.over && self.data.is_empty()
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        loop {
            if !self.data.is_empty() {
                return Poll::Ready(Ok(Next::Data));
            }
            if self.over {
                return Poll::Ready(Ok(Next::End));
            }
            let Some(stream) = &mut self.stream else {
                return Poll::Ready(Ok(Next::End));
            };
            match ready!(stream.poll_data(cx)) {
                Some(data) => self.data = data.map_err(|error| failure(&error))?,
                None => {
                    let trailers = ready!(stream.poll_trailers(cx)).map_err(|error| failure(&error))?;
                    self.over = true;
                    self.trailers = trailers.map(|map| {
                        let mut fields = Box::<Fields>::default();
                        for (name, value) in &map {
                            if crate::codec::chunked::may_be_trailer(name.as_str()) {
                                fields.push(name.as_str().as_bytes(), value.as_bytes());
                            }
                        }
                        fields
                    });
                }
            }
        }
    }

    fn consume(&mut self, n: usize) {
        let n = n.min(self.data.len());
        bytes::Buf::advance(&mut self.data, n);
        if let Some(stream) = &mut self.stream {
            // An error means that the stream is gone, which the next poll reports.
            let _ = stream.flow_control().release_capacity(n);
        }
    }
}

/// A body that leaves on a stream.
pub(crate) struct Outgoing {
    stream: SendStream<Bytes>,
    ended: bool,
}

impl Outgoing {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>> {
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut room = self.stream.capacity();
        if room == 0 {
            self.stream.reserve_capacity(data.len());
            room = self.stream.capacity();
        }
        while room == 0 {
            match ready!(self.stream.poll_capacity(cx)) {
                None => return Poll::Ready(Err(Failure::Closed)),
                Some(Err(error)) => return Poll::Ready(Err(failure(&error))),
                Some(Ok(capacity)) => room = capacity,
            }
        }
        let n = room.min(data.len());
        self.stream
            .send_data(Bytes::copy_from_slice(data.get(..n).unwrap_or_default()), false)
            .map_err(|error| failure(&error))?;
        Poll::Ready(Ok(n))
    }

    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.ended, true) {
            return Ok(());
        }
        match trailers {
            Some(trailers) => self.stream.send_trailers(header_map(trailers)),
            None => self.stream.send_data(Bytes::new(), true),
        }
        .map_err(|error| failure(&error))
    }

    /// Ends the stream with an error.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.stream.send_reset(reason);
    }

    /// Ready when the peer reset the stream.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_reset(cx).map(drop)
    }
}

fn failure(error: &h2::Error) -> Failure {
    match error.reason() {
        Some(Reason::REFUSED_STREAM) => Failure::Refused,
        Some(Reason::NO_ERROR) | None => Failure::Closed,
        Some(Reason::PROTOCOL_ERROR) if error.is_library() => Failure::Protocol,
        Some(_) if error.is_go_away() => Failure::Closed,
        Some(_) => Failure::Reset,
    }
}

fn header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len() + 4);
    append_fields(&mut map, fields);
    map
}

fn append_fields(map: &mut HeaderMap, fields: &Fields) {
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            map.append(name, value);
        }
    }
}

/// Copies an HTTP/2 request head; `None` when it is one that HTTP/1 cannot say (so it is refused).
#[must_use]
pub(crate) fn read_request(parts: &http::request::Parts, ended: bool, out: &mut Request) -> Option<()> {
    out.fields.clear();
    out.method = out.fields.store(parts.method.as_str().as_bytes());
    out.kind = match parts.method {
        http::Method::HEAD => Method::Head,
        http::Method::CONNECT => Method::Connect,
        http::Method::OPTIONS => Method::Options,
        _ => Method::Other,
    };
    out.version = Version::Http2;
    out.keep_alive = true;
    out.upgrade = crate::codec::fields::Span::default();
    out.expect_continue = false;
    out.te_trailers = false;
    out.https = parts.uri.scheme_str() == Some("https");
    let authority = parts.uri.authority().map(|a| a.as_str().as_bytes());
    let authority = authority.or_else(|| parts.headers.get(http::header::HOST).map(HeaderValue::as_bytes))?;
    out.authority = out.fields.store(authority);
    let target = parts
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    if out.kind != Method::Connect && !target.starts_with('/') {
        return None;
    }
    out.target = out.fields.store(target.as_bytes());
    let mut length = None;
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        if value.as_bytes().iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return None;
        }
        match Id::of(name.as_str().as_bytes()) {
            Id::Host => {}
            Id::Connection | Id::KeepAlive | Id::ProxyConnection | Id::TransferEncoding | Id::Upgrade => {
                return None;
            }
            Id::Te => out.te_trailers |= value.as_bytes() == b"trailers",
            Id::Expect => {}
            Id::Cookie => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value.as_bytes());
            }
            Id::ContentLength => length = value.to_str().ok().and_then(|l| l.parse::<u64>().ok()),
            _ => {
                out.fields.push(name.as_str().as_bytes(), value.as_bytes());
            }
        }
    }
    if !cookies.is_empty() {
        out.fields.push_id(Id::Cookie, &cookies);
    }
    out.framing = match (ended, length) {
        (true, _) => Framing::None,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::Chunked,
    };
    Some(())
}

/// The request as HTTP/2 says it.
pub(crate) fn write_request(request: &Request, extras: &Extras<'_>) -> Option<http::Request<()>> {
    let mut builder = http::Request::builder()
        .version(http::Version::HTTP_2)
        .method(request.method_bytes());
    builder = if request.kind == Method::Connect {
        builder.uri(request.authority_bytes())
    } else {
        let uri = http::Uri::builder()
            .scheme(if request.https { "https" } else { "http" })
            .authority(request.authority_bytes())
            .path_and_query(request.target_bytes())
            .build()
            .ok()?;
        builder.uri(uri)
    };
    let headers = builder.headers_mut()?;
    append_fields(headers, &request.fields);
    if let Some(count) = extras.attempt_count {
        headers.append("x-envoy-attempt-count", HeaderValue::from(count));
    }
    if let Some((metadata, id)) = extras.metadata
        && let (Ok(metadata), Ok(id)) = (HeaderValue::from_bytes(metadata), HeaderValue::from_bytes(id))
    {
        headers.append("x-envoy-peer-metadata", metadata);
        headers.append("x-envoy-peer-metadata-id", id);
    }
    if let Framing::Length(length) = request.framing {
        headers.append(http::header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    if request.te_trailers {
        headers.append(http::header::TE, HeaderValue::from_static("trailers"));
    }
    builder.body(()).ok()
}

/// The client's end of one stream.
pub(crate) struct ClientSide {
    /// Request body.
    pub(crate) incoming: Incoming,
    respond: h2::server::SendResponse<Bytes>,
    outgoing: Option<Outgoing>,
    /// How long a body may stand still.
    pub(crate) patience: Option<Patience>,
}

impl ClientSide {
    /// A stream whose head was read.
    #[must_use]
    pub(crate) fn new(body: RecvStream, respond: h2::server::SendResponse<Bytes>) -> Self {
        Self {
            incoming: Incoming::new(Some(body)),
            respond,
            outgoing: None,
            patience: None,
        }
    }

    /// Sends the response head.
    pub(crate) fn begin(&mut self, response: &Response) -> Result<(), Failure> {
        let mut head = http::Response::new(());
        *head.status_mut() = http::StatusCode::from_u16(response.status).map_err(|_| Failure::Protocol)?;
        append_fields(head.headers_mut(), &response.fields);
        let length = match response.framing {
            Framing::Length(length) => Some(length),
            _ => response.declared_length,
        };
        if let Some(length) = length.filter(|_| response.status != 204) {
            head.headers_mut()
                .append(http::header::CONTENT_LENGTH, HeaderValue::from(length));
        }
        let ended = matches!(response.framing, Framing::None | Framing::Length(0));
        let stream = self
            .respond
            .send_response(head, ended)
            .map_err(|error| failure(&error))?;
        self.outgoing = Some(Outgoing { stream, ended });
        Ok(())
    }

    /// Ends the stream with an error.
    pub(crate) fn reset(&mut self, reason: Reason) {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.reset(reason),
            None => self.respond.send_reset(reason),
        }
    }

    /// Ready when the client gave up.
    pub(crate) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_reset(cx),
            None => self.respond.poll_reset(cx).map(drop),
        }
    }
}

impl Source for ClientSide {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        let polled = self.incoming.poll_next(cx);
        match &mut self.patience {
            Some(patience) => patience.reading(cx, polled, self.incoming.data.len()),
            None => polled,
        }
    }
    fn data(&self) -> &[u8] {
        &self.incoming.data
    }
    fn consume(&mut self, n: usize) {
        self.incoming.consume(n);
    }
    fn trailers(&mut self) -> Option<Box<Fields>> {
        self.incoming.trailers.take()
    }
}

impl Sink for ClientSide {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>> {
        let polled = match &mut self.outgoing {
            Some(outgoing) => outgoing.poll_push(cx, data),
            None => Poll::Ready(Err(Failure::Protocol)),
        };
        match &mut self.patience {
            Some(patience) => patience.writing(cx, polled),
            None => polled,
        }
    }
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure> {
        self.outgoing
            .as_mut()
            .map_or(Err(Failure::Protocol), |o| o.finish(trailers))
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }
}

/// An upstream's end of one stream.
pub(crate) struct ServerSide {
    response: Option<h2::client::ResponseFuture>,
    incoming: Incoming,
    outgoing: Outgoing,
}

impl ServerSide {
    /// Sends a request head on a ready connection.
    pub(crate) fn begin(
        connection: &mut h2::client::SendRequest<Bytes>,
        request: &Request,
        extras: &Extras<'_>,
    ) -> Result<Self, Failure> {
        let head = write_request(request, extras).ok_or(Failure::Protocol)?;
        let ended = request.framing == Framing::None;
        let (response, stream) = connection
            .send_request(head, ended)
            .map_err(|error| failure(&error))?;
        Ok(Self {
            response: Some(response),
            incoming: Incoming::new(None),
            outgoing: Outgoing { stream, ended },
        })
    }

    /// Reads the final response head.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut Response,
    ) -> Poll<Result<(), Failure>> {
        let Some(response) = &mut self.response else {
            return Poll::Ready(Err(Failure::Protocol));
        };
        let (parts, body) = ready!(std::pin::Pin::new(response).poll(cx))
            .map_err(|error| failure(&error))?
            .into_parts();
        self.response = None;
        let ended = body.is_end_stream();
        out.fields.clear();
        out.status = parts.status.as_u16();
        out.keep_alive = true;
        out.upgrade = crate::codec::fields::Span::default();
        out.declared_length = None;
        let mut length = None;
        for (name, value) in &parts.headers {
            match Id::of(name.as_str().as_bytes()) {
                Id::Connection | Id::KeepAlive | Id::ProxyConnection | Id::TransferEncoding | Id::Upgrade => {
                }
                Id::ContentLength => length = value.to_str().ok().and_then(|l| l.parse::<u64>().ok()),
                _ => {
                    out.fields.push(name.as_str().as_bytes(), value.as_bytes());
                }
            }
        }
        out.framing = match (ended, length) {
            (true, declared) => {
                out.declared_length = declared;
                Framing::None
            }
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Chunked,
        };
        self.incoming = Incoming::new(Some(body));
        Poll::Ready(Ok(()))
    }
}

impl Drop for ServerSide {
    /// Gives the stream up if it has not run its course.
    fn drop(&mut self) {
        if !self.outgoing.ended || !self.incoming.is_done() {
            self.outgoing.reset(Reason::CANCEL);
        }
    }
}

impl Source for ServerSide {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        self.incoming.poll_next(cx)
    }
    fn data(&self) -> &[u8] {
        &self.incoming.data
    }
    fn consume(&mut self, n: usize) {
        self.incoming.consume(n);
    }
    fn trailers(&mut self) -> Option<Box<Fields>> {
        self.incoming.trailers.take()
    }
}

impl Sink for ServerSide {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>> {
        self.outgoing.poll_push(cx, data)
    }
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure> {
        self.outgoing.finish(trailers)
    }
    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }
}
