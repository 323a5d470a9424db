//! What every test here uses: snapshots by hand, recording upstreams, raw clients.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mesh_model::cluster::{
    Balancer, Cluster, Discovery, Endpoint, Endpoints, Limits, Transport, UpstreamProtocol,
};
use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::listener::{
    AccessLog, AccessLogFormat, Capture, ChainMatch, Codec, ConnectionService, Direction, FilterChain,
    ForwardClientCert, HttpConnection, Listener, RouteSource,
};
use mesh_model::route::{
    Action, Domain, Forward, HeaderEdits, PathMatch, Route, RouteMatch, RouteOrigin, RouteTable, VirtualHost,
    WeightedDestination,
};
use mesh_model::snapshot::Snapshot;
use mesh_model::workload::{ServiceName, Workload};
use sightline_proxy::runtime::{Node, NodeKind, Runtime, RuntimeConfig};
use sightline_proxy::secure::{NoTls, TlsContexts};

pub const DEADLINE: Duration = Duration::from_secs(10);

/// An address of our own on loopback with a free port.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    let n = NEXT.fetch_add(1, Ordering::Relaxed);
    let pid = std::process::id();
    let ip = Ipv4Addr::new(
        127,
        65,
        u8::try_from(pid % 250).unwrap() + 1,
        u8::try_from(n % 250).unwrap() + 1,
    );
    let listener = TcpListener::bind((ip, 0)).unwrap();
    listener.local_addr().unwrap()
}

// --- snapshots ------------------------------------------------------------------------------------------------------

pub fn workload(name: &str) -> Workload {
    Workload {
        namespace: "default".into(),
        name: name.into(),
        app: name.split('-').next().unwrap().into(),
        version: "v1".into(),
        cluster: "Kubernetes".into(),
    }
}

pub fn endpoint(address: SocketAddr, name: &str) -> Endpoint {
    Endpoint {
        address,
        healthy: true,
        weight: 1,
        priority: 0,
        locality: String::new(),
        mutual_tls: false,
        workload: Some(workload(name)),
    }
}

pub fn cluster(name: &str, endpoints: Vec<Endpoint>) -> Cluster {
    Cluster {
        name: name.into(),
        discovery: Discovery::Static(Endpoints(endpoints)),
        balancer: Balancer::LeastRequest,
        connect_timeout: Duration::from_secs(2),
        protocol: UpstreamProtocol::Http1,
        limits: Limits::default(),
        outlier: None,
        transport: Transport::Plain,
        max_requests_per_connection: None,
        idle_timeout: None,
        service: Some(ServiceName {
            host: format!("{name}.default.svc.cluster.local"),
            name: name.into(),
            namespace: "default".into(),
        }),
        bind: None,
        panic_threshold_percent: 0,
    }
}

pub fn route(name: &str, path: PathMatch, action: Action) -> Route {
    Route {
        name: name.into(),
        matches: RouteMatch {
            path,
            path_ignore_case: false,
            headers: Vec::new(),
            query: Vec::new(),
            claims: Vec::new(),
        },
        action,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        fault: None,
        cors: None,
        operation: None,
        origin: Some(RouteOrigin {
            virtual_service: "default/vs".into(),
            route: name.into(),
            match_name: String::new(),
            revision: "r1".into(),
        }),
    }
}

pub fn prefix(path: &str) -> PathMatch {
    PathMatch::Prefix(path.into())
}

pub fn to(cluster: &str) -> Forward {
    Forward {
        destinations: vec![WeightedDestination {
            cluster: cluster.into(),
            weight: 1,
            ..WeightedDestination::default()
        }],
        ..Forward::default()
    }
}

pub fn forward(forward: Forward) -> Action {
    Action::Forward(Box::new(forward))
}

