//! Arrival (what may be believed, one canonical form) and the choice of the rule.

use std::sync::Arc;

use mesh_model::flags::ResponseFlags;
use mesh_model::listener::{Direction, ForwardClientCert};
use mesh_model::path::{Normalized, normalize};
use mesh_model::request::{RequestView, WithClaims};
use mesh_model::route::{Action, split_port};
use mesh_model::token::Claim;

use crate::call::Call;
use crate::codec::fields::{Fields, Id};
use crate::codec::head::Method;
use crate::compile::{RouteEntry, Routes, Table};
use crate::http::Context;
use crate::refusal::Refusal;
use crate::walk::note_grpc;

/// The rule that serves a request.
pub(crate) struct Found {
    /// Rule.
    pub(crate) entry: Arc<RouteEntry>,
    /// `x-envoy-attempt-count` is sent.
    pub(crate) attempt_count: bool,
}

/// Brings a request into its one canonical form and removes what its sender may not say.
pub(crate) fn arrive(call: &mut Call) -> Result<(), Refusal> {
    note_grpc(call);
    let context = std::rc::Rc::clone(&call.context);
    let config = &context.http.config;
    let request = &mut call.heads.request;
    request.https = request.https || context.downstream.tls && config.scheme_from_transport;
    if request.kind != Method::Connect && config.normalize_path {
        match normalize(request.target_bytes(), config.merge_slashes) {
            Normalized::Same => {}
            Normalized::Changed(target) => request.set_target(&target),
            Normalized::Refused => {
                return Err(Refusal::new(
                    400,
                    ResponseFlags::NONE,
                    "path_normalization_failed",
                ));
            }
        }
    }
    learn_peer(call, &context);
    sanitize(call, &context);
    Ok(())
}

/// Takes the peer's metadata off the request: it is for us, and believed only from proven peers.
fn learn_peer(call: &mut Call, context: &Context) {
    let fields = &mut call.heads.request.fields;
    let inbound = context.direction() == Direction::Inbound;
    if inbound {
        let metadata = fields
            .get(Id::EnvoyPeerMetadata)
            .filter(|_| context.downstream.mesh);
        if metadata.is_some() || context.downstream.peer.is_some() {
            call.outcome.peer = Some(context.downstream.peer(&context.worker, metadata));
        }
        // Answered in kind only when asked.
        call.wants_metadata = metadata.is_some() && !context.worker.metadata.is_empty();
    }
    fields.retain_ids(|id| !matches!(id, Id::EnvoyPeerMetadata | Id::EnvoyPeerMetadataId));
}

fn sanitize(call: &mut Call, context: &Context) {
    let config = &context.http.config;
    let edge = context.is_edge();
    let remote = context.downstream.remote.ip();
    let request = &mut call.heads.request;
    let fields = &mut request.fields;
    let forced = config.tracing.is_some() && !edge && fields.has(Id::EnvoyForceTrace);
    fields.retain_ids(|id| match id {
        Id::Envoy
        | Id::EnvoyForceTrace
        | Id::EnvoyDecoratorOperation
        | Id::EnvoyServiceTime
        | Id::EnvoyOverloaded => false,
        Id::ForwardedHost
        | Id::EnvoyExternalAddress
        | Id::EnvoyOriginalPath
        | Id::EnvoyOriginalHost
        | Id::EnvoyAttemptCount => !edge,
        _ => true,
    });
    let scheme: &[u8] = if context.downstream.tls { b"https" } else { b"http" };
    if config.use_remote_address {
        let mut forwarded = fields
            .get(Id::ForwardedFor)
            .map(<[u8]>::to_vec)
            .unwrap_or_default();
        if !forwarded.is_empty() {
            forwarded.push(b',');
        }
        forwarded.extend_from_slice(remote.to_string().as_bytes());
        fields.set(Id::ForwardedFor, &forwarded);
        fields.set(Id::ForwardedProto, scheme);
        if edge {
            fields.set(Id::EnvoyExternalAddress, remote.to_string().as_bytes());
        }
    } else if !fields.has(Id::ForwardedProto) {
        fields.push_id(Id::ForwardedProto, scheme);
    }
    if !config.scheme_from_transport
        && let Some(proto) = fields.get(Id::ForwardedProto)
    {
        request.https = proto.eq_ignore_ascii_case(b"https");
    }
    let fields = &mut request.fields;
    let foreign = config.use_remote_address && !config.preserve_external_request_id;
    if config.generate_request_id && (foreign || !fields.has(Id::RequestId)) {
        fields.set(Id::RequestId, &request_id(context));
    }
    client_certificate(fields, context);
    if let Some(tracing) = &config.tracing {
        let worker = &context.worker;
        call.outcome.trace = Some(crate::trace::begin(fields, tracing, forced, || worker.random()));
    }
}

