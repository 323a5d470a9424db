//! An HTTP/1 client: one request after another on one connection, driven by the connection's own task.

use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};

use super::{Client, Context, Session};
use crate::accept::Accepted;
use crate::call::Call;
use crate::codec::head::{Framing, HeadError, Method, Request, RequestRules, Response, parse_request};
use crate::codec::write;
use crate::compile::Routes;
use crate::detect::PREFACE;
use crate::refusal::Refusal;
use crate::wire::http1::{ClientSide, Incoming, Outgoing};
use crate::wire::patience::Patience;
use crate::wire::{Failure, Source, Wire};
use crate::worker::{Connection, Drain};

/// Input that may wait in memory while an answer is outstanding.
const AHEAD_MAX: usize = 64 * 1024;
/// An unread rest of a request body is read up to this, to save the connection.
const REST_MAX: u64 = 64 * 1024;
/// How long a refused client may take to read its answer before the connection is torn down.
const LINGER: Duration = Duration::from_secs(1);

/// Whether the connection begins with the HTTP/2 preface; `None` = it ended.
pub(super) async fn starts_with_preface(accepted: &mut Accepted, context: &Context) -> Option<bool> {
    let connection = &accepted.registered.connection;
    let limit = context.head_limit().unwrap_or_else(|| context.idle_limit());
    connection.set_deadline(Some(Instant::now() + limit));
    connection.set_idle(true);
    let wire = &mut accepted.wire;
    let preface = poll_fn(|cx| {
        loop {
            let have = wire.input();
            let n = have.len().min(PREFACE.len());
            if n > 0 && (!PREFACE.starts_with(have.get(..n).unwrap_or_default()) || n >= 16) {
                return Poll::Ready(Some(n >= 16));
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(None),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending if connection.is_unwanted() => return Poll::Ready(None),
                Poll::Pending => return connection.poll_deadline(cx).map(|()| None),
            }
        }
    })
    .await;
    connection.set_idle(false);
    // A short or odd start is HTTP/1's to refuse.
    preface.map(|preface| preface && wire.input().starts_with(PREFACE.get(..16).unwrap_or_default()))
}

/// Whether CONNECT opens tunnels: at an application's own HTTP proxy port, not inside another tunnel.
fn offers_tunnels(context: &Context) -> bool {
    context.downstream.captured.is_none()
        && matches!(&context.http.routes, Routes::ByPort { listeners, .. } if !listeners.is_empty())
}

/// Serves requests until the connection ends.
pub(super) async fn serve(mut session: Session, accepted: Accepted) {
    let registered = accepted.registered;
    let connection = &registered.connection;
    let mut side = ClientSide::new(accepted.wire);
    let mut served = false;
    loop {
        side.wire.release();
        let idle = session.context.idle_limit();
        connection.set_deadline(Some(Instant::now() + idle));
        if !wait_for_request(&mut side.wire, connection, &session.context, served).await {
            break;
        }
        served = true;
        // In a box while it lasts: an idle connection does not keep room for a request.
        match Box::pin(serve_one(&mut session, &mut side, connection)).await {
            Next::Request => {}
            Next::Close => break,
            Next::Tunnel(mut call) => {
                let authority = call.heads.request.authority_bytes().to_vec();
                let context = Rc::clone(&call.context);
                match crate::accept::open_tunnel(&context, side.wire, &authority, registered).await {
                    // What is inside is recorded, not the tunnel.
                    Ok(()) => call.forget(),
                    Err((wire, registered)) => {
                        let mut side = ClientSide::new(wire);
                        call.close = true;
                        refuse(&mut call, &mut side, Refusal::no_endpoint()).await;
                        drop(registered);
                    }
                }
                return;
            }
        }
    }
}

/// What a connection does after a request.
enum Next {
    Request,
    Close,
    /// The client asked for a tunnel to be opened here.
    Tunnel(Box<Call>),
}

/// Serves the request whose first bytes have come.
async fn serve_one(session: &mut Session, side: &mut ClientSide, connection: &Rc<Connection>) -> Next {
    let context = session.current();
    let mut call = Call::new(context);
    connection.set_deadline(call.context.head_limit().map(|limit| call.started + limit));
    match read_head(&mut side.wire, connection, &mut call).await {
        Head::Read => {}
        Head::Nothing => {
            call.forget();
            return Next::Close;
        }
        Head::Refused(error) => {
            refuse(&mut call, side, error.into()).await;
            return Next::Close;
        }
    }
    connection.set_deadline(None);
    if call.heads.request.kind == Method::Connect && offers_tunnels(&call.context) {
        return Next::Tunnel(Box::new(call));
    }
    let announced = matches!(call.heads.request.framing, Framing::Length(_));
    let limits = call.context.patience();
    side.patience = limits.map(|limits| Patience::of_connection(connection, limits, announced));
    side.incoming = Incoming::new(call.heads.request.framing);
    side.owes_continue = call.heads.request.expect_continue;
    let keep = crate::walk::walk(&mut call, side).await;
    drop(call);
    if keep && finish_body(side).await {
        return Next::Request;
    }
    linger(&mut side.wire).await;
    Next::Close
}

