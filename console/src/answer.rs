//! The console's own error answers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use mesh_api::error::ApiError;

/// An error on its way to the browser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// HTTP status.
    pub status: StatusCode,
    /// What failed.
    pub message: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Failure {
    /// An error without a remedy.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            remedy: None,
        }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Nobody is signed in.
    pub fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "this needs a signed-in user")
            .remedy("sign in with a Kubernetes token, or send it as `Authorization: Bearer`")
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        // The gate fills in the request id, which it alone knows.
        let body = ApiError {
            message: self.message.clone(),
            remedy: self.remedy.clone(),
            request_id: String::new(),
        };
        let mut response = (self.status, Json(body)).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
