//! A small chart: requests over time, errors at its foot.

use leptos::prelude::*;
use mesh_api::graph::Series;

use crate::format::{self, number};
use crate::text::t;

const WIDTH: f64 = 320.0;
const HEIGHT: f64 = 52.0;

/// Draws a series.
pub fn spark(series: &Series) -> impl IntoView + use<> {
    let step = number(series.step_seconds).max(1.0);
    let peak = series
        .points
        .iter()
        .map(|point| point.requests)
        .max()
        .unwrap_or(0);
    let curve = points(series, peak);
    let area = format!("0,{HEIGHT} {curve} {WIDTH},{HEIGHT}");
    let last = series.points.len().max(2) - 1;
    let bars = series.points.iter().enumerate().filter(|(_, point)| point.errors > 0).map(|(at, point)| {
        let height = (number(point.errors) / number(peak).max(1.0) * HEIGHT).max(2.0);
        let x = x_of(at, last) - 1.5;
        view! { <rect class="errors" x=format!("{x:.1}") y=format!("{:.1}", HEIGHT - height) width="3" height=format!("{height:.1}")></rect> }
    });
    let caption = (t().peak)(&format!("{} {}", format::decimals(number(peak) / step), t().rps));
    let span = format::span(step * number(u64::try_from(series.points.len()).unwrap_or(0)));
    view! {
        <svg class="spark" viewBox=format!("0 -2 {WIDTH} {}", HEIGHT + 4.0) preserveAspectRatio="none" role="img" aria-label=caption.clone()>
            <line class="base" x1="0" x2=WIDTH.to_string() y1=HEIGHT.to_string() y2=HEIGHT.to_string()></line>
            <polygon class="area" points=area></polygon>
            <polyline class="curve" points=curve></polyline>
            {bars.collect_view()}
        </svg>
        <div class="spark-caption"><span>{(t().ago)(&span)}</span><span>{caption}</span></div>
    }
}

fn points(series: &Series, peak: u64) -> String {
    let last = series.points.len().max(2) - 1;
    let height = |requests: u64| HEIGHT - number(requests) / number(peak).max(1.0) * HEIGHT;
    let points = series
        .points
        .iter()
        .enumerate()
        .map(|(at, point)| format!("{:.1},{:.1}", x_of(at, last), height(point.requests)));
    points.collect::<Vec<_>>().join(" ")
}

fn x_of(at: usize, last: usize) -> f64 {
    let place = |n: usize| number(u64::try_from(n).unwrap_or(0));
    place(at) / place(last).max(1.0) * WIDTH
}

#[cfg(test)]
mod tests {
    use mesh_api::graph::Point;

    use super::*;

    #[test]
    fn the_curve_spans_the_chart() {
        let point = |requests| Point {
            requests,
            ..Point::default()
        };
        let series = Series {
            step_seconds: 10,
            points: vec![point(0), point(5), point(10)],
        };
        assert_eq!(points(&series, 10), "0.0,52.0 160.0,26.0 320.0,0.0");
        assert_eq!(points(&Series::default(), 0), "");
    }
}
