//! Requests and spans as bytes.

use std::collections::HashMap;

use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::record::{KeptReason, KeptRequest, Span, SpanId, SpanKind, TraceId};
use mesh_model::workload::Workload;

use crate::block::{self, Input, damaged, put};
use crate::history::Error;

const REQUEST: u8 = 1;
const SPAN: u8 = 1;
const LEVEL: i32 = 3;
/// A span that says it is larger is damaged.
const MOST: usize = 1 << 20;

/// Texts that most spans share: a span is small, and compresses well only against something known. Part of format 1.
const SHARED: &[u8] = b"Kubernetes unknown outbound|9080||.default.svc.cluster.local:9080/* inbound|9080|| \
component proxy node_id sidecar~127.64.0.2~-.default~default.svc.cluster.local router~ guid:x-request-id \
http.url http:// http.method GET POST PUT DELETE downstream_cluster user_agent curl/ Mozilla/5.0 http.protocol \
HTTP/1.1 HTTP/2 peer.address 127.64. request_size 0 response_size http.status_code 200 404 500 503 grpc.status_code \
error true response_flags - upstream_cluster upstream_cluster.name outbound|80|| istio.mesh_id cluster.local \
istio.namespace default istio.canonical_service istio.canonical_revision latest v1 v2 v3 istio.cluster_id Kubernetes \
sightline.virtual_service default/ sightline.route sightline.match sightline.revision";

pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn put_key(out: &mut Vec<u8>, key: &SeriesKey) {
    let bytes = block::encode(&[(key, &SeriesDelta::default())]);
    put(out, bytes.len() as u64);
    out.extend_from_slice(&bytes);
}

/// Keys that have been read, by their bytes: most requests are of few series.
pub(crate) type KnownKeys = HashMap<Vec<u8>, SeriesKey>;

fn key(input: &mut Input<'_>, known: &mut KnownKeys) -> Result<SeriesKey, Error> {
    let length = input.length()?;
    let bytes = input.bytes(length)?;
    if let Some(key) = known.get(bytes) {
        return Ok(key.clone());
    }
    let first = block::decode(bytes)?.into_iter().next();
    let (key, _) = first.ok_or_else(|| damaged("series of a request"))?;
    known.insert(bytes.to_vec(), key.clone());
    Ok(key)
}

pub(crate) fn reason(code: u64) -> Result<KeptReason, Error> {
    let place = usize::try_from(code).ok();
    let reason = place.and_then(|place| KeptReason::ALL.get(place));
    reason.copied().ok_or_else(|| damaged("reason"))
}

pub(crate) fn reason_code(reason: KeptReason) -> u8 {
    match reason {
        KeptReason::Error => 0,
        KeptReason::Slow => 1,
        KeptReason::Sample => 2,
    }
}

fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, Error> {
    T::try_from(value).map_err(|_| damaged("number"))
}

fn pairs(input: &mut Input<'_>) -> Result<Vec<(String, String)>, Error> {
    (0..input.length()?)
        .map(|_| Ok((input.text()?, input.text()?)))
        .collect()
}

fn put_pairs(out: &mut Vec<u8>, pairs: &[(String, String)]) {
    put(out, pairs.len() as u64);
    for (name, value) in pairs {
        put_text(out, name);
        put_text(out, value);
    }
}

/// A request without its names, for the table of fresh ones.
pub(crate) fn encode_request(request: &KeptRequest) -> Vec<u8> {
    let mut out = vec![REQUEST];
    put(&mut out, request.started_ns);
    put(&mut out, request.duration_ns);
    put(&mut out, u64::from(reason_code(request.reason)));
    put_key(&mut out, &request.key);
    for text in [
        &request.method,
        &request.authority,
        &request.path,
        &request.user_agent,
        &request.details,
        &request.upstream_host,
        &request.request_id,
    ] {
        put_text(&mut out, text);
    }
    put_rest(&mut out, request);
    out
}

/// Reads [`encode_request`].
pub(crate) fn decode_request(
    trace: &[u8],
    span: &[u8],
    bytes: &[u8],
    known: &mut KnownKeys,
) -> Result<KeptRequest, Error> {
    let mut input = Input(bytes);
    if input.byte()? != REQUEST {
        return Err(damaged("unknown version of a request"));
    }
    let mut request = KeptRequest {
        trace_id: trace_id(trace)?,
        span_id: span_id(span)?,
        started_ns: input.number()?,
        duration_ns: input.number()?,
        reason: reason(input.number()?)?,
        key: key(&mut input, known)?,
        method: input.text()?,
        authority: input.text()?,
        path: input.text()?,
        user_agent: input.text()?,
        details: input.text()?,
        upstream_host: input.text()?,
        request_id: input.text()?,
        proxy: String::new(),
        http_version: String::new(),
        upstream_cluster: String::new(),
        downstream_remote: String::new(),
        attempts: 0,
        request_bytes: 0,
        response_bytes: 0,
        headers: Vec::new(),
    };
    read_rest(&mut input, &mut request)?;
    Ok(request)
}

