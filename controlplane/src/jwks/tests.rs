#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use mesh_translate::{KeySet, KeySource};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::address::Allowed;
use super::book::Book;
use super::fetch::{Fetcher, place};
use super::keys;

const KEYS: &str = r#"{"keys":[{"e":"AQAB","kty":"RSA","n":"abc"}]}"#;

fn uri(text: &str) -> KeySource {
    KeySource::Uri(text.into())
}

fn wanted(list: &[&str]) -> BTreeSet<KeySource> {
    list.iter().map(|text| uri(text)).collect()
}

fn present(book: &Book, source: &str) -> KeySet {
    book.present().remove(&uri(source)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn keys_are_refreshed_and_outlive_failures_for_a_while() {
    let mut book = Book::default();
    let start = Instant::now();
    assert!(book.want(wanted(&["a"]), start));
    assert_eq!(present(&book, "a"), KeySet::default());
    assert_eq!(book.due(start, 8), [uri("a")]);
    assert!(book.due(start, 8).is_empty(), "one fetch at a time");
    book.fetched(&uri("a"), Ok(KEYS.into()), start, 1000, 1.0);
    assert_eq!(present(&book, "a").keys.as_deref(), Some(KEYS));
    assert_eq!(book.next(), Some(start + Duration::from_secs(1200)));
    // Pauses grow while it fails; the last good keys stay.
    let mut now = start + Duration::from_secs(1200);
    let mut wall = 2200;
    for pause in [2, 4, 8, 16, 32, 64, 120, 120] {
        assert_eq!(book.due(now, 8), [uri("a")]);
        book.fetched(&uri("a"), Err("no".into()), now, wall, 1.0);
        assert_eq!(book.next(), Some(now + Duration::from_secs(pause)));
        now += Duration::from_secs(pause);
        wall += pause;
    }
    let kept = present(&book, "a");
    assert_eq!(
        (kept.keys.as_deref(), kept.problem.as_deref()),
        (Some(KEYS), Some("no"))
    );
    assert!(!book.expire(1000 + 6 * 3600 - 1));
    assert!(book.expire(1000 + 6 * 3600));
    assert_eq!(present(&book, "a").keys, None);
    assert!(book.want(wanted(&[]), now));
    assert!(book.present().is_empty());
    assert_eq!(book.next(), None);
}

#[test]
fn what_was_kept_holds_after_a_restart_within_its_age() {
    let mut book = Book::default();
    let now = Instant::now();
    book.want(wanted(&["a", "b"]), now);
    book.due(now, 8);
    book.fetched(&uri("a"), Ok(KEYS.into()), now, 1000, 1.0);
    let kept = book.kept();
    #[track_caller]
    fn check(kept: &serde_json::Value, at: u64, expected: Option<&str>) {
        let mut next = Book::default();
        next.load(kept.clone(), at);
        let now = Instant::now();
        next.want(wanted(&["a"]), now);
        assert_eq!(present(&next, "a").keys.as_deref(), expected, "{at}");
        // It is fetched again all the same.
        assert_eq!(next.due(now, 8), [uri("a")]);
    }
    check(&kept, 2000, Some(KEYS));
    check(&kept, 1000 + 6 * 3600, None);
    check(&kept, 999, None);
    check(&json!([{"source": "uri a", "keys": "{}", "at": 1}]), 2, None);
    check(&json!("x"), 2, None);
}

#[test]
fn only_public_keys_are_taken() {
    #[track_caller]
    fn check(document: serde_json::Value, expected: Result<&str, &str>) {
        let got = keys::check(document.to_string().as_bytes());
        assert_eq!(got.as_deref().map_err(String::as_str), expected, "{document}");
    }
    let rsa = json!({"kty": "RSA", "n": "abc", "e": "AQAB"});
    let mut private = rsa.clone();
    private["d"] = json!("secret");
    let mut encrypts = rsa.clone();
    encrypts["use"] = json!("enc");
    let none = Err("the key set has no public key");
    check(json!({"keys": [rsa]}), Ok(KEYS));
    check(
        json!({"keys": [private, {"kty": "oct", "k": "c2VjcmV0"}, encrypts]}),
        Ok(KEYS),
    );
    check(json!({"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}), none);
    check(json!({"keys": []}), none);
    check(json!({"key": 1}), Err("no key set: `keys` is missing"));
    assert!(keys::check(b"<html>").is_err());
    let document = json!({"issuer": "https://a.test/", "jwks_uri": "https://a.test/keys"}).to_string();
    assert_eq!(
        keys::discovered(document.as_bytes(), "https://a.test"),
        Ok("https://a.test/keys".into())
    );
    assert!(keys::discovered(document.as_bytes(), "https://b.test").is_err());
}

#[test]
fn spellings_of_urls() {
    #[track_caller]
    fn check(text: &str, expected: Option<(bool, &str, u16, &str)>) {
        let got = place(text);
        let parts = got
            .as_ref()
            .ok()
            .map(|p| (p.tls, p.host.as_str(), p.port, p.path.as_str()));
        assert_eq!(parts, expected, "{text}: {got:?}");
    }
    check(
        "https://a.test/keys?x=1",
        Some((true, "a.test", 443, "/keys?x=1")),
    );
    check("http://A.Test:8080", Some((false, "a.test", 8080, "/")));
    check("https://[::1]:8443/k", Some((true, "[::1]", 8443, "/k")));
    for bad in [
        "",
        "a.test/keys",
        "/keys",
        "file:///etc/passwd",
        "ftp://a.test/keys",
        "gopher://a.test/",
        "https://",
        "https:///keys",
        "https://user@a.test/",
        "https://user:password@a.test/",
        "https://a.test@127.0.0.1/",
        "https://a.test:0/",
        "https://a.test:99999/",
        "https://a.test:x/",
        "https://a test/",
        "https://a.test\\@127.0.0.1/",
        "https://a.test\r\nx: y/",
        "https://%31%32%37.0.0.1/",
        "https://аpple.test/",
    ] {
        check(bad, None);
    }
}

#[test]
fn addresses_that_are_nobodys_business() {
    #[track_caller]
    fn check(allowed: &[&str], host: &str, address: &str, expected: bool) {
        let texts: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
        let allowed = Allowed::parse(&texts).unwrap();
        assert_eq!(
            allowed.admits(host, address.parse().unwrap()),
            expected,
            "{texts:?} {address}"
        );
    }
    for public in [
        "1.1.1.1",
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "2001:4860::8888",
    ] {
        check(&[], "a.test", public, true);
    }
    for not in [
        "127.0.0.1",
        "127.64.1.2",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "fe80::1",
        "fd00::1",
        "fc00::1",
        "ff02::1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:db8::1",
        "2001::1",
    ] {
        check(&[], "a.test", not, false);
        check(&["b.test", "9.0.0.0/8"], "a.test", not, false);
        check(&["A.test"], "a.test", not, true);
    }
    check(&["10.1.0.0/16"], "a.test", "10.1.2.3", true);
    check(&["10.1.0.0/16"], "a.test", "10.2.2.3", false);
    check(&["127.0.0.1"], "a.test", "::ffff:127.0.0.1", true);
    check(&["fd00::/8"], "a.test", "fd12::1", true);
    for wrong in ["", "10.0.0.0/33", "10.0.0", "a b", "::/129", "300.1.1.1"] {
        assert!(Allowed::parse(&[wrong.to_owned()]).is_err(), "{wrong}");
    }
}

/// A server that answers every connection with these bytes, after so long.
async fn server(answer: Vec<u8>, after: Duration) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = socket.read_u8().await else { return };
                    head.push(byte);
                }
                tokio::time::sleep(after).await;
                let _ = socket.write_all(&answer).await;
            });
        }
    });
    address
}

