//! What must not be recorded never gets into a record: query values, credentials, cookies, and what the
//! configuration adds.

use std::borrow::Cow;

/// Longest recorded header value, bytes.
const VALUE: usize = 256;
/// Longest recorded header name; longer ones are left out.
const NAME: usize = 64;
/// Most recorded headers.
const HEADERS: usize = 32;
/// Most bytes of all recorded headers.
const BYTES: usize = 4096;
/// Stands for a value that is not recorded.
pub const REDACTED: &str = "[redacted]";

/// Headers that never are recorded.
const SECRET: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "set-cookie",
    "x-api-key",
    "x-forwarded-client-cert",
    "x-envoy-peer-metadata",
];
/// Parts of names that give a credential away.
const SUSPICIOUS: &[&str] = &[
    "auth",
    "token",
    "secret",
    "passw",
    "cookie",
    "session",
    "credential",
    "signature",
    "api-key",
    "apikey",
    "api_key",
    "private",
    "jwt",
];

/// What the configuration says about headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Further secret headers, lower case.
    pub secret: Vec<String>,
}

impl Policy {
    /// Whether this header's value must not be recorded.
    #[must_use]
    pub fn is_secret(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        SECRET.contains(&name.as_str())
            || SUSPICIOUS.iter().any(|part| name.contains(part))
            || self
                .secret
                .iter()
                .any(|secret| secret.eq_ignore_ascii_case(&name))
    }

    /// The headers that may be recorded, bounded in number and bytes; secret ones without their value.
    #[must_use]
    pub fn headers<'h>(&self, all: impl Iterator<Item = (&'h [u8], &'h [u8])>) -> Vec<(String, String)> {
        let mut room = BYTES;
        let mut kept = Vec::new();
        for (name, value) in all {
            if kept.len() >= HEADERS {
                break;
            }
            if name.len() > NAME || name.starts_with(b":") {
                continue;
            }
            let name = printable(name, NAME);
            let value = if self.is_secret(&name) {
                REDACTED.to_owned()
            } else if may_be_url(value) {
                url(value, VALUE)
            } else {
                printable(value, VALUE)
            };
            let Some(rest) = room.checked_sub(name.len() + value.len()) else {
                break;
            };
            room = rest;
            kept.push((name, value));
        }
        kept
    }
}

/// Whether a header's value may carry a query or a user.
fn may_be_url(value: &[u8]) -> bool {
    value.starts_with(b"/") || value.contains(&b'?') || value.windows(3).any(|w| w == b"://")
}

/// Text of at most `longest` bytes; what cannot be printed becomes `?`.
#[must_use]
pub fn printable(bytes: &[u8], longest: usize) -> String {
    let mut text: String = String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| {
            if c.is_control() || c == char::REPLACEMENT_CHARACTER {
                '?'
            } else {
                c
            }
        })
        .collect();
    if text.len() > longest {
        let end = (0..=longest)
            .rev()
            .find(|at| text.is_char_boundary(*at))
            .unwrap_or(0);
        text.truncate(end);
    }
    text
}

/// A path (or URL, or any text that might be one) without the values of its query and path parameters, its fragment
/// and its user: `/a;v=1?x=1&y=2#z` becomes `/a;v=?x=&y=`.
#[must_use]
pub fn url(bytes: &[u8], longest: usize) -> String {
    let bytes = without_user(bytes);
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len().min(longest));
    // Whether a value that is left out is passing.
    let mut hidden = false;
    let mut in_query = false;
    let mut in_parameter = false;
    let mut value_seen = false;
    for byte in bytes.iter().copied() {
        match byte {
            b'#' => break,
            // A second one belongs to a value.
            b'?' if !in_query => (in_query, in_parameter, hidden, value_seen) = (true, false, false, false),
            b'&' if in_query => (hidden, value_seen) = (false, false),
            b';' if !in_query => (in_parameter, hidden, value_seen) = (true, false, false),
            b'/' if in_parameter => (in_parameter, hidden, value_seen) = (false, false, false),
            b'=' if (in_query || in_parameter) && !value_seen => {
                out.push(b'=');
                (hidden, value_seen) = (true, true);
                continue;
            }
            _ => {}
        }
        if !hidden {
            out.push(byte);
        }
    }
    bare_query(&mut out);
    printable(&out, longest)
}

/// A query without any `=` is a value by itself: `?secret` becomes `?`.
fn bare_query(out: &mut Vec<u8>) {
    let Some(start) = out.iter().position(|byte| *byte == b'?') else {
        return;
    };
    let named = |part: &[u8]| part.last() == Some(&b'=');
    let query = out.split_off(start + 1);
    let mut first = true;
    for part in query.split(|byte| *byte == b'&') {
        if !std::mem::take(&mut first) {
            out.push(b'&');
        }
        if named(part) {
            out.extend_from_slice(part);
        }
    }
}

/// `http://user:password@host/` becomes `http://host/`.
fn without_user(bytes: &[u8]) -> Cow<'_, [u8]> {
    let Some(scheme) = bytes.windows(3).position(|w| w == b"://") else {
        return Cow::Borrowed(bytes);
    };
    let (scheme, rest) = bytes.split_at(scheme + 3);
    let authority = rest
        .iter()
        .position(|b| matches!(b, b'/' | b'?' | b'#'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority);
    match authority.iter().rposition(|b| *b == b'@') {
        Some(at) => Cow::Owned([scheme, authority.get(at + 1..).unwrap_or_default(), path].concat()),
        None => Cow::Borrowed(bytes),
    }
}

/// An authority without its user.
#[must_use]
pub fn authority(bytes: &[u8], longest: usize) -> String {
    let host = bytes.rsplit(|b| *b == b'@').next().unwrap_or_default();
    printable(host, longest)
}

#[cfg(test)]
mod tests;
