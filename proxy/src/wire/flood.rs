//! What one HTTP/2 client may make us do: a count of the frames that cost it nothing, kept before the codec sees
//! them. Frames earn their keep by the streams and the data around them; what goes beyond is a flood, and the
//! connection is closed with ENHANCE_YOUR_CALM.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Io;
use crate::worker::Connection;

/// Bytes of the connection preface, which are no frame.
const PREFACE: usize = 24;
/// Frames of one header block beyond its first.
const CONTINUATIONS_MAX: u32 = 32;
/// Streams reset early within [`RESETS_WINDOW`] that are no flood yet, whatever their share.
const RESETS_FREE: u32 = 100;
/// Resets are judged over this time.
const RESETS_WINDOW: Duration = Duration::from_secs(1);
/// Decoded request heads that a client may have waiting at once, bytes.
const HEADS_MAX: usize = 4 << 20;
/// A bucket never holds more than this many times its first filling.
const BUCKET_GROWTH: i64 = 20;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;

/// Header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Payload without padding, as far as the first byte tells.
    useful: usize,
}

/// Follows frames in a byte stream, however it is cut.
#[derive(Debug, Default)]
struct Scanner {
    header: [u8; 9],
    have: usize,
    /// Payload that is still to come.
    rest: usize,
    /// A padded data frame whose pad length is the next byte.
    padded: Option<Frame>,
    /// The frame whose payload is passing.
    open: Option<Frame>,
}

impl Scanner {
    /// Behind `skip` bytes that are no frames.
    fn behind(skip: usize) -> Self {
        Self {
            rest: skip,
            ..Self::default()
        }
    }

    /// Calls `begun` with each frame header and `ended` when a frame's payload is complete.
    fn feed(&mut self, mut data: &[u8], mut begun: impl FnMut(Frame), mut ended: impl FnMut(Frame)) {
        while let Some((first, others)) = data.split_first() {
            if let Some(mut frame) = self.padded.take() {
                frame.useful = frame.useful.saturating_sub(usize::from(*first) + 1);
                begun(frame);
            }
            if self.rest > 0 {
                let skipped = self.rest.min(data.len());
                self.rest -= skipped;
                data = data.get(skipped..).unwrap_or_default();
            } else {
                if let Some(slot) = self.header.get_mut(self.have) {
                    *slot = *first;
                }
                self.have += 1;
                data = others;
                if self.have < self.header.len() {
                    continue;
                }
                self.have = 0;
                let frame = self.read();
                if frame.kind == DATA && frame.flags & PADDED != 0 && self.rest > 0 {
                    self.padded = Some(frame);
                } else {
                    begun(frame);
                }
                self.open = Some(frame);
            }
            if self.rest == 0
                && let Some(frame) = self.open.take()
            {
                ended(frame);
            }
        }
    }

    fn read(&mut self) -> Frame {
        let [a, b, c, kind, flags, s0, s1, s2, s3] = self.header;
        let length = u32::from_be_bytes([0, a, b, c]);
        self.rest = usize::try_from(length).unwrap_or(usize::MAX);
        Frame {
            kind,
            flags,
            stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
            useful: self.rest,
        }
    }
}

/// How many frames of one kind may come.
#[derive(Debug)]
struct Bucket {
    tokens: i64,
    most: i64,
    name: &'static str,
}

impl Bucket {
    const fn new(first: i64, name: &'static str) -> Self {
        Self {
            tokens: first,
            most: first * BUCKET_GROWTH,
            name,
        }
    }

    fn earn(&mut self, n: i64) {
        self.tokens = self.tokens.saturating_add(n).min(self.most);
    }

    /// Takes one; the name of the flood when there is none.
    fn spend(&mut self) -> Option<&'static str> {
        self.tokens -= 1;
        (self.tokens < 0).then_some(self.name)
    }
}

/// The counts of one connection. Pure: time comes in from outside.
#[derive(Debug)]
struct Counts {
    pings: Bucket,
    settings: Bucket,
    priorities: Bucket,
    updates: Bucket,
    empties: Bucket,
    others: Bucket,
    continuations: u32,
    last_stream: u32,
    /// Highest stream at the begin of the window, and of the one before: younger ones are reset early.
    marks: (u32, u32),
    window: Option<Instant>,
    opened: u32,
    reset: u32,
}

