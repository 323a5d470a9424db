//! Smooth lines through a layout's points. Pure.

/// A point.
pub type Point = (f64, f64);

/// Pieces per span of a curve: short enough to look round at zoom 2.
const PIECES: u32 = 10;

/// A line made of short straight pieces, with the way travelled at each.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Curve {
    points: Vec<Point>,
    travelled: Vec<f64>,
    bounds: (f64, f64, f64, f64),
}

impl Curve {
    /// From left to right, level at every point; otherwise a spline that passes near the inner ones.
    pub fn through(points: &[Point]) -> Self {
        let rightwards = points.iter().zip(points.iter().skip(1)).all(|(a, b)| a.0 < b.0);
        let sampled = match points {
            [start, end] => level_bezier(*start, *end).collect(),
            [_, _, ..] if rightwards => level(points),
            [_, _, ..] => spline(points),
            _ => points.to_vec(),
        };
        let mut travelled = Vec::with_capacity(sampled.len());
        let mut way = 0.0;
        let mut last: Option<Point> = None;
        for point in &sampled {
            way += last.map_or(0.0, |last| distance(last, *point));
            travelled.push(way);
            last = Some(*point);
        }
        let nothing = (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY, f64::NEG_INFINITY);
        let bounds = sampled.iter().fold(nothing, |all, point| {
            (
                all.0.min(point.0),
                all.1.min(point.1),
                all.2.max(point.0),
                all.3.max(point.1),
            )
        });
        Self {
            points: sampled,
            travelled,
            bounds,
        }
    }

    /// The pieces.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// Left, top, right and bottom.
    pub fn bounds(&self) -> (f64, f64, f64, f64) {
        self.bounds
    }

    /// Whole length.
    pub fn length(&self) -> f64 {
        self.travelled.last().copied().unwrap_or(0.0)
    }

    /// The point after some way.
    pub fn at(&self, way: f64) -> Point {
        let after = self.travelled.partition_point(|travelled| *travelled < way);
        let (Some(end), Some(to)) = (self.points.get(after), self.travelled.get(after)) else {
            return self.points.last().copied().unwrap_or_default();
        };
        let before = after.saturating_sub(1);
        let (Some(start), Some(from)) = (self.points.get(before), self.travelled.get(before)) else {
            return *end;
        };
        let piece = to - from;
        let share = if piece > 0.0 {
            ((way - from) / piece).clamp(0.0, 1.0)
        } else {
            1.0
        };
        (
            start.0 + (end.0 - start.0) * share,
            start.1 + (end.1 - start.1) * share,
        )
    }

    /// How far a point is from the line.
    pub fn distance(&self, point: Point) -> f64 {
        let pieces = self.points.iter().zip(self.points.iter().skip(1));
        pieces
            .map(|(start, end)| distance_to_piece(point, *start, *end))
            .fold(f64::INFINITY, f64::min)
    }
}

fn level(points: &[Point]) -> Vec<Point> {
    let mut sampled: Vec<Point> = points.first().copied().into_iter().collect();
    for (start, end) in points.iter().zip(points.iter().skip(1)) {
        let half = (end.0 - start.0) / 2.0;
        sampled.extend(
            bezier(
                *start,
                (start.0 + half, start.1),
                (end.0 - half, end.1),
                *end,
                2 * PIECES,
            )
            .skip(1),
        );
    }
    sampled
}

fn level_bezier(start: Point, end: Point) -> impl Iterator<Item = Point> {
    let reach = ((end.0 - start.0).abs() / 2.0).max(40.0);
    bezier(
        start,
        (start.0 + reach, start.1),
        (end.0 - reach, end.1),
        end,
        3 * PIECES,
    )
}

fn bezier(a: Point, b: Point, c: Point, d: Point, pieces: u32) -> impl Iterator<Item = Point> {
    (0..=pieces).map(move |piece| {
        let t = f64::from(piece) / f64::from(pieces);
        let u = 1.0 - t;
        let (wa, wb, wc, wd) = (u * u * u, 3.0 * u * u * t, 3.0 * u * t * t, t * t * t);
        (
            wa * a.0 + wb * b.0 + wc * c.0 + wd * d.0,
            wa * a.1 + wb * b.1 + wc * c.1 + wd * d.1,
        )
    })
}

/// Uniform cubic B-spline, clamped at both ends.
fn spline(points: &[Point]) -> Vec<Point> {
    let mut control: Vec<Point> = Vec::with_capacity(points.len() + 4);
    if let (Some(first), Some(last)) = (points.first(), points.last()) {
        control.extend([*first, *first]);
        control.extend_from_slice(points);
        control.extend([*last, *last]);
    }
    let mut sampled = Vec::new();
    for window in control.windows(4) {
        if let [a, b, c, d] = window {
            for piece in 0..PIECES {
                sampled.push(basis(*a, *b, *c, *d, f64::from(piece) / f64::from(PIECES)));
            }
        }
    }
    sampled.extend(points.last());
    sampled
}

fn basis(a: Point, b: Point, c: Point, d: Point, t: f64) -> Point {
    let (t2, t3) = (t * t, t * t * t);
    let weights = [
        1.0 - 3.0 * t + 3.0 * t2 - t3,
        4.0 - 6.0 * t2 + 3.0 * t3,
        1.0 + 3.0 * t + 3.0 * t2 - 3.0 * t3,
        t3,
    ];
    let mix = |pick: fn(Point) -> f64| {
        [a, b, c, d]
            .into_iter()
            .zip(weights)
            .map(|(point, weight)| pick(point) * weight)
            .sum::<f64>()
            / 6.0
    };
    (mix(|point| point.0), mix(|point| point.1))
}

fn distance(a: Point, b: Point) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}

fn distance_to_piece(point: Point, start: Point, end: Point) -> f64 {
    let (dx, dy) = (end.0 - start.0, end.1 - start.1);
    let squared = dx * dx + dy * dy;
    let share = if squared > 0.0 {
        (((point.0 - start.0) * dx + (point.1 - start.1) * dy) / squared).clamp(0.0, 1.0)
    } else {
        0.0
    };
    distance(point, (start.0 + share * dx, start.1 + share * dy))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: Point, b: Point) -> bool {
        distance(a, b) < 0.01
    }

    #[test]
    fn curves_begin_and_end_where_they_must() {
        for points in [
            vec![(0.0, 0.0), (100.0, 50.0)],
            vec![(0.0, 0.0), (50.0, 80.0), (100.0, 0.0)],
        ] {
            let curve = Curve::through(&points);
            assert!(near(curve.at(0.0), points[0]), "{points:?}");
            assert!(
                near(curve.at(curve.length()), points[points.len() - 1]),
                "{points:?}"
            );
            assert!(curve.length() >= 100.0);
        }
    }

    #[test]
    fn distance_from_a_line() {
        let curve = Curve::through(&[(0.0, 0.0), (100.0, 0.0)]);
        assert!((curve.distance((50.0, 7.0)) - 7.0).abs() < 0.01);
        assert!((curve.distance((110.0, 0.0)) - 10.0).abs() < 0.01);
    }

    #[test]
    fn nothing_gives_nothing() {
        assert_eq!(Curve::through(&[]).at(1.0), (0.0, 0.0));
    }
}
