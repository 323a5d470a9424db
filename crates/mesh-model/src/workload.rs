//! Who sends and who receives: the identity of a workload as metrics and the graph name it.

use std::collections::BTreeMap;

/// What Istio writes where nothing is known.
pub const UNKNOWN: &str = "unknown";
/// Istio's canonical revision where no version label exists.
pub const LATEST: &str = "latest";

/// One workload (a Deployment's worth of processes) as seen in telemetry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Workload name, for example `reviews-v1`.
    pub name: String,
    /// Canonical service (label precedence: `service.istio.io/canonical-name`, `app.kubernetes.io/name`,
    /// `app`, workload name).
    pub app: String,
    /// Canonical revision (`service.istio.io/canonical-revision`, `app.kubernetes.io/version`, `version`,
    /// `latest`).
    pub version: String,
    /// Cluster id.
    pub cluster: String,
}

impl Workload {
    /// A peer about which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            namespace: UNKNOWN.into(),
            name: UNKNOWN.into(),
            app: UNKNOWN.into(),
            version: UNKNOWN.into(),
            cluster: UNKNOWN.into(),
        }
    }

    /// Builds the telemetry identity from a pod's labels, with Istio's label precedence.
    #[must_use]
    pub fn from_labels(
        namespace: &str,
        name: &str,
        cluster: &str,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        let first = |keys: &[&str], otherwise: &str| {
            keys.iter()
                .find_map(|k| labels.get(*k))
                .filter(|v| !v.is_empty())
                .map_or_else(|| otherwise.to_owned(), Clone::clone)
        };
        Self {
            namespace: namespace.into(),
            name: name.into(),
            app: first(
                &["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"],
                name,
            ),
            version: first(
                &[
                    "service.istio.io/canonical-revision",
                    "app.kubernetes.io/version",
                    "version",
                ],
                LATEST,
            ),
            cluster: cluster.into(),
        }
    }

    /// Istio's endpoint metadata form `workload;namespace;canonical-service;revision;cluster`.
    #[must_use]
    pub fn to_endpoint_metadata(&self) -> String {
        format!(
            "{};{};{};{};{}",
            self.name, self.namespace, self.app, self.version, self.cluster
        )
    }

    /// Reads [`Workload::to_endpoint_metadata`]; missing or empty parts become `unknown`.
    #[must_use]
    pub fn from_endpoint_metadata(text: &str) -> Self {
        let mut parts = text.split(';').map(|p| if p.is_empty() { UNKNOWN } else { p });
        let mut next = || parts.next().unwrap_or(UNKNOWN).to_owned();
        Self {
            name: next(),
            namespace: next(),
            app: next(),
            version: next(),
            cluster: next(),
        }
    }
}

/// A destination service as Istio's cluster metadata names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// FQDN, for example `reviews.default.svc.cluster.local`; `PassthroughCluster`-like names and `unknown`
    /// are possible.
    pub host: String,
    /// Short name.
    pub name: String,
    /// Namespace.
    pub namespace: String,
}

impl ServiceName {
    /// A destination about which nothing is known.
    #[must_use]
    pub fn unknown() -> Self {
        Self {
            host: UNKNOWN.into(),
            name: UNKNOWN.into(),
            namespace: UNKNOWN.into(),
        }
    }
}
