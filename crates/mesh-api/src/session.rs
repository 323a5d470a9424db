//! Signing in at the console.
//!
//! - `GET /api/session` answers [`Session`]; on loopback it sets the cookie that edits need.
//! - `POST /api/session` takes [`SignIn`]; `DELETE /api/session` signs out.

use serde::{Deserialize, Serialize};

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Session {
    /// User name as TokenReview says, or empty when anonymous.
    pub user: String,
    /// Whether configuration may be changed.
    pub may_edit: bool,
    /// Version of the console.
    pub version: String,
}

/// Body of `POST /api/session`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SignIn {
    /// A Kubernetes bearer token.
    pub token: String,
}
