//! Which certificates are a mesh peer's, and which are not.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_model::cluster::{CertificateSource, PeerValidation, RootSource, UpstreamTls};
use mesh_model::identity::SpiffeId;
use mesh_model::listener::DownstreamTls;
use mesh_tls::verify::{Expect, PeerVerifier};
use mesh_tls::{CertificateAuthority, CertificateRequest, Identity, config, peer_identity};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::client::danger::ServerCertVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{HandshakeKind, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

const REVIEWS: &str = "spiffe://cluster.local/ns/default/sa/reviews";
const DAY: Duration = Duration::from_secs(24 * 3600);

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().unwrap())
}

fn leaf(names: Vec<SanType>) -> CertificateParams {
    let now = SystemTime::now();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names;
    params.not_before = (now - DAY).into();
    params.not_after = (now + DAY).into();
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

struct Mesh {
    authority: CertificateAuthority,
    key: KeyPair,
}

impl Mesh {
    fn new() -> Self {
        let authority = CertificateAuthority::create("cluster.local", SystemTime::now()).unwrap();
        let key = KeyPair::from_pem(&authority.key_pem()).unwrap();
        Self { authority, key }
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.certificate().clone()).unwrap();
        Arc::new(roots)
    }

    fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        let issuer = Issuer::from_ca_cert_der(self.authority.certificate(), &self.key).unwrap();
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &issuer).unwrap().der().clone()
    }

    /// Both directions must agree.
    #[track_caller]
    fn check(&self, what: &str, certificate: &CertificateDer<'_>, names: &[&str], accepted: bool) {
        let expect = Expect::Mesh {
            trust_domain: "cluster.local".into(),
            names: names.iter().map(|n| (*n).to_owned()).collect(),
        };
        let verifier = PeerVerifier::new(self.roots(), expect, true);
        let now = UnixTime::now();
        let name = ServerName::try_from("x").unwrap();
        let as_server = verifier.verify_server_cert(certificate, &[], &name, &[], now);
        let as_client = verifier.verify_client_cert(certificate, &[], now);
        assert_eq!(as_server.is_ok(), accepted, "{what} as server: {as_server:?}");
        assert_eq!(as_client.is_ok(), accepted, "{what} as client: {as_client:?}");
    }
}

#[test]
fn only_one_strict_spiffe_id_of_the_trust_domain_is_a_peer() {
    let mesh = Mesh::new();
    let check = |what: &str, params: &CertificateParams, accepted: bool| {
        mesh.check(what, &mesh.sign(params), &[], accepted);
    };
    check("good", &leaf(vec![uri(REVIEWS)]), true);
    check(
        "good with a DNS name beside",
        &leaf(vec![uri(REVIEWS), dns("a.b")]),
        true,
    );
    check(
        "other trust domain",
        &leaf(vec![uri("spiffe://other/ns/default/sa/reviews")]),
        false,
    );
    check(
        "two URIs",
        &leaf(vec![uri(REVIEWS), uri("spiffe://cluster.local/ns/default/sa/x")]),
        false,
    );
    check(
        "DNS only",
        &leaf(vec![dns("reviews.default.svc.cluster.local")]),
        false,
    );
    let mut common_name = leaf(vec![]);
    common_name.distinguished_name.push(DnType::CommonName, REVIEWS);
    check("common name only", &common_name, false);
    check(
        "upper-case scheme",
        &leaf(vec![uri("SPIFFE://cluster.local/ns/default/sa/reviews")]),
        false,
    );
    check(
        "not a workload",
        &leaf(vec![uri("spiffe://cluster.local/gateway")]),
        false,
    );
    check(
        "another scheme",
        &leaf(vec![uri("https://cluster.local/ns/default/sa/reviews")]),
        false,
    );
    let mut expired = leaf(vec![uri(REVIEWS)]);
    expired.not_after = (SystemTime::now() - DAY / 2).into();
    check("expired", &expired, false);
    let mut future = leaf(vec![uri(REVIEWS)]);
    future.not_before = (SystemTime::now() + DAY / 2).into();
    check("not valid yet", &future, false);
    let mut authority = leaf(vec![uri(REVIEWS)]);
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    check("a CA as a leaf", &authority, false);
    let mut usage = leaf(vec![uri(REVIEWS)]);
    usage.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    check("another extended key usage", &usage, false);
}

