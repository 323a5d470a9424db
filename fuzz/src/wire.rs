//! Entries for what comes over the network to a proxy.

use std::time::{Duration, SystemTime};

use mesh_model::identity::SpiffeId;
use mesh_model::path::{Normalized, normalize};
use mesh_model::token::{TokenRule, TokenRules};
use mesh_tls::{CertificateAuthority, CertificateRequest};
use mesh_xds::discovery::{DeltaDiscoveryResponse, Resource};
use prost::Message as _;
use sightline_proxy::codec::authority::authority_is_good;
use sightline_proxy::codec::chunked::{BodyReader, Step};
use sightline_proxy::codec::head::{
    Framing, Method, Request, RequestRules, Response, parse_request, parse_response,
};
use sightline_proxy::codec::write;
use sightline_proxy::discovery::state::{Kind, State};
use sightline_proxy::runtime::NodeKind;

use crate::mutate::Target;

// Told by its path, because the quick tests of the proxy load this file from elsewhere.
#[path = "wire/seeds.rs"]
mod seeds;

/// All of them.
pub const TARGETS: &[Target] = &[
    Target {
        name: "http1_request",
        run: http1_request,
        seeds: seeds::requests,
    },
    Target {
        name: "http1_hyper",
        run: http1_hyper,
        seeds: seeds::requests,
    },
    Target {
        name: "http1_response",
        run: http1_response,
        seeds: seeds::responses,
    },
    Target {
        name: "http1_chunks",
        run: http1_chunks,
        seeds: seeds::chunks,
    },
    Target {
        name: "authority",
        run: authority,
        seeds: seeds::authorities,
    },
    Target {
        name: "path",
        run: path,
        seeds: seeds::paths,
    },
    Target {
        name: "san",
        run: san,
        seeds: seeds::certificates,
    },
    Target {
        name: "csr",
        run: csr,
        seeds: seeds::signing_requests,
    },
    Target {
        name: "jwt",
        run: jwt,
        seeds: seeds::tokens,
    },
    Target {
        name: "peer_metadata",
        run: peer_metadata,
        seeds: seeds::peers,
    },
    Target {
        name: "discovery",
        run: discovery,
        seeds: seeds::discoveries,
    },
    Target {
        name: "xds",
        run: xds,
        seeds: seeds::resources,
    },
    Target {
        name: "bootstrap",
        run: bootstrap,
        seeds: seeds::bootstraps,
    },
    Target {
        name: "telemetry",
        run: telemetry,
        seeds: seeds::exports,
    },
];

const LIMITS: RequestRules = RequestRules {
    kind: NodeKind::Edge,
    head_max: 60 * 1024,
    fields_max: 100,
    http_10: true,
};

/// What we take, `httparse` takes in the same way; what we write of it, we read again as the same request.
pub fn http1_request(data: &[u8]) {
    for kind in [NodeKind::Edge, NodeKind::Sidecar] {
        let rules = RequestRules { kind, ..LIMITS };
        let mut ours = Request::default();
        let Ok(Some(used)) = parse_request(data, &rules, &mut ours) else {
            continue;
        };
        let mut fields = [httparse::EMPTY_HEADER; 256];
        let mut theirs = httparse::Request::new(&mut fields);
        assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(used)));
        assert_eq!(theirs.method.unwrap_or_default().as_bytes(), ours.method_bytes());
        for bytes in [ours.method_bytes(), ours.target_bytes(), ours.authority_bytes()] {
            assert!(
                !bytes.iter().any(|b| matches!(b, 0 | b'\r' | b'\n' | b' ')),
                "{bytes:?}"
            );
        }
        let mut written = Vec::new();
        write::request_head(&mut written, &ours, &write::Extras::default(), false);
        let mut again = Request::default();
        let read = parse_request(&written, &rules, &mut again);
        assert_eq!(read, Ok(Some(written.len())), "{}", written.escape_ascii());
        assert_eq!(again.method_bytes(), ours.method_bytes());
        assert_eq!(again.target_bytes(), ours.target_bytes());
        assert_eq!(again.authority_bytes(), ours.authority_bytes());
        assert_eq!(again.framing, ours.framing);
    }
}

/// The whole first message, if it is complete: head and body.
fn first_message(data: &[u8]) -> Option<(Request, Vec<u8>)> {
    let mut request = Request::default();
    let used = parse_request(data, &LIMITS, &mut request).ok()??;
    let body = read_body(request.framing, [data.get(used..)?].into_iter())??;
    Some((request, body))
}

/// The body in these pieces: `None` = broken, `Some(None)` = not complete.
fn read_body<'a>(framing: Framing, pieces: impl Iterator<Item = &'a [u8]>) -> Option<Option<Vec<u8>>> {
    let mut reader = BodyReader::new(framing);
    let (mut waiting, mut body) = (Vec::new(), Vec::new());
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            let (skip, data, more) = match reader.step(&waiting).ok()? {
                Step::Data { skip, data } => (skip, data, true),
                Step::End { .. } => return Some(Some(body)),
                Step::More { skip } => (skip, 0, false),
            };
            body.extend_from_slice(&waiting[skip..skip + data]);
            waiting.drain(..skip + data);
            reader.took(data);
            if !more {
                break;
            }
        }
    }
    Some(None)
}