async fn wait_for_request(wire: &mut Wire, connection: &Connection, context: &Context, served: bool) -> bool {
    connection.set_idle(true);
    let arrived = poll_fn(|cx| {
        if !wire.input().is_empty() {
            return Poll::Ready(true);
        }
        match wire.poll_readable(cx) {
            Poll::Ready(Ok(())) => match wire.poll_fill(cx) {
                Poll::Ready(Ok(n)) => return Poll::Ready(n > 0),
                Poll::Ready(Err(_)) => return Poll::Ready(false),
                Poll::Pending => wire.release(),
            },
            Poll::Ready(Err(_)) => return Poll::Ready(false),
            Poll::Pending => {}
        }
        // A new connection is served once even while clients are asked to leave.
        let unwanted = match context.worker.drain(context.direction()) {
            Drain::Serving | Drain::Handed => connection.is_unwanted(),
            Drain::Graceful => served,
            Drain::Closed => true,
        };
        if connection.poll_deadline(cx).is_ready() || unwanted {
            return Poll::Ready(false);
        }
        Poll::Pending
    })
    .await;
    connection.set_idle(false);
    arrived
}

enum Head {
    Read,
    /// The client went before it asked anything.
    Nothing,
    Refused(HeadError),
}

async fn read_head(wire: &mut Wire, connection: &Connection, call: &mut Call) -> Head {
    let config = &call.context.http.config;
    let rules = RequestRules {
        kind: call.context.worker.node.kind,
        head_max: usize::try_from(config.max_request_headers_kib).unwrap_or(60) * 1024,
        fields_max: usize::try_from(config.max_headers_count).unwrap_or(100),
        http_10: config.accept_http_10,
    };
    let request = &mut call.heads.request;
    let mut seen = 0;
    poll_fn(|cx| {
        loop {
            // A head that was incomplete is read again only when a line break came: no quadratic work for drips.
            let new = wire.input().get(seen..).unwrap_or_default();
            if seen == 0 || memchr::memchr(b'\n', new).is_some() || wire.input().len() >= rules.head_max {
                match parse_request(wire.input(), &rules, request) {
                    Ok(Some(used)) => {
                        wire.consume(used);
                        return Poll::Ready(Head::Read);
                    }
                    Ok(None) => seen = wire.input().len(),
                    Err(error) => return Poll::Ready(Head::Refused(error)),
                }
            } else {
                seen = wire.input().len();
            }
            match wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Head::Nothing),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => {
                    return connection
                        .poll_deadline(cx)
                        .map(|()| Head::Refused(HeadError::TIMEOUT));
                }
            }
        }
    })
    .await
}

/// Answers something that is no request and closes.
async fn refuse(call: &mut Call, side: &mut ClientSide, refusal: Refusal) {
    side.incoming = Incoming::default();
    crate::walk::refuse(call, side, refusal).await;
    linger(&mut side.wire).await;
}

/// Reads what is left of a request body so that the connection can go on; `false` = too much.
async fn finish_body(side: &mut ClientSide) -> bool {
    if side.incoming.is_done() {
        return true;
    }
    let mut rest = 0_u64;
    poll_fn(|cx| {
        loop {
            match side.poll_next(cx) {
                Poll::Ready(Ok(crate::wire::Next::End)) => return Poll::Ready(true),
                Poll::Ready(Ok(crate::wire::Next::Data)) => {
                    let n = side.data().len();
                    rest += n as u64;
                    side.consume(n);
                    if rest > REST_MAX {
                        return Poll::Ready(false);
                    }
                }
                // Only what is here already: nobody waits for a body that no one wants.
                Poll::Ready(Err(_)) | Poll::Pending => return Poll::Ready(false),
            }
        }
    })
    .await
}

/// Lets the client read the last answer: closing with unread input would reset the connection under it.
async fn linger(wire: &mut Wire) {
    use tokio::io::AsyncWriteExt as _;
    let _ = tokio::time::timeout(LINGER, async {
        if poll_fn(|cx| wire.poll_flush(cx)).await.is_err() || wire.stream.shutdown().await.is_err() {
            return;
        }
        let mut budget = 1 << 20;
        while budget > 0 {
            wire.consume(wire.input().len());
            match poll_fn(|cx| wire.poll_fill(cx)).await {
                Ok(0) | Err(_) => return,
                Ok(n) => budget -= i64::try_from(n).unwrap_or(i64::MAX).min(budget),
            }
        }
    })
    .await;
}

impl Client for ClientSide {
    fn begin(&mut self, response: &Response, request: &Request, close: bool) -> Result<(), Failure> {
        let how = write::response_framing(response, request.version, close);
        write::response_head(self.wire.output(), response, how);
        let no_body = request.kind == Method::Head || matches!(response.status, 101 | 204 | 304);
        self.outgoing = Outgoing::new(if no_body { Framing::None } else { how.framing });
        Ok(())
    }

    fn poll_gone(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        while self.wire.input().len() < AHEAD_MAX {
            match self.wire.poll_fill(cx) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(_)) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Pending
    }

    fn cut(&mut self) {
        // Closing without the announced end is what tells an HTTP/1 client.
    }

    fn body_done(&self) -> bool {
        self.incoming.is_done()
    }

    fn wire(&mut self) -> Option<&mut Wire> {
        Some(&mut self.wire)
    }
}
