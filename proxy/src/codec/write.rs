//! Writing messages: the proxy's own framing, never the received one.

use super::fields::{Fields, Id};
use super::head::{Framing, Method, Request, Response, Version};

/// Fields that belong to one attempt, not to the request.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extras<'a> {
    /// `x-envoy-attempt-count`.
    pub attempt_count: Option<u32>,
    /// `x-envoy-peer-metadata` and `x-envoy-peer-metadata-id`, for peers in the mesh.
    pub metadata: Option<(&'a [u8], &'a [u8])>,
}

/// Appends a request head for an HTTP/1.1 upstream.
pub fn request_head(out: &mut Vec<u8>, request: &Request, extras: &Extras<'_>, upgrade: bool) {
    out.extend_from_slice(request.method_bytes());
    out.push(b' ');
    if request.kind == Method::Connect {
        out.extend_from_slice(request.authority_bytes());
    } else {
        out.extend_from_slice(request.target_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\nhost: ");
    out.extend_from_slice(request.authority_bytes());
    out.extend_from_slice(b"\r\n");
    request.fields.write_lines(out);
    if let Some(count) = extras.attempt_count {
        out.extend_from_slice(b"x-envoy-attempt-count: ");
        number(out, u64::from(count));
        out.extend_from_slice(b"\r\n");
    }
    if let Some((metadata, id)) = extras.metadata {
        out.extend_from_slice(b"x-envoy-peer-metadata: ");
        out.extend_from_slice(metadata);
        out.extend_from_slice(b"\r\nx-envoy-peer-metadata-id: ");
        out.extend_from_slice(id);
        out.extend_from_slice(b"\r\n");
    }
    if upgrade {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(request.fields.bytes(request.upgrade));
        out.extend_from_slice(b"\r\n");
    } else if request.te_trailers {
        out.extend_from_slice(b"te: trailers\r\n");
    }
    match request.framing {
        // A method that usually has a body says that there is none.
        Framing::None if matches!(request.method_bytes(), b"POST" | b"PUT" | b"PATCH") => {
            out.extend_from_slice(b"content-length: 0\r\n");
        }
        Framing::None => {}
        Framing::Length(length) => content_length(out, length),
        Framing::Chunked | Framing::UntilClose => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
    }
    out.extend_from_slice(b"\r\n");
}

/// How a response is framed towards an HTTP/1 client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseFraming {
    /// The framing written.
    pub framing: Framing,
    /// `connection: close` is said.
    pub close: bool,
    /// `connection: keep-alive` is said (HTTP/1.0 clients that asked).
    pub keep_alive: bool,
}

/// Chooses the framing of a response for this client.
#[must_use]
pub fn response_framing(response: &Response, version: Version, close: bool) -> ResponseFraming {
    let old = version == Version::Http10;
    let (framing, close) = match response.framing {
        Framing::Chunked | Framing::UntilClose if old => (Framing::UntilClose, true),
        Framing::UntilClose => (Framing::Chunked, close),
        other => (other, close),
    };
    ResponseFraming {
        framing,
        close,
        keep_alive: old && !close,
    }
}

/// Appends a response head.
pub fn response_head(out: &mut Vec<u8>, response: &Response, how: ResponseFraming) {
    out.extend_from_slice(b"HTTP/1.1 ");
    number(out, u64::from(response.status));
    out.push(b' ');
    out.extend_from_slice(reason(response.status).as_bytes());
    out.extend_from_slice(b"\r\n");
    response.fields.write_lines(out);
    if response.status == 101 {
        out.extend_from_slice(b"connection: upgrade\r\nupgrade: ");
        out.extend_from_slice(response.fields.bytes(response.upgrade));
        out.extend_from_slice(b"\r\n");
    } else {
        match (how.framing, response.declared_length) {
            (Framing::Length(length), _) | (Framing::None, Some(length)) if response.status != 204 => {
                content_length(out, length);
            }
            (Framing::Chunked, _) => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            _ => {}
        }
        if how.close {
            out.extend_from_slice(b"connection: close\r\n");
        } else if how.keep_alive {
            out.extend_from_slice(b"connection: keep-alive\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn content_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    number(out, length);
    out.extend_from_slice(b"\r\n");
}

/// Appends a decimal number.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0_u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        if let Some(digit) = digits.get_mut(at) {
            *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        }
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Appends one chunk.
pub fn chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    hex(out, data.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk with trailers.
pub fn last_chunk(out: &mut Vec<u8>, trailers: Option<&Fields>) {
    out.extend_from_slice(b"0\r\n");
    if let Some(trailers) = trailers {
        trailers.write_lines(out);
    }
    out.extend_from_slice(b"\r\n");
}

fn hex(out: &mut Vec<u8>, mut value: usize) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut digits = [0_u8; 16];
    let mut at = digits.len();
    loop {
        at -= 1;
        if let (Some(slot), Some(digit)) = (digits.get_mut(at), DIGITS.get(value & 15)) {
            *slot = *digit;
        }
        value >>= 4;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(at..).unwrap_or_default());
}

/// Reason phrase.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Unknown")
}

/// Whether a field is written by the codec itself and must not come from edits.
#[must_use]
pub fn is_framing(id: Id) -> bool {
    matches!(
        id,
        Id::ContentLength | Id::TransferEncoding | Id::Connection | Id::KeepAlive | Id::Upgrade | Id::Te
    )
}
