//! The header forms of a trace context: W3C `traceparent`, B3 in several headers, B3 in one.

use mesh_model::record::{SpanId, TraceId};

use super::TraceContext;
use crate::codec::fields::{Fields, Id};

/// The span that called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parent {
    /// Its trace.
    pub(super) trace_id: TraceId,
    /// Its id.
    pub(super) span_id: SpanId,
}

/// Which form of B3 came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum B3 {
    /// None.
    None,
    /// One header.
    Single,
    /// Several headers.
    Multi {
        /// 64-bit trace id.
        short: bool,
        /// `x-b3-flags: 1`, which says sampled by itself.
        debug: bool,
    },
}

/// What a request says about its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    /// Who called.
    pub(super) parent: Option<Parent>,
    /// The caller's decision.
    pub(super) sampled: Option<bool>,
    /// Form of B3.
    pub(super) b3: B3,
    /// There is a `traceparent` that cannot be read.
    pub(super) broken_w3c: bool,
    /// `x-client-trace-id` is there.
    pub(super) client_trace_id: bool,
}

/// Reads all forms.
pub(super) fn read(fields: &Fields) -> Told {
    let [w3c, trace, span, sampled, flags, single, client] = fields.find([
        Id::TraceParent,
        Id::B3TraceId,
        Id::B3SpanId,
        Id::B3Sampled,
        Id::B3Flags,
        Id::B3,
        Id::ClientTraceId,
    ]);
    let debug = flags == Some(b"1");
    let b3 = if single.is_some() {
        B3::Single
    } else if trace.is_some() || span.is_some() || sampled.is_some() || flags.is_some() {
        B3::Multi {
            short: trace.is_some_and(|id| id.len() == 16),
            debug,
        }
    } else {
        B3::None
    };
    let read_w3c = w3c.and_then(w3c_parent);
    let (parent, decision) = match (read_w3c, single) {
        (Some((parent, sampled)), _) => (Some(parent), Some(sampled)),
        (None, Some(single)) => b3_single(single),
        (None, None) => {
            let decision = if debug {
                Some(true)
            } else {
                sampled.and_then(b3_decision)
            };
            (b3_parent(trace, span), decision)
        }
    };
    Told {
        parent,
        sampled: decision,
        b3,
        broken_w3c: w3c.is_some() && read_w3c.is_none(),
        client_trace_id: client.is_some(),
    }
}

/// `00-<32 hex>-<16 hex>-<2 hex>`, lower case; later versions may have more behind it.
fn w3c_parent(value: &[u8]) -> Option<(Parent, bool)> {
    let version: [u8; 1] = bytes(value.get(..2)?, Case::Lower)?;
    let ends = match value.get(55) {
        None => true,
        Some(next) => version != [0] && *next == b'-',
    };
    let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    if version == [0xff] || !ends || !dashes {
        return None;
    }
    let trace: [u8; 16] = bytes(value.get(3..35)?, Case::Lower)?;
    let span: [u8; 8] = bytes(value.get(36..52)?, Case::Lower)?;
    let [flags]: [u8; 1] = bytes(value.get(53..55)?, Case::Lower)?;
    Some((parent(trace, span)?, flags & 1 != 0))
}

fn b3_parent(trace: Option<&[u8]>, span: Option<&[u8]>) -> Option<Parent> {
    parent(b3_trace(trace?)?, bytes(span?, Case::Any)?)
}

fn b3_trace(digits: &[u8]) -> Option<[u8; 16]> {
    if digits.len() == 16 {
        let low: [u8; 8] = bytes(digits, Case::Any)?;
        return Some(u128::from(u64::from_be_bytes(low)).to_be_bytes());
    }
    bytes(digits, Case::Any)
}

/// `<trace>-<span>[-<decision>[-<parent>]]`, or the decision alone.
fn b3_single(value: &[u8]) -> (Option<Parent>, Option<bool>) {
    let mut parts = value.split(|byte| *byte == b'-');
    let first = parts.next().unwrap_or_default();
    let Some(span) = parts.next() else {
        return (None, b3_decision(first));
    };
    let parent = b3_parent(Some(first), Some(span));
    let decision = parts.next().and_then(b3_decision);
    // What cannot be read as a whole is not believed in part.
    (parent, decision.filter(|_| parent.is_some()))
}

fn b3_decision(value: &[u8]) -> Option<bool> {
    match value {
        b"1" | b"d" | b"true" => Some(true),
        b"0" | b"false" => Some(false),
        _ => None,
    }
}

fn parent(trace: [u8; 16], span: [u8; 8]) -> Option<Parent> {
    (trace != [0; 16] && span != [0; 8]).then_some(Parent {
        trace_id: TraceId(trace),
        span_id: SpanId(span),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Case {
    Lower,
    Any,
}

/// Exactly 2 × N hexadecimal digits.
fn bytes<const N: usize>(digits: &[u8], case: Case) -> Option<[u8; N]> {
    if digits.len() != N * 2 {
        return None;
    }
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' if case == Case::Any => Some(byte - b'A' + 10),
        _ => None,
    };
    let mut out = [0; N];
    for (byte, pair) in out.iter_mut().zip(digits.as_chunks::<2>().0) {
        let [high, low] = *pair;
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

/// Lower-case digits; `D` is twice the number of bytes.
pub(super) fn hex<const D: usize>(bytes: &[u8]) -> [u8; D] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or(b'0');
    let mut out = [b'0'; D];
    for (pair, byte) in out.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    out
}

/// Our `traceparent`.
pub(super) fn traceparent(context: &TraceContext) -> [u8; 55] {
    let mut out = *b"00-00000000000000000000000000000000-0000000000000000-00";
    let trace: [u8; 32] = hex(&context.trace_id.0);
    let span: [u8; 16] = hex(&context.span_id.0);
    for (place, digits) in [(3..35, &trace[..]), (36..52, &span[..])] {
        if let Some(place) = out.get_mut(place) {
            place.copy_from_slice(digits);
        }
    }
    if context.sampled
        && let Some(flag) = out.last_mut()
    {
        *flag = b'1';
    }
    out
}

/// Our `b3`.
pub(super) fn single(context: &TraceContext) -> Vec<u8> {
    let trace: [u8; 32] = hex(&context.trace_id.0);
    let span: [u8; 16] = hex(&context.span_id.0);
    let mut out = Vec::with_capacity(68);
    out.extend_from_slice(&trace);
    out.push(b'-');
    out.extend_from_slice(&span);
    out.extend_from_slice(if context.sampled { b"-1" } else { b"-0" });
    if let Some(parent) = context.parent {
        let parent: [u8; 16] = hex(&parent.0);
        out.push(b'-');
        out.extend_from_slice(&parent);
    }
    out
}
