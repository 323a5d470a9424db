//! Two sidecars and mutual TLS between them: the walking skeleton of the mesh.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource, Transport, UpstreamTls};
use mesh_model::edge::Reporter;
use mesh_model::identity::SpiffeId;
use mesh_model::listener::{
    ChainMatch, ConnectionService, Direction, DownstreamTls, FilterChain, ForwardClientCert, Listener,
    RouteSource,
};
use mesh_tls::{CertificateAuthority, CertificateRequest, Identity};
use sightline_proxy::runtime::{NodeKind, Runtime};
use sightline_proxy::secure::{TlsContexts, TlsUnavailable};

use crate::harness::*;

/// TLS contexts of one workload, from a test authority.
pub(crate) struct Contexts(parking_lot::RwLock<Identity>);

impl Contexts {
    pub(crate) fn new(authority: &CertificateAuthority, account: &str) -> Arc<Self> {
        Arc::new(Self(parking_lot::RwLock::new(issue(authority, account))))
    }

    /// Takes a new certificate for a new key.
    pub(crate) fn rotate(&self, authority: &CertificateAuthority, account: &str) {
        *self.0.write() = issue(authority, account);
    }
}

fn issue(authority: &CertificateAuthority, account: &str) -> Identity {
    let id = SpiffeId::parse(&format!("spiffe://cluster.local/ns/default/sa/{account}")).unwrap();
    let request = CertificateRequest::create(&id).unwrap();
    let now = SystemTime::now();
    let signed = authority.sign(&request.csr_pem, &id, None, now).unwrap();
    Identity::from_pem(
        &signed.chain.concat(),
        &request.key_pem,
        authority.certificate_pem(),
    )
    .unwrap()
}

impl TlsContexts for Contexts {
    fn server(&self, tls: &DownstreamTls) -> Result<Arc<rustls::ServerConfig>, TlsUnavailable> {
        mesh_tls::config::server(tls, Some(&self.0.read()))
            .map(Arc::new)
            .map_err(|e| TlsUnavailable::Invalid(e.to_string()))
    }
    fn client(&self, tls: &UpstreamTls) -> Result<Arc<rustls::ClientConfig>, TlsUnavailable> {
        mesh_tls::config::client(tls, Some(&self.0.read()))
            .map(Arc::new)
            .map_err(|e| TlsUnavailable::Invalid(e.to_string()))
    }
    fn principal(&self) -> Option<String> {
        Some(self.0.read().id.to_string())
    }
}

fn upstream_tls() -> UpstreamTls {
    UpstreamTls {
        sni: Some("outbound_.9080_._.reviews.default.svc.cluster.local".into()),
        alpn: Vec::new(),
        certificate: CertificateSource::Workload,
        validation: PeerValidation {
            roots: RootSource::Mesh,
            subject_alt_names: vec!["spiffe://cluster.local/ns/default/sa/reviews".into()],
        },
    }
}

/// PERMISSIVE inbound: mutual TLS from the mesh, plaintext from anyone.
fn inbound(address: SocketAddr, codec: mesh_model::listener::Codec) -> Listener {
    let mut rule = route("default", prefix("/"), forward(to("inbound|9080||")));
    rule.origin = None;
    rule.operation = Some("reviews.default.svc.cluster.local:9080/*".into());
    let mut connection = http(RouteSource::Inline(Arc::new(table(vec![rule]))));
    connection.server_name = Some("istio-envoy".into());
    connection.forward_client_cert = ForwardClientCert::AppendForward;
    connection.codec = codec;
    let chain = |name: &str, tls: bool| FilterChain {
        name: name.into(),
        matches: ChainMatch {
            tls: Some(tls),
            ..ChainMatch::default()
        },
        tls: tls.then(|| DownstreamTls {
            certificates: vec![CertificateSource::Workload],
            validation: PeerValidation {
                roots: RootSource::Mesh,
                subject_alt_names: Vec::new(),
            },
            require_client_certificate: true,
            alpn: vec!["istio-http/1.1".into(), "h2".into(), "http/1.1".into()],
        }),
        service: ConnectionService::Http(Box::new(connection.clone())),
    };
    Listener {
        chains: vec![chain("mtls", true), chain("plain", false)],
        detection_timeout: Some(Duration::from_secs(1)),
        ..listener(address, Direction::Inbound, connection.clone())
    }
}

pub(crate) struct Pair {
    pub(crate) client: Runtime,
    pub(crate) server: Runtime,
    pub(crate) outbound: SocketAddr,
    inbound: SocketAddr,
    app: Recorder,
}

fn pair(protocol: mesh_model::cluster::UpstreamProtocol) -> Pair {
    let authority = CertificateAuthority::create("cluster.local", SystemTime::now()).unwrap();
    let server = Contexts::new(&authority, "reviews");
    let client = Contexts::new(&authority, "productpage");
    pair_with(protocol, server, client)
}