impl Counts {
    const fn new() -> Self {
        Self {
            pings: Bucket::new(100, "ping"),
            settings: Bucket::new(100, "settings"),
            priorities: Bucket::new(200, "priority"),
            updates: Bucket::new(500, "window update"),
            empties: Bucket::new(50, "empty data"),
            others: Bucket::new(200, "unknown frames"),
            continuations: 0,
            last_stream: 0,
            marks: (0, 0),
            window: None,
            opened: 0,
            reset: 0,
        }
    }

    /// Time earns a little of everything.
    fn tick(&mut self, now: Instant) {
        let began = *self.window.get_or_insert(now);
        let passed = now.saturating_duration_since(began);
        if passed < RESETS_WINDOW {
            return;
        }
        self.window = Some(now);
        self.marks = (self.last_stream, self.marks.0);
        (self.opened, self.reset) = (0, 0);
        let seconds = i64::try_from(passed.as_secs()).unwrap_or(1);
        for bucket in self.buckets() {
            bucket.earn(seconds.saturating_mul(20));
        }
    }

    fn buckets(&mut self) -> [&mut Bucket; 6] {
        [
            &mut self.pings,
            &mut self.settings,
            &mut self.priorities,
            &mut self.updates,
            &mut self.empties,
            &mut self.others,
        ]
    }

    /// We sent data: its receiver answers with window updates, and measures the way with pings.
    fn sent_data(&mut self) {
        self.updates.earn(10);
        self.pings.earn(2);
    }

    /// A frame came; the name of the flood that it completes.
    fn received(&mut self, frame: Frame) -> Option<&'static str> {
        match frame.kind {
            DATA if frame.useful == 0 && frame.flags & END_STREAM == 0 => self.empties.spend(),
            DATA => {
                self.empties.earn(1);
                self.pings.earn(2);
                None
            }
            HEADERS => {
                self.continuations = 0;
                if frame.stream > self.last_stream {
                    self.last_stream = frame.stream;
                    self.opened += 1;
                    self.pings.earn(1);
                    self.priorities.earn(10);
                    self.updates.earn(5);
                    self.empties.earn(2);
                }
                None
            }
            CONTINUATION => {
                self.continuations += 1;
                (self.continuations > CONTINUATIONS_MAX).then_some("continuation")
            }
            RST_STREAM => self.was_reset(frame.stream),
            PRIORITY => self.priorities.spend(),
            SETTINGS if frame.flags & ACK == 0 => self.settings.spend(),
            PING if frame.flags & ACK == 0 => self.pings.spend(),
            WINDOW_UPDATE => self.updates.spend(),
            SETTINGS | PING => None,
            GOAWAY => self.others.spend(),
            _ => self.others.spend(),
        }
    }

    /// Streams that are reset as soon as they are opened cost us a request and the client nothing.
    fn was_reset(&mut self, stream: u32) -> Option<&'static str> {
        if stream > self.marks.1 {
            self.reset += 1;
        }
        let most = RESETS_FREE + self.opened / 2;
        (self.reset > most).then_some("reset")
    }
}

/// What a connection's socket and its streams share.
pub(crate) struct Ledger {
    counts: RefCell<Counts>,
    flood: Cell<Option<&'static str>>,
    /// Streams that are open.
    streams: Cell<u32>,
    /// Decoded heads of open streams, bytes.
    heads: Cell<usize>,
    /// Begin of a header block that is not complete.
    block: Cell<Option<Instant>>,
    /// The client was told to leave; nothing that it sends buys time.
    closing: Cell<bool>,
    timers: Timers,
    connection: Rc<Connection>,
    /// The socket, when the codec has let go of it.
    left: RefCell<Option<Io>>,
}

/// How long a connection may do nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timers {
    /// Without a stream.
    pub(crate) idle: Duration,
    /// From the begin of a header block to its end.
    pub(crate) head: Option<Duration>,
}

impl Ledger {
    /// Of a new connection.
    pub(crate) fn new(connection: Rc<Connection>, timers: Timers) -> Rc<Self> {
        let ledger = Rc::new(Self {
            counts: RefCell::new(Counts::new()),
            flood: Cell::new(None),
            streams: Cell::new(0),
            heads: Cell::new(0),
            block: Cell::new(None),
            closing: Cell::new(false),
            timers,
            connection,
            left: RefCell::new(None),
        });
        ledger.rearm();
        ledger
    }

