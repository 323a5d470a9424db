//! Authorization services: who is asked, what they see, what becomes of their answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3 as auth;
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc::Status;
use mesh_model::authorization::{Check, CheckBody, CheckProtocol, External, HttpCheck, PolicyRule};
use mesh_model::listener::{AccessLogFormat, RouteSource};
use mesh_model::matching::StringMatch;
use prost::Message as _;
use sightline_proxy::runtime::NodeKind;

use crate::harness::*;

fn exact(name: &str) -> StringMatch {
    StringMatch::Exact(name.into())
}

fn over_http(change: impl FnOnce(&mut External, &mut HttpCheck)) -> External {
    let mut http = HttpCheck {
        path_prefix: "/check?p=".into(),
        shown: vec![exact("x-user")],
        add: vec![("x-added".into(), "1".into())],
        to_upstream: vec![exact("x-name")],
        to_client_on_allow: vec![exact("x-told")],
        ..HttpCheck::default()
    };
    let mut external = over_grpc(|_| {});
    change(&mut external, &mut http);
    external.protocol = CheckProtocol::Http(Box::new(http));
    external
}

fn over_grpc(change: impl FnOnce(&mut External)) -> External {
    let mut external = External {
        provider: "p".into(),
        when: Some(vec![PolicyRule {
            name: "istio-ext-authz-p-ns[default]-policy[c]-rule[0]".into(),
            permissions: vec![Check::Path(StringMatch::Prefix("/asked".into()))],
            principals: vec![Check::Any],
        }]),
        cluster: "authz".into(),
        protocol: CheckProtocol::Grpc {
            authority: "authz.default".into(),
        },
        timeout: Duration::from_secs(5),
        fail_open: false,
        status_on_error: 403,
        body: None,
        clear_route_cache: false,
    };
    change(&mut external);
    external
}

struct Stage {
    proxy: Proxy,
    application: Recorder,
    log: tempfile::NamedTempFile,
}

fn stage(external: External, service: SocketAddr) -> Stage {
    let application = Recorder::new(|m| ok(&format!("{} bytes", m.body.len())));
    let log = tempfile::NamedTempFile::new().unwrap();
    let named = route("named", prefix("/"), forward(to("web")));
    let mut connection = http(RouteSource::Inline(Arc::new(table(vec![named]))));
    connection.external = vec![external];
    let format = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n".into();
    connection.access_logs = vec![log_to(log.path(), AccessLogFormat::Text(format))];
    let clusters = vec![
        cluster("web", vec![endpoint(application.address, "web-v1")]),
        cluster("authz", vec![endpoint(service, "authz-v1")]),
    ];
    Stage {
        proxy: Proxy::with(NodeKind::Sidecar, clusters, connection),
        application,
        log,
    }
}

impl Stage {
    #[track_caller]
    fn logged(&self, expected: &str) {
        let text = || std::fs::read_to_string(self.log.path()).unwrap();
        eventually("a line", || text().ends_with('\n'));
        assert_eq!(text().lines().last(), Some(expected));
    }

    fn post(&self, path: &str, body: &str) -> Answer {
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Answer::parse(&self.proxy.exchange(request.as_bytes()))
    }
}

/// An address that refuses connections.
fn nobody() -> SocketAddr {
    free_address()
}

#[test]
fn a_consenting_service_sees_little_and_adds_what_is_listed() {
    let service = Recorder::new(|_| {
        let headers = "x-name: real\r\nx-told: t\r\nx-other: o\r\ntransfer-encoding-x: 1\r\n";
        reply(200, headers, "")
    });
    let stage = stage(over_http(|_, _| {}), service.address);
    let headers = "x-user: u\r\nx-else: e\r\nx-name: forged\r\nauthorization: Bearer t\r\n";
    let answer = stage.proxy.get("/asked/x?q=1", headers);
    assert_eq!((answer.status, answer.header("x-told")), (200, Some("t")));
    assert_eq!(answer.header("x-other"), None);
    let question = service.messages().remove(0);
    assert_eq!(question.line(), "GET /check?p=/asked/x?q=1 HTTP/1.1");
    for (name, value) in [
        ("host", Some("web")),
        ("content-length", Some("0")),
        ("x-envoy-internal", Some("true")),
        ("x-envoy-expected-rq-timeout-ms", Some("5000")),
        ("authorization", Some("Bearer t")),
        ("x-user", Some("u")),
        ("x-added", Some("1")),
        ("x-else", None),
        ("x-name", None),
        ("x-request-id", None),
    ] {
        assert_eq!(question.header(name), value, "{name}");
    }
    let request = stage.application.messages().remove(0);
    assert_eq!(request.header("x-name"), Some("real"));
    assert_eq!(request.header("x-other"), None);
    // Only what the rules match is asked about.
    assert_eq!(stage.proxy.get("/other", "").status, 200);
    assert_eq!(service.messages().len(), 1);
}

