#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use proptest::prelude::*;

use super::authority::authority_is_good;
use super::chunked::{BodyReader, Broken, Step};
use super::fields::{Fields, Id};
use super::head::{
    Framing, HeadError, Method, Request, RequestRules, Response, parse_request, parse_response,
};
use super::write::{self, Extras};
use crate::runtime::NodeKind;

fn rules(kind: NodeKind) -> RequestRules {
    RequestRules {
        kind,
        head_max: 60 * 1024,
        fields_max: 100,
        http_10: false,
    }
}

fn parse(kind: NodeKind, text: &str) -> Result<Request, HeadError> {
    let mut request = Request::default();
    let used = parse_request(text.as_bytes(), &rules(kind), &mut request)?.expect("complete");
    assert_eq!(used, text.len());
    Ok(request)
}

#[test]
fn targets_and_authorities() {
    for (line, host, edge, target, authority) in [
        ("GET /a?b HTTP/1.1", "web:80", true, "/a?b", "web:80"),
        ("GET http://Other/x HTTP/1.1", "web", true, "/x", "Other"),
        ("GET HTTP://other HTTP/1.1", "web", true, "/", "other"),
        ("GET http://other?q HTTP/1.1", "web", true, "/?q", "other"),
        ("GET //b/x HTTP/1.1", "web", true, "//b/x", "web"),
        ("GET /a#frag HTTP/1.1", "web", false, "/a", "web"),
        ("GET / HTTP/1.1", "", false, "/", ""),
        ("CONNECT web:443 HTTP/1.1", "web:443", true, "", "web:443"),
    ] {
        let kind = if edge { NodeKind::Edge } else { NodeKind::Sidecar };
        let request = parse(kind, &format!("{line}\r\nHost: {host}\r\n\r\n")).expect(line);
        assert_eq!(request.target_bytes(), target.as_bytes(), "{line}");
        assert_eq!(request.authority_bytes(), authority.as_bytes(), "{line}");
    }
}

#[test]
fn what_only_an_edge_refuses() {
    for text in [
        "GET /a#frag HTTP/1.1\r\nHost: web\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: web\r\nX_Y: v\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\nHost:\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n",
    ] {
        assert!(parse(NodeKind::Edge, text).is_err(), "{text:?}");
        assert!(parse(NodeKind::Sidecar, text).is_ok(), "{text:?}");
    }
    let joined = parse(
        NodeKind::Sidecar,
        "GET / HTTP/1.1\r\nHost: web\r\nHost: nginx\r\n\r\n",
    )
    .unwrap();
    assert_eq!(joined.authority_bytes(), b"web,nginx");
}

#[test]
fn hop_by_hop_fields_end_here() {
    let request = parse(
        NodeKind::Sidecar,
        "POST / HTTP/1.1\r\nHost: web\r\nConnection: keep-alive, X-Private\r\nX-Private: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\nX-Public: 2\r\nContent-Length: 0007\r\n\r\n",
    )
    .unwrap();
    let names: Vec<_> = request.fields.iter().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(names, [b"x-public".to_vec()]);
    assert!(request.te_trailers && request.keep_alive);
    assert_eq!(request.framing, Framing::Length(7));
}

#[test]
fn incomplete_heads_wait_and_endless_ones_are_refused() {
    let rules = RequestRules {
        head_max: 64,
        ..rules(NodeKind::Edge)
    };
    let mut request = Request::default();
    assert_eq!(
        parse_request(b"GET / HTTP/1.1\r\nHost: a", &rules, &mut request),
        Ok(None)
    );
    let long = format!("GET / HTTP/1.1\r\nX: {}", "a".repeat(60));
    let error = parse_request(long.as_bytes(), &rules, &mut request).unwrap_err();
    assert_eq!((error.status, error.details), (431, "http1.headers_too_large"));
}

#[test]
fn authorities_at_an_edge() {
    for (authority, good) in [
        ("web", true),
        ("web:80", true),
        ("[::1]:80", true),
        ("[::1]", true),
        ("127.0.0.1:8080", true),
        ("", false),
        (":80", false),
        ("web:", false),
        ("web:x", false),
        ("web:99999", false),
        ("a:b:80", false),
        ("[::1", false),
        ("we]b", false),
        ("a/b", false),
        ("a@b", false),
    ] {
        assert_eq!(authority_is_good(authority.as_bytes(), true), good, "{authority}");
    }
}

#[test]
fn response_framing_is_read_once() {
    for (head, kind, framing) in [
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            Method::Other,
            Some(Framing::Length(5)),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
            Method::Head,
            Some(Framing::None),
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            Method::Other,
            Some(Framing::Chunked),
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            Method::Other,
            Some(Framing::UntilClose),
        ),
        ("HTTP/1.1 204 X\r\n\r\n", Method::Other, Some(Framing::None)),
        (
            "HTTP/1.1 304 X\r\ncontent-length: 5\r\n\r\n",
            Method::Other,
            Some(Framing::None),
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
            Method::Other,
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n",
            Method::Other,
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            Method::Other,
            None,
        ),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\n",
            Method::Other,
            None,
        ),
        ("ICY 200 OK\r\n\r\n", Method::Other, None),
    ] {
        let mut response = Response::default();
        let read = parse_response(head.as_bytes(), kind, 4096, &mut response);
        assert_eq!(read.ok().map(|_| response.framing), framing, "{head:?}");
    }
}

