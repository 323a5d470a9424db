//! Connections as bytes: one stream with its two buffers, and the two halves of an exchange.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::codec::fields::Fields;

pub(crate) mod flood;
pub(crate) mod frames;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod patience;
pub(crate) mod pump;

/// Bytes gathered before a write is forced.
const HIGH_WATER: usize = 64 * 1024;
/// Data at least this long is written from where it lies.
const DIRECT: usize = 8 * 1024;
/// Buffer of an ordinary message.
const BUFFER: usize = 16 * 1024;
/// Buffer of a body that fills an ordinary one: few and large reads and writes.
const LARGE: usize = 128 * 1024;
/// What a large buffer may have grown to and still be kept.
const LARGE_GROWN: usize = 2 * LARGE;
/// Unused buffers of each kind that a worker keeps.
const SPARE_MAX: usize = 128;
const SPARE_LARGE_MAX: usize = 4;
/// A read is not tried into less room than this.
const ROOM_MIN: usize = 4096;

/// A byte stream: plain, plain with bytes that detection already read, or TLS of either side.
pub(crate) enum Stream {
    /// Plaintext.
    Tcp(TcpStream),
    /// TLS that we terminate.
    Server(Box<tokio_rustls::server::TlsStream<Rewound>>),
    /// TLS that we began.
    Client(Box<tokio_rustls::client::TlsStream<TcpStream>>),
    /// Given away.
    None,
}

/// A socket whose first bytes were read by detection.
pub(crate) struct Rewound {
    prefix: Vec<u8>,
    at: usize,
    socket: TcpStream,
}

impl Rewound {
    /// `prefix` is read again before the socket.
    #[must_use]
    pub(crate) fn new(prefix: Vec<u8>, socket: TcpStream) -> Self {
        Self {
            prefix,
            at: 0,
            socket,
        }
    }
}

