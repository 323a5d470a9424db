//! The one list of metric names, label names, access-log keys, span attributes and OTLP shapes.
//!
//! Whoever writes a name into an exposition, a log line, a span or an OTLP message takes it from here, so that
//! dashboards, control plane and proxy cannot drift apart.

pub mod access_log;
pub mod explain;
pub mod labels;
pub mod metrics;
pub mod otlp;
pub mod requests;
pub mod series;
pub mod spans;
