//! Authorization services: asked about a request before tokens and policies. Without an answer it is refused, unless
//! the provider says otherwise.

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Poll, ready};

use mesh_model::authorization::{CheckBody, External};
use mesh_model::flags::ResponseFlags;
use mesh_xds::external::{Header, Verdict};

use super::admit;
use crate::call::Call;
use crate::codec::fields::Id;
use crate::codec::head::Framing;
use crate::codec::write::is_framing;
use crate::compile::ClusterEntry;
use crate::http::Client;
use crate::refusal::Refusal;
use crate::wire::{Failure, Next};

mod question;

/// A service that is asked.
pub(crate) struct Asking {
    config: External,
    cluster: Option<Arc<ClusterEntry>>,
    /// For each rule, and then for questions without rules: consented and refused.
    counters: Vec<[Arc<AtomicU64>; 2]>,
}

impl Asking {
    /// `cluster` `None` = there is no such service: nobody answers.
    pub(crate) fn new(config: &External, cluster: Option<Arc<ClusterEntry>>) -> Self {
        let names = config.when.iter().flatten().map(|rule| rule.name.as_str());
        let counters = names
            .chain([""])
            .map(|name| ["allowed", "denied"].map(|decision| admit::counter(name, "CUSTOM", decision, false)))
            .collect();
        Self {
            config: config.clone(),
            cluster,
            counters,
        }
    }

    fn count(&self, rule: Option<usize>, denied: bool) {
        let of = rule.map_or(self.counters.last(), |rule| self.counters.get(rule));
        if let Some([allowed, refused]) = of {
            let counter = if denied { refused } else { allowed };
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a service answered.
pub(crate) struct Answer {
    pub(crate) verdict: Verdict,
    /// Body of a refusal over HTTP, which need not be text.
    pub(crate) body: Vec<u8>,
}

/// Whether the rule is chosen before services are asked.
pub(crate) fn keeps_route(call: &Call) -> bool {
    // A verified token may choose another rule.
    if call.context.http.tokens.is_some() {
        return false;
    }
    let asked = &call.context.http.external;
    !asked.is_empty() && asked.iter().all(|asking| !asking.config.clear_route_cache)
}

/// Asks all services about the request.
pub(crate) async fn ask<C: Client>(call: &mut Call, client: &mut C) -> Result<(), Refusal> {
    if call.context.http.external.is_empty() {
        return Ok(());
    }
    let context = Rc::clone(&call.context);
    for asking in &context.http.external {
        let rule = asking.config.asks(&admit::facts(call, None));
        let Some(rule) = rule else { continue };
        if let Some(body) = asking.config.body {
            read_body(call, client, body).await?;
        }
        let asked = question::ask(call, asking, &context.worker);
        let answer = {
            let mut asked = std::pin::pin!(tokio::time::timeout(asking.config.timeout, asked));
            poll_fn(|cx| {
                if let Poll::Ready(answer) = asked.as_mut().poll(cx) {
                    return Poll::Ready(Ok(answer.ok().and_then(Result::ok)));
                }
                client.poll_gone(cx).map(|()| Err(Refusal::client_gone()))
            })
            .await?
        };
        let judged = judge(call, &asking.config, answer);
        asking.count(rule, judged.is_err());
        judged?;
    }
    Ok(())
}

/// What an answer means for the request.
fn judge(call: &mut Call, config: &External, answer: Option<Answer>) -> Result<(), Refusal> {
    let Some(answer) = answer else {
        tracing::debug!(provider = %config.provider, "no answer from the authorization service");
        return if config.fail_open {
            Ok(())
        } else {
            let flag = ResponseFlags::UNAUTHORIZED_EXTERNAL;
            Err(Refusal::new(config.status_on_error, flag, "ext_authz_error"))
        };
    };
    match answer.verdict {
        Verdict::Allow {
            headers,
            remove,
            response_headers,
        } => {
            let fields = &mut call.heads.request.fields;
            for name in remove.iter().filter(|name| may_change(name)) {
                fields.remove_named(name.as_bytes());
            }
            for header in headers.iter().filter(|header| may_change(&header.name)) {
                if header.append {
                    fields.push(header.name.as_bytes(), &safe(&header.value));
                } else {
                    fields.set_named(header.name.as_bytes(), &safe(&header.value));
                }
            }
            call.extra.extend(for_client(response_headers));
            Ok(())
        }
        Verdict::Deny {
            status,
            headers,
            body,
        } => {
            let flag = ResponseFlags::UNAUTHORIZED_EXTERNAL;
            let mut refusal = Refusal::new(status, flag, "ext_authz_denied");
            refusal.headers = for_client(headers).collect();
            let body = if body.is_empty() {
                answer.body
            } else {
                body.into_bytes()
            };
            Err(refusal.with_body(String::from_utf8_lossy(&body).into_owned()))
        }
    }
}

fn for_client(headers: Vec<Header>) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    headers
        .into_iter()
        .filter(|header| may_change(&header.name))
        .map(|header| (header.name.into_bytes(), safe(&header.value)))
}

/// Framing, routing and the connection are not the service's business.
fn may_change(name: &str) -> bool {
    let id = Id::of(name.to_ascii_lowercase().as_bytes());
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty()
        && name.bytes().all(token)
        && !is_framing(id)
        && !matches!(id, Id::Host | Id::Upgrade | Id::Te | Id::Trailer)
}

/// No line breaks in values.
fn safe(value: &[u8]) -> Vec<u8> {
    value
        .iter()
        .copied()
        .filter(|b| *b == b'\t' || (0x20..0x7f).contains(b) || *b >= 0x80)
        .collect()
}

/// Reads the body as far as it is shown.
async fn read_body<C: Client>(call: &mut Call, client: &mut C, body: CheckBody) -> Result<(), Refusal> {
    let most = usize::try_from(body.max_bytes).unwrap_or(usize::MAX);
    let read = &mut call.read;
    // A request without a body has no end to wait for.
    if call.heads.request.framing == Framing::None {
        return Ok(());
    }
    let read_all = poll_fn(|cx| {
        while read.len() < most {
            match ready!(client.poll_next(cx)) {
                Ok(Next::Data) => {
                    let data = client.data();
                    let n = data.len().min(most - read.len());
                    read.extend_from_slice(data.get(..n).unwrap_or_default());
                    client.consume(n);
                }
                Ok(Next::End) => return Poll::Ready(Ok(true)),
                Err(Failure::Protocol) => return Poll::Ready(Err(Refusal::broken_body())),
                Err(_) => return Poll::Ready(Err(Refusal::client_gone())),
            }
        }
        // Exactly so many bytes are not too many.
        match ready!(client.poll_next(cx)) {
            Ok(Next::End) => Poll::Ready(Ok(true)),
            Ok(Next::Data) => Poll::Ready(Ok(client.data().is_empty())),
            Err(Failure::Protocol) => Poll::Ready(Err(Refusal::broken_body())),
            Err(_) => Poll::Ready(Err(Refusal::client_gone())),
        }
    })
    .await?;
    call.read_in_part = !read_all;
    if read_all || body.allow_partial {
        return Ok(());
    }
    let mut refusal =
        Refusal::new(413, ResponseFlags::NONE, "request_payload_too_large").with_body("Payload Too Large");
    refusal.close = true;
    Err(refusal)
}
