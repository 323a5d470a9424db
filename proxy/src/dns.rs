//! The DNS proxy of a captured pod: answers the names of the mesh, passes other lookups on to the pod's name servers.
//!
//! Both kinds of transport, on loopback, where the capture rules send the application's lookups. Everything is bounded:
//! lookups that are under way, connections, sizes, times.

mod answer;
mod upstream;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_model::address::port;
use mesh_xds::discovery::{Struct, value::Kind};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Semaphore;

use crate::runtime::Runtime;

pub use answer::{Verdict, judge};
pub use upstream::Upstream;

/// Lookups under way at once; further ones are answered SERVFAIL.
const LOOKUPS: usize = 512;
/// Connections at once.
const CONNECTIONS: usize = 64;
/// Largest message over UDP.
const DATAGRAM: usize = 4096;
/// An idle connection is closed after this.
const IDLE: Duration = Duration::from_secs(10);

/// Answers lookups.
struct Resolver {
    runtime: Runtime,
    upstream: Upstream,
    room: Semaphore,
}

/// Whether the node's metadata ask for captured lookups (`ISTIO_META_DNS_CAPTURE`).
#[must_use]
pub fn is_wanted(metadata: Option<&Struct>) -> bool {
    let value = metadata.and_then(|m| m.fields.get("DNS_CAPTURE"));
    match value.and_then(|v| v.kind.as_ref()) {
        Some(Kind::StringValue(text)) => text == "true",
        Some(Kind::BoolValue(wanted)) => *wanted,
        _ => false,
    }
}

/// Opens the ports and serves them; answers what could not be opened.
pub async fn start(runtime: Runtime, resolv_conf: &str) -> std::io::Result<()> {
    let resolver = Arc::new(Resolver {
        runtime,
        upstream: Upstream::of(resolv_conf),
        room: Semaphore::new(LOOKUPS),
    });
    let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port::DNS);
    open(&resolver, v4).await?;
    let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), port::DNS);
    if let Err(error) = open(&resolver, v6).await {
        // A pod may have no IPv6 at all.
        tracing::debug!(address = %v6, %error, "no lookups over IPv6");
    }
    Ok(())
}

async fn open(resolver: &Arc<Resolver>, address: SocketAddr) -> std::io::Result<()> {
    let socket = bound(address, Type::DGRAM)?;
    let socket = Arc::new(UdpSocket::from_std(socket.into())?);
    let listener = bound(address, Type::STREAM)?;
    listener.listen(128)?;
    let listener = TcpListener::from_std(listener.into())?;
    tokio::spawn(datagrams(Arc::clone(resolver), socket));
    tokio::spawn(connections(Arc::clone(resolver), listener));
    Ok(())
}

/// A socket that the next process may open too, before this one ends.
fn bound(address: SocketAddr, kind: Type) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

async fn datagrams(resolver: Arc<Resolver>, socket: Arc<UdpSocket>) {
    let mut buffer = vec![0; DATAGRAM];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An earlier answer that nobody took; the socket goes on.
                tracing::debug!(%error, "lookup");
                continue;
            }
        };
        let query = buffer.get(..length).unwrap_or_default().to_vec();
        let (resolver, socket) = (Arc::clone(&resolver), Arc::clone(&socket));
        tokio::spawn(async move {
            if let Some(answer) = resolver.answer(&query, false).await {
                let _ = socket.send_to(&answer, client).await;
            }
        });
    }
}

async fn connections(resolver: Arc<Resolver>, listener: TcpListener) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let resolver = Arc::clone(&resolver);
                tokio::spawn(async move {
                    if let Err(error) = connection(&resolver, stream).await {
                        tracing::debug!(%error, "lookups over TCP ended");
                    }
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

async fn connection(resolver: &Resolver, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let read = async {
            let length = stream.read_u16().await?;
            let mut query = vec![0; usize::from(length)];
            stream.read_exact(&mut query).await?;
            Ok::<_, std::io::Error>(query)
        };
        let query = tokio::time::timeout(IDLE, read).await??;
        let Some(answer) = resolver.answer(&query, true).await else {
            return Ok(());
        };
        let length = u16::try_from(answer.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
        let write = async {
            stream
                .write_all(&[&length.to_be_bytes()[..], &answer].concat())
                .await
        };
        tokio::time::timeout(IDLE, write).await??;
    }
}

impl Resolver {
    /// The answer to a message; none to what is no query at all.
    async fn answer(&self, query: &[u8], stream: bool) -> Option<Vec<u8>> {
        let names = self.runtime.names().unwrap_or_default();
        match judge(query, &names, &self.upstream.search) {
            Verdict::Answer(answer) => Some(answer),
            Verdict::Ignore => None,
            Verdict::Forward => {
                let Ok(_permit) = self.room.try_acquire() else {
                    return answer::failure(query);
                };
                match self.upstream.ask(query, stream).await {
                    Some(answer) => Some(answer),
                    None => answer::failure(query),
                }
            }
        }
    }
}
