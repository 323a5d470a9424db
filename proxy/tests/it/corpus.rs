//! Every id of the request-smuggling corpus on a listening edge proxy.

use std::io::{Read, Write};
use std::time::Duration;

use sightline_proxy::runtime::NodeKind;

use crate::harness::*;

const CORPUS: &str = include_str!("../data/smuggling-corpus.tsv");

/// C escapes, and `{u*n}` = unit u n times (`i=0..399` counts up).
fn bytes_of(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        let close = open + rest[open..].find('}').unwrap();
        out.extend(unescape(&rest[..open]));
        let inner = &rest[open + 1..close];
        if let Some((unit, range)) = inner.split_once(", i=") {
            let (from, to) = range.split_once("..").unwrap();
            for i in from.parse::<u32>().unwrap()..=to.parse::<u32>().unwrap() {
                out.extend(unescape(&unit.replacen('i', &i.to_string(), 1)));
            }
        } else {
            let (unit, count) = inner.rsplit_once('*').unwrap();
            let unit = unescape(unit);
            for _ in 0..count.parse::<usize>().unwrap() {
                out.extend_from_slice(&unit);
            }
        }
        rest = &rest[close + 1..];
    }
    out.extend(unescape(rest));
    out
}

fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend(c.to_string().into_bytes());
            continue;
        }
        match chars.next().unwrap() {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '\\' => out.push(b'\\'),
            'x' => {
                let hex: String = chars.by_ref().take(2).collect();
                out.push(u8::from_str_radix(&hex, 16).unwrap());
            }
            other => panic!("escape {other:?}"),
        }
    }
    out
}

/// Sends the bytes; the answer and whether the proxy closed the connection.
fn play(proxy: &Proxy, bytes: &[u8]) -> (Vec<u8>, bool) {
    let mut stream = connect(proxy.address);
    stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        match stream.read(&mut chunk) {
            Ok(0) => return (answer, true),
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                return (answer, false);
            }
            Err(_) => return (answer, true),
        }
    }
}

fn status_of(answer: &[u8]) -> u16 {
    let text = String::from_utf8_lossy(answer);
    text.split(' ').nth(1).and_then(|s| s.parse().ok()).unwrap_or(0)
}

fn judge(verdict: &str, answer: &[u8], closed: bool, complete: usize) -> Result<(), String> {
    let status = status_of(answer);
    let refused = (400..500).contains(&status) || status == 501;
    let fine = match verdict {
        "reject" => refused && closed && complete == 0,
        "forward" => status == 200 && complete == 1,
        "forward2" => complete == 2,
        "either" => complete <= 1,
        other => return Err(format!("verdict {other:?} is not known")),
    };
    if fine {
        Ok(())
    } else {
        Err(format!(
            "{verdict}: status {status}, closed {closed}, {complete} complete upstream: {}",
            String::from_utf8_lossy(answer.get(..200.min(answer.len())).unwrap())
        ))
    }
}

#[test]
fn every_id_is_judged_as_wanted() {
    let mut failures = Vec::new();
    let mut seen = 0;
    for line in CORPUS.lines().skip(1).filter(|line| !line.is_empty()) {
        let columns: Vec<&str> = line.split('\t').collect();
        assert_eq!(columns.len(), 7, "{line}");
        let (id, verdict, bytes) = (columns[0], columns[2], bytes_of(columns[6]));
        // A fresh upstream each time: what arrives belongs to this id alone.
        let upstream = Recorder::new(|_| ok("x"));
        let proxy = Proxy::new(
            NodeKind::Edge,
            vec![route("r", prefix("/"), forward(to("web")))],
            vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
        );
        let (answer, closed) = play(&proxy, &bytes);
        if let Err(error) = judge(verdict, &answer, closed, upstream.complete()) {
            failures.push(format!("{id}: {error}"));
        }
        seen += 1;
    }
    assert_eq!(seen, 117, "an id of the corpus is missing");
    assert!(
        failures.is_empty(),
        "{} of {seen}:\n{}",
        failures.len(),
        failures.join("\n")
    );
}
