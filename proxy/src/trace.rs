//! Trace context: passed on as it came, begun where there is none and tracing is configured.

use mesh_model::listener::Tracing;

use crate::codec::fields::{Fields, Id};
use crate::worker::Worker;

/// Begins a trace (W3C and B3 alike) when the request has none.
pub(crate) fn begin(fields: &mut Fields, tracing: &Tracing, worker: &Worker) {
    if fields.has(Id::TraceParent) || fields.has(Id::B3TraceId) || fields.has(Id::B3) {
        return;
    }
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 53 bits")]
    let draw = (worker.random() >> 11) as f64 / (1_u64 << 53) as f64 * 100.0;
    let sampled = u8::from(draw < tracing.sampling_percent);
    let (high, low, span) = (worker.random(), worker.random(), worker.random() | 1);
    let parent = format!("00-{high:016x}{low:016x}-{span:016x}-{sampled:02x}");
    fields.push_id(Id::TraceParent, parent.as_bytes());
    fields.push_id(Id::B3TraceId, format!("{high:016x}{low:016x}").as_bytes());
    fields.push(b"x-b3-spanid", format!("{span:016x}").as_bytes());
    fields.push(b"x-b3-sampled", if sampled == 1 { b"1" } else { b"0" });
}
