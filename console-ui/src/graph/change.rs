//! Two times compared: what is new, gone, more, fewer, worse, better. Pure.

use std::collections::BTreeMap;

use mesh_api::graph::{Edge, Graph};

use super::choice::Label;
use super::scene::{Scene, place_of_target};
use crate::format::{self, number};
use crate::text::graph::words;

/// Shares of errors further apart than this are worse or better, in percent.
const ERRORS_APART: f64 = 0.5;
/// Rates further apart than this are more or fewer: half as much again, or a third less.
const RATE_APART: f64 = 1.5;
/// Durations further apart than this are worse or better.
const DURATION_APART: f64 = 1.5;
/// Fewer requests than this in both times say nothing.
const LEAST: u64 = 5;

/// What became of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Was not there before.
    New,
    /// Is not there any more.
    Gone,
    /// More errors, or much slower.
    Worse,
    /// Fewer errors, or much faster.
    Better,
    /// Much more traffic.
    More,
    /// Much less traffic.
    Fewer,
    /// As before.
    Same,
}

/// An edge's figures before.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// What became of it.
    pub turn: Turn,
    /// Requests a second.
    pub rate: f64,
    /// Errors in percent.
    pub errors: f64,
    /// 95th percentile.
    pub p95_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    requests: u64,
    errors: u64,
    p95_ms: Option<f64>,
}

impl Sum {
    fn share(self) -> f64 {
        if self.requests == 0 {
            0.0
        } else {
            number(self.errors) * 100.0 / number(self.requests)
        }
    }

    fn rate(self, seconds: f64) -> f64 {
        number(self.requests) / seconds.max(1.0)
    }
}

impl Turn {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::New => words().new,
            Self::Gone => words().gone,
            Self::Worse => words().worse,
            Self::Better => words().better,
            Self::More => words().more,
            Self::Fewer => words().fewer,
            Self::Same => words().same,
        }
    }

    /// Style class.
    pub fn class(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Gone => "gone",
            Self::Worse => "worse",
            Self::Better => "better",
            Self::More => "more",
            Self::Fewer => "fewer",
            Self::Same => "same",
        }
    }

    /// All of them, for the legend.
    pub const ALL: [Self; 7] = [
        Self::New,
        Self::Gone,
        Self::Worse,
        Self::Better,
        Self::More,
        Self::Fewer,
        Self::Same,
    ];
}

impl Change {
    /// What stands on the edge: before → now.
    pub fn label(&self, now: &super::scene::Line, seconds: f64, label: Label) -> String {
        match (self.turn, label) {
            (_, Label::None) => String::new(),
            (Turn::New | Turn::Gone, _) => self.turn.word().to_owned(),
            (_, Label::Rate) => {
                let rate = number(now.requests) / seconds.max(1.0);
                format!("{} → {}/s", format::short(self.rate), format::short(rate))
            }
            (_, Label::Errors) => {
                let errors = if now.requests == 0 {
                    0.0
                } else {
                    number(now.errors) * 100.0 / number(now.requests)
                };
                format!("{} → {} %", format::short(self.errors), format::short(errors))
            }
            (_, Label::P95) => format!("{} → {}", format::millis(self.p95_ms), format::millis(now.p95_ms)),
        }
    }
}

/// The present graph with the edges and nodes that were there before only, without counts.
pub fn united(now: &Graph, before: &Graph) -> Graph {
    let mut all = now.clone();
    for node in &before.nodes {
        if !all.nodes.iter().any(|known| known.id == node.id) {
            all.nodes.push(node.clone());
        }
    }
    let known: std::collections::BTreeSet<(String, String)> = now.edges.iter().map(ends).collect();
    for edge in before.edges.iter().filter(|edge| !known.contains(&ends(edge))) {
        all.edges.push(Edge {
            source: edge.source.clone(),
            target: edge.target.clone(),
            service: edge.service.clone(),
            protocol: edge.protocol.clone(),
            ..Edge::default()
        });
    }
    all
}

fn ends(edge: &Edge) -> (String, String) {
    (edge.source.clone(), edge.target.clone())
}

