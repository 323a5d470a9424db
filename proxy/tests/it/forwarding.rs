//! Plain HTTP/1 forwarding: what arrives, what comes back, what is counted.

use std::io::Write;
use std::time::Duration;

use mesh_model::flags::ResponseFlags;
use mesh_model::listener::{AccessLogFormat, RouteSource};
use sightline_proxy::runtime::NodeKind;

use crate::harness::*;

fn web(upstream: &Recorder) -> Proxy {
    Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
    )
}

#[test]
fn a_request_is_forwarded_answered_and_counted_once() {
    let upstream = Recorder::new(|_| ok("hello"));
    let proxy = web(&upstream);
    let answer = proxy.get("/a?q=1", "X-Custom: v\r\n");
    assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    assert_eq!(answer.header("server"), Some("envoy"));
    assert!(answer.header("x-envoy-upstream-service-time").is_some());
    let messages = upstream.messages();
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].line(), "GET /a?q=1 HTTP/1.1");
    assert_eq!(messages[0].header("host"), Some("web"));
    assert_eq!(messages[0].header("x-custom"), Some("v"));
    assert_eq!(messages[0].header("x-forwarded-proto"), Some("http"));
    assert_eq!(messages[0].header("x-request-id").map(str::len), Some(36));
    assert_eq!(messages[0].header("connection"), None);
    let counted = proxy.counted(1);
    let (key, delta) = &counted[0];
    assert_eq!(key.source, workload("client-v1"));
    assert_eq!(key.destination, workload("web-v1"));
    assert_eq!(key.service.name, "web");
    assert_eq!((key.response_code, key.flags), (200, ResponseFlags::NONE));
    assert_eq!(key.origin.virtual_service, "default/vs");
    assert_eq!((delta.requests, delta.attempts, delta.response_bytes), (1, 1, 5));
}

