//! The history of configuration.
//!
//! - `GET /api/revisions?kind=&namespace=&name=&from=&to=&before=&limit=100` answers [`RevisionList`], newest first
//!   (all parameters optional). It also feeds the change markers of every chart.
//!
//! A revert is a save of a revision's YAML through the object routes, with the present resource version.

use serde::{Deserialize, Serialize};

use crate::config::ObjectName;

/// Answer of `GET /api/revisions`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RevisionList {
    /// Newest first.
    pub revisions: Vec<Revision>,
}

/// One seen state of an object.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Revision {
    /// Rises with time.
    pub id: u64,
    /// Object.
    #[serde(flatten)]
    pub object: ObjectName,
    /// RFC 3339.
    pub at: String,
    /// `created`, `updated`, `deleted`.
    pub change: String,
    /// `metadata.resourceVersion`.
    pub resource_version: String,
    /// `metadata.generation`.
    pub generation: i64,
    /// Who, where known.
    pub user: String,
    /// Field manager, where known.
    pub manager: String,
    /// YAML as people edit it.
    pub yaml: String,
    /// States before it may have been missed.
    pub gap: bool,
    /// Proxies that run it now; none when it is not the present one.
    #[serde(default)]
    pub live: Option<u32>,
}
