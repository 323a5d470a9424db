//! `/api/metrics`: charts.

use axum::extract::{Query as Params, State};
use axum::response::Json;
use mesh_api::graph::GraphType;
use mesh_api::metrics::Metrics;
use mesh_model::edge::{SeriesDelta, SeriesKey};
use mesh_model::workload::UNKNOWN;
use serde::Deserialize;

use super::graph::TIME_REMEDY;
use super::time::interval;
use super::{Failure, Query};
use crate::charts::{Chart, Field, Subject, promql};
use crate::clock::{rfc3339, unix_ms};
use crate::fold::{self, View};
use crate::traffic::Cut;

/// Most points of a line.
const MAX_POINTS: u64 = 1000;
/// Points when no step is asked for, at most.
const POINTS: u64 = 60;
const MAX_QUANTILES: usize = 10;
const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direction {
    #[default]
    Inbound,
    Outbound,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetricsParams {
    #[serde(default, rename = "type")]
    kind: GraphType,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    direction: Direction,
    #[serde(default)]
    group_by: String,
    from: Option<String>,
    to: Option<String>,
    step: Option<u64>,
    #[serde(default)]
    quantiles: String,
}

pub(super) async fn metrics(
    State(query): State<Query>,
    params: Result<Params<MetricsParams>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Metrics>, Failure> {
    let Params(params) = params.map_err(|e| Failure::bad(e.body_text(), "see the API's description"))?;
    let now_ms = unix_ms();
    let interval = interval(params.from.as_deref(), params.to.as_deref(), now_ms)
        .map_err(|e| Failure::bad(e, TIME_REMEDY))?;
    let field = Field::parse(&params.group_by).ok_or_else(|| {
        let names: Vec<&str> = Field::ALL.iter().map(|(_, name)| *name).collect();
        Failure::bad(
            format!("groupBy {:?} is not known", params.group_by),
            &format!("use one of {}", names.join(", ")),
        )
    })?;
    let quantiles = quantiles(&params.quantiles)?;
    let mut cut = cut(interval.from, interval.to, params.step)?;
    let view = query.view(params.kind, std::collections::BTreeSet::new());
    let mut chart = Chart::new(cut, field);
    let mut visit = |window: u64, key: &SeriesKey, delta: &SeriesDelta| {
        if fold::counts(key) && is_of(&view, key, &params.subject, params.direction) {
            chart.add(window, key, delta);
        }
    };
    let start = query
        .visit(interval.from, interval.to, cut.resolution(), &mut visit)
        .await?;
    cut.from = start.min(cut.to);
    chart.begin(start);
    let subject = subject(&view, &params.subject, params.direction);
    let quantile = quantiles.get(1).or(quantiles.first()).copied().unwrap_or(0.95);
    Ok(Json(Metrics {
        from: rfc3339(cut.from * 1000),
        to: rfc3339(cut.to.saturating_mul(1000).min(now_ms.max(cut.from * 1000))),
        step_seconds: cut.step,
        groups: chart.finish(&quantiles),
        promql: promql(&subject, field, quantile, cut.step),
        quantiles,
    }))
}

fn is_of(view: &View, key: &SeriesKey, subject: &str, direction: Direction) -> bool {
    subject.is_empty()
        || subject
            == match direction {
                Direction::Inbound => view.target(key).id,
                Direction::Outbound => view.source(key).id,
            }
}

fn quantiles(text: &str) -> Result<Vec<f64>, Failure> {
    if text.is_empty() {
        return Ok(QUANTILES.to_vec());
    }
    let list = text.split(',').map(|part| part.trim().parse::<f64>().ok());
    let list: Option<Vec<f64>> = list.map(|q| q.filter(|q| (0.0..=1.0).contains(q))).collect();
    list.filter(|list| list.len() <= MAX_QUANTILES).ok_or_else(|| {
        Failure::bad(
            format!("quantiles {text:?} are not up to {MAX_QUANTILES} numbers from 0 to 1"),
            "write for example 0.5,0.95,0.99",
        )
    })
}

/// A step is rounded up to whole windows of the resolution that it needs.
fn cut(from: u64, to: u64, step: Option<u64>) -> Result<Cut, Failure> {
    let Some(step) = step else {
        return Ok(Cut::into_points(from, to, POINTS));
    };
    let unit = match step {
        0..=60 => 10,
        61..=3600 => 60,
        _ => 3600,
    };
    let cut = Cut::new(from, to, step.max(1).div_ceil(unit).saturating_mul(unit));
    if u64::try_from(cut.points()).unwrap_or(u64::MAX) > MAX_POINTS {
        return Err(Failure::bad(
            format!("a step of {step} s makes more than {MAX_POINTS} points"),
            "ask for a longer step or a shorter interval",
        ));
    }
    Ok(cut)
}

/// How a Prometheus names a node.
fn subject(view: &View, id: &str, direction: Direction) -> Subject {
    let inbound = direction == Direction::Inbound;
    if id.is_empty() {
        return Subject::Mesh;
    }
    if id == UNKNOWN {
        return Subject::Unknown { inbound };
    }
    if let Some(host) = id.strip_prefix("service:") {
        let behind = view.services.iter().find(|(_, service)| *service == host);
        return match behind {
            Some(((namespace, name), _)) if !inbound => Subject::Workload {
                namespace: namespace.clone(),
                name: name.clone(),
                inbound,
            },
            _ => Subject::Service {
                host: host.to_owned(),
            },
        };
    }
    let (namespace, name) = id.split_once('/').unwrap_or(("", id));
    let namespace = namespace.to_owned();
    match view.kind {
        GraphType::Workload => Subject::Workload {
            // A gateway's calls from outside are those that it sends on.
            inbound: inbound && !view.gateways.contains(&(namespace.clone(), name.to_owned())),
            namespace,
            name: name.to_owned(),
        },
        GraphType::VersionedApp => {
            let (name, version) = name.rsplit_once('@').unwrap_or((name, ""));
            Subject::App {
                namespace,
                name: name.to_owned(),
                version: Some(version.to_owned()),
                inbound,
            }
        }
        GraphType::App | GraphType::Service => Subject::App {
            namespace,
            name: name.to_owned(),
            version: None,
            inbound,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::{cut, quantiles};

    #[test]
    fn steps_are_whole_windows() {
        for (step, wanted) in [(0, 10), (1, 10), (10, 10), (15, 20), (61, 120), (3601, 7200)] {
            assert_eq!(
                cut(0, 1000, Some(step)).ok().map(|c| c.step),
                Some(wanted),
                "{step}"
            );
        }
        assert!(cut(0, 100_000, Some(10)).is_err());
        assert_eq!(cut(0, 300, None).ok().map(|c| c.step), Some(10));
    }

    #[test]
    fn quantiles_lie_between_0_and_1() {
        assert_eq!(quantiles("").ok(), Some(vec![0.5, 0.95, 0.99]));
        assert_eq!(quantiles("0, 1").ok(), Some(vec![0.0, 1.0]));
        for bad in ["x", "0.5,", "1.1", "-0.1", "NaN", "0,0,0,0,0,0,0,0,0,0,0"] {
            assert!(quantiles(bad).is_err(), "{bad}");
        }
    }
}
