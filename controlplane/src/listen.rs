//! TLS listeners: handshakes off the accept loop, bounded and with a deadline.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use mesh_model::identity::SpiffeId;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

const HANDSHAKE: Duration = Duration::from_secs(10);
const HANDSHAKES: usize = 256;
const WAITING: usize = 64;
/// Pause after an accept error such as "too many open files".
const PAUSE: Duration = Duration::from_millis(50);

/// What the handshake said about the caller.
#[derive(Debug, Clone, Default)]
pub(crate) struct Peer {
    pub(crate) identity: Option<SpiffeId>,
    /// End of its certificate, Unix milliseconds; 0 without one.
    pub(crate) certificate_expires_ms: u64,
}

/// A connection after its handshake.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: TlsStream<TcpStream>,
    peer: Peer,
}

/// Handshaken connections of one listener.
pub(crate) struct Incoming {
    address: SocketAddr,
    queue: mpsc::Receiver<Secured>,
}

impl Incoming {
    /// Starts accepting. New handshakes use the configuration that is in the cell then.
    pub(crate) fn start(listener: TcpListener, tls: Arc<ArcSwap<ServerConfig>>) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (sender, queue) = mpsc::channel(WAITING);
        tokio::spawn(accept(listener, tls, sender));
        Ok(Self { address, queue })
    }

    /// As the stream that tonic serves.
    pub(crate) fn into_stream(self) -> impl futures::Stream<Item = io::Result<Secured>> {
        futures::StreamExt::map(tokio_stream::wrappers::ReceiverStream::new(self.queue), Ok)
    }
}

async fn accept(listener: TcpListener, tls: Arc<ArcSwap<ServerConfig>>, sender: mpsc::Sender<Secured>) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES));
    loop {
        let Ok(permit) = Arc::clone(&handshakes).acquire_owned().await else {
            return;
        };
        let socket = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, _)) => socket,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = sender.closed() => return,
        };
        let acceptor = TlsAcceptor::from(tls.load_full());
        let sender = sender.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let _ = socket.set_nodelay(true);
            match tokio::time::timeout(HANDSHAKE, acceptor.accept(socket)).await {
                Ok(Ok(stream)) => {
                    let peer = peer(&stream);
                    let _ = sender.send(Secured { stream, peer }).await;
                }
                Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
                Err(_) => tracing::debug!("handshake took too long"),
            }
        });
    }
}

fn peer(stream: &TlsStream<TcpStream>) -> Peer {
    let chain = stream.get_ref().1.peer_certificates();
    let leaf = chain.and_then(|chain| chain.first());
    let not_after = leaf
        .and_then(|leaf| x509_parser::parse_x509_certificate(leaf).ok())
        .map_or(0, |(_, certificate)| certificate.validity().not_after.timestamp());
    Peer {
        identity: mesh_tls::peer_identity(chain),
        certificate_expires_ms: u64::try_from(not_after).unwrap_or_default().saturating_mul(1000),
    }
}

impl tonic::transport::server::Connected for Secured {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl axum::serve::Listener for Incoming {
    type Io = Secured;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Secured, SocketAddr) {
        match self.queue.recv().await {
            Some(secured) => (secured, self.address),
            // The accept loop has ended with the runtime: nothing will ever come.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
