//! What routes can ask for beyond forwarding.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_model::cluster::{Balancer, OutlierDetection};
use mesh_model::flags::ResponseFlags;
use mesh_model::listener::{AccessLogFormat, RouteSource};
use mesh_model::matching::StringMatch;
use mesh_model::retry::{RetryOn, RetryPolicy};
use mesh_model::route::{
    Abort, Action, CorsPolicy, DirectResponse, Fault, HeaderEdits, Mirror, PathRewrite, PerMillion, Redirect,
    Route, WeightedDestination,
};
use sightline_proxy::runtime::NodeKind;

use crate::harness::*;

const ALWAYS: PerMillion = PerMillion(1_000_000);

fn edits(set: &[(&str, &str)], add: &[(&str, &str)], remove: &[&str]) -> HeaderEdits {
    let pairs = |values: &[(&str, &str)]| values.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect();
    HeaderEdits {
        set: pairs(set),
        add: pairs(add),
        remove: remove.iter().map(|n| (*n).into()).collect(),
    }
}

fn one(rule: Route, upstream: &Recorder) -> Proxy {
    Proxy::new(
        NodeKind::Sidecar,
        vec![rule],
        vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
    )
}

#[test]
fn header_edits_and_rewrites_reach_the_upstream_and_the_client() {
    let upstream = Recorder::new(|_| reply(200, "x-old: 1\r\nserver: app\r\n", "x"));
    let mut target = to("web");
    target.path_rewrite = Some(PathRewrite::Replace("/v2/".into()));
    target.host_rewrite = Some("other.example".into());
    target.destinations[0].request_headers = edits(&[("x-set", "destination")], &[("x-add", "2")], &[]);
    let mut rule = route("r", prefix("/v1/"), forward(target));
    rule.request_headers = edits(
        &[
            ("X-Set", "route"),
            ("x-from", "%REQ(x-in)%/%PROTOCOL%"),
            ("x-none", "%REQ(nope)%"),
        ],
        &[("x-add", "1")],
        &["x-gone"],
    );
    rule.response_headers = edits(&[("x-new", "a%%b")], &[], &["x-old"]);
    rule.operation = Some("web.default.svc.cluster.local:80/*".into());
    let proxy = one(rule, &upstream);
    let answer = proxy.get(
        "/v1/x?y=z",
        "x-gone: 1\r\nx-in: in\r\nx-envoy-upstream-rq-timeout-ms: 1\r\nx-envoy-decorator-operation: forged\r\n",
    );
    let message = upstream.messages().remove(0);
    assert_eq!(message.line(), "GET /v2/x?y=z HTTP/1.1");
    for (name, value) in [
        ("host", Some("other.example")),
        ("x-envoy-original-host", Some("web")),
        ("x-envoy-original-path", Some("/v1/x?y=z")),
        ("x-set", Some("destination")),
        ("x-add", Some("1")),
        ("x-from", Some("in/HTTP/1.1")),
        ("x-none", None),
        ("x-gone", None),
        ("x-envoy-upstream-rq-timeout-ms", None),
        (
            "x-envoy-decorator-operation",
            Some("web.default.svc.cluster.local:80/*"),
        ),
    ] {
        assert_eq!(message.header(name), value, "{name}");
    }
    assert_eq!(
        (answer.header("x-new"), answer.header("x-old")),
        (Some("a%b"), None)
    );
    assert_eq!(answer.header("server"), Some("envoy"));
}

#[test]
fn redirects_and_direct_answers() {
    let upstream = Recorder::new(|_| ok("x"));
    let redirect = Redirect {
        status: 302,
        host: Some("new.example".into()),
        ..Redirect::default()
    };
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![
            route("r", prefix("/old"), Action::Redirect(Box::new(redirect))),
            route(
                "d",
                prefix("/"),
                Action::Respond(DirectResponse {
                    status: 418,
                    body: b"teapot".to_vec(),
                }),
            ),
        ],
        Vec::new(),
    );
    let answer = proxy.get("/old/x?q", "");
    assert_eq!(
        (answer.status, answer.header("location")),
        (302, Some("http://new.example/old/x?q"))
    );
    let answer = proxy.get("/other", "");
    assert_eq!((answer.status, answer.body.as_str()), (418, "teapot"));
    assert_eq!(answer.header("content-type"), Some("text/plain"));
    assert_eq!(upstream.messages().len(), 0);
    let counted = proxy.counted(2);
    assert!(
        counted
            .iter()
            .all(|(k, d)| k.destination.name == "unknown" && d.attempts == 0)
    );
}

