//! What this process received, for comparison with what the mesh says.

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{Response, StatusCode, header};
use http_body_util::Full;
use prometheus::{IntCounter, IntCounterVec, Opts, Registry, TextEncoder};

/// Counters of one process.
pub(crate) struct Counters {
    registry: Registry,
    received: IntCounter,
}

impl Counters {
    /// Counters that begin at zero.
    pub(crate) fn new(service: &str, version: &str) -> Result<Self> {
        let received = IntCounterVec::new(
            Opts::new(
                "shop_requests_received_total",
                "Requests received (connections, where plain TCP is spoken), health checks left out.",
            ),
            &["service", "version"],
        )
        .context("cannot make a counter")?;
        let registry = Registry::new();
        registry
            .register(Box::new(received.clone()))
            .context("cannot register a counter")?;
        Ok(Self {
            registry,
            received: received.with_label_values(&[service, version]),
        })
    }

    /// One more request.
    pub(crate) fn received(&self) {
        self.received.inc();
    }

    /// Requests so far.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        self.received.get()
    }

    /// Answers `/metrics` in Prometheus' text format.
    pub(crate) fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        if path != "/metrics" {
            return answer(
                StatusCode::NOT_FOUND,
                "text/plain",
                "only /metrics is here\n".to_owned(),
            );
        }
        match TextEncoder::new().encode_to_string(&self.registry.gather()) {
            Ok(text) => answer(StatusCode::OK, "text/plain; version=0.0.4", text),
            Err(error) => answer(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string()),
        }
    }
}

/// A whole answer.
pub(crate) fn answer(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    response
}
