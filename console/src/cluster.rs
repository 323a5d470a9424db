//! The Kubernetes API, with the user's token or the console's own.

use std::path::Path;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};

use crate::answer::Failure;
use crate::session::User;

/// No object and no status comes near this.
const ANSWER_LIMIT: usize = 8 * 1024 * 1024;

/// How to reach the API server.
pub struct Cluster {
    config: kube::Config,
    own: kube::Client,
}

/// An API server's answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: StatusCode,
    /// Body: the object, or a `Status`.
    pub body: Value,
}

impl Cluster {
    /// Reads the kubeconfig, or the pod's service account if there is none.
    pub async fn connect(kubeconfig: Option<&Path>) -> anyhow::Result<Self> {
        let config = match kubeconfig {
            Some(path) => {
                kube::Config::from_custom_kubeconfig(
                    Kubeconfig::read_from(path)?,
                    &KubeConfigOptions::default(),
                )
                .await?
            }
            None => kube::Config::incluster()?,
        };
        let own = kube::Client::try_from(config.clone())?;
        Ok(Self { config, own })
    }

    /// The console's own identity: token reviews, and reads for people without credentials on loopback.
    pub fn own(&self) -> kube::Client {
        self.own.clone()
    }

    /// A client that acts as `user`, and as nobody else.
    pub fn acting_as(&self, user: &User) -> Result<kube::Client, Failure> {
        let mut config = self.config.clone();
        config.auth_info = kube::config::AuthInfo {
            token: Some(user.token.clone().into()),
            ..Default::default()
        };
        kube::Client::try_from(config).map_err(|error| unreachable(&error))
    }

    /// Who a token belongs to, by TokenReview; `None` when it is not valid.
    pub async fn review(&self, token: &str) -> Result<Option<String>, Failure> {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token},
        });
        let answer = call(
            &self.own,
            Method::POST,
            "/apis/authentication.k8s.io/v1/tokenreviews",
            Some(&body),
        )
        .await?;
        if !answer.status.is_success() {
            return Err(Failure::new(
                StatusCode::BAD_GATEWAY,
                format!("the API server refused to review a token: {}", answer.message()),
            )
            .remedy("the console's own identity needs `create` on tokenreviews.authentication.k8s.io"));
        }
        let valid = answer
            .body
            .pointer("/status/authenticated")
            .and_then(Value::as_bool)
            .unwrap_or(false);
        let name = answer
            .body
            .pointer("/status/user/username")
            .and_then(Value::as_str)
            .unwrap_or("unnamed");
        Ok(valid.then(|| name.to_owned()))
    }

    /// Whether the user may change routing.
    pub async fn may_edit(&self, user: &User) -> Result<bool, Failure> {
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {"group": "networking.istio.io", "resource": "virtualservices", "verb": "update"}},
        });
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = call(&self.acting_as(user)?, Method::POST, path, Some(&body)).await?;
        Ok(answer
            .body
            .pointer("/status/allowed")
            .and_then(Value::as_bool)
            .unwrap_or(false))
    }
}

impl Answer {
    /// What the API server says about a failure.
    pub fn message(&self) -> &str {
        self.body
            .get("message")
            .and_then(Value::as_str)
            .unwrap_or("no reason given")
    }
}

/// One call; only a lost connection is an error.
pub async fn call(
    client: &kube::Client,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Answer, Failure> {
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .header("accept", "application/json");
    let mut bytes = Vec::new();
    if let Some(body) = body {
        request = request.header("content-type", "application/json");
        bytes = body.to_string().into_bytes();
    }
    let request = request.body(kube::client::Body::from(bytes)).map_err(|error| {
        Failure::new(
            StatusCode::BAD_REQUEST,
            format!("not a valid object path: {error}"),
        )
    })?;
    let response = client.send(request).await.map_err(|error| unreachable(&error))?;
    let status = response.status();
    let bytes = Limited::new(response.into_body(), ANSWER_LIMIT)
        .collect()
        .await
        .map_or_else(|_| Bytes::new(), http_body_util::Collected::to_bytes);
    let body = serde_json::from_slice(&bytes).unwrap_or_else(
        |_| json!({"message": String::from_utf8_lossy(&bytes).chars().take(400).collect::<String>()}),
    );
    Ok(Answer { status, body })
}

fn unreachable(error: &kube::Error) -> Failure {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    Failure::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("the Kubernetes API server does not answer: {cause}"),
    )
    .remedy("it may be restarting: try again; then check its log and the console's --kubeconfig")
}