#[test]
fn faults_delay_and_abort() {
    let upstream = Recorder::new(|_| ok("x"));
    let mut rule = route("r", prefix("/"), forward(to("web")));
    rule.fault = Some(Fault {
        delay: Some((Duration::from_millis(100), ALWAYS)),
        abort: Some((Abort::Http(507), ALWAYS)),
    });
    let proxy = one(rule, &upstream);
    let began = Instant::now();
    let answer = proxy.get("/", "");
    assert!(began.elapsed() >= Duration::from_millis(100));
    assert_eq!((answer.status, answer.body.as_str()), (507, "fault filter abort"));
    assert_eq!(upstream.messages().len(), 0);
    let counted = proxy.counted(1);
    assert_eq!(
        counted[0].0.flags,
        ResponseFlags::DELAY_INJECTED.with(ResponseFlags::FAULT_INJECTED)
    );
    assert_eq!(counted[0].0.service.name, "web");
}

#[test]
fn retries_go_elsewhere_and_send_the_body_again() {
    let bad = Recorder::new(|_| reply(503, "", "no"));
    let good = Recorder::new(|m| ok(&String::from_utf8_lossy(&m.body)));
    let mut target = to("web");
    target.retry = Some(RetryPolicy {
        attempts: 3,
        on: RetryOn {
            five_xx: true,
            ..RetryOn::default()
        },
        base_interval: Duration::from_millis(1),
        ..RetryPolicy::default()
    });
    let rules = vec![route("r", prefix("/"), forward(target))];
    let endpoints = vec![endpoint(bad.address, "web-v1"), endpoint(good.address, "web-v2")];
    let mut web = cluster("web", endpoints);
    web.balancer = Balancer::RoundRobin;
    let mut both = table(rules);
    let mut virtual_host = mesh_model::route::VirtualHost::clone(&both.virtual_hosts[0]);
    virtual_host.include_attempt_count = true;
    both.virtual_hosts = vec![Arc::new(virtual_host)];
    let proxy = Proxy::with(
        NodeKind::Sidecar,
        vec![web],
        http(RouteSource::Inline(Arc::new(both))),
    );
    for _ in 0..6 {
        let answer = Answer::parse(&proxy.exchange(
            b"POST / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
        ));
        assert_eq!((answer.status, answer.body.as_str()), (200, "hello"));
    }
    assert_eq!(good.messages().len(), 6);
    assert!(!bad.messages().is_empty());
    assert!(bad.messages().iter().all(|m| m.body == b"hello"));
    let tries: Vec<_> = good
        .messages()
        .iter()
        .map(|m| m.header("x-envoy-attempt-count").unwrap().to_owned())
        .collect();
    assert!(tries.iter().any(|t| t == "2"), "{tries:?}");
    let attempts: u64 = proxy.counted(6).iter().map(|(_, d)| d.attempts).sum();
    assert_eq!(
        usize::try_from(attempts).unwrap(),
        good.messages().len() + bad.messages().len()
    );
}

#[test]
fn exhausted_retries_pass_the_last_answer_on() {
    let bad = Recorder::new(|_| reply(503, "", "no"));
    let mut target = to("web");
    target.retry = Some(RetryPolicy {
        attempts: 2,
        on: RetryOn {
            five_xx: true,
            ..RetryOn::default()
        },
        base_interval: Duration::from_millis(1),
        ..RetryPolicy::default()
    });
    let proxy = one(route("r", prefix("/"), forward(target)), &bad);
    let answer = proxy.get("/", "");
    assert_eq!((answer.status, answer.body.as_str()), (503, "no"));
    assert_eq!(bad.messages().len(), 3);
    let (key, delta) = proxy.counted(1).remove(0);
    assert_eq!((key.flags, delta.attempts), (ResponseFlags::RETRY_EXHAUSTED, 3));
}

#[test]
fn a_per_try_timeout_is_a_504_of_its_own() {
    let slow = Recorder::new(|_| Reply {
        after: Duration::from_secs(3),
        ..ok("late")
    });
    let mut target = to("web");
    target.retry = Some(RetryPolicy {
        per_try_timeout: Some(Duration::from_millis(50)),
        ..RetryPolicy::default()
    });
    let proxy = one(route("r", prefix("/"), forward(target)), &slow);
    let answer = proxy.get("/", "");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (504, "upstream request timeout")
    );
    assert_eq!(slow.messages().len(), 1);
    assert_eq!(proxy.counted(1)[0].0.flags, ResponseFlags::UPSTREAM_TIMEOUT);
}

