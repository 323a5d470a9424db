//! `/api/overview`: the mesh at a glance.

use std::collections::BTreeMap;

use axum::extract::{Query as Params, State};
use axum::response::Json;
use mesh_api::inventory::{Health, Offender, Overview};
use mesh_model::edge::SeriesKey;
use mesh_model::workload::{UNKNOWN, Workload};
use mesh_store::records::RevisionQuery;
use serde::Deserialize;

use super::time::interval;
use super::{Failure, Query, history};
use crate::clock::unix_ms;
use crate::traffic::{Ledger, Tally};

const MAX_OFFENDERS: usize = 10;
const MAX_PROBLEMS: usize = 20;
const MAX_CHANGES: usize = 10;
/// Requests below which a quantile or a clean record says nothing.
const ENOUGH: u64 = 10;
/// Slow whatever it was before, milliseconds.
const SLOW_MS: f64 = 1000.0;
/// Slower than before: by this factor, and by this many milliseconds.
const SLOWER: (f64, f64) = (2.0, 50.0);

#[derive(Debug, Deserialize)]
pub(super) struct OverviewParams {
    from: Option<String>,
    to: Option<String>,
}

pub(super) async fn overview(
    State(query): State<Query>,
    params: Result<Params<OverviewParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Overview>, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let (from, to) = (params.from.as_deref(), params.to.as_deref());
    let rows = query.rows(from, to).await?;
    let before = query.before(from, to).await;
    let mut mesh = Tally::default();
    for (key, entry) in rows.ledger.series() {
        if key.source.name == UNKNOWN || !rows.is_called(&key.source) {
            mesh.add(key, entry);
        }
    }
    let mut problems = query.summaries(&rows.generation, rows.generation.objects.keys().cloned());
    problems.retain(|object| !object.problems.is_empty());
    problems.sort_by_key(|object| {
        let worst = object.problems.iter().map(|p| p.severity).max();
        std::cmp::Reverse((worst, object.problems.len()))
    });
    problems.truncate(MAX_PROBLEMS);
    let changes = query
        .revisions
        .revisions(&RevisionQuery::default(), MAX_CHANGES)
        .await
        .unwrap_or_default();
    let proxies = query.proxies.list().proxies;
    let connected = || proxies.iter().filter(|p| p.connected);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let mut versions: BTreeMap<String, u32> = BTreeMap::new();
    for proxy in connected() {
        *versions.entry(proxy.version.clone()).or_default() += 1;
    }
    let expiries = connected().map(|p| p.certificate_expires.as_str());
    Ok(Json(Overview {
        mesh: mesh.traffic(rows.ledger.cut),
        namespaces: rows.namespaces(),
        offenders: offenders(&edges(&rows.ledger), &before),
        problems,
        changes: changes
            .iter()
            .map(|revision| mesh_api::history::Revision {
                yaml: String::new(),
                ..history::revision(revision)
            })
            .collect(),
        proxies: count(connected().count()),
        synced: count(connected().filter(|p| p.state == "synced").count()),
        certificate_expires: expiries
            .filter(|at| !at.is_empty())
            .min()
            .unwrap_or_default()
            .to_owned(),
        versions: versions.into_iter().collect(),
    }))
}

impl Query {
    /// Edges of the interval of the same length before; without the history none are known.
    async fn before(&self, from: Option<&str>, to: Option<&str>) -> BTreeMap<Edge, Tally> {
        let now_ms = unix_ms();
        let Ok(mut earlier) = interval(from, to, now_ms) else {
            return BTreeMap::new();
        };
        let length = earlier.to - earlier.from;
        (earlier.from, earlier.to) = (earlier.from.saturating_sub(length), earlier.from);
        match self.ledger(earlier, now_ms / 1000).await {
            Ok(ledger) => edges(&ledger),
            Err(_) => BTreeMap::new(),
        }
    }
}

/// Source, target, service.
type Edge = (String, String, String);

fn edges(ledger: &Ledger) -> BTreeMap<Edge, Tally> {
    let mut edges: BTreeMap<Edge, Tally> = BTreeMap::new();
    for (key, entry) in ledger.series() {
        edges.entry(edge(key)).or_default().add(key, entry);
    }
    edges
}

