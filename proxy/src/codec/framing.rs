//! What the fields of a head say about its framing: one reading, or a refusal.

use super::fields::{Fields, Id, Span};
use super::head::{Framing, HeadError, Version};

/// What the fields of one head say about its framing.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) hosts: u32,
    pub(super) host: Span,
    pub(super) lengths: u32,
    pub(super) length: u64,
    pub(super) bad_length: bool,
    pub(super) encodings: u32,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) upgrade_wanted: bool,
    pub(super) upgrade: Span,
    pub(super) te_trailers: bool,
    pub(super) expect_continue: bool,
    pub(super) bad_expectation: bool,
    /// Raw values of `connection` that name other fields.
    connection: smallvec::SmallVec<[Span; 2]>,
}

impl Reading {
    pub(super) fn field(&mut self, fields: &mut Fields, name: &[u8], value: &[u8]) -> Result<(), HeadError> {
        let Some((id, lower)) = known(name) else {
            // Too long to be one of those that frame a message.
            fields.push(name, value);
            return Ok(());
        };
        match id {
            Id::Host => {
                self.hosts += 1;
                self.host = if self.hosts == 1 {
                    fields.store(value)
                } else {
                    let mut joined = fields.bytes(self.host).to_vec();
                    joined.push(b',');
                    joined.extend_from_slice(value);
                    fields.store(&joined)
                };
            }
            Id::ContentLength => {
                self.lengths += 1;
                match parse_length(value) {
                    Some(length) => self.length = length,
                    None => self.bad_length = true,
                }
            }
            Id::TransferEncoding => {
                self.encodings += 1;
                self.chunked = value.eq_ignore_ascii_case(b"chunked");
            }
            Id::Connection => self.connection(fields, value),
            Id::KeepAlive | Id::ProxyConnection => {}
            Id::Te => {
                self.te_trailers |= tokens(value).any(|token| token.eq_ignore_ascii_case(b"trailers"));
            }
            Id::Upgrade => self.upgrade = fields.store(value),
            Id::Expect => {
                if value.eq_ignore_ascii_case(b"100-continue") {
                    self.expect_continue = true;
                } else {
                    self.bad_expectation = true;
                }
            }
            _ => fields.push_classified(id, lower.get(..name.len()).unwrap_or_default(), value),
        }
        Ok(())
    }

    fn connection(&mut self, fields: &mut Fields, value: &[u8]) {
        let mut names_others = false;
        for token in tokens(value) {
            if token.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if token.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if token.eq_ignore_ascii_case(b"upgrade") {
                self.upgrade_wanted = true;
            } else if !token.eq_ignore_ascii_case(b"te") {
                names_others = true;
            }
        }
        if names_others {
            let span = fields.store(value);
            self.connection.push(span);
        }
    }

    /// Fields that `connection` names go no further; naming one that frames or routes the message is an attack.
    pub(super) fn remove_named_by_connection(&self, fields: &mut Fields) -> Result<(), HeadError> {
        for span in &self.connection {
            let value = fields.bytes(*span).to_vec();
            for token in tokens(&value) {
                match classify(token) {
                    Id::Host
                    | Id::ContentLength
                    | Id::TransferEncoding
                    | Id::ForwardedFor
                    | Id::ForwardedProto
                    | Id::ForwardedHost
                    | Id::ForwardedClientCert => return Err(HeadError::CONNECTION),
                    _ => fields.remove_named(token),
                }
            }
        }
        Ok(())
    }

    pub(super) fn request_framing(&self, version: Version) -> Result<Framing, HeadError> {
        if self.encodings > 0 {
            if self.lengths > 0 {
                return Err(HeadError::LENGTH_AND_CHUNKED);
            }
            if self.encodings > 1 || !self.chunked || version == Version::Http10 {
                return Err(HeadError::ENCODING);
            }
            return Ok(Framing::Chunked);
        }
        match (self.lengths, self.bad_length) {
            (0, _) => Ok(Framing::None),
            (1, false) if self.length == 0 => Ok(Framing::None),
            (1, false) => Ok(Framing::Length(self.length)),
            _ => Err(HeadError::LENGTH),
        }
    }
}

/// Longest name that is looked at.
const NAME_MAX: usize = 32;

/// Which field a name means, and the name in lower case with zeros behind it; `None` = longer than any known one.
fn known(name: &[u8]) -> Option<(Id, [u8; NAME_MAX])> {
    let mut lower = [0_u8; NAME_MAX];
    lower.get_mut(..name.len())?.copy_from_slice(name);
    // All of it at once: cheaper than a loop over just the name.
    lower.make_ascii_lowercase();
    let id = Id::of(lower.get(..name.len())?);
    Some((id, lower))
}

pub(super) fn classify(name: &[u8]) -> Id {
    known(name).map_or(Id::Other, |(id, _)| id)
}

/// A decimal length: digits only, no sign, no list, within 63 bits.
fn parse_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() || value.len() > 32 || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value)
        .ok()?
        .parse()
        .ok()
        .filter(|length| *length < 1 << 63)
}

/// Elements of a comma-separated list, trimmed.
fn tokens(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|t| !t.is_empty())
}
