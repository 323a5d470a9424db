//! A request walks through the rooms: arrive, route, fault, then answer or forward.

pub(crate) mod admit;
pub(crate) mod external;
pub(crate) mod token;

use std::future::poll_fn;

use mesh_model::flags::ResponseFlags;
use mesh_model::route::Action;

use crate::call::Call;
use crate::codec::fields::{Id, Span};
use crate::codec::head::{Framing, Method};
use crate::http::Client;
use crate::refusal::Refusal;
use crate::{guard, route, shape};

/// Serves one request; `false` = the connection must not be used again.
pub(crate) async fn walk<C: Client>(call: &mut Call, client: &mut C) -> bool {
    // A refused tunnel's bytes must never be read as requests.
    call.close = !call.heads.request.keep_alive
        || call.context.is_draining()
        || call.heads.request.kind == Method::Connect;
    match rooms(call, client).await {
        Ok(keep) => keep && !call.close,
        Err(refusal) => refuse(call, client, refusal).await,
    }
}

async fn rooms<C: Client>(call: &mut Call, client: &mut C) -> Result<bool, Refusal> {
    crate::overload::admit()?;
    #[cfg(debug_assertions)]
    crate::overload::fail_point::reached(call);
    route::arrive(call)?;
    // The rule is chosen by the request as it came, unless a service wants it otherwise.
    let chosen = external::keeps_route(call).then(|| route::find(call, None));
    external::ask(call, client).await?;
    // A preflight carries no token, and the rule that answers it is asked below.
    let claims = if shape::is_preflight(&call.heads.request) {
        None
    } else {
        token::check(call)?
    };
    let found = chosen.unwrap_or_else(|| route::find(call, claims.as_ref()));
    admit::admit(call, claims.as_ref())?;
    let found = found?;
    shape::fault(call, client, &found.entry).await?;
    if let Some(cors) = &found.entry.route.cors
        && shape::is_preflight(&call.heads.request)
        && shape::preflight(call, cors)
    {
        call.outcome.details = "cors_response".into();
        return answer(call, client, &[]).await;
    }
    match &found.entry.route.action {
        Action::Forward(forward) => guard::forward(call, client, &found, forward).await,
        Action::Redirect(redirect) => {
            shape::redirect(call, redirect, &found.entry.route);
            answer(call, client, &[]).await
        }
        Action::Respond(respond) => {
            shape::direct_response(call, respond, &found.entry.route);
            answer(call, client, &respond.body).await
        }
    }
}

/// Answers instead of forwarding; `false` = the connection must not be used again.
pub(crate) async fn refuse<C: Client>(call: &mut Call, client: &mut C, refusal: Refusal) -> bool {
    call.note(refusal.flags, refusal.details.clone());
    if refusal.status == 0 {
        client.cut();
        return false;
    }
    call.close |= refusal.close;
    let body = shape::refusal(call, &refusal);
    answer(call, client, &body).await.unwrap_or(false)
}

/// Sends the prepared response with this body.
async fn answer<C: Client>(call: &mut Call, client: &mut C, body: &[u8]) -> Result<bool, Refusal> {
    let response = &mut call.heads.response;
    response.upgrade = Span::default();
    response.declared_length = None;
    response.framing = if call.heads.request.kind == Method::Head {
        response.declared_length = Some(body.len() as u64);
        Framing::None
    } else if matches!(response.status, 204 | 304) {
        Framing::None
    } else {
        Framing::Length(body.len() as u64)
    };
    // The rest of a body that nobody wants: read if it is small, else the connection ends.
    call.close |= !client.body_done() && call.heads.request.expect_continue;
    shape::finish_local(call);
    let send = if response_has_body(call) { body } else { &[] };
    call.outcome.status = call.heads.response.status;
    if call.outcome.details.is_empty() {
        call.outcome.details = "direct_response".into();
    }
    let sent = send_all(call, client, send).await;
    if sent.is_err() {
        call.note(ResponseFlags::DOWNSTREAM_CLOSED, "downstream_remote_disconnect");
        return Ok(false);
    }
    call.outcome.response_bytes += send.len() as u64;
    Ok(!call.close)
}

fn response_has_body(call: &Call) -> bool {
    matches!(call.heads.response.framing, Framing::Length(length) if length > 0)
}

async fn send_all<C: Client>(
    call: &mut Call,
    client: &mut C,
    body: &[u8],
) -> Result<(), crate::wire::Failure> {
    client.begin(&call.heads.response, &call.heads.request, call.close)?;
    call.outcome.answered = true;
    let mut rest = body;
    poll_fn(|cx| {
        while !rest.is_empty() {
            let n = std::task::ready!(client.poll_push(cx, rest))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        std::task::Poll::Ready(Ok::<(), crate::wire::Failure>(()))
    })
    .await?;
    client.finish(None)?;
    poll_fn(|cx| client.poll_flush(cx)).await
}

/// Whether a request is gRPC, so that refusals are said in gRPC.
pub(crate) fn note_grpc(call: &mut Call) {
    call.outcome.grpc = call.heads.request.fields.has(Id::ContentType) && call.heads.request.is_grpc();
}
