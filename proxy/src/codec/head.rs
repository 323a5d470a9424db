//! Message heads: strict parsing. One reading of a message, or a refusal.

use std::mem::MaybeUninit;

use mesh_model::flags::ResponseFlags;

use super::authority::authority_is_good;
use super::fields::{Fields, Id, Span};
use super::framing::{Reading, classify};
use crate::runtime::NodeKind;

/// Most fields that a head may have whatever the configuration says.
pub const FIELDS_MAX: usize = 256;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is no body.
    #[default]
    None,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// The end of the connection (responses only).
    UntilClose,
}

/// Protocol version of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As in the access log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

/// Methods that change how a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    /// HEAD: the answer has no body.
    Head,
    /// CONNECT: the target is an authority.
    Connect,
    /// OPTIONS: the target may be `*`, and CORS asks by it.
    Options,
    /// Any other.
    #[default]
    Other,
}

/// A request head. Spans point into `fields`.
#[derive(Debug, Default, Clone)]
pub struct Request {
    /// Header fields without hop-by-hop ones, `host`, and those that frame the message.
    pub fields: Fields,
    /// Method as sent.
    pub method: Span,
    /// Kind of method.
    pub kind: Method,
    /// Path with query, as it will be matched and sent; for CONNECT empty.
    pub target: Span,
    /// Authority as sent.
    pub authority: Span,
    /// Scheme is https.
    pub https: bool,
    /// Version.
    pub version: Version,
    /// Body.
    pub framing: Framing,
    /// The connection may serve another request afterwards.
    pub keep_alive: bool,
    /// Protocol that the client wants to change to.
    pub upgrade: Span,
    /// The client waits for 100 Continue.
    pub expect_continue: bool,
    /// `te: trailers`.
    pub te_trailers: bool,
}

/// A response head.
#[derive(Debug, Default, Clone)]
pub struct Response {
    /// Header fields without hop-by-hop ones and those that frame the message.
    pub fields: Fields,
    /// Status.
    pub status: u16,
    /// Body.
    pub framing: Framing,
    /// `content-length` of an answer without body (HEAD, 304).
    pub declared_length: Option<u64>,
    /// The connection may be used again.
    pub keep_alive: bool,
    /// Protocol changed to (101).
    pub upgrade: Span,
}

/// Why a head (or body framing) is refused, and how that is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadError {
    /// Status of the answer.
    pub status: u16,
    /// `RESPONSE_CODE_DETAILS`.
    pub details: &'static str,
    /// Flags.
    pub flags: ResponseFlags,
    /// Body of the answer.
    pub body: &'static str,
}

impl HeadError {
    const fn new(status: u16, details: &'static str) -> Self {
        let body = match status {
            408 => "Request Timeout",
            426 => "Upgrade Required",
            431 => "Request Header Fields Too Large",
            501 => "Not Implemented",
            _ => "Bad Request",
        };
        Self {
            status,
            details,
            flags: ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
            body,
        }
    }
    const fn silent(status: u16, details: &'static str) -> Self {
        Self {
            status,
            details,
            flags: ResponseFlags::NONE,
            body: "",
        }
    }
    /// Not HTTP, or HTTP that could be read in two ways.
    pub const CODEC: Self = Self::new(400, "http1.codec_error");
    /// No HTTP/1 at all: it is not answered in HTTP/1.
    pub const FOREIGN: Self = Self {
        status: 0,
        details: "http1.codec_error",
        flags: ResponseFlags::DOWNSTREAM_PROTOCOL_ERROR,
        body: "",
    };
    /// Body framing is broken.
    pub const BODY: Self = Self::new(400, "http1.codec_error");
    /// The head did not come in time.
    pub const TIMEOUT: Self = Self::new(408, "request_header_timeout");
    const TOO_LARGE: Self = Self::new(431, "http1.headers_too_large");
    const TOO_MANY: Self = Self::new(431, "http1.too_many_headers");
    pub(super) const LENGTH_AND_CHUNKED: Self =
        Self::new(400, "http1.content_length_and_chunked_not_allowed");
    pub(super) const LENGTH: Self = Self::new(400, "http1.invalid_content_length");
    pub(super) const ENCODING: Self = Self::new(501, "http1.invalid_transfer_encoding");
    const HOST: Self = Self::new(400, "http1.invalid_authority");
    const NO_HOST: Self = Self::silent(400, "missing_host_header");
    const UNDERSCORE: Self = Self::new(400, "http1.unexpected_underscore");
    pub(super) const CONNECTION: Self = Self::new(400, "http1.connection_header_rejected");
    const EXPECTATION: Self = Self::silent(417, "expectation_failed");
    const VERSION: Self = Self::new(426, "low_version");
    const TARGET: Self = Self::new(400, "http1.invalid_url");
    const ABSOLUTE_PATH: Self = Self::silent(404, "absolute_path_rejected");
}