#[test]
fn weights_are_drawn() {
    let (a, b) = (Recorder::new(|_| ok("a")), Recorder::new(|_| ok("b")));
    let mut target = to("a");
    target.destinations[0].weight = 25;
    target.destinations.push(WeightedDestination {
        cluster: "b".into(),
        weight: 75,
        ..WeightedDestination::default()
    });
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(target))],
        vec![
            cluster("a", vec![endpoint(a.address, "a-v1")]),
            cluster("b", vec![endpoint(b.address, "b-v1")]),
        ],
    );
    let mut stream = connect(proxy.address);
    for _ in 0..400 {
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        read_answer(&mut stream);
    }
    // Six standard deviations either side of 100.
    let of_a = a.messages().len();
    assert!((48..=152).contains(&of_a), "{of_a} of 400");
    proxy.counted(400);
}

#[test]
fn every_endpoint_of_round_robin_gets_its_turn() {
    let servers: Vec<_> = (0..3).map(|_| Recorder::new(|_| ok("x"))).collect();
    let mut web = cluster(
        "web",
        servers.iter().map(|s| endpoint(s.address, "web-v1")).collect(),
    );
    web.balancer = Balancer::RoundRobin;
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![web],
    );
    let mut stream = connect(proxy.address);
    for _ in 0..30 {
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        read_answer(&mut stream);
    }
    assert!(servers.iter().all(|s| s.messages().len() == 10));
}

#[test]
fn circuit_breakers_overflow_at_once() {
    let slow = Recorder::new(|_| Reply {
        after: Duration::from_secs(1),
        ..ok("late")
    });
    let mut web = cluster("web", vec![endpoint(slow.address, "web-v1")]);
    web.limits.max_requests = 1;
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![web],
    );
    let mut first = connect(proxy.address);
    first.write_all(b"GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    eventually("first upstream", || !slow.messages().is_empty());
    let answer = proxy.get("/", "");
    assert_eq!((answer.status, answer.body.len()), (503, 81));
    assert_eq!(answer.header("x-envoy-overloaded"), Some("true"));
    assert_eq!(read_answer(&mut first).status, 200);
    assert!(
        proxy
            .counted(2)
            .iter()
            .any(|(k, _)| k.flags == ResponseFlags::OVERFLOW)
    );
}

#[test]
fn outliers_are_left_out() {
    let bad = Recorder::new(|_| reply(500, "", "no"));
    let good = Recorder::new(|_| ok("x"));
    let mut web = cluster(
        "web",
        vec![endpoint(bad.address, "web-v1"), endpoint(good.address, "web-v2")],
    );
    web.balancer = Balancer::RoundRobin;
    web.outlier = Some(OutlierDetection {
        consecutive_5xx: 2,
        consecutive_gateway_errors: 0,
        consecutive_local_origin: 0,
        split_local_origin: false,
        interval: Duration::from_secs(1),
        base_ejection: Duration::from_secs(60),
        max_ejection_percent: 50,
    });
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![web],
    );
    let mut stream = connect(proxy.address);
    for _ in 0..20 {
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        read_answer(&mut stream);
    }
    assert_eq!(bad.messages().len(), 2);
    let states = proxy.runtime.endpoints_state();
    assert_eq!(states.iter().filter(|s| s.ejected).count(), 1);
}

#[test]
fn mirrors_get_a_copy() {
    let upstream = Recorder::new(|_| ok("real"));
    let shadow = Recorder::new(|_| ok("shadow"));
    let mut target = to("web");
    target.mirrors = vec![Mirror {
        cluster: "shadow".into(),
        per_million: 1_000_000,
        keeps_host: false,
    }];
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(target))],
        vec![
            cluster("web", vec![endpoint(upstream.address, "web-v1")]),
            cluster("shadow", vec![endpoint(shadow.address, "shadow-v1")]),
        ],
    );
    let answer = Answer::parse(
        &proxy.exchange(b"POST /p HTTP/1.1\r\nHost: web:80\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"),
    );
    assert_eq!(answer.body, "real");
    eventually("copy", || !shadow.messages().is_empty());
    let copy = shadow.messages().remove(0);
    assert_eq!(
        (copy.line(), copy.body.as_slice()),
        ("POST /p HTTP/1.1", &b"hi"[..])
    );
    assert_eq!(copy.header("host"), Some("web-shadow:80"));
    proxy.counted(1);
}

