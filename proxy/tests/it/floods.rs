//! Clients that ask for more than they pay for: every kind of HTTP/2 flood is closed with ENHANCE_YOUR_CALM within
//! two seconds, while another client is served.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sightline_proxy::runtime::NodeKind;

use crate::h2spec;
use crate::harness::*;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const ENHANCE_YOUR_CALM: u32 = 11;
const SETTINGS: u8 = 4;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

/// A header block: GET or POST / of http://web, without dynamic table.
fn head(method: u8) -> Vec<u8> {
    // :method, :scheme http, :path / are in the static table; :authority is a literal.
    let mut block = vec![method, 0x86, 0x84, 0x01, 3];
    block.extend_from_slice(b"web");
    block
}

const GET: u8 = 0x82;
const POST: u8 = 0x83;

fn id(i: u32) -> u32 {
    2 * i + 1
}

/// How a kind of flood goes on: the bytes of round `i`.
type Round = fn(u32) -> Vec<u8>;

/// Opens stream 1 with a body to come.
fn open(flags: u8) -> Vec<u8> {
    frame(1, flags, 1, &head(POST))
}

/// A block of header fields that decodes to 60 KiB from a few bytes: one large entry, referred to again and again.
fn bomb(i: u32) -> Vec<u8> {
    let mut block = head(GET);
    // A literal with indexing, so that it is entry 62.
    block.extend_from_slice(&[0x40, 1, b'x', 0x7f, 0x81, 0x1e]);
    block.extend(std::iter::repeat_n(b'a', 127 + 0x0f01));
    block.extend(std::iter::repeat_n(0xbe, 14));
    frame(1, END_HEADERS | END_STREAM, id(i), &block)
}

struct Flood {
    name: &'static str,
    first: fn() -> Vec<u8>,
    round: Round,
}

const FLOODS: &[Flood] = &[
    Flood {
        name: "rapid reset",
        first: Vec::new,
        round: |i| {
            let mut bytes = frame(1, END_HEADERS | END_STREAM, id(i), &head(GET));
            bytes.extend(frame(3, 0, id(i), &8_u32.to_be_bytes()));
            bytes
        },
    },
    Flood {
        name: "made you reset",
        first: Vec::new,
        round: |i| {
            let mut bytes = frame(1, END_HEADERS, id(i), &head(POST));
            // A window that grows too large is a stream error.
            bytes.extend(frame(8, 0, id(i), &0x7fff_ffff_u32.to_be_bytes()));
            bytes
        },
    },
    Flood {
        name: "continuation",
        first: || open(0),
        round: |_| frame(9, 0, 1, b"\x00\x01a\x01b"),
    },
    Flood {
        name: "empty continuation",
        first: || open(0),
        round: |_| frame(9, 0, 1, b""),
    },
    Flood {
        name: "settings",
        first: Vec::new,
        round: |_| frame(SETTINGS, 0, 0, b""),
    },
    Flood {
        name: "ping",
        first: Vec::new,
        round: |_| frame(6, 0, 0, b"12345678"),
    },
    Flood {
        name: "window update of the connection",
        first: Vec::new,
        round: |_| frame(8, 0, 0, &1_u32.to_be_bytes()),
    },
    Flood {
        name: "window update of a stream",
        first: || open(END_HEADERS),
        round: |_| frame(8, 0, 1, &1_u32.to_be_bytes()),
    },
    Flood {
        name: "priority",
        first: Vec::new,
        round: |i| frame(2, 0, id(i % 1000 + 1), &[0, 0, 0, 0, 7]),
    },
    Flood {
        name: "empty data",
        first: || open(END_HEADERS),
        round: |_| frame(0, 0, 1, b""),
    },
    Flood {
        name: "data of padding alone",
        first: || open(END_HEADERS),
        round: |_| frame(0, 8, 1, &[3, 0, 0, 0]),
    },
    Flood {
        name: "unknown frames",
        first: Vec::new,
        round: |_| frame(0x77, 0, 0, b"x"),
    },
    Flood {
        name: "header bomb behind a closed window",
        // Streams may send nothing: what they hold stays.
        first: || frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]),
        round: bomb,
    },
];

/// Reads frames until the end; the error code of GOAWAY, if one came.
fn last_words(stream: &mut TcpStream) -> Option<u32> {
    let mut bytes = Vec::new();
    let mut chunk = [0; 64 * 1024];
    while let Ok(n) = stream.read(&mut chunk) {
        if n == 0 {
            break;
        }
        bytes.extend_from_slice(&chunk[..n]);
    }
    let mut rest = &bytes[..];
    let mut code = None;
    while rest.len() >= 9 {
        let length = usize::from(rest[0]) << 16 | usize::from(rest[1]) << 8 | usize::from(rest[2]);
        let payload = rest.get(9..9 + length)?;
        if rest[3] == 7 {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        rest = &rest[9 + length..];
    }
    code
}

/// Floods until the connection ends.
fn play(flood: &Flood, address: std::net::SocketAddr) -> Result<(), String> {
    let mut stream = connect(address);
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut first = PREFACE.to_vec();
    first.extend(frame(SETTINGS, 0, 0, b""));
    first.extend((flood.first)());
    stream.write_all(&first).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let heard = std::thread::spawn(move || last_words(&mut reader));
    let began = Instant::now();
    let mut i = 0;
    while !heard.is_finished() && began.elapsed() < Duration::from_secs(4) {
        let mut bytes = Vec::new();
        for _ in 0..20 {
            bytes.extend((flood.round)(i));
            i += 1;
        }
        if stream.write_all(&bytes).is_err() {
            break;
        }
    }
    let code = heard.join().unwrap();
    let took = began.elapsed();
    if took > Duration::from_secs(2) {
        return Err(format!("{}: open for {took:?}, {i} rounds", flood.name));
    }
    if code != Some(ENHANCE_YOUR_CALM) {
        return Err(format!("{}: told {code:?} after {i} rounds", flood.name));
    }
    Ok(())
}

#[track_caller]
fn check(kind: NodeKind) {
    let (_runtime, address, _upstream) = h2spec::proxy(kind, false);
    let mut failures = Vec::new();
    for flood in FLOODS {
        failures.extend(play(flood, address).err());
        let other = exchange(
            address,
            b"GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
        );
        assert!(other.starts_with("HTTP/1.1 200"), "after {}: {other}", flood.name);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn edges_close_floods() {
    check(NodeKind::Edge);
}

#[test]
fn sidecars_close_floods() {
    check(NodeKind::Sidecar);
}
