//! `extensionProviders`: services that policies and telemetry name.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use crate::networking::go_duration;

/// `extensionProviders[]`: a name and one kind. Kinds that nothing here asks are kept by name only.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Name by which policies and Telemetry objects refer to it.
    pub name: String,
    /// Authorization over HTTP.
    pub envoy_ext_authz_http: Option<ExtAuthzHttp>,
    /// Authorization over gRPC.
    pub envoy_ext_authz_grpc: Option<ExtAuthzGrpc>,
    /// Access log in a file.
    pub envoy_file_access_log: Option<FileAccessLog>,
    /// Access log over OTLP.
    pub envoy_otel_als: Option<serde_json::Value>,
    /// Metrics for Prometheus.
    pub prometheus: Option<serde_json::Value>,
    /// Traces over OTLP.
    pub opentelemetry: Option<serde_json::Value>,
    /// Traces for Zipkin.
    pub zipkin: Option<serde_json::Value>,
}

/// `envoyExtAuthzHttp`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzHttp {
    /// `[namespace/]host`.
    pub service: String,
    /// Service port.
    pub port: u32,
    /// Longest wait; none = 600 s.
    #[serde(with = "go_duration")]
    pub timeout: Option<Duration>,
    /// Stands before the path.
    pub path_prefix: String,
    /// Let through when there is no answer.
    pub fail_open: bool,
    /// The rule is chosen after the answer.
    pub clear_route_cache: bool,
    /// Status when there is no answer.
    #[serde(deserialize_with = "status")]
    pub status_on_error: Option<u16>,
    /// Headers that are shown.
    pub include_request_headers_in_check: Vec<String>,
    /// Its old name.
    pub include_headers_in_check: Vec<String>,
    /// Headers that are added to the question.
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// Body that is shown.
    pub include_request_body_in_check: Option<ExtAuthzBody>,
    /// Headers of a consenting answer for the application.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Headers of a refusing answer for the client.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// Headers of a consenting answer for the client.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// `envoyExtAuthzGrpc`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzGrpc {
    /// `[namespace/]host`.
    pub service: String,
    /// Service port.
    pub port: u32,
    /// Longest wait; none = 600 s.
    #[serde(with = "go_duration")]
    pub timeout: Option<Duration>,
    /// Let through when there is no answer.
    pub fail_open: bool,
    /// The rule is chosen after the answer.
    pub clear_route_cache: bool,
    /// Status when there is no answer.
    #[serde(deserialize_with = "status")]
    pub status_on_error: Option<u16>,
    /// Body that is shown.
    pub include_request_body_in_check: Option<ExtAuthzBody>,
}

/// `includeRequestBodyInCheck`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtAuthzBody {
    /// At most so many bytes.
    pub max_request_bytes: u32,
    /// A longer body is shown in part.
    pub allow_partial_message: bool,
    /// gRPC: as bytes.
    pub pack_as_bytes: bool,
}

/// `envoyFileAccessLog`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileAccessLog {
    /// File, `/dev/stdout`, `/dev/stderr`.
    pub path: String,
    /// Format; none = Istio's text.
    pub log_format: Option<FileLogFormat>,
}

/// `envoyFileAccessLog.logFormat`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FileLogFormat {
    /// Format string.
    pub text: String,
    /// JSON: key and format string.
    pub labels: BTreeMap<String, serde_json::Value>,
}

/// `defaultProviders`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DefaultProviders {
    /// Traces.
    pub tracing: Vec<String>,
    /// Metrics.
    pub metrics: Vec<String>,
    /// Access logs.
    pub access_logging: Vec<String>,
}

/// A status as text or number.
fn status<'de, D: Deserializer<'de>>(d: D) -> Result<Option<u16>, D::Error> {
    use serde::de::Error;
    let number = match Option::<serde_json::Value>::deserialize(d)? {
        None | Some(serde_json::Value::Null) => return Ok(None),
        Some(serde_json::Value::String(text)) if text.is_empty() => return Ok(None),
        Some(serde_json::Value::String(text)) => text.parse().ok(),
        Some(value) => value.as_u64().and_then(|n| u16::try_from(n).ok()),
    };
    number
        .filter(|n| (200..600).contains(n))
        .map(Some)
        .ok_or_else(|| D::Error::custom("not an HTTP status"))
}
