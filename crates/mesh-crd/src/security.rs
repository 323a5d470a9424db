//! Kinds of security.istio.io in typed form.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::networking::Selector;

/// `PeerAuthentication.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Workloads; none = the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Mode.
    pub mtls: Option<MutualTls>,
    /// Mode by workload port.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// A mode holder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// Mode.
    pub mode: MutualTlsMode,
}

/// What inbound connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MutualTlsMode {
    /// As the next wider policy says.
    #[default]
    Unset,
    /// Plaintext.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl MutualTlsMode {
    /// Istio's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }
}
