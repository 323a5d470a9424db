//! Spans as OTLP traces, both ways.

use mesh_model::record::{Span, SpanId, SpanKind, TraceId};
use mesh_model::workload::Workload;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span as Wire, Status, span};

use super::attributes::{attribute, invalid, resource, text, valued, workload};
use super::{Invalid, MAX_ATTRIBUTES, MAX_SPANS, MAX_VALUE_BYTES, SCOPE};
use crate::spans;

/// W3C trace flag of sampled traces; OTLP carries it in a span's `flags`.
const SAMPLED: u32 = 1;

pub(super) fn request<'a>(
    spans: impl Iterator<Item = &'a Span>,
    with_decision: bool,
) -> ExportTraceServiceRequest {
    let mut groups: Vec<(&Span, Vec<Wire>)> = Vec::new();
    for span in spans {
        let wire = encode(span, with_decision);
        match groups.last_mut() {
            Some((first, list)) if first.proxy == span.proxy && first.workload == span.workload => {
                list.push(wire)
            }
            _ => groups.push((span, vec![wire])),
        }
    }
    ExportTraceServiceRequest {
        resource_spans: groups
            .into_iter()
            .map(|(first, spans)| ResourceSpans {
                resource: Some(resource(&first.workload, &first.proxy)),
                scope_spans: vec![ScopeSpans {
                    scope: Some(InstrumentationScope {
                        name: SCOPE.into(),
                        ..InstrumentationScope::default()
                    }),
                    spans,
                    ..ScopeSpans::default()
                }],
                ..ResourceSpans::default()
            })
            .collect(),
    }
}

fn encode(span: &Span, with_decision: bool) -> Wire {
    let mut attributes = Vec::with_capacity(span.attributes.len() + 1);
    attributes.extend(span.attributes.iter().map(|(name, value)| attribute(name, value)));
    if with_decision {
        attributes.push(valued(spans::SIGHTLINE_SAMPLED, Value::BoolValue(span.sampled)));
    }
    let kind = match span.kind {
        SpanKind::Server => span::SpanKind::Server,
        SpanKind::Client => span::SpanKind::Client,
    };
    Wire {
        trace_id: span.trace_id.0.to_vec(),
        span_id: span.span_id.0.to_vec(),
        parent_span_id: span.parent.map(|id| id.0.to_vec()).unwrap_or_default(),
        flags: if span.sampled { SAMPLED } else { 0 },
        name: span.name.clone(),
        kind: kind as i32,
        start_time_unix_nano: span.started_ns,
        end_time_unix_nano: span.started_ns.saturating_add(span.duration_ns),
        attributes,
        status: span.error.then(|| Status {
            code: StatusCode::Error as i32,
            ..Status::default()
        }),
        ..Wire::default()
    }
}

pub(super) fn spans(request: &ExportTraceServiceRequest, proxy: &str) -> Result<Vec<Span>, Invalid> {
    if proxy.is_empty() || proxy.len() > MAX_VALUE_BYTES {
        return Err(invalid("metadata", "the proxy's id is empty or too long"));
    }
    let mut found = Vec::new();
    for (r, group) in request.resource_spans.iter().enumerate() {
        let at = |error: Invalid| error.within(&format!("resource_spans[{r}]"));
        let workload = workload(group.resource.as_ref()).map_err(at)?;
        for (s, wire) in group.scope_spans.iter().flat_map(|s| &s.spans).enumerate() {
            if found.len() >= MAX_SPANS {
                return Err(invalid("spans", format!("more than {MAX_SPANS}")));
            }
            let span = decode(wire, proxy, &workload).map_err(|e| at(e.within(&format!("spans[{s}]"))))?;
            found.push(span);
        }
    }
    Ok(found)
}

fn decode(wire: &Wire, proxy: &str, workload: &Workload) -> Result<Span, Invalid> {
    let kind = match span::SpanKind::try_from(wire.kind) {
        Ok(span::SpanKind::Server) => SpanKind::Server,
        Ok(span::SpanKind::Client) => SpanKind::Client,
        _ => return Err(invalid("kind", "must be server or client")),
    };
    let duration = wire
        .end_time_unix_nano
        .checked_sub(wire.start_time_unix_nano)
        .filter(|_| wire.start_time_unix_nano > 0)
        .ok_or_else(|| {
            invalid(
                "end_time_unix_nano",
                "must not be before the start, which must be set",
            )
        })?;
    if wire.name.len() > MAX_VALUE_BYTES {
        return Err(invalid("name", format!("is longer than {MAX_VALUE_BYTES} bytes")));
    }
    if wire.attributes.len() > MAX_ATTRIBUTES + 1 {
        return Err(invalid("attributes", format!("more than {MAX_ATTRIBUTES}")));
    }
    let mut sampled = wire.flags & SAMPLED != 0;
    let mut attributes = Vec::with_capacity(wire.attributes.len());
    for attribute in &wire.attributes {
        if attribute.key == spans::SIGHTLINE_SAMPLED {
            let Some(Value::BoolValue(told)) = attribute.value.as_ref().and_then(|v| v.value.as_ref()) else {
                return Err(invalid(&attribute.key, "must be a boolean"));
            };
            sampled = *told;
        } else {
            attributes.push((attribute.key.clone(), text(attribute)?.to_owned()));
        }
    }
    Ok(Span {
        trace_id: trace_id(&wire.trace_id)?,
        span_id: span_id("span_id", &wire.span_id)?,
        parent: match wire.parent_span_id.as_slice() {
            [] => None,
            bytes => Some(span_id("parent_span_id", bytes)?),
        },
        kind,
        name: wire.name.clone(),
        proxy: proxy.to_owned(),
        workload: workload.clone(),
        started_ns: wire.start_time_unix_nano,
        duration_ns: duration,
        error: wire
            .status
            .as_ref()
            .is_some_and(|s| s.code == StatusCode::Error as i32),
        sampled,
        attributes,
    })
}

/// 16 bytes, not all zero.
pub(super) fn trace_id(bytes: &[u8]) -> Result<TraceId, Invalid> {
    <[u8; 16]>::try_from(bytes)
        .ok()
        .filter(|id| *id != [0; 16])
        .map(TraceId)
        .ok_or_else(|| invalid("trace_id", "must be 16 bytes, not all zero"))
}

/// 8 bytes, not all zero.
pub(super) fn span_id(path: &str, bytes: &[u8]) -> Result<SpanId, Invalid> {
    <[u8; 8]>::try_from(bytes)
        .ok()
        .filter(|id| *id != [0; 8])
        .map(SpanId)
        .ok_or_else(|| invalid(path, "must be 8 bytes, not all zero"))
}