#[test]
fn cors_is_answered_by_the_proxy() {
    let upstream = Recorder::new(|_| ok("x"));
    let mut rule = route("r", prefix("/"), forward(to("web")));
    rule.cors = Some(CorsPolicy {
        allow_origins: vec![StringMatch::Exact("https://good.example".into())],
        allow_methods: "GET,POST".into(),
        max_age: "60".into(),
        ..CorsPolicy::default()
    });
    let proxy = one(rule, &upstream);
    let preflight = |origin: &str| {
        Answer::parse(&proxy.exchange(
            format!("OPTIONS / HTTP/1.1\r\nHost: web\r\nConnection: close\r\nOrigin: {origin}\r\nAccess-Control-Request-Method: GET\r\n\r\n").as_bytes(),
        ))
    };
    let answer = preflight("https://good.example");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://good.example")
    );
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(
        preflight("https://evil.example").header("access-control-allow-origin"),
        None
    );
    assert_eq!(upstream.messages().len(), 0);
    let answer = proxy.get("/", "Origin: https://good.example\r\n");
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("https://good.example")
    );
}

#[test]
fn websockets_become_tunnels_and_early_bytes_wait() {
    let upstream = Recorder::new(|m| {
        if m.header("upgrade").is_some() {
            Reply {
                bytes: b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nwelcome".to_vec(),
                close: true,
                after: Duration::ZERO,
            }
        } else {
            ok("x")
        }
    });
    let proxy = one(route("r", prefix("/"), forward(to("web"))), &upstream);
    let text = proxy.exchange(
        b"GET /ws HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    );
    assert!(text.starts_with("HTTP/1.1 101 "), "{text}");
    assert!(text.ends_with("\r\n\r\nwelcome"), "{text}");
    assert_eq!(upstream.messages()[0].header("connection"), Some("upgrade"));
    assert_eq!(proxy.counted(1)[0].0.response_code, 101);
}

#[test]
fn access_logs_have_istios_line_and_keys() {
    let upstream = Recorder::new(|_| ok("hello"));
    let (text, json) = (
        tempfile::NamedTempFile::new().unwrap(),
        tempfile::NamedTempFile::new().unwrap(),
    );
    let mut connection = http(RouteSource::Inline(Arc::new(table(vec![route(
        "named",
        prefix("/"),
        forward(to("web")),
    )]))));
    connection.access_logs = vec![
        log_to(text.path(), AccessLogFormat::IstioText),
        log_to(json.path(), AccessLogFormat::IstioJson),
    ];
    let proxy = Proxy::with(
        NodeKind::Sidecar,
        vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
        connection,
    );
    proxy.get("/p?q", "User-Agent: curl/8\r\nx-request-id: id-1\r\n");
    for file in [text.path(), json.path()] {
        eventually("a whole line in each log", || {
            std::fs::read_to_string(file).unwrap().ends_with('\n')
        });
    }
    let line = std::fs::read_to_string(text.path()).unwrap();
    assert!(
        line.contains("] \"GET /p?q HTTP/1.1\" 200 - via_upstream - \"-\" 0 5 "),
        "{line}"
    );
    assert!(
        line.contains(&format!(
            "\"-\" \"curl/8\" \"id-1\" \"web\" \"{}\" web 127.0.0.1:",
            upstream.address
        )),
        "{line}"
    );
    assert!(line.ends_with(" - named\n"), "{line}");
    let object: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(json.path()).unwrap()).unwrap();
    for (key, value) in [
        ("response_code", serde_json::json!(200)),
        ("bytes_sent", serde_json::json!(5)),
        ("response_flags", serde_json::json!("-")),
        ("route_name", serde_json::json!("named")),
        ("virtual_service", serde_json::json!("default/vs")),
        ("source_workload", serde_json::json!("client-v1")),
        ("destination_workload", serde_json::json!("web-v1")),
        ("attempts", serde_json::json!(1)),
        ("x_forwarded_for", serde_json::json!(null)),
    ] {
        assert_eq!(object[key], value, "{key}");
    }
}

