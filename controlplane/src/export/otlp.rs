//! OTLP over gRPC.

use std::sync::Arc;

use anyhow::Context;
use http::Uri;
use mesh_model::record::Span;
use mesh_telemetry::otlp::encode_spans_for_collectors;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

use super::{ANSWER, CONNECT, Connector, Deliver, Failed};

/// A collector; the connection is made when there is something to send, and again after it broke.
pub(super) struct Otlp(TraceServiceClient<Channel>);

impl Otlp {
    pub(super) fn new(uri: &Uri, connector: Connector) -> anyhow::Result<Self> {
        let endpoint = Endpoint::from_shared(uri.to_string())
            .with_context(|| format!("--otlp-endpoint {uri}"))?
            .connect_timeout(CONNECT)
            .timeout(ANSWER);
        Ok(Self(TraceServiceClient::new(
            endpoint.connect_with_connector_lazy(connector),
        )))
    }
}

impl Deliver for Otlp {
    async fn deliver(&mut self, spans: &[Arc<Span>]) -> Result<(u64, Option<String>), Failed> {
        let spans: Vec<Span> = spans.iter().map(|span| span.as_ref().clone()).collect();
        let sent = self.0.export(encode_spans_for_collectors(&spans));
        let answer = tokio::time::timeout(ANSWER, sent).await.map_err(|_| Failed {
            retry: true,
            reason: "the collector does not answer".into(),
        })?;
        match answer {
            Ok(answer) => {
                let partial = answer.into_inner().partial_success.unwrap_or_default();
                let refused = u64::try_from(partial.rejected_spans).unwrap_or_default();
                Ok((refused, Some(partial.error_message).filter(|m| !m.is_empty())))
            }
            Err(status) => Err(Failed {
                retry: !matches!(
                    status.code(),
                    Code::InvalidArgument
                        | Code::Unimplemented
                        | Code::PermissionDenied
                        | Code::Unauthenticated
                        | Code::NotFound
                        | Code::FailedPrecondition
                ),
                reason: reason(&status),
            }),
        }
    }
}

/// What a status says, with its causes: "transport error" alone helps nobody.
fn reason(status: &tonic::Status) -> String {
    let mut text = format!("{:?}: {}", status.code(), status.message());
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text
}
