//! Bootstraps as people write them and as the benchmark generates them.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use mesh_model::cluster::{CertificateSource, RootSource, Transport, UpstreamProtocol};
use mesh_model::listener::{ConnectionService, RouteSource};
use mesh_xds::bootstrap::{self, Bootstrap};

fn load(name: &str) -> Bootstrap {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    bootstrap::parse(&std::fs::read_to_string(&path).unwrap()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

#[test]
fn every_shape_of_the_benchmark_parses() {
    for (name, clusters, tls) in [
        ("plain.json", 1, false),
        ("mesh.json", 21, false),
        ("tls.json", 1, true),
        ("tcp.json", 1, false),
        ("pair-server.json", 1, true),
        ("pair-server-mesh.json", 21, true),
        ("pair-client.json", 1, false),
        ("pair-client-h2.json", 1, false),
        ("pair-client-h2-mesh.json", 21, false),
    ] {
        let it = load(name);
        assert_eq!(it.clusters.len(), clusters, "{name}");
        assert_eq!(it.listeners.len(), 1, "{name}");
        assert_eq!(it.listeners[0].chains[0].tls.is_some(), tls, "{name}");
        assert_eq!(it.admin.unwrap().port(), 18081, "{name}");
        assert!(it.discovery.is_none(), "{name}");
        assert_eq!(it.snapshot().clusters.len(), clusters, "{name}");
    }
}

#[test]
fn the_mesh_shape_keeps_its_routes_and_the_pair_its_tls() {
    let mesh = load("mesh.json");
    let ConnectionService::Http(http) = &mesh.listeners[0].chains[0].service else {
        panic!("not HTTP");
    };
    let RouteSource::Inline(table) = &http.routes else {
        panic!("not inline");
    };
    assert_eq!(table.virtual_hosts.len(), 50);
    assert_eq!(
        table.virtual_hosts[0].domains.len(),
        1,
        "the port form is the same domain"
    );
    assert_eq!(table.virtual_hosts[0].routes.len(), 10);
    assert_eq!(
        http.tracing.as_ref().unwrap().collector_cluster.as_deref(),
        Some("otel")
    );
    let pair = load("pair-client-h2.json");
    assert_eq!(pair.clusters[0].protocol, UpstreamProtocol::Http2);
    let Transport::Tls(tls) = &pair.clusters[0].transport else {
        panic!("not TLS");
    };
    assert_eq!(tls.sni.as_deref(), Some("server.mesh.local"));
    assert_eq!(
        tls.certificate,
        CertificateSource::Files {
            chain: "/certs/client.pem".into(),
            key: "/certs/client.key".into()
        }
    );
    assert_eq!(tls.validation.roots, RootSource::File("/certs/ca.pem".into()));
}

#[test]
fn a_mesh_proxys_bootstrap_names_its_control_plane() {
    let it = load("mesh.yaml");
    let discovery = it.discovery.unwrap();
    assert_eq!(discovery.addresses, [("127.0.0.1".to_owned(), 15012)]);
    assert_eq!(
        discovery.tls.unwrap().sni.as_deref(),
        Some("istiod.istio-system.svc")
    );
    assert!(it.node.id.starts_with("sidecar~"));
    assert!(
        it.node
            .metadata
            .unwrap()
            .fields
            .contains_key("SIGHTLINE_OUTBOUND")
    );
}

#[test]
fn what_is_not_supported_is_refused_with_its_path() {
    #[track_caller]
    fn check(yaml: &str, path: &str, reason: &str) {
        let error = bootstrap::parse(yaml).expect_err(yaml).to_string();
        assert!(error.contains(path), "{error}");
        assert!(error.contains(reason), "{error}");
    }
    check("static_resources: [", "", "not YAML");
    check("static_resource: {}", "static_resource", "field");
    check("flags_path: /x", "bootstrap.flags_path", "not supported");
    check(
        "static_resources: {clusters: [{name: a}, {name: b, health_checks: [{timeout: 1s, interval: 1s}]}]}",
        "bootstrap.static_resources.clusters[1].health_checks",
        "outlier_detection",
    );
    check(
        "static_resources: {clusters: [{name: a, type: EDS}]}",
        "Cluster(a).type",
        "ads_config",
    );
    check(
        "dynamic_resources: {lds_config: {path: /x}}",
        "lds_config.path",
        "ADS",
    );
    check(
        "admin: {address: {pipe: {path: /x}}}",
        "bootstrap.admin.address.pipe",
        "unix sockets",
    );
}

#[test]
fn static_secrets_are_resolved_and_inline_keys_stay_out_of_the_dump() {
    let yaml = r#"
static_resources:
  secrets:
    - name: server
      tls_certificate:
        certificate_chain: {inline_string: CHAIN}
        private_key: {inline_string: SECRETKEY}
  clusters:
    - name: a
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          common_tls_context:
            tls_certificate_sds_secret_configs: [{name: server}]
    - name: b
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext
          common_tls_context:
            tls_certificates:
              - certificate_chain: {inline_string: CHAIN}
                private_key: {inline_string: SECRETKEY}
"#;
    let it = bootstrap::parse(yaml).unwrap();
    for cluster in &it.clusters {
        let Transport::Tls(tls) = &cluster.transport else {
            panic!("not TLS");
        };
        assert!(matches!(&tls.certificate, CertificateSource::Inline { key, .. } if key == "SECRETKEY"));
    }
    let dump = mesh_xds::json::Descriptors::load()
        .unwrap()
        .any_to_json(&it.message)
        .unwrap();
    let text = dump.to_string();
    assert!(
        !text.contains("SECRETKEY") && text.contains("[redacted]"),
        "{text}"
    );
}