/// A message that we take whole is the same message for hyper, or none.
pub fn http1_hyper(data: &[u8]) {
    let Some((ours, body)) = first_message(data) else {
        return;
    };
    if ours.kind == Method::Connect {
        return;
    }
    let Some((method, target, theirs)) = hyper_reads(data) else {
        return;
    };
    assert_eq!(method.as_bytes(), ours.method_bytes());
    // A target without a path has the path `/`.
    let target = if target.starts_with('?') {
        format!("/{target}")
    } else {
        target
    };
    assert_eq!(target.as_bytes(), ours.target_bytes());
    assert_eq!(theirs, body, "bodies of {}", data.escape_ascii());
}

/// Method, target and body of the first message as hyper reads them.
fn hyper_reads(data: &[u8]) -> Option<(String, String, Vec<u8>)> {
    use http_body_util::BodyExt as _;
    use tokio::io::AsyncWriteExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread().build().ok()?;
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(data.len() + 64 * 1024);
        client.write_all(data).await.ok()?;
        client.shutdown().await.ok()?;
        let first = std::cell::RefCell::new(None);
        let service = hyper::service::service_fn(|request: hyper::Request<hyper::body::Incoming>| {
            let first = &first;
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await?.to_bytes().to_vec();
                let uri = head.uri.path_and_query().map_or("/", |target| target.as_str());
                first
                    .borrow_mut()
                    .get_or_insert((head.method.to_string(), uri.to_owned(), body));
                Ok::<_, hyper::Error>(hyper::Response::new(String::new()))
            }
        });
        let io = hyper_util::rt::TokioIo::new(server);
        let _ = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(io, service)
            .await;
        first.into_inner()
    })
}

/// A response head ends inside its input, and a longer input does not change it.
pub fn http1_response(data: &[u8]) {
    for kind in [Method::Other, Method::Head, Method::Connect] {
        let mut one = Response::default();
        if let Ok(Some(used)) = parse_response(data, kind, 128 * 1024, &mut one) {
            assert!(used <= data.len());
            let mut two = Response::default();
            assert_eq!(
                parse_response(&data[..used], kind, 128 * 1024, &mut two).ok(),
                Some(Some(used))
            );
            assert_eq!((one.status, one.framing), (two.status, two.framing));
        }
    }
}

/// A chunked body is the same however its bytes arrive.
pub fn http1_chunks(data: &[u8]) {
    let Some((size, data)) = data.split_first() else {
        return;
    };
    let whole = read_body(Framing::Chunked, [data].into_iter());
    let cut = read_body(Framing::Chunked, data.chunks(usize::from(*size % 17) + 1));
    // A break that comes behind the end of the body is not seen when the end is.
    assert_eq!(whole, cut);
}

/// An authority that is taken names one host and does not end a line.
pub fn authority(data: &[u8]) {
    for edge in [true, false] {
        if authority_is_good(data, edge) {
            assert!(
                !data
                    .iter()
                    .any(|b| matches!(b, 0..=32 | 127 | b'/' | b'@' | b'?' | b'#')),
                "{data:?}"
            );
        }
    }
}

/// A normalised path is normal, has no dot segments, and the query is what it was.
pub fn path(data: &[u8]) {
    for merge in [false, true] {
        let Normalized::Changed(once) = normalize(data, merge) else {
            continue;
        };
        assert_eq!(
            normalize(&once, merge),
            Normalized::Same,
            "{}",
            once.escape_ascii()
        );
        let path = once.split(|b| *b == b'?').next().unwrap_or_default();
        assert!(
            !path
                .split(|b| *b == b'/')
                .any(|part| part == b"." || part == b"..")
        );
        let query = |all: &[u8]| all.iter().position(|b| *b == b'?').map(|at| all[at..].to_vec());
        assert_eq!(query(&once), query(data));
    }
}

/// An identity is read from a certificate in one way, and is written as it was read.
pub fn san(data: &[u8]) {
    let certificate = rustls_pki_types::CertificateDer::from(data.to_vec());
    if let Some(id) = sightline_proxy::secure::spiffe_id_of(&[certificate]) {
        assert!(SpiffeId::parse(&id).is_some_and(|again| again.to_string() == id));
    }
    if let Ok(text) = std::str::from_utf8(data)
        && let Some(id) = SpiffeId::parse(text)
    {
        assert_eq!(id.to_string(), text);
    }
}

fn authority_of_tests() -> &'static CertificateAuthority {
    static AUTHORITY: std::sync::OnceLock<CertificateAuthority> = std::sync::OnceLock::new();
    AUTHORITY.get_or_init(|| CertificateAuthority::create("cluster.local", now()).expect("authority"))
}

fn workload() -> SpiffeId {
    SpiffeId::parse("spiffe://cluster.local/ns/default/sa/web").expect("identity")
}

fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)
}

