//! The two ends of an HTTP/1 exchange.

use std::task::{Context, Poll, ready};

use super::patience::Patience;
use super::{DIRECT, Failure, HIGH_WATER, Next, Sink, Source, Wire};
use crate::codec::chunked::{BodyReader, Step};
use crate::codec::fields::Fields;
use crate::codec::head::{Framing, Method, Response, parse_response};
use crate::codec::write;

/// Largest response head.
const RESPONSE_HEAD_MAX: usize = 128 * 1024;
/// Most informational answers before the final one.
const INFORMATIONAL_MAX: u32 = 16;

/// Reads one body from a wire.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    reader: BodyReader,
    ready: usize,
}

impl Incoming {
    /// For a body with this framing.
    #[must_use]
    pub(crate) fn new(framing: Framing) -> Self {
        Self {
            reader: BodyReader::new(framing),
            ready: 0,
        }
    }

    /// Whether all of it was read.
    #[must_use]
    pub(crate) fn is_done(&self) -> bool {
        self.reader.is_done()
    }

    fn poll_next(&mut self, wire: &mut Wire, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        loop {
            match self.reader.step(wire.input()).map_err(|_| Failure::Protocol)? {
                Step::Data { skip, data } => {
                    wire.consume(skip);
                    self.ready = data;
                    return Poll::Ready(Ok(Next::Data));
                }
                Step::End { skip } => {
                    wire.consume(skip);
                    return Poll::Ready(Ok(Next::End));
                }
                Step::More { skip } => wire.consume(skip),
            }
            if wire.ended || ready!(wire.poll_fill(cx))? == 0 {
                return Poll::Ready(if self.reader.ends_with_connection() {
                    Ok(Next::End)
                } else {
                    Err(Failure::Closed)
                });
            }
        }
    }

    fn data<'w>(&self, wire: &'w Wire) -> &'w [u8] {
        wire.input().get(..self.ready).unwrap_or_default()
    }

    fn consume(&mut self, wire: &mut Wire, n: usize) {
        wire.consume(n);
        self.ready = self.ready.saturating_sub(n);
        self.reader.took(n);
    }
}

/// Writes one body to a wire.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    framing: Framing,
    left: u64,
}

impl Outgoing {
    /// For a body with this framing.
    #[must_use]
    pub(crate) fn new(framing: Framing) -> Self {
        let left = if let Framing::Length(length) = framing {
            length
        } else {
            0
        };
        Self { framing, left }
    }

    fn poll_push(
        &mut self,
        wire: &mut Wire,
        cx: &mut Context<'_>,
        data: &[u8],
    ) -> Poll<Result<usize, Failure>> {
        let data = match self.framing {
            // Never more than was announced.
            Framing::Length(_) => {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(data.len());
                if most == 0 && !data.is_empty() {
                    return Poll::Ready(Err(Failure::Protocol));
                }
                data.get(..most).unwrap_or_default()
            }
            Framing::None => return Poll::Ready(Ok(data.len())),
            // A chunk is copied, so it stays small enough for a kept buffer.
            Framing::Chunked => data.get(..HIGH_WATER).unwrap_or(data),
            Framing::UntilClose => data,
        };
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = if data.len() >= DIRECT && self.framing != Framing::Chunked {
            ready!(wire.poll_write_behind(cx, data))?
        } else {
            if wire.output().len() >= HIGH_WATER {
                ready!(wire.poll_flush(cx))?;
            }
            if self.framing == Framing::Chunked {
                write::chunk(wire.output(), data);
            } else {
                wire.output().extend_from_slice(data);
            }
            data.len()
        };
        self.left = self.left.saturating_sub(n as u64);
        Poll::Ready(Ok(n))
    }

    fn finish(&mut self, wire: &mut Wire, trailers: Option<&Fields>) -> Result<(), Failure> {
        match self.framing {
            Framing::Chunked => write::last_chunk(wire.output(), trailers),
            Framing::Length(_) if self.left > 0 => return Err(Failure::Protocol),
            _ => {}
        }
        Ok(())
    }
}

/// The client's end: request body in, response out.
pub(crate) struct ClientSide {
    /// Bytes.
    pub(crate) wire: Wire,
    /// Request body.
    pub(crate) incoming: Incoming,
    /// Response body.
    pub(crate) outgoing: Outgoing,
    /// `100 Continue` is owed before the body is waited for.
    pub(crate) owes_continue: bool,
    /// How long a body may stand still.
    pub(crate) patience: Option<Patience>,
}