pub(crate) fn pair_with(
    protocol: mesh_model::cluster::UpstreamProtocol,
    server: Arc<Contexts>,
    client: Arc<Contexts>,
) -> Pair {
    let app = Recorder::new(|m| ok(&format!("app {}", m.line())));
    let (outbound_at, inbound_at) = (free_address(), free_address());
    let server = start(NodeKind::Sidecar, "reviews-v1", server);
    let mut local = cluster("inbound|9080||", vec![endpoint(app.address, "reviews-v1")]);
    local.service = cluster("reviews", Vec::new()).service;
    server
        .apply(Arc::new(snapshot(
            vec![inbound(inbound_at, mesh_model::listener::Codec::Auto)],
            vec![local],
        )))
        .unwrap();
    let client = start(NodeKind::Sidecar, "productpage-v1", client);
    let mut reviews = endpoint(inbound_at, "reviews-v1");
    reviews.mutual_tls = true;
    let mut remote = cluster("reviews", vec![reviews]);
    remote.transport = Transport::Auto(Box::new(upstream_tls()));
    remote.protocol = protocol;
    let mut routes = table(vec![route("to-v1", prefix("/"), forward(to("reviews")))]);
    routes.name = "9080".into();
    let source = RouteSource::ByAuthorityPort {
        tables: [(9080, "9080".to_owned())].into(),
        fallback: "none".into(),
        listeners: BTreeMap::new(),
    };
    let mut configuration = snapshot(
        vec![listener(outbound_at, Direction::Outbound, http(source))],
        vec![remote],
    );
    configuration.routes = BTreeMap::from([("9080".to_owned(), Arc::new(routes))]);
    client.apply(Arc::new(configuration)).unwrap();
    Pair {
        client,
        server,
        outbound: outbound_at,
        inbound: inbound_at,
        app,
    }
}

fn check_pair(protocol: mesh_model::cluster::UpstreamProtocol) {
    let pair = pair(protocol);
    let mut stream = connect(pair.outbound);
    for i in 0..10 {
        write!(
            stream,
            "GET http://reviews:9080/{i} HTTP/1.1\r\nHost: reviews:9080\r\n\r\n"
        )
        .unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!(
            (answer.status, answer.body),
            (200, format!("app GET /{i} HTTP/1.1"))
        );
        let answer_names: Vec<_> = answer.headers.iter().map(|(n, _)| n.as_str()).collect();
        assert!(
            !answer_names
                .iter()
                .any(|n| n.starts_with("x-envoy-peer") || *n == "x-envoy-decorator-operation")
        );
    }
    let message = pair.app.messages().remove(0);
    assert_eq!(message.header("host"), Some("reviews:9080"));
    assert_eq!(message.header("x-envoy-peer-metadata"), None);
    assert_eq!(message.header("x-envoy-peer-metadata-id"), None);
    let certificate = message.header("x-forwarded-client-cert").unwrap();
    assert!(
        certificate.starts_with("By=spiffe://cluster.local/ns/default/sa/reviews;Hash="),
        "{certificate}"
    );
    assert!(
        certificate.ends_with(";URI=spiffe://cluster.local/ns/default/sa/productpage"),
        "{certificate}"
    );
    for (runtime, reporter) in [
        (&pair.client, Reporter::Source),
        (&pair.server, Reporter::Destination),
    ] {
        let counted = counted(runtime, 10);
        assert_eq!(counted.len(), 1, "{counted:#?}");
        let (key, delta) = &counted[0];
        assert_eq!(
            (key.reporter, key.mutual_tls, delta.requests),
            (reporter, true, 10)
        );
        assert_eq!(key.source, workload("productpage-v1"));
        assert_eq!(key.destination, workload("reviews-v1"));
        assert_eq!(
            key.source_principal,
            "spiffe://cluster.local/ns/default/sa/productpage"
        );
        assert_eq!(
            key.destination_principal,
            "spiffe://cluster.local/ns/default/sa/reviews"
        );
        assert_eq!(key.service.host, "reviews.default.svc.cluster.local");
    }
}

#[test]
fn sidecar_to_sidecar_over_mutual_tls() {
    check_pair(mesh_model::cluster::UpstreamProtocol::Http1);
}

#[test]
fn sidecar_to_sidecar_over_http_2() {
    check_pair(mesh_model::cluster::UpstreamProtocol::Http2);
}

#[test]
fn a_plaintext_client_is_served_but_not_believed() {
    let pair = pair(mesh_model::cluster::UpstreamProtocol::Http1);
    let metadata = sightline_proxy::metadata::encode_header(&sightline_proxy::metadata::write_metadata(
        &workload("evil-v1"),
    ));
    let answer = Answer::parse(&exchange(
        pair.inbound,
        format!(
            "GET / HTTP/1.1\r\nHost: reviews:9080\r\nConnection: close\r\nx-envoy-peer-metadata: {metadata}\r\nx-forwarded-client-cert: By=x;URI=spiffe://cluster.local/ns/default/sa/admin\r\n\r\n"
        )
        .as_bytes(),
    ));
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("server"), Some("istio-envoy"));
    assert!(answer.header("x-envoy-decorator-operation").is_some());
    assert_eq!(pair.app.messages()[0].header("x-forwarded-client-cert"), None);
    let counted = counted(&pair.server, 1);
    let key = &counted[0].0;
    assert_eq!((key.source.name.as_str(), key.mutual_tls), ("unknown", false));
}

#[test]
fn connect_makes_an_opaque_tunnel_to_the_service() {
    let pair = pair(mesh_model::cluster::UpstreamProtocol::Http1);
    let mut stream = connect(pair.outbound);
    stream
        .write_all(b"CONNECT reviews:9080 HTTP/1.1\r\nHost: reviews:9080\r\n\r\n")
        .unwrap();
    assert_eq!(read_answer(&mut stream).status, 200);
    stream
        .write_all(b"GET /through HTTP/1.1\r\nHost: reviews:9080\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("app GET /through HTTP/1.1"), "{text}");
    assert_eq!(counted(&pair.server, 1)[0].0.source.namespace, "default");
}
