//! Moving dots, in proportion to traffic. Pure: time comes in as a step.

use std::collections::BTreeMap;

use super::scene::Line;
use crate::format::number;

/// Pixels a second.
const SPEED: f64 = 90.0;
/// Dots that the busiest edge starts a second.
const BUSIEST: f64 = 6.0;
/// One dot stands for one request below this rate.
const TRUE_TO_COUNT_BELOW: f64 = 6.0;
/// A traffic edge is never still: at least a dot in so many seconds.
const LEAST: f64 = 0.2;

/// One dot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Dot {
    /// Way travelled.
    pub way: f64,
    /// Whether it stands for errors.
    pub error: bool,
}

/// The dots of all edges.
#[derive(Debug, Default)]
pub struct Dots {
    streams: BTreeMap<(String, String), Stream>,
}

#[derive(Debug, Default)]
struct Stream {
    dots: Vec<Dot>,
    due: f64,
    errors_due: f64,
}

impl Dots {
    /// Moves on by `step` seconds.
    pub fn advance(&mut self, lines: &[Line], seconds: f64, step: f64) {
        let rate = |line: &Line| {
            if seconds > 0.0 {
                number(line.requests) / seconds
            } else {
                0.0
            }
        };
        let busiest = lines.iter().map(rate).fold(0.0, f64::max);
        let scale = if busiest > TRUE_TO_COUNT_BELOW {
            BUSIEST / busiest
        } else {
            1.0
        };
        self.streams
            .retain(|(source, target), _| lines.iter().any(|line| line.joins(source, target)));
        for line in lines {
            let stream = self
                .streams
                .entry((line.source.clone(), line.target.clone()))
                .or_default();
            let rate = rate(line);
            let starts = if rate > 0.0 {
                (rate * scale).max(LEAST)
            } else {
                0.0
            };
            let errors = number(line.errors) / number(line.requests).max(1.0);
            stream.advance(line.curve.length(), starts, errors, step);
        }
    }

    /// The dots of an edge.
    pub fn of(&self, line: &Line) -> &[Dot] {
        let key = (line.source.clone(), line.target.clone());
        self.streams.get(&key).map_or(&[], |stream| &stream.dots)
    }
}

impl Stream {
    fn advance(&mut self, length: f64, starts: f64, errors: f64, step: f64) {
        for dot in &mut self.dots {
            dot.way += SPEED * step;
        }
        self.dots.retain(|dot| dot.way <= length);
        self.due += starts * step;
        while self.due >= 1.0 {
            self.due -= 1.0;
            self.errors_due += errors;
            let error = self.errors_due >= 1.0;
            if error {
                self.errors_due -= 1.0;
            }
            // Where it would be, had it started exactly when due.
            let late = if starts > 0.0 {
                (self.due / starts).min(step)
            } else {
                0.0
            };
            self.dots.push(Dot {
                way: SPEED * late,
                error,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::curve::Curve;
    use super::*;

    fn line(requests: u64, errors: u64) -> Line {
        let edge = mesh_api::graph::Edge {
            requests,
            errors,
            ..Default::default()
        };
        Line::new(
            "a".into(),
            "b".into(),
            Curve::through(&[(0.0, 0.0), (90_000.0, 0.0)]),
            vec![edge],
        )
    }

    fn after(seconds: u32, lines: &[Line]) -> Vec<Dot> {
        let mut dots = Dots::default();
        for _ in 0..seconds * 50 {
            dots.advance(lines, 60.0, 0.02);
        }
        dots.of(&lines[0]).to_vec()
    }

    #[test]
    fn slow_traffic_shows_every_request() {
        // 3 a second.
        let count = after(10, &[line(180, 0)]).len();
        assert!((29..=31).contains(&count), "{count}");
    }

    #[test]
    fn error_dots_are_the_share_of_errors() {
        let dots = after(20, &[line(300, 60)]);
        let errors = dots.iter().filter(|dot| dot.error).count();
        assert!((19..=21).contains(&errors), "{errors} of {}", dots.len());
    }

    #[test]
    fn no_traffic_no_dots() {
        assert!(after(10, &[line(0, 0)]).is_empty());
    }
}
