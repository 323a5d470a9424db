//! Many writers and watchers at once: every watcher sees every change once, in order.

use std::collections::BTreeMap;

use bytes::Bytes;
use http_body_util::BodyExt;
use mesh_apiserver::{Config, Server};
use serde_json::{Value, json};

use crate::client::Client;

const WRITERS: usize = 6;
const CHANGES: usize = 40;

async fn write(client: &Client, writer: usize) {
    let headers = [("content-type".to_owned(), "application/json".to_owned())];
    for change in 0..CHANGES {
        let body = json!({"metadata": {"name": format!("w{writer}")}, "data": {"n": change.to_string()}});
        let (method, path) = match change {
            0 => ("POST", "/api/v1/namespaces/default/configmaps".to_owned()),
            _ => ("PUT", format!("/api/v1/namespaces/default/configmaps/w{writer}")),
        };
        let answer = client
            .send(method, &path, &headers, Bytes::from(body.to_string()))
            .await;
        assert!(answer.status < 300, "{}", answer.status);
    }
}

async fn read(client: &Client, from: &str) -> Vec<(i64, String, String)> {
    let path =
        format!("/api/v1/namespaces/default/configmaps?watch=true&resourceVersion={from}&timeoutSeconds=60");
    let mut body = client.send("GET", &path, &[], Bytes::new()).await.body;
    let mut text = String::new();
    while text.lines().count() < WRITERS * CHANGES || !text.ends_with('\n') {
        let Some(Ok(frame)) = body.frame().await else {
            break;
        };
        text.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap_or_default()));
    }
    let get = |event: &Value, pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|e| {
            let version = get(&e, "/object/metadata/resourceVersion").parse().unwrap();
            (
                version,
                get(&e, "/object/metadata/name"),
                get(&e, "/object/data/n"),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_watcher_sees_every_change_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(Config::new(
        "127.0.0.1:0".parse().unwrap(),
        folder.path().join("data"),
    ))
    .await
    .unwrap();
    let ca = std::fs::read_to_string(folder.path().join("data/ca.crt")).unwrap();
    let client = Client::new(server.address(), &ca, server.admin_token());
    let list = client
        .send("GET", "/api/v1/configmaps", &[], Bytes::new())
        .await
        .text()
        .await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let from = list
        .pointer("/metadata/resourceVersion")
        .unwrap()
        .as_str()
        .unwrap();
    let writers = futures::future::join_all((0..WRITERS).map(|writer| write(&client, writer)));
    let readers = futures::future::join_all((0..4).map(|_| read(&client, from)));
    let (_, mut seen) = tokio::join!(writers, readers);
    // One that comes late reads it all from the table.
    seen.push(read(&client, from).await);
    for events in &seen {
        assert_eq!(events.len(), WRITERS * CHANGES);
        assert!(
            events.windows(2).all(|pair| pair[0].0 < pair[1].0),
            "revisions rise"
        );
        assert_eq!(events, &seen[0], "all watchers see the same");
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for (_, name, n) in events {
            let count = counts.entry(name).or_default();
            assert_eq!(*n, count.to_string(), "{name}'s changes are in order");
            *count += 1;
        }
    }
    server.shutdown().await;
}
