//! What requests and responses look like when they leave: edits, rewrites, redirects, faults, local answers.

use std::sync::Arc;

use mesh_model::flags::ResponseFlags;
use mesh_model::listener::Direction;
use mesh_model::route::{
    Abort, CorsPolicy, DirectResponse, FormatFacts, Forward, HeaderEdits, PerMillion, Redirect,
    RequestTarget, Route, WeightedDestination, write_value,
};

use crate::call::Call;
use crate::codec::fields::{Fields, Id};
use crate::codec::head::{Method, Request, Response};
use crate::codec::write::{is_framing, number};
use crate::compile::RouteEntry;
use crate::http::{Client, Downstream};
use crate::refusal::Refusal;
use crate::route::Found;

/// Facts of a request and its connection for format strings.
struct Facts<'a> {
    request: &'a Request,
    response: Option<&'a Response>,
    downstream: &'a Downstream,
}

impl FormatFacts for Facts<'_> {
    fn fact(&self, name: &str, argument: &str, out: &mut Vec<u8>) -> bool {
        let mut put = |value: Option<&[u8]>| {
            out.extend_from_slice(value.unwrap_or_default());
            value.is_some()
        };
        match name {
            "REQ" => put(match argument.to_ascii_lowercase().as_str() {
                ":authority" | "host" => Some(self.request.authority_bytes()),
                ":path" => Some(self.request.target_bytes()),
                ":method" => Some(self.request.method_bytes()),
                name => self.request.fields.get_named(name.as_bytes()),
            }),
            "RESP" => put(self
                .response
                .and_then(|r| r.fields.get_named(argument.to_ascii_lowercase().as_bytes()))),
            "PROTOCOL" => put(Some(self.request.version.as_str().as_bytes())),
            "RESPONSE_CODE" => put(self
                .response
                .map(|r| r.status.to_string())
                .as_deref()
                .map(str::as_bytes)),
            "DOWNSTREAM_REMOTE_ADDRESS" => put(Some(self.downstream.remote.to_string().as_bytes())),
            "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT" => {
                put(Some(self.downstream.remote.ip().to_string().as_bytes()))
            }
            "DOWNSTREAM_LOCAL_ADDRESS" => put(Some(self.downstream.local.to_string().as_bytes())),
            "DOWNSTREAM_PEER_URI_SAN" => put(self.downstream.peer.as_ref().map(|p| p.principal.as_bytes())),
            "REQUESTED_SERVER_NAME" => put(self.downstream.server_name.as_deref().map(str::as_bytes)),
            _ => false,
        }
    }
}

/// Edits with their values computed.
type Computed = Vec<(String, Vec<u8>)>;