pub fn table(routes: Vec<Route>) -> RouteTable {
    RouteTable {
        name: "80".into(),
        virtual_hosts: vec![Arc::new(VirtualHost {
            name: "all".into(),
            domains: vec![Domain::Any],
            routes: routes.into_iter().map(Arc::new).collect(),
            require_tls: false,
            include_attempt_count: false,
        })],
    }
}

pub fn http(routes: RouteSource) -> HttpConnection {
    HttpConnection {
        stat_prefix: "test".into(),
        routes,
        codec: Codec::Auto,
        server_name: Some("envoy".into()),
        server_name_if_absent: false,
        use_remote_address: false,
        trusted_hops: 0,
        forward_client_cert: ForwardClientCert::Sanitize,
        accept_http_10: false,
        normalize_path: true,
        merge_slashes: false,
        preserve_external_request_id: false,
        generate_request_id: true,
        stream_idle_timeout: None,
        request_headers_timeout: None,
        idle_timeout: None,
        max_request_headers_kib: 60,
        max_headers_count: 100,
        access_logs: Vec::new(),
        tracing: None,
        scheme_from_transport: false,
        metrics: Vec::new(),
        external: Vec::new(),
        tokens: None,
        policies: mesh_model::authorization::Policies::default(),
    }
}

pub fn listener(address: SocketAddr, direction: Direction, connection: HttpConnection) -> Listener {
    Listener {
        name: address.to_string(),
        address,
        direction,
        chains: vec![FilterChain {
            name: "http".into(),
            matches: ChainMatch::default(),
            tls: None,
            service: ConnectionService::Http(Box::new(connection)),
        }],
        default_chain: None,
        detection_timeout: None,
        bind_to_port: true,
        capture: Capture::default(),
    }
}

pub fn snapshot(listeners: Vec<Listener>, clusters: Vec<Cluster>) -> Snapshot {
    Snapshot {
        revision: "r1".into(),
        listeners: listeners
            .into_iter()
            .map(|l| (l.name.clone(), Arc::new(l)))
            .collect(),
        routes: BTreeMap::new(),
        clusters: clusters
            .into_iter()
            .map(|c| (c.name.clone(), Arc::new(c)))
            .collect(),
        endpoints: BTreeMap::new(),
        ..Snapshot::default()
    }
}

// --- the proxy ------------------------------------------------------------------------------------------------------

pub struct Proxy {
    pub runtime: Runtime,
    pub address: SocketAddr,
}

pub fn start(kind: NodeKind, name: &str, tls: Arc<dyn TlsContexts>) -> Runtime {
    let workload = workload(name);
    let id = match kind {
        NodeKind::Sidecar => format!("sidecar~127.0.0.1~{name}.default~default.svc.cluster.local"),
        NodeKind::Edge => format!("router~127.0.0.1~{name}.default~default.svc.cluster.local"),
    };
    Runtime::start(RuntimeConfig {
        node: Node {
            id,
            kind,
            peer_metadata: sightline_proxy::metadata::write_metadata(&workload),
            workload,
        },
        concurrency: 2,
        drain_time: Duration::from_secs(1),
        tls,
    })
    .unwrap()
}

impl Proxy {
    /// One plaintext listener with these routes.
    pub fn new(kind: NodeKind, routes: Vec<Route>, clusters: Vec<Cluster>) -> Self {
        Self::with(kind, clusters, http(RouteSource::Inline(Arc::new(table(routes)))))
    }

    pub fn with(kind: NodeKind, clusters: Vec<Cluster>, connection: HttpConnection) -> Self {
        let address = free_address();
        let runtime = start(kind, "client-v1", Arc::new(NoTls));
        let direction = if kind == NodeKind::Sidecar {
            Direction::Outbound
        } else {
            Direction::Unspecified
        };
        let listener = listener(address, direction, connection);
        runtime
            .apply(Arc::new(snapshot(vec![listener], clusters)))
            .unwrap();
        Self { runtime, address }
    }