#[test]
fn a_refusing_service_answers_the_client() {
    let service = Recorder::new(|_| reply(401, "x-why: no\r\ncontent-type: text/html\r\n", "<p>"));
    let all = stage(over_http(|_, _| {}), service.address);
    let answer = all.proxy.get("/asked", "");
    assert_eq!((answer.status, answer.body.as_str()), (401, "<p>"));
    assert_eq!(answer.header("x-why"), Some("no"));
    assert_eq!(answer.header("content-type"), Some("text/html"));
    assert_eq!(answer.header("server"), Some("envoy"));
    all.logged("401 UAEX ext_authz_denied");
    assert_eq!(all.application.messages().len(), 0);
    let listed = over_http(|_, http| http.to_client_on_deny = vec![exact("x-none")]);
    let listed = stage(listed, service.address);
    let answer = listed.proxy.get("/asked", "");
    assert_eq!((answer.status, answer.header("x-why")), (401, None));
    assert_eq!(answer.header("content-type"), Some("text/html"));
}

#[track_caller]
fn without_an_answer(external: External, service: SocketAddr, status: u16, logged: &str) {
    let stage = stage(external, service);
    let answer = stage.proxy.get("/asked", "");
    assert_eq!(answer.status, status, "{answer:?}");
    stage.logged(logged);
    assert_eq!(stage.application.messages().len(), usize::from(status == 200));
}

#[test]
fn no_answer_refuses_unless_the_provider_says_otherwise() {
    let error = "403 UAEX ext_authz_error";
    without_an_answer(over_http(|_, _| {}), nobody(), 403, error);
    without_an_answer(over_grpc(|_| {}), nobody(), 403, error);
    let with = |status| over_http(move |e, _| e.status_on_error = status);
    without_an_answer(with(503), nobody(), 503, "503 UAEX ext_authz_error");
    let open = || over_http(|e, _| e.fail_open = true);
    without_an_answer(open(), nobody(), 200, "200 - via_upstream");
    let unknown = over_http(|e, _| e.cluster = "none".into());
    without_an_answer(unknown, nobody(), 403, error);
    let broken = Recorder::new(|_| reply(500, "", "x"));
    without_an_answer(over_http(|_, _| {}), broken.address, 403, error);
    let slow = Recorder::new(|_| Reply {
        after: Duration::from_secs(30),
        ..ok("")
    });
    let hasty = over_http(|e, _| e.timeout = Duration::from_millis(50));
    without_an_answer(hasty, slow.address, 403, error);
    // What answers HTTP/1 is no gRPC service.
    without_an_answer(over_grpc(|_| {}), Recorder::new(|_| ok("")).address, 403, error);
}

#[track_caller]
fn body(allow_partial: bool, sent: &str, shown: &str, status: u16) {
    let service = Recorder::new(|_| ok(""));
    let external = over_http(|e, _| {
        e.body = Some(CheckBody {
            max_bytes: 5,
            allow_partial,
            as_bytes: false,
        });
    });
    let stage = stage(external, service.address);
    let answer = stage.post("/asked", sent);
    assert_eq!(answer.status, status, "{answer:?}");
    if status == 200 {
        let question = service.messages().remove(0);
        assert_eq!(question.body, shown.as_bytes());
        let partial = if shown == sent { "false" } else { "true" };
        assert_eq!(question.header("x-envoy-auth-partial-body"), Some(partial));
        assert_eq!(stage.application.messages()[0].body, sent.as_bytes());
        assert_eq!(answer.body, format!("{} bytes", sent.len()));
    } else {
        assert_eq!(
            (service.messages().len(), stage.application.messages().len()),
            (0, 0)
        );
    }
}

