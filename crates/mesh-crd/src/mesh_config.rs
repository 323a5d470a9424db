//! MeshConfig (ConfigMap `istio`, key `mesh`): the fields that the mesh acts on.

use std::time::Duration;

use serde::Deserialize;

use crate::networking::destination_rule::LocalityLbSetting;
use crate::networking::go_duration;
use crate::networking::sidecar::OutboundTrafficPolicy;
use crate::problem::Problem;

pub use providers::{
    DefaultProviders, ExtAuthzBody, ExtAuthzGrpc, ExtAuthzHttp, ExtensionProvider, FileAccessLog,
    FileLogFormat,
};

mod providers;

/// Mesh-wide settings with Istio's defaults; the access log is on here.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Trust domain.
    pub trust_domain: String,
    /// Namespace whose policies hold for the whole mesh.
    pub root_namespace: String,
    /// Access log file; empty = off. Default `/dev/stdout`.
    pub access_log_file: String,
    /// Text or JSON.
    pub access_log_encoding: AccessLogEncoding,
    /// Format of the access log; empty = Istio's.
    pub access_log_format: String,
    /// Automatic mutual TLS.
    pub enable_auto_mtls: bool,
    /// Tracing.
    pub enable_tracing: bool,
    /// Unknown destinations.
    pub outbound_traffic_policy: OutboundTrafficPolicy,
    /// Connect timeout.
    #[serde(with = "go_duration")]
    pub connect_timeout: Option<Duration>,
    /// Default `exportTo` of VirtualServices.
    pub default_virtual_service_export_to: Vec<String>,
    /// Default `exportTo` of DestinationRules.
    pub default_destination_rule_export_to: Vec<String>,
    /// Default `exportTo` of Services and ServiceEntries.
    pub default_service_export_to: Vec<String>,
    /// Path normalisation.
    pub path_normalization: PathNormalization,
    /// Proxy defaults.
    pub default_config: ProxyDefaults,
    /// Services that policies and telemetry name.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Locality settings where a DestinationRule has none.
    pub locality_lb_setting: Option<LocalityLbSetting>,
    /// Providers of telemetry where no Telemetry object says any.
    pub default_providers: DefaultProviders,
}

impl Default for MeshConfig {
    fn default() -> Self {
        Self {
            trust_domain: "cluster.local".into(),
            root_namespace: "istio-system".into(),
            access_log_file: "/dev/stdout".into(),
            access_log_encoding: AccessLogEncoding::Text,
            access_log_format: String::new(),
            enable_auto_mtls: true,
            enable_tracing: true,
            outbound_traffic_policy: OutboundTrafficPolicy::default(),
            connect_timeout: Some(Duration::from_secs(10)),
            default_virtual_service_export_to: Vec::new(),
            default_destination_rule_export_to: Vec::new(),
            default_service_export_to: Vec::new(),
            path_normalization: PathNormalization::default(),
            default_config: ProxyDefaults::default(),
            extension_providers: Vec::new(),
            locality_lb_setting: None,
            default_providers: DefaultProviders::default(),
        }
    }
}

impl MeshConfig {
    /// DNS suffix of Kubernetes services.
    pub const DOMAIN: &'static str = "cluster.local";

    /// Reads the YAML of the ConfigMap's `mesh` key. Fields that we do not act on are ignored; what cannot be
    /// read gives a problem and the defaults.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let value = crate::yaml::read(text).map_err(|p| *p)?.value();
        if value.is_null() {
            return Ok(Self::default());
        }
        serde_json::from_value(value).map_err(|e| {
            Problem::invalid(
                "data.mesh",
                format!("mesh configuration cannot be read: {e}"),
                "correct the named field in ConfigMap istio",
            )
        })
    }
}

/// `accessLogEncoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum AccessLogEncoding {
    /// Text line.
    #[default]
    Text,
    /// JSON object.
    Json,
}

/// `pathNormalization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(default)]
pub struct PathNormalization {
    /// Which.
    pub normalization: Normalization,
}

/// `pathNormalization.normalization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Normalization {
    /// As BASE.
    #[default]
    Default,
    /// Off.
    None,
    /// Dot segments.
    Base,
    /// And double slashes.
    MergeSlashes,
    /// And escaped slashes.
    DecodeAndMergeSlashes,
}

/// `defaultConfig`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct ProxyDefaults {
    /// Tracing.
    pub tracing: Option<TracingDefaults>,
}

/// `defaultConfig.tracing`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(default)]
pub struct TracingDefaults {
    /// Percent; none = 1.
    pub sampling: Option<f64>,
}
