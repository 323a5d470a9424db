//! Which part of the graph is shown and which stands out: hide, isolate, find. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::language::{Condition, Facts, Field, Flag};
use super::scene::{Card, Line, Scene};
use crate::format::number;
use crate::health::Health;

/// Only what is round a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// Place id.
    pub id: String,
    /// Follows calls towards it.
    pub upstream: bool,
    /// Follows calls from it.
    pub downstream: bool,
    /// How far; none is as far as calls go.
    pub hops: Option<u32>,
}

struct NodeFacts<'a> {
    card: &'a Card,
    seconds: f64,
}

struct EdgeFacts<'a> {
    line: &'a Line,
    seconds: f64,
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        number(part) * 100.0 / number(whole)
    }
}

fn judged(health: Health, flag: Flag) -> Option<bool> {
    let wanted = match flag {
        Flag::Healthy => Health::Ok,
        Flag::Degraded => Health::Warn,
        Flag::Failing => Health::Fail,
        Flag::Idle => Health::Unknown,
        _ => return None,
    };
    Some(health == wanted)
}

impl Facts for NodeFacts<'_> {
    fn number(&self, field: Field) -> Option<f64> {
        match field {
            Field::Rate => Some(number(self.card.requests) / self.seconds.max(1.0)),
            Field::Requests => Some(number(self.card.requests)),
            Field::Errors => Some(share(self.card.errors, self.card.requests)),
            _ => None,
        }
    }

    fn texts(&self, field: Field) -> Option<Vec<&str>> {
        match field {
            Field::Name => Some(vec![&self.card.title, &self.card.id]),
            Field::App => Some(vec![&self.card.app]),
            Field::Version => Some(vec![&self.card.version]),
            Field::Namespace => Some(vec![&self.card.namespace]),
            _ => None,
        }
    }

    fn flag(&self, flag: Flag) -> Option<bool> {
        use mesh_api::graph::NodeKind;
        match flag {
            Flag::Gateway => Some(self.card.kind == NodeKind::Gateway),
            Flag::Outside => Some(self.card.kind == NodeKind::Unknown),
            Flag::Idle => Some(self.card.idle),
            _ => judged(self.card.health(), flag),
        }
    }
}

impl Facts for EdgeFacts<'_> {
    fn number(&self, field: Field) -> Option<f64> {
        let line = self.line;
        let highest = |value: fn(&mesh_api::graph::Edge) -> Option<f64>| {
            line.edges.iter().filter_map(value).max_by(f64::total_cmp)
        };
        let sum = |value: fn(&mesh_api::graph::Edge) -> u64| line.edges.iter().map(value).sum::<u64>();
        match field {
            Field::Rate => Some(number(line.requests) / self.seconds.max(1.0)),
            Field::Requests => Some(number(line.requests)),
            Field::Errors => Some(share(line.errors, line.requests)),
            Field::ClientErrors => Some(share(sum(|edge| edge.client_errors), line.requests)),
            Field::P50 => highest(|edge| edge.p50_ms),
            Field::P95 => highest(|edge| edge.p95_ms),
            Field::P99 => highest(|edge| edge.p99_ms),
            Field::Throughput => Some(number(line.bytes) / self.seconds.max(1.0)),
            Field::MutualTls => Some(share(sum(|edge| edge.mutual_tls), line.requests)),
            _ => None,
        }
    }

    fn texts(&self, field: Field) -> Option<Vec<&str>> {
        let edges = &self.line.edges;
        match field {
            Field::Source => Some(vec![&self.line.source]),
            Field::Target => Some(vec![&self.line.target]),
            Field::Service => Some(edges.iter().map(|edge| edge.service.as_str()).collect()),
            Field::Protocol => Some(edges.iter().map(|edge| edge.protocol.as_str()).collect()),
            Field::Code => Some(
                edges
                    .iter()
                    .flat_map(|edge| edge.codes.keys())
                    .map(String::as_str)
                    .collect(),
            ),
            Field::Flags => Some(
                edges
                    .iter()
                    .flat_map(|edge| edge.flags.keys())
                    .map(String::as_str)
                    .collect(),
            ),
            Field::Route => Some(
                edges
                    .iter()
                    .flat_map(|edge| &edge.routes)
                    .flat_map(|route| [route.route.as_str(), &route.match_name, &route.virtual_service])
                    .collect(),
            ),
            _ => None,
        }
    }

    fn flag(&self, flag: Flag) -> Option<bool> {
        let speaks = |protocol: &str| self.line.edges.iter().any(|edge| edge.protocol == protocol);
        match flag {
            Flag::Mtls => Some(self.line.mutual_tls),
            Flag::Tcp => Some(speaks("tcp")),
            Flag::Grpc => Some(speaks("grpc")),
            Flag::Http => Some(speaks("http")),
            Flag::Gap => Some(self.line.gap),
            Flag::Gateway | Flag::Outside => None,
            _ => judged(self.line.health(), flag),
        }
    }
}

