//! What a client speaks, from its first bytes, by a deadline; nothing is used up.

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::compile::Hello;

/// Largest TLS hello that is waited for.
const HELLO_MAX: usize = 16 * 1024 + 5;
/// A TLS hello must be complete within this time.
const HELLO_LIMIT: Duration = Duration::from_secs(10);
/// The HTTP/2 connection preface.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was heard of a client.
pub(crate) enum Heard {
    /// What it speaks, and the bytes that said so.
    Speech(Hello, Vec<u8>),
    /// Nothing in time: it may be waiting for the server.
    Silence,
}

/// Reads until the protocol is known. `limit` bounds the wait for the first byte. `read` came already.
pub(crate) async fn detect(
    socket: &mut TcpStream,
    mut read: Vec<u8>,
    limit: Option<Duration>,
) -> std::io::Result<Heard> {
    let before = read.len();
    read.reserve(2048);
    let first = async { socket.read_buf(&mut read).await };
    let n = match limit {
        _ if before > 0 => before,
        Some(limit) => match tokio::time::timeout(limit, first).await {
            Ok(n) => n?,
            Err(_) => return Ok(Heard::Silence),
        },
        None => first.await?,
    };
    if n == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    let is_tls = read.first() == Some(&0x16);
    if !is_tls {
        more_of_a_method(socket, &mut read).await?;
        let mut hello = Hello::default();
        if let Some(protocol) = plain_protocol(&read) {
            hello.protocols.push(protocol.to_vec());
        }
        return Ok(Heard::Speech(hello, read));
    }
    tokio::time::timeout(HELLO_LIMIT, tls_hello(socket, read))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
        .map(|(hello, read)| Heard::Speech(hello, read))
}

/// How long the rest of what may become a request line is waited for.
const METHOD_LIMIT: Duration = Duration::from_millis(100);
/// Longest method.
const METHOD_MAX: usize = 20;

/// The first segment may end inside the method; then it is not known yet whether it is one.
async fn more_of_a_method(socket: &mut TcpStream, read: &mut Vec<u8>) -> std::io::Result<()> {
    let undecided = |read: &[u8]| {
        let method = read.len() <= METHOD_MAX && read.iter().all(|b| b.is_ascii_uppercase() || *b == b'-');
        method || (read.len() < PREFACE.len() && PREFACE.starts_with(read))
    };
    let more = async {
        while undecided(read) {
            if socket.read_buf(read).await? == 0 {
                break;
            }
        }
        Ok(())
    };
    tokio::time::timeout(METHOD_LIMIT, more).await.unwrap_or(Ok(()))
}

async fn tls_hello(socket: &mut TcpStream, mut read: Vec<u8>) -> std::io::Result<(Hello, Vec<u8>)> {
    let mut acceptor = rustls::server::Acceptor::default();
    let mut fed = 0;
    loop {
        while let Some(mut rest) = read.get(fed..).filter(|rest| !rest.is_empty()) {
            fed += acceptor.read_tls(&mut rest)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                return Ok((
                    Hello {
                        tls: true,
                        server_name: hello.server_name().map(ToOwned::to_owned),
                        protocols: hello
                            .alpn()
                            .map(|protocols| protocols.map(<[u8]>::to_vec).collect())
                            .unwrap_or_default(),
                    },
                    read,
                ));
            }
            Ok(None) => {}
            // It began like TLS and is none: opaque bytes, for whoever takes those.
            Err(_) => return Ok((Hello::default(), read)),
        }
        if read.len() >= HELLO_MAX || socket.read_buf(&mut read).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// `http/1.1` or `h2c` if the bytes look like it.
fn plain_protocol(read: &[u8]) -> Option<&'static [u8]> {
    if PREFACE.starts_with(read.get(..read.len().min(PREFACE.len()))?) && read.len() >= 3 {
        return Some(b"h2c");
    }
    let line = read.split(|b| *b == b'\r' || *b == b'\n').next()?;
    let method = line.split(|b| *b == b' ').next()?;
    let is_token = !method.is_empty()
        && method.len() <= METHOD_MAX
        && method.iter().all(|b| b.is_ascii_uppercase() || *b == b'-');
    (is_token && line.len() > method.len()).then_some(b"http/1.1")
}

#[cfg(test)]
mod tests {
    use super::plain_protocol;

    #[test]
    fn plaintext_protocols() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n"[..], Some(&b"http/1.1"[..])),
            (b"M-SEARCH * HTTP/1.1\r\n", Some(b"http/1.1")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Some(b"h2c")),
            (b"PRI * H", Some(b"h2c")),
            (b"hello\r\n", None),
            (b"\x00\x01", None),
            (b"EHLO", None),
        ] {
            assert_eq!(plain_protocol(bytes), expected, "{bytes:?}");
        }
    }
}
