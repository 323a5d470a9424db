//! What changes about endpoints by itself: resolved names and the end of ejections. One task owns both.

use std::sync::Arc;
use std::time::Duration;

use mesh_model::cluster::{Discovery, Endpoint};
use tokio::sync::watch;

use crate::compile::{ClusterEntry, Compiled};
use crate::outlier;
use crate::worker::Desired;

/// How often names are resolved (Envoy's default).
const RESOLVE_EVERY: Duration = Duration::from_secs(5);
/// How often ejections are looked at.
const SWEEP_EVERY: Duration = Duration::from_millis(500);

/// Runs until the data plane stops.
pub(crate) async fn run(mut desired: watch::Receiver<Desired>) {
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    let mut resolve = tokio::time::interval(RESOLVE_EVERY);
    loop {
        let now = desired.borrow_and_update().clone();
        if now.stop_by.is_some() {
            return;
        }
        tokio::select! {
            changed = desired.changed() => {
                if changed.is_err() {
                    return;
                }
                resolve.reset_immediately();
            }
            _ = sweep.tick() => {
                for cluster in now.compiled.iter().flat_map(|c| c.clusters.values()) {
                    outlier::sweep(cluster);
                }
            }
            _ = resolve.tick() => {
                if let Some(compiled) = &now.compiled {
                    resolve_all(compiled).await;
                }
            }
        }
    }
}

async fn resolve_all(compiled: &Compiled) {
    for cluster in compiled.clusters.values() {
        let names: Vec<(String, u16)> = match &cluster.config.discovery {
            Discovery::StrictDns(names) => names.clone(),
            Discovery::LogicalDns(name, port) => vec![(name.clone(), *port)],
            Discovery::Eds(_) | Discovery::Static(_) | Discovery::OriginalDestination => continue,
        };
        resolve_one(cluster, &names).await;
    }
}

/// A name that cannot be resolved keeps its last addresses.
async fn resolve_one(cluster: &Arc<ClusterEntry>, names: &[(String, u16)]) {
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for (name, port) in names {
        match tokio::net::lookup_host((name.as_str(), *port)).await {
            Ok(addresses) => {
                for address in addresses {
                    if !endpoints.iter().any(|e| e.address == address) {
                        endpoints.push(Endpoint {
                            address,
                            healthy: true,
                            weight: 1,
                            priority: 0,
                            locality: String::new(),
                            mutual_tls: false,
                            workload: None,
                        });
                    }
                }
            }
            Err(error) => {
                tracing::warn!(cluster = %cluster.config.name, %name, %error, "name not resolved; last addresses stay");
                return;
            }
        }
    }
    endpoints.sort_by_key(|e| e.address);
    if matches!(cluster.config.discovery, Discovery::LogicalDns(..)) {
        endpoints.truncate(1);
    }
    let known = cluster.endpoints.load();
    if !known.all.iter().map(|e| &e.endpoint).eq(endpoints.iter()) {
        cluster.replace_endpoints(&endpoints);
    }
}
