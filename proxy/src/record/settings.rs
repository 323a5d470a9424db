//! Settings of recording and scraping, from the node's metadata: `ANNOTATIONS` of the pod, as Istio's bootstrap has it.

use mesh_xds::discovery::{Struct, value::Kind};

use super::{Policy, Settings};

/// Header names whose values must not be recorded, with commas between.
pub const REDACT_HEADERS: &str = "sightline.io/redact-headers";
/// Rules of which no request is kept: `namespace/virtualservice[/route]`, with commas between.
pub const RECORD_EXCLUDE: &str = "sightline.io/record-exclude";

/// A string of the metadata.
#[must_use]
pub fn text<'a>(metadata: Option<&'a Struct>, key: &str) -> Option<&'a str> {
    match metadata?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

/// An annotation of the pod.
#[must_use]
pub fn annotation<'a>(metadata: Option<&'a Struct>, name: &str) -> Option<&'a str> {
    match metadata?.fields.get("ANNOTATIONS")?.kind.as_ref()? {
        Kind::StructValue(annotations) => text(Some(annotations), name),
        _ => None,
    }
}

impl Settings {
    /// What the node's metadata says.
    #[must_use]
    pub fn of(metadata: Option<&Struct>) -> Self {
        let list = |name: &str| -> Vec<String> {
            annotation(metadata, name)
                .unwrap_or_default()
                .split(',')
                .map(|part| part.trim().to_owned())
                .filter(|part| !part.is_empty())
                .collect()
        };
        Self {
            policy: Policy {
                secret: list(REDACT_HEADERS)
                    .iter()
                    .map(|name| name.to_ascii_lowercase())
                    .collect(),
            },
            excluded: list(RECORD_EXCLUDE),
            mesh_id: text(metadata, "MESH_ID").unwrap_or_default().to_owned(),
        }
    }
}
