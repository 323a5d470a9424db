//! An HTTP/2 client: one task per stream.

use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;

use bytes::Bytes;
use h2::Reason;

use super::{Client, Session};
use crate::accept::Accepted;
use crate::call::Call;
use crate::codec::authority::authority_is_good;
use crate::codec::head::{HeadError, Request, Response};
use crate::refusal::Refusal;
use crate::wire::http2::{self, ClientSide};
use crate::wire::{Failure, Wire};

/// The preface and first settings must come within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);

/// Serves streams until the connection ends.
pub(super) async fn serve(mut session: Session, accepted: Accepted) {
    let Accepted { wire, registered, .. } = accepted;
    let handshake = h2::server::Builder::new()
        .initial_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_header_list_size(http2::HEADER_LIST_MAX)
        .max_concurrent_streams(http2::STREAMS_MAX)
        .max_pending_accept_reset_streams(64)
        .max_local_error_reset_streams(Some(256))
        .handshake::<_, Bytes>(wire.into_io());
    let Ok(Ok(mut connection)) = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await else {
        return;
    };
    let mut leaving = false;
    loop {
        let accepted = std::future::poll_fn(|cx| {
            if !leaving && session.context.is_draining() {
                leaving = true;
                connection.graceful_shutdown();
            }
            // Registers for the wake-up at a drain; HTTP/2 connections have no deadline of their own.
            let _ = registered.connection.poll_deadline(cx);
            connection.poll_accept(cx)
        })
        .await;
        match accepted {
            Some(Ok((request, respond))) => {
                let context = session.current();
                tokio::task::spawn_local(stream(context, request, respond));
            }
            Some(Err(error)) => {
                tracing::debug!(%error, "HTTP/2 connection ended");
                return;
            }
            None => return,
        }
    }
}

async fn stream(
    context: Rc<super::Context>,
    request: http::Request<h2::RecvStream>,
    respond: h2::server::SendResponse<Bytes>,
) {
    let mut call = Call::new(context);
    let (parts, body) = request.into_parts();
    let read = http2::read_request(&parts, body.is_end_stream(), &mut call.heads.request);
    let mut side = ClientSide::new(body, respond);
    let edge = call.context.is_edge();
    let good = read.is_some() && authority_is_good(call.heads.request.authority_bytes(), edge);
    let limit = usize::try_from(call.context.http.config.max_headers_count).unwrap_or(100);
    if !good || parts.headers.len() > limit {
        crate::walk::refuse(&mut call, &mut side, Refusal::from(HeadError::CODEC)).await;
        return;
    }
    if !crate::walk::walk(&mut call, &mut side).await {
        side.reset(Reason::NO_ERROR);
    }
}

impl Client for ClientSide {
    fn begin(&mut self, response: &Response, _: &Request, _: bool) -> Result<(), Failure> {
        ClientSide::begin(self, response)
    }

    fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        self.poll_reset(cx)
    }

    fn cut(&mut self) {
        self.reset(Reason::INTERNAL_ERROR);
    }

    fn body_done(&self) -> bool {
        self.incoming.is_done()
    }

    fn wire(&mut self) -> Option<&mut Wire> {
        None
    }
}
