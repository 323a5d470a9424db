//! Outlier detection: endpoints that keep failing are left out for a while.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use mesh_model::cluster::Cluster;

use crate::compile::{ClusterEntry, EndpointEntry};

/// Ejections since the start.
static EJECTIONS: AtomicU64 = AtomicU64::new(0);

/// Ejections since the start.
pub(crate) fn ejections() -> u64 {
    EJECTIONS.load(Ordering::Relaxed)
}

/// Milliseconds since the first look at this clock, plus one (0 means never).
fn now_ms() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    let since = START.get_or_init(Instant::now).elapsed();
    u64::try_from(since.as_millis())
        .unwrap_or(u64::MAX)
        .saturating_add(1)
}

/// Counts how an attempt went and ejects the endpoint when it was one failure too many.
pub(crate) fn judge(cluster: &ClusterEntry, endpoint: &Arc<EndpointEntry>, error: bool, gateway: bool) {
    let Some(policy) = &cluster.config.outlier else {
        return;
    };
    let counters = &endpoint.counters;
    let count = |counter: &std::sync::atomic::AtomicU32, failed: bool| {
        if failed {
            counter.fetch_add(1, Ordering::Relaxed) + 1
        } else {
            counter.store(0, Ordering::Relaxed);
            0
        }
    };
    let all = count(&counters.consecutive_5xx, error);
    let of_gateway = count(&counters.consecutive_gateway, gateway);
    let reached = |limit: u32, seen: u32| limit > 0 && seen >= limit;
    if (reached(policy.consecutive_5xx, all) || reached(policy.consecutive_gateway_errors, of_gateway))
        && !endpoint.is_ejected()
        && may_eject(cluster, policy.max_ejection_percent)
    {
        EJECTIONS.fetch_add(1, Ordering::Relaxed);
        let times = counters.ejections.fetch_add(1, Ordering::Relaxed) + 1;
        let out_for = policy.base_ejection.saturating_mul(times);
        let until = now_ms().saturating_add(u64::try_from(out_for.as_millis()).unwrap_or(u64::MAX));
        counters.ejected_until.store(until, Ordering::Relaxed);
        counters.consecutive_5xx.store(0, Ordering::Relaxed);
        counters.consecutive_gateway.store(0, Ordering::Relaxed);
        tracing::info!(cluster = %cluster.config.name, endpoint = %endpoint.endpoint.address, ?out_for, "ejected");
    }
}

/// One more must stay within the share that may be ejected.
fn may_eject(cluster: &ClusterEntry, most_percent: u32) -> bool {
    let set = cluster.endpoints.load();
    let out = set.all.iter().filter(|e| e.is_ejected()).count() + 1;
    out * 100 <= set.all.len() * usize::try_from(most_percent).unwrap_or(100)
}

/// Takes endpoints back whose time is over; called by one task, twice a second.
pub(crate) fn sweep(cluster: &ClusterEntry) {
    if has_outliers(&cluster.config) {
        let now = now_ms();
        for endpoint in &cluster.endpoints.load().all {
            let until = endpoint.counters.ejected_until.load(Ordering::Relaxed);
            if until != 0 && now >= until {
                endpoint.counters.ejected_until.store(0, Ordering::Relaxed);
            }
        }
    }
}

fn has_outliers(cluster: &Cluster) -> bool {
    cluster.outlier.is_some()
}