impl AsyncRead for Rewound {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.prefix.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            return Pin::new(&mut this.socket).poll_read(cx, buf);
        }
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        this.at += n;
        if this.at == this.prefix.len() {
            this.prefix = Vec::new();
            this.at = 0;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Rewound {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
}

macro_rules! each_stream {
    ($self:ident, $stream:ident => $call:expr) => {
        match &mut *$self {
            Stream::Tcp($stream) => $call,
            Stream::Server($stream) => $call,
            Stream::Client($stream) => $call,
            Stream::None => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each_stream!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        each_stream!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_stream!(self, stream => Pin::new(stream).poll_flush(cx))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        each_stream!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each_stream!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
}

impl Stream {
    /// Whether bytes cross the network encrypted.
    #[must_use]
    pub(crate) fn is_tls(&self) -> bool {
        !matches!(self, Self::Tcp(_))
    }
}

/// A stream whose first bytes were read already, for codecs that do their own buffering.
pub(crate) struct Io {
    prefix: Vec<u8>,
    at: usize,
    stream: Stream,
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let rest = this.prefix.get(this.at..).unwrap_or_default();
        if rest.is_empty() {
            this.prefix = Vec::new();
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let n = rest.len().min(buf.remaining());
        buf.put_slice(rest.get(..n).unwrap_or_default());
        this.at += n;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Io {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
}

/// Buffers that no connection needs at the moment: an idle connection holds none.
#[derive(Default)]
struct Spare {
    ordinary: Vec<Vec<u8>>,
    large: Vec<Vec<u8>>,
}

thread_local! {
    /// Those of this worker.
    static SPARE: RefCell<Spare> = RefCell::default();
}

fn take_buffer() -> Vec<u8> {
    SPARE
        .with_borrow_mut(|spare| spare.ordinary.pop())
        .unwrap_or_else(|| Vec::with_capacity(BUFFER))
}

fn take_large_buffer() -> Vec<u8> {
    SPARE
        .with_borrow_mut(|spare| spare.large.pop())
        .unwrap_or_else(|| Vec::with_capacity(LARGE))
}

fn give_buffer(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        let (kept, most) = match buffer.capacity() {
            BUFFER => (&mut spare.ordinary, SPARE_MAX),
            LARGE..=LARGE_GROWN => (&mut spare.large, SPARE_LARGE_MAX),
            _ => return,
        };
        if kept.len() < most {
            kept.push(buffer);
        }
    });
}

/// Lets go of half of the unused buffers; called every now and then, so that memory follows need.
pub(crate) fn trim_spare() {
    SPARE.with_borrow_mut(|spare| {
        for kept in [&mut spare.ordinary, &mut spare.large] {
            kept.truncate(kept.len() / 2);
            if kept.is_empty() {
                kept.shrink_to_fit();
            }
        }
    });
}

/// A stream with what was read and not yet used, and what is to be written.
pub(crate) struct Wire {
    /// The stream.
    pub(crate) stream: Stream,
    input: Vec<u8>,
    used: usize,
    output: Vec<u8>,
    written: usize,
    /// The peer will send nothing more.
    pub(crate) ended: bool,
    unflushed: bool,
    /// The last read filled the buffer: more is waiting.
    filled: bool,
}

impl Wire {
    /// `input` was already read by detection.
    #[must_use]
    pub(crate) fn new(stream: Stream, input: Vec<u8>) -> Self {
        Self {
            stream,
            input,
            used: 0,
            output: Vec::new(),
            written: 0,
            ended: false,
            unflushed: false,
            filled: false,
        }
    }

    /// The stream with what was read before it, for a codec of its own.
    #[must_use]
    pub(crate) fn into_io(mut self) -> Io {
        let input = std::mem::take(&mut self.input);
        let stream = std::mem::replace(&mut self.stream, Stream::None);
        Io {
            prefix: input,
            at: self.used,
            stream,
        }
    }

    /// Bytes read and not used.
    #[must_use]
    pub(crate) fn input(&self) -> &[u8] {
        self.input.get(self.used..).unwrap_or_default()
    }

    /// Uses up bytes of the input.
    pub(crate) fn consume(&mut self, n: usize) {
        self.used = (self.used + n).min(self.input.len());
        if self.used == self.input.len() {
            self.input.clear();
            self.used = 0;
        }
    }

    /// What is to be written next; append here.
    pub(crate) fn output(&mut self) -> &mut Vec<u8> {
        if self.output.capacity() == 0 {
            self.output = take_buffer();
        }
        &mut self.output
    }

    /// Whether everything was written.
    #[must_use]
    pub(crate) fn is_flushed(&self) -> bool {
        self.output.len() == self.written && !self.unflushed
    }

    /// Gives empty buffers back; an idle connection costs none.
    pub(crate) fn release(&mut self) {
        if self.input.is_empty() {
            give_buffer(std::mem::take(&mut self.input));
            self.used = 0;
            self.filled = false;
        }
        if self.output.is_empty() {
            give_buffer(std::mem::take(&mut self.output));
        }
    }

    /// Waits for bytes without holding a buffer meanwhile.
    pub(crate) fn poll_readable(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &self.stream {
            Stream::Tcp(socket) if self.input.is_empty() => socket.poll_read_ready(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Reads once; 0 = the peer has ended.
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.input.is_empty() {
            let capacity = self.input.capacity();
            if self.filled && capacity < LARGE {
                give_buffer(std::mem::replace(&mut self.input, take_large_buffer()));
            } else if capacity < BUFFER {
                self.input = take_buffer();
            }
        }
        let room = |input: &Vec<u8>| input.capacity() - input.len();
        if self.used > 0 && room(&self.input) < ROOM_MIN {
            self.input.drain(..self.used);
            self.used = 0;
        }
        if room(&self.input) < ROOM_MIN {
            // A head that outgrew its buffer.
            self.input.reserve(self.input.capacity());
        }
        let n = ready!(tokio_util::io::poll_read_buf(
            Pin::new(&mut self.stream),
            cx,
            &mut self.input
        ))?;
        self.ended |= n == 0;
        self.filled = self.input.len() == self.input.capacity();
        Poll::Ready(Ok(n))
    }

    /// Writes everything that is due.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.output.get(self.written..).filter(|rest| !rest.is_empty()) {
            let n = ready!(Pin::new(&mut self.stream).poll_write(cx, rest))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += n;
            self.unflushed = true;
        }
        self.output.clear();
        self.written = 0;
        if self.unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Writes what is due and `data` behind it in one call where possible; the number of bytes of `data` taken.
    fn poll_write_behind(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let due = self.output.get(self.written..).unwrap_or_default();
            let due_len = due.len();
            let n = if due.is_empty() {
                ready!(Pin::new(&mut self.stream).poll_write(cx, data))?
            } else {
                let slices = [io::IoSlice::new(due), io::IoSlice::new(data)];
                ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices))?
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            if n >= due_len {
                self.output.clear();
                self.written = 0;
                if n > due_len {
                    return Poll::Ready(Ok(n - due_len));
                }
            } else {
                self.written += n;
            }
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        give_buffer(std::mem::take(&mut self.input));
        give_buffer(std::mem::take(&mut self.output));
    }
}

/// Why a half of an exchange failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The connection ended or was reset.
    Closed,
    /// The peer broke the protocol.
    Protocol,
    /// HTTP/2: the stream was refused and not processed.
    Refused,
    /// HTTP/2: the stream was reset.
    Reset,
    /// A client kept us waiting for too long.
    Stalled,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Closed
    }
}

/// What a body has next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Data, see [`Source::data`].
    Data,
    /// The end; trailers may follow by [`Source::trailers`].
    End,
}

/// Where a body comes from.
pub(crate) trait Source {
    /// Gets data or the end.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Next, Failure>>;
    /// Data after [`Next::Data`].
    fn data(&self) -> &[u8];
    /// Uses up data.
    fn consume(&mut self, n: usize);
    /// Trailers after [`Next::End`].
    fn trailers(&mut self) -> Option<Box<Fields>>;
}

/// Where a body goes.
pub(crate) trait Sink {
    /// Takes a part of `data`; it may stay in a buffer until [`Sink::poll_flush`].
    fn poll_push(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Result<usize, Failure>>;
    /// Ends the body.
    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), Failure>;
    /// Writes what is buffered.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failure>>;
}
