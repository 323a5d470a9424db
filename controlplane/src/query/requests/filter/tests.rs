#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::flags::ResponseFlags;
use mesh_model::record::KeptRequest;

use super::{Asked, matches};
use crate::records::tests::request;

const NOW_MS: u64 = 1_700_002_800_000;

fn pairs(text: &str) -> Vec<(String, String)> {
    let parts = text.split('&').filter(|p| !p.is_empty());
    parts
        .map(|p| p.split_once('=').unwrap_or((p, "")))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect()
}

fn sample() -> KeptRequest {
    let mut request = request(1, 1, NOW_MS * 1_000_000);
    request.key.flags = ResponseFlags::NO_HEALTHY_UPSTREAM.with(ResponseFlags::RETRY_EXHAUSTED);
    request.key.response_code = 503;
    request.key.origin.virtual_service = "default/reviews".into();
    request.duration_ns = 12_000_000;
    request.method = "GET".into();
    request.path = "/reviews/<script>".into();
    request
}

#[track_caller]
fn check(filter: &str, wanted: bool) {
    let asked = Asked::parse(&pairs(filter), &[], NOW_MS).unwrap();
    assert_eq!(matches(&asked.query, &sample()), wanted, "{filter}");
}

#[test]
fn what_passes() {
    check("", true);
    check("code=503", true);
    check("code=5xx", true);
    check("code=200&code=503", true);
    check("code=4xx", false);
    check("code=503&method=POST", false);
    check("flags=UH", true);
    check("flags=UF", false);
    check("flags=-", false);
    check("source=default/a", true);
    check("source=default/reviews-v1", false);
    check("workload=default/reviews-v1", true);
    check("app=default/reviews-v1", true);
    check("namespace=other", false);
    check("namespace=other&namespace=default", true);
    check("virtualService=default/reviews", true);
    check("minMs=12&maxMs=12", true);
    check("minMs=12.1", false);
    check("maxMs=11.9", false);
    check("text=<SCRIPT>", true);
    check("text=nothing", false);
    check("trace=00000000000000000000000000000001", true);
    check("trace=00000000000000000000000000000002", false);
    check("to=now", true);
    check("from=now&to=now-1s", false);
    check("reason=error&reason=slow", true);
    check("reason=sample", false);
}

#[track_caller]
fn refused(filter: &str, names: &str) {
    let (message, remedy) = Asked::parse(&pairs(filter), &["limit"], NOW_MS).unwrap_err();
    assert!(message.contains(names), "{filter}: {message}");
    assert!(!remedy.is_empty());
}

#[test]
fn nonsense_is_refused_by_name() {
    refused("sauce=default/a", "sauce");
    refused("code=teapot", "code");
    refused("code=6xx", "code");
    refused("reason=bored", "reason");
    refused("minMs=-1", "minMs");
    refused("maxMs=NaN", "maxMs");
    refused("trace=123", "trace");
    refused("from=yesterday", "from");
    refused(&format!("text={}", "x".repeat(513)), "text");
    refused(&"code=1&".repeat(201), "too many");
    let asked = Asked::parse(&pairs("limit=0"), &["limit"], NOW_MS).unwrap();
    assert!(asked.number::<usize>("limit", 100, 1000).is_err());
    assert!(
        asked
            .number::<usize>("columns", 100, 1000)
            .is_ok_and(|n| n == 100)
    );
}