/// What is taken from a client.
#[derive(Debug, Clone, Copy)]
pub struct RequestRules {
    /// Edges are strict.
    pub kind: NodeKind,
    /// Largest head, bytes.
    pub head_max: usize,
    /// Most fields.
    pub fields_max: usize,
    /// HTTP/1.0 is served.
    pub http_10: bool,
}

/// Reads a request head from the start of `input`: the number of bytes that it takes, or `None` when it is not
/// complete yet.
pub fn parse_request(
    input: &[u8],
    rules: &RequestRules,
    out: &mut Request,
) -> Result<Option<usize>, HeadError> {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut []);
    let length = match parsed.parse_with_uninit_headers(input, &mut slots) {
        Ok(httparse::Status::Complete(length)) if length <= rules.head_max => length,
        Ok(httparse::Status::Partial) if input.len() < rules.head_max => {
            return Ok(None);
        }
        Ok(_) => return Err(HeadError::TOO_LARGE),
        Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TOO_MANY),
        // What is too long is too long, even when the cut-off piece reads badly.
        Err(_) if input.len() >= rules.head_max => return Err(HeadError::TOO_LARGE),
        Err(_) if is_foreign(input) => return Err(HeadError::FOREIGN),
        Err(_) => return Err(HeadError::CODEC),
    };
    if has_bare_line_feed(input.get(..length).unwrap_or_default()) {
        return Err(HeadError::CODEC);
    }
    if parsed.headers.len() > rules.fields_max {
        return Err(HeadError::TOO_MANY);
    }
    out.fields.clear();
    (out.authority, out.target) = (Span::default(), Span::default());
    let method = parsed.method.unwrap_or_default();
    if !KNOWN_METHODS.contains(&method) {
        return Err(HeadError::CODEC);
    }
    out.kind = match method {
        "HEAD" => Method::Head,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    };
    out.method = out.fields.store(method.as_bytes());
    out.version = if parsed.version == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    };
    out.https = false;
    let mut reading = Reading::default();
    for header in parsed.headers.iter() {
        if rules.kind == NodeKind::Edge && header.name.contains('_') {
            return Err(HeadError::UNDERSCORE);
        }
        reading.field(&mut out.fields, header.name.as_bytes(), header.value)?;
    }
    reading.remove_named_by_connection(&mut out.fields)?;
    if out.version == Version::Http10 && !rules.http_10 {
        return Err(HeadError::VERSION);
    }
    out.framing = reading.request_framing(out.version)?;
    out.keep_alive = match out.version {
        Version::Http10 => reading.keep_alive && !reading.close,
        _ => !reading.close,
    };
    out.upgrade = if reading.upgrade_wanted {
        reading.upgrade
    } else {
        Span::default()
    };
    out.te_trailers = reading.te_trailers;
    if reading.bad_expectation {
        return Err(HeadError::EXPECTATION);
    }
    out.expect_continue = reading.expect_continue && out.framing != Framing::None;
    target(parsed.path.unwrap_or_default().as_bytes(), rules, &reading, out)?;
    Ok(Some(length))
}