#[test]
fn another_issuer_is_not_ours() {
    let mesh = Mesh::new();
    let key = KeyPair::generate().unwrap();
    let own = leaf(vec![uri(REVIEWS)]).self_signed(&key).unwrap();
    mesh.check("self-signed", own.der(), &[], false);
    let other = Mesh::new().sign(&leaf(vec![uri(REVIEWS)]));
    mesh.check("another root of the same name", &other, &[], false);
    mesh.check("no certificate", &CertificateDer::from(vec![1, 2, 3]), &[], false);
}

#[test]
fn expected_names_are_exact() {
    let mesh = Mesh::new();
    let reviews = mesh.sign(&leaf(vec![uri(REVIEWS)]));
    mesh.check("expected", &reviews, &["spiffe://x/ns/a/sa/b", REVIEWS], true);
    mesh.check(
        "unexpected",
        &reviews,
        &["spiffe://cluster.local/ns/default/sa/review"],
        false,
    );
}

#[test]
fn the_authority_signs_its_callers_and_nobody_else() {
    let now = SystemTime::now();
    let authority = CertificateAuthority::create("cluster.local", now).unwrap();
    let id = SpiffeId::parse(REVIEWS).unwrap();
    let request = CertificateRequest::create(&id).unwrap();
    let signed = authority.sign(&request.csr_pem, &id, None, now).unwrap();
    let identity = Identity::from_pem(
        &signed.chain.concat(),
        &request.key_pem,
        authority.certificate_pem(),
    )
    .unwrap();
    assert_eq!(identity.id, id);
    let lifetime = identity.not_after.duration_since(now).unwrap();
    assert!(
        lifetime <= DAY && lifetime > DAY - Duration::from_secs(5),
        "{lifetime:?}"
    );
    let half = identity.rotate_at(0.0).duration_since(now).unwrap();
    let late = identity.rotate_at(1.0).duration_since(now).unwrap();
    assert!(
        half >= DAY / 2 - Duration::from_secs(120) && late <= DAY * 7 / 10,
        "{half:?} {late:?}"
    );

    let refused = |what: &str, id: &str, csr: &str| {
        let id = SpiffeId::parse(id).unwrap();
        let outcome = authority.sign(csr, &id, None, now);
        assert!(outcome.is_err(), "{what}");
    };
    refused(
        "another's request",
        "spiffe://cluster.local/ns/default/sa/ratings",
        &request.csr_pem,
    );
    refused(
        "another trust domain",
        "spiffe://other/ns/default/sa/reviews",
        &request.csr_pem,
    );
    refused("no request", REVIEWS, "-----BEGIN CERTIFICATE REQUEST-----");
    refused("too long", REVIEWS, &"x".repeat(20_000));
    let mut greedy = leaf(vec![uri(REVIEWS)]);
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    refused(
        "asks to be a CA",
        REVIEWS,
        &greedy.serialize_request(&key).unwrap().pem().unwrap(),
    );

    let long = authority
        .sign(
            &request.csr_pem,
            &id,
            Some(Duration::from_secs(u64::from(u32::MAX))),
            now,
        )
        .unwrap();
    assert!(long.not_after <= now + DAY * 90 && long.not_after <= authority.not_after());
    let kept = CertificateAuthority::load(
        authority.certificate_pem(),
        &authority.key_pem(),
        "cluster.local",
        now,
    );
    assert_eq!(kept.unwrap().certificate(), authority.certificate());
    let mixed = CertificateAuthority::load(
        authority.certificate_pem(),
        &KeyPair::generate().unwrap().serialize_pem(),
        "cluster.local",
        now,
    );
    assert!(mixed.unwrap_err().to_string().contains("backup"));
}

fn identity(authority: &CertificateAuthority, id: &str) -> Identity {
    let id = SpiffeId::parse(id).unwrap();
    let request = CertificateRequest::create(&id).unwrap();
    let signed = authority
        .sign(&request.csr_pem, &id, None, SystemTime::now())
        .unwrap();
    Identity::from_pem(
        &signed.chain.concat(),
        &request.key_pem,
        authority.certificate_pem(),
    )
    .unwrap()
}

