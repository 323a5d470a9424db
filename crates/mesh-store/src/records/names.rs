//! What names the requests of a segment: trace id, span id, `x-request-id`.

use mesh_model::record::KeptRequest;

use super::codec;
use super::matcher::Needle;
use super::texts::mark;
use crate::block::{Input, damaged, put};
use crate::history::Error;

const VERSION: u8 = 1;
/// Bytes of trace id and span id.
pub(crate) const NAME: usize = 24;

/// Ids of requests, for [`Names::read`].
pub(crate) fn names(requests: &[KeptRequest]) -> Vec<u8> {
    let mut out = vec![VERSION];
    put(&mut out, requests.len() as u64);
    for request in requests {
        out.extend_from_slice(&request.trace_id.0);
        out.extend_from_slice(&request.span_id.0);
    }
    for request in requests {
        match uuid(&request.request_id) {
            Some(bytes) => {
                out.push(1);
                out.extend_from_slice(&bytes);
            }
            None => {
                out.push(0);
                codec::put_text(&mut out, &request.request_id);
            }
        }
    }
    out
}

/// The 16 bytes of a UUID as proxies write it.
fn uuid(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    let digits = text.as_bytes();
    if digits.len() != 36 {
        return None;
    }
    let mut nibbles = 0_usize;
    for (place, digit) in digits.iter().enumerate() {
        if matches!(place, 8 | 13 | 18 | 23) {
            if *digit != b'-' {
                return None;
            }
            continue;
        }
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        let byte = bytes.get_mut(nibbles / 2)?;
        *byte = *byte << 4 | value;
        nibbles += 1;
    }
    Some(bytes)
}

/// Ids of the requests of a segment.
#[derive(Debug)]
pub(crate) struct Names<'b> {
    pairs: &'b [u8],
    ids: Vec<RequestId<'b>>,
}

/// `x-request-id` as it is stored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum RequestId<'b> {
    Uuid(&'b [u8]),
    Text(&'b str),
}

impl RequestId<'_> {
    /// Writes it out.
    pub(crate) fn write(self, out: &mut String) {
        match self {
            Self::Text(text) => out.push_str(text),
            Self::Uuid(bytes) => {
                for (place, byte) in bytes.iter().enumerate() {
                    if matches!(place, 4 | 6 | 8 | 10) {
                        out.push('-');
                    }
                    write_hex(out, *byte);
                }
            }
        }
    }
}

const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    table
};

/// Two hexadecimal digits.
pub(crate) fn write_hex(out: &mut String, byte: u8) {
    let [high, low] = HEX[usize::from(byte)];
    out.push(char::from(high));
    out.push(char::from(low));
}

impl<'b> Names<'b> {
    /// Reads [`names`].
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Self, Error> {
        let (rows, mut input) = Self::head(bytes)?;
        let pairs = input.bytes(rows.saturating_mul(NAME))?;
        let mut ids = Vec::with_capacity(rows);
        for _ in 0..rows {
            ids.push(if input.byte()? == 1 {
                RequestId::Uuid(input.bytes(16)?)
            } else {
                let length = input.length()?;
                let text = std::str::from_utf8(input.bytes(length)?);
                RequestId::Text(text.map_err(|_| damaged("request id"))?)
            });
        }
        Ok(Self { pairs, ids })
    }

    fn head(bytes: &'b [u8]) -> Result<(usize, Input<'b>), Error> {
        let mut input = Input(bytes);
        if input.byte()? != VERSION {
            return Err(damaged("unknown version of names"));
        }
        let rows = input.length()?;
        Ok((rows, input))
    }

    /// Trace id and span id of each request of [`names`].
    pub(crate) fn pairs(bytes: &'b [u8]) -> Result<impl Iterator<Item = &'b [u8]>, Error> {
        let (rows, mut input) = Self::head(bytes)?;
        Ok(input.bytes(rows.saturating_mul(NAME))?.chunks_exact(NAME))
    }

    /// Trace id and span id of a row.
    pub(crate) fn pair(&self, row: usize) -> &'b [u8] {
        let from = row.saturating_mul(NAME);
        self.pairs
            .get(from..from.saturating_add(NAME))
            .unwrap_or_default()
    }

    /// Trace id of a row.
    pub(crate) fn trace(&self, row: usize) -> &'b [u8] {
        self.pair(row).get(..16).unwrap_or_default()
    }

    /// Request id of a row.
    pub(crate) fn request_id(&self, row: usize) -> RequestId<'b> {
        self.ids.get(row).copied().unwrap_or(RequestId::Text(""))
    }

    /// Marks the rows in whose ids a needle is found.
    pub(crate) fn mark(&self, needle: &Needle, marks: &mut [bool]) {
        let mut all = String::new();
        let mut ends = Vec::with_capacity(self.ids.len());
        let end = |all: &str| u32::try_from(all.len()).unwrap_or(u32::MAX);
        if needle.may_be_hex(false) {
            for pair in self.pairs.chunks_exact(NAME) {
                let trace = pair.get(..16).unwrap_or_default();
                trace.iter().for_each(|byte| write_hex(&mut all, *byte));
                ends.push(end(&all));
            }
            mark(needle.finder(), all.as_bytes(), &ends, marks);
            (all, ends) = (String::new(), Vec::with_capacity(self.ids.len()));
        }
        let hex = needle.may_be_hex(true);
        for id in &self.ids {
            match id {
                RequestId::Uuid(_) if !hex => {}
                RequestId::Uuid(_) => id.write(&mut all),
                RequestId::Text(text) => all.extend(text.chars().flat_map(char::to_lowercase)),
            }
            ends.push(end(&all));
        }
        mark(needle.finder(), all.as_bytes(), &ends, marks);
    }
}
