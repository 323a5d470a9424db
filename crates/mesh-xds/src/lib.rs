//! Envoy v3 discovery messages and Istio certificate messages to the model and back.
//!
//! What the control plane sends, a real Envoy can run; what istiod or a hand-written bootstrap sends, we read as
//! far as the one table in [`fields`] says: each field is honoured, ignored with a reason, or refused with its path.

pub mod bootstrap;
pub mod certificate;
pub mod decode;
pub mod discovery;
pub mod encode;
pub mod external;
pub mod fields;
pub mod json;
pub mod kept_traces;

mod log_format;
mod pb;

pub use envoy_types::pb::google::protobuf::Any;

/// Type URL of [`mesh_model::cluster::Cluster`].
pub const TYPE_CLUSTER: &str = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
/// Type URL of [`mesh_model::cluster::Endpoints`].
pub const TYPE_ENDPOINTS: &str = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/// Type URL of [`mesh_model::listener::Listener`].
pub const TYPE_LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";
/// Type URL of [`mesh_model::route::RouteTable`].
pub const TYPE_ROUTE: &str = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration";
/// Type URL of secrets (gateway certificates from Kubernetes Secrets).
pub const TYPE_SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Key of our own facts in `metadata.filter_metadata`.
pub const METADATA_KEY: &str = "sightline";

/// A resource or file that cannot be used: where and why. This is the text of a NACK.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct Invalid {
    /// Path of the offending field from the resource, for example
    /// `Listener(0.0.0.0_80).filter_chains[0].filters[1].name`.
    pub path: String,
    /// What is wrong and what would be accepted.
    pub reason: String,
}

impl Invalid {
    /// Makes one.
    #[must_use]
    pub fn new(path: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            reason: reason.into(),
        }
    }
}

/// Something that is accepted but has no effect: shown once at start or per resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ignored {
    /// Path of the field.
    pub path: String,
    /// Why it cannot change an answer, or which native function does its work.
    pub reason: &'static str,
}
