//! The question itself, over HTTP or gRPC.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::SystemTime;

use mesh_model::authorization::{CheckProtocol, External, HttpCheck};
use mesh_model::cluster::UpstreamProtocol;
use mesh_model::matching::StringMatch;
use mesh_model::request::RequestView as _;
use mesh_xds::external::{CHECK_PATH, Header, Question, Verdict};

use super::{Answer, Asking};
use crate::call::Call;
use crate::codec::fields::{Fields, Id};
use crate::codec::head::{Framing, Request, Response};
use crate::codec::write::Extras;
use crate::compile::ClusterEntry;
use crate::upstream::Upstream;
use crate::wire::{Failure, Next, Sink as _, Source as _};
use crate::worker::Worker;
use crate::{dial, pick};

/// Longest body of an answer that is passed on.
const ANSWER_MAX: usize = 64 * 1024;
/// A connection may have been closed while it was idle: a question has no effect, so it is asked once more.
const TRIES: u32 = 2;

/// Asks, once more if the connection was gone.
pub(super) async fn ask(call: &Call, asking: &Asking, worker: &Worker) -> Result<Answer, Failure> {
    let cluster = asking.cluster.as_ref().ok_or(Failure::Reset)?;
    let mut tries = 0;
    loop {
        tries += 1;
        let asked = match &asking.config.protocol {
            CheckProtocol::Http(http) => over_http(call, &asking.config, http, cluster, worker).await,
            CheckProtocol::Grpc { authority } => {
                over_grpc(call, &asking.config, authority, cluster, worker).await
            }
        };
        match asked {
            Err(Failure::Closed) if tries < TRIES => {}
            asked => return asked,
        }
    }
}

/// Whether a list names a header.
fn admits(list: &[StringMatch], name: &[u8]) -> bool {
    list.iter().any(|pattern| pattern.matches(name))
}

async fn over_http(
    call: &Call,
    config: &External,
    http: &HttpCheck,
    cluster: &Arc<ClusterEntry>,
    worker: &Worker,
) -> Result<Answer, Failure> {
    let original = &*call.heads.request;
    let mut request = Request::default();
    request.method = request.fields.store(original.method_bytes());
    request.set_authority(original.authority_bytes());
    let mut target = http.path_prefix.clone().into_bytes();
    target.extend_from_slice(original.target_bytes());
    request.set_target(&target);
    for (name, value) in original.fields.iter() {
        if name == b"authorization" || admits(&http.shown, name) {
            request.fields.push(name, value);
        }
    }
    for (name, value) in &http.add {
        request.fields.set_named(name.as_bytes(), value.as_bytes());
    }
    request.fields.push(b"x-envoy-internal", b"true");
    let limit = config.timeout.as_millis().to_string();
    let expected = b"x-envoy-expected-rq-timeout-ms";
    request.fields.push(expected, limit.as_bytes());
    let body = if config.body.is_some() {
        request
            .fields
            .push(b"x-envoy-auth-partial-body", call.partial().as_bytes());
        call.read.as_slice()
    } else {
        &[]
    };
    request.framing = Framing::Length(body.len() as u64);
    let protocol = dial::protocol(cluster, original.version);
    let (response, answer, _) = exchange(worker, cluster, protocol, request, body).await?;
    let verdict = match response.status {
        200 => Verdict::Allow {
            headers: listed(&response.fields, &http.to_upstream),
            remove: Vec::new(),
            response_headers: listed(&response.fields, &http.to_client_on_allow),
        },
        // The service failed: that is no answer.
        status if status >= 500 => return Err(Failure::Protocol),
        status => Verdict::Deny {
            status,
            headers: shown_on_deny(&response.fields, &http.to_client_on_deny),
            body: String::new(),
        },
    };
    Ok(Answer {
        verdict,
        body: answer,
    })
}

fn header(name: &[u8], value: &[u8]) -> Header {
    Header {
        name: String::from_utf8_lossy(name).into_owned(),
        value: value.to_vec(),
        append: false,
    }
}

fn listed(fields: &Fields, list: &[StringMatch]) -> Vec<Header> {
    let named = fields.iter().filter(|(name, _)| admits(list, name));
    named.map(|(name, value)| header(name, value)).collect()
}

/// All, or the listed ones with those that belong to a refusal.
fn shown_on_deny(fields: &Fields, list: &[StringMatch]) -> Vec<Header> {
    const ALWAYS: [&[u8]; 3] = [b"location", b"www-authenticate", b"content-type"];
    const NEVER: [&[u8]; 3] = [b"date", b"server", b"x-envoy-upstream-service-time"];
    fields
        .iter()
        .filter(|(name, _)| !NEVER.contains(name))
        .filter(|(name, _)| list.is_empty() || ALWAYS.contains(name) || admits(list, name))
        .map(|(name, value)| header(name, value))
        .collect()
}

