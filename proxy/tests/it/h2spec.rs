//! h2spec, the judge of HTTP/2, against a listening edge proxy: every case, strict, cleartext and TLS. There is no
//! list of exceptions.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource, UpstreamTls};
use mesh_model::listener::{Direction, DownstreamTls, RouteSource};
use sightline_proxy::runtime::{NodeKind, Runtime};
use sightline_proxy::secure::{NoTls, TlsContexts, TlsUnavailable};

use crate::harness::*;

/// A server certificate for `localhost`, for whatever chain asks.
struct Localhost(Arc<rustls::ServerConfig>);

impl Localhost {
    fn new() -> Arc<Self> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(Self(Arc::new(config)))
    }
}

impl TlsContexts for Localhost {
    fn server(&self, _: &DownstreamTls) -> Result<Arc<rustls::ServerConfig>, TlsUnavailable> {
        Ok(Arc::clone(&self.0))
    }
    fn client(&self, _: &UpstreamTls) -> Result<Arc<rustls::ClientConfig>, TlsUnavailable> {
        Err(TlsUnavailable::Invalid("no client side here".into()))
    }
    fn principal(&self) -> Option<String> {
        None
    }
}

/// A proxy in front of a server that answers with a body.
pub fn proxy(kind: NodeKind, tls: bool) -> (Runtime, SocketAddr, Recorder) {
    let upstream = Recorder::new(|_| ok("a body that is long enough to be cut by small windows"));
    let contexts: Arc<dyn TlsContexts> = if tls { Localhost::new() } else { Arc::new(NoTls) };
    let runtime = start(kind, "judged-v1", contexts);
    let address = free_address();
    let routes = table(vec![route("r", prefix("/"), forward(to("web")))]);
    let mut listening = listener(
        address,
        Direction::Unspecified,
        http(RouteSource::Inline(Arc::new(routes))),
    );
    if tls {
        listening.chains[0].tls = Some(DownstreamTls {
            certificates: vec![CertificateSource::Workload],
            validation: PeerValidation {
                roots: RootSource::None,
                subject_alt_names: Vec::new(),
            },
            require_client_certificate: false,
            alpn: vec!["h2".into(), "http/1.1".into()],
        });
    }
    let web = cluster("web", vec![endpoint(upstream.address, "web-v1")]);
    runtime
        .apply(Arc::new(snapshot(vec![listening], vec![web])))
        .unwrap();
    drop(connect(address));
    (runtime, address, upstream)
}

/// The judge, as `tests/h2spec/build.sh` builds it.
fn judge() -> PathBuf {
    let folder = std::env::var_os("SIGHTLINE_H2SPEC").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache/sightline/h2spec"),
        PathBuf::from,
    );
    let path = folder.join("bin/h2spec");
    assert!(
        path.is_file(),
        "{} is missing: run `cargo xtask cluster` or `bash tests/h2spec/build.sh`",
        path.display()
    );
    path
}

#[track_caller]
fn check(kind: NodeKind, tls: bool) {
    let (_runtime, address, _upstream) = proxy(kind, tls);
    let mut command = Command::new(judge());
    command.args(["--strict", "--timeout", "5", "--host", &address.ip().to_string()]);
    command.args(["--port", &address.port().to_string()]);
    if tls {
        command.args(["--tls", "--insecure"]);
    }
    let ran = command.output().unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    let last = text
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default();
    assert!(
        ran.status.success() && last.contains(" 0 skipped, 0 failed"),
        "{last}\n{}",
        text.rsplit_once("Failures:")
            .map_or(&*text, |(_, failures)| failures)
    );
    let passed = last.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    assert!(passed >= 146, "cases are missing: {last}");
}

#[test]
fn an_edge_over_plaintext() {
    check(NodeKind::Edge, false);
}

#[test]
fn an_edge_over_tls() {
    check(NodeKind::Edge, true);
}

#[test]
fn a_sidecar_over_plaintext() {
    check(NodeKind::Sidecar, false);
}