fn edge(key: &SeriesKey) -> Edge {
    let id = |workload: &Workload| {
        if workload.name == UNKNOWN {
            UNKNOWN.to_owned()
        } else {
            format!("{}/{}", workload.namespace, workload.name)
        }
    };
    (id(&key.source), id(&key.destination), key.service.host.clone())
}

/// Edges that do badly, worst first: failing, newly failing, slow, slower than before.
fn offenders(now: &BTreeMap<Edge, Tally>, before: &BTreeMap<Edge, Tally>) -> Vec<Offender> {
    let mut found: Vec<(Health, Offender)> = Vec::new();
    for (edge, tally) in now {
        let counts = tally.counts();
        let earlier = before.get(edge);
        let was = earlier.map(Tally::counts).unwrap_or_default();
        let p95 = tally.p95_ms().filter(|_| counts.requests >= ENOUGH);
        let p95_before = earlier.and_then(Tally::p95_ms).filter(|_| was.requests >= ENOUGH);
        let slower = p95
            .zip(p95_before)
            .is_some_and(|(now, before)| now >= before * SLOWER.0 && now >= before + SLOWER.1);
        let (reason, health) = if counts.errors > 0 && tally.health() >= Health::Warn {
            let clean = was.requests >= ENOUGH && was.errors == 0;
            (if clean { "new errors" } else { "errors" }, tally.health())
        } else if slower || p95.is_some_and(|p95| p95 >= SLOW_MS) {
            ("latency", Health::Warn)
        } else {
            continue;
        };
        let (source, target, service) = edge.clone();
        let offender = Offender {
            reason: reason.to_owned(),
            source,
            target,
            service,
            requests: counts.requests,
            errors: counts.errors,
            p95_ms: tally.p95_ms(),
        };
        found.push((health, offender));
    }
    found.sort_by(|(a, x), (b, y)| {
        let errors = y.errors.cmp(&x.errors);
        let slow = y.p95_ms.unwrap_or(0.0).total_cmp(&x.p95_ms.unwrap_or(0.0));
        b.cmp(a).then(errors).then(slow)
    });
    found.truncate(MAX_OFFENDERS);
    found.into_iter().map(|(_, offender)| offender).collect()
}

#[cfg(test)]
mod tests {
    use mesh_store::conformance::{NOW, batch, key};

    use super::{edges, offenders};
    use crate::traffic::{Cut, Ledger};

    /// (source, code, requests, milliseconds).
    fn ledger(series: &[(&str, u16, u64, f64)]) -> Ledger {
        let mut ledger = Ledger::new(Cut::new(NOW, NOW + 10, 10));
        for (source, code, requests, ms) in series {
            let mut delta = batch("a", 1, 1, NOW, 0).windows.remove(0).series.remove(0).1;
            delta.requests = *requests;
            (0..*requests).for_each(|_| delta.duration.record(*ms));
            ledger.add(NOW, &key(source, *code), &delta);
        }
        ledger
    }

    #[test]
    fn worst_first() {
        let before = ledger(&[
            ("new", 200, 50, 10.0),
            ("slower", 200, 50, 10.0),
            ("old", 503, 5, 10.0),
        ]);
        let now = ledger(&[
            ("new", 200, 50, 10.0),
            ("new", 503, 1, 10.0),
            ("old", 503, 20, 10.0),
            ("slow", 200, 10, 1500.0),
            ("slower", 200, 10, 100.0),
            ("few", 200, 9, 5000.0),
            ("fine", 200, 1000, 10.0),
            ("denied", 403, 1000, 10.0),
        ]);
        let list = offenders(&edges(&now), &edges(&before));
        let shape: Vec<_> = list
            .iter()
            .map(|o| (o.source.as_str(), o.reason.as_str(), o.errors))
            .collect();
        assert_eq!(
            shape,
            [
                ("default/old", "errors", 20),
                ("default/new", "new errors", 1),
                ("default/slow", "latency", 0),
                ("default/slower", "latency", 0),
            ]
        );
    }
}