#[test]
fn connections_are_kept_and_pipelined_requests_answered_in_order() {
    let upstream = Recorder::new(|m| ok(m.line()));
    let proxy = web(&upstream);
    let mut stream = connect(proxy.address);
    for i in 0..3 {
        write!(stream, "GET /{i} HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut stream).body, format!("GET /{i} HTTP/1.1"));
    }
    stream
        .write_all(
            b"GET /x HTTP/1.1\r\nHost: web\r\n\r\nGET /y HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut stream, &mut rest).unwrap();
    let (x, y) = (rest.find("GET /x").unwrap(), rest.find("GET /y").unwrap());
    assert!(x < y);
    let messages = upstream.messages();
    assert_eq!(messages.len(), 5);
    assert!(
        messages.iter().all(|m| m.connection == messages[0].connection),
        "one pooled connection"
    );
    proxy.counted(5);
}

#[test]
fn bodies_of_every_framing_pass_both_ways() {
    let upstream = Recorder::new(|m| {
        let body = m.body.clone();
        let mut bytes = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        for piece in body.chunks(1000) {
            bytes.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            bytes.extend_from_slice(piece);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        Reply {
            bytes,
            close: false,
            after: Duration::ZERO,
        }
    });
    let proxy = web(&upstream);
    let body: String = (0..200_000)
        .map(|i| char::from(b'a' + u8::try_from(i % 26).unwrap()))
        .collect();
    let with_length = format!(
        "POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = Answer::parse(&proxy.exchange(with_length.as_bytes()));
    assert_eq!(answer.status, 200);
    assert!(answer.body == body);
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n3;x=y\r\nend\r\n0\r\nx-t: 1\r\n\r\n",
        body.len()
    );
    let answer = Answer::parse(&proxy.exchange(chunked.as_bytes()));
    assert_eq!(answer.body.len(), body.len() + 3);
    let big = Recorder::new(|_| {
        let mut reply = ok(&"z".repeat(3_000_000));
        reply.close = true;
        reply
    });
    let proxy = web(&big);
    let answer = proxy.get("/", "");
    assert_eq!(answer.body.len(), 3_000_000);
    let (_, delta) = &proxy.counted(1)[0];
    assert_eq!(delta.response_bytes, 3_000_000);
}

#[test]
fn answers_without_a_body_have_none() {
    let upstream = Recorder::new(|m| match m.line() {
        "HEAD / HTTP/1.1" => Reply {
            bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 77\r\n\r\n".to_vec(),
            close: false,
            after: Duration::ZERO,
        },
        "GET /204 HTTP/1.1" => Reply {
            bytes: b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            close: false,
            after: Duration::ZERO,
        },
        _ => Reply {
            bytes: b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 304 Not Modified\r\netag: x\r\n\r\n"
                .to_vec(),
            close: false,
            after: Duration::ZERO,
        },
    });
    let proxy = web(&upstream);
    let mut stream = connect(proxy.address);
    for (request, status, length) in [
        ("HEAD / HTTP/1.1", 200, Some("77")),
        ("GET /204 HTTP/1.1", 204, None),
        ("GET /304 HTTP/1.1", 304, None),
    ] {
        write!(stream, "{request}\r\nHost: web\r\n\r\n").unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            std::io::Read::read_exact(&mut stream, &mut byte).unwrap();
            head.push(byte[0]);
        }
        let answer = Answer::parse(&String::from_utf8(head).unwrap());
        assert_eq!(
            (answer.status, answer.header("content-length")),
            (status, length),
            "{request}"
        );
    }
    proxy.counted(3);
}

#[test]
fn expect_continue_is_answered_by_the_proxy() {
    let upstream = Recorder::new(|m| ok(&String::from_utf8_lossy(&m.body)));
    let proxy = web(&upstream);
    let mut stream = connect(proxy.address);
    stream
        .write_all(b"POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        .unwrap();
    let mut interim = [0; 25];
    std::io::Read::read_exact(&mut stream, &mut interim).unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").unwrap();
    assert_eq!(read_answer(&mut stream).body, "hello");
    assert_eq!(upstream.messages()[0].header("expect"), None);
}

#[test]
fn local_answers_have_envoys_codes_flags_and_bodies() {
    let closed = free_address();
    let slow = Recorder::new(|_| Reply {
        after: Duration::from_secs(5),
        ..ok("late")
    });
    let bad = Recorder::new(|_| Reply {
        bytes: b"no http at all\r\n\r\n".to_vec(),
        close: true,
        after: Duration::ZERO,
    });
    let hanging_up = Recorder::new(|_| Reply {
        bytes: Vec::new(),
        close: true,
        after: Duration::ZERO,
    });
    let mut timed = to("slow");
    timed.timeout = Some(Duration::from_millis(100));
    let retried = |cluster: &str| {
        let mut forward = to(cluster);
        forward.retry = Some(mesh_model::retry::RetryPolicy {
            base_interval: Duration::from_millis(1),
            ..mesh_model::retry::RetryPolicy::default()
        });
        forward
    };
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut connection = http(RouteSource::Inline(std::sync::Arc::new(table(vec![
        route("nc", prefix("/nc"), forward(to("missing"))),
        route("uh", prefix("/uh"), forward(to("empty"))),
        route("ufr", prefix("/retried"), forward(retried("closed"))),
        route("uf", prefix("/uf"), forward(to("closed"))),
        route("ut", prefix("/ut"), forward(timed)),
        route("upe", prefix("/upe"), forward(to("bad"))),
        route("uc", prefix("/uc"), forward(retried("hanging-up"))),
    ]))));
    connection.access_logs = vec![log_to(log.path(), AccessLogFormat::IstioText)];
    let proxy = Proxy::with(
        NodeKind::Sidecar,
        vec![
            cluster("empty", Vec::new()),
            cluster("closed", vec![endpoint(closed, "closed-v1")]),
            cluster("slow", vec![endpoint(slow.address, "slow-v1")]),
            cluster("bad", vec![endpoint(bad.address, "bad-v1")]),
            cluster("hanging-up", vec![endpoint(hanging_up.address, "h-v1")]),
        ],
        connection,
    );
    let refused = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    for (path, status, body, flags, details) in [
        ("/none", 404, 0, "NR", "route_not_found"),
        ("/nc", 503, 0, "NC", "cluster_not_found"),
        ("/uh", 503, 19, "UH", "no_healthy_upstream"),
        ("/uf", 503, 98, "UF", refused),
        ("/retried", 503, 121, "URX,UF", refused),
        ("/ut", 504, 24, "UT", "response_timeout"),
        (
            "/upe",
            502,
            87,
            "UPE",
            "upstream_reset_before_response_started{protocol_error}",
        ),
        (
            "/uc",
            503,
            95,
            "UC",
            "upstream_reset_before_response_started{connection_termination}",
        ),
        ("/%00", 400, 0, "-", "path_normalization_failed"),
    ] {
        let answer = proxy.get(path, "");
        assert_eq!(
            (answer.status, answer.body.len()),
            (status, body),
            "{path} {answer:?}"
        );
        let wanted = format!(" {status} {flags} {details} ");
        eventually(&format!("{path}: {wanted}"), || {
            std::fs::read_to_string(log.path()).unwrap().contains(&wanted)
        });
    }
    assert_eq!(
        hanging_up.messages().len(),
        1,
        "a request that was sent is not retried by default"
    );
    proxy.counted(9);
}

#[test]
fn a_client_that_leaves_is_counted_once_as_gone() {
    let slow = Recorder::new(|_| Reply {
        after: Duration::from_secs(3),
        ..ok("late")
    });
    let proxy = web(&slow);
    let mut stream = connect(proxy.address);
    stream.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    eventually("request upstream", || !slow.messages().is_empty());
    drop(stream);
    let counted = proxy.counted(1);
    assert_eq!(
        (counted[0].0.response_code, counted[0].0.flags),
        (0, ResponseFlags::DOWNSTREAM_CLOSED)
    );
}

#[test]
fn an_upstream_that_dies_mid_body_is_an_error_for_the_client() {
    let dying = Recorder::new(|_| Reply {
        bytes: b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this".to_vec(),
        close: true,
        after: Duration::ZERO,
    });
    let proxy = web(&dying);
    let answer = proxy.get("/", "");
    assert_eq!(answer.header("content-length"), Some("100"));
    assert_eq!(answer.body, "only this");
    let counted = proxy.counted(1);
    assert_eq!(
        (counted[0].0.response_code, counted[0].0.flags),
        (200, ResponseFlags::UPSTREAM_TERMINATION)
    );
}

#[test]
fn http_1_0_and_odd_heads_are_refused() {
    let upstream = Recorder::new(|_| ok("x"));
    let proxy = web(&upstream);
    let many: String = (0..101).map(|i| format!("x{i}: v\r\n")).collect();
    for (request, status, body) in [
        (
            "GET / HTTP/1.0\r\nHost: web\r\n\r\n".to_owned(),
            426,
            "Upgrade Required",
        ),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400, ""),
        (
            "FOO / HTTP/1.1\r\nHost: web\r\n\r\n".to_owned(),
            400,
            "Bad Request",
        ),
        ("OPTIONS * HTTP/1.1\r\nHost: web\r\n\r\n".to_owned(), 404, ""),
        (
            format!("GET / HTTP/1.1\r\nHost: web\r\n{many}\r\n"),
            431,
            "Request Header Fields Too Large",
        ),
    ] {
        let answer = Answer::parse(&proxy.exchange(request.as_bytes()));
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (status, body),
            "{request:?}"
        );
        assert_eq!(answer.header("connection"), Some("close"));
    }
    assert_eq!(upstream.messages().len(), 0);
    proxy.counted(5);
}

#[test]
fn a_head_that_does_not_come_is_answered_408() {
    let mut connection = http(RouteSource::Inline(std::sync::Arc::new(table(Vec::new()))));
    connection.request_headers_timeout = Some(Duration::from_millis(50));
    let proxy = Proxy::with(NodeKind::Edge, Vec::new(), connection);
    let answer = Answer::parse(&proxy.exchange(b"GET / HTTP/1.1\r\nHost: w"));
    assert_eq!((answer.status, answer.header("connection")), (408, Some("close")));
    proxy.counted(1);
}

#[test]
fn an_edge_believes_nothing_of_what_clients_say_about_themselves() {
    let upstream = Recorder::new(|_| ok("x"));
    let mut connection = http(RouteSource::Inline(std::sync::Arc::new(table(vec![route(
        "r",
        prefix("/"),
        forward(to("web")),
    )]))));
    connection.use_remote_address = true;
    connection.scheme_from_transport = true;
    let proxy = Proxy::with(
        NodeKind::Edge,
        vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
        connection,
    );
    let forged = "x-forwarded-for: 9.9.9.9\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil\r\nx-request-id: mine\r\nx-envoy-external-address: 9.9.9.9\r\nx-envoy-internal: true\r\nx-envoy-attempt-count: 7\r\nx-envoy-peer-metadata: AA\r\nx-forwarded-client-cert: URI=spiffe://x\r\n";
    assert_eq!(proxy.get("/", forged).status, 200);
    let message = upstream.messages().remove(0);
    for (name, value) in [
        ("x-forwarded-for", Some("9.9.9.9,127.0.0.1")),
        ("x-forwarded-proto", Some("http")),
        ("x-envoy-external-address", Some("127.0.0.1")),
        ("x-forwarded-host", None),
        ("x-envoy-internal", None),
        ("x-envoy-attempt-count", None),
        ("x-envoy-peer-metadata", None),
        ("x-forwarded-client-cert", None),
    ] {
        assert_eq!(message.header(name), value, "{name}");
    }
    assert_ne!(message.header("x-request-id"), Some("mine"));
}
