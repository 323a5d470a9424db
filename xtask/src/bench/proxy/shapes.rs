//! Envoy bootstrap files of the measured shapes. Every shape runs unchanged on both proxies.

use std::path::Path;

use serde_json::{Value, json};

const TYPE: &str = "type.googleapis.com/envoy.";

/// Where the pieces of a shape lie.
pub(super) struct Places<'a> {
    /// Port of the listener; the admin port lies 5000 above.
    pub(super) port: u16,
    /// Where requests go.
    pub(super) backend: &'a str,
    /// Plain HTTP collector that Envoy's spans go to.
    pub(super) collector: &'a str,
    /// Folder of `ca.pem`, `server.{pem,key}`, `client.{pem,key}`.
    pub(super) certificates: &'a Path,
    /// Access log file.
    pub(super) log: &'a Path,
}

/// A measured configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One listener, one route, one cluster.
    Plain,
    /// 50 virtual hosts with 10 routes each, weighted clusters, JSON access log, 1 % tracing, retries, breakers.
    Mesh,
    /// The mesh shape's client side: HTTP/1 in, HTTP/2 over mutual TLS out.
    PairClient,
    /// The mesh shape's server side: mutual TLS in, HTTP/1 out.
    PairServer,
    /// TLS 1.3 without client certificate in front of the backend.
    Tls,
    /// A TCP proxy.
    Tcp,
    /// 1000 clusters, 5000 routes.
    Big,
}

impl Shape {
    /// Whether requests must name one of the mesh's hosts.
    pub(super) fn is_mesh(self) -> bool {
        matches!(self, Self::Mesh | Self::PairClient | Self::PairServer)
    }
}

/// The bootstrap of a shape.
pub(super) fn bootstrap(shape: Shape, at: &Places<'_>) -> Value {
    let plain = || connection_manager(one_route(), None);
    let mesh = || connection_manager(mesh_routes(), Some(at));
    let (listener, clusters) = match shape {
        Shape::Plain => (
            listener(at.port, plain(), None),
            vec![cluster("b", at.backend, None)],
        ),
        Shape::Mesh => (listener(at.port, mesh(), None), mesh_clusters(at, false)),
        Shape::PairClient => (listener(at.port, mesh(), None), mesh_clusters(at, true)),
        Shape::PairServer => (
            listener(at.port, mesh(), Some(downstream_tls(at.certificates, true))),
            mesh_clusters(at, false),
        ),
        Shape::Tls => (
            listener(at.port, plain(), Some(downstream_tls(at.certificates, false))),
            vec![cluster("b", at.backend, None)],
        ),
        Shape::Tcp => (
            listener(at.port, tcp_proxy(), None),
            vec![cluster("b", at.backend, None)],
        ),
        Shape::Big => (
            listener(at.port, connection_manager(big_routes(), None), None),
            (0..BIG_CLUSTERS)
                .map(|i| cluster(&format!("svc{i}"), at.backend, None))
                .collect(),
        ),
    };
    json!({
        "node": {"id": format!("bench-{}", at.port), "cluster": "bench"},
        "admin": {"address": socket("127.0.0.1", at.port + 5000)},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    })
}

const BIG_CLUSTERS: usize = 1000;
const BIG_ROUTES_PER_CLUSTER: usize = 5;

fn socket(address: &str, port: u16) -> Value {
    json!({"socket_address": {"address": address, "port_value": port}})
}

fn endpoint(address: &str) -> Value {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, "0"));
    json!({"address": socket(host, port.parse().unwrap_or_default())})
}

fn cluster(name: &str, address: &str, tls: Option<&Path>) -> Value {
    let mut cluster = json!({
        "name": name, "type": "STATIC", "connect_timeout": "2s",
        "load_assignment": {"cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint(address)}]}]},
    });
    if let Some(certificates) = tls {
        cluster["typed_extension_protocol_options"] = json!({
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": format!("{TYPE}extensions.upstreams.http.v3.HttpProtocolOptions"),
                "explicit_http_config": {"http2_protocol_options": {}},
            },
        });
        let mut common = tls_context(certificates, "client", true);
        common["alpn_protocols"] = json!(["h2"]);
        cluster["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": {
            "@type": format!("{TYPE}extensions.transport_sockets.tls.v3.UpstreamTlsContext"),
            "sni": "server.mesh.local", "common_tls_context": common,
        }});
    }
    cluster
}

fn mesh_clusters(at: &Places<'_>, tls: bool) -> Vec<Value> {
    let tls = tls.then_some(at.certificates);
    let mut clusters: Vec<Value> = (0..20)
        .map(|i| {
            let mut cluster = cluster(&format!("c{i}"), at.backend, tls);
            cluster["circuit_breakers"] = json!({"thresholds": [{
                "max_connections": 4096, "max_pending_requests": 4096, "max_requests": 4096, "max_retries": 64}]});
            cluster["outlier_detection"] =
                json!({"consecutive_5xx": 5, "interval": "5s", "base_ejection_time": "10s"});
            cluster
        })
        .collect();
    clusters.push(cluster("otel", at.collector, None));
    clusters
}

