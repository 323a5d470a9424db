//! From a cluster to an endpoint.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use mesh_model::balance::{self, PriorityHealth};
use mesh_model::cluster::Balancer;

use crate::compile::{ClusterEntry, EndpointEntry, EndpointSet};
use crate::worker::Worker;

/// An endpoint that may serve a request; endpoints of `tried` (ids) are avoided for up to `tries` draws.
pub(crate) fn pick(
    worker: &Worker,
    cluster: &ClusterEntry,
    hash: Option<u64>,
    tried: &[u32],
    tries: u32,
) -> Option<Arc<EndpointEntry>> {
    let set = cluster.endpoints.load();
    let mut chosen = pick_once(worker, cluster, &set, hash)?;
    for _ in 0..tries {
        if !tried.contains(&chosen.id) {
            break;
        }
        chosen = pick_once(worker, cluster, &set, None)?;
    }
    Some(Arc::clone(chosen))
}

fn pick_once<'s>(
    worker: &Worker,
    cluster: &ClusterEntry,
    set: &'s EndpointSet,
    hash: Option<u64>,
) -> Option<&'s Arc<EndpointEntry>> {
    let ejections = cluster.config.outlier.is_some() && set.all.iter().any(|e| e.is_ejected());
    if set.uniform && !ejections && hash.is_none() {
        // The common case: everything is healthy, nothing is preferred.
        return match cluster.config.balancer {
            Balancer::RoundRobin => {
                let mut turns = worker.turns.borrow_mut();
                let turn = turns.entry(cluster.id).or_default();
                if turn.len() != 1 {
                    *turn = vec![i64::try_from(worker.random() >> 33).unwrap_or(0)];
                }
                let position = turn.first_mut().map(|position| {
                    *position = position.wrapping_add(1);
                    position.unsigned_abs()
                })?;
                set.all
                    .get(usize::try_from(position).ok()? % set.all.len().max(1))
            }
            Balancer::Random => {
                let draw = usize::try_from(worker.random() >> 1).unwrap_or(0);
                set.all.get(draw % set.all.len().max(1))
            }
            _ => {
                let (a, b) = balance::two_choices(set.all.len(), worker.random())?;
                lighter(set.all.get(a)?, set.all.get(b)?)
            }
        };
    }
    let usable = |entry: &EndpointEntry| entry.endpoint.healthy && !entry.is_ejected();
    let entries = |level: &[u32]| -> Vec<&'s Arc<EndpointEntry>> {
        level
            .iter()
            .filter_map(|at| set.all.get(usize::try_from(*at).ok()?))
            .collect()
    };
    let health: Vec<PriorityHealth> = set
        .levels
        .iter()
        .map(|level| {
            let all = entries(level);
            PriorityHealth {
                all: u32::try_from(all.len()).unwrap_or(u32::MAX),
                healthy: u32::try_from(all.iter().filter(|e| usable(e)).count()).unwrap_or(u32::MAX),
            }
        })
        .collect();
    let draw = hash.unwrap_or_else(|| worker.random());
    let (level, panic) = balance::priority(&health, cluster.config.panic_threshold_percent, draw)?;
    let mut candidates = entries(set.levels.get(level)?);
    if !panic {
        candidates.retain(|entry| usable(entry));
    }
    if let Some(hash) = hash {
        let tabled = set.tables.get(level).and_then(|table| table.pick(hash));
        let tabled = tabled.and_then(|at| set.all.get(usize::try_from(at).ok()?));
        return match tabled.filter(|entry| usable(entry)) {
            Some(entry) => Some(entry),
            // One that is out of use for now gives its keys to all others, and gets them back.
            None => rendezvous(&candidates, hash),
        };
    }
    let weights = candidates.iter().map(|e| e.endpoint.weight.max(1));
    let position = match cluster.config.balancer {
        Balancer::RoundRobin => {
            let mut turns = worker.turns.borrow_mut();
            let turn = turns.entry(cluster.id).or_default();
            if turn.len() != candidates.len() {
                *turn = vec![0; candidates.len()];
            }
            balance::round_robin(turn, weights)?
        }
        Balancer::LeastRequest if candidates.iter().all(|e| e.endpoint.weight <= 1) => {
            let (a, b) = balance::two_choices(candidates.len(), worker.random())?;
            return lighter(candidates.get(a).copied()?, candidates.get(b).copied()?);
        }
        Balancer::LeastRequest => {
            // Weight over load, as Envoy does when weights differ.
            let scaled = candidates.iter().map(|e| {
                let load = e.counters.active.load(Ordering::Relaxed).saturating_add(1);
                (e.endpoint.weight.max(1).saturating_mul(1000) / load).max(1)
            });
            balance::weighted(scaled, worker.random())?
        }
        _ => balance::weighted(weights, worker.random())?,
    };
    candidates.get(position).copied()
}

fn lighter<'s>(a: &'s Arc<EndpointEntry>, b: &'s Arc<EndpointEntry>) -> Option<&'s Arc<EndpointEntry>> {
    let load = |entry: &EndpointEntry| entry.counters.active.load(Ordering::Relaxed);
    Some(if load(b) < load(a) { b } else { a })
}

/// Consistent choice: the endpoint with the highest score for this hash; losing one endpoint moves only its own keys.
fn rendezvous<'s>(candidates: &[&'s Arc<EndpointEntry>], hash: u64) -> Option<&'s Arc<EndpointEntry>> {
    candidates
        .iter()
        .max_by(|a, b| score(a, hash).total_cmp(&score(b, hash)))
        .copied()
}

fn score(entry: &EndpointEntry, hash: u64) -> f64 {
    let key = balance::hash(entry.endpoint.address.to_string().as_bytes());
    let mixed = balance::hash(&(key ^ hash).to_le_bytes());
    #[expect(clippy::cast_precision_loss, reason = "only the order counts")]
    let unit = ((mixed >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(entry.endpoint.weight.max(1)) / unit.ln()
}
