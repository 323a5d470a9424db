//! An upstream in the middle of one exchange, whichever protocol it speaks.

use std::rc::Rc;
use std::task::{Context, Poll};

use crate::codec::fields::Fields;
use crate::codec::head::{Framing, Method, Request, Response};
use crate::codec::write::{self, Extras};
use crate::compile::{ClusterEntry, EndpointEntry};
use crate::dial::{Facts, Http1Connection, Pools, Ready};
use crate::wire::{Failure, Next, Sink, Source, Wire, http2};

/// One exchange with an upstream.
pub(crate) enum Upstream {
    /// HTTP/1: the connection is ours until the exchange is over.
    Http1(Box<Http1Connection>),
    /// HTTP/2: one stream.
    Http2(Box<http2::ServerSide>),
}

impl Ready {
    /// About the connection.
    #[must_use]
    pub(crate) fn facts(&self) -> Rc<Facts> {
        match self {
            Self::Http1(connection) => Rc::clone(&connection.facts),
            Self::Http2(_, facts) => Rc::clone(facts),
        }
    }
}

impl Upstream {
    /// Sends (or buffers) the request head.
    pub(crate) fn begin(
        ready: Ready,
        request: &Request,
        extras: &Extras<'_>,
        upgrade: bool,
    ) -> Result<Self, Failure> {
        match ready {
            Ready::Http1(mut connection) => {
                write::request_head(connection.side.wire.output(), request, extras, upgrade);
                connection.side.begin(request.framing);
                Ok(Self::Http1(connection))
            }
            Ready::Http2(mut send, _) => Ok(Self::Http2(Box::new(http2::ServerSide::begin(
                &mut send, request, extras,
            )?))),
        }
    }

    /// Reads the final response head.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
        kind: Method,
        out: &mut Response,
    ) -> Poll<Result<(), Failure>> {
        match self {
            Self::Http1(connection) => connection.side.poll_head(cx, kind, out),
            Self::Http2(stream) => stream.poll_head(cx, out).map_ok(|()| {
                if kind == Method::Head {
                    out.framing = Framing::None;
                }
            }),
        }
    }

    /// Keeps the connection for another request, if it can serve one.
    pub(crate) fn give_back(self, pools: &Pools, cluster: &ClusterEntry, endpoint: &EndpointEntry) {
        match self {
            Self::Http1(connection) => pools.give_back(connection, cluster, endpoint),
            Self::Http2(_) => {}
        }
    }

    /// The wire after a change of protocol (HTTP/1).
    pub(crate) fn wire(&mut self) -> Option<&mut Wire> {
        match self {
            Self::Http1(connection) => Some(&mut connection.side.wire),
            Self::Http2(_) => None,
        }
    }
}

impl Source for Upstream {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>> {
        match self {
            Self::Http1(connection) => connection.side.poll_next(cx),
            Self::Http2(stream) => stream.poll_next(cx),
        }
    }
    fn data(&self) -> &[u8] {
        match self {
            Self::Http1(connection) => connection.side.data(),
            Self::Http2(stream) => stream.data(),
        }
    }
    fn consume(&mut self, n: usize) {
        match self {
            Self::Http1(connection) => connection.side.consume(n),
            Self::Http2(stream) => stream.consume(n),
        }
    }
    fn trailers(&mut self) -> Option<Box<Fields>> {
        match self {
            Self::Http1(connection) => connection.side.trailers(),
            Self::Http2(stream) => stream.trailers(),
        }
    }
}

impl Sink for Upstream {
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>> {
        match self {
            Self::Http1(connection) => connection.side.poll_push(cx, data),
            Self::Http2(stream) => stream.poll_push(cx, data),
        }
    }
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure> {
        match self {
            Self::Http1(connection) => connection.side.finish(trailers),
            Self::Http2(stream) => stream.finish(trailers),
        }
    }
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        match self {
            Self::Http1(connection) => connection.side.poll_flush(cx),
            Self::Http2(stream) => stream.poll_flush(cx),
        }
    }
}
