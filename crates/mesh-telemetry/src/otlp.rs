//! A proxy's [`Batch`] as an OTLP metrics export, both ways.
//!
//! One exponential-histogram point of `istio_request_duration_milliseconds` per series and window (its count is
//! the number of requests), and sums for attempts and bytes with the same attributes. Everything is delta
//! temporality; a point's start is its window's start, its time is when the batch was cut. Who sends, and which
//! batch it is, travels in the call's metadata ([`metadata`]), never in the message.
//! Istio's labels are left out where they are `unknown`, ours where they are empty.

mod decode;
mod encode;

use mesh_model::edge::Batch;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;

/// gRPC metadata of an export call.
pub mod metadata {
    /// Node id of the proxy.
    pub const PROXY: &str = "sightline-proxy";
    /// [`mesh_model::edge::Batch::epoch`], decimal.
    pub const EPOCH: &str = "sightline-epoch";
    /// [`mesh_model::edge::Batch::sequence`], decimal.
    pub const SEQUENCE: &str = "sightline-sequence";
    /// `true` on the last batch of a graceful shutdown: the epoch ends without a gap.
    pub const FINAL: &str = "sightline-final";
}

/// Largest accepted message, bytes (the transport's limit).
pub const MAX_MESSAGE_BYTES: usize = 16 << 20;
/// Most points of one message: 50,000 series in one window with their sums.
pub const MAX_POINTS: usize = 200_000;
/// Longest attribute value, bytes.
pub const MAX_VALUE_BYTES: usize = 2048;
/// Most windows of one batch: the proxy merges what it keeps per window and keeps an hour at most.
pub const MAX_WINDOWS: usize = 512;
/// Lowest histogram bucket on the wire (a nanosecond); smaller values are counted in it.
pub const MIN_BUCKET: i32 = -640;
/// Highest histogram bucket on the wire (about nine years); larger values are counted in it.
pub const MAX_BUCKET: i32 = 1216;

const SCOPE: &str = "sightline";
const NANOS: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// Why an export is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Invalid {
    /// Where in the message, for example `istio_request_duration_milliseconds[3].scale`.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The export of a batch. Proxy, epoch and sequence are not in it: send them as [`metadata`].
#[must_use]
pub fn encode(batch: &Batch) -> ExportMetricsServiceRequest {
    encode::request(batch)
}

/// Reads an export. Proxy, epoch and sequence come from the call's [`metadata`]; the caller checks that the
/// proxy is who it says. Windows come out in ascending order, series in the order of their first point, and
/// points of equal window and attributes are added up. Unknown metrics and attributes are ignored.
pub fn decode(
    request: &ExportMetricsServiceRequest,
    proxy: &str,
    epoch: u64,
    sequence: u64,
) -> Result<Batch, Invalid> {
    decode::batch(request, proxy, epoch, sequence)
}