/// Whether a first line has neither a method nor a version of HTTP: its sender speaks something else.
fn is_foreign(input: &[u8]) -> bool {
    let line = input
        .split(|b| matches!(b, b'\r' | b'\n'))
        .next()
        .unwrap_or_default();
    let method = line.split(|b| *b == b' ').next().unwrap_or_default();
    let words = line.split(|b| *b == b' ').count();
    words == 3
        && !KNOWN_METHODS.iter().any(|known| known.as_bytes() == method)
        && !line.windows(5).any(|part| part.eq_ignore_ascii_case(b"HTTP/"))
}

/// Fills target and authority from the request target and the `host` field.
fn target(raw: &[u8], rules: &RequestRules, reading: &Reading, out: &mut Request) -> Result<(), HeadError> {
    let edge = rules.kind == NodeKind::Edge;
    if edge
        && raw
            .iter()
            .any(|b| matches!(b, b'"' | b'<' | b'>' | b'#') || *b >= 0x80)
    {
        return Err(HeadError::TARGET);
    }
    let raw = raw.split(|b| *b == b'#').next().unwrap_or_default();
    match reading.hosts {
        0 | 1 => {}
        _ if edge => return Err(HeadError::HOST),
        _ => {}
    }
    let host = reading.host;
    if out.kind == Method::Connect {
        out.target = Span::default();
        let (_, port) = mesh_model::route::split_port(raw);
        if port.is_none() || !authority_is_good(raw, edge) {
            return Err(HeadError::TARGET);
        }
        out.authority = out.fields.store(raw);
        return Ok(());
    }
    if raw.first() == Some(&b'/') {
        if reading.hosts == 0 {
            // For the log.
            out.target = out.fields.store(raw);
            return Err(HeadError::NO_HOST);
        }
        if !authority_is_good(out.fields.bytes(host), edge) {
            return Err(HeadError::HOST);
        }
        out.authority = host;
        out.target = out.fields.store(raw);
        return Ok(());
    }
    if raw == b"*" && out.kind == Method::Options {
        (out.authority, out.target) = (host, out.fields.store(raw));
        return Err(HeadError::ABSOLUTE_PATH);
    }
    let Some(rest) = raw
        .get(..7)
        .filter(|scheme| scheme.eq_ignore_ascii_case(b"http://"))
        .and_then(|_| raw.get(7..))
    else {
        return Err(HeadError::TARGET);
    };
    let end = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || authority.contains(&b'@') || !authority_is_good(authority, edge) {
        return Err(HeadError::TARGET);
    }
    out.authority = out.fields.store(authority);
    out.target = match path.first() {
        Some(b'/') => out.fields.store(path),
        _ => {
            let mut with_slash = vec![b'/'];
            with_slash.extend_from_slice(path);
            out.fields.store(&with_slash)
        }
    };
    Ok(())
}

/// Methods that Envoy's HTTP/1 codec knows; any other is refused.
const KNOWN_METHODS: [&str; 34] = [
    "GET",
    "POST",
    "HEAD",
    "PUT",
    "DELETE",
    "OPTIONS",
    "PATCH",
    "CONNECT",
    "TRACE",
    "COPY",
    "LOCK",
    "MKCOL",
    "MOVE",
    "PROPFIND",
    "PROPPATCH",
    "SEARCH",
    "UNLOCK",
    "BIND",
    "REBIND",
    "UNBIND",
    "ACL",
    "REPORT",
    "MKACTIVITY",
    "CHECKOUT",
    "MERGE",
    "M-SEARCH",
    "NOTIFY",
    "SUBSCRIBE",
    "UNSUBSCRIBE",
    "PURGE",
    "MKCALENDAR",
    "LINK",
    "UNLINK",
    "SOURCE",
];

fn has_bare_line_feed(head: &[u8]) -> bool {
    let mut from = 0;
    while let Some(at) = head.get(from..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        let at = from + at;
        if at.checked_sub(1).and_then(|before| head.get(before)) != Some(&b'\r') {
            return true;
        }
        from = at + 1;
    }
    false
}

