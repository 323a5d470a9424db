//! Kinds of networking.istio.io in typed form: Istio's fields, enums and durations read, nothing merged.

use std::collections::BTreeMap;

use serde::Deserialize;

pub mod destination_rule;
pub mod gateway;
pub mod service_entry;
pub mod sidecar;
pub mod virtual_service;

pub use destination_rule::DestinationRule;
pub use gateway::Gateway;
pub use service_entry::{ServiceEntry, WorkloadEntry};
pub use sidecar::Sidecar;
pub use virtual_service::VirtualService;

/// `selector.matchLabels`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// Labels, all of which must be there.
    pub match_labels: BTreeMap<String, String>,
}

/// `workloadSelector.labels`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// Labels, all of which must be there.
    pub labels: BTreeMap<String, String>,
}

/// Whether `labels` has all of `wanted`.
#[must_use]
pub fn labels_match(wanted: &BTreeMap<String, String>, labels: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(k, v)| labels.get(k) == Some(v))
}

/// `port.number`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// Number, judged by validation.
    pub number: u32,
}

/// Reads a duration that the schema has checked; anything else becomes an error of the reader.
pub(crate) mod go_duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de::Error};

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(d)?;
        text.map(|t| crate::duration::parse(&t).ok_or_else(|| D::Error::custom("not a duration")))
            .transpose()
    }
}
