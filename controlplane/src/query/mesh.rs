//! `/api/proxies`, `/api/status`.

use axum::extract::State;
use axum::response::Json;
use mesh_api::mesh::{Gap, ProxyList, Status};
use sha2::{Digest, Sha256};

use super::Query;
use crate::clock::{rfc3339, unix_ms};
use crate::index::Generation;

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
        ..Status::default()
    })
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
