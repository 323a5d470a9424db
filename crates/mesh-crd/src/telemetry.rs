//! Kinds of telemetry.istio.io in typed form.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::networking::Selector;
use crate::security::{PolicyProvider, TargetRef};

/// `Telemetry.spec`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Telemetry {
    /// Workloads; none = the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Objects that it is attached to instead.
    pub target_refs: Vec<TargetRef>,
    /// The one object that it is attached to (older form).
    pub target_ref: Option<TargetRef>,
    /// Traces.
    pub tracing: Vec<TelemetryTracing>,
    /// Metrics.
    pub metrics: Vec<TelemetryMetrics>,
    /// Access logs.
    pub access_logging: Vec<TelemetryAccessLogging>,
}

/// Which side of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WorkloadMode {
    /// Both.
    #[default]
    ClientAndServer,
    /// Outbound, and gateways.
    Client,
    /// Inbound.
    Server,
}

/// `match` of tracing and access logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct ModeMatch {
    /// Side.
    pub mode: WorkloadMode,
}

/// `tracing[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryTracing {
    /// Side.
    pub r#match: Option<ModeMatch>,
    /// Where spans go.
    pub providers: Vec<PolicyProvider>,
    /// Percent; none = as the next wider one says.
    pub random_sampling_percentage: Option<f64>,
    /// No spans.
    pub disable_span_reporting: Option<bool>,
    /// Tags; they replace those of wider objects.
    pub custom_tags: BTreeMap<String, CustomTag>,
}

/// `tracing[].customTags`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomTag {
    /// A text.
    pub literal: Option<LiteralTag>,
    /// A variable of the proxy's environment.
    pub environment: Option<NamedTag>,
    /// A request header.
    pub header: Option<NamedTag>,
}

/// A text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LiteralTag {
    /// Value.
    pub value: String,
}

/// Something with a name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NamedTag {
    /// Name.
    pub name: String,
    /// Value when it is not there.
    pub default_value: String,
}

/// `metrics[]`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryMetrics {
    /// Who reads them.
    pub providers: Vec<PolicyProvider>,
    /// Changes, in order.
    pub overrides: Vec<MetricOverride>,
}

/// `metrics[].overrides[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricOverride {
    /// Which metric on which side.
    pub r#match: Option<MetricMatch>,
    /// It is not shown.
    pub disabled: Option<bool>,
    /// Labels.
    pub tag_overrides: BTreeMap<String, TagOverride>,
}

/// `metrics[].overrides[].match`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MetricMatch {
    /// Istio's name of a standard metric; empty = all.
    pub metric: String,
    /// A metric of the user's own.
    pub custom_metric: String,
    /// Side.
    pub mode: WorkloadMode,
}

/// `tagOverrides`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TagOverride {
    /// What happens to it.
    pub operation: TagOperation,
    /// A CEL expression.
    pub value: String,
}

/// What happens to a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TagOperation {
    /// Set.
    #[default]
    Upsert,
    /// Removed.
    Remove,
}

/// `accessLogging[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TelemetryAccessLogging {
    /// Side.
    pub r#match: Option<ModeMatch>,
    /// Where lines go.
    pub providers: Vec<PolicyProvider>,
    /// Nowhere.
    pub disabled: Option<bool>,
    /// Which requests.
    pub filter: Option<LogFilter>,
}

/// `accessLogging[].filter`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct LogFilter {
    /// A CEL expression.
    pub expression: String,
}
