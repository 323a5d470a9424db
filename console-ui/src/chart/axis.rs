//! Where an axis has its ticks. Pure.

use super::data::{Unit, place};

/// Value ticks from 0 to a round number at or above `peak`; the last one is the axis' end.
pub fn value_ticks(peak: f64, unit: Unit) -> Vec<f64> {
    let peak = if peak > 0.0 && peak.is_finite() {
        peak
    } else {
        match unit {
            Unit::Percent => 1.0,
            _ => 1e-9,
        }
    };
    let peak = match unit {
        // A percent of a percent is no mountain.
        Unit::Percent => peak.max(1.0),
        Unit::Rate => peak.max(0.1),
        Unit::Millis | Unit::Bytes | Unit::BytesRate => peak.max(1.0),
    };
    let base: f64 = match unit {
        Unit::Bytes | Unit::BytesRate => 2.0,
        _ => 10.0,
    };
    let raw = peak / 4.0;
    let scale = base.powf(raw.log(base).floor());
    let steps: &[f64] = match unit {
        Unit::Bytes | Unit::BytesRate => &[1.0, 2.0],
        _ => &[1.0, 2.0, 2.5, 5.0, 10.0],
    };
    let step = steps
        .iter()
        .map(|step| step * scale)
        .find(|step| *step * 4.0 >= peak * 0.999_999)
        .unwrap_or(scale * base);
    let count = (1..=4_usize)
        .find(|count| place(*count) * step >= peak * 0.999_999)
        .unwrap_or(4);
    (0..=count).map(|at| place(at) * step).collect()
}

/// Lengths between time ticks, seconds.
const TIME_STEPS: &[f64] = &[
    1.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0, 10_800.0, 21_600.0,
    43_200.0, 86_400.0, 172_800.0, 604_800.0,
];

/// Time ticks on round local times, at most about `most` of them.
pub fn time_ticks(from_ms: f64, to_ms: f64, most: f64, offset_minutes: f64) -> (f64, Vec<f64>) {
    let span = (to_ms - from_ms) / 1000.0;
    if span <= 0.0 || !span.is_finite() {
        return (1.0, Vec::new());
    }
    let step = TIME_STEPS
        .iter()
        .copied()
        .find(|step| span / step <= most)
        .unwrap_or(604_800.0);
    let (step_ms, shift) = (step * 1000.0, offset_minutes * 60_000.0);
    let first = ((from_ms + shift) / step_ms).ceil() * step_ms - shift;
    let mut ticks = Vec::new();
    let mut at = first;
    while at <= to_ms && ticks.len() < 64 {
        ticks.push(at);
        at += step_ms;
    }
    (step, ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn value_ticks_are_round_and_reach_the_peak() {
        for (peak, unit, expected) in [
            (0.0, Unit::Percent, vec![0.0, 0.25, 0.5, 0.75, 1.0]),
            (7.2, Unit::Rate, vec![0.0, 2.0, 4.0, 6.0, 8.0]),
            (40.0, Unit::Rate, vec![0.0, 10.0, 20.0, 30.0, 40.0]),
            (41.0, Unit::Millis, vec![0.0, 20.0, 40.0, 60.0]),
            (3000.0, Unit::Bytes, vec![0.0, 1024.0, 2048.0, 3072.0]),
            (96.0, Unit::Percent, vec![0.0, 25.0, 50.0, 75.0, 100.0]),
        ] {
            let ticks = value_ticks(peak, unit);
            let near = ticks.len() == expected.len()
                && ticks
                    .iter()
                    .zip(&expected)
                    .all(|(a, b)| (a - b).abs() < 1e-6 * peak.max(1.0));
            assert!(near, "{peak}: {ticks:?}");
        }
    }

    #[test]
    fn time_ticks_are_on_round_local_times() {
        let hour = 3_600_000.0;
        let (step, ticks) = time_ticks(hour * 10.0 + 60_000.0, hour * 11.0, 6.0, 0.0);
        assert_eq!(ticks.first(), Some(&(hour * 10.0 + 600_000.0)));
        assert!((step - 600.0).abs() < 1e-9);
        // India: half an hour beside UTC.
        let (_, ticks) = time_ticks(hour * 24.0, hour * 48.0, 6.0, 330.0);
        assert!(
            ticks
                .iter()
                .all(|at| ((at / 60_000.0 + 330.0) % 360.0).abs() < 1e-6),
            "{ticks:?}"
        );
        assert!(time_ticks(5.0, 5.0, 6.0, 0.0).1.is_empty());
    }
}