/// Reads a whole body that arrives in pieces of `step` bytes.
fn read_body(framing: Framing, input: &[u8], step: usize) -> Result<Option<Vec<u8>>, Broken> {
    let mut reader = BodyReader::new(framing);
    let (mut have, mut fed, mut out) = (Vec::new(), 0, Vec::new());
    loop {
        match reader.step(&have)? {
            Step::Data { skip, data } => {
                out.extend_from_slice(&have[skip..skip + data]);
                have.drain(..skip + data);
                reader.took(data);
            }
            Step::End { .. } => return Ok(Some(out)),
            Step::More { skip } => {
                have.drain(..skip);
                if fed == input.len() {
                    return Ok(None);
                }
                let next = (fed + step).min(input.len());
                have.extend_from_slice(&input[fed..next]);
                fed = next;
            }
        }
    }
}

#[test]
fn chunked_bodies() {
    for (input, expected) in [
        ("5\r\nhello\r\n0\r\n\r\n", Ok(Some("hello"))),
        ("5;a=b\r\nhello\r\n0\r\n\r\n", Ok(Some("hello"))),
        ("05 ;a\r\nhello\r\n00\r\nx-t: 1\r\n\r\n", Ok(Some("hello"))),
        ("5\r\nhel", Ok(None)),
        ("5\r\nhello\r\n", Ok(None)),
        ("5\nhello\r\n0\r\n\r\n", Err(Broken)),
        ("5\r\nhelloX\r\n0\r\n\r\n", Err(Broken)),
        ("5\r\nhello\n0\r\n\r\n", Err(Broken)),
        ("-5\r\nhello\r\n", Err(Broken)),
        ("0x5\r\nhello\r\n", Err(Broken)),
        ("\r\n", Err(Broken)),
        ("5;a\rb\r\nhello\r\n", Err(Broken)),
        ("ffffffffffffffff1\r\n", Err(Broken)),
        ("0\r\nX T: v\r\n\r\n", Err(Broken)),
    ] {
        for step in [1, 2, 3, 1000] {
            let got = read_body(Framing::Chunked, input.as_bytes(), step);
            let got = got.map(|body| body.map(|b| String::from_utf8(b).unwrap()));
            assert_eq!(got, expected.map(|e| e.map(str::to_owned)), "{input:?} by {step}");
        }
    }
}

#[test]
fn names_are_classified_alike_in_any_case() {
    let mut fields = Fields::default();
    assert_eq!(fields.push(b"X-Request-ID", b"1"), Id::RequestId);
    assert_eq!(fields.push(b"x-envoy-retry-on", b"1"), Id::Envoy);
    assert_eq!(fields.push(b"x-other", b"1"), Id::Other);
    fields.set(Id::RequestId, b"2");
    assert_eq!(fields.get_named(b"x-request-id"), Some(&b"2"[..]));
}

/// Fields that may say something about framing, good and bad.
fn framing_field() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Content-Length: 5".to_owned()),
        Just("content-length: 0".to_owned()),
        Just("Content-Length: 5, 5".to_owned()),
        Just("Content-Length: +5".to_owned()),
        Just("Transfer-Encoding: chunked".to_owned()),
        Just("transfer-encoding: Chunked".to_owned()),
        Just("Transfer-Encoding: gzip, chunked".to_owned()),
        Just("Transfer-Encoding: identity".to_owned()),
        Just("Connection: close".to_owned()),
        Just("Connection: content-length".to_owned()),
        Just("X-Any: chunked".to_owned()),
        "[A-Za-z-]{1,12}: [ -~]{0,12}",
    ]
}

proptest! {
    /// Whatever is accepted leaves with exactly one framing, and that framing is the one that was read.
    #[test]
    fn never_two_framings(fields in prop::collection::vec(framing_field(), 0..6), post in any::<bool>()) {
        let method = if post { "POST" } else { "GET" };
        let text = format!("{method} / HTTP/1.1\r\nHost: a\r\n{}\r\n\r\n", fields.join("\r\n"));
        let text = if fields.is_empty() { format!("{method} / HTTP/1.1\r\nHost: a\r\n\r\n") } else { text };
        let mut request = Request::default();
        if let Ok(Some(_)) = parse_request(text.as_bytes(), &rules(NodeKind::Sidecar), &mut request) {
            let mut out = Vec::new();
            write::request_head(&mut out, &request, &Extras::default(), false);
            let sent = String::from_utf8(out).unwrap().to_ascii_lowercase();
            let lengths = sent.matches("\r\ncontent-length:").count();
            let encodings = sent.matches("\r\ntransfer-encoding:").count();
            prop_assert!(lengths + encodings <= 1, "{sent}");
            let mut again = Request::default();
            let used = parse_request(sent.to_uppercase().as_bytes(), &rules(NodeKind::Sidecar), &mut again);
            prop_assert!(used.is_ok(), "{sent}");
            prop_assert_eq!(again.framing, request.framing);
        }
    }

    /// How a chunked body was cut into packets makes no difference.
    #[test]
    fn packets_do_not_matter(input in "[0-9a-f;=\r\n]{0,40}", step in 1_usize..7) {
        let whole = read_body(Framing::Chunked, input.as_bytes(), 1000);
        let cut = read_body(Framing::Chunked, input.as_bytes(), step);
        // Broken framing may be noticed before or after more input was asked for.
        prop_assert!(whole == cut || (whole.is_err() && cut.is_err()), "{:?} {:?}", whole, cut);
    }

    /// What is written as chunks is read as the same bytes.
    #[test]
    fn chunks_round_trip(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8)) {
        let mut wire = Vec::new();
        for piece in &pieces {
            write::chunk(&mut wire, piece);
        }
        write::last_chunk(&mut wire, None);
        let got = read_body(Framing::Chunked, &wire, 7).unwrap();
        prop_assert_eq!(got, Some(pieces.concat()));
    }
}
