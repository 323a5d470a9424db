//! A proxy's [`Batch`] as an OTLP metrics export, both ways.
//!
//! One exponential-histogram point of `istio_request_duration_milliseconds` per series and window (its count is
//! the number of requests), and sums for attempts and bytes with the same attributes. Everything is delta
//! temporality; a point's start is its window's start, its time is when the batch was cut. Who sends, and which
//! batch it is, travels in the call's metadata ([`metadata`]), never in the message.
//! Istio's labels are left out where they are `unknown`, ours where they are empty.

//!
//! Beside counts, single requests: spans as OTLP traces ([`encode_spans`]) and kept requests as OTLP logs
//! ([`encode_requests`]). (trace, span) names each of them, so sending one twice does no harm.

mod attributes;
mod decode;
mod encode;
mod logs;
mod trace;

use mesh_model::edge::Batch;
use mesh_model::record::{KeptRequest, Span};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

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
/// Lowest histogram bucket on the wire at the present scale (a nanosecond); smaller values are counted in it.
pub const MIN_BUCKET: i32 = -1280;
/// Highest histogram bucket on the wire at the present scale (about nine years); larger values are counted in it.
pub const MAX_BUCKET: i32 = 2432;

/// Most spans of one message.
pub const MAX_SPANS: usize = 20_000;
/// Most attributes of one span.
pub const MAX_ATTRIBUTES: usize = 64;
/// Most kept requests of one message.
pub const MAX_REQUESTS: usize = 10_000;
/// Most recorded headers of one kept request.
pub const MAX_HEADERS: usize = 64;

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

impl Invalid {
    /// The same refusal, seen from further out.
    fn within(self, outer: &str) -> Self {
        Self {
            path: format!("{outer}.{}", self.path),
            reason: self.reason,
        }
    }
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

/// Spans as a proxy sends them to the control plane: `sightline.sampled` carries the head decision.
#[must_use]
pub fn encode_spans(spans: &[Span]) -> ExportTraceServiceRequest {
    trace::request(spans.iter(), true)
}

/// Spans as the control plane forwards them to collectors: grouped by proxy, without `sightline.sampled`.
#[must_use]
pub fn encode_spans_for_collectors(spans: &[Span]) -> ExportTraceServiceRequest {
    let mut sorted: Vec<&Span> = spans.iter().collect();
    sorted.sort_by(|a, b| (&a.proxy, &a.workload).cmp(&(&b.proxy, &b.workload)));
    trace::request(sorted.into_iter(), false)
}

/// Reads spans that `proxy` sent, in order; the caller checks that the proxy is who it says.
pub fn decode_spans(request: &ExportTraceServiceRequest, proxy: &str) -> Result<Vec<Span>, Invalid> {
    trace::spans(request, proxy)
}

/// Kept requests, one log record each.
#[must_use]
pub fn encode_requests(requests: &[KeptRequest]) -> ExportLogsServiceRequest {
    logs::request(requests)
}

/// Reads kept requests that `proxy` sent, in order; the caller checks that the proxy is who it says.
pub fn decode_requests(request: &ExportLogsServiceRequest, proxy: &str) -> Result<Vec<KeptRequest>, Invalid> {
    logs::requests(request, proxy)
}
