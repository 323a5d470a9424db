//! The one error body.

use serde::{Deserialize, Serialize};

/// Body of every answer with status 4xx or 5xx.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What failed, for people.
    pub message: String,
    /// What to do about it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
    /// Id to look for in the logs.
    #[serde(default)]
    pub request_id: String,
}
