use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{TOKEN, World, world};

const OBJECT: &str = "/api/objects/VirtualService/shop/reviews";

fn yaml(host: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: reviews\n  namespace: shop\nspec:\n  hosts:\n  - {host}\n  http:\n  - route:\n    - destination:\n        host: reviews\n"
    )
}

fn save(host: &str, version: &str) -> Value {
    json!({"yaml": yaml(host), "resource_version": version})
}

fn writes(world: &World) -> usize {
    world.neighbours.lock().unwrap().writes.len()
}

#[tokio::test]
async fn an_object_is_read_as_people_write_it() {
    let world = world(&[]).await;
    let answer = world.get(OBJECT).await.json();
    assert_eq!(answer["resource_version"], "7");
    let text = answer["yaml"].as_str().unwrap();
    assert!(
        text.starts_with("apiVersion: ") && !text.contains("managedFields"),
        "{text}"
    );
}

#[tokio::test]
async fn a_save_goes_with_the_users_token_and_version_and_strict_checks() {
    let world = world(&[]).await;
    let answer = world.as_user(Method::PUT, OBJECT, &save("other", "7")).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["resource_version"], "8");
    let (method, path, token, body) = world.neighbours.lock().unwrap().writes[0].clone();
    assert_eq!((method.as_str(), token.as_str()), ("PUT", TOKEN));
    assert_eq!(
        path,
        "/apis/networking.istio.io/v1/namespaces/shop/virtualservices/reviews?fieldValidation=Strict&fieldManager=sightline-console"
    );
    assert_eq!(body["metadata"]["resourceVersion"], "7");
}

#[tokio::test]
async fn a_stale_save_is_refused_with_the_difference() {
    let world = world(&[]).await;
    let answer = world.as_user(Method::PUT, OBJECT, &save("mine", "6")).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let conflict = answer.json();
    assert_eq!(conflict["current"]["resource_version"], "7");
    let diff = conflict["diff"].as_str().unwrap();
    assert!(
        diff.contains("-  - reviews") && diff.contains("+  - mine"),
        "{diff}"
    );
}

#[tokio::test]
async fn a_save_without_a_version_is_refused() {
    let world = world(&[]).await;
    let answer = world.as_user(Method::PUT, OBJECT, &save("mine", "")).await;
    assert_eq!((answer.status, writes(&world)), (StatusCode::BAD_REQUEST, 0));
}

#[track_caller]
fn problem_at(answer: &crate::world::Answer, line: u64, field: &str) {
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.text);
    let problem = answer.json()["problems"][0].clone();
    assert_eq!(
        (problem["line"].as_u64(), problem["field"].as_str()),
        (Some(line), Some(field)),
        "{problem}"
    );
}

#[tokio::test]
async fn what_is_wrong_is_named_at_its_line_and_nothing_is_written() {
    let world = world(&[]).await;
    let put = async |text: &str| {
        world
            .as_user(
                Method::PUT,
                OBJECT,
                &json!({"yaml": text, "resource_version": "7"}),
            )
            .await
    };
    problem_at(
        &put(&yaml("a").replace("name: reviews", "name: other")).await,
        4,
        "metadata.name",
    );
    problem_at(
        &put(&yaml("a").replace("kind: VirtualService", "kind: Pod")).await,
        1,
        "apiVersion",
    );
    let broken = put("kind: [\n").await;
    assert_eq!(broken.status, StatusCode::UNPROCESSABLE_ENTITY);
    let analysis = json!([{"code": "IST0101", "severity": "error", "field": "spec.http[0].route[0].destination.host", "message": "no such host"}]);
    world.neighbours.lock().unwrap().problems = analysis;
    problem_at(
        &put(&yaml("a")).await,
        12,
        "spec.http[0].route[0].destination.host",
    );
    assert_eq!(writes(&world), 0);
}

