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

/// Reads until the protocol is known. `limit` bounds the wait for the first byte; a client that says nothing in
/// time is taken for plaintext (server-first protocols). `read` came already.
pub(crate) async fn detect(
    socket: &mut TcpStream,
    mut read: Vec<u8>,
    limit: Option<Duration>,
) -> std::io::Result<(Hello, Vec<u8>)> {
    let before = read.len();
    read.reserve(2048);
    let first = async { socket.read_buf(&mut read).await };
    let n = match limit {
        _ if before > 0 => before,
        Some(limit) => match tokio::time::timeout(limit, first).await {
            Ok(n) => n?,
            Err(_) => return Ok((Hello::default(), read)),
        },
        None => first.await?,
    };
    if n == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    if read.first() != Some(&0x16) {
        let mut hello = Hello::default();
        if let Some(protocol) = plain_protocol(&read) {
            hello.protocols.push(protocol.to_vec());
        }
        return Ok((hello, read));
    }
    tokio::time::timeout(HELLO_LIMIT, tls_hello(socket, read))
        .await
        .map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))?
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
        && method.len() <= 20
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