#[test]
fn a_body_is_shown_and_forwarded_whole() {
    body(false, "", "", 200);
    body(false, "abc", "abc", 200);
    body(false, "abcde", "abcde", 200);
    body(false, "abcdef", "", 413);
    body(true, "abcdefgh", "abcde", 200);
    let long = "x".repeat(300_000);
    body(true, &long, "xxxxx", 200);
}

/// A gRPC service that answers every question in the same way and keeps what it was asked.
fn grpc_service(answer: auth::CheckResponse) -> (SocketAddr, Arc<Mutex<Vec<auth::CheckRequest>>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&asked);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let (kept, answer) = (Arc::clone(&kept), answer.clone());
                tokio::spawn(async move {
                    let mut connection = h2::server::handshake(socket).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer_one(request, respond, Arc::clone(&kept), answer.clone()));
                    }
                });
            }
        });
    });
    (address, asked)
}

async fn answer_one(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    kept: Arc<Mutex<Vec<auth::CheckRequest>>>,
    answer: auth::CheckResponse,
) {
    assert_eq!(request.uri().path(), "/envoy.service.auth.v3.Authorization/Check");
    assert_eq!(request.uri().authority().unwrap(), "authz.default");
    let mut body = request.into_body();
    let mut message = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        body.flow_control().release_capacity(data.len()).unwrap();
        message.extend_from_slice(&data);
    }
    kept.lock()
        .unwrap()
        .push(auth::CheckRequest::decode(&message[5..]).unwrap());
    let head = http::Response::builder()
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let mut stream = respond.send_response(head, false).unwrap();
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(answer.encoded_len()).unwrap());
    answer.encode(&mut bytes).unwrap();
    stream.send_data(bytes.freeze(), false).unwrap();
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    stream.send_trailers(trailers).unwrap();
}

fn set(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: name.into(),
            value: value.into(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

#[test]
fn a_grpc_service_consents_and_refuses() {
    let consent = auth::CheckResponse {
        status: Some(Status::default()),
        http_response: Some(auth::check_response::HttpResponse::OkResponse(
            auth::OkHttpResponse {
                headers: vec![
                    set("x-name", "real"),
                    set("host", "evil"),
                    set("content-length", "1"),
                    set("x-split", "a\r\nx-b: c"),
                ],
                headers_to_remove: vec!["x-secret".into()],
                response_headers_to_add: vec![set("x-told", "t")],
                ..auth::OkHttpResponse::default()
            },
        )),
        ..auth::CheckResponse::default()
    };
    let (service, asked) = grpc_service(consent);
    let stage_ok = stage(over_grpc(|_| {}), service);
    let answer = stage_ok
        .proxy
        .get("/asked?q=1", "x-name: forged\r\nx-secret: s\r\n");
    assert_eq!(
        (answer.status, answer.header("x-told")),
        (200, Some("t")),
        "{answer:?}"
    );
    let request = stage_ok.application.messages().remove(0);
    for (name, value) in [
        ("host", Some("web")),
        ("x-name", Some("real")),
        ("x-secret", None),
        ("content-length", None),
        ("x-split", Some("ax-b: c")),
        ("x-b", None),
    ] {
        assert_eq!(request.header(name), value, "{name}");
    }
    let question = asked.lock().unwrap().remove(0).attributes.unwrap();
    let http = question.request.unwrap().http.unwrap();
    assert_eq!(
        (http.method.as_str(), http.path.as_str(), http.host.as_str()),
        ("GET", "/asked?q=1", "web")
    );
    assert_eq!(http.headers.get("x-secret").map(String::as_str), Some("s"));
    assert_eq!(http.headers.get(":path").map(String::as_str), Some("/asked?q=1"));
    let refusal = auth::CheckResponse {
        status: Some(Status {
            code: 16,
            ..Status::default()
        }),
        http_response: Some(auth::check_response::HttpResponse::DeniedResponse(
            auth::DeniedHttpResponse {
                status: Some(HttpStatus { code: 302 }),
                headers: vec![set("location", "https://login.test/")],
                body: "log in".into(),
            },
        )),
        ..auth::CheckResponse::default()
    };
    let (service, _) = grpc_service(refusal);
    let stage = stage(over_grpc(|_| {}), service);
    let answer = stage.proxy.get("/asked", "");
    assert_eq!((answer.status, answer.body.as_str()), (302, "log in"));
    assert_eq!(answer.header("location"), Some("https://login.test/"));
    stage.logged("302 UAEX ext_authz_denied");
}
