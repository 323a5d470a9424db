//! Inputs from which the mutations begin: one of each kind that is good.

use super::*;

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

pub(super) fn requests() -> Vec<Vec<u8>> {
    texts(&[
        "GET /a/b?c=d HTTP/1.1\r\nHost: web.test\r\nX-One: 1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: web:80\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-T: y\r\n\r\n",
        "GET http://web.test/x HTTP/1.1\r\nHost: other\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n\r\n",
        "CONNECT web:443 HTTP/1.1\r\nHost: web:443\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: a\r\nConnection: close\r\n\r\n",
        "PUT /u HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\nTE: trailers\r\n\r\nab",
        "GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: a=b; c=d\r\n\r\n",
    ])
}

pub(super) fn responses() -> Vec<Vec<u8>> {
    texts(&[
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nto the end",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nSet-Cookie: a=b\r\n\r\n0\r\n\r\n",
    ])
}

pub(super) fn chunks() -> Vec<Vec<u8>> {
    texts(&[
        "\x015\r\nhello\r\n0\r\n\r\n",
        "\x03a;ext=1\r\n0123456789\r\n1\r\nx\r\n0\r\ntrailer: v\r\nother: w\r\n\r\n",
        "\x070\r\n\r\n",
        "\x10001\r\nz\r\n000\r\n\r\n",
    ])
}

pub(super) fn authorities() -> Vec<Vec<u8>> {
    texts(&[
        "web",
        "web.test:8080",
        "[::1]:80",
        "127.0.0.1",
        "xn--bcher-kva.example",
        "a_b.c:1",
    ])
}

pub(super) fn paths() -> Vec<Vec<u8>> {
    texts(&[
        "/a/b/../c?x=/../y",
        "/%2e%2e/%41b",
        "//a///b/.",
        "/a\\..\\b",
        "/a/%2Fb/%5c..",
        "/;p/..;/x",
        "/",
        "/.",
        "/a/./b/",
    ])
}

pub(super) fn certificates() -> Vec<Vec<u8>> {
    use rustls_pki_types::pem::PemObject as _;
    let request = CertificateRequest::create(&workload()).expect("request");
    let signed = authority_of_tests()
        .sign(&request.csr_pem, &workload(), None, now())
        .expect("signed");
    let leaf = rustls_pki_types::CertificateDer::from_pem_slice(signed.chain[0].as_bytes()).expect("PEM");
    vec![
        leaf.to_vec(),
        b"spiffe://cluster.local/ns/default/sa/web".to_vec(),
        b"spiffe://a/ns/b/sa/c".to_vec(),
    ]
}

pub(super) fn signing_requests() -> Vec<Vec<u8>> {
    let request = CertificateRequest::create(&workload()).expect("request");
    let other = SpiffeId::parse("spiffe://cluster.local/ns/default/sa/other").expect("identity");
    let foreign = CertificateRequest::create(&other).expect("request");
    vec![request.csr_pem.into_bytes(), foreign.csr_pem.into_bytes()]
}

pub(super) fn tokens() -> Vec<Vec<u8>> {
    let good = good_token();
    let (_, rest) = good.split_once('.').expect("three parts");
    // Algorithm "none", and a token of somebody else.
    let none = format!("eyJhbGciOiJub25lIn0.{rest}");
    let claims = serde_json::json!({"iss": "me", "exp": 1_890_000_000_u64, "x": 1});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    let other = jsonwebtoken::encode(
        &header,
        &claims,
        &jsonwebtoken::EncodingKey::from_secret(b"other"),
    );
    vec![
        good.into_bytes(),
        none.into_bytes(),
        other.expect("token").into_bytes(),
    ]
}

pub(super) fn peers() -> Vec<Vec<u8>> {
    let workload = mesh_model::workload::Workload {
        namespace: "default".into(),
        name: "web-v1".into(),
        app: "web".into(),
        version: "v1".into(),
        cluster: "Kubernetes".into(),
    };
    let bytes = sightline_proxy::metadata::write_metadata(&workload);
    vec![
        sightline_proxy::metadata::encode_header(&bytes).into_bytes(),
        bytes,
    ]
}

/// Bootstrap files of the benchmark.
pub(super) fn bootstraps() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/mesh-xds/tests/data");
    ["plain.json", "tls.json", "tcp.json"]
        .iter()
        .map(|name| std::fs::read(format!("{folder}/{name}")).expect("bootstrap of the benchmark"))
        .collect()
}

/// The listeners and clusters of those files.
pub(super) fn resources() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for text in bootstraps() {
        let text = String::from_utf8(text).expect("text");
        let it = mesh_xds::bootstrap::parse(&text).expect("a good bootstrap");
        all.extend(
            it.listeners
                .iter()
                .map(|listener| mesh_xds::encode::listener(listener).value),
        );
        all.extend(
            it.clusters
                .iter()
                .map(|cluster| mesh_xds::encode::cluster(cluster).value),
        );
    }
    all
}

pub(super) fn discoveries() -> Vec<Vec<u8>> {
    let resource = |type_url: &str, value: Vec<u8>| {
        let any = mesh_xds::Any {
            type_url: type_url.to_owned(),
            value,
        };
        let resource = Resource {
            name: "a".to_owned(),
            version: "1".to_owned(),
            resource: Some(any),
            ..Resource::default()
        };
        DeltaDiscoveryResponse {
            type_url: type_url.to_owned(),
            resources: vec![resource],
            nonce: "1".to_owned(),
            removed_resources: vec!["b".to_owned()],
            ..DeltaDiscoveryResponse::default()
        }
        .encode_to_vec()
    };
    let values = resources();
    let types = [mesh_xds::TYPE_LISTENER, mesh_xds::TYPE_CLUSTER];
    values
        .into_iter()
        .zip(types.into_iter().cycle())
        .map(|(value, of)| resource(of, value))
        .collect()
}

pub(super) fn exports() -> Vec<Vec<u8>> {
    use mesh_telemetry::otlp;
    let batch = mesh_model::edge::Batch {
        proxy: "proxy".into(),
        epoch: 1,
        sequence: 1,
        cut_at_ms: 1,
        windows: Vec::new(),
        overflowed: 0,
    };
    vec![
        otlp::encode(&batch).encode_to_vec(),
        b"\x0a\x00".to_vec(),
        b"\x0a\x04\x12\x02\x12\x00".to_vec(),
    ]
}
