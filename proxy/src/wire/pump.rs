//! Moves a body from a source to a sink, with back-pressure: what the sink does not take is not read.

use std::task::{Context, Poll, ready};

use super::frames::Frames;
use super::{Failure, Next, Sink, Source};
use crate::codec::fields::Id;

/// Progress of one body.
#[derive(Debug, Default)]
pub(crate) struct Pump {
    /// Body bytes moved.
    pub(crate) bytes: u64,
    /// The end was handed to the sink.
    pub(crate) finished: bool,
    /// Everything was written.
    pub(crate) flushed: bool,
    /// Bytes kept for another attempt; `None` = not kept, or too many.
    pub(crate) replay: Option<Replay>,
    /// The sink stopped listening; nothing more is moved.
    pub(crate) failed: bool,
    /// `grpc-status` of the trailers.
    pub(crate) grpc_status: Option<u16>,
    /// Counts messages of gRPC.
    pub(crate) frames: Option<Frames>,
}

/// What was already read of a request body, for another attempt.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    kept: Vec<u8>,
    sent: usize,
}

/// Largest body that can be sent again.
const REPLAY_MAX: usize = 1024 * 1024;

/// Which side failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// The body could not be read.
    Source(Failure),
    /// The body could not be written.
    Sink(Failure),
}

impl Pump {
    /// Keeps what passes, so that [`Pump::rewind`] is possible.
    #[must_use]
    pub(crate) fn replayable() -> Self {
        Self {
            replay: Some(Replay::default()),
            ..Self::default()
        }
    }

    /// Puts what was already read of the body before the rest; it is kept for other attempts like the rest.
    pub(crate) fn preload(&mut self, read: Vec<u8>) {
        if read.is_empty() {
            return;
        }
        if let Some(frames) = &mut self.frames {
            frames.feed(&read);
        }
        self.bytes += read.len() as u64;
        self.replay = Some(Replay { kept: read, sent: 0 });
    }

    /// Starts again for another sink; `false` when too much has passed.
    pub(crate) fn rewind(&mut self) -> bool {
        self.finished = false;
        self.flushed = false;
        match &mut self.replay {
            Some(replay) => {
                replay.sent = 0;
                true
            }
            None => self.bytes == 0,
        }
    }

    /// The whole body, if it was kept and is complete.
    #[must_use]
    pub(crate) fn kept(&self) -> Option<&[u8]> {
        let replay = self.replay.as_ref()?;
        self.finished.then_some(replay.kept.as_slice())
    }

    /// Moves what can be moved; ready when everything is written.
    pub(crate) fn poll<S: Source, K: Sink>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
    ) -> Poll<Result<(), Side>> {
        while !self.finished {
            match self.poll_step(cx, source, sink) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(side)) => return Poll::Ready(Err(side)),
                Poll::Pending => {
                    // Nothing to read, or no room: what is buffered must not wait for it.
                    if let Poll::Ready(Err(failure)) = sink.poll_flush(cx) {
                        return Poll::Ready(Err(Side::Sink(failure)));
                    }
                    return Poll::Pending;
                }
            }
        }
        ready!(sink.poll_flush(cx)).map_err(Side::Sink)?;
        self.flushed = true;
        Poll::Ready(Ok(()))
    }

    fn poll_step<S: Source, K: Sink>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
    ) -> Poll<Result<(), Side>> {
        if let Some(replay) = &mut self.replay
            && let Some(rest) = replay.kept.get(replay.sent..).filter(|rest| !rest.is_empty())
        {
            replay.sent += ready!(sink.poll_push(cx, rest)).map_err(Side::Sink)?;
            return Poll::Ready(Ok(()));
        }
        match ready!(source.poll_next(cx)).map_err(Side::Source)? {
            Next::End => {
                let trailers = source.trailers();
                self.grpc_status = trailers
                    .as_ref()
                    .and_then(|t| t.get(Id::GrpcStatus))
                    .and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
                sink.finish(trailers.as_deref()).map_err(Side::Sink)?;
                self.finished = true;
            }
            Next::Data => {
                let n = ready!(sink.poll_push(cx, source.data())).map_err(Side::Sink)?;
                let moved = source.data().get(..n).unwrap_or_default();
                if let Some(frames) = &mut self.frames {
                    frames.feed(moved);
                }
                self.keep(moved);
                source.consume(n);
                self.bytes += n as u64;
            }
        }
        Poll::Ready(Ok(()))
    }

    fn keep(&mut self, data: &[u8]) {
        if let Some(replay) = &mut self.replay {
            if replay.kept.len() + data.len() > REPLAY_MAX {
                self.replay = None;
            } else {
                replay.kept.extend_from_slice(data);
                replay.sent = replay.kept.len();
            }
        }
    }
}
