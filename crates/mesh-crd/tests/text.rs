//! Reading text: limits, places of problems, hostile input.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use mesh_crd::{Severity, parse_yaml};
use proptest::prelude::*;

const GOOD: &str = "apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: app}
spec:
  hosts: [web]
  http:
  - name: r
    timeout: 1s
    route:
    - destination: {host: web}
";

/// `place` is `line:column code field` of each problem.
#[track_caller]
fn check(text: &str, places: &[&str]) {
    let parsed = parse_yaml(text);
    let found: Vec<String> = parsed
        .problems
        .iter()
        .map(|p| {
            assert!(!p.message.is_empty() && !p.remedy.is_empty(), "{p:?}");
            format!(
                "{}:{} {} {}",
                p.line.unwrap_or(0),
                p.column.unwrap_or(0),
                p.code,
                p.field
            )
        })
        .collect();
    assert_eq!(found, places, "{:?}", parsed.problems);
    let refused = parsed.problems.iter().any(|p| p.severity == Severity::Error);
    assert_eq!(parsed.object.is_none(), refused);
}

#[test]
fn problems_have_places() {
    check(GOOD, &[]);
    check(
        &GOOD.replace("timeout: 1s", "timeout: 0s"),
        &["8:14 IST0106 spec.http[0].timeout"],
    );
    check(
        &GOOD.replace("timeout", "timeuot"),
        &["8:14 IST0106 spec.http[0].timeuot"],
    );
    check(
        &GOOD.replace("hosts: [web]", "hosts: web"),
        &["5:10 IST0106 spec.hosts"],
    );
    check(
        &GOOD.replace("hosts: [web]\n", "hosts: [web, WEB]\n  gateways: [a/b/c]\n"),
        &["5:16 IST0106 spec.hosts[1]", "6:14 IST0106 spec.gateways[0]"],
    );
    check(
        &GOOD.replace("destination: {host: web}", "destination: {}"),
        &["10:7 IST0106 spec.http[0].route[0].destination.host"],
    );
    check(&GOOD.replace("name: web, ", ""), &["3:1 IST0106 metadata.name"]);
    check(
        &GOOD.replace("networking.istio.io/v1\n", "networking.istio.io/v2\n"),
        &["1:13 IST0106 apiVersion"],
    );
    check(&GOOD.replace("VirtualService", "Nothing"), &["2:7 IST0106 kind"]);
}

#[test]
fn a_missing_field_is_told_once() {
    let parsed = parse_yaml(&GOOD.replace("destination: {host: web}", "destination: {}"));
    assert_eq!(parsed.problems.len(), 1, "{:?}", parsed.problems);
}

#[test]
fn unfit_texts() {
    for text in [
        "",
        "null",
        "[]",
        "text",
        "a: 1\na: 2\n",
        "a: [",
        "a: 1\n---\nb: 2\n",
        "\u{0}",
        "{{{{",
        "&a [*a]",
        &"[".repeat(100_000),
        &format!("{}{}", "a: {".repeat(100), "}".repeat(100)),
        &" ".repeat(2 << 20),
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n",
    ] {
        let parsed = parse_yaml(text);
        assert!(parsed.object.is_none());
        assert!(!parsed.problems.is_empty(), "{}", text.get(..40).unwrap_or(text));
    }
}

#[test]
fn json_is_read_too() {
    let parsed = parse_yaml(
        r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a"},"spec":{"ports":[{"port":80}]}}"#,
    );
    assert!(parsed.object.is_some(), "{:?}", parsed.problems);
}

#[test]
fn the_revision_ignores_order_and_status() {
    let revision = |text: &str| parse_yaml(text).object.unwrap().meta().revision.clone();
    let base = revision(GOOD);
    let moved = GOOD
        .replace("    timeout: 1s\n", "")
        .replace("  - name: r\n", "  - timeout: 1s\n    name: r\n");
    assert_eq!(base, revision(&moved));
    assert_eq!(
        base,
        revision(&format!("{GOOD}status: {{observedGeneration: 7}}\n"))
    );
    assert_ne!(base, revision(&GOOD.replace("1s", "2s")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn never_panics(text in "[ -~\n]{0,400}") {
        let _ = parse_yaml(&text);
    }

    /// Any one value of a good object replaced by any other.
    #[test]
    fn never_panics_near_good_objects(line in 4usize..10, value in "[ -~]{0,40}") {
        let text: Vec<String> = GOOD
            .lines()
            .enumerate()
            .map(|(i, l)| match l.split_once(": ") {
                Some((key, _)) if i == line => format!("{key}: {value}"),
                _ => l.to_owned(),
            })
            .collect();
        let _ = parse_yaml(&text.join("\n"));
    }
}