/// A handshake in memory; answers who each side sees and how it was made.
fn handshake(
    server: &Arc<rustls::ServerConfig>,
    client: &Arc<rustls::ClientConfig>,
) -> Result<(Option<SpiffeId>, Option<SpiffeId>, HandshakeKind), rustls::Error> {
    let name = ServerName::try_from("outbound_.9080_._.reviews.default.svc.cluster.local").unwrap();
    let mut ours = rustls::ClientConnection::new(Arc::clone(client), name)?;
    let mut theirs = rustls::ServerConnection::new(Arc::clone(server))?;
    for _ in 0..8 {
        let mut bytes = Vec::new();
        while ours.wants_write() {
            ours.write_tls(&mut bytes).unwrap();
        }
        theirs.read_tls(&mut bytes.as_slice()).unwrap();
        theirs.process_new_packets()?;
        let mut bytes = Vec::new();
        while theirs.wants_write() {
            theirs.write_tls(&mut bytes).unwrap();
        }
        ours.read_tls(&mut bytes.as_slice()).unwrap();
        ours.process_new_packets()?;
    }
    Ok((
        peer_identity(ours.peer_certificates()),
        peer_identity(theirs.peer_certificates()),
        theirs.handshake_kind().unwrap(),
    ))
}

#[test]
fn mutual_tls_resumes_within_one_identity_only() {
    let authority = CertificateAuthority::create("cluster.local", SystemTime::now()).unwrap();
    let reviews = identity(&authority, REVIEWS);
    let productpage = identity(&authority, "spiffe://cluster.local/ns/default/sa/productpage");
    let inbound = DownstreamTls {
        certificates: vec![CertificateSource::Workload],
        validation: PeerValidation {
            roots: RootSource::Mesh,
            subject_alt_names: Vec::new(),
        },
        require_client_certificate: true,
        alpn: vec!["istio".into(), "h2".into()],
    };
    let outbound = |expected: &str| UpstreamTls {
        sni: None,
        alpn: vec!["istio".into()],
        certificate: CertificateSource::Workload,
        validation: PeerValidation {
            roots: RootSource::Mesh,
            subject_alt_names: vec![expected.to_owned()],
        },
    };
    let server = Arc::new(config::server(&inbound, Some(&reviews)).unwrap());
    let client = Arc::new(config::client(&outbound(REVIEWS), Some(&productpage)).unwrap());
    let (server_seen, client_seen, kind) = handshake(&server, &client).unwrap();
    assert_eq!(server_seen.as_ref(), Some(&reviews.id));
    assert_eq!(client_seen.as_ref(), Some(&productpage.id));
    assert_eq!(kind, HandshakeKind::Full);
    let (_, again, kind) = handshake(&server, &client).unwrap();
    assert_eq!(
        (again.as_ref(), kind),
        (Some(&productpage.id), HandshakeKind::Resumed)
    );

    // After a rotation, on either side, nothing of the old identity is resumed.
    let rotated = Arc::new(config::client(&outbound(REVIEWS), Some(&productpage)).unwrap());
    assert_eq!(handshake(&server, &rotated).unwrap().2, HandshakeKind::Full);
    let rotated = Arc::new(config::server(&inbound, Some(&identity(&authority, REVIEWS))).unwrap());
    assert_eq!(handshake(&rotated, &client).unwrap().2, HandshakeKind::Full);

    let wrong = outbound("spiffe://cluster.local/ns/default/sa/ratings");
    let wrong = Arc::new(config::client(&wrong, Some(&productpage)).unwrap());
    assert!(handshake(&server, &wrong).is_err(), "another service answers");
    let nobody = UpstreamTls {
        certificate: CertificateSource::None,
        ..outbound(REVIEWS)
    };
    let nobody = Arc::new(config::client(&nobody, Some(&productpage)).unwrap());
    assert!(
        handshake(&server, &nobody).is_err(),
        "a client without certificate"
    );
    assert!(
        config::server(&inbound, None)
            .unwrap_err()
            .to_string()
            .contains("no certificate yet")
    );
}
