//! Hot restarts under load: no request fails, and every one is counted once, in the totals and at the control plane.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mesh_model::edge::Batch;
use mesh_telemetry::otlp;
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use parking_lot::Mutex;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status};

use super::SOON;

/// Restarts and requests of the default run; `SIGHTLINE_LONG` asks for the long one.
const RESTARTS: u32 = 3;
const REQUESTS: u64 = 3_000;
const LONG: (u32, u64) = (10, 200_000);
const CLIENTS: usize = 4;

/// What a control plane would have: each batch once.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<HashMap<(u64, u64), Batch>>>);

#[tonic::async_trait]
impl MetricsService for Sink {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        let number = |key: &str| -> u64 {
            let value = request.metadata().get(key).unwrap();
            value.to_str().unwrap().parse().unwrap()
        };
        let key = (number(otlp::metadata::EPOCH), number(otlp::metadata::SEQUENCE));
        let batch = otlp::decode(request.get_ref(), "p", key.0, key.1).unwrap();
        let mut all = self.0.lock();
        let known = all.entry(key).or_insert_with(|| batch.clone());
        assert_eq!(
            known.windows, batch.windows,
            "a batch that was sent again has changed"
        );
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}

impl Sink {
    fn requests(&self) -> u64 {
        let all = self.0.lock();
        let series = all.values().flat_map(|b| &b.windows).flat_map(|w| &w.series);
        series.map(|(_, delta)| delta.requests).sum()
    }
    fn epochs(&self) -> usize {
        let epochs: std::collections::HashSet<u64> = self.0.lock().keys().map(|(epoch, _)| *epoch).collect();
        epochs.len()
    }
}

/// Answers every request on every connection.
pub(crate) fn backend() -> SocketAddr {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                while read_head(&mut stream).is_some() {
                    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    let mut chunk = [0; 4096];
    while !head.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return None,
            Ok(n) => head.extend_from_slice(&chunk[..n]),
        }
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// A port of our own that is free now.
pub(crate) fn free() -> SocketAddr {
    StdListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

struct Proxies {
    config: std::path::PathBuf,
    sink: SocketAddr,
    running: Vec<Child>,
}

impl Proxies {
    fn spawn(&mut self) {
        let epoch = self.running.len().to_string();
        let base = std::process::id().to_string();
        let child = Command::new(env!("CARGO_BIN_EXE_sightline-proxy"))
            .args(["-c", self.config.to_str().unwrap()])
            .args(["--base-id", &base, "--restart-epoch", &epoch])
            .args(["--telemetry-endpoint", &format!("http://{}", self.sink)])
            .args([
                "--drain-time-s",
                "20",
                "--concurrency",
                "2",
                "--log-level",
                "warn",
            ])
            .spawn()
            .unwrap();
        self.running.push(child);
    }

    /// Waits until the n-th process has ended by itself.
    fn ended(&mut self, n: usize) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.running[n].try_wait().unwrap() {
                assert!(status.success(), "process {n} ended with {status}");
                return;
            }
            assert!(began.elapsed() < SOON * 2, "process {n} does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Proxies {
    fn drop(&mut self) {
        for child in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn bootstrap(
    folder: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
    backend: SocketAddr,
) -> std::path::PathBuf {
    let path = folder.join("bootstrap.yaml");
    let text = format!(
        r#"
node: {{id: "sidecar~127.0.0.1~restart.test~test.svc.cluster.local", cluster: restart}}
admin: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}
static_resources:
  listeners:
  - name: web
    address: {{socket_address: {{address: {}, port_value: {}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: web
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
          route_config:
            name: web
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes: [{{match: {{prefix: "/"}}, route: {{cluster: web}}}}]
  clusters:
  - name: web
    type: STATIC
    connect_timeout: 5s
    load_assignment:
      cluster_name: web
      endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: {}, port_value: {}}}}}}}}}]}}]
"#,
        admin.ip(),
        admin.port(),
        listen.ip(),
        listen.port(),
        backend.ip(),
        backend.port(),
    );
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn get(address: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n"
    )
    .ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

pub(crate) fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// One client: a connection as long as it may keep it, one request after another, told apart by nothing but order.
fn client(address: SocketAddr, stop: &AtomicBool, sent: &AtomicU64, failed: &AtomicU64) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect(address) else {
            failed.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        for _ in 0..50 {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            sent.fetch_add(1, Ordering::Relaxed);
            let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: web\r\n\r\n").is_ok();
            let answer = asked.then(|| read_head(&mut stream)).flatten();
            match answer {
                Some(head) if head.starts_with("HTTP/1.1 200") => {
                    // The body may come in a piece of its own.
                    if !head.ends_with("ok") {
                        let mut rest = [0; 2];
                        stream.read_exact(&mut rest).unwrap();
                    }
                    if head.contains("connection: close") {
                        break;
                    }
                }
                other => {
                    eprintln!("failed: {other:?}");
                    failed.fetch_add(1, Ordering::Relaxed);
                    break;
                }
            }
        }
    }
}

/// `istio_requests_total` of all series.
fn total(admin: SocketAddr) -> u64 {
    let text = get(admin, "/stats/prometheus").unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with("istio_requests_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|value| value as u64)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_and_none_is_counted_twice() {
    let (restarts, requests) = match std::env::var_os("SIGHTLINE_LONG") {
        Some(_) => LONG,
        None => (RESTARTS, REQUESTS),
    };
    let sink = Sink::default();
    let incoming = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sink_address = incoming.local_addr().unwrap();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(sink.clone()))
            .serve_with_incoming(TcpListenerStream::new(incoming)),
    );
    let told = sink.clone();
    tokio::task::spawn_blocking(move || restart_under_load(&told, sink_address, restarts, requests))
        .await
        .unwrap();
}

fn restart_under_load(sink: &Sink, sink_address: SocketAddr, restarts: u32, requests: u64) {
    let folder = tempfile::tempdir().unwrap();
    let (listen, admin) = (free(), free());
    let mut proxies = Proxies {
        config: bootstrap(folder.path(), listen, admin, backend()),
        sink: sink_address,
        running: Vec::new(),
    };
    proxies.spawn();
    wait_for("the first start", || {
        get(admin, "/ready").is_some_and(|answer| answer.contains("LIVE"))
    });
    let (stop, sent, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| client(listen, &stop, &sent, &failed));
        }
        for restart in 1..=restarts {
            let due = requests * u64::from(restart) / u64::from(restarts + 1);
            while sent.load(Ordering::Relaxed) < due {
                std::thread::sleep(Duration::from_millis(5));
            }
            proxies.spawn();
            let epoch = format!("\"restart_epoch\": {restart}");
            wait_for("the takeover", || {
                get(admin, "/server_info").is_some_and(|info| info.contains(&epoch))
            });
            proxies.ended(usize::try_from(restart).unwrap() - 1);
        }
        while sent.load(Ordering::Relaxed) < requests {
            std::thread::sleep(Duration::from_millis(5));
        }
        stop.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    eprintln!(
        "{sent} requests over {restarts} restarts in {:.1} s, {} failed",
        began.elapsed().as_secs_f64(),
        failed.load(Ordering::Relaxed)
    );
    assert_eq!(failed.load(Ordering::Relaxed), 0, "of {sent} requests");
    wait_for("the totals of Prometheus", || total(admin) >= sent);
    assert_eq!(total(admin), sent);
    wait_for("the counters at the control plane", || sink.requests() >= sent);
    assert_eq!(sink.requests(), sent);
    assert_eq!(sink.epochs(), 1, "the run of telemetry goes on");
}