impl Scene {
    /// Without what is hidden or not round the isolated node. Nodes that only hidden edges led to go with them.
    #[must_use]
    pub fn reduced(mut self, hide: Option<&Condition>, isolation: Option<&Isolation>) -> Self {
        let before = (self.cards.len(), self.lines.len());
        if let Some(isolation) = isolation.filter(|isolation| self.card(&isolation.id).is_some()) {
            let near = around(&self.lines, isolation);
            self.cards.retain(|card| near.contains(card.id.as_str()));
            self.lines
                .retain(|line| near.contains(line.source.as_str()) && near.contains(line.target.as_str()));
        }
        if let Some(hide) = hide {
            let seconds = self.seconds;
            let connected = ends(&self.lines);
            self.cards
                .retain(|card| !hide.holds(&NodeFacts { card, seconds }));
            let shown: BTreeSet<String> = self.cards.iter().map(|card| card.id.clone()).collect();
            self.lines.retain(|line| {
                shown.contains(&line.source)
                    && shown.contains(&line.target)
                    && !hide.holds(&EdgeFacts { line, seconds })
            });
            let still = ends(&self.lines);
            self.cards
                .retain(|card| still.contains(&card.id) || !connected.contains(&card.id));
        }
        let namespaces: BTreeSet<&str> = self.cards.iter().map(|card| card.namespace.as_str()).collect();
        self.boxes
            .retain(|frame| namespaces.contains(frame.namespace.as_str()));
        self.hidden = (before.0 - self.cards.len(), before.1 - self.lines.len());
        if self.hidden.0 > 0 {
            self.tighten();
        }
        self
    }

    /// Boxes round what is left in them.
    fn tighten(&mut self) {
        const PADDING: f64 = 24.0;
        const TITLE: f64 = 24.0;
        for frame in &mut self.boxes {
            let inside = self.cards.iter().filter(|card| card.namespace == frame.namespace);
            let corners = inside.map(|card| {
                (
                    card.x - card.width / 2.0,
                    card.y - card.height / 2.0,
                    card.x + card.width / 2.0,
                    card.y + card.height / 2.0,
                )
            });
            if let Some((left, top, right, bottom)) =
                corners.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3)))
            {
                frame.x = left - PADDING;
                frame.y = top - PADDING - TITLE;
                frame.width = right - left + 2.0 * PADDING;
                frame.height = bottom - top + 2.0 * PADDING + TITLE;
            }
        }
    }

    /// With what the condition finds marked.
    #[must_use]
    pub fn marked(mut self, find: Option<&Condition>) -> Self {
        if let Some(find) = find {
            let seconds = self.seconds;
            for card in &mut self.cards {
                card.found = find.holds(&NodeFacts { card, seconds });
            }
            for line in &mut self.lines {
                line.found = find.holds(&EdgeFacts { line, seconds });
            }
        }
        self
    }

    /// How many nodes and edges are marked.
    pub fn found(&self) -> (usize, usize) {
        (
            self.cards.iter().filter(|card| card.found).count(),
            self.lines.iter().filter(|line| line.found).count(),
        )
    }
}

fn ends(lines: &[Line]) -> BTreeSet<String> {
    lines
        .iter()
        .flat_map(|line| [line.source.clone(), line.target.clone()])
        .collect()
}

