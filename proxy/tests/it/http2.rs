//! HTTP/2 on either side.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use mesh_model::cluster::UpstreamProtocol;
use mesh_model::edge::RequestProtocol;
use sightline_proxy::runtime::NodeKind;

use crate::harness::*;

/// An HTTP/2 server that echoes bodies with a trailer.
fn echo() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(echo_one(request, respond));
                    }
                });
            }
        });
    });
    address
}

async fn echo_one(request: Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    if request.uri().path() == "/refuse" {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
        return;
    }
    let head = Response::builder()
        .header("content-type", "application/grpc")
        .header("x-path", request.uri().path())
        .header(
            "x-te",
            request.headers().get("te").map_or("-", |v| v.to_str().unwrap()),
        )
        .body(())
        .unwrap();
    let mut body = request.into_body();
    let mut stream = respond.send_response(head, false).unwrap();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        stream.reserve_capacity(data.len());
        // Back-pressure of the test server: whatever is not sent yet is queued by the crate.
        stream.send_data(data, false).unwrap();
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    trailers.insert("x-after", "yes".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

struct Got {
    head: http::response::Parts,
    body: Vec<u8>,
    trailers: Option<HeaderMap>,
}

/// Sends one request on a new prior-knowledge connection.
fn call(address: SocketAddr, request: Request<()>, body: Option<Vec<u8>>) -> Result<Got, h2::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async move {
        drop(connect(address));
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (mut send, connection) = h2::client::handshake(socket).await?;
        tokio::spawn(connection);
        send = send.ready().await?;
        let (response, mut stream) = send.send_request(request, body.is_none())?;
        if let Some(body) = body {
            stream.reserve_capacity(body.len());
            stream.send_data(Bytes::from(body), true)?;
        }
        let (head, mut incoming) = response.await?.into_parts();
        let mut body = Vec::new();
        while let Some(data) = incoming.data().await {
            let data = data?;
            incoming.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = incoming.trailers().await?;
        Ok(Got { head, body, trailers })
    })
}

fn get(path: &str) -> Request<()> {
    Request::get(format!("http://web{path}")).body(()).unwrap()
}

#[test]
fn http_2_to_http_1() {
    let upstream = Recorder::new(|m| ok(&format!("{} {}", m.line(), m.body.len())));
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
    );
    let got = call(proxy.address, get("/a?b=c"), None).unwrap();
    assert_eq!(got.head.status, 200);
    assert_eq!(String::from_utf8(got.body).unwrap(), "GET /a?b=c HTTP/1.1 0");
    assert_eq!(upstream.messages()[0].header("host"), Some("web"));
    let post = Request::post("http://web/p").body(()).unwrap();
    let got = call(proxy.address, post, Some(vec![b'x'; 100_000])).unwrap();
    assert_eq!(String::from_utf8(got.body).unwrap(), "POST /p HTTP/1.1 100000");
    let counted = proxy.counted(2);
    assert_eq!(counted[0].1.requests, 2);
}

#[test]
fn http_2_to_http_2_with_trailers() {
    let upstream = echo();
    let mut web = cluster("web", vec![endpoint(upstream, "web-v1")]);
    web.protocol = UpstreamProtocol::Http2;
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![web],
    );
    let post = Request::post("http://web/svc/Method")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let sent: Vec<u8> = (0..3_000_000_u32)
        .map(|i| u8::try_from(i % 251).unwrap())
        .collect();
    let got = call(proxy.address, post, Some(sent.clone())).unwrap();
    assert_eq!(got.head.headers["x-path"], "/svc/Method");
    assert_eq!(got.head.headers["x-te"], "trailers");
    assert!(got.body == sent);
    let trailers = got.trailers.unwrap();
    assert_eq!(
        (&trailers["grpc-status"], &trailers["x-after"]),
        (&"0".parse().unwrap(), &"yes".parse().unwrap())
    );
    let (key, delta) = proxy.counted(1).remove(0);
    assert_eq!(
        (key.protocol, key.grpc_status, key.response_code),
        (RequestProtocol::Grpc, Some(0), 200)
    );
    assert_eq!(
        (delta.request_bytes, delta.response_bytes),
        (3_000_000, 3_000_000)
    );
}

#[test]
fn http_1_to_http_2_keeps_trailers_as_chunked() {
    let upstream = echo();
    let mut web = cluster("web", vec![endpoint(upstream, "web-v1")]);
    web.protocol = UpstreamProtocol::Http2;
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![web],
    );
    let text = proxy
        .exchange(b"POST /x HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello");
    assert!(text.contains("transfer-encoding: chunked"), "{text}");
    assert!(
        text.ends_with("5\r\nhello\r\n0\r\ngrpc-status: 0\r\nx-after: yes\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn a_refused_stream_is_retried_and_local_grpc_answers_are_grpc() {
    let upstream = echo();
    let mut web = cluster("web", vec![endpoint(upstream, "web-v1")]);
    web.protocol = UpstreamProtocol::Http2;
    let mut retried = to("web");
    retried.retry = Some(mesh_model::retry::RetryPolicy::default());
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(retried))],
        vec![web],
    );
    let request = Request::post("http://web/refuse")
        .header("content-type", "application/grpc+proto")
        .body(())
        .unwrap();
    let got = call(proxy.address, request, Some(b"x".to_vec())).unwrap();
    assert_eq!(got.head.status, 200);
    assert_eq!(got.head.headers["grpc-status"], "14");
    let (key, delta) = proxy.counted(1).remove(0);
    assert_eq!((key.grpc_status, delta.attempts), (Some(14), 3));
}

#[test]
fn a_client_that_resets_its_stream_is_counted_once() {
    let slow = Recorder::new(|_| Reply {
        after: std::time::Duration::from_secs(3),
        ..ok("late")
    });
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![cluster("web", vec![endpoint(slow.address, "web-v1")])],
    );
    drop(connect(proxy.address));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
        let (send, connection) = h2::client::handshake(socket).await.unwrap();
        let connection = tokio::spawn(connection);
        let (_response, mut stream) = send.ready().await.unwrap().send_request(get("/"), true).unwrap();
        while slow.messages().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        stream.send_reset(h2::Reason::CANCEL);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        connection.abort();
    });
    let counted = proxy.counted(1);
    assert_eq!(counted[0].0.response_code, 0);
}
