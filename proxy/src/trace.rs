//! Trace context of a request: read in every form that Istio's applications pass on, told to the next hop as ours.
//!
//! W3C is believed before B3, because an application that makes spans of its own says so there. The next hop is told
//! in both, so that an application that copies either of them keeps the trace together.

use mesh_model::listener::{CustomTag, TagSource, Tracing};
use mesh_model::record::{SpanId, TraceId};

use crate::codec::fields::{Fields, Id};
use crate::record::redact;

mod headers;

use headers::{B3, Parent};

/// Where a request stands in its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TraceContext {
    /// Trace.
    pub(crate) trace_id: TraceId,
    /// This proxy's span.
    pub(crate) span_id: SpanId,
    /// The span that called.
    pub(crate) parent: Option<SpanId>,
    /// Head decision.
    pub(crate) sampled: bool,
}

impl TraceContext {
    /// The first span of a trace that nobody asked for.
    pub(crate) fn root(mut random: impl FnMut() -> u64) -> Self {
        Self {
            trace_id: new_trace(&mut random),
            span_id: new_span(&mut random),
            parent: None,
            sampled: false,
        }
    }
}

/// Joins or begins the trace of a request and tells the next hop.
///
/// The caller's decision is honoured; else `forced` (`x-envoy-force-trace` from inside), `x-client-trace-id`, a
/// decision that the request id carries, and last the sampling share decide, and the request id is marked with it.
pub(crate) fn begin(
    fields: &mut Fields,
    tracing: &Tracing,
    forced: bool,
    mut random: impl FnMut() -> u64,
) -> TraceContext {
    let told = headers::read(fields);
    let sampled = match told.sampled {
        Some(sampled) => sampled,
        None => decide(fields, tracing, forced, told.client_trace_id, &mut random),
    };
    let context = TraceContext {
        trace_id: told.parent.map_or_else(|| new_trace(&mut random), |p| p.trace_id),
        span_id: new_span(&mut random),
        parent: told.parent.map(|p: Parent| p.span_id),
        sampled,
    };
    if told.broken_w3c {
        // It belongs to a parent that cannot be read.
        fields.remove(Id::TraceState);
    }
    fields.overwrite(Id::TraceParent, &headers::traceparent(&context));
    match told.b3 {
        B3::Single => fields.set(Id::B3, &headers::single(&context)),
        B3::None | B3::Multi { .. } => multi(fields, &context, told.b3),
    }
    context
}

fn multi(fields: &mut Fields, context: &TraceContext, told: B3) {
    let (short, debug) = match told {
        B3::Multi { short, debug } => (short, debug),
        B3::None | B3::Single => (false, false),
    };
    let trace = headers::hex(&context.trace_id.0);
    let trace: &[u8; 32] = &trace;
    // A caller with 64-bit ids knows its trace by these only.
    let low = trace
        .get(16..)
        .filter(|_| short && context.trace_id.0.starts_with(&[0; 8]));
    fields.overwrite(Id::B3TraceId, low.unwrap_or(trace));
    let span: [u8; 16] = headers::hex(&context.span_id.0);
    fields.overwrite(Id::B3SpanId, &span);
    match context.parent {
        Some(parent) => {
            let parent: [u8; 16] = headers::hex(&parent.0);
            fields.overwrite(Id::B3ParentSpanId, &parent);
        }
        None => fields.remove(Id::B3ParentSpanId),
    }
    if !debug {
        fields.overwrite(Id::B3Sampled, if context.sampled { b"1" } else { b"0" });
    }
}

/// Longest value of a user's own tag, bytes.
const TAG: usize = 256;

/// The user's own tags of a request. Headers that may hold credentials are never told.
pub(crate) fn custom_tags(tags: &[CustomTag], fields: &Fields) -> Box<[(String, String)]> {
    let policy = redact::Policy::default();
    let told = tags.iter().filter_map(|tag| {
        let value = match &tag.value {
            TagSource::Literal(text) => text.clone(),
            TagSource::Environment { name, default } => {
                std::env::var(name).unwrap_or_else(|_| default.clone())
            }
            TagSource::Header { name, .. } if policy.is_secret(name) => redact::REDACTED.to_owned(),
            TagSource::Header { name, default } => match fields.get_named(name.as_bytes()) {
                Some(value) => redact::printable(value, TAG),
                None => default.clone(),
            },
        };
        (!value.is_empty()).then(|| (tag.name.clone(), value))
    });
    told.collect()
}

/// Where a request id (a UUID) says why its request is traced, as Envoy writes it.
const REASON: usize = 14;
/// Shares are hundredths of a percent there.
const SHARES: u64 = 10_000;

/// The head decision of a request whose caller has made none.
fn decide(
    fields: &mut Fields,
    tracing: &Tracing,
    forced: bool,
    client_trace_id: bool,
    random: &mut impl FnMut() -> u64,
) -> bool {
    let id = fields.get(Id::RequestId).and_then(uuid);
    if id.is_some_and(|id| matches!(id.get(REASON), Some(b'9' | b'a' | b'b'))) {
        return true;
    }
    let reason = if client_trace_id {
        Some(b'b')
    } else if forced {
        Some(b'a')
    } else {
        let draw = id.and_then(|id| share(&id)).unwrap_or_else(|| random() % SHARES);
        #[expect(clippy::cast_precision_loss, reason = "below 10,000")]
        let drawn = (draw as f64) < tracing.sampling_percent * 100.0;
        drawn.then_some(b'9')
    };
    let Some(reason) = reason else { return false };
    if let Some(mut id) = id {
        if let Some(place) = id.get_mut(REASON) {
            *place = reason;
        }
        fields.overwrite(Id::RequestId, &id);
    }
    true
}

/// A request id in the form of a UUID.
fn uuid(value: &[u8]) -> Option<[u8; 36]> {
    let id: [u8; 36] = value.try_into().ok()?;
    let well_formed = id.iter().enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => *byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    well_formed.then_some(id)
}

/// The same request id draws the same lot at every hop.
fn share(id: &[u8; 36]) -> Option<u64> {
    let digits = std::str::from_utf8(id.get(..8)?).ok()?;
    Some(u64::from_str_radix(digits, 16).ok()? % SHARES)
}

fn new_trace(random: &mut impl FnMut() -> u64) -> TraceId {
    let number = u128::from(random()) << 64 | u128::from(random() | 1);
    TraceId(number.to_be_bytes())
}

fn new_span(random: &mut impl FnMut() -> u64) -> SpanId {
    SpanId((random() | 1).to_be_bytes())
}

#[cfg(test)]
mod tests;
