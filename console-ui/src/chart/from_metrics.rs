//! The API's counts as charts. Pure.

use mesh_api::metrics::{Group, MetricPoint, Metrics};

use super::data::{Data, Form, Line, Tone, Unit};
use crate::format::number;
use crate::text::t;

fn data(metrics: &Metrics, now: f64, form: Form, unit: Unit, lines: Vec<Line>) -> Data {
    let first = metrics.groups.iter().find_map(|group| group.points.first());
    Data {
        from_ms: number(first.map_or(0, |point| point.at)) * 1000.0,
        step_ms: step(metrics) * 1000.0,
        lines,
        form,
        unit,
    }
    .closed(now)
}

fn step(metrics: &Metrics) -> f64 {
    number(metrics.step_seconds).max(1.0)
}

/// A line for each group.
fn groups(metrics: &Metrics, alone: &str, value: impl Fn(&MetricPoint) -> Option<f64>) -> Vec<Line> {
    let line = |(place, group): (usize, &Group)| Line {
        name: if group.name.is_empty() {
            alone.to_owned()
        } else {
            group.name.clone()
        },
        tone: if group.name == "other" {
            Tone::Other
        } else {
            tone_of(&group.name).unwrap_or(Tone::Series(place))
        },
        values: group.points.iter().map(&value).collect(),
    };
    metrics.groups.iter().enumerate().map(line).collect()
}

/// Status codes have the colours of their class.
fn tone_of(name: &str) -> Option<Tone> {
    let code: u16 = name.parse().ok()?;
    (name.len() == 3 || code == 0).then_some(match code {
        200..300 => Tone::Ok,
        100..400 => Tone::Info,
        400..500 => Tone::Warn,
        _ => Tone::Fail,
    })
}

/// Requests a second by group, stacked.
pub fn rates(metrics: &Metrics, now: f64) -> Data {
    let step = step(metrics);
    let lines = groups(metrics, t().requests, |point| Some(number(point.requests) / step));
    data(metrics, now, Form::Stacked, Unit::Rate, lines)
}

/// Share of errors by group.
pub fn error_share(metrics: &Metrics, now: f64) -> Data {
    let mut lines = groups(metrics, t().errors, |point| {
        (point.requests > 0).then(|| number(point.errors) / number(point.requests) * 100.0)
    });
    if let [line] = lines.as_mut_slice() {
        line.tone = Tone::Fail;
    }
    data(metrics, now, Form::Areas, Unit::Percent, lines)
}

/// Durations: a line for each quantile of the one group, or the highest quantile of each group.
pub fn durations(metrics: &Metrics, now: f64) -> Data {
    let quantile = |place: usize| move |point: &MetricPoint| point.quantiles_ms.get(place).copied().flatten();
    let lines = if metrics.groups.len() <= 1 {
        metrics
            .quantiles
            .iter()
            .enumerate()
            .flat_map(|(place, q)| {
                groups(metrics, &quantile_name(*q), quantile(place))
                    .into_iter()
                    .map(move |line| Line {
                        name: quantile_name(*q),
                        tone: Tone::Series(place),
                        ..line
                    })
            })
            .collect()
    } else {
        groups(metrics, "", quantile(metrics.quantiles.len().saturating_sub(1)))
    };
    data(metrics, now, Form::Lines, Unit::Millis, lines)
}

/// One quantile by group.
pub fn quantile(metrics: &Metrics, place: usize, now: f64) -> Data {
    let lines = groups(metrics, t().requests, |point| {
        point.quantiles_ms.get(place).copied().flatten()
    });
    data(metrics, now, Form::Lines, Unit::Millis, lines)
}

/// Bytes a second by group: those of requests, or those of answers.
pub fn throughput(metrics: &Metrics, answers: bool, now: f64) -> Data {
    let step = step(metrics);
    let lines = groups(metrics, t().bytes, |point| {
        let bytes = if answers {
            point.response_bytes
        } else {
            point.request_bytes
        };
        Some(number(bytes) / step)
    });
    data(metrics, now, Form::Areas, Unit::BytesRate, lines)
}

/// Mean size of requests or answers by group.
pub fn size(metrics: &Metrics, answers: bool, now: f64) -> Data {
    let lines = groups(metrics, t().bytes, |point| {
        let bytes = if answers {
            point.response_bytes
        } else {
            point.request_bytes
        };
        (point.requests > 0).then(|| number(bytes) / number(point.requests))
    });
    data(metrics, now, Form::Lines, Unit::Bytes, lines)
}

/// `p95`
pub fn quantile_name(q: f64) -> String {
    let percent = format!("{:.2}", q * 100.0);
    format!("p{}", percent.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_rates_and_shares() {
        let point = |at, requests, errors| MetricPoint {
            at,
            requests,
            errors,
            quantiles_ms: vec![Some(5.0), None],
            ..MetricPoint::default()
        };
        let metrics = Metrics {
            step_seconds: 10,
            quantiles: vec![0.5, 0.999],
            groups: vec![Group {
                points: vec![point(100, 50, 5), point(110, 0, 0), point(120, 7, 7)],
                ..Group::default()
            }],
            ..Metrics::default()
        };
        let now = 125_000.0;
        assert_eq!(rates(&metrics, now).lines[0].values, [Some(5.0), Some(0.0)]);
        assert_eq!(error_share(&metrics, now).lines[0].values, [Some(10.0), None]);
        let durations = durations(&metrics, now);
        let names: Vec<_> = durations.lines.iter().map(|line| line.name.as_str()).collect();
        assert_eq!(names, ["p50", "p99.9"]);
        assert_eq!(durations.lines[1].values, [None, None]);
        assert!((rates(&metrics, now).from_ms - 100_000.0).abs() < 1e-9);
    }

    #[test]
    fn codes_have_the_colour_of_their_class() {
        for (name, expected) in [
            ("200", Some(Tone::Ok)),
            ("302", Some(Tone::Info)),
            ("404", Some(Tone::Warn)),
            ("503", Some(Tone::Fail)),
            ("0", Some(Tone::Fail)),
            ("reviews", None),
            ("1", None),
        ] {
            assert_eq!(tone_of(name), expected, "{name}");
        }
    }
}