#[tokio::test]
async fn a_warning_does_not_stop_a_save() {
    let world = world(&[]).await;
    world.neighbours.lock().unwrap().problems =
        json!([{"code": "IST0130", "severity": "warning", "field": "spec", "message": "never matches"}]);
    assert_eq!(
        world.as_user(Method::PUT, OBJECT, &save("a", "7")).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn the_api_servers_refusals_reach_the_user() {
    let world = world(&[]).await;
    let causes = json!({"message": "invalid", "details": {"causes": [{"field": "spec.hosts", "message": "must not be empty"}]}});
    world.neighbours.lock().unwrap().refusal = Some((422, causes));
    problem_at(
        &world.as_user(Method::PUT, OBJECT, &save("a", "7")).await,
        7,
        "spec.hosts",
    );
    world.neighbours.lock().unwrap().refusal = Some((403, json!({"message": "ada cannot update"})));
    let forbidden = world.as_user(Method::PUT, OBJECT, &save("a", "7")).await;
    assert_eq!(forbidden.status, StatusCode::FORBIDDEN);
    let remedy = forbidden.json()["remedy"].as_str().unwrap().to_owned();
    assert!(
        remedy.contains("`update` on virtualservices.networking.istio.io"),
        "{remedy}"
    );
}

#[tokio::test]
async fn foreign_pages_and_other_bodies_change_nothing() {
    let world = world(&[]).await;
    let page = world
        .send(
            Method::GET,
            "/api/session",
            &[("sec-fetch-site", "same-origin")],
            "",
        )
        .await;
    let cookie = page.headers["set-cookie"]
        .to_str()
        .unwrap()
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let body = save("evil", "7").to_string();
    let own = format!("http://{}", world.host);
    let try_with = async |headers: &[(&str, &str)]| {
        let mut all = vec![("cookie", cookie.as_str())];
        all.extend_from_slice(headers);
        world.send(Method::PUT, OBJECT, &all, &body).await.status
    };
    let json = ("content-type", "application/json");
    assert_eq!(
        try_with(&[json, ("origin", "http://evil.example")]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        try_with(&[json, ("sec-fetch-site", "cross-site")]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        try_with(&[json, ("sec-fetch-site", "none")]).await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(try_with(&[json]).await, StatusCode::FORBIDDEN);
    assert_eq!(
        try_with(&[("content-type", "text/plain"), ("origin", &own)]).await,
        StatusCode::UNSUPPORTED_MEDIA_TYPE
    );
    assert_eq!(writes(&world), 0);
    assert_eq!(
        try_with(&[json, ("origin", &own), ("sec-fetch-site", "same-origin")]).await,
        StatusCode::OK
    );
    assert_eq!(writes(&world), 1);
}

#[tokio::test]
async fn strangers_on_loopback_read_but_do_not_write() {
    let world = world(&[]).await;
    assert_eq!(world.get(OBJECT).await.status, StatusCode::OK);
    let headers = [
        ("content-type", "application/json"),
        ("sec-fetch-site", "same-origin"),
    ];
    let answer = world
        .send(Method::PUT, OBJECT, &headers, &save("a", "7").to_string())
        .await;
    assert_eq!((answer.status, writes(&world)), (StatusCode::UNAUTHORIZED, 0));
}

#[tokio::test]
async fn creating_deleting_and_dry_runs() {
    let world = world(&[]).await;
    let created = world
        .as_user(
            Method::POST,
            "/api/objects",
            &json!({"yaml": yaml("a"), "dry_run": true}),
        )
        .await;
    assert!(created.status.is_success(), "{}", created.text);
    let deleted = world
        .as_user(Method::DELETE, &format!("{OBJECT}?resourceVersion=7"), &json!({}))
        .await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let seen = world.neighbours.lock().unwrap();
    assert!(
        seen.writes[0]
            .1
            .ends_with("virtualservices?fieldValidation=Strict&fieldManager=sightline-console&dryRun=All")
    );
    assert!(seen.writes[0].3["metadata"].get("resourceVersion").is_none());
    assert_eq!(seen.writes[1].3["preconditions"]["resourceVersion"], "7");
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let world = world(&[]).await;
    let body = json!({"yaml": "x".repeat(2 * 1024 * 1024), "resource_version": "7"});
    assert_eq!(
        world.as_user(Method::PUT, OBJECT, &body).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
}