fn sums(graph: &Graph) -> BTreeMap<(String, String), Sum> {
    let mut sums: BTreeMap<(String, String), Sum> = BTreeMap::new();
    for edge in &graph.edges {
        let key = (edge.source.clone(), place_of_target(&edge.target).to_owned());
        let sum = sums.entry(key).or_default();
        sum.requests += edge.requests;
        sum.errors += edge.errors;
        sum.p95_ms = [sum.p95_ms, edge.p95_ms]
            .into_iter()
            .flatten()
            .max_by(f64::total_cmp);
    }
    sums
}

impl Scene {
    /// With each edge's change against `before`.
    #[must_use]
    pub fn compared_with(mut self, before: &Graph) -> Self {
        let sums = sums(before);
        for line in &mut self.lines {
            let old = sums
                .get(&(line.source.clone(), line.target.clone()))
                .copied()
                .unwrap_or_default();
            let new = Sum {
                requests: line.requests,
                errors: line.errors,
                p95_ms: line.p95_ms,
            };
            line.change = Some(Change {
                turn: turn(old, before.seconds, new, self.seconds),
                rate: old.rate(before.seconds),
                errors: old.share(),
                p95_ms: old.p95_ms,
            });
        }
        self.compared = true;
        self
    }
}

fn turn(old: Sum, old_seconds: f64, new: Sum, new_seconds: f64) -> Turn {
    match (old.requests, new.requests) {
        (0, 0) => return Turn::Same,
        (0, _) => return Turn::New,
        (_, 0) => return Turn::Gone,
        (old, new) if old < LEAST && new < LEAST => return Turn::Same,
        _ => {}
    }
    let errors = new.share() - old.share();
    let slower = match (old.p95_ms, new.p95_ms) {
        (Some(old), Some(new)) if old > 0.0 => new / old,
        _ => 1.0,
    };
    let rate = new.rate(new_seconds) / old.rate(old_seconds).max(f64::MIN_POSITIVE);
    if errors > ERRORS_APART {
        Turn::Worse
    } else if errors < -ERRORS_APART {
        Turn::Better
    } else if slower > DURATION_APART {
        Turn::Worse
    } else if slower < 1.0 / DURATION_APART {
        Turn::Better
    } else if rate > RATE_APART {
        Turn::More
    } else if rate < 1.0 / RATE_APART {
        Turn::Fewer
    } else {
        Turn::Same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(requests: u64, errors: u64, p95: f64) -> Sum {
        Sum {
            requests,
            errors,
            p95_ms: Some(p95),
        }
    }

    #[test]
    fn turns() {
        for (old, new, expected) in [
            (sum(0, 0, 1.0), sum(9, 0, 1.0), Turn::New),
            (sum(9, 0, 1.0), sum(0, 0, 1.0), Turn::Gone),
            (sum(100, 0, 10.0), sum(100, 2, 10.0), Turn::Worse),
            (sum(100, 2, 10.0), sum(100, 0, 10.0), Turn::Better),
            (sum(1000, 1, 10.0), sum(1000, 2, 10.0), Turn::Same),
            (sum(100, 0, 10.0), sum(100, 0, 16.0), Turn::Worse),
            (sum(100, 0, 16.0), sum(100, 0, 10.0), Turn::Better),
            (sum(100, 0, 10.0), sum(160, 0, 10.0), Turn::More),
            (sum(160, 0, 10.0), sum(100, 0, 10.0), Turn::Fewer),
            (sum(2, 0, 10.0), sum(4, 4, 10.0), Turn::Same),
        ] {
            assert_eq!(turn(old, 60.0, new, 60.0), expected, "{old:?} {new:?}");
        }
        // Twice the time, twice the requests: as before.
        assert_eq!(turn(sum(100, 0, 1.0), 60.0, sum(200, 0, 1.0), 120.0), Turn::Same);
    }

    #[test]
    fn what_is_gone_stays_on_the_picture() {
        let edge = |target: &str| Edge {
            source: "a".into(),
            target: target.into(),
            requests: 7,
            ..Edge::default()
        };
        let now = Graph {
            edges: vec![edge("b")],
            ..Graph::default()
        };
        let before = Graph {
            edges: vec![edge("b"), edge("c")],
            ..Graph::default()
        };
        let all = united(&now, &before);
        let counts: Vec<_> = all
            .edges
            .iter()
            .map(|edge| (edge.target.as_str(), edge.requests))
            .collect();
        assert_eq!(counts, [("b", 7), ("c", 0)]);
    }
}