fn answer(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

fn fetcher(allowed: &[&str]) -> Fetcher {
    let allowed: Vec<String> = allowed.iter().map(|text| (*text).to_owned()).collect();
    Fetcher::new(Allowed::parse(&allowed).unwrap()).unwrap()
}

#[track_caller]
fn outcome(got: Result<String, String>, expected: Result<&str, &str>) {
    match (&got, expected) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected),
        (Err(got), Err(part)) => assert!(got.contains(part), "{got}"),
        _ => panic!("{got:?} instead of {expected:?}"),
    }
}

#[tokio::test]
async fn documents_within_limits_only() {
    let fetcher = fetcher(&["127.0.0.0/8"]);
    let at = |address: SocketAddr| uri(&format!("http://{address}/keys"));
    let now = Duration::ZERO;
    let good = server(answer("200 OK", "", KEYS), now).await;
    outcome(fetcher.keys(&at(good)).await, Ok(KEYS));
    let moved = format!("location: http://{good}/keys\r\n");
    let moved = server(answer("302 Found", &moved, ""), now).await;
    outcome(fetcher.keys(&at(moved)).await, Err("302"));
    let failing = server(answer("500 Oops", "", KEYS), now).await;
    outcome(fetcher.keys(&at(failing)).await, Err("500"));
    let huge = format!(r#"{{"keys":[],"x":"{}"}}"#, "x".repeat(2 * 1024 * 1024));
    let huge = server(answer("200 OK", "", &huge), now).await;
    outcome(fetcher.keys(&at(huge)).await, Err("limit"));
    let page = server(answer("200 OK", "", "<html>"), now).await;
    outcome(fetcher.keys(&at(page)).await, Err("no JSON"));
    let nobody: SocketAddr = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap()
    };
    outcome(fetcher.keys(&at(nobody)).await, Err("refused"));
    // The issuer's own document says where its keys are.
    let issuer = format!("http://{good}");
    let document = json!({"issuer": issuer, "jwks_uri": format!("http://{good}/keys")}).to_string();
    let discovery = server(answer("200 OK", "", &document), now).await;
    let other = KeySource::Issuer(format!("http://{discovery}"));
    outcome(fetcher.keys(&other).await, Err("not that of issuer"));
}

#[tokio::test]
async fn nothing_of_this_machine_unless_allowed() {
    let fetcher = fetcher(&[]);
    let good = server(answer("200 OK", "", KEYS), Duration::ZERO).await;
    let port = good.port();
    for spelling in [
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http://127.1:{port}/"),
        format!("http://2130706433:{port}/"),
        format!("http://0x7f000001:{port}/"),
        format!("http://0177.0.0.1:{port}/"),
        format!("http://0:{port}/"),
        format!("http://[::ffff:127.0.0.1]:{port}/"),
        format!("http://[::1]:{port}/"),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://10.0.0.1/".to_owned(),
    ] {
        let got = fetcher.keys(&uri(&spelling)).await;
        assert!(got.is_err(), "{spelling}: {got:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_issuer_is_given_up() {
    let fetcher = fetcher(&["127.0.0.0/8"]);
    let slow = server(answer("200 OK", "", KEYS), Duration::from_secs(60)).await;
    let got = fetcher.keys(&uri(&format!("http://{slow}/"))).await;
    outcome(got, Err("no answer within 5 s"));
}
