//! Charts of one thing: any quantile, grouped by any field.

use leptos::prelude::*;
use mesh_api::metrics::{MetricPoint, Metrics};

use super::subject::Subject;
use crate::address::{Step, address};
use crate::api;
use crate::chart::{Chart, Data, Form, Line, Tone, Unit, from_metrics};
use crate::clock;
use crate::format::number;
use crate::load::{Loaded, load, skeleton_chart};
use crate::parts::segmented;
use crate::text::inventory::words;
use crate::text::t;
use crate::time::time;

/// Quantiles that may be asked for.
const QUANTILES: [(f64, &str); 5] = [
    (0.5, "p50"),
    (0.9, "p90"),
    (0.95, "p95"),
    (0.99, "p99"),
    (0.999, "p99.9"),
];
const USUAL: &str = "p50,p95,p99";

/// The tab.
#[component]
pub fn MetricsTab(subject: Memo<Option<Subject>>) -> impl IntoView {
    let (address, time) = (address(), time());
    let outbound = move || address.read("direction").as_deref() == Some("outbound");
    let group = move || address.read("groupBy");
    let quantiles = Memo::new(move |_| {
        let text = address.read("quantiles").unwrap_or_else(|| USUAL.to_owned());
        let chosen: Vec<usize> = (0..QUANTILES.len())
            .filter(|at| {
                QUANTILES
                    .get(*at)
                    .is_some_and(|(_, name)| text.split(',').any(|part| part == *name))
            })
            .collect();
        if chosen.is_empty() { vec![2] } else { chosen }
    });
    let metrics = load::<Metrics>(move || {
        let subject = subject.get()?;
        let wanted: Vec<String> = quantiles
            .get()
            .iter()
            .filter_map(|at| QUANTILES.get(*at))
            .map(|(q, _)| q.to_string())
            .collect();
        let direction = if outbound() { "outbound" } else { "inbound" };
        let mut path = format!(
            "/api/metrics?type={}&subject={}&direction={direction}&{}&step={}&quantiles={}",
            subject.kind.graph(),
            api::encode(&subject.node),
            time.query(),
            time.step(),
            wanted.join(",")
        );
        if let Some(group) = group() {
            path.push_str(&format!("&groupBy={}", api::encode(&group)));
        }
        Some(path)
    });
    view! {
        <div class="toolbar" role="toolbar" aria-label=words().metrics>
            {segmented(
                words().direction,
                vec![(false, t().inbound), (true, t().outbound)],
                outbound,
                move |out| address.write(&[("direction", out.then(|| "outbound".to_owned()))], Step::Replace),
            )}
            {group_choice()}
            <div class="segmented" role="group" aria-label=words().quantiles>{quantile_buttons(quantiles)}</div>
        </div>
        {metrics.view(words().metrics, skeleton_charts, move || charts(metrics))}
    }
}

fn skeleton_charts() -> AnyView {
    view! { <div class="charts">{(0..6).map(|_| skeleton_chart()).collect_view()}</div> }.into_any()
}

fn group_choice() -> impl IntoView {
    let address = address();
    let w = words();
    let options = [
        ("", w.no_group),
        ("source", t().source),
        ("destination", t().target),
        ("service", t().service),
        ("version", t().version),
        ("code", t().codes),
        ("grpcStatus", w.grpc_status),
        ("flags", t().flags),
        ("route", t().routes),
        ("protocol", t().protocol),
        ("mutualTls", t().mtls),
    ];
    let options = options.map(|(value, name)| {
        view! { <option value=value selected=move || address.read("groupBy").unwrap_or_default() == value>{name}</option> }
    });
    view! {
        <label class="field">
            {w.group_by}
            <select class="select" data-group-by="" on:change=move |event| {
                let value = event_target_value(&event);
                address.write(&[("groupBy", (!value.is_empty()).then_some(value))], Step::Replace);
            }>
                {options.into_iter().collect_view()}
            </select>
        </label>
    }
}

fn quantile_buttons(chosen: Memo<Vec<usize>>) -> impl IntoView {
    let address = address();
    let button = |at: usize| {
        let name = QUANTILES.get(at).map_or("", |(_, name)| *name);
        let toggle = move |_| {
            let now = chosen.get_untracked();
            let names: Vec<&str> = (0..QUANTILES.len())
                .filter(|place| now.contains(place) != (*place == at))
                .filter_map(|place| QUANTILES.get(place))
                .map(|(_, name)| *name)
                .collect();
            let text = names.join(",");
            let changed = (!text.is_empty() && text != USUAL).then_some(text);
            address.write(&[("quantiles", changed)], Step::Replace);
        };
        view! { <button aria-pressed=move || chosen.with(|chosen| chosen.contains(&at)).to_string() on:click=toggle>{name}</button> }
    };
    (0..QUANTILES.len()).map(button).collect_view()
}

