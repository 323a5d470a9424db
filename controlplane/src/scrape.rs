//! The metrics port: metrics, health, and where Prometheus finds the proxies.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Json;
use axum::routing::get;
use mesh_crd::ObjectKey;
use mesh_model::workload::Workload;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::export::Exporters;
use crate::index::Generation;
use crate::metrics::Metrics;
use crate::proxies::Proxies;

/// Port on which a proxy serves its metrics, at the address of its node id.
const PROXY_PORT: u16 = 15090;

/// What the routes read.
#[derive(Clone)]
pub(crate) struct Scrape {
    pub(crate) worlds: watch::Receiver<Option<Arc<Generation>>>,
    pub(crate) proxies: Arc<Proxies>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) exporters: Exporters,
}

pub(crate) fn router(scrape: Scrape) -> axum::Router {
    axum::Router::new()
        .route("/metrics", get(metrics))
        .route("/http_sd", get(targets))
        .route("/healthz", get(async || "ok"))
        .route("/ready", get(ready))
        .with_state(scrape)
}

async fn metrics(State(scrape): State<Scrape>) -> String {
    scrape.exporters.report(&scrape.metrics);
    scrape.metrics.text()
}

async fn ready(State(scrape): State<Scrape>) -> (StatusCode, &'static str) {
    if scrape.worlds.borrow().is_some() {
        (StatusCode::OK, "ready")
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "configuration has not been read yet",
        )
    }
}

/// Prometheus' HTTP service discovery: every connected proxy.
async fn targets(State(scrape): State<Scrape>) -> Json<Value> {
    let generation = scrape.worlds.borrow().clone();
    let proxies = scrape.proxies.by_pod();
    let list = proxies.iter().filter_map(|((namespace, pod), proxy)| {
        let ip = proxy.id.split('~').nth(1)?;
        let address = if ip.contains(':') {
            format!("[{ip}]:{PROXY_PORT}")
        } else {
            format!("{ip}:{PROXY_PORT}")
        };
        let object = generation
            .as_ref()
            .and_then(|g| g.world.get(&ObjectKey::new("Pod", namespace, pod)).cloned());
        let labels = object.map(|o| o.meta().labels.clone()).unwrap_or_default();
        let workload = Workload::from_labels(namespace, &proxy.workload, "", &labels);
        Some(json!({
            "targets": [address],
            "labels": {
                "namespace": namespace,
                "pod": pod,
                "app": workload.app,
                "version": workload.version,
                "workload": workload.name,
                "__metrics_path__": "/stats/prometheus",
            },
        }))
    });
    Json(list.collect())
}
