//! Ends and accidents: a defect costs one request; an application that still answers may still ask.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_model::listener::{Direction, RouteSource};
use sightline_proxy::runtime::NodeKind;
use sightline_proxy::secure::NoTls;

use crate::harness::{
    Answer, DEADLINE, Proxy, Recorder, cluster, connect, endpoint, exchange, forward, free_address, http,
    listener, ok, prefix, route, snapshot, start, table, to,
};

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n").into_bytes()
}

#[cfg(debug_assertions)]
#[test]
fn a_panic_costs_one_request() {
    sightline_proxy::overload::fail_point::allow();
    let backend = Recorder::new(|_| ok("there"));
    let routes = vec![route("all", prefix("/"), forward(to("web")))];
    let proxy = Proxy::new(
        NodeKind::Sidecar,
        routes,
        vec![cluster("web", vec![endpoint(backend.address, "web-v1")])],
    );
    let mut other = connect(proxy.address);
    other
        .write_all(b"GET /before HTTP/1.1\r\nHost: web\r\n\r\n")
        .unwrap();
    let mut answer = [0; 15];
    other.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    for _ in 0..3 {
        let gone = proxy.exchange(b"GET / HTTP/1.1\r\nHost: web\r\nX-Sightline-Fail-Point: 1\r\n\r\n");
        assert_eq!(gone, "", "the connection ends without an answer");
    }
    // Another connection of the same workers, and new ones, are served.
    other.write_all(&get("/after")).unwrap();
    let mut rest = String::new();
    other.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("HTTP/1.1 200"), "{rest}");
    assert_eq!(proxy.get("/", "").status, 200);
    let counted = proxy.counted(6);
    let failed: u64 = counted
        .iter()
        .filter(|(key, _)| key.response_code == 0)
        .map(|(_, delta)| delta.requests)
        .sum();
    assert_eq!(failed, 3, "each panic is one request without an answer");
}

/// A sidecar that is told to end while its application works on a request which needs another service.
#[test]
fn an_application_may_still_call_while_its_sidecar_drains() {
    let service = Recorder::new(|_| ok("from the service"));
    let outbound = free_address();
    let inbound = free_address();
    let application = Recorder::new(move |_| {
        // The signal comes before the call.
        std::thread::sleep(Duration::from_millis(300));
        let answer = Answer::parse(&exchange(outbound, &get("/needed")));
        ok(&format!("{} {}", answer.status, answer.body))
    });
    let runtime = start(NodeKind::Sidecar, "web-v1", Arc::new(NoTls));
    let to_all = |name: &str| {
        let routes = vec![route(name, prefix("/"), forward(to(name)))];
        http(RouteSource::Inline(Arc::new(table(routes))))
    };
    let listeners = vec![
        listener(inbound, Direction::Inbound, to_all("application")),
        listener(outbound, Direction::Outbound, to_all("service")),
    ];
    let clusters = vec![
        cluster("application", vec![endpoint(application.address, "web-v1")]),
        cluster("service", vec![endpoint(service.address, "service-v1")]),
    ];
    runtime.apply(Arc::new(snapshot(listeners, clusters))).unwrap();
    // Both are there before the request is.
    drop(connect(outbound));
    let asking = std::thread::spawn(move || Answer::parse(&exchange(inbound, &get("/"))));
    let began = Instant::now();
    while application.messages().is_empty() {
        assert!(began.elapsed() < DEADLINE, "the application is not asked");
        std::thread::sleep(Duration::from_millis(5));
    }
    let ending = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    ending.block_on(runtime.shutdown(DEADLINE));
    let answer = asking.join().unwrap();
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (200, "200 from the service")
    );
    assert!(began.elapsed() < DEADLINE, "it ends with its last request");
}
