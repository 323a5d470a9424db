#![allow(clippy::unwrap_used, reason = "tests")]

use mesh_model::listener::Tracing;

use super::{TraceContext, begin};
use crate::codec::fields::Fields;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const SPAN: &str = "00f067aa0ba902b7";
const OURS: &str = "00000000000000ff";

fn tracing(sampling_percent: f64) -> Tracing {
    let mut tracing = crate::record::fixtures::tracing();
    tracing.sampling_percent = sampling_percent;
    tracing
}

fn run(headers: &[(&str, &str)], percent: f64, forced: bool) -> (TraceContext, Vec<(String, String)>) {
    let mut fields = Fields::default();
    for (name, value) in headers {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    let context = begin(&mut fields, &tracing(percent), forced, || 0xff);
    let told = fields
        .iter()
        .map(|(name, value)| {
            (
                String::from_utf8(name.to_vec()).unwrap(),
                String::from_utf8(value.to_vec()).unwrap(),
            )
        })
        .collect();
    (context, told)
}

/// The parent and the decision that were read (`-` = a trace of our own), and the headers that are passed on.
#[track_caller]
fn check(headers: &[(&str, &str)], read: &str, passed_on: &[(&str, &str)]) {
    let (context, told) = run(headers, 0.0, false);
    let parent = context.parent.map_or_else(
        || "-".to_owned(),
        |parent| format!("{} {parent} {}", context.trace_id, u8::from(context.sampled)),
    );
    assert_eq!(parent, read, "{headers:?}");
    let mut told: Vec<_> = told.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    told.sort_unstable();
    let mut wanted = passed_on.to_vec();
    wanted.sort_unstable();
    assert_eq!(told, wanted, "{headers:?}");
}

#[test]
fn w3c_parents_are_joined() {
    let ours = format!("00-{TRACE}-{OURS}-01");
    let multi = [
        ("x-b3-traceid", TRACE),
        ("x-b3-spanid", OURS),
        ("x-b3-parentspanid", SPAN),
        ("x-b3-sampled", "1"),
    ];
    for value in [
        format!("00-{TRACE}-{SPAN}-01"),
        format!("cc-{TRACE}-{SPAN}-03-what"),
        format!("01-{TRACE}-{SPAN}-ff"),
    ] {
        let mut wanted = multi.to_vec();
        wanted.extend([("traceparent", ours.as_str()), ("tracestate", "a=b")]);
        check(
            &[("traceparent", &value), ("tracestate", "a=b")],
            &format!("{TRACE} {SPAN} 1"),
            &wanted,
        );
    }
}

#[test]
fn what_is_no_traceparent_begins_a_trace_without_its_state() {
    let new = "00000000000000ff00000000000000ff";
    let ours = format!("00-{new}-{OURS}-00");
    let wanted = [
        ("traceparent", ours.as_str()),
        ("x-b3-traceid", new),
        ("x-b3-spanid", OURS),
        ("x-b3-sampled", "0"),
    ];
    for value in [
        String::new(),
        "00".into(),
        format!("00-{TRACE}-{SPAN}"),
        format!("00-{TRACE}-{SPAN}-0"),
        format!("00-{TRACE}-{SPAN}-01-more"),
        format!("00-{TRACE}-{SPAN}-01x"),
        format!("01-{TRACE}-{SPAN}-01x"),
        format!("ff-{TRACE}-{SPAN}-01"),
        format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
        format!("00-{TRACE}-{SPAN}-0g"),
        format!("00_{TRACE}_{SPAN}_01"),
        format!("00-{}-{SPAN}-01", "0".repeat(32)),
        format!("00-{TRACE}-{}-01", "0".repeat(16)),
        "é".repeat(28),
    ] {
        check(&[("traceparent", &value), ("tracestate", "a=b")], "-", &wanted);
    }
}

#[test]
fn b3_in_several_headers_is_joined() {
    let ours = format!("00-{TRACE}-{OURS}-01");
    check(
        &[
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-parentspanid", "1111111111111111"),
            ("x-b3-sampled", "1"),
        ],
        &format!("{TRACE} {SPAN} 1"),
        &[
            ("traceparent", &ours),
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", OURS),
            ("x-b3-parentspanid", SPAN),
            ("x-b3-sampled", "1"),
        ],
    );
    // 64-bit ids stay 64-bit towards those who know no others.
    let padded = format!("00-0000000000000000a3ce929d0e0e4736-{OURS}-00");
    check(
        &[
            ("x-b3-traceid", "a3ce929d0e0e4736"),
            ("x-b3-spanid", SPAN),
            ("x-b3-sampled", "0"),
        ],
        &format!("0000000000000000a3ce929d0e0e4736 {SPAN} 0"),
        &[
            ("traceparent", &padded),
            ("x-b3-traceid", "a3ce929d0e0e4736"),
            ("x-b3-spanid", OURS),
            ("x-b3-parentspanid", SPAN),
            ("x-b3-sampled", "0"),
        ],
    );
    // The debug flag is a decision by itself.
    check(
        &[
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", SPAN),
            ("x-b3-flags", "1"),
        ],
        &format!("{TRACE} {SPAN} 1"),
        &[
            ("traceparent", &ours),
            ("x-b3-traceid", TRACE),
            ("x-b3-spanid", OURS),
            ("x-b3-parentspanid", SPAN),
            ("x-b3-flags", "1"),
        ],
    );
}

#[test]
fn b3_in_one_header_is_joined() {
    for (value, sampled) in [
        (format!("{TRACE}-{SPAN}-1"), 1),
        (format!("{TRACE}-{SPAN}-d-1111111111111111"), 1),
        (format!("{TRACE}-{SPAN}-0"), 0),
        (format!("{TRACE}-{SPAN}"), 0),
    ] {
        let w3c = format!("00-{TRACE}-{OURS}-0{sampled}");
        let single = format!("{TRACE}-{OURS}-{sampled}-{SPAN}");
        check(
            &[("b3", &value)],
            &format!("{TRACE} {SPAN} {sampled}"),
            &[("traceparent", &w3c), ("b3", &single)],
        );
    }
}

/// The head decision.
#[track_caller]
fn decided(headers: &[(&str, &str)], percent: f64, forced: bool, wanted: bool, request_id: Option<&str>) {
    let (context, told) = run(headers, percent, forced);
    assert_eq!(context.sampled, wanted, "{headers:?}");
    let id = told
        .iter()
        .find(|(name, _)| name == "x-request-id")
        .map(|(_, v)| v.as_str());
    assert_eq!(id, request_id, "{headers:?}");
}

#[test]
fn the_first_who_may_decide_decides() {
    let plain = "000003e7-0000-4000-8000-000000000000";
    let id = |reason: char| format!("000003e7-0000-{reason}000-8000-000000000000");
    let rid = |value: &'static str| ("x-request-id", value);
    decided(&[], 0.0, false, false, None);
    decided(&[], 100.0, false, true, None);
    // 0x3e7 is 999 of 10,000: below 10 %, not below 9.99 %.
    decided(&[rid(plain)], 10.0, false, true, Some(&id('9')));
    decided(&[rid(plain)], 9.99, false, false, Some(plain));
    decided(&[rid(plain)], 0.0, true, true, Some(&id('a')));
    decided(
        &[rid(plain), ("x-client-trace-id", "x")],
        0.0,
        false,
        true,
        Some(&id('b')),
    );
    for reason in ['9', 'a', 'b'] {
        let value = id(reason);
        decided(&[("x-request-id", &value)], 0.0, false, true, Some(&value));
    }
    // Text that is no UUID stays as it is.
    decided(&[rid("order-7")], 100.0, false, true, Some("order-7"));
    decided(&[rid("order-7")], 0.0, false, false, Some("order-7"));
    // The caller's decision stands before all others.
    let unsampled = format!("00-{TRACE}-{SPAN}-00");
    decided(
        &[rid(plain), ("traceparent", &unsampled)],
        100.0,
        true,
        false,
        Some(plain),
    );
    decided(&[("x-b3-sampled", "0")], 100.0, false, false, None);
    decided(&[("x-b3-sampled", "true")], 0.0, false, true, None);
    decided(&[("b3", "0")], 100.0, false, false, None);
    decided(&[("b3", "nonsense")], 100.0, false, true, None);
}
