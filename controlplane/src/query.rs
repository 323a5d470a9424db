//! The query API: every route of `mesh_api` that names the control plane.
//!
//! TLS and a bearer token that the API server accepts; the answers are the types of `mesh_api`.

mod config;
mod explain;
mod graph;
mod history;
mod inventory;
mod mesh;
mod metrics;
mod overview;
mod read;
mod requests;
mod time;
mod traces;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use mesh_api::error::ApiError;
use mesh_store::{History, Records, Revisions};
use tokio::sync::{Semaphore, watch};

use crate::auth::{Authenticator, Denied, Right, User, bearer};
use crate::index::Generation;
use crate::live::Live;
use crate::proxies::Proxies;
use crate::records::Recorder;
use crate::revisions::Present;
use crate::status::Judged;

/// Largest body, bytes.
const MAX_BODY: usize = 1 << 20;
/// Event streams at the same time.
pub(crate) const MAX_STREAMS: usize = 64;

/// What the handlers read.
#[derive(Clone)]
pub(crate) struct Query {
    pub(crate) authenticator: Authenticator,
    pub(crate) worlds: watch::Receiver<Option<Arc<Generation>>>,
    pub(crate) judged: watch::Receiver<Judged>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) history: Arc<dyn History>,
    pub(crate) records: Arc<dyn Records>,
    pub(crate) revisions: Arc<dyn Revisions>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) present: Present,
    /// Where the history is, without credentials.
    pub(crate) store: String,
    pub(crate) live: Arc<Live>,
    pub(crate) streams: Arc<Semaphore>,
}

/// The routes.
pub(crate) fn router(query: Query) -> Router {
    let records = Router::new()
        .route("/api/requests", get(requests::page))
        .route("/api/requests/facets", get(requests::facets))
        .route("/api/requests/heatmap", get(requests::heat_map))
        .route("/api/requests/stream", get(requests::stream))
        .route("/api/requests/{trace}/{span}", get(requests::one))
        .route("/api/traces", get(traces::traces))
        .route("/api/traces/{trace}", get(traces::trace))
        .layer(axum::middleware::from_fn_with_state(
            query.clone(),
            may_read_requests,
        ));
    Router::new()
        .merge(records)
        .route("/api/metrics", get(metrics::metrics))
        .route("/api/overview", get(overview::overview))
        .route("/api/revisions", get(history::revisions))
        .route("/api/proxies/{id}/config", get(mesh::proxy_config))
        .route("/api/graph", get(graph::graph))
        .route("/api/graph/stream", get(graph::stream))
        .route("/api/series", get(graph::series))
        .route("/api/services", get(inventory::services))
        .route("/api/services/{namespace}/{name}", get(inventory::service))
        .route("/api/workloads", get(inventory::workloads))
        .route("/api/workloads/{namespace}/{name}", get(inventory::workload))
        .route("/api/apps", get(inventory::apps))
        .route("/api/apps/{namespace}/{name}", get(inventory::app))
        .route("/api/namespaces", get(inventory::namespaces))
        .route("/api/objects", get(config::objects))
        .route("/api/analyze", post(config::analyze))
        .route("/api/propagation", get(config::propagation))
        .route("/api/explain", get(explain::page))
        .route("/api/proxies", get(mesh::proxies))
        .route("/api/status", get(mesh::status))
        .fallback(async || Failure::new(StatusCode::NOT_FOUND, "there is no such route"))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(axum::middleware::from_fn_with_state(query.clone(), authenticate))
        .with_state(query)
}

/// Viewing kept requests is a right of its own.
async fn may_read_requests(State(query): State<Query>, request: Request, next: Next) -> Response {
    let user = request.extensions().get::<User>().cloned().unwrap_or_default();
    match query.authenticator.may(&user, Right::Requests).await {
        Ok(true) => next.run(request).await,
        Ok(false) => {
            let mut failure = Failure::new(
                StatusCode::FORBIDDEN,
                format!("{} may not read kept requests", user.name),
            );
            failure.remedy =
                Some("bind a ClusterRole with verb get on requests of apiGroup sightline.io".into());
            failure.into_response()
        }
        Err(denied) => Failure::new(StatusCode::SERVICE_UNAVAILABLE, denied.to_string()).into_response(),
    }
}

async fn authenticate(State(query): State<Query>, mut request: Request, next: Next) -> Response {
    let header = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|v| v.to_str().ok())
        .map(str::to_owned);
    let user = match bearer(header.as_deref()) {
        Ok(token) => query.authenticator.user(token, &[]).await,
        Err(denied) => Err(denied),
    };
    match user {
        Ok(user) => {
            request.extensions_mut().insert(user);
            next.run(request).await
        }
        Err(denied) => {
            let status = match denied {
                Denied::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
                Denied::Anonymous | Denied::Token(_) => StatusCode::UNAUTHORIZED,
            };
            let mut failure = Failure::new(status, denied.to_string());
            failure.remedy = Some("send Authorization: Bearer with a token of the Kubernetes API".into());
            failure.into_response()
        }
    }
}

/// Runs what takes a while off the async threads.
async fn computed<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

impl Query {
    fn generation(&self) -> Result<Arc<Generation>, Failure> {
        self.worlds.borrow().clone().ok_or_else(|| {
            let mut failure = Failure::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the configuration has not been read yet",
            );
            failure.remedy = Some("wait until /ready on the metrics port answers 200".into());
            failure
        })
    }
}

/// An error answer.
#[derive(Debug)]
pub(crate) struct Failure {
    status: StatusCode,
    message: String,
    remedy: Option<String>,
}

impl Failure {
    fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            remedy: None,
        }
    }

    fn bad(message: impl Into<String>, remedy: &str) -> Self {
        let mut failure = Self::new(StatusCode::BAD_REQUEST, message);
        failure.remedy = Some(remedy.into());
        failure
    }
}

impl From<mesh_store::Error> for Failure {
    fn from(error: mesh_store::Error) -> Self {
        let mut failure = Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
        failure.remedy = Some("see /api/status; the last ten minutes can still be asked for".into());
        failure
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let request_id = format!("{:016x}", rand::random::<u64>());
        tracing::info!(%request_id, status = self.status.as_u16(), message = %self.message, "query refused");
        let body = ApiError {
            message: self.message,
            remedy: self.remedy,
            request_id,
        };
        (self.status, Json(body)).into_response()
    }
}