async fn over_grpc(
    call: &Call,
    config: &External,
    authority: &str,
    cluster: &Arc<ClusterEntry>,
    worker: &Worker,
) -> Result<Answer, Failure> {
    let message = question(call, config).encode();
    let length = u32::try_from(message.len()).map_err(|_| Failure::Protocol)?;
    let mut body = vec![0];
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(&message);
    let mut request = Request::default();
    request.method = request.fields.store(b"POST");
    let authority = if authority.is_empty() {
        &cluster.config.name
    } else {
        authority
    };
    request.set_authority(authority.as_bytes());
    request.set_target(CHECK_PATH.as_bytes());
    request.fields.push(b"content-type", b"application/grpc");
    request.te_trailers = true;
    request.framing = Framing::Length(body.len() as u64);
    let (response, answer, trailers) =
        exchange(worker, cluster, UpstreamProtocol::Http2, request, &body).await?;
    let status = trailers
        .as_deref()
        .and_then(|trailers| trailers.get(Id::GrpcStatus))
        .or_else(|| response.fields.get(Id::GrpcStatus));
    if response.status != 200 || status != Some(b"0") {
        return Err(Failure::Protocol);
    }
    let verdict = one_message(&answer).and_then(Verdict::decode);
    Ok(Answer {
        verdict: verdict.ok_or(Failure::Protocol)?,
        body: Vec::new(),
    })
}

/// The one message of an answer, which is not compressed.
fn one_message(answer: &[u8]) -> Option<&[u8]> {
    let (head, rest) = answer.split_first_chunk::<5>()?;
    let [0, length @ ..] = *head else { return None };
    rest.get(..usize::try_from(u32::from_be_bytes(length)).ok()?)
}

fn question<'a>(call: &'a Call, config: &External) -> Question<'a> {
    let request = &*call.heads.request;
    let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).unwrap_or_default();
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut headers: Vec<(String, String)> = vec![
        (":authority".to_owned(), lossy(request.authority_bytes())),
        (":method".to_owned(), lossy(request.method_bytes())),
        (":path".to_owned(), lossy(request.target_bytes())),
        (":scheme".to_owned(), lossy(request.scheme())),
    ];
    for (name, value) in request.fields.iter() {
        let (name, value) = (lossy(name), lossy(value));
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, joined)) => {
                joined.push(',');
                joined.push_str(&value);
            }
            None => headers.push((name, value)),
        }
    }
    if config.body.is_some() {
        headers.push(("x-envoy-auth-partial-body".to_owned(), call.partial().to_owned()));
    }
    let downstream = &call.context.downstream;
    let principal = downstream.peer.as_ref();
    Question {
        id: text(request.fields.get(Id::RequestId).unwrap_or_default()),
        method: text(request.method_bytes()),
        path: text(request.target_bytes()),
        host: text(request.authority_bytes()),
        scheme: text(request.scheme()),
        protocol: request.version.as_str(),
        headers,
        body: if config.body.is_some() { &call.read } else { &[] },
        body_as_bytes: config.body.is_some_and(|body| body.as_bytes),
        size: match request.framing {
            Framing::None => 0,
            Framing::Length(length) => i64::try_from(length).unwrap_or(i64::MAX),
            Framing::Chunked | Framing::UntilClose => -1,
        },
        source: downstream.remote,
        source_principal: principal.map_or("", |peer| peer.principal.as_str()),
        destination: downstream.local,
        destination_principal: "",
        time: SystemTime::now(),
    }
}

type Exchanged = (Response, Vec<u8>, Option<Box<Fields>>);

/// One request with its whole answer.
async fn exchange(
    worker: &Worker,
    cluster: &Arc<ClusterEntry>,
    protocol: UpstreamProtocol,
    request: Request,
    body: &[u8],
) -> Result<Exchanged, Failure> {
    let endpoint = pick::pick(worker, cluster, None, &[], 0).ok_or(Failure::Reset)?;
    let ready = worker
        .pools
        .ready(cluster, &endpoint, protocol)
        .await
        .map_err(|_| Failure::Reset)?;
    let extras = Extras {
        attempt_count: None,
        metadata: (ready.facts().mutual_tls && !worker.metadata.is_empty())
            .then(|| (worker.metadata.as_slice(), worker.node.id.as_bytes())),
    };
    let mut upstream = Upstream::begin(ready, &request, &extras, false)?;
    let mut rest = body;
    poll_fn(|cx| {
        while !rest.is_empty() {
            let n = ready!(upstream.poll_push(cx, rest))?;
            rest = rest.get(n..).unwrap_or_default();
        }
        Poll::Ready(Ok::<(), Failure>(()))
    })
    .await?;
    upstream.finish(None)?;
    poll_fn(|cx| upstream.poll_flush(cx)).await?;
    let mut response = Response::default();
    poll_fn(|cx| upstream.poll_head(cx, request.kind, &mut response)).await?;
    let mut answer = Vec::new();
    while poll_fn(|cx| upstream.poll_next(cx)).await? == Next::Data {
        let data = upstream.data();
        let n = data.len();
        if answer.len() + n > ANSWER_MAX {
            // Too much to be passed on.
            return Err(Failure::Protocol);
        }
        answer.extend_from_slice(data);
        upstream.consume(n);
    }
    let trailers = upstream.trailers();
    upstream.give_back(&worker.pools, cluster, &endpoint);
    Ok((response, answer, trailers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(answer: &[u8], expected: Option<&[u8]>) {
        assert_eq!(one_message(answer), expected, "{answer:?}");
    }

    #[test]
    fn a_message_has_its_length() {
        check(b"\0\0\0\0\x02ab", Some(b"ab"));
        check(b"\0\0\0\0\0", Some(b""));
        check(b"\0\0\0\0\x03ab", None);
        check(b"\x01\0\0\0\x02ab", None);
        check(b"\0\0\0", None);
    }
}