#[test]
fn an_access_log_has_what_its_filter_takes() {
    let upstream = Recorder::new(|m| {
        let status = if m.line().contains("/bad") { 503 } else { 200 };
        reply(status, "", "x")
    });
    let file = tempfile::NamedTempFile::new().unwrap();
    let rule = route("r", prefix("/"), forward(to("web")));
    let mut connection = http(RouteSource::Inline(Arc::new(table(vec![rule]))));
    let mut log = log_to(
        file.path(),
        AccessLogFormat::Text("%RESPONSE_CODE% %REQ(:PATH)%\n".into()),
    );
    let filter =
        "response.code >= 500 || request.headers['x-log'] == 'yes' || request.url_path.endsWith('/last')";
    log.filter = Some(mesh_model::expression::Expression::new(filter).unwrap());
    connection.access_logs = vec![log];
    let clusters = vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])];
    let proxy = Proxy::with(NodeKind::Sidecar, clusters, connection);
    proxy.get("/good", "");
    proxy.get("/bad", "");
    proxy.get("/asked", "x-log: yes\r\n");
    proxy.get("/last?q", "");
    let text = || std::fs::read_to_string(file.path()).unwrap();
    eventually("the last line", || text().contains("/last"));
    let mut lines: Vec<String> = text().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["200 /asked", "200 /last?q", "503 /bad"]);
}

#[test]
fn a_new_snapshot_serves_the_next_request_on_an_open_connection() {
    let (old, new) = (Recorder::new(|_| ok("old")), Recorder::new(|_| ok("new")));
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        vec![route("r", prefix("/"), forward(to("web")))],
        vec![cluster("web", vec![endpoint(old.address, "web-v1")])],
    );
    let mut stream = connect(proxy.address);
    let mut ask = || {
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        read_answer(&mut stream).body
    };
    assert_eq!(ask(), "old");
    let listener = listener(
        proxy.address,
        mesh_model::listener::Direction::Outbound,
        http(RouteSource::Inline(Arc::new(table(vec![route(
            "r",
            prefix("/"),
            forward(to("web")),
        )])))),
    );
    proxy
        .runtime
        .apply(Arc::new(snapshot(
            vec![listener],
            vec![cluster("web", vec![endpoint(new.address, "web-v2")])],
        )))
        .unwrap();
    eventually("new", || ask() == "new");
    assert_eq!(
        new.messages().len(),
        1,
        "the first answer from the new endpoint ends the wait"
    );
}

#[test]
fn a_bad_snapshot_is_refused_by_name_and_changes_nothing() {
    let upstream = Recorder::new(|_| ok("x"));
    let proxy = one(route("r", prefix("/"), forward(to("web"))), &upstream);
    let taken = std::net::TcpListener::bind(free_address()).unwrap();
    let bad_redirect = Redirect {
        status: 304,
        ..Redirect::default()
    };
    for (rule, address, resource, reason) in [
        (
            route("bad", prefix("/"), Action::Redirect(Box::new(bad_redirect))),
            free_address(),
            "route \"bad\"",
            "304",
        ),
        (
            route("r", prefix("/"), forward(to("web"))),
            taken.local_addr().unwrap(),
            "listener ",
            "cannot listen on",
        ),
    ] {
        let listener = listener(
            address,
            mesh_model::listener::Direction::Outbound,
            http(RouteSource::Inline(Arc::new(table(vec![rule])))),
        );
        let refused = proxy
            .runtime
            .apply(Arc::new(snapshot(vec![listener], Vec::new())))
            .unwrap_err();
        assert!(refused[0].resource.contains(resource), "{refused:?}");
        assert!(refused[0].reason.contains(reason), "{refused:?}");
    }
    assert_eq!(proxy.get("/", "").status, 200);
}

#[test]
fn draining_ends_connections_after_their_answer_and_shutdown_waits() {
    let slow = Recorder::new(|_| Reply {
        after: Duration::from_millis(300),
        ..ok("done")
    });
    let proxy = one(route("r", prefix("/"), forward(to("web"))), &slow);
    let mut stream = connect(proxy.address);
    write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    eventually("request upstream", || !slow.messages().is_empty());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(proxy.runtime.shutdown(Duration::from_secs(5)));
    let answer = read_answer(&mut stream);
    assert_eq!((answer.status, answer.body.as_str()), (200, "done"));
    assert!(std::net::TcpStream::connect(proxy.address).is_err());
    proxy.counted(1);
}

#[test]
fn graceful_drain_still_accepts() {
    let upstream = Recorder::new(|_| ok("x"));
    let proxy = one(route("r", prefix("/"), forward(to("web"))), &upstream);
    assert_eq!(proxy.get("/", "").status, 200);
    proxy.runtime.drain(false, true);
    eventually("connection: close", || {
        let mut stream = connect(proxy.address);
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        read_answer(&mut stream).header("connection") == Some("close")
    });
}
