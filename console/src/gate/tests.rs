#![allow(clippy::unwrap_used, reason = "tests")]

use http::HeaderValue;

use super::*;
use crate::routes::TABLE;

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| {
            (
                http::HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        })
        .collect()
}

#[track_caller]
fn check_origin(pairs: &[(&'static str, &'static str)], expected: Origin) {
    assert_eq!(origin(&headers(pairs), "127.0.0.1:20001"), expected, "{pairs:?}");
}

#[test]
fn origins() {
    check_origin(&[], Origin::Untold);
    check_origin(&[("sec-fetch-site", "same-origin")], Origin::Same);
    check_origin(&[("sec-fetch-site", "none")], Origin::Typed);
    check_origin(&[("sec-fetch-site", "same-site")], Origin::Cross);
    check_origin(&[("sec-fetch-site", "cross-site")], Origin::Cross);
    check_origin(&[("origin", "http://127.0.0.1:20001")], Origin::Same);
    check_origin(&[("origin", "http://127.0.0.1:20002")], Origin::Cross);
    check_origin(&[("origin", "null")], Origin::Cross);
    check_origin(
        &[
            ("origin", "http://127.0.0.1:20001"),
            ("sec-fetch-site", "cross-site"),
        ],
        Origin::Cross,
    );
}

#[test]
fn hosts() {
    let hosts = Hosts::new("127.0.0.1:20001".parse().unwrap(), &["Mesh.example.com".into()]);
    for (host, allowed) in [
        ("127.0.0.1:20001", true),
        ("localhost:20001", true),
        ("LOCALHOST:20001", true),
        ("[::1]:20001", true),
        ("mesh.example.com", true),
        ("mesh.example.com:20001", false),
        ("127.0.0.1", false),
        ("127.0.0.1:80", false),
        ("localhost.evil.example:20001", false),
        ("", false),
    ] {
        assert_eq!(hosts.allow(host), allowed, "{host}");
    }
    let elsewhere = Hosts::new("10.0.0.1:20001".parse().unwrap(), &[]);
    assert!(elsewhere.allow("10.0.0.1:20001") && !elsewhere.allow("localhost:20001"));
}

#[test]
fn every_unsafe_route_refuses_foreign_pages() {
    let json = ("content-type", "application/json");
    for route in TABLE.iter().filter(|route| route.method != Method::GET) {
        let refused = admit(route, &route.method, &headers(&[json]), Origin::Cross).unwrap_err();
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", route.path);
        let typed = admit(route, &route.method, &headers(&[json]), Origin::Typed).unwrap_err();
        assert_eq!(typed.status, StatusCode::FORBIDDEN, "{}", route.path);
        assert!(
            admit(route, &route.method, &headers(&[json]), Origin::Same).is_ok(),
            "{}",
            route.path
        );
    }
}

#[test]
fn every_route_with_a_body_takes_json_only() {
    for route in TABLE.iter().filter(|route| route.request.is_some()) {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonx",
        ] {
            let refused = admit(
                route,
                &route.method,
                &headers(&[("content-type", kind)]),
                Origin::Same,
            )
            .unwrap_err();
            assert_eq!(
                refused.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{} {kind}",
                route.path
            );
        }
        let charset = [("content-type", "Application/JSON; charset=utf-8")];
        assert!(admit(route, &route.method, &headers(&charset), Origin::Same).is_ok());
    }
}

#[test]
fn every_edit_needs_a_user_and_reading_off_loopback_too() {
    let user = Identity::Cookie(User {
        name: "ada".into(),
        token: "t".into(),
    });
    for route in TABLE {
        let anonymous_here = permit(route, &Identity::Anonymous, true).is_ok();
        let anonymous_there = permit(route, &Identity::Anonymous, false).is_ok();
        assert_eq!(
            anonymous_here,
            matches!(route.permission, Permission::Public | Permission::Read),
            "{} {}",
            route.method,
            route.path
        );
        assert_eq!(
            anonymous_there,
            route.permission == Permission::Public,
            "{} {}",
            route.method,
            route.path
        );
        assert!(
            permit(route, &user, false).is_ok(),
            "{} {}",
            route.method,
            route.path
        );
        let records = route.path.starts_with("/api/requests") || route.path.starts_with("/api/traces");
        assert_eq!(
            route.permission == Permission::Records,
            records,
            "{} {}",
            route.method,
            route.path
        );
        let writes = route.method != Method::GET && route.path.starts_with("/api/objects");
        assert_eq!(
            route.permission == Permission::Edit,
            writes,
            "{} {}",
            route.method,
            route.path
        );
    }
}

#[test]
fn streams_refuse_foreign_pages() {
    let stream = TABLE.iter().find(|route| route.action == Action::Stream).unwrap();
    assert!(admit(stream, &Method::GET, &HeaderMap::new(), Origin::Cross).is_err());
    assert!(admit(stream, &Method::GET, &HeaderMap::new(), Origin::Untold).is_ok());
}

#[test]
fn a_cookie_without_a_browser_cannot_edit() {
    let save = TABLE
        .iter()
        .find(|route| route.action == Action::SaveObject)
        .unwrap();
    let json = ("content-type", "application/json");
    assert!(
        admit(
            save,
            &Method::PUT,
            &headers(&[json, ("cookie", "sightline=x")]),
            Origin::Untold
        )
        .is_err()
    );
    assert!(
        admit(
            save,
            &Method::PUT,
            &headers(&[json, ("authorization", "Bearer x")]),
            Origin::Untold
        )
        .is_ok()
    );
}

#[test]
fn the_session_is_found_among_cookies() {
    for (cookie, secure, expected) in [
        ("sightline=abc", false, Some("abc")),
        ("a=1; sightline=abc; b=2", false, Some("abc")),
        ("sightlinex=abc", false, None),
        ("sightline=abc", true, None),
        ("__Host-sightline=abc", true, Some("abc")),
    ] {
        assert_eq!(
            session_id(&headers(&[("cookie", cookie)]), secure),
            expected,
            "{cookie}"
        );
    }
}