/// Whatever a request says, what is signed names the caller alone.
pub fn csr(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(signed) = authority_of_tests().sign(text, &workload(), None, now()) else {
        return;
    };
    let pem = signed.chain.first().expect("a leaf");
    let leaf =
        <rustls_pki_types::CertificateDer<'static> as rustls_pki_types::pem::PemObject>::from_pem_slice(
            pem.as_bytes(),
        );
    let named = sightline_proxy::secure::spiffe_id_of(&[leaf.expect("PEM")]);
    assert_eq!(named, Some(workload().to_string()));
}

const SECRET: &[u8] = b"a secret of thirty-two bytes, ok";

fn token_rules() -> &'static TokenRules {
    static RULES: std::sync::OnceLock<TokenRules> = std::sync::OnceLock::new();
    RULES.get_or_init(|| {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(SECRET);
        let rule = TokenRule {
            name: "origins-0".into(),
            issuer: "me".into(),
            jwks: format!(r#"{{"keys":[{{"kty":"oct","k":"{key}","alg":"HS256"}}]}}"#),
            headers: vec![("authorization".into(), "Bearer ".into())],
            ..TokenRule::default()
        };
        TokenRules { rules: vec![rule] }
    })
}

fn good_token() -> String {
    let claims = serde_json::json!({"iss": "me", "exp": 1_890_000_000_u64});
    let header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    jsonwebtoken::encode(&header, &claims, &jsonwebtoken::EncodingKey::from_secret(SECRET)).expect("token")
}

/// No token but the one that was signed is believed.
pub fn jwt(data: &[u8]) {
    static GOOD: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let good = GOOD.get_or_init(good_token);
    if data.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
        return;
    }
    let mut request = Request::default();
    request.set_target(b"/");
    request
        .fields
        .push(b"authorization", &[b"Bearer ", data].concat());
    if sightline_proxy::token_passes(token_rules(), &mut request, now()) == Ok(true) {
        let text = String::from_utf8_lossy(data);
        // Padding and space around it do not change what is signed.
        let bare: String = text
            .chars()
            .filter(|c| *c != '=' && *c != ' ' && *c != '\t')
            .collect();
        assert!(bare.split([',']).any(|part| part == good), "{text:?}");
    }
}

/// Metadata of a peer is read or not; what is read is written and read again as the same.
pub fn peer_metadata(data: &[u8]) {
    use sightline_proxy::metadata::{encode_header, read_metadata, write_metadata};
    if let Some(workload) = read_metadata(data) {
        let header = encode_header(&write_metadata(&workload));
        assert!(header.is_ascii());
        assert_eq!(read_metadata(header.as_bytes()), Some(workload));
    }
}

/// A refused response changes nothing.
pub fn discovery(data: &[u8]) {
    let Ok(response) = DeltaDiscoveryResponse::decode(data) else {
        return;
    };
    for kind in Kind::ALL {
        let mut state = State::default();
        let taken = state.receive(kind, &response).is_ok();
        assert!(taken || state.resources().is_empty());
        let _ = (
            state.missing(),
            state.snapshot(&mesh_model::snapshot::Snapshot::default()),
        );
    }
}

/// Every resource type: what is decoded is encoded and decoded again as the same.
pub fn xds(data: &[u8]) {
    let any = |type_url: &str| mesh_xds::Any {
        type_url: type_url.to_owned(),
        value: data.to_vec(),
    };
    if let Ok(decoded) = mesh_xds::decode::listener(&any(mesh_xds::TYPE_LISTENER)) {
        let again = mesh_xds::decode::listener(&mesh_xds::encode::listener(&decoded));
        assert!(again.is_ok(), "{again:?}");
    }
    if let Ok(decoded) = mesh_xds::decode::route_table(&any(mesh_xds::TYPE_ROUTE)) {
        let again = mesh_xds::decode::route_table(&mesh_xds::encode::route_table(&decoded));
        assert!(again.is_ok(), "{again:?}");
    }
    if let Ok(decoded) = mesh_xds::decode::cluster(&any(mesh_xds::TYPE_CLUSTER)) {
        let again = mesh_xds::decode::cluster(&mesh_xds::encode::cluster(&decoded));
        assert!(again.is_ok(), "{again:?}");
    }
    let _ = mesh_xds::decode::endpoints(&any(mesh_xds::TYPE_ENDPOINTS));
}

/// A bootstrap is read or refused.
pub fn bootstrap(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = mesh_xds::bootstrap::parse(text);
    }
}

/// Exports are read or refused.
pub fn telemetry(data: &[u8]) {
    use mesh_telemetry::otlp;
    use opentelemetry_proto::tonic::collector::{logs, metrics, trace};
    if let Ok(request) = metrics::v1::ExportMetricsServiceRequest::decode(data) {
        let _ = otlp::decode(&request, "proxy", 1, 1);
    }
    if let Ok(request) = trace::v1::ExportTraceServiceRequest::decode(data) {
        let _ = otlp::decode_spans(&request, "proxy");
    }
    if let Ok(request) = logs::v1::ExportLogsServiceRequest::decode(data) {
        let _ = otlp::decode_requests(&request, "proxy");
    }
}
