//! Clients that keep a proxy waiting: each is ended by the timer that is meant for it, and a patient one is not.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use mesh_model::listener::RouteSource;
use sightline_proxy::runtime::NodeKind;

use crate::h2spec;
use crate::harness::*;

struct Slow {
    name: &'static str,
    tls: bool,
    /// Sent at once.
    first: &'static [u8],
    /// Sent again and again.
    drip: &'static [u8],
    /// The connection ends within these seconds.
    ends: (u64, u64),
    /// What the last answer begins with.
    answer: &'static str,
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Timers of the kind that nothing configures: they are what protects a gateway that nobody thought about.
const DEFAULTS: &[Slow] = &[
    Slow {
        name: "request head that never ends",
        tls: false,
        first: b"GET / HTTP/1.1\r\nHost: web\r\n",
        drip: b"X: y\r\n",
        ends: (9, 12),
        answer: "HTTP/1.1 408",
    },
    Slow {
        name: "TLS hello that never ends",
        tls: true,
        first: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        drip: b"\x03",
        ends: (9, 12),
        answer: "",
    },
    Slow {
        name: "HTTP/2 preface that never ends",
        tls: false,
        first: PREFACE.split_at(18).0,
        drip: b"",
        ends: (9, 12),
        // Our settings come first.
        answer: "*",
    },
    Slow {
        name: "half an HTTP/2 preface",
        tls: false,
        first: PREFACE.split_at(5).0,
        drip: b"",
        ends: (9, 12),
        answer: "",
    },
    Slow {
        name: "HTTP/2 header block that never ends",
        tls: false,
        first: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00\x00\x01\x82\x86\x84",
        drip: b"",
        ends: (9, 17),
        answer: "*",
    },
];

/// The others, shortened by configuration.
const CONFIGURED: &[Slow] = &[
    Slow {
        name: "connection without a request",
        tls: false,
        first: b"",
        drip: b"",
        ends: (1, 4),
        answer: "",
    },
    Slow {
        name: "HTTP/2 connection without a stream",
        tls: false,
        first: b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
        drip: b"",
        // It is asked to leave first.
        ends: (1, 9),
        answer: "*",
    },
    Slow {
        name: "request body that never comes",
        tls: false,
        first: b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n",
        drip: b"",
        ends: (1, 5),
        answer: "HTTP/1.1 408",
    },
    Slow {
        name: "half a request body",
        tls: false,
        first: b"POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n12345",
        drip: b"",
        ends: (1, 5),
        answer: "HTTP/1.1 408",
    },
    Slow {
        name: "chunked body that never ends",
        tls: false,
        first: b"POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n",
        drip: b"",
        ends: (1, 5),
        answer: "HTTP/1.1 408",
    },
];

fn play(case: &Slow, address: std::net::SocketAddr) -> Result<(), String> {
    let mut stream = connect(address);
    let began = Instant::now();
    stream.write_all(case.first).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
    let latest = Duration::from_secs(case.ends.1 + 3);
    while began.elapsed() < latest {
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                let _ = stream.write_all(case.drip);
            }
            Err(_) => break,
        }
    }
    let took = began.elapsed().as_secs();
    let text = String::from_utf8_lossy(&answer);
    let said = match case.answer {
        "*" => true,
        "" => text.is_empty(),
        wanted => text.starts_with(wanted),
    };
    if said && (case.ends.0..=case.ends.1).contains(&took) {
        Ok(())
    } else {
        Err(format!("{}: {took} s, said {text:?}", case.name))
    }
}

/// All at once: each of them only waits.
#[track_caller]
fn check(cases: &'static [Slow], address_of: impl Fn(&Slow) -> std::net::SocketAddr) {
    let playing: Vec<_> = cases
        .iter()
        .map(|case| {
            let address = address_of(case);
            std::thread::spawn(move || play(case, address))
        })
        .collect();
    let failures: Vec<_> = playing
        .into_iter()
        .filter_map(|case| case.join().unwrap().err())
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn an_edge_ends_slow_clients_by_itself() {
    let (_plain, plain, _upstream) = h2spec::proxy(NodeKind::Edge, false);
    let (_tls, tls, _other) = h2spec::proxy(NodeKind::Edge, true);
    check(DEFAULTS, |case| if case.tls { tls } else { plain });
}

#[test]
fn configured_timers_hold() {
    let upstream = Recorder::new(|_| ok("late"));
    let routes = table(vec![route("r", prefix("/"), forward(to("web")))]);
    let mut connection = http(RouteSource::Inline(std::sync::Arc::new(routes)));
    connection.idle_timeout = Some(Duration::from_secs(1));
    connection.stream_idle_timeout = Some(Duration::from_secs(1));
    let clusters = vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])];
    let proxy = Proxy::with(NodeKind::Sidecar, clusters, connection);
    check(CONFIGURED, |_| proxy.address);
}

#[test]
fn an_upstream_may_be_slower_than_a_client_may_be() {
    let upstream = Recorder::new(|_| Reply {
        after: Duration::from_millis(2500),
        ..ok("late")
    });
    let routes = table(vec![route("r", prefix("/"), forward(to("web")))]);
    let mut connection = http(RouteSource::Inline(std::sync::Arc::new(routes)));
    connection.stream_idle_timeout = Some(Duration::from_secs(1));
    let clusters = vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])];
    let proxy = Proxy::with(NodeKind::Edge, clusters, connection);
    let answer = proxy
        .exchange(b"POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