/// Ids within reach of the isolated node, itself included.
fn around(lines: &[Line], isolation: &Isolation) -> BTreeSet<String> {
    let mut forward: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut backward: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in lines {
        forward.entry(&line.source).or_default().push(&line.target);
        backward.entry(&line.target).or_default().push(&line.source);
    }
    let mut near = BTreeSet::from([isolation.id.clone()]);
    let ways = [(isolation.upstream, &backward), (isolation.downstream, &forward)];
    for (_, next) in ways.into_iter().filter(|(wanted, _)| *wanted) {
        let mut border = vec![isolation.id.as_str()];
        let mut seen = BTreeSet::from([isolation.id.as_str()]);
        let mut hops = 0;
        while !border.is_empty() && isolation.hops.is_none_or(|most| hops < most) {
            border = border
                .iter()
                .filter_map(|id| next.get(id))
                .flatten()
                .copied()
                .filter(|id| seen.insert(id))
                .collect();
            hops += 1;
        }
        near.extend(seen.into_iter().map(str::to_owned));
    }
    near
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use mesh_api::graph::{Edge, Graph, GraphType, Node};
    use mesh_api::layout::{Layout, NamespaceBox, Path, Place};

    use super::super::language::parse;
    use super::*;

    /// a/in -> a/x -> a/y -> b/z, and a/idle.
    fn scene() -> Scene {
        let ids = ["a/idle", "a/in", "a/x", "a/y", "b/z"];
        let pairs = [("a/in", "a/x", 0), ("a/x", "a/y", 40), ("a/y", "b/z", 0)];
        let graph = Graph {
            nodes: ids
                .map(|id| Node {
                    id: id.into(),
                    namespace: id.split('/').next().unwrap().into(),
                    ..Node::default()
                })
                .into(),
            edges: pairs
                .map(|(source, target, errors)| Edge {
                    source: source.into(),
                    target: target.into(),
                    requests: 100,
                    errors,
                    ..Edge::default()
                })
                .into(),
            seconds: 10.0,
            ..Graph::default()
        };
        let layout = Layout {
            nodes: ids
                .map(|id| Place {
                    id: id.into(),
                    ..Place::default()
                })
                .into(),
            edges: pairs
                .map(|(source, target, _)| Path {
                    source: source.into(),
                    target: target.into(),
                    points: vec![(0.0, 0.0), (9.0, 0.0)],
                })
                .into(),
            boxes: ["a", "b"]
                .map(|namespace| NamespaceBox {
                    namespace: namespace.into(),
                    ..NamespaceBox::default()
                })
                .into(),
            ..Layout::default()
        };
        Scene::new(&graph, &layout, GraphType::Workload)
    }

    #[track_caller]
    fn check(hide: &str, isolation: Option<(&str, bool, bool, Option<u32>)>, expected: &[&str]) {
        let hide = parse(hide).unwrap();
        let isolation = isolation.map(|(id, upstream, downstream, hops)| Isolation {
            id: id.into(),
            upstream,
            downstream,
            hops,
        });
        let scene = scene().reduced(hide.as_ref(), isolation.as_ref());
        let ids: Vec<&str> = scene.cards.iter().map(|card| card.id.as_str()).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn hiding_takes_what_only_hidden_edges_led_to() {
        check("", None, &["a/idle", "a/in", "a/x", "a/y", "b/z"]);
        check("idle", None, &["a/in", "a/x", "a/y", "b/z"]);
        check("failing", None, &["a/idle", "a/in", "a/x"]);
        check("target = a/x", None, &["a/idle", "a/x", "a/y", "b/z"]);
        check("rate > 0", None, &["a/idle"]);
    }

    #[test]
    fn isolation_follows_calls() {
        check("", Some(("a/x", true, false, None)), &["a/in", "a/x"]);
        check("", Some(("a/x", false, true, Some(1))), &["a/x", "a/y"]);
        check("", Some(("a/x", false, true, None)), &["a/x", "a/y", "b/z"]);
        check("", Some(("a/x", true, true, Some(1))), &["a/in", "a/x", "a/y"]);
        // A node that is not there isolates nothing.
        check(
            "",
            Some(("a/gone", true, true, None)),
            &["a/idle", "a/in", "a/x", "a/y", "b/z"],
        );
    }

    #[test]
    fn empty_boxes_go_and_the_rest_is_counted() {
        let scene = scene().reduced(parse("namespace = b").unwrap().as_ref(), None);
        assert_eq!(scene.boxes.len(), 1);
        assert_eq!(scene.hidden, (1, 1));
    }

    #[test]
    fn what_is_found_is_marked() {
        let scene = scene().marked(parse("errors > 10%").unwrap().as_ref());
        assert_eq!(scene.found(), (1, 1));
    }
}
