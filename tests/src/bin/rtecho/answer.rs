//! Decides what a path answers. Pure but for the flaky count.

use std::collections::HashMap;
use std::time::Duration;

use crate::ledger::Ledger;

/// What to do with a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Answer an echo with this status after a delay.
    Echo { status: u16, after: Duration },
    /// End the connection without an answer, with FIN or RST.
    Close { reset: bool },
    /// A gRPC trailers-only answer with this status.
    Grpc { status: String },
}

/// Query parameters, the first of each name.
pub(crate) struct Query(HashMap<String, String>);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        let mut values = HashMap::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            values.entry(decode(name)).or_insert_with(|| decode(value));
        }
        Self(values)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// Headers that the caller wants in the answer: `resp-NAME=VALUE`.
    pub(crate) fn response_headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("resp-")?, value.as_str())))
    }

    fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_default()
    }
}

/// Decides by path; `version` is this server's.
pub(crate) fn decide(path: &str, query: &Query, version: &str, ledger: &Ledger) -> Answer {
    let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let number = |at: usize| parts.get(at).and_then(|part| part.parse::<u16>().ok());
    let echo = |status: u16| Answer::Echo {
        status: if status < 200 { 200 } else { status },
        after: Duration::ZERO,
    };
    match parts.first().copied() {
        Some("status") => echo(number(1).unwrap_or(200)),
        Some("delay") => Answer::Echo {
            status: 200,
            after: Duration::from_millis(u64::from(number(1).unwrap_or_default())),
        },
        Some("onlyv") if parts.get(1) == Some(&version) => echo(number(2).unwrap_or(200)),
        Some("close") => Answer::Close { reset: false },
        Some("reset") => Answer::Close { reset: true },
        Some("grpc") => Answer::Grpc {
            status: query.text("status").to_owned(),
        },
        Some("flaky") => {
            let asked = ledger.ask_flaky(query.text("key"));
            if asked as u64 > query.number("n") {
                return echo(200);
            }
            match query.text("mode") {
                "close" => Answer::Close { reset: false },
                "reset" => Answer::Close { reset: true },
                "delay" => Answer::Echo {
                    status: 200,
                    after: Duration::from_millis(query.number("ms")),
                },
                "grpc" => Answer::Grpc {
                    status: query.text("status").to_owned(),
                },
                _ => echo(query.text("status").parse().unwrap_or(200)),
            }
        }
        _ => echo(200),
    }
}

fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|pair| std::str::from_utf8(pair).ok())
            .and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, hex) {
            (b'%', Some(value)) => {
                out.push(value);
                at += 3;
                continue;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path_and_query: &str, expected: &[Answer]) {
        let ledger = Ledger::default();
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        for answer in expected {
            let query = Query::parse(query);
            assert_eq!(&decide(path, &query, "v1", &ledger), answer, "{path_and_query}");
        }
    }

    fn echo(status: u16, ms: u64) -> Answer {
        Answer::Echo {
            status,
            after: Duration::from_millis(ms),
        }
    }

    #[test]
    fn paths() {
        check("/", &[echo(200, 0)]);
        check("/status/503", &[echo(503, 0)]);
        check("/status/100", &[echo(200, 0)]);
        check("/statuses/503", &[echo(200, 0)]);
        check("/delay/400", &[echo(200, 400)]);
        check("/onlyv/v1/502", &[echo(502, 0)]);
        check("/onlyv/v2/502", &[echo(200, 0)]);
        check("/close", &[Answer::Close { reset: false }]);
        check("/reset", &[Answer::Close { reset: true }]);
        check("/grpc?status=14", &[Answer::Grpc { status: "14".into() }]);
        check(
            "/flaky?n=2&status=503&key=k",
            &[echo(503, 0), echo(503, 0), echo(200, 0)],
        );
        check(
            "/flaky?n=1&mode=reset&key=k",
            &[Answer::Close { reset: true }, echo(200, 0)],
        );
        check(
            "/flaky?n=1&mode=delay&ms=700&key=k",
            &[echo(200, 700), echo(200, 0)],
        );
    }

    #[test]
    fn query_values_are_decoded() {
        let query = Query::parse("a=1%202&b=x+y&a=2&resp-x-a=v%zz");
        assert_eq!(query.text("a"), "1 2");
        assert_eq!(query.text("b"), "x y");
        assert_eq!(query.response_headers().collect::<Vec<_>>(), [("x-a", "v%zz")]);
    }
}
