//! Who wrote what: the list of writes.

use mesh_apiserver::{Config, Server};
use serde_json::{Value, json};

use crate::client::Client;

struct Audited {
    _folder: tempfile::TempDir,
    server: Server,
    client: Client,
}

impl Audited {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = Config::new("127.0.0.1:0".parse().unwrap(), folder.path().join("data"));
        let server = Server::start(config).await.unwrap();
        let ca = std::fs::read_to_string(folder.path().join("data/ca.crt")).unwrap();
        let client = Client::new(server.address(), &ca, server.admin_token());
        Self {
            _folder: folder,
            server,
            client,
        }
    }

    async fn send(&self, line: &str, kind: &str, body: Value) -> (u16, Value) {
        let (method, path) = line.split_once(' ').unwrap();
        let headers = [
            ("content-type".to_owned(), kind.to_owned()),
            ("user-agent".to_owned(), "kubectl/v1 (linux)".to_owned()),
        ];
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let answer = self.client.send(method, path, &headers, body.into()).await;
        let status = answer.status;
        let text = answer.text().await;
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn writes(&self, query: &str) -> Value {
        let path = format!("GET /audit/v1/writes?{query}");
        let (status, body) = self.send(&path, "", Value::Null).await;
        assert_eq!(status, 200, "{body}");
        body
    }
}

const BASE: &str = "/apis/networking.istio.io/v1/namespaces/default/virtualservices";

/// Every write of a client is there once, with its user, in the order of revisions.
#[tokio::test]
async fn writes_name_their_users() {
    let audited = Audited::start().await;
    let start = audited.writes("").await;
    assert_eq!(
        start["items"],
        json!([]),
        "what the server made itself has no author"
    );
    let since = start["metadata"]["resourceVersion"].as_str().unwrap().to_owned();

    let query = format!("since={since}&timeoutSeconds=5");
    let waiting = audited.writes(&query);
    let object = json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
        "metadata": {"name": "reviews"}, "spec": {"hosts": ["reviews"], "http": [{"route": [{"destination": {"host": "reviews"}}]}]},
    });
    let json = "application/json";
    let line = format!("POST {BASE}?fieldManager=console");
    let create = audited.send(&line, json, object.clone());
    let (found, (status, made)) = tokio::join!(waiting, create);
    assert_eq!(status, 201, "{made}");
    assert_eq!(
        found["items"][0]["name"], "reviews",
        "a waiting reader learns of it: {found}"
    );

    audited
        .send(&format!("POST {BASE}?dryRun=All"), json, object.clone())
        .await;
    audited.send(&format!("POST {BASE}"), json, object).await;
    let patch = json!({"spec": {"hosts": ["reviews", "b"]}});
    audited
        .send(
            &format!("PATCH {BASE}/reviews"),
            "application/merge-patch+json",
            patch.clone(),
        )
        .await;
    audited
        .send(
            &format!("PATCH {BASE}/reviews"),
            "application/merge-patch+json",
            patch,
        )
        .await;
    audited
        .send(&format!("DELETE {BASE}/reviews"), json, Value::Null)
        .await;

    let all = audited.writes(&format!("since={since}")).await;
    let rows = all["items"].as_array().unwrap();
    let told: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "{} {} {} {}/{} {}",
                row["user"], row["verb"], row["manager"], row["namespace"], row["name"], row["deleted"]
            )
            .replace('"', "")
        })
        .collect();
    assert_eq!(
        told,
        [
            "kubernetes-admin create console default/reviews false",
            "kubernetes-admin patch kubectl default/reviews false",
            "kubernetes-admin delete kubectl default/reviews true",
        ],
        "what changed nothing, and what was only tried, is no write"
    );
    assert_eq!(rows[0]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(rows[0]["uid"], made["metadata"]["uid"]);
    assert_eq!(rows[0]["kind"], "VirtualService");
    assert_eq!(rows[0]["apiVersion"], "networking.istio.io/v1");

    let page = audited.writes(&format!("since={since}&limit=1")).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    assert_eq!(page["metadata"]["more"], true);
    assert_eq!(page["metadata"]["resourceVersion"], rows[0]["resourceVersion"]);
    let newest = all["metadata"]["resourceVersion"].as_str().unwrap();
    assert_eq!(
        audited.writes(&format!("since={newest}")).await["items"],
        json!([])
    );
    audited.server.shutdown().await;
}

/// It is closed to those without the right, and a wrong query is told what is wrong with it.
#[tokio::test]
async fn writes_need_a_right_and_a_number() {
    let audited = Audited::start().await;
    let (status, body) = audited
        .send("GET /audit/v1/writes?since=x", "", Value::Null)
        .await;
    assert_eq!(status, 400);
    assert!(body["message"].as_str().unwrap().contains("since"), "{body}");
    let path = "POST /api/v1/namespaces/default/serviceaccounts/default/token";
    let (status, token) = audited.send(path, "application/json", json!({"spec": {}})).await;
    assert_eq!(status, 201, "{token}");
    let mut other = audited.client.clone();
    other.token = token["status"]["token"].as_str().unwrap().to_owned();
    let answer = other
        .send("GET", "/audit/v1/writes", &[], bytes::Bytes::new())
        .await;
    assert_eq!(answer.status, 403);
    audited.server.shutdown().await;
}