    /// The kind of flood that this client sends, if it does.
    pub(crate) fn flood(&self) -> Option<&'static str> {
        self.flood.get()
    }

    /// The connection waits for one of: the rest of a header block, or anything at all.
    fn rearm(&self) {
        if self.closing.get() {
            return;
        }
        let head = self
            .block
            .get()
            .zip(self.timers.head)
            .map(|(since, limit)| since + limit);
        let idle = (self.streams.get() == 0).then(|| Instant::now() + self.timers.idle);
        self.connection.set_deadline(head.or(idle));
    }

    /// The connection ends then, whatever comes.
    pub(crate) fn close_by(&self, deadline: Instant) {
        self.closing.set(true);
        self.connection.set_deadline(Some(deadline));
    }

    /// Puts a stream with a head of this size on the books.
    pub(crate) fn open(self: &Rc<Self>, head: usize) -> Open {
        self.streams.set(self.streams.get() + 1);
        self.heads.set(self.heads.get() + head);
        if self.heads.get() > HEADS_MAX {
            self.flood.set(Some("request heads"));
        }
        self.rearm();
        Open {
            ledger: Rc::clone(self),
            head,
        }
    }

    /// The socket, for a last look at it.
    pub(crate) fn take_socket(&self) -> Option<Io> {
        self.left.borrow_mut().take()
    }

    fn begun(&self, frame: Frame) {
        if matches!(frame.kind, HEADERS | CONTINUATION) && self.block.get().is_none() {
            self.block.set(Some(Instant::now()));
            self.rearm();
        }
        if let Some(flood) = self.counts.borrow_mut().received(frame) {
            self.flood.set(Some(flood));
        }
    }

    fn ended(&self, frame: Frame) {
        if matches!(frame.kind, HEADERS | CONTINUATION) && frame.flags & END_HEADERS != 0 {
            self.block.set(None);
            self.rearm();
        }
    }
}

/// An open stream.
pub(crate) struct Open {
    ledger: Rc<Ledger>,
    head: usize,
}

impl Drop for Open {
    fn drop(&mut self) {
        let ledger = &self.ledger;
        ledger.streams.set(ledger.streams.get().saturating_sub(1));
        ledger.heads.set(ledger.heads.get().saturating_sub(self.head));
        if ledger.streams.get() == 0 {
            ledger.rearm();
        }
    }
}

/// A socket whose frames are counted both ways.
pub(crate) struct Metered {
    io: Option<Io>,
    ledger: Rc<Ledger>,
    inbound: Scanner,
    outbound: Scanner,
}

impl Metered {
    /// Before the preface was read.
    pub(crate) fn new(io: Io, ledger: Rc<Ledger>) -> Self {
        Self {
            io: Some(io),
            ledger,
            inbound: Scanner::behind(PREFACE),
            outbound: Scanner::default(),
        }
    }

    fn io(&mut self) -> io::Result<Pin<&mut Io>> {
        self.io
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn wrote(&mut self, bytes: &[u8]) {
        let counts = &self.ledger.counts;
        self.outbound.feed(
            bytes,
            |frame| {
                if frame.kind == DATA {
                    counts.borrow_mut().sent_data();
                }
            },
            |_| {},
        );
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        *self.ledger.left.borrow_mut() = self.io.take();
    }
}

impl AsyncRead for Metered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ledger.flood().is_some() {
            // Whoever serves the connection looks after each turn, and closes it.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        ready!(this.io()?.poll_read(cx, buf))?;
        let new = buf.filled().get(before..).unwrap_or_default();
        if !new.is_empty() {
            let ledger = &this.ledger;
            ledger.counts.borrow_mut().tick(Instant::now());
            this.inbound
                .feed(new, |frame| ledger.begun(frame), |frame| ledger.ended(frame));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(self.io()?.poll_write(cx, buf))?;
        self.wrote(buf.get(..n).unwrap_or_default());
        Poll::Ready(Ok(n))
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io()?.poll_shutdown(cx)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let n = ready!(self.io()?.poll_write_vectored(cx, bufs))?;
        let mut rest = n;
        for part in bufs {
            let taken = rest.min(part.len());
            self.wrote(part.get(..taken).unwrap_or_default());
            rest -= taken;
        }
        Poll::Ready(Ok(n))
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