fn charts(metrics: Loaded<Metrics>) -> impl IntoView {
    let w = words();
    let value = metrics.value;
    let data = move |draw: fn(&Metrics, f64) -> Data| {
        Signal::derive(move || {
            value.with(|metrics| metrics.as_ref().map(|metrics| draw(metrics, clock::now())))
        })
    };
    let promql = move |name: &'static str| {
        Signal::derive(move || {
            value.with(|metrics| {
                metrics
                    .as_ref()
                    .and_then(|metrics| metrics.promql.get(name).cloned())
            })
        })
    };
    let several = Memo::new(move |_| {
        value.with(|metrics| metrics.as_ref().is_some_and(|metrics| metrics.groups.len() > 1))
    });
    let each_quantile = move || {
        let quantiles = value.with(|metrics| {
            metrics
                .as_ref()
                .map(|metrics| metrics.quantiles.clone())
                .unwrap_or_default()
        });
        let chart = |(place, q): (usize, &f64)| {
            let data = Signal::derive(move || {
                value.with(|metrics| {
                    metrics
                        .as_ref()
                        .map(|metrics| from_metrics::quantile(metrics, place, clock::now()))
                })
            });
            view! { <Chart title=format!("{} {}", w.duration, from_metrics::quantile_name(*q)) data=data promql=promql("duration")/> }
        };
        quantiles.iter().enumerate().map(chart).collect_view()
    };
    let count = Memo::new(move |_| {
        value.with(|metrics| metrics.as_ref().map_or(0, |metrics| metrics.quantiles.len()))
    });
    view! {
        <div class="charts" data-charts="">
            <Chart title=t().rate data=data(from_metrics::rates) promql=promql("requests")/>
            <Chart title=t().errors data=data(from_metrics::error_share) promql=promql("errors")/>
            {move || if several.get() {
                count.track();
                untrack(each_quantile).into_any()
            } else {
                view! { <Chart title=w.duration data=data(from_metrics::durations) promql=promql("duration")/> }.into_any()
            }}
            <Chart title=w.client_errors data=data(client_errors)/>
            <Chart title=w.retries data=data(retries)/>
            <Chart title=w.request_size data=data(|metrics, now| from_metrics::size(metrics, false, now)) promql=promql("request_bytes")/>
            <Chart title=w.response_size data=data(|metrics, now| from_metrics::size(metrics, true, now)) promql=promql("response_bytes")/>
            <Chart title=w.request_throughput data=data(|metrics, now| from_metrics::throughput(metrics, false, now)) promql=promql("request_bytes")/>
            <Chart title=w.response_throughput data=data(|metrics, now| from_metrics::throughput(metrics, true, now)) promql=promql("response_bytes")/>
        </div>
    }
}

/// Share of 4xx by group.
fn client_errors(metrics: &Metrics, now: f64) -> Data {
    by_group(metrics, now, Unit::Percent, |point| {
        (point.requests > 0).then(|| number(point.client_errors) / number(point.requests) * 100.0)
    })
}

/// Attempts beyond the first, in percent of the requests.
fn retries(metrics: &Metrics, now: f64) -> Data {
    by_group(metrics, now, Unit::Percent, |point| {
        let more = point.attempts.saturating_sub(point.requests);
        (point.requests > 0).then(|| number(more) / number(point.requests) * 100.0)
    })
}

fn by_group(metrics: &Metrics, now: f64, unit: Unit, value: fn(&MetricPoint) -> Option<f64>) -> Data {
    // Times and groups are those of another chart.
    let mut data = from_metrics::error_share(metrics, now);
    let windows = data.windows();
    data.unit = unit;
    data.form = Form::Lines;
    data.lines = metrics
        .groups
        .iter()
        .enumerate()
        .map(|(place, group)| Line {
            name: group.name.clone(),
            tone: Tone::Series(place),
            values: group.points.iter().take(windows).map(value).collect(),
        })
        .collect();
    data
}

#[cfg(test)]
mod tests {
    use mesh_api::metrics::Group;

    use super::*;

    #[test]
    fn shares_of_no_requests_are_unknown() {
        let point = |requests, client_errors, attempts| MetricPoint {
            requests,
            client_errors,
            attempts,
            ..MetricPoint::default()
        };
        let metrics = Metrics {
            step_seconds: 10,
            groups: vec![Group {
                points: vec![point(10, 1, 15), point(0, 0, 0)],
                ..Group::default()
            }],
            ..Metrics::default()
        };
        let values = |data: &Data| {
            data.lines
                .first()
                .map(|line| line.values.clone())
                .unwrap_or_default()
        };
        assert_eq!(values(&client_errors(&metrics, 0.0)).first(), Some(&Some(10.0)));
        assert_eq!(values(&retries(&metrics, 0.0)).first(), Some(&Some(50.0)));
        assert_eq!(values(&retries(&metrics, 1e15)).get(1), Some(&None));
    }
}
