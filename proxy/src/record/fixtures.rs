//! Requests for the tests of this room.

use std::time::{Duration, Instant};

use mesh_model::flags::ResponseFlags;
use mesh_model::listener::Tracing;
use mesh_model::record::{SpanId, SpanKind, TraceId};

use super::Ended;
use crate::trace::TraceContext;

pub(crate) fn tracing() -> Tracing {
    Tracing {
        custom_tags: Vec::new(),
        sampling_percent: 0.0,
        collector_cluster: None,
        max_path_tag: 256,
    }
}

pub(crate) fn context(trace: u8) -> TraceContext {
    TraceContext {
        trace_id: TraceId([trace; 16]),
        span_id: SpanId([trace; 8]),
        parent: None,
        sampled: false,
    }
}

/// A good request of a millisecond.
pub(crate) fn ended(at: Instant) -> Ended {
    Ended {
        kind: SpanKind::Client,
        started: at.checked_sub(Duration::from_millis(1)).unwrap_or(at),
        at,
        duration: Duration::from_millis(1),
        route: None,
        cluster: None,
        endpoint: None,
        peer: None,
        remote: ([127, 0, 0, 1], 4000).into(),
        status: 200,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        details: "via_upstream".into(),
        protocol: "HTTP/1.1",
        https: false,
        attempts: 1,
        request_bytes: 0,
        response_bytes: 2,
        max_path_tag: 256,
        tags: None,
    }
}
