//! Calls to the console's own API.

use gloo_net::http::{Method, RequestBuilder};
use mesh_api::error::ApiError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why a call failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// HTTP status; 0 when nothing came back.
    pub status: u16,
    /// For people.
    pub message: String,
    /// What to do.
    pub remedy: Option<String>,
    /// For the logs.
    pub request_id: String,
    /// The body, for answers that carry more than an error.
    pub body: String,
}

impl Failure {
    fn unreachable(error: &gloo_net::Error) -> Self {
        Self {
            status: 0,
            message: format!("the console does not answer ({error})"),
            remedy: Some("it may be restarting: try again".into()),
            request_id: String::new(),
            body: String::new(),
        }
    }

    fn of(status: u16, body: String) -> Self {
        let error: Option<ApiError> = serde_json::from_str(&body).ok();
        let (message, remedy, request_id) = error.map_or_else(
            || {
                (
                    format!("the console answered with status {status}"),
                    None,
                    String::new(),
                )
            },
            |error| (error.message, error.remedy, error.request_id),
        );
        Self {
            status,
            message,
            remedy,
            request_id,
            body,
        }
    }
}

/// Reads.
pub async fn get<T: DeserializeOwned>(path: &str) -> Result<T, Failure> {
    understood(&text(path).await?)
}

/// Reads what is not understood yet.
pub async fn text(path: &str) -> Result<String, Failure> {
    let response = RequestBuilder::new(path)
        .send()
        .await
        .map_err(|error| Failure::unreachable(&error))?;
    let status = response.status();
    let body = response
        .text()
        .await
        .map_err(|error| Failure::unreachable(&error))?;
    if response.ok() {
        Ok(body)
    } else {
        Err(Failure::of(status, body))
    }
}

/// An answer's value.
pub fn understood<T: DeserializeOwned>(body: &str) -> Result<T, Failure> {
    serde_json::from_str(body).map_err(|error| not_understood(&error))
}

fn not_understood(error: &serde_json::Error) -> Failure {
    Failure {
        message: format!("the console's answer is not understood: {error}"),
        ..Failure::of(200, String::new())
    }
}

/// Sends a body, reads the answer.
pub async fn send<B: Serialize, T: DeserializeOwned>(
    method: Method,
    path: &str,
    body: &B,
) -> Result<T, Failure> {
    let request = RequestBuilder::new(path)
        .method(method)
        .json(body)
        .map_err(|error| Failure::unreachable(&error))?;
    let response = request
        .send()
        .await
        .map_err(|error| Failure::unreachable(&error))?;
    let status = response.status();
    let body = response
        .text()
        .await
        .map_err(|error| Failure::unreachable(&error))?;
    if !response.ok() {
        return Err(Failure::of(status, body));
    }
    serde_json::from_str(&body).map_err(|_| Failure::of(status, body))
}

/// Sends a request without body or wanted answer.
pub async fn delete(path: &str) -> Result<(), Failure> {
    let response = RequestBuilder::new(path)
        .method(Method::DELETE)
        .send()
        .await
        .map_err(|error| Failure::unreachable(&error))?;
    if response.ok() {
        return Ok(());
    }
    let status = response.status();
    Err(Failure::of(status, response.text().await.unwrap_or_default()))
}

/// Percent-encodes a query value.
pub fn encode(value: &str) -> String {
    js_sys::encode_uri_component(value).into()
}
