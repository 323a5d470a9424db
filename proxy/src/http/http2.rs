//! An HTTP/2 client: one task per stream.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::Reason;

use super::{Client, Session};
use crate::accept::Accepted;
use crate::call::Call;
use crate::codec::authority::authority_is_good;
use crate::codec::head::{Framing, HeadError, Request, Response};
use crate::refusal::Refusal;
use crate::wire::flood::{Ledger, Metered, Open, Timers};
use crate::wire::http2::{self, ClientSide};
use crate::wire::patience::Patience;
use crate::wire::{Failure, Wire};
use crate::worker::Connection;

/// The preface and first settings must come within this time.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// A client that was told to leave may take this long to hear it.
const PARTING: Duration = Duration::from_secs(1);
/// Streams of an idle connection's last moment may still be on their way.
const GOING_AWAY: Duration = Duration::from_secs(5);
/// What a client that was told to leave may still send.
const PARTING_MAX: usize = 1 << 20;

type Codec = h2::server::Connection<Metered, Bytes>;

/// Serves streams until the connection ends.
pub(super) async fn serve(session: Session, accepted: Accepted) {
    let Accepted { wire, registered, .. } = accepted;
    let timers = Timers {
        idle: session.context.idle_limit(),
        head: session.context.head_limit(),
    };
    let ledger = Ledger::new(Rc::clone(&registered.connection), timers);
    let metered = Metered::new(wire.into_io(), Rc::clone(&ledger));
    let handshake = h2::server::Builder::new()
        .initial_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_header_list_size(http2::HEADER_LIST_MAX)
        .max_concurrent_streams(http2::STREAMS_MAX)
        .max_pending_accept_reset_streams(64)
        .max_local_error_reset_streams(Some(256))
        .handshake::<_, Bytes>(metered);
    let Ok(Ok(mut connection)) = tokio::time::timeout(HANDSHAKE_LIMIT, handshake).await else {
        return;
    };
    let flood = streams(session, &mut connection, &ledger, &registered.connection).await;
    if let Some(kind) = flood {
        tracing::debug!(kind, "HTTP/2 flood");
        connection.abrupt_shutdown(Reason::ENHANCE_YOUR_CALM);
        let _ = tokio::time::timeout(PARTING, poll_fn(|cx| connection.poll_closed(cx))).await;
        drop(connection);
        part(&ledger).await;
    }
}

/// Accepts streams; the kind of flood when the client sends one.
async fn streams(
    mut session: Session,
    connection: &mut Codec,
    ledger: &Rc<Ledger>,
    timer: &Connection,
) -> Option<&'static str> {
    let mut leaving = false;
    let mut expired = false;
    loop {
        let accepted = poll_fn(|cx| {
            let polled = connection.poll_accept(cx);
            if let Some(kind) = ledger.flood() {
                return Poll::Ready(Err(kind));
            }
            if polled.is_ready() {
                return polled.map(Ok);
            }
            let draining = session.context.is_draining();
            let late = timer.poll_deadline(cx).is_ready();
            if late && expired {
                return Poll::Ready(Ok(None));
            }
            if late {
                expired = true;
                ledger.close_by(Instant::now() + GOING_AWAY);
                let _ = timer.poll_deadline(cx);
            }
            if (late || draining) && !leaving {
                leaving = true;
                connection.graceful_shutdown();
                // What was asked for is written by another turn.
                return connection.poll_accept(cx).map(Ok);
            }
            Poll::Pending
        })
        .await;
        match accepted {
            Ok(Some(Ok((request, respond)))) => {
                let context = session.current();
                let open = ledger.open(head_size(&request));
                tokio::task::spawn_local(stream(context, request, respond, open));
            }
            Ok(Some(Err(error))) => {
                tracing::debug!(%error, "HTTP/2 connection ended");
                return None;
            }
            Ok(None) => return None,
            Err(kind) => return Some(kind),
        }
    }
}

/// Lets the client read why it is left: closing with unread input would reset the connection under it.
async fn part(ledger: &Ledger) {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let Some(mut socket) = ledger.take_socket() else {
        return;
    };
    let _ = tokio::time::timeout(PARTING / 2, async {
        if socket.shutdown().await.is_err() {
            return;
        }
        let (mut scratch, mut budget) = (vec![0; 16 * 1024], PARTING_MAX);
        while let Ok(n) = socket.read(&mut scratch).await {
            budget = budget.saturating_sub(n);
            if n == 0 || budget == 0 {
                return;
            }
        }
    })
    .await;
}

/// Size of a decoded head, as HTTP/2 counts it.
fn head_size(request: &http::Request<h2::RecvStream>) -> usize {
    let fields = request.headers().iter();
    let size: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum();
    size + request.uri().path().len() + 128
}

async fn stream(
    context: Rc<super::Context>,
    request: http::Request<h2::RecvStream>,
    respond: h2::server::SendResponse<Bytes>,
    open: Open,
) {
    let mut call = Call::new(context);
    let (parts, body) = request.into_parts();
    let read = http2::read_request(&parts, body.is_end_stream(), &mut call.heads.request);
    let mut side = ClientSide::new(body, respond);
    side.patience = call.context.patience().map(|limits| {
        let announced = matches!(call.heads.request.framing, Framing::Length(_));
        let direction = call.context.direction();
        Patience::of_stream(call.context.worker.register(direction), limits, announced)
    });
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
    drop(open);
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