/// What no search looks at.
pub(crate) fn put_rest(out: &mut Vec<u8>, request: &KeptRequest) {
    for text in [
        &request.proxy,
        &request.http_version,
        &request.upstream_cluster,
        &request.downstream_remote,
    ] {
        put_text(out, text);
    }
    put(out, u64::from(request.attempts));
    put(out, request.request_bytes);
    put(out, request.response_bytes);
    put_pairs(out, &request.headers);
}

/// Reads [`put_rest`].
pub(crate) fn read_rest(input: &mut Input<'_>, request: &mut KeptRequest) -> Result<(), Error> {
    request.proxy = input.text()?;
    request.http_version = input.text()?;
    request.upstream_cluster = input.text()?;
    request.downstream_remote = input.text()?;
    request.attempts = narrow(input.number()?)?;
    request.request_bytes = input.number()?;
    request.response_bytes = input.number()?;
    request.headers = pairs(input)?;
    Ok(())
}

pub(crate) fn trace_id(bytes: &[u8]) -> Result<TraceId, Error> {
    bytes.try_into().map(TraceId).map_err(|_| damaged("trace id"))
}

pub(crate) fn span_id(bytes: &[u8]) -> Result<SpanId, Error> {
    bytes.try_into().map(SpanId).map_err(|_| damaged("span id"))
}

/// Packs spans.
pub(crate) struct Packer(zstd::bulk::Compressor<'static>);

impl Packer {
    pub(crate) fn new() -> Result<Self, Error> {
        zstd::bulk::Compressor::with_dictionary(LEVEL, SHARED)
            .map(Self)
            .map_err(|e| Error::Damaged(e.to_string()))
    }

    /// A span without its names.
    pub(crate) fn span(&mut self, span: &Span) -> Result<Vec<u8>, Error> {
        let mut plain = vec![SPAN];
        put_span(&mut plain, span);
        self.0.compress(&plain).map_err(|e| Error::Damaged(e.to_string()))
    }
}

fn put_span(out: &mut Vec<u8>, span: &Span) {
    let flag = |flag: bool, bit: u64| if flag { bit } else { 0 };
    let flags = flag(span.parent.is_some(), 1)
        | flag(span.kind == SpanKind::Client, 2)
        | flag(span.error, 4)
        | flag(span.sampled, 8);
    put(out, flags);
    if let Some(SpanId(parent)) = &span.parent {
        out.extend_from_slice(parent);
    }
    put(out, span.started_ns);
    put(out, span.duration_ns);
    put_text(out, &span.name);
    put_text(out, &span.proxy);
    let Workload {
        namespace,
        name,
        app,
        version,
        cluster,
    } = &span.workload;
    for text in [namespace, name, app, version, cluster] {
        put_text(out, text);
    }
    put_pairs(out, &span.attributes);
}

/// Reads packed spans.
pub(crate) struct Unpacker(zstd::bulk::Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> Result<Self, Error> {
        zstd::bulk::Decompressor::with_dictionary(SHARED)
            .map(Self)
            .map_err(|e| Error::Damaged(e.to_string()))
    }

    /// Reads [`Packer::span`].
    pub(crate) fn span(&mut self, trace: &[u8], span: &[u8], bytes: &[u8]) -> Result<Span, Error> {
        let size = zstd::zstd_safe::get_frame_content_size(bytes).ok().flatten();
        let size = size.and_then(|size| usize::try_from(size).ok()).unwrap_or(MOST);
        let plain = self
            .0
            .decompress(bytes, size.min(MOST))
            .map_err(|e| Error::Damaged(e.to_string()))?;
        let mut input = Input(&plain);
        if input.byte()? != SPAN {
            return Err(damaged("unknown version of a span"));
        }
        let flags = input.number()?;
        let has = |bit: u64| flags & bit != 0;
        Ok(Span {
            trace_id: trace_id(trace)?,
            span_id: span_id(span)?,
            parent: has(1).then(|| span_id(input.bytes(8)?)).transpose()?,
            kind: if has(2) {
                SpanKind::Client
            } else {
                SpanKind::Server
            },
            error: has(4),
            sampled: has(8),
            started_ns: input.number()?,
            duration_ns: input.number()?,
            name: input.text()?,
            proxy: input.text()?,
            workload: Workload {
                namespace: input.text()?,
                name: input.text()?,
                app: input.text()?,
                version: input.text()?,
                cluster: input.text()?,
            },
            attributes: pairs(&mut input)?,
        })
    }
}
