//! Scanning and counting, without a socket.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use super::*;

fn raw(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend_from_slice(&stream.to_be_bytes());
    bytes.extend_from_slice(payload);
    bytes
}

#[test]
fn frames_are_found_however_they_are_cut() {
    let stream = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        raw(SETTINGS, 0, 0, &[]),
        raw(HEADERS, END_HEADERS, 1, &[9; 300]),
        raw(DATA, PADDED, 1, &[3, 1, 2, 0, 0, 0]),
        raw(DATA, PADDED, 1, &[2, 0, 0]),
        raw(DATA, END_STREAM, 1, &[]),
    ]
    .concat();
    for size in 1..60 {
        let mut scanner = Scanner::behind(PREFACE);
        let (mut begun, mut ended) = (Vec::new(), 0);
        for piece in stream.chunks(size) {
            scanner.feed(
                piece,
                |frame| begun.push((frame.kind, frame.useful)),
                |_| ended += 1,
            );
        }
        let wanted = [(SETTINGS, 0), (HEADERS, 300), (DATA, 2), (DATA, 0), (DATA, 0)];
        assert_eq!((begun.as_slice(), ended), (&wanted[..], 5), "pieces of {size}");
    }
}

fn frame(kind: u8, stream: u32, useful: usize) -> Frame {
    Frame {
        kind,
        flags: 0,
        stream,
        useful,
    }
}

/// The first flood among `n` frames of one kind, after what `before` does.
fn first(kind: u8, useful: usize, n: u32, before: impl Fn(&mut Counts)) -> Option<&'static str> {
    let mut counts = Counts::new();
    counts.tick(Instant::now());
    before(&mut counts);
    (0..n).find_map(|i| counts.received(frame(kind, 2 * i + 1, useful)))
}

#[test]
fn what_costs_nothing_is_counted() {
    for (kind, name, free) in [
        (PING, "ping", 100),
        (SETTINGS, "settings", 100),
        (PRIORITY, "priority", 200),
        (WINDOW_UPDATE, "window update", 500),
        (DATA, "empty data", 50),
        (CONTINUATION, "continuation", CONTINUATIONS_MAX),
        (GOAWAY, "unknown frames", 200),
        (0x42, "unknown frames", 200),
        (RST_STREAM, "reset", RESETS_FREE),
    ] {
        assert_eq!(first(kind, 0, free, |_| {}), None, "{name}");
        assert_eq!(first(kind, 0, free + 1, |_| {}), Some(name));
    }
    assert_eq!(first(DATA, 1, 100_000, |_| {}), None, "data with something in it");
    assert_eq!(first(HEADERS, 1, 100_000, |_| {}), None, "requests");
}

#[test]
fn answers_to_data_are_earned_by_it() {
    let downloads = |counts: &mut Counts| (0..1000).for_each(|_| counts.sent_data());
    assert_eq!(first(WINDOW_UPDATE, 4, 5000, downloads), None);
    assert_eq!(first(PING, 8, 1500, downloads), None);
    assert_eq!(first(WINDOW_UPDATE, 4, 20_000, downloads), Some("window update"));
}

#[test]
fn streams_that_lived_are_cancelled_freely() {
    let now = Instant::now();
    let mut counts = Counts::new();
    counts.tick(now);
    for id in 0..1000_u32 {
        assert_eq!(counts.received(frame(HEADERS, 2 * id + 1, 10)), None);
    }
    counts.tick(now + Duration::from_secs(2));
    counts.tick(now + Duration::from_secs(4));
    for id in 0..1000_u32 {
        assert_eq!(counts.received(frame(RST_STREAM, 2 * id + 1, 4)), None, "{id}");
    }
    // Half of many requests may be given up at once: a client that hedges.
    for id in 1000..3000_u32 {
        assert_eq!(counts.received(frame(HEADERS, 2 * id + 1, 10)), None);
        if id % 2 == 0 {
            assert_eq!(counts.received(frame(RST_STREAM, 2 * id + 1, 4)), None, "{id}");
        }
    }
}

#[test]
fn time_earns_a_little() {
    let now = Instant::now();
    let mut counts = Counts::new();
    for second in 0..600 {
        counts.tick(now + Duration::from_secs(second));
        for _ in 0..15 {
            assert_eq!(counts.received(frame(PING, 0, 8)), None, "{second}");
        }
    }
}
