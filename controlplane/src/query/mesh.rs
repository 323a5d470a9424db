//! `/api/proxies`, `/api/proxies/{id}/config`, `/api/status`.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Json;
use mesh_api::mesh::{Gap, ProxyList, Status};
use mesh_xds::json::{Descriptors, JsonError};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{Failure, Query};
use crate::clock::{rfc3339, unix_ms};
use crate::index::Generation;
use crate::publish::{Kind, Published};

/// Gaps are shown for the last hour.
const GAPS: u64 = 3600;

pub(super) async fn proxies(State(query): State<Query>) -> Json<ProxyList> {
    Json(query.proxies.list())
}

pub(super) async fn status(State(query): State<Query>) -> Json<Status> {
    let now = unix_ms() / 1000;
    let usage = query.history.usage().await.unwrap_or_default();
    let gaps = query
        .history
        .gaps(now.saturating_sub(GAPS), now + 1)
        .await
        .unwrap_or_default();
    let error = query.history.failure();
    let generation = query.worlds.borrow().clone();
    Json(Status {
        version: env!("CARGO_PKG_VERSION").into(),
        revision: generation.map(|g| g.revision()).unwrap_or_default(),
        recording: error.is_none(),
        recording_error: error,
        history_bytes: usage.bytes,
        history_limit_bytes: usage.limit,
        gaps: gaps
            .iter()
            .rev()
            .map(|gap| Gap {
                proxy: gap.proxy.clone(),
                at: rfc3339(gap.to_ms),
                reason: gap.reason.clone(),
            })
            .collect(),
        store: query.store.clone(),
        exporters: query.recorder.exporters().status(),
        records_dropped: query.recorder.dropped(),
    })
}

/// What a proxy was sent, as JSON of Envoy's messages.
pub(super) async fn proxy_config(
    State(query): State<Query>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Failure> {
    let published = query.proxies.published(&id).ok_or_else(|| {
        let mut failure = Failure::new(
            StatusCode::NOT_FOUND,
            format!("proxy {id} is not connected, or has not been sent anything yet"),
        );
        failure.remedy = Some("see /api/proxies for those that are".into());
        failure
    })?;
    super::computed(move || dump(&published))
        .await?
        .map(Json)
        .map_err(|e| Failure::new(StatusCode::INTERNAL_SERVER_ERROR, e.to_string()))
}

fn dump(published: &Published) -> Result<Value, JsonError> {
    // Some megabytes: loaded for this answer, freed after it.
    let descriptors = Descriptors::load()?;
    let mut out = Map::new();
    out.insert("revision".into(), published.revision.as_str().into());
    for (kind, name) in [
        (Kind::Listeners, "listeners"),
        (Kind::Routes, "routes"),
        (Kind::Clusters, "clusters"),
        (Kind::Endpoints, "endpoints"),
    ] {
        let resources = published.of(kind).values();
        let list: Result<Vec<Value>, JsonError> =
            resources.map(|r| descriptors.any_to_json(&r.any)).collect();
        out.insert(name.into(), Value::Array(list?));
    }
    Ok(Value::Object(out))
}

impl Generation {
    /// Hash of what all objects say, without status.
    fn revision(&self) -> String {
        let mut hash = Sha256::new();
        for (key, object) in self.world.objects() {
            hash.update(key.to_string());
            hash.update([0]);
            hash.update(&object.meta().revision);
        }
        hash.finalize()
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}
