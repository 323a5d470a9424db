//! Slots as spans and kept requests: only here texts are made, and redacted.

use std::time::{Instant, SystemTime};

use mesh_model::edge::SeriesKey;
use mesh_model::record::{KeptReason, KeptRequest, Span, SpanKind};
use mesh_model::workload::UNKNOWN;
use mesh_telemetry::spans;

use super::redact::{self, Policy, printable};
use super::ring::Slot;
use super::{nanos, unix_ns};
use crate::runtime::Node;

/// Longest recorded text of its kind, bytes.
const PATH: usize = 1024;
const AUTHORITY: usize = 255;
const USER_AGENT: usize = 255;
const SHORT: usize = 64;
const NAME: usize = 512;

/// The slot as a span.
pub(super) fn span(slot: &Slot, node: &Node, mesh_id: &str, wall: &impl Fn(Instant) -> SystemTime) -> Span {
    Span {
        trace_id: slot.trace.trace_id,
        span_id: slot.trace.span_id,
        parent: slot.trace.parent,
        kind: slot.ended.kind,
        name: name(slot),
        proxy: node.id.clone(),
        workload: node.workload.clone(),
        started_ns: unix_ns(wall(slot.ended.started)),
        duration_ns: nanos(slot.ended.duration),
        error: slot.error,
        sampled: slot.trace.sampled,
        attributes: tags(slot, node, mesh_id),
    }
}

/// The operation of the rule, or what the server calls it; else Envoy's name of a hop.
fn name(slot: &Slot) -> String {
    let ended = &slot.ended;
    let texts = slot.texts();
    if !texts.operation.is_empty() {
        return printable(texts.operation, NAME);
    }
    let route = ended
        .route
        .as_ref()
        .and_then(|entry| entry.route.operation.as_deref());
    match (route, ended.kind) {
        (Some(operation), _) => operation.to_owned(),
        (None, _) if texts.method.is_empty() => {
            let cluster = ended.cluster.as_ref().map_or(UNKNOWN, |c| &c.config.name);
            format!("tcp {cluster}")
        }
        (None, SpanKind::Server) => "ingress".to_owned(),
        (None, SpanKind::Client) => format!("egress {}", redact::authority(texts.authority, AUTHORITY)),
    }
}

fn tags(slot: &Slot, node: &Node, mesh_id: &str) -> Vec<(String, String)> {
    let ended = &slot.ended;
    let texts = slot.texts();
    let http = !texts.method.is_empty();
    let mut tags = Vec::with_capacity(32);
    let mut tag = |name: &str, value: String| {
        if !value.is_empty() {
            tags.push((name.to_owned(), value));
        }
    };
    tag(spans::COMPONENT, "proxy".into());
    tag(spans::NODE_ID, node.id.clone());
    if http {
        let path = redact::url(texts.path, ended.max_path_tag);
        let scheme = if ended.https { "https" } else { "http" };
        let authority = redact::authority(texts.authority, AUTHORITY);
        tag(spans::REQUEST_ID, printable(texts.request_id, SHORT));
        tag(spans::HTTP_URL, format!("{scheme}://{authority}{path}"));
        tag(spans::HTTP_METHOD, printable(texts.method, SHORT));
        tag(spans::HTTP_PROTOCOL, ended.protocol.into());
        tag(spans::HTTP_STATUS_CODE, ended.status.to_string());
        tag(spans::USER_AGENT, printable(texts.user_agent, USER_AGENT));
    }
    tag(spans::REQUEST_SIZE, ended.request_bytes.to_string());
    tag(spans::RESPONSE_SIZE, ended.response_bytes.to_string());
    tag(spans::RESPONSE_FLAGS, ended.flags.to_string());
    tag(spans::DOWNSTREAM_CLUSTER, "-".into());
    let upstream = ended.endpoint.as_ref().map(|e| e.endpoint.address);
    let peer = match (ended.kind, upstream) {
        (SpanKind::Client, Some(address)) => address.to_string(),
        _ => ended.remote.ip().to_string(),
    };
    tag(spans::PEER_ADDRESS, peer);
    if let Some(cluster) = &ended.cluster {
        tag(spans::UPSTREAM_CLUSTER, cluster.config.name.clone());
        tag(spans::UPSTREAM_CLUSTER_NAME, cluster.config.name.clone());
    }
    if let Some(address) = upstream {
        tag(spans::UPSTREAM_ADDRESS, address.to_string());
    }
    if let Some(status) = ended.grpc_status {
        tag(spans::GRPC_STATUS_CODE, status.to_string());
    }
    if slot.error {
        tag(spans::ERROR, "true".into());
    }
    tag(spans::ISTIO_MESH_ID, mesh_id.to_owned());
    tag(spans::ISTIO_NAMESPACE, node.workload.namespace.clone());
    tag(spans::ISTIO_CLUSTER_ID, node.workload.cluster.clone());
    tag(spans::ISTIO_CANONICAL_SERVICE, node.workload.app.clone());
    tag(spans::ISTIO_CANONICAL_REVISION, node.workload.version.clone());
    own_tags(slot, node, &mut tag);
    for (name, value) in ended.tags.iter().flatten() {
        tag(name, value.clone());
    }
    tags
}