    /// Sends bytes on a new connection and reads to the end of the connection.
    pub fn exchange(&self, bytes: &[u8]) -> String {
        exchange(self.address, bytes)
    }

    /// A GET with `connection: close`.
    pub fn get(&self, path: &str, headers: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n{headers}\r\n");
        Answer::parse(&self.exchange(request.as_bytes()))
    }

    /// Waits until `n` requests were counted and returns what was.
    pub fn counted(&self, n: u64) -> Vec<(SeriesKey, SeriesDelta)> {
        counted(&self.runtime, n)
    }
}

pub fn counted(runtime: &Runtime, n: u64) -> Vec<(SeriesKey, SeriesDelta)> {
    let began = Instant::now();
    let mut all: BTreeMap<SeriesKey, SeriesDelta> = BTreeMap::new();
    loop {
        for (key, delta) in runtime
            .registry()
            .drain_deltas()
            .into_iter()
            .flat_map(|w| w.series)
        {
            all.entry(key).or_default().merge(&delta);
        }
        let sum: u64 = all.values().map(|d| d.requests).sum();
        assert!(sum <= n, "{sum} requests counted, {n} were made: {all:#?}");
        if sum == n {
            return all.into_iter().collect();
        }
        assert!(began.elapsed() < DEADLINE, "only {sum} of {n} requests counted");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = connect(address);
    // The proxy may answer and close before it has read everything.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Connects; the listener may still be on its way to the workers.
pub fn connect(address: SocketAddr) -> TcpStream {
    let began = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) => {
                stream.set_read_timeout(Some(DEADLINE)).unwrap();
                stream.set_nodelay(true).unwrap();
                return stream;
            }
            Err(error) => assert!(began.elapsed() < DEADLINE, "{address}: {error}"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no answer: {text:?}"));
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| {
                let (name, value) = line.split_once(": ").unwrap();
                (name.to_owned(), value.to_owned())
            })
            .collect();
        let chunked = headers
            .iter()
            .any(|(n, v)| n == "transfer-encoding" && v == "chunked");
        let body = if chunked { unchunk(body) } else { body.to_owned() };
        Self {
            status,
            headers,
            body,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

fn unchunk(mut body: &str) -> String {
    let mut out = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return out;
        }
        out.push_str(&rest[..size]);
        body = &rest[size + 2..];
    }
}

// --- upstreams ------------------------------------------------------------------------------------------------------

/// One message as it arrived, complete or not.
#[derive(Debug, Clone, Default)]
pub struct Message {
    pub connection: usize,
    pub head: String,
    pub body: Vec<u8>,
    pub complete: bool,
}

impl Message {
    pub fn line(&self) -> &str {
        self.head.split("\r\n").next().unwrap()
    }
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.split("\r\n").skip(1).find_map(|line| {
            let (n, v) = line.split_once(": ")?;
            (n == name).then_some(v)
        })
    }
}

/// A raw HTTP/1 server that writes down what arrives.
pub struct Recorder {
    pub address: SocketAddr,
    messages: Arc<Mutex<Vec<Message>>>,
}

/// Answers a request, given its head.
pub type Responder = dyn Fn(&Message) -> Reply + Send + Sync;

#[derive(Debug, Clone)]
pub struct Reply {
    pub bytes: Vec<u8>,
    pub close: bool,
    pub after: Duration,
}

pub fn ok(body: &str) -> Reply {
    reply(200, "", body)
}

pub fn reply(status: u16, headers: &str, body: &str) -> Reply {
    Reply {
        bytes: format!(
            "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}",
            body.len()
        )
        .into_bytes(),
        close: false,
        after: Duration::ZERO,
    }
}

impl Recorder {
    pub fn new(respond: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Self {
        Self::at(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), respond)
    }

