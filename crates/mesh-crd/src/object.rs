//! Typed objects of the world.

use std::collections::BTreeMap;

use crate::core::{EndpointSlice, Pod, Service};
use crate::networking::{DestinationRule, Gateway, ServiceEntry, Sidecar, VirtualService, WorkloadEntry};
use crate::problem::ObjectKey;
use crate::security::PeerAuthentication;

/// What Kubernetes knows of every object.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Namespace (`default` where the text names none and the kind has one).
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// `creationTimestamp`, RFC 3339 as given; empty for text that was never saved, which counts as newest.
    pub created: String,
    /// `resourceVersion`.
    pub resource_version: String,
    /// `generation`.
    pub generation: i64,
    /// `uid`.
    pub uid: String,
    /// Hash of what the object says (name, labels, annotations that steer, spec; never status): the
    /// configuration revision of `RouteOrigin`.
    pub revision: String,
}

impl Meta {
    /// Sorts oldest first, then by name and namespace: Istio's order between objects.
    #[must_use]
    pub fn age_order(&self) -> (bool, &str, &str, &str) {
        (
            self.created.is_empty(),
            &self.created,
            &self.name,
            &self.namespace,
        )
    }
}

/// An object: what Kubernetes knows and what it says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Resource<T> {
    /// Metadata.
    pub meta: Meta,
    /// `apiVersion` as written.
    pub api_version: String,
    /// `spec`, or the whole body of kinds without one.
    pub spec: T,
}

/// An Istio object that is checked by its schema but not yet acted on.
#[derive(Debug, Clone, PartialEq)]
pub struct Untyped {
    /// CamelCase kind.
    pub kind: &'static str,
    /// `spec`.
    pub spec: serde_json::Value,
}

/// Any object that the mesh knows.
#[expect(clippy::large_enum_variant, reason = "objects live behind an Arc")]
#[derive(Debug, Clone, PartialEq)]
pub enum Object {
    /// networking.istio.io VirtualService.
    VirtualService(Resource<VirtualService>),
    /// networking.istio.io DestinationRule.
    DestinationRule(Resource<DestinationRule>),
    /// networking.istio.io Gateway.
    Gateway(Resource<Gateway>),
    /// networking.istio.io ServiceEntry.
    ServiceEntry(Resource<ServiceEntry>),
    /// networking.istio.io WorkloadEntry.
    WorkloadEntry(Resource<WorkloadEntry>),
    /// networking.istio.io Sidecar.
    Sidecar(Resource<Sidecar>),
    /// security.istio.io PeerAuthentication.
    PeerAuthentication(Resource<PeerAuthentication>),
    /// Every other Istio kind.
    Other(Resource<Untyped>),
    /// Core Service.
    Service(Resource<Service>),
    /// discovery.k8s.io EndpointSlice.
    EndpointSlice(Resource<EndpointSlice>),
    /// Core Pod.
    Pod(Resource<Pod>),
    /// Core Namespace (labels only).
    Namespace(Resource<()>),
}

macro_rules! each {
    ($object:expr, $r:ident => $value:expr) => {
        match $object {
            Object::VirtualService($r) => $value,
            Object::DestinationRule($r) => $value,
            Object::Gateway($r) => $value,
            Object::ServiceEntry($r) => $value,
            Object::WorkloadEntry($r) => $value,
            Object::Sidecar($r) => $value,
            Object::PeerAuthentication($r) => $value,
            Object::Other($r) => $value,
            Object::Service($r) => $value,
            Object::EndpointSlice($r) => $value,
            Object::Pod($r) => $value,
            Object::Namespace($r) => $value,
        }
    };
}

impl Object {
    /// Metadata.
    #[must_use]
    pub fn meta(&self) -> &Meta {
        each!(self, r => &r.meta)
    }

    /// `apiVersion`.
    #[must_use]
    pub fn api_version(&self) -> &str {
        each!(self, r => &r.api_version)
    }

    /// CamelCase kind.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::VirtualService(_) => "VirtualService",
            Self::DestinationRule(_) => "DestinationRule",
            Self::Gateway(_) => "Gateway",
            Self::ServiceEntry(_) => "ServiceEntry",
            Self::WorkloadEntry(_) => "WorkloadEntry",
            Self::Sidecar(_) => "Sidecar",
            Self::PeerAuthentication(_) => "PeerAuthentication",
            Self::Other(r) => r.spec.kind,
            Self::Service(_) => "Service",
            Self::EndpointSlice(_) => "EndpointSlice",
            Self::Pod(_) => "Pod",
            Self::Namespace(_) => "Namespace",
        }
    }

    /// Its name in the world.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey::new(self.kind(), &meta.namespace, &meta.name)
    }

    /// One line on what it does, for lists.
    #[must_use]
    pub fn summary(&self) -> String {
        match self {
            Self::VirtualService(r) => {
                let rules = r.spec.http.len() + r.spec.tls.len() + r.spec.tcp.len();
                let noun = if rules == 1 { "rule" } else { "rules" };
                let hosts = r.spec.hosts.join(", ");
                match hosts.as_str() {
                    "" => format!("delegate, {rules} {noun}"),
                    hosts => format!("{hosts}: {rules} {noun}"),
                }
            }
            Self::DestinationRule(r) => {
                let subsets: Vec<&str> = r.spec.subsets.iter().map(|s| s.name.as_str()).collect();
                match subsets.join(", ").as_str() {
                    "" => r.spec.host.clone(),
                    subsets => format!("{}: subsets {subsets}", r.spec.host),
                }
            }
            Self::Gateway(r) => r
                .spec
                .servers
                .iter()
                .map(|s| format!("{} {} {}", s.port.protocol, s.port.number, s.hosts.join(", ")))
                .collect::<Vec<_>>()
                .join("; "),
            Self::ServiceEntry(r) => r.spec.hosts.join(", "),
            Self::WorkloadEntry(r) => r.spec.address.clone(),
            Self::Sidecar(r) => r
                .spec
                .egress
                .iter()
                .flat_map(|e| e.hosts.iter().map(String::as_str))
                .collect::<Vec<_>>()
                .join(", "),
            Self::PeerAuthentication(r) => r
                .spec
                .mtls
                .as_ref()
                .map_or_else(|| "UNSET".into(), |m| m.mode.as_str().into()),
            Self::Service(r) => r
                .spec
                .ports
                .iter()
                .map(|p| format!("{} {}", p.name, p.port))
                .collect::<Vec<_>>()
                .join(", "),
            Self::Other(_) | Self::EndpointSlice(_) | Self::Pod(_) | Self::Namespace(_) => String::new(),
        }
    }
}
