//! The pod's own name servers: asked one after the other, believed only as far as an answer fits its question.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};

/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often all servers are asked.
const ROUNDS: usize = 2;
/// Servers that are asked (what resolv.conf may name).
const SERVERS: usize = 3;
/// Answers of one server that do not fit the question, after which it is not listened to any more.
const LIES: usize = 8;
/// Head of a message.
const HEAD: usize = 12;

/// Name servers and search domains of `resolv.conf`.
#[derive(Debug, Clone, Default)]
pub struct Upstream {
    /// Servers.
    pub servers: Vec<SocketAddr>,
    /// Search domains, lower case.
    pub search: Vec<String>,
}

impl Upstream {
    /// Reads a `resolv.conf`.
    #[must_use]
    pub fn of(resolv_conf: &str) -> Self {
        let servers = mesh_capture::settings::name_servers(resolv_conf);
        let search = resolv_conf
            .lines()
            .filter_map(|line| line.trim().strip_prefix("search "))
            .next_back()
            .unwrap_or_default();
        Self {
            servers: servers
                .into_iter()
                .take(SERVERS)
                .map(|ip| SocketAddr::new(ip, 53))
                .collect(),
            search: search
                .split_whitespace()
                .map(|domain| domain.trim_end_matches('.').to_ascii_lowercase())
                .collect(),
        }
    }

    /// Passes a query on; the answer has the query's own id.
    pub async fn ask(&self, query: &[u8], stream: bool) -> Option<Vec<u8>> {
        for _ in 0..ROUNDS {
            for server in &self.servers {
                let asked = async {
                    if stream {
                        over_stream(*server, query).await
                    } else {
                        by_datagram(*server, query).await
                    }
                };
                match tokio::time::timeout(PATIENCE, asked).await {
                    Ok(Ok(answer)) => return Some(answer),
                    Ok(Err(error)) => tracing::debug!(%server, %error, "name server"),
                    Err(_) => tracing::debug!(%server, "name server does not answer"),
                }
            }
        }
        None
    }
}

/// The query under an id that nobody else knows, so that an answer cannot be guessed.
fn renamed(query: &[u8]) -> std::io::Result<(Vec<u8>, [u8; 2], [u8; 2])> {
    let mut query = query.to_vec();
    let id = rand::random::<u16>().to_be_bytes();
    let place = query
        .first_chunk_mut::<2>()
        .ok_or(std::io::ErrorKind::InvalidData)?;
    let own = std::mem::replace(place, id);
    Ok((query, own, id))
}

fn take_back(mut answer: Vec<u8>, own: [u8; 2]) -> Vec<u8> {
    if let Some(place) = answer.first_chunk_mut::<2>() {
        *place = own;
    }
    answer
}

async fn by_datagram(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let any = match server.ip() {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let (query, own, _) = renamed(query)?;
    // A port of its own for each lookup; connected, so that others' packets do not come in.
    let socket = UdpSocket::bind(SocketAddr::new(any, 0)).await?;
    socket.connect(server).await?;
    socket.send(&query).await?;
    let mut buffer = vec![0; super::DATAGRAM];
    for _ in 0..LIES {
        let length = socket.recv(&mut buffer).await?;
        let answer = buffer.get(..length).unwrap_or_default();
        if fits(&query, answer) {
            return Ok(take_back(answer.to_vec(), own));
        }
    }
    Err(std::io::Error::other("answers do not fit the question"))
}

async fn over_stream(server: SocketAddr, query: &[u8]) -> std::io::Result<Vec<u8>> {
    let (query, own, _) = renamed(query)?;
    let length = u16::try_from(query.len()).map_err(|_| std::io::ErrorKind::InvalidData)?;
    let mut stream = TcpStream::connect(server).await?;
    stream
        .write_all(&[&length.to_be_bytes()[..], &query].concat())
        .await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if fits(&query, &answer) {
        Ok(take_back(answer, own))
    } else {
        Err(std::io::Error::other("the answer does not fit the question"))
    }
}

/// Whether a message answers this very query: id, kind, and the question word for word.
fn fits(query: &[u8], answer: &[u8]) -> bool {
    let is_answer = answer.get(2).is_some_and(|flags| flags & 0x80 != 0);
    let same_id = query.get(..2) == answer.get(..2);
    let counts = |message: &[u8]| message.get(4..6) == Some(&[0, 1]);
    let question = |message: &'_ [u8]| -> Option<Vec<u8>> {
        let mut end = HEAD;
        loop {
            let length = *message.get(end)?;
            // A first question cannot point back.
            if length > 63 {
                return None;
            }
            end += 1 + usize::from(length);
            if length == 0 {
                break;
            }
        }
        Some(message.get(HEAD..end + 4)?.to_ascii_lowercase())
    };
    is_answer
        && same_id
        && counts(query)
        && counts(answer)
        && question(query).is_some_and(|asked| question(answer).is_some_and(|answered| asked == answered))
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03web\x00\x00\x01\x00\x01";

    fn answer(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut answer = QUERY.to_vec();
        answer[2] |= 0x80;
        change(&mut answer);
        answer
    }

    #[test]
    fn only_the_answer_to_the_question_is_believed() {
        for (what, message, fit) in [
            ("the answer", answer(|_| {}), true),
            ("in capitals", answer(|a| a[13..16].copy_from_slice(b"WEB")), true),
            ("the query", QUERY.to_vec(), false),
            ("another id", answer(|a| a[1] = 0), false),
            ("another name", answer(|a| a[13] = b'x'), false),
            ("another type", answer(|a| a[18] = 28), false),
            ("no question", answer(|a| a[5] = 0), false),
            ("a pointer", answer(|a| a[12] = 0xc0), false),
            ("cut short", answer(|a| a.truncate(15)), false),
            ("nothing", Vec::new(), false),
        ] {
            assert_eq!(fits(QUERY, &message), fit, "{what}");
        }
    }

    #[test]
    fn resolv_conf() {
        let upstream = Upstream::of(
            "# x\nsearch a.b.\nsearch Demo.svc  svc\nnameserver 10.0.0.1\nnameserver ::1\nnameserver x\n",
        );
        assert_eq!(upstream.search, ["demo.svc", "svc"]);
        let servers: Vec<String> = upstream.servers.iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "[::1]:53"]);
    }
}