    pub fn at(address: SocketAddr, respond: impl Fn(&Message) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let messages = Arc::new(Mutex::new(Vec::new()));
        let respond: Arc<Responder> = Arc::new(respond);
        let recorded = Arc::clone(&messages);
        std::thread::spawn(move || {
            for (connection, stream) in listener.incoming().enumerate() {
                let Ok(stream) = stream else { return };
                let (recorded, respond) = (Arc::clone(&recorded), Arc::clone(&respond));
                std::thread::spawn(move || record(stream, connection, &recorded, &*respond));
            }
        });
        Self { address, messages }
    }

    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap().clone()
    }

    pub fn complete(&self) -> usize {
        self.messages().iter().filter(|m| m.complete).count()
    }
}

fn record(mut stream: TcpStream, connection: usize, recorded: &Mutex<Vec<Message>>, respond: &Responder) {
    let mut buffer = Vec::new();
    loop {
        let Some(message) = read_message(&mut stream, &mut buffer, connection) else {
            return;
        };
        let complete = message.complete;
        recorded.lock().unwrap().push(message.clone());
        if !complete {
            return;
        }
        let reply = respond(&message);
        std::thread::sleep(reply.after);
        if stream.write_all(&reply.bytes).is_err() || reply.close {
            return;
        }
    }
}

fn more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 65536];
    match stream.read(&mut chunk) {
        Ok(0) | Err(_) => false,
        Ok(n) => {
            buffer.extend_from_slice(&chunk[..n]);
            true
        }
    }
}

/// A lenient reader of its own: what an application would take for a message.
fn read_message(stream: &mut TcpStream, buffer: &mut Vec<u8>, connection: usize) -> Option<Message> {
    let mut message = Message {
        connection,
        ..Message::default()
    };
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if !more(stream, buffer) {
            if buffer.is_empty() {
                return None;
            }
            message.head = String::from_utf8_lossy(buffer).into_owned();
            return Some(message);
        }
    };
    message.head = String::from_utf8_lossy(&buffer[..end]).into_owned();
    buffer.drain(..end + 4);
    let chunked = message.header("transfer-encoding") == Some("chunked");
    if chunked {
        loop {
            let line = loop {
                if let Some(at) = buffer.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                if !more(stream, buffer) {
                    return Some(message);
                }
            };
            let size = usize::from_str_radix(&String::from_utf8_lossy(&buffer[..line]), 16).unwrap();
            while buffer.len() < line + 2 + size + 2 {
                if !more(stream, buffer) {
                    return Some(message);
                }
            }
            message.body.extend_from_slice(&buffer[line + 2..line + 2 + size]);
            if size == 0 {
                // Trailers end with an empty line.
                while !buffer[line..].windows(4).any(|w| w == b"\r\n\r\n") {
                    if !more(stream, buffer) {
                        return Some(message);
                    }
                }
                let at = buffer[line..].windows(4).position(|w| w == b"\r\n\r\n").unwrap();
                buffer.drain(..line + at + 4);
                break;
            }
            buffer.drain(..line + 2 + size + 2);
        }
    } else if let Some(length) = message.header("content-length") {
        let length: usize = length.parse().unwrap();
        while buffer.len() < length {
            if !more(stream, buffer) {
                message.body = std::mem::take(buffer);
                return Some(message);
            }
        }
        message.body = buffer.drain(..length).collect();
    }
    message.complete = true;
    Some(message)
}

/// Reads one answer with a `content-length` from a connection that stays open.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut buffer = Vec::new();
    loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            let answer = Answer::parse(&String::from_utf8_lossy(&buffer));
            let length: usize = answer
                .header("content-length")
                .map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                return answer;
            }
        }
        assert!(
            more(stream, &mut buffer),
            "connection ended: {:?}",
            String::from_utf8_lossy(&buffer)
        );
    }
}

/// Waits for a condition.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn log_to(path: &std::path::Path, format: AccessLogFormat) -> AccessLog {
    AccessLog {
        path: path.to_str().unwrap().into(),
        format,
        filter: None,
    }
}
