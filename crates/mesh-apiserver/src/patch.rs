//! The kinds of patch: JSON patch, JSON merge patch, strategic merge patch.

mod strategic;

use serde_json::{Value, json};

use crate::registry::Resource;
use crate::status::Refusal;
use crate::types::Type;

/// The most operations that one JSON patch may have.
const MAX_OPERATIONS: usize = 10_000;

/// How a body is to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Merge,
    Strategic,
}

impl Kind {
    /// The kind that a content type asks for.
    pub(crate) fn of(content_type: &str, resource: &Resource) -> Result<Self, Refusal> {
        match media(content_type) {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !resource.is_istio() => Ok(Self::Strategic),
            _ => Err(Refusal::unsupported_media_type(match resource.is_istio() {
                true => {
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                }
                false => {
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
                }
            })),
        }
    }
}

/// A content type without its parameters.
pub(crate) fn media(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

/// A parsed patch.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Parses a body.
    pub(crate) fn parse(kind: Kind, body: &[u8]) -> Result<Self, Refusal> {
        match kind {
            Kind::Json => {
                let patch: json_patch::Patch = serde_json::from_slice(body)
                    .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
                if patch.0.len() > MAX_OPERATIONS {
                    let mut refusal = Refusal::too_large();
                    refusal.message = format!(
                        "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                        patch.0.len()
                    );
                    return Err(refusal);
                }
                Ok(Self::Json(patch))
            }
            Kind::Merge | Kind::Strategic => {
                let value: Value = serde_json::from_slice(body)
                    .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
                if !value.is_object() {
                    return Err(Refusal::bad_request(
                        "error decoding patch: the patch must be an object",
                    ));
                }
                Ok(if kind == Kind::Merge {
                    Self::Merge(value)
                } else {
                    Self::Strategic(value)
                })
            }
        }
    }

    /// The object of a type with the patch applied.
    pub(crate) fn apply(&self, object: &Value, kind: &Type) -> Result<Value, Refusal> {
        let mut out = object.clone();
        match self {
            // The copy is thrown away on failure, so nothing has to be undone (and undoing can panic).
            Self::Json(patch) => {
                json_patch::patch_unsafe(&mut out, patch).map_err(|error| unprocessable(&error))?
            }
            Self::Merge(patch) => json_patch::merge(&mut out, patch),
            Self::Strategic(patch) => {
                let patch = patch.as_object().cloned().unwrap_or_default();
                if let Value::Object(map) = &mut out {
                    strategic::merge(kind, map, &patch)?;
                }
            }
        }
        Ok(out)
    }
}

fn unprocessable(error: &dyn std::fmt::Display) -> Refusal {
    let mut refusal = Refusal::bad_request("the server rejected our request due to an error in our request");
    refusal.code = 422;
    refusal.reason = "Invalid";
    tracing::debug!(%error, "patch does not apply");
    refusal.details = Some(json!({}));
    refusal
}