fn tls_context(certificates: &Path, who: &str, verify: bool) -> Value {
    let file = |name: String| json!({"filename": certificates.join(name).display().to_string()});
    let mut context = json!({
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
        "tls_certificates": [{
            "certificate_chain": file(format!("{who}.pem")), "private_key": file(format!("{who}.key"))}],
    });
    if verify {
        context["validation_context"] = json!({"trusted_ca": file("ca.pem".into())});
    }
    context
}

fn downstream_tls(certificates: &Path, mutual: bool) -> Value {
    let mut common = tls_context(certificates, "server", mutual);
    common["alpn_protocols"] = json!(["h2", "http/1.1"]);
    json!({"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": format!("{TYPE}extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
        "require_client_certificate": mutual, "common_tls_context": common,
    }})
}

fn listener(port: u16, filter: Value, tls: Option<Value>) -> Value {
    let mut chain = json!({"filters": [filter]});
    if let Some(tls) = tls {
        chain["transport_socket"] = tls;
    }
    json!({"name": "l", "address": socket("127.0.0.1", port), "filter_chains": [chain]})
}

fn tcp_proxy() -> Value {
    json!({"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": format!("{TYPE}extensions.filters.network.tcp_proxy.v3.TcpProxy"),
        "stat_prefix": "t", "cluster": "b",
    }})
}

/// `telemetry` turns the JSON access log and 1 % tracing on.
fn connection_manager(routes: Value, telemetry: Option<&Places<'_>>) -> Value {
    let mut config = json!({
        "@type": format!("{TYPE}extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "in",
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
            "@type": format!("{TYPE}extensions.filters.http.router.v3.Router")}}],
        "route_config": routes,
    });
    if let Some(at) = telemetry {
        config["access_log"] = json!([{"name": "f", "typed_config": {
            "@type": format!("{TYPE}extensions.access_loggers.file.v3.FileAccessLog"),
            "path": at.log.display().to_string(),
            "log_format": {"json_format": log_line()},
        }}]);
        config["tracing"] = json!({"random_sampling": {"value": 1.0}, "provider": {"name": "otel", "typed_config": {
            "@type": format!("{TYPE}config.trace.v3.OpenTelemetryConfig"), "service_name": "bench",
            "http_service": {"http_uri": {
                "uri": format!("http://{}/v1/traces", at.collector), "cluster": "otel", "timeout": "1s"}},
        }}});
    }
    json!({"name": "envoy.filters.network.http_connection_manager", "typed_config": config})
}

fn log_line() -> Value {
    json!({
        "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%",
        "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "protocol": "%PROTOCOL%",
        "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
        "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
        "authority": "%REQ(:AUTHORITY)%", "request_id": "%REQ(X-REQUEST-ID)%",
        "upstream_cluster": "%UPSTREAM_CLUSTER%", "upstream_host": "%UPSTREAM_HOST%",
        "user_agent": "%REQ(USER-AGENT)%", "downstream_remote_address": "%DOWNSTREAM_REMOTE_ADDRESS%",
        "upstream_service_time": "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%",
    })
}

fn one_route() -> Value {
    json!({"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"],
        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "b"}}]}]})
}

/// Ten routes of each host: three exact paths, three regular expressions, two with a header, a prefix, and the rest.
fn mesh_routes() -> Value {
    let hosts: Vec<Value> = (0..50)
        .map(|host| {
            let routes: Vec<Value> = (0..10).map(|route| mesh_route(host, route)).collect();
            json!({"name": format!("v{host}"), "routes": routes,
                "domains": [format!("svc{host}.mesh.local"), format!("svc{host}.mesh.local:*")]})
        })
        .collect();
    json!({"name": "r", "virtual_hosts": hosts})
}

fn mesh_route(host: usize, route: usize) -> Value {
    let mut matcher = match route {
        0..=2 => json!({"path": format!("/exact/{route}")}),
        3..=5 => json!({"safe_regex": {"regex": format!("/re{route}/[a-z]+/\\d+")}}),
        9 => json!({"prefix": "/"}),
        _ => json!({"prefix": format!("/svc{route}/")}),
    };
    if matches!(route, 6 | 7) {
        matcher["headers"] = json!([{"name": "x-canary", "string_match": {"exact": format!("v{route}")}}]);
    }
    json!({"match": matcher, "route": {
        "weighted_clusters": {"clusters": [
            {"name": format!("c{}", host * 2 % 20), "weight": 90},
            {"name": format!("c{}", (host * 2 + 1) % 20), "weight": 10}]},
        "timeout": "15s",
        "retry_policy": {"retry_on": "connect-failure,refused-stream,unavailable,503", "num_retries": 2},
    }})
}

fn big_routes() -> Value {
    let hosts: Vec<Value> = (0..BIG_CLUSTERS)
        .map(|host| {
            let to = json!({"cluster": format!("svc{host}")});
            let mut routes: Vec<Value> = (1..BIG_ROUTES_PER_CLUSTER)
                .map(|i| json!({"match": {"prefix": format!("/api/v{i}/")}, "route": to}))
                .collect();
            routes.push(json!({"match": {"prefix": "/"}, "route": to}));
            json!({"name": format!("v{host}"), "routes": routes,
                "domains": [format!("svc{host}.ns.svc.cluster.local")]})
        })
        .collect();
    json!({"name": "r", "virtual_hosts": hosts})
}
