#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;

use super::*;
use crate::matching::{HeaderCheck, HeaderMatch, Pattern, QueryMatch, StringMatch};
use crate::request::TypedRequest;
use crate::route::{Action, DirectResponse, HeaderEdits};

fn route(path: PathMatch) -> Route {
    Route {
        name: String::new(),
        matches: RouteMatch {
            path,
            path_ignore_case: false,
            headers: Vec::new(),
            query: Vec::new(),
            claims: Vec::new(),
        },
        action: Action::Respond(DirectResponse::default()),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        fault: None,
        cors: None,
        operation: None,
        origin: None,
    }
}

fn table(domains: &[&[Domain]]) -> RouteTable {
    RouteTable {
        name: "80".into(),
        virtual_hosts: domains
            .iter()
            .map(|domains| {
                Arc::new(VirtualHost {
                    domains: domains.to_vec(),
                    routes: vec![Arc::new(route(PathMatch::Prefix("/".into())))],
                    ..VirtualHost::default()
                })
            })
            .collect(),
    }
}

#[test]
fn a_host_belongs_to_the_most_specific_virtual_host() {
    let table = table(&[
        &[Domain::Any],
        &[Domain::Suffix(".com".into())],
        &[Domain::Exact("a.example.com".into())],
        &[Domain::Suffix(".example.com".into())],
        &[Domain::Prefix("a.".into())],
    ]);
    let index = HostIndex::new(&table);
    for (authority, expected) in [
        ("a.example.com", 2),
        ("A.Example.COM:8080", 2),
        ("b.example.com", 3),
        (".example.com", 1),
        ("example.com", 1),
        ("a.org", 4),
        ("a.", 0),
        ("b", 0),
        ("[::1]:80", 0),
    ] {
        let host = host_of(authority.as_bytes());
        assert_eq!(table.virtual_host(host), Some(expected), "{authority}");
        assert_eq!(index.virtual_host(host), Some(expected), "{authority} by index");
    }
}

#[test]
fn ports_are_split_off() {
    let check = |authority: &str, host: &str, port| {
        assert_eq!(
            split_port(authority.as_bytes()),
            (host.as_bytes(), port),
            "{authority}"
        );
    };
    check("web:80", "web", Some(80));
    check("web", "web", None);
    check("[::1]:80", "[::1]", Some(80));
    check("[::1]", "[::1]", None);
    check("::1", "::1", None);
    check("web:", "web", None);
    check("web:99999", "web", None);
    check("web:x", "web:x", None);
}

fn header(name: &str, check: HeaderCheck, invert: bool, missing_is_empty: bool) -> HeaderMatch {
    HeaderMatch {
        name: name.into(),
        check,
        invert,
        missing_is_empty,
    }
}

#[track_caller]
fn check(route: &Route, request: &TypedRequest, expected: bool) {
    assert_eq!(route.matches.holds(request), expected, "{route:?} on {request:?}");
}

#[test]
fn paths() {
    for (path, matching, not_matching) in [
        (PathMatch::Prefix("/foo".into()), "/foobar?x", "/Foo"),
        (PathMatch::Exact("/foo".into()), "/foo?x=1", "/foo/"),
        (
            PathMatch::Regex(Pattern::new("/a.*b").unwrap()),
            "/axb?q",
            "/axbc",
        ),
        (PathMatch::SegmentPrefix("/foo".into()), "/foo/bar", "/foobar"),
        (PathMatch::SegmentPrefix("/foo/".into()), "/foo", "/fo"),
    ] {
        check(&route(path.clone()), &TypedRequest::get("a", matching), true);
        check(&route(path), &TypedRequest::get("a", not_matching), false);
    }
    let mut ignoring = route(PathMatch::Prefix("/foo".into()));
    ignoring.matches.path_ignore_case = true;
    check(&ignoring, &TypedRequest::get("a", "/FOObar"), true);
}

