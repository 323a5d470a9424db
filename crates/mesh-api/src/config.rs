//! Configuration objects, their problems, and how far a change has come.
//!
//! Answered by the control plane (it holds the world):
//! - `GET /api/objects` answers [`ObjectList`]: every Istio object with its problems and propagation.
//! - `POST /api/analyze` takes [`AnalyzeRequest`], answers [`AnalyzeAnswer`]: the object as if it were saved.
//! - `GET /api/propagation?kind=&namespace=&name=&resourceVersion=` answers [`Propagation`].
//!
//! Answered by the console with the user's identity against the Kubernetes API:
//! - `GET /api/objects/{kind}/{namespace}/{name}` answers [`ObjectSource`].
//! - `PUT /api/objects/{kind}/{namespace}/{name}` takes [`SaveRequest`]: 200 [`ObjectSource`], 409
//!   [`SaveConflict`], 422 [`AnalyzeAnswer`].
//! - `POST /api/objects` takes [`SaveRequest`] (creates), `DELETE` deletes.

use serde::{Deserialize, Serialize};

/// Names an object. `kind` is the CamelCase kind (`VirtualService`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ObjectName {
    /// Kind.
    pub kind: String,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Answer of `GET /api/objects`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectList {
    /// Sorted by kind, namespace, name.
    pub objects: Vec<ObjectSummary>,
}

/// One row of the list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectSummary {
    /// Name.
    #[serde(flatten)]
    pub object: ObjectName,
    /// `apiVersion`.
    pub api_version: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Creation time, RFC 3339.
    pub created: String,
    /// One line on what it does (hosts, subsets, ports).
    pub summary: String,
    /// Problems of this object.
    pub problems: Vec<Problem>,
    /// How far its present version has come.
    pub propagation: Propagation,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
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
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problem {
    /// `IST0101`, `KIA1106`, or ours `SL…`; `IST0106` is schema validation.
    pub code: String,
    /// Severity.
    pub severity: Severity,
    /// Field path, `spec.http[0].route[0].destination.subset`; empty for the whole object.
    pub field: String,
    /// 1-based line in the YAML that was analysed, if it was text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<u32>,
    /// 1-based column, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    #[serde(default)]
    pub remedy: String,
}

/// How many proxies run a given version of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Propagation {
    /// Proxies whose acknowledged configuration includes it.
    pub live: u32,
    /// Connected proxies that it concerns.
    pub total: u32,
    /// Proxies that refused it, with the reason.
    #[serde(default)]
    pub refused: Vec<Refusal>,
}

/// A proxy's NACK.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Refusal {
    /// Proxy id.
    pub proxy: String,
    /// Its reason.
    pub reason: String,
}

/// Body of `POST /api/analyze`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnalyzeRequest {
    /// One YAML (or JSON) document.
    pub yaml: String,
}

/// Answer of `POST /api/analyze`, and body of a refused save.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AnalyzeAnswer {
    /// Ordered by line.
    pub problems: Vec<Problem>,
    /// The object that the text names, if it can be told.
    #[serde(default)]
    pub object: Option<ObjectName>,
}

/// Answer of `GET /api/objects/{kind}/{namespace}/{name}` and of a save.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectSource {
    /// Name.
    #[serde(flatten)]
    pub object: ObjectName,
    /// YAML as people edit it: without status and managedFields.
    pub yaml: String,
    /// Version that a save must name.
    pub resource_version: String,
}

/// Body of a save.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SaveRequest {
    /// The whole object.
    pub yaml: String,
    /// Version on which the edit is based; empty for a new object.
    #[serde(default)]
    pub resource_version: String,
    /// Server-side dry run.
    #[serde(default)]
    pub dry_run: bool,
    /// Save although the analysis found errors that the API server itself accepts (an unknown subset, say).
    #[serde(default)]
    pub despite: bool,
}

/// Answer 409 of a save: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SaveConflict {
    /// The object as it is now.
    pub current: ObjectSource,
    /// Unified diff from the present object to the refused text.
    pub diff: String,
    /// What happened, for people.
    pub message: String,
}
