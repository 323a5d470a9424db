//! A curve in a table cell.

use leptos::prelude::*;

use super::data::place;

const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 20.0;

/// A curve without axes: its shape only. Readers hear the figure beside it.
pub fn sparkline(values: &[f64]) -> impl IntoView + use<> {
    let curve = points(values);
    let fill = (!curve.is_empty()).then(|| format!("0,{HEIGHT} {curve} {WIDTH},{HEIGHT}"));
    view! {
        <svg class="sparkline" viewBox=format!("0 -1 {WIDTH} {}", HEIGHT + 2.0) preserveAspectRatio="none" aria-hidden="true">
            <polygon class="fill" points=fill></polygon>
            <polyline class="curve" points=curve></polyline>
        </svg>
    }
}

fn points(values: &[f64]) -> String {
    let peak = values.iter().copied().fold(0.0, f64::max);
    let last = place(values.len().saturating_sub(1)).max(1.0);
    let point = |(at, value): (usize, &f64)| {
        let share = if peak > 0.0 { value / peak } else { 0.0 };
        format!("{:.1},{:.1}", place(at) / last * WIDTH, HEIGHT - share * HEIGHT)
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::points;

    #[test]
    fn the_curve_spans_its_room() {
        assert_eq!(points(&[0.0, 5.0, 10.0]), "0.0,20.0 48.0,10.0 96.0,0.0");
        assert_eq!(points(&[0.0, 0.0]), "0.0,20.0 96.0,20.0");
        assert_eq!(points(&[]), "");
    }
}