#[test]
fn headers_and_queries() {
    let exact = |v: &str| HeaderCheck::Value(StringMatch::Exact(v.into()));
    let with = |values: &[(&str, &str)]| {
        let mut request = TypedRequest::get("Web:80", "/?a=1&b&a=2");
        request
            .headers
            .extend(values.iter().map(|(n, v)| ((*n).into(), (*v).into())));
        request
    };
    for (condition, request, expected) in [
        (header("x", exact("1"), false, false), with(&[("x", "1")]), true),
        (
            header("x", exact("1,2"), false, false),
            with(&[("x", "1"), ("x", "2")]),
            true,
        ),
        (header("x", exact("1"), false, false), with(&[]), false),
        (header("x", exact("1"), true, false), with(&[]), false),
        (header("x", exact("1"), true, true), with(&[]), true),
        (header("x", exact("1"), true, false), with(&[("x", "2")]), true),
        (header("x", exact(""), false, false), with(&[]), false),
        (header("x", exact(""), false, false), with(&[("x", "")]), true),
        (
            header("x", HeaderCheck::Present(true), false, false),
            with(&[]),
            false,
        ),
        (
            header("x", HeaderCheck::Present(true), true, false),
            with(&[]),
            true,
        ),
        (
            header("x", HeaderCheck::Present(false), false, false),
            with(&[]),
            true,
        ),
        (
            header(":authority", exact("Web:80"), false, false),
            with(&[]),
            true,
        ),
        (header(":authority", exact("web"), false, false), with(&[]), false),
        (header(":method", exact("GET"), false, false), with(&[]), true),
        (
            header(
                "x",
                HeaderCheck::Value(StringMatch::Regex(Pattern::new(".*").unwrap())),
                true,
                true,
            ),
            with(&[]),
            false,
        ),
    ] {
        let mut rule = route(PathMatch::Prefix("/".into()));
        rule.matches.headers = vec![condition];
        check(&rule, &request, expected);
    }
    for (name, value, expected) in [
        ("a", Some("1"), true),
        ("a", Some("2"), false),
        ("b", None, true),
        ("b", Some(""), true),
        ("c", None, false),
        ("A", None, false),
    ] {
        let mut rule = route(PathMatch::Prefix("/".into()));
        rule.matches.query = vec![QueryMatch {
            name: name.into(),
            value: value.map(|v| StringMatch::Exact(v.into())),
        }];
        check(&rule, &with(&[]), expected);
    }
}

/// The literal reading of the rule: try every domain of every kind in the order of the documentation.
fn literal(table: &RouteTable, host: &str) -> Option<usize> {
    let host = host.to_ascii_lowercase();
    let all = || {
        table
            .virtual_hosts
            .iter()
            .enumerate()
            .flat_map(|(at, v)| v.domains.iter().map(move |d| (at, d)))
    };
    let exact = all().find(|(_, d)| matches!(d, Domain::Exact(n) if n.to_ascii_lowercase() == host));
    let longest = |length: &dyn Fn(&Domain) -> Option<usize>| {
        let most = all().filter_map(|(_, d)| length(d)).max()?;
        all().find(|(_, d)| length(d) == Some(most))
    };
    let suffix = |d: &Domain| match d {
        Domain::Suffix(s) => {
            (host.len() > s.len() && host.ends_with(&s.to_ascii_lowercase())).then_some(s.len())
        }
        _ => None,
    };
    let prefix = |d: &Domain| match d {
        Domain::Prefix(s) => {
            (host.len() > s.len() && host.starts_with(&s.to_ascii_lowercase())).then_some(s.len())
        }
        _ => None,
    };
    exact
        .or_else(|| longest(&suffix))
        .or_else(|| longest(&prefix))
        .or_else(|| all().find(|(_, d)| matches!(d, Domain::Any)))
        .map(|(at, _)| at)
}

fn domain() -> impl proptest::strategy::Strategy<Value = Domain> {
    use proptest::prelude::*;
    prop_oneof![
        Just(Domain::Any),
        "[ab.]{1,4}".prop_map(Domain::Exact),
        "\\.[ab.]{0,3}".prop_map(Domain::Suffix),
        "[ab.]{0,3}\\.".prop_map(Domain::Prefix),
    ]
}

proptest::proptest! {
    #[test]
    fn table_index_and_literal_reading_agree(
        domains in proptest::collection::vec(proptest::collection::vec(domain(), 0..3), 0..5),
        host in "[abA.]{0,6}",
    ) {
        let domains: Vec<&[Domain]> = domains.iter().map(Vec::as_slice).collect();
        let table = table(&domains);
        let expected = literal(&table, &host);
        proptest::prop_assert_eq!(table.virtual_host(host.as_bytes()), expected);
        proptest::prop_assert_eq!(HostIndex::new(&table).virtual_host(host.as_bytes()), expected);
    }
}