fn own_tags(slot: &Slot, node: &Node, tag: &mut impl FnMut(&str, String)) {
    let ended = &slot.ended;
    if let Some(origin) = ended.route.as_ref().and_then(|entry| entry.route.origin.as_ref()) {
        tag(spans::SIGHTLINE_VIRTUAL_SERVICE, origin.virtual_service.clone());
        tag(spans::SIGHTLINE_ROUTE, origin.route.clone());
        tag(spans::SIGHTLINE_MATCH, origin.match_name.clone());
    }
    let told = ended.endpoint.as_ref().and_then(|e| e.endpoint.workload.as_ref());
    let peer = told.or(ended.peer.as_ref().map(|p| &p.workload));
    let peer = peer.map_or_else(|| UNKNOWN.to_owned(), |workload| workload.name.clone());
    let (source, destination) = match ended.kind {
        SpanKind::Server => (
            ended
                .peer
                .as_ref()
                .map_or_else(|| UNKNOWN.to_owned(), |p| p.workload.name.clone()),
            node.workload.name.clone(),
        ),
        SpanKind::Client => (node.workload.name.clone(), peer),
    };
    tag(spans::ISTIO_SOURCE_WORKLOAD, source);
    tag(spans::ISTIO_DESTINATION_WORKLOAD, destination);
    tag(spans::SIGHTLINE_ATTEMPTS, ended.attempts.to_string());
    tag(
        spans::SIGHTLINE_DETAILS,
        printable(ended.details.as_bytes(), NAME),
    );
}

/// The slot as a kept request.
pub(super) fn request<'h>(
    slot: &Slot,
    reason: KeptReason,
    node: &Node,
    wall: &impl Fn(Instant) -> SystemTime,
    key: SeriesKey,
    headers: impl Iterator<Item = (&'h [u8], &'h [u8])>,
    policy: &Policy,
) -> KeptRequest {
    let ended = &slot.ended;
    let texts = slot.texts();
    KeptRequest {
        trace_id: slot.trace.trace_id,
        span_id: slot.trace.span_id,
        proxy: node.id.clone(),
        started_ns: unix_ns(wall(ended.started)),
        duration_ns: nanos(ended.duration),
        key,
        reason,
        method: printable(texts.method, SHORT),
        authority: redact::authority(texts.authority, AUTHORITY),
        path: redact::url(texts.path, PATH),
        http_version: ended.protocol.to_owned(),
        user_agent: printable(texts.user_agent, USER_AGENT),
        request_id: printable(texts.request_id, SHORT),
        details: printable(ended.details.as_bytes(), NAME),
        upstream_host: ended
            .endpoint
            .as_ref()
            .map(|e| e.endpoint.address.to_string())
            .unwrap_or_default(),
        upstream_cluster: ended
            .cluster
            .as_ref()
            .map(|c| c.config.name.clone())
            .unwrap_or_default(),
        downstream_remote: ended.remote.to_string(),
        attempts: ended.attempts,
        request_bytes: ended.request_bytes,
        response_bytes: ended.response_bytes,
        headers: policy.headers(headers),
    }
}
