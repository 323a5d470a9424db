//! The echo server and the client of the recorded cases, against each other: what either gets wrong would be blamed on
//! the mesh.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mesh_stories::observed::access_log::AccessLog;
use mesh_stories::observed::children::{Process, Programs};
use mesh_stories::observed::client::{Answer, Call, HttpCall, Session, Way, send_all};
use serde_json::{Value, json};

struct Server {
    ip: IpAddr,
    _process: Process,
}

async fn server(last: u8) -> Server {
    let ip = IpAddr::from([127, 81, 0, last]);
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let echo = PathBuf::from(env!("CARGO_BIN_EXE_rtecho"));
    let programs = Programs {
        folder: logs.clone(),
        echo: echo.clone(),
        logs,
    };
    let arguments = format!("serve -service web -version v2 -http 8080,8081 -tcp 9000 -tls 8443 --bind {ip}");
    let arguments: Vec<String> = arguments.split(' ').map(str::to_owned).collect();
    let process = programs
        .start(&format!("rtecho-{last}"), &echo, &arguments, AccessLog::default())
        .unwrap();
    let until = std::time::Instant::now() + Duration::from_secs(10);
    while tokio::net::TcpStream::connect((ip, 9000)).await.is_err() {
        assert!(std::time::Instant::now() < until, "rtecho does not listen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Server {
        ip,
        _process: process,
    }
}

impl Server {
    fn way(&self, port: u16) -> Way {
        Way {
            source: self.ip,
            first: SocketAddr::new(self.ip, port),
            tunnel: None,
            pod: None,
            tls: (port == 8443).then(|| "tls.routing.test".to_owned()),
        }
    }

    async fn ask(&self, port: u16, call: Call) -> Answer {
        Session::new(self.way(port)).call(&call).await
    }

    async fn seen(&self, key: &str) -> Value {
        let answer = self
            .ask(8081, http("GET", &format!("/seen?key={key}"), false))
            .await;
        serde_json::from_str(&answer.body).unwrap()
    }
}

fn http(method: &str, target: &str, http2: bool) -> Call {
    Call::Http(HttpCall {
        method: method.to_owned(),
        target: target.to_owned(),
        authority: "web".to_owned(),
        headers: vec![
            ("x-key".to_owned(), "k".to_owned()),
            ("x_under".to_owned(), "1".to_owned()),
        ],
        body: if method == "POST" {
            "hello".to_owned()
        } else {
            String::new()
        },
        http2,
        close: false,
    })
}

#[tokio::test]
async fn echoes() {
    let server = server(1).await;
    for (port, http2, proto) in [
        (8080, false, "HTTP/1.1"),
        (8081, true, "HTTP/2.0"),
        (8443, false, "HTTP/1.1"),
    ] {
        let answer = server
            .ask(port, http("POST", "/a%2Fb?x=1&resp-x-a=y", http2))
            .await;
        assert_eq!(answer.status, Some(200), "{answer:?}");
        let echo = answer.echo.unwrap();
        for (name, value) in [
            ("service", "web"),
            ("version", "v2"),
            ("method", "POST"),
            ("path", "/a%2Fb?x=1&resp-x-a=y"),
            ("host", "web"),
            ("proto", proto),
            ("body", "hello"),
        ] {
            assert_eq!(echo[name], json!(value), "{port} {name}");
        }
        assert_eq!(echo["port"], json!(port.to_string()));
        assert_eq!(echo["headers"]["x_under"], json!("1"));
        assert_eq!(answer.headers["x-a"], "y");
        assert_eq!(answer.headers["x-upstream"], "web-v2");
    }
    assert_eq!(server.seen("k").await["count"], json!(3));
}

#[tokio::test]
async fn statuses_and_ends() {
    let server = server(2).await;
    let answer = server.ask(8080, http("GET", "/status/503", false)).await;
    assert_eq!((answer.status, answer.echo.is_some()), (Some(503), true));
    let answer = server.ask(8080, http("HEAD", "/", false)).await;
    assert_eq!((answer.status, answer.body.as_str()), (Some(200), ""));
    let answer = server.ask(8080, http("post", "/", false)).await;
    assert_eq!(answer.echo_text("method"), Some("post"), "{answer:?}");
    let answer = server
        .ask(8081, http("POST", "/flaky?n=1&mode=grpc&status=14&key=g", true))
        .await;
    assert_eq!(answer.headers["grpc-status"], "14");
    for (target, http2) in [("/close", false), ("/reset", false), ("/close", true)] {
        let answer = server.ask(8080, http("GET", target, http2)).await;
        assert_eq!(answer.status, None, "{target} {answer:?}");
        assert!(answer.error.is_some(), "{target}");
    }
    let closed = SocketAddr::new(server.ip, 9999);
    let way = Way {
        first: closed,
        ..server.way(8080)
    };
    let answer = Session::new(way).call(&http("GET", "/", false)).await;
    assert!(answer.error.unwrap().contains("refused"));
}

#[tokio::test]
async fn lines() {
    let server = server(3).await;
    let call = Call::Bytes {
        send: b"hello\n".to_vec(),
        hold: Duration::ZERO,
    };
    let answer = server.ask(9000, call).await;
    assert_eq!(
        (answer.body.as_str(), answer.label("version").as_str()),
        ("v2 hello\n", "v2")
    );
}

#[tokio::test]
async fn lanes_keep_their_connection_unless_fresh() {
    let server = server(4).await;
    for (fresh, connections) in [(false, 2), (true, 6)] {
        let calls = (0..6).map(|_| http("GET", "/delay/20", false)).collect();
        let answers = send_all(&server.way(8080), calls, 2, fresh).await;
        let locals: std::collections::BTreeSet<_> = answers.iter().map(|answer| answer.local).collect();
        assert_eq!((answers.len(), locals.len()), (6, connections));
    }
    assert_eq!(server.seen("k").await["max_inflight"], json!(2));
}
