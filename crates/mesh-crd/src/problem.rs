//! What is wrong with an object, and what names an object.

use std::fmt;

/// Names an object of the world.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct ObjectKey {
    /// CamelCase kind, `VirtualService`.
    pub kind: String,
    /// Namespace; empty for cluster-scoped kinds.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ObjectKey {
    /// Builds a key.
    #[must_use]
    pub fn new(kind: &str, namespace: &str, name: &str) -> Self {
        Self {
            kind: kind.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Severity {
    /// Good to know.
    Info,
    /// Probably not meant.
    Warning,
    /// Refused, or has no effect as written.
    #[default]
    Error,
}

/// Something wrong with an object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Problem {
    /// `IST0101`, `KIA1106`, or ours `SL....`; [`code::SCHEMA`] is schema validation.
    pub code: &'static str,
    /// Severity.
    pub severity: Severity,
    /// Field path, `spec.http[0].route[0].destination.subset`; empty for the whole object.
    pub field: String,
    /// 1-based line in the text that was parsed.
    pub line: Option<u32>,
    /// 1-based column likewise.
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Problem {
    /// An error of schema or semantic validation ([`code::SCHEMA`]).
    #[must_use]
    pub fn invalid(field: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(code::SCHEMA, Severity::Error, field, message, remedy)
    }

    /// Any problem.
    #[must_use]
    pub fn new(
        code: &'static str,
        severity: Severity,
        field: impl Into<String>,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            code,
            severity,
            field: field.into(),
            line: None,
            column: None,
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.code)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.message)
    }
}

/// Analysis codes. `IST` codes are Istio's; `SL` codes are ours, where Istio has none.
pub mod code {
    /// Reference to something that does not exist.
    pub const REFERENCED_RESOURCE_NOT_FOUND: &str = "IST0101";
    /// The object is not valid by itself.
    pub const SCHEMA: &str = "IST0106";
    /// Two VirtualServices define the same host on the mesh.
    pub const CONFLICTING_MESH_GATEWAY_HOSTS: &str = "IST0109";
    /// Several Sidecars select the same workload.
    pub const CONFLICTING_SIDECAR_SELECTORS: &str = "IST0110";
    /// Several Sidecars of one namespace without selector.
    pub const MULTIPLE_SIDECARS_WITHOUT_SELECTOR: &str = "IST0111";
    /// A destination of a service with several ports names none.
    pub const DESTINATION_PORT_REQUIRED: &str = "IST0112";
    /// A DestinationRule's TLS mode contradicts the server's PeerAuthentication.
    pub const MTLS_POLICY_CONFLICT: &str = "IST0113";
    /// A Service port name says no protocol.
    pub const PORT_NAME_NOT_UNDER_CONVENTION: &str = "IST0118";
    /// A policy's selector selects no workload.
    pub const NO_MATCHING_WORKLOADS: &str = "IST0127";
    /// TLS to a server whose certificate nobody verifies.
    pub const NO_SERVER_CERTIFICATE_VERIFICATION: &str = "IST0128";
    /// A rule can never be reached.
    pub const UNREACHABLE_RULE: &str = "IST0130";
    /// A match that an earlier one swallows.
    pub const INEFFECTIVE_MATCH: &str = "IST0131";
    /// The VirtualService's hosts are not among the Gateway's.
    pub const HOST_NOT_FOUND_IN_GATEWAY: &str = "IST0132";
    /// Admission or another schema warning.
    pub const SCHEMA_WARNING: &str = "IST0133";
    /// Gateways define the same host and port.
    pub const CONFLICTING_GATEWAYS: &str = "IST0145";
    /// More than one selectorless Telemetry in a namespace.
    pub const MULTIPLE_TELEMETRIES: &str = "IST0160";
    /// A Gateway port that the gateway's Service does not have.
    pub const GATEWAY_PORT_NOT_ON_SERVICE: &str = "IST0162";
    /// A subset's labels select no pod.
    pub const SUBSET_SELECTS_NO_PODS: &str = "IST0173";
    /// A field or kind that we do not act on.
    pub const NOT_SUPPORTED: &str = "SL0001";
    /// The text is not one YAML or JSON object within the limits.
    pub const TEXT: &str = "SL0002";
    /// A rule that is valid but has no effect here, and why.
    pub const NO_EFFECT: &str = "SL0003";
    /// Outlier detection that can eject nothing at this number of endpoints.
    pub const EJECTION_IMPOSSIBLE: &str = "SL0004";
    /// A delegate that cannot be used.
    pub const DELEGATE: &str = "SL0005";
    /// A name with a dot that looks like a short name: it is taken literally.
    pub const DOTTED_SHORT_NAME: &str = "SL0006";
    /// HTTP rules for a port that is not HTTP.
    pub const HTTP_RULE_ON_TCP: &str = "SL0007";
    /// Keys of a token issuer that cannot be fetched.
    pub const KEYS_UNAVAILABLE: &str = "SL0008";
}
