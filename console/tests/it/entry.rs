use http::{Method, StatusCode};
use serde_json::json;
use sightline_console::routes::{Permission, TABLE};

use crate::world::{OWN, TOKEN, world};

/// A path of the table with its parameters filled in.
fn concrete(path: &str) -> String {
    path.replace("{kind}", "VirtualService")
        .replace("{namespace}", "shop")
        .replace("{name}", "reviews")
        .replace("{*rest}", "VirtualService/shop/reviews")
        .replace("{*path}", "nothing.js")
}

const BEHIND_A_PROXY: &[&str] = &["--tls-in-front"];

#[tokio::test]
async fn off_loopback_nothing_but_public_paths_answers_strangers() {
    let world = world(BEHIND_A_PROXY).await;
    for route in TABLE {
        // The page's own origin: only the missing user stands in the way.
        let headers = [
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/json"),
        ];
        let answer = world
            .send(route.method.clone(), &concrete(route.path), &headers, "{}")
            .await;
        let refused = answer.status == StatusCode::UNAUTHORIZED;
        let expected = route.permission != Permission::Public;
        assert_eq!(
            refused, expected,
            "{} {}: {}",
            route.method, route.path, answer.text
        );
    }
}

#[tokio::test]
async fn a_path_that_is_not_in_the_table_does_not_exist() {
    let world = world(&[]).await;
    for path in [
        "/api/broken",
        "/api",
        "/api/objects/a",
        "/metrics",
        "/assets/../Cargo.toml",
        "/..%2f..%2fetc/passwd",
        "/API/graph",
    ] {
        let answer = world.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
    }
    assert_eq!(
        world.send(Method::PATCH, "/api/graph", &[], "").await.status,
        StatusCode::METHOD_NOT_ALLOWED
    );
}

#[tokio::test]
async fn another_host_is_refused_everywhere() {
    let world = world(&[]).await;
    for route in TABLE {
        let headers = [("host", "rebound.example:20001")];
        let answer = world
            .send(route.method.clone(), &concrete(route.path), &headers, "")
            .await;
        assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST, "{}", route.path);
    }
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let world = world(&[]).await;
    for path in [
        "/",
        "/healthz",
        "/api/graph",
        "/api/none",
        "/assets/none.js",
        "/api/openapi.json",
    ] {
        let answer = world.get(path).await;
        let header = |name: &str| {
            answer
                .headers
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default()
        };
        let policy = header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(
            !policy.contains("unsafe-inline") && !policy.contains("'unsafe-eval'"),
            "{path}: {policy}"
        );
        assert_eq!(header("x-content-type-options"), "nosniff", "{path}");
        assert!(!header("x-request-id").is_empty(), "{path}");
    }
    let (first, second) = (world.get("/").await, world.get("/").await);
    assert_ne!(
        first.headers["content-security-policy"], second.headers["content-security-policy"],
        "the nonce is new each time"
    );
}

#[tokio::test]
async fn an_error_carries_its_id_and_remedy() {
    let world = world(&[]).await;
    let answer = world.get("/api/none").await;
    let id = answer.headers["x-request-id"].to_str().unwrap();
    assert_eq!(answer.json()["request_id"], id);
    assert!(answer.json()["remedy"].is_string());
}

#[tokio::test]
async fn the_page_on_loopback_gets_its_cookie_and_others_do_not() {
    let world = world(&[]).await;
    let page = world
        .send(
            Method::GET,
            "/api/session",
            &[("sec-fetch-site", "same-origin")],
            "",
        )
        .await;
    assert_eq!(page.json()["user"], "ada");
    assert_eq!(page.json()["may_edit"], true);
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"),
        "{cookie}"
    );
    for headers in [&[][..], &[("sec-fetch-site", "cross-site")][..]] {
        let other = world.send(Method::GET, "/api/session", headers, "").await;
        assert_eq!(other.json()["user"], "", "{headers:?}");
        assert!(!other.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn signing_in_and_out() {
    let world = world(BEHIND_A_PROXY).await;
    let json = [
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ];
    let wrong = world
        .send(Method::POST, "/api/session", &json, r#"{"token":"wrong"}"#)
        .await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(!wrong.headers.contains_key("set-cookie"));
    let body = json!({"token": TOKEN}).to_string();
    let right = world.send(Method::POST, "/api/session", &json, &body).await;
    let cookie = right.headers["set-cookie"].to_str().unwrap();
    assert!(
        cookie.starts_with("__Host-sightline=") && cookie.ends_with("; Secure"),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(
        world
            .send(Method::GET, "/api/graph", &[("cookie", cookie)], "")
            .await
            .status,
        StatusCode::OK
    );
    let out = [("cookie", cookie), ("sec-fetch-site", "same-origin")];
    assert_eq!(
        world.send(Method::DELETE, "/api/session", &out, "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        world
            .send(Method::GET, "/api/graph", &[("cookie", cookie)], "")
            .await
            .status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_wrong_token_is_refused_even_where_none_is_needed() {
    let world = world(&[]).await;
    let answer = world
        .send(
            Method::GET,
            "/api/graph",
            &[("authorization", "Bearer wrong")],
            "",
        )
        .await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn queries_pass_unchanged() {
    let world = world(&[]).await;
    let answer = world.get("/api/series?source=a%2Fx&target=b&from=now-5m").await;
    assert_eq!(
        answer.json()["seen"],
        "/api/series?source=a%2Fx&target=b&from=now-5m"
    );
    let stream = world.get("/api/graph/stream?window=60").await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.text, "event: graph\ndata: {}\n\n");
    let foreign = world
        .send(
            Method::GET,
            "/api/graph/stream",
            &[("origin", "http://evil.example")],
            "",
        )
        .await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_control_plane_is_asked_in_the_name_of_whoever_asks() {
    let world = world(&[]).await;
    // Nobody in particular on this machine; a program with a token; the page, by its cookie.
    world.get("/api/graph").await;
    let none = json!({});
    world.as_user(Method::GET, "/api/requests", &none).await;
    world.as_user(Method::GET, "/api/requests/stream", &none).await;
    world.as_user(Method::POST, "/api/analyze", &none).await;
    world.as_user(Method::GET, "/api/layout", &none).await;
    let page = [("sec-fetch-site", "same-origin")];
    let signed_in = world.send(Method::GET, "/api/session", &page, "").await;
    let cookie = signed_in.headers["set-cookie"].to_str().unwrap();
    let cookie = cookie.split(';').next().unwrap();
    world
        .send(Method::GET, "/api/traces", &[("cookie", cookie)], "")
        .await;
    let askers = world.neighbours.lock().unwrap().askers.clone();
    assert_eq!(askers, [OWN, TOKEN, TOKEN, TOKEN, TOKEN, TOKEN]);
}

#[tokio::test]
async fn the_layout_is_of_the_scope_that_was_asked_for() {
    let world = world(&[]).await;
    let layout = world
        .get("/api/layout?type=app&namespaces=a&from=now-60s&to=now")
        .await
        .json();
    assert_eq!(layout["nodes"][0]["id"], "a/x");
    assert_eq!(layout["boxes"][0]["namespace"], "a");
    let seen = world.neighbours.lock().unwrap().queries.clone();
    assert_eq!(seen, ["/api/graph?type=app&namespaces=a&from=now-60s&to=now"]);
}