/// A random UUID, version 4. It names a request and guards nothing, so the worker's own generator will do.
fn request_id(context: &Context) -> [u8; 36] {
    let (high, low) = (context.worker.random(), context.worker.random());
    let random = u128::from(high) << 64 | u128::from(low);
    let mut id = [0; 36];
    uuid::Builder::from_random_bytes(random.to_le_bytes())
        .into_uuid()
        .hyphenated()
        .encode_lower(&mut id);
    id
}

fn client_certificate(fields: &mut Fields, context: &Context) {
    let how = context.http.config.forward_client_cert;
    let peer = context.downstream.peer.as_ref();
    match (how, peer) {
        (ForwardClientCert::AlwaysForwardOnly, _) | (ForwardClientCert::ForwardOnly, Some(_)) => {}
        (ForwardClientCert::AppendForward | ForwardClientCert::SanitizeSet, Some(peer)) => {
            let mut value = match how {
                ForwardClientCert::AppendForward => fields
                    .get(Id::ForwardedClientCert)
                    .map(<[u8]>::to_vec)
                    .unwrap_or_default(),
                _ => Vec::new(),
            };
            if !value.is_empty() {
                value.push(b',');
            }
            if let Some(ours) = context.worker.tls.principal() {
                value.extend_from_slice(b"By=");
                value.extend_from_slice(ours.as_bytes());
                value.push(b';');
            }
            value.extend_from_slice(b"Hash=");
            value.extend_from_slice(peer.hash.as_bytes());
            value.extend_from_slice(b";Subject=\"");
            value.extend(
                peer.subject
                    .bytes()
                    .filter(|b| (0x20..0x7f).contains(b) && *b != b'"'),
            );
            value.push(b'"');
            if !peer.principal.is_empty() {
                value.extend_from_slice(b";URI=");
                value.extend_from_slice(peer.principal.as_bytes());
            }
            fields.set(Id::ForwardedClientCert, &value);
        }
        _ => fields.remove(Id::ForwardedClientCert),
    }
}

/// The rule that serves the request, by the one decision of the model.
pub(crate) fn find(call: &mut Call, claims: Option<&Claim>) -> Result<Found, Refusal> {
    let request = &*call.heads.request;
    let (host, port) = split_port(request.authority_bytes());
    let table: Option<&Arc<Table>> = match &call.context.http.routes {
        Routes::One(table) => table.as_ref(),
        Routes::ByPort { tables, fallback, .. } => {
            let port = call.context.downstream.captured.or(port).unwrap_or(80);
            tables.get(&port).or(fallback.as_ref())
        }
    };
    let table =
        table.ok_or_else(|| Refusal::new(404, ResponseFlags::NO_ROUTE, "route_configuration_not_found"))?;
    let position = table.hosts.virtual_host(host).ok_or_else(Refusal::no_route)?;
    let virtual_host = table
        .table
        .virtual_hosts
        .get(position)
        .ok_or_else(Refusal::no_route)?;
    if virtual_host.require_tls && request.scheme() != b"https" {
        return Err(tls_required(call));
    }
    let routes = table.routes.get(position).ok_or_else(Refusal::no_route)?;
    let entry = if request.kind == Method::Connect {
        // An opaque tunnel, which only an application's own HTTP proxy port offers: no path chooses a rule.
        let tunnels = call.context.downstream.captured.is_none()
            && matches!(call.context.http.routes, Routes::ByPort { .. });
        routes
            .iter()
            .find(|entry| tunnels && matches!(entry.route.action, Action::Forward(_)))
    } else {
        let told = WithClaims { request, claims };
        let view: &dyn RequestView = if claims.is_some() { &told } else { request };
        virtual_host.find(view).and_then(|route| routes.get(route))
    };
    let found = Found {
        entry: Arc::clone(entry.ok_or_else(Refusal::no_route)?),
        attempt_count: virtual_host.include_attempt_count,
    };
    call.outcome.route = Some(Arc::clone(&found.entry));
    Ok(found)
}

/// Plaintext where TLS is required: a redirect to the same URL over https (Gateway `httpsRedirect`).
fn tls_required(call: &Call) -> Refusal {
    let request = &call.heads.request;
    let mut location = b"https://".to_vec();
    location.extend_from_slice(request.authority_bytes());
    location.extend_from_slice(request.target_bytes());
    let mut refusal = Refusal::new(301, ResponseFlags::NONE, "direct_response");
    refusal.location = Some(location);
    refusal
}