impl ClientSide {
    /// A connection before its first request.
    #[must_use]
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            owes_continue: false,
            patience: None,
        }
    }
}

impl Source for ClientSide {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        if self.owes_continue && self.wire.input().is_empty() && !self.incoming.is_done() {
            self.wire
                .output()
                .extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.owes_continue = false;
            if let Poll::Ready(Err(error)) = self.wire.poll_flush(cx) {
                return Poll::Ready(Err(error.into()));
            }
        }
        let polled = self.incoming.poll_next(&mut self.wire, cx);
        match &mut self.patience {
            Some(patience) => patience.reading(cx, polled, self.incoming.ready),
            None => polled,
        }
    }
    fn data(&self) -> &[u8] {
        self.incoming.data(&self.wire)
    }
    fn consume(&mut self, n: usize) {
        self.incoming.consume(&mut self.wire, n);
    }
    fn trailers(&mut self) -> Option<Box<Fields>> {
        self.incoming.reader.trailers.take()
    }
}

impl Sink for ClientSide {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>> {
        let polled = self.outgoing.poll_push(&mut self.wire, cx, data);
        match &mut self.patience {
            Some(patience) => patience.writing(cx, polled),
            None => polled,
        }
    }
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure> {
        self.outgoing.finish(&mut self.wire, trailers)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        if self.wire.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        let polled = self.wire.poll_flush(cx).map_err(Failure::from);
        match &mut self.patience {
            Some(patience) => patience.writing(cx, polled),
            None => polled,
        }
    }
}

/// An upstream's end: request out, response in.
pub(crate) struct ServerSide {
    /// Bytes.
    pub(crate) wire: Wire,
    incoming: Incoming,
    outgoing: Outgoing,
    informational: u32,
    /// Requests served so far.
    pub(crate) served: u32,
    /// Something of the response was received.
    pub(crate) answered: bool,
    keep_alive: bool,
}

impl ServerSide {
    /// A new connection.
    #[must_use]
    pub(crate) fn new(wire: Wire) -> Self {
        Self {
            wire,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            informational: 0,
            served: 0,
            answered: false,
            keep_alive: true,
        }
    }

    /// Starts a request whose head was appended to the wire's output.
    pub(crate) fn begin(&mut self, framing: Framing) {
        self.outgoing = Outgoing::new(if framing == Framing::UntilClose {
            Framing::Chunked
        } else {
            framing
        });
        self.incoming = Incoming::default();
        self.informational = 0;
        self.answered = false;
        self.keep_alive = false;
        self.served += 1;
    }

    /// Reads the final response head.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        kind: Method,
        out: &mut Response,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if !self.wire.input().is_empty() {
                self.answered = true;
                let used = parse_response(self.wire.input(), kind, RESPONSE_HEAD_MAX, out)
                    .map_err(|_| Failure::Protocol)?;
                if let Some(used) = used {
                    self.wire.consume(used);
                    if (100..200).contains(&out.status) && out.status != 101 {
                        self.informational += 1;
                        if self.informational > INFORMATIONAL_MAX {
                            return Poll::Ready(Err(Failure::Protocol));
                        }
                        continue;
                    }
                    self.keep_alive = out.keep_alive;
                    self.incoming = Incoming::new(out.framing);
                    return Poll::Ready(Ok(()));
                }
            }
            if self.wire.ended || ready!(self.wire.poll_fill(cx))? == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
        }
    }

    /// Whether another request may be sent.
    #[must_use]
    pub(crate) fn is_reusable(&self) -> bool {
        self.keep_alive
            && self.incoming.is_done()
            && self.outgoing.left == 0
            && self.wire.is_flushed()
            && self.wire.input().is_empty()
            && !self.wire.ended
    }

    /// Whether an idle connection is still open and silent.
    pub(crate) fn is_alive(&mut self) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let silent = self.wire.poll_fill(&mut cx).is_pending();
        self.wire.release();
        silent
    }
}

impl Source for ServerSide {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        self.incoming.poll_next(&mut self.wire, cx)
    }
    fn data(&self) -> &[u8] {
        self.incoming.data(&self.wire)
    }
    fn consume(&mut self, n: usize) {
        self.incoming.consume(&mut self.wire, n);
    }
    fn trailers(&mut self) -> Option<Box<Fields>> {
        self.incoming.reader.trailers.take()
    }
}

impl Sink for ServerSide {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>> {
        self.outgoing.poll_push(&mut self.wire, cx, data)
    }
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure> {
        self.outgoing.finish(&mut self.wire, trailers)
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        self.wire.poll_flush(cx).map_err(Failure::from)
    }
}