fn compute(values: &[(String, String)], facts: &Facts<'_>) -> Computed {
    values
        .iter()
        .map(|(name, template)| {
            let mut value = Vec::with_capacity(template.len());
            write_value(template, facts, &mut value);
            (name.to_ascii_lowercase(), value)
        })
        // Setting to nothing is no edit.
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

fn may_edit(name: &str) -> bool {
    !name.starts_with(':') && name != "host" && !is_framing(Id::of(name.as_bytes()))
}

fn apply(edits: &HeaderEdits, set: &Computed, add: &Computed, fields: &mut Fields) {
    for name in &edits.remove {
        fields.remove_named(name.as_bytes());
    }
    for (name, value) in set.iter().filter(|(name, _)| may_edit(name)) {
        fields.set_named(name.as_bytes(), value);
    }
    for (name, value) in add.iter().filter(|(name, _)| may_edit(name)) {
        fields.push(name.as_bytes(), value);
    }
}

fn edit_request(call: &mut Call, edits: &HeaderEdits) {
    if edits.is_empty() {
        return;
    }
    let facts = Facts {
        request: &call.heads.request,
        response: None,
        downstream: &call.context.downstream,
    };
    let (set, add) = (compute(&edits.set, &facts), compute(&edits.add, &facts));
    let request = &mut call.heads.request;
    apply(edits, &set, &add, &mut request.fields);
    if let Some((_, host)) = set
        .iter()
        .find(|(name, _)| name == ":authority" || name == "host")
    {
        request.set_authority(host);
    }
}

fn edit_response(call: &mut Call, edits: &HeaderEdits) {
    if edits.is_empty() {
        return;
    }
    let facts = Facts {
        request: &call.heads.request,
        response: Some(&call.heads.response),
        downstream: &call.context.downstream,
    };
    let (set, add) = (compute(&edits.set, &facts), compute(&edits.add, &facts));
    apply(edits, &set, &add, &mut call.heads.response.fields);
}

/// Gives the request the form in which it is forwarded.
pub(crate) fn request(call: &mut Call, found: &Found, forward: &Forward, destination: &WeightedDestination) {
    let route = &found.entry.route;
    // With one destination its edits come last and win; with several the route's do.
    if forward.destinations.len() > 1 {
        edit_request(call, &destination.request_headers);
        edit_request(call, &route.request_headers);
    } else {
        edit_request(call, &route.request_headers);
        edit_request(call, &destination.request_headers);
    }
    let request = &mut call.heads.request;
    if let Some(host) = &destination.host_rewrite {
        request.set_authority(host.as_bytes());
    }
    if let Some(host) = &forward.host_rewrite {
        let before = request.authority_bytes().to_vec();
        request.fields.set(Id::EnvoyOriginalHost, &before);
        request.set_authority(host.as_bytes());
    }
    if let Some(rewriter) = &found.entry.rewriter
        && let Some(target) = rewriter.rewrite(route, request.target_bytes())
    {
        let before = request.target_bytes().to_vec();
        request.fields.set(Id::EnvoyOriginalPath, &before);
        request.set_target(&target);
    }
    if found.attempt_count {
        request.fields.remove(Id::EnvoyAttemptCount);
    }
    if let Some(operation) = route
        .operation
        .as_ref()
        .filter(|_| call.context.direction() == Direction::Outbound)
    {
        request
            .fields
            .set(Id::EnvoyDecoratorOperation, operation.as_bytes());
    }
}

/// Gives an upstream's response the form in which it is passed on.
pub(crate) fn response(
    call: &mut Call,
    found: &Found,
    destination: Option<&WeightedDestination>,
    several: bool,
) {
    let outbound = call.context.direction() != Direction::Inbound;
    let fields = &mut call.heads.response.fields;
    if outbound {
        let mesh = call.outcome.upstream.as_ref().is_some_and(|u| u.mutual_tls);
        if mesh
            && call
                .outcome
                .endpoint
                .as_ref()
                .is_some_and(|e| e.endpoint.workload.is_none())
        {
            let metadata = fields.get(Id::EnvoyPeerMetadata);
            let principal = call
                .outcome
                .upstream
                .as_ref()
                .and_then(|u| u.principal.as_deref());
            call.outcome.peer = Some(call.context.worker.peers.borrow_mut().find(principal, metadata));
        }
    }
    if outbound && call.outcome.trace.is_some() {
        // The span of the caller is named as the server names it.
        call.outcome.operation = fields.span(Id::EnvoyDecoratorOperation);
    }
    fields.retain_ids(|id| {
        !matches!(
            id,
            Id::EnvoyPeerMetadata
                | Id::EnvoyPeerMetadataId
                | Id::EnvoyServiceTime
                | Id::EnvoyDecoratorOperation
        )
    });
    if let Some(ms) = call.outcome.service_time_ms {
        let mut value = Vec::with_capacity(8);
        number(&mut value, ms);
        fields.push_id(Id::EnvoyServiceTime, &value);
    }
    cors_headers(call, &found.entry.route);
    let edits = destination.map(|d| &d.response_headers);
    if several {
        if let Some(edits) = edits {
            edit_response(call, edits);
        }
        edit_response(call, &found.entry.route.response_headers);
    } else {
        edit_response(call, &found.entry.route.response_headers);
        if let Some(edits) = edits {
            edit_response(call, edits);
        }
    }
    // Last: whatever a rule says, the server's name is the proxy's.
    server_header(call, false);
    ours(call);
}

/// What an authorization service said, metadata for a peer that asked, and the name of the operation.
fn ours(call: &mut Call) {
    for (name, value) in std::mem::take(&mut call.extra) {
        call.heads.response.fields.push(&name, &value);
    }
    if call.context.direction() != Direction::Inbound {
        return;
    }
    let worker = &call.context.worker;
    let fields = &mut call.heads.response.fields;
    if call.wants_metadata {
        fields.push_id(Id::EnvoyPeerMetadata, &worker.metadata);
        fields.push_id(Id::EnvoyPeerMetadataId, worker.node.id.as_bytes());
    }
    if let Some(operation) = call
        .outcome
        .route
        .as_ref()
        .and_then(|r| r.route.operation.as_ref())
    {
        fields.push_id(Id::EnvoyDecoratorOperation, operation.as_bytes());
    }
}

fn server_header(call: &mut Call, local: bool) {
    let config = &call.context.http.config;
    let fields = &mut call.heads.response.fields;
    match &config.server_name {
        Some(name) if local || !config.server_name_if_absent || !fields.has(Id::Server) => {
            fields.set(Id::Server, name.as_bytes());
        }
        None if local => fields.set(Id::Server, b"envoy"),
        _ => {}
    }
    if !fields.has(Id::Date) {
        call.context
            .worker
            .with_date(|date| fields.push_id(Id::Date, date));
    }
}

/// The last touches of a local answer.
pub(crate) fn finish_local(call: &mut Call) {
    if let Some(entry) = call.outcome.route.clone() {
        cors_headers(call, &entry.route);
        edit_response(call, &entry.route.response_headers);
    }
    server_header(call, true);
    ours(call);
}

/// Begins a local answer.
fn local(call: &mut Call, status: u16) -> &mut Fields {
    call.heads.response.fields.clear();
    call.heads.response.status = status;
    &mut call.heads.response.fields
}

/// Prepares the answer to a refused request and returns its body.
pub(crate) fn refusal(call: &mut Call, refusal: &Refusal) -> Vec<u8> {
    let grpc = call.outcome.grpc;
    let mut body = refusal.body.as_bytes().to_vec();
    let fields = local(call, if grpc { 200 } else { refusal.status });
    if refusal.overloaded {
        fields.push_id(Id::EnvoyOverloaded, b"true");
    }
    if let Some(location) = &refusal.location {
        fields.push_id(Id::Location, location);
    }
    if let Some(authenticate) = &refusal.authenticate {
        fields.push(b"www-authenticate", authenticate);
    }
    for (name, value) in &refusal.headers {
        fields.push(name, value);
    }
    if grpc {
        let status = refusal.grpc_status.unwrap_or(match refusal.status {
            400 => 13,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502 | 503 | 504 => 14,
            _ => 2,
        });
        fields.set(Id::ContentType, b"application/grpc");
        fields.push_id(Id::GrpcStatus, status.to_string().as_bytes());
        if !body.is_empty() {
            fields.push(b"grpc-message", &body);
        }
        body.clear();
        call.outcome.grpc_status = u16::try_from(status).ok();
    } else if !body.is_empty() && !fields.has(Id::ContentType) {
        fields.push_id(Id::ContentType, b"text/plain");
    }
    body
}

/// Prepares a redirect.
pub(crate) fn redirect(call: &mut Call, redirect: &Redirect, route: &Route) {
    let request = &call.heads.request;
    let scheme: &[u8] = if request.https { b"https" } else { b"http" };
    let location = redirect.location(
        RequestTarget {
            scheme,
            authority: request.authority_bytes(),
            path_and_query: request.target_bytes(),
        },
        route,
    );
    local(call, redirect.status).push_id(Id::Location, &location);
}

/// Prepares a direct answer.
pub(crate) fn direct_response(call: &mut Call, respond: &DirectResponse, _: &Route) {
    let request = &call.heads.request;
    let mut location = Vec::new();
    if matches!(respond.status, 201 | 300..=399) {
        location.extend_from_slice(if request.https { b"https://" } else { b"http://" });
        location.extend_from_slice(request.authority_bytes());
        location.extend_from_slice(request.target_bytes());
    }
    let fields = local(call, respond.status);
    if !location.is_empty() {
        fields.push_id(Id::Location, &location);
    }
    if !respond.body.is_empty() {
        fields.push_id(Id::ContentType, b"text/plain");
    }
}

fn hits(share: PerMillion, draw: u64) -> bool {
    draw % 1_000_000 < u64::from(share.0)
}

/// Injects what the rule asks for: a delay, then an abort.
pub(crate) async fn fault<C: Client>(
    call: &mut Call,
    client: &mut C,
    entry: &Arc<RouteEntry>,
) -> Result<(), Refusal> {
    let Some(fault) = &entry.route.fault else {
        return Ok(());
    };
    let worker = &call.context.worker;
    if let Some((delay, share)) = fault.delay
        && hits(share, worker.random())
    {
        call.outcome.flags = call.outcome.flags.with(ResponseFlags::DELAY_INJECTED);
        tokio::select! {
            biased;
            () = std::future::poll_fn(|cx| client.poll_gone(cx)) => return Err(Refusal::client_gone()),
            () = tokio::time::sleep(delay) => {}
        }
    }
    if let Some((abort, share)) = fault.abort
        && hits(share, call.context.worker.random())
    {
        call.outcome.cluster = entry.clusters.first().cloned().flatten();
        let mut refusal = Refusal::new(200, ResponseFlags::FAULT_INJECTED, "fault_filter_abort")
            .with_body("fault filter abort");
        match abort {
            Abort::Http(status) => refusal.status = status,
            Abort::Grpc(status) => refusal.grpc_status = Some(status),
        }
        return Err(refusal);
    }
    Ok(())
}

/// Whether this asks for permission across origins.
#[must_use]
pub(crate) fn is_preflight(request: &Request) -> bool {
    request.kind == Method::Options && request.fields.has(Id::Origin) && request.fields.has(Id::RequestMethod)
}

fn origin_is_allowed(request: &Request, cors: &CorsPolicy) -> bool {
    let origin = request.fields.get(Id::Origin);
    origin.is_some_and(|origin| cors.allow_origins.iter().any(|allowed| allowed.matches(origin)))
}

/// Prepares the answer to a preflight; `false` = it is forwarded.
pub(crate) fn preflight(call: &mut Call, cors: &CorsPolicy) -> bool {
    let allowed = origin_is_allowed(&call.heads.request, cors);
    if !allowed && cors.forward_unmatched_preflights {
        return false;
    }
    call.outcome.cluster = call
        .outcome
        .route
        .as_ref()
        .and_then(|route| route.clusters.first().cloned().flatten());
    let fields = local(call, 200);
    for (name, value) in [
        ("access-control-allow-methods", &cors.allow_methods),
        ("access-control-allow-headers", &cors.allow_headers),
        ("access-control-max-age", &cors.max_age),
    ] {
        if !value.is_empty() {
            fields.push(name.as_bytes(), value.as_bytes());
        }
    }
    true
}

/// What a browser needs to see on an answer to an allowed origin.
fn cors_headers(call: &mut Call, route: &Route) {
    let Some(cors) = &route.cors else { return };
    if !origin_is_allowed(&call.heads.request, cors) {
        return;
    }
    let origin = call
        .heads
        .request
        .fields
        .get(Id::Origin)
        .unwrap_or_default()
        .to_vec();
    let fields = &mut call.heads.response.fields;
    fields.set_named(b"access-control-allow-origin", &origin);
    if cors.allow_credentials {
        fields.set_named(b"access-control-allow-credentials", b"true");
    }
    if !cors.expose_headers.is_empty() {
        fields.set_named(b"access-control-expose-headers", cors.expose_headers.as_bytes());
    }
}
