//! The one list of metric names, labels, log fields and OTLP shapes.
