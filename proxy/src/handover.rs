//! Hot restart: a new process of the same base id takes over the listening sockets and the counters of the old one,
//! which then finishes what it has and ends.
//!
//! The process of restart epoch N listens on an abstract Unix socket; the one of epoch N + 1 connects to it:
//!
//! 1. The new process asks for the sockets and gets them all. Both could accept now; the old one still does.
//! 2. When the new process serves, it says so. The old one stops accepting (the kernel's queues stay: they belong to
//!    the sockets), stops its pages and its reporter, and hands over its counters: the unacknowledged batch unchanged,
//!    what waits, the totals. The run of telemetry, its epoch and its sequence, goes on in the new process.
//! 3. While the old process drains, it hands over what it still counts, each message until it is acknowledged, none
//!    twice. Then it ends.
//!
//! A new process that dies before step 2 changes nothing.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt as _;
use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};

mod counts;
mod descriptors;
mod predecessor;
mod successor;

pub use counts::Counts;
pub use predecessor::{Predecessor, Taken};
pub use successor::{Successor, leave};

/// Longest wait for the other process's next word, where it owes one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Largest message.
const FRAME_MAX: usize = 256 << 20;

/// Where the process of one restart epoch is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// Of this node, base id and epoch; other users' processes have places of their own.
    #[must_use]
    pub fn new(node: &str, base_id: u32, epoch: u32) -> Self {
        let node = mesh_model::balance::hash(node.as_bytes());
        let user = nix::unistd::getuid();
        Self(format!("sightline-proxy/{user}/{base_id}/{node:016x}/{epoch}"))
    }

    fn address(&self) -> io::Result<std::os::unix::net::SocketAddr> {
        std::os::unix::net::SocketAddr::from_abstract_name(&self.0)
    }

    /// Waits here for the next process.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let listener = std::os::unix::net::UnixListener::bind_addr(&self.address()?)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener)
    }

    /// Connects to the process that waits here.
    pub fn connect(&self) -> io::Result<Link> {
        let stream = std::os::unix::net::UnixStream::connect_addr(&self.address()?)?;
        stream.set_nonblocking(true)?;
        Link::new(UnixStream::from_std(stream)?)
    }
}

/// What one process says to the other.
#[derive(Clone, PartialEq, prost::Message)]
struct Frame {
    /// One of [`Word`].
    #[prost(enumeration = "Word", tag = "1")]
    word: i32,
    /// Addresses of the sockets that follow, in their order.
    #[prost(string, repeated, tag = "2")]
    addresses: Vec<String>,
    /// Counters.
    #[prost(message, optional, tag = "3")]
    counts: Option<counts::Message>,
}

/// The words of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
enum Word {
    /// Nothing.
    None = 0,
    /// New to old: give me your sockets.
    Sockets = 1,
    /// Old to new: here they are.
    Here = 2,
    /// New to old: I serve.
    Serving = 3,
    /// Old to new: counters.
    Counts = 4,
    /// New to old: I have them.
    Taken = 5,
    /// Old to new: that was all.
    End = 6,
}

/// A connection between the two processes.
#[derive(Debug)]
pub struct Link {
    stream: UnixStream,
}

fn broken(what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.into())
}

impl Link {
    /// Only processes of the same user (and root) are listened to.
    fn new(stream: UnixStream) -> io::Result<Self> {
        let peer = stream.peer_cred()?.uid();
        if peer != nix::unistd::getuid().as_raw() && peer != 0 {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("the other process belongs to user {peer}"),
            ));
        }
        Ok(Self { stream })
    }

    async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let body = frame.encode_to_vec();
        let length = u32::try_from(body.len()).map_err(|_| broken("message too large"))?;
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(&body).await
    }

    async fn say(&mut self, word: Word) -> io::Result<()> {
        self.send(&Frame {
            word: word.into(),
            ..Frame::default()
        })
        .await
    }

    async fn receive(&mut self) -> io::Result<Frame> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > FRAME_MAX {
            return Err(broken("message too large"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        Frame::decode(body.as_slice()).map_err(|e| broken(e.to_string()))
    }

    async fn expect(&mut self, word: Word) -> io::Result<Frame> {
        let frame = tokio::time::timeout(PATIENCE, self.receive())
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if frame.word() == word {
            Ok(frame)
        } else {
            Err(broken(format!("{:?} where {word:?} was due", frame.word())))
        }
    }

    // --- the new process ---

    /// Every listening socket of the old process, with its address.
    pub async fn sockets(&mut self) -> io::Result<Vec<(SocketAddr, std::net::TcpListener)>> {
        self.say(Word::Sockets).await?;
        let here = self.expect(Word::Here).await?;
        let descriptors =
            tokio::time::timeout(PATIENCE, descriptors::receive(&self.stream, here.addresses.len()))
                .await
                .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        here.addresses
            .iter()
            .zip(descriptors)
            .map(|(address, descriptor)| {
                let address = address
                    .parse()
                    .map_err(|_| broken(format!("address {address:?}")))?;
                let socket = std::net::TcpListener::from(descriptor);
                socket.set_nonblocking(true)?;
                Ok((address, socket))
            })
            .collect()
    }

    /// Says that this process serves; what the old one had counted until then.
    pub async fn serving(&mut self) -> io::Result<Counts> {
        self.say(Word::Serving).await?;
        let frame = self.expect(Word::Counts).await?;
        let counts = Counts::decode(&frame.counts.unwrap_or_default())?;
        self.say(Word::Taken).await?;
        Ok(counts)
    }

    /// What the old process counts while it drains; `None` when that was all.
    pub async fn more(&mut self) -> io::Result<Option<Counts>> {
        let frame = self.receive().await?;
        match frame.word() {
            Word::Counts => {
                let counts = Counts::decode(&frame.counts.unwrap_or_default())?;
                self.say(Word::Taken).await?;
                Ok(Some(counts))
            }
            Word::End => Ok(None),
            other => Err(broken(format!("{other:?} where counters were due"))),
        }
    }

    // --- the old process ---

    /// Waits for a new process, gives it `sockets`, and waits until it serves.
    pub async fn accept<F>(listener: &UnixListener, sockets: F) -> io::Result<Self>
    where
        F: AsyncFnOnce() -> io::Result<Vec<(SocketAddr, OwnedFd)>>,
    {
        let (stream, _) = listener.accept().await?;
        let mut link = Self::new(stream)?;
        link.expect(Word::Sockets).await?;
        let sockets = sockets().await?;
        link.send(&Frame {
            word: Word::Here.into(),
            addresses: sockets.iter().map(|(address, _)| address.to_string()).collect(),
            counts: None,
        })
        .await?;
        let descriptors: Vec<OwnedFd> = sockets.into_iter().map(|(_, descriptor)| descriptor).collect();
        descriptors::send(&link.stream, &descriptors).await?;
        // It takes the time that it needs to be ready.
        let frame = link.receive().await?;
        if frame.word() == Word::Serving {
            Ok(link)
        } else {
            Err(broken(format!("{:?} where Serving was due", frame.word())))
        }
    }

    /// Hands counters over; when this returns, they are the new process's.
    pub async fn hand(&mut self, counts: &Counts) -> io::Result<()> {
        self.send(&Frame {
            word: Word::Counts.into(),
            addresses: Vec::new(),
            counts: Some(counts.encode()),
        })
        .await?;
        self.expect(Word::Taken).await.map(|_| ())
    }

    /// Says that there is nothing more.
    pub async fn end(&mut self) -> io::Result<()> {
        self.say(Word::End).await
    }
}