/// The upstream does not speak HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an HTTP response")]
pub struct NotHttp;

/// Reads a response head: the number of bytes it takes, `None` when not complete.
pub fn parse_response(
    input: &[u8],
    request_kind: Method,
    head_max: usize,
    out: &mut Response,
) -> Result<Option<usize>, NotHttp> {
    let mut slots = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let length = match config.parse_response_with_uninit_headers(&mut parsed, input, &mut slots) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() < head_max => return Ok(None),
        _ => return Err(NotHttp),
    };
    out.fields.clear();
    out.status = parsed.code.unwrap_or(0);
    if !(100..=999).contains(&out.status) {
        return Err(NotHttp);
    }
    let http_10 = parsed.version == Some(0);
    let mut reading = Reading::default();
    for header in parsed.headers.iter() {
        match classify(header.name.as_bytes()) {
            Id::Te | Id::Expect | Id::Host => {
                out.fields.push(header.name.as_bytes(), header.value);
            }
            _ => reading
                .field(&mut out.fields, header.name.as_bytes(), header.value)
                .map_err(|_| NotHttp)?,
        }
    }
    reading
        .remove_named_by_connection(&mut out.fields)
        .map_err(|_| NotHttp)?;
    out.upgrade = reading.upgrade;
    out.keep_alive = if http_10 {
        reading.keep_alive && !reading.close
    } else {
        !reading.close
    };
    out.declared_length = None;
    if reading.encodings > 0 && (reading.lengths > 0 || reading.encodings > 1 || !reading.chunked)
        || reading.lengths > 1
        || (reading.lengths == 1 && reading.bad_length)
    {
        return Err(NotHttp);
    }
    let bodyless = request_kind == Method::Head || matches!(out.status, 100..=199 | 204 | 304);
    out.framing = if bodyless || (request_kind == Method::Connect && out.status / 100 == 2) {
        out.declared_length = (reading.lengths == 1).then_some(reading.length);
        Framing::None
    } else if reading.encodings > 0 {
        Framing::Chunked
    } else if reading.lengths == 1 {
        Framing::Length(reading.length)
    } else {
        out.keep_alive = false;
        Framing::UntilClose
    };
    Ok(Some(length))
}

impl Request {
    /// Method as sent.
    #[must_use]
    pub fn method_bytes(&self) -> &[u8] {
        self.fields.bytes(self.method)
    }
    /// Path with query.
    #[must_use]
    pub fn target_bytes(&self) -> &[u8] {
        self.fields.bytes(self.target)
    }
    /// Authority.
    #[must_use]
    pub fn authority_bytes(&self) -> &[u8] {
        self.fields.bytes(self.authority)
    }
    /// Replaces the target.
    pub fn set_target(&mut self, target: &[u8]) {
        self.target = self.fields.store(target);
    }
    /// Replaces the authority.
    pub fn set_authority(&mut self, authority: &[u8]) {
        self.authority = self.fields.store(authority);
    }
    /// Whether this is gRPC.
    #[must_use]
    pub fn is_grpc(&self) -> bool {
        self.fields.get(Id::ContentType).is_some_and(|value| {
            value
                .strip_prefix(b"application/grpc")
                .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
        })
    }
}

impl mesh_model::request::RequestView for Request {
    fn method(&self) -> &[u8] {
        self.method_bytes()
    }
    fn scheme(&self) -> &[u8] {
        if self.https { b"https" } else { b"http" }
    }
    fn authority(&self) -> &[u8] {
        self.authority_bytes()
    }
    fn path(&self) -> &[u8] {
        mesh_model::request::split_query(self.target_bytes()).0
    }
    fn query(&self) -> Option<&[u8]> {
        mesh_model::request::split_query(self.target_bytes()).1
    }
    fn each_header(&self, name: &str, found: &mut dyn FnMut(&[u8]) -> bool) {
        for value in self.fields.values(name.as_bytes()) {
            if !found(value) {
                return;
            }
        }
    }
}
