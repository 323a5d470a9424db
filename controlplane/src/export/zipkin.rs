//! Zipkin v2: JSON over HTTP.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use mesh_model::record::{Span, SpanKind};
use serde_json::{Map, Value, json};

use super::{ANSWER, Connector, Deliver, Failed};

/// Most bytes of a refusal that are read.
const MAX_REFUSAL: usize = 1024;

/// A collector.
pub(super) struct Zipkin {
    uri: Uri,
    client: Client<Connector, Full<Bytes>>,
}

impl Zipkin {
    pub(super) fn new(uri: Uri, connector: Connector) -> Self {
        Self {
            uri,
            client: Client::builder(TokioExecutor::new()).build(connector),
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), Failed> {
        let request = http::Request::builder()
            .method(Method::POST)
            .uri(&self.uri)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|e| Failed {
                retry: false,
                reason: e.to_string(),
            })?;
        let answer = self.client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            Failed {
                retry: true,
                reason: format!("{error}{}", cause.unwrap_or_default()),
            }
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_REFUSAL).collect().await;
        if status.is_success() {
            return Ok(());
        }
        let text = body.map(|b| String::from_utf8_lossy(&b.to_bytes()).into_owned());
        let retry = status.is_server_error()
            || matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT
            );
        Err(Failed {
            retry,
            reason: format!("{status} {}", text.unwrap_or_default())
                .trim_end()
                .to_owned(),
        })
    }
}

impl Deliver for Zipkin {
    async fn deliver(&mut self, spans: &[Arc<Span>]) -> Result<(u64, Option<String>), Failed> {
        let list: Vec<Value> = spans.iter().map(|s| span(s)).collect();
        let body = serde_json::to_vec(&list).map_err(|e| Failed {
            retry: false,
            reason: e.to_string(),
        })?;
        match tokio::time::timeout(ANSWER, self.post(body.into())).await {
            Ok(outcome) => outcome.map(|()| (0, None)),
            Err(_) => Err(Failed {
                retry: true,
                reason: "the collector does not answer".into(),
            }),
        }
    }
}

/// One span as Zipkin's v2 API wants it (pure).
fn span(span: &Span) -> Value {
    let mut tags: Map<String, Value> = Map::new();
    for (name, value) in &span.attributes {
        tags.insert(name.clone(), Value::from(value.as_str()));
    }
    if span.error {
        tags.entry("error").or_insert_with(|| Value::from("true"));
    } else {
        // Zipkin takes any value of it for an error.
        tags.shift_remove("error");
    }
    let address = span
        .proxy
        .split('~')
        .nth(1)
        .and_then(|ip| ip.parse::<IpAddr>().ok());
    let service = format!("{}.{}", span.workload.app, span.workload.namespace);
    let mut endpoint = json!({ "serviceName": service });
    if let (Some(address), Some(endpoint)) = (address, endpoint.as_object_mut()) {
        let family = if address.is_ipv4() { "ipv4" } else { "ipv6" };
        endpoint.insert(family.into(), address.to_string().into());
    }
    let mut made = json!({
        "traceId": span.trace_id.to_string(),
        "id": span.span_id.to_string(),
        "name": span.name,
        "kind": match span.kind {
            SpanKind::Server => "SERVER",
            SpanKind::Client => "CLIENT",
        },
        "timestamp": span.started_ns / 1000,
        // Zero means "unknown" to Zipkin.
        "duration": span.duration_ns.div_ceil(1000).max(1),
        "localEndpoint": endpoint,
        "tags": tags,
    });
    if let (Some(parent), Some(fields)) = (span.parent, made.as_object_mut()) {
        fields.insert("parentId".into(), parent.to_string().into());
    }
    made
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn spans_are_zipkins() {
        let mut span = crate::records::tests::span(1, 2, 1_700_002_800_000_001_999);
        span.parent = Some(crate::records::tests::span_id(9));
        span.attributes.push(("error".into(), "true".into()));
        span.attributes.push(("user_agent".into(), "<script>\"".into()));
        let wanted = json!({
            "traceId": "00000000000000000000000000000001",
            "id": "0000000000000002",
            "name": "reviews.default.svc.cluster.local:9080/*",
            "kind": "CLIENT",
            "timestamp": 1_700_002_800_000_001_u64,
            "duration": 1500,
            "localEndpoint": { "serviceName": "a.default", "ipv4": "127.64.1.2" },
            "tags": { "http.method": "GET", "user_agent": "<script>\"" },
            "parentId": "0000000000000009",
        });
        assert_eq!(super::span(&span), wanted);
        span.error = true;
        span.duration_ns = 0;
        let failed = super::span(&span);
        assert_eq!(failed["tags"]["error"], "true");
        assert_eq!(failed["duration"], 1);
    }
}
