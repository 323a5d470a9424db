//! The data folder: what survives a restart, who may open it, what is refused.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use bytes::Bytes;
use mesh_apiserver::{Config, Error, Server};
use serde_json::Value;

use crate::client::Client;

async fn start(folder: &Path) -> Result<Server, Error> {
    Server::start(Config::new("127.0.0.1:0".parse().unwrap(), folder)).await
}

fn client(folder: &Path, server: &Server) -> Client {
    let ca = std::fs::read_to_string(folder.join("ca.crt")).unwrap();
    Client::new(server.address(), &ca, server.admin_token())
}

async fn call(client: &Client, method: &str, path: &str, body: &str) -> (u16, Value) {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    let answer = client
        .send(method, path, &headers, Bytes::from(body.to_owned()))
        .await;
    let status = answer.status;
    (
        status,
        serde_json::from_str(&answer.text().await).unwrap_or_default(),
    )
}

#[tokio::test]
async fn a_restart_keeps_objects_tokens_and_history() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let server = start(&folder).await.unwrap();
    let before = client(&folder, &server);
    let (status, object) = call(
        &before,
        "POST",
        "/api/v1/namespaces/default/configmaps",
        r#"{"metadata":{"name":"kept"},"data":{"a":"b"}}"#,
    )
    .await;
    assert_eq!(status, 201);
    let version = object
        .pointer("/metadata/resourceVersion")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    let (_, review) = call(
        &before,
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        "{}",
    )
    .await;
    let token = review
        .pointer("/status/token")
        .unwrap()
        .as_str()
        .unwrap()
        .to_owned();
    call(
        &before,
        "DELETE",
        "/api/v1/namespaces/default/configmaps/kept",
        "",
    )
    .await;
    let admin = server.admin_token().to_owned();
    server.shutdown().await;

    let server = start(&folder).await.unwrap();
    assert_eq!(server.admin_token(), admin);
    let mut after = client(&folder, &server);
    let watch = format!(
        "/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={version}&timeoutSeconds=1"
    );
    let (status, event) = call(&after, "GET", &watch, "").await;
    assert_eq!(
        (status, event["type"].as_str()),
        (200, Some("DELETED")),
        "a watch goes on after a restart"
    );
    after.token = token;
    let (status, _) = call(&after, "GET", "/apis", "").await;
    assert_eq!(status, 200, "tokens stay good");
    server.shutdown().await;
}

#[tokio::test]
async fn a_folder_has_one_server_and_private_files() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let server = start(&folder).await.unwrap();
    for name in [
        "kubeconfig",
        "token",
        "ca.key",
        "sa.key",
        "objects.db",
        "objects.db-wal",
    ] {
        let mode = std::fs::metadata(folder.join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let error = start(&folder).await.unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    server.shutdown().await;
    start(&folder).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn a_newer_folder_is_refused_untouched() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("format"), "2\n").unwrap();
    let error = start(&folder).await.unwrap_err();
    assert!(matches!(error, Error::Newer { .. }), "{error}");
    assert_eq!(
        std::fs::read_dir(&folder).unwrap().count(),
        1,
        "nothing was written"
    );
    assert_eq!(std::fs::read_to_string(folder.join("format")).unwrap(), "2\n");
}

#[tokio::test]
async fn strange_hosts_are_refused() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let server = start(&folder).await.unwrap();
    let client = client(&folder, &server);
    for (host, expected) in [
        ("localhost:1", 200),
        ("127.0.0.1", 200),
        ("evil.example.com", 421),
        ("", 421),
    ] {
        let headers = [("host".to_owned(), host.to_owned())];
        let answer = client.send("GET", "/version", &headers, Bytes::new()).await;
        assert_eq!(answer.status, expected, "{host:?}");
    }
    server.shutdown().await;
}

#[tokio::test]
async fn a_compacted_history_is_gone() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let server = start(&folder).await.unwrap();
    let client = client(&folder, &server);
    let (status, answer) = call(
        &client,
        "GET",
        "/api/v1/configmaps?resourceVersion=1&resourceVersionMatch=Exact",
        "",
    )
    .await;
    assert_eq!(
        (status, answer["reason"].as_str()),
        (410, Some("Expired")),
        "{answer}"
    );
    server.shutdown().await;
}

/// A server killed at any moment loses nothing that it has answered.
#[test]
fn a_killed_server_keeps_every_acknowledged_write() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let mut written = Vec::new();
    for round in 0..4 {
        let mut process = std::process::Command::new(env!("CARGO_BIN_EXE_mesh-apiserver"))
            .args(["--listen", "127.0.0.1:0", "--data"])
            .arg(&folder)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut ready = String::new();
        let mut output = std::io::BufReader::new(process.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut output, &mut ready).unwrap();
        let address = ready
            .split_whitespace()
            .nth(1)
            .unwrap()
            .trim_start_matches("https://")
            .parse()
            .unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        let client = Client::new(address, &read("ca.crt"), &read("token"));
        runtime.block_on(async {
            for name in &written {
                let path = format!("/api/v1/namespaces/default/configmaps/{name}");
                assert_eq!(
                    call(&client, "GET", &path, "").await.0,
                    200,
                    "{name} in round {round}"
                );
            }
            for at in 0..12 {
                let name = format!("r{round}-{at}");
                let body = format!(r#"{{"metadata":{{"name":"{name}"}}}}"#);
                assert_eq!(
                    call(&client, "POST", "/api/v1/namespaces/default/configmaps", &body)
                        .await
                        .0,
                    201
                );
                written.push(name);
            }
        });
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

/// Open watches do not hold up the end.
#[tokio::test]
async fn the_end_comes_soon_under_open_watches() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("data");
    let server = start(&folder).await.unwrap();
    let client = client(&folder, &server);
    let watch = client
        .send("GET", "/api/v1/pods?watch=true", &[], Bytes::new())
        .await;
    let ended = tokio::time::timeout(std::time::Duration::from_secs(2), server.shutdown()).await;
    assert!(ended.is_ok(), "the server ends within 2 s");
    assert_eq!(watch.text().await, "", "the watch ends cleanly");
}
