//! A graph and a layout joined into what is drawn. Pure.

use std::collections::BTreeMap;

use mesh_api::graph::{Edge, Graph, GraphType, Node, NodeKind};
use mesh_api::layout::{LOCAL_ANSWERS, Layout, NamespaceBox};

use super::change::Change;
use super::curve::Curve;
use crate::health::Health;
use crate::text::t;

/// Everything on the stage.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scene {
    /// In the order of ids: the order of Tab.
    pub cards: Vec<Card>,
    /// Sorted by (source, target).
    pub lines: Vec<Line>,
    /// Boxes with at least one card.
    pub boxes: Vec<NamespaceBox>,
    /// Extent.
    pub size: (f64, f64),
    /// Length of the interval.
    pub seconds: f64,
    /// What hiding and isolating have left out: nodes, edges.
    pub hidden: (usize, usize),
    /// Whether colours show the change against another time.
    pub compared: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// Place id.
    pub id: String,
    /// Middle.
    pub x: f64,
    /// Middle.
    pub y: f64,
    /// Size.
    pub width: f64,
    /// Size.
    pub height: f64,
    /// Name.
    pub title: String,
    /// Version, where it is not in the name.
    pub version: String,
    /// Namespace.
    pub namespace: String,
    /// Application.
    pub app: String,
    /// What it is.
    pub kind: NodeKind,
    /// Nothing calls it, and it calls nothing.
    pub idle: bool,
    /// Found by the reader's condition.
    pub found: bool,
    /// Requests that it received (for an outside caller: sent).
    pub requests: u64,
    /// Errors among them.
    pub errors: u64,
}

/// All edges between two nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Place id.
    pub source: String,
    /// Place id.
    pub target: String,
    /// Its way.
    pub curve: Curve,
    /// By service and protocol.
    pub edges: Vec<Edge>,
    /// Sum.
    pub requests: u64,
    /// Sum.
    pub errors: u64,
    /// Whether every request went over mutual TLS.
    pub mutual_tls: bool,
    /// The highest of its edges: percentiles do not add up.
    pub p95_ms: Option<f64>,
    /// Bytes in both directions.
    pub bytes: u64,
    /// Every edge is TCP: bytes are its measure, and it has no health.
    pub tcp: bool,
    /// A reporting proxy died: counts may be missing.
    pub gap: bool,
    /// Found by the reader's condition.
    pub found: bool,
    /// Against another time.
    pub change: Option<Change>,
}

impl Card {
    /// Verdict.
    pub fn health(&self) -> Health {
        Health::of(self.requests, self.errors)
    }

    /// Icon name.
    pub fn icon(&self) -> &'static str {
        match self.kind {
            NodeKind::Workload => "layers",
            NodeKind::Gateway => "door-open",
            NodeKind::App => "package",
            NodeKind::Service => "server",
            NodeKind::Unknown if self.id == LOCAL_ANSWERS => "undo-2",
            NodeKind::Unknown => "globe",
        }
    }

    /// What it is, in a word.
    pub fn kind_word(&self) -> &'static str {
        match self.kind {
            NodeKind::Workload => t().kind_workload,
            NodeKind::Gateway => t().kind_gateway,
            NodeKind::App => t().kind_app,
            NodeKind::Service => t().kind_service,
            NodeKind::Unknown if self.id == LOCAL_ANSWERS => t().local_answers_hint,
            NodeKind::Unknown => t().outside_hint,
        }
    }
}

impl Line {
    /// All edges between two places.
    pub fn new(source: String, target: String, curve: Curve, edges: Vec<Edge>) -> Self {
        let sum = |value: fn(&Edge) -> u64| edges.iter().map(value).sum::<u64>();
        let requests = sum(|edge| edge.requests);
        Self {
            source,
            target,
            curve,
            requests,
            errors: sum(|edge| edge.errors),
            mutual_tls: requests > 0 && sum(|edge| edge.mutual_tls) == requests,
            p95_ms: edges.iter().filter_map(|edge| edge.p95_ms).max_by(f64::total_cmp),
            bytes: sum(|edge| edge.request_bytes.saturating_add(edge.response_bytes)),
            tcp: !edges.is_empty() && edges.iter().all(|edge| edge.protocol == "tcp"),
            gap: edges.iter().any(|edge| edge.gap),
            found: false,
            change: None,
            edges,
        }
    }

    /// Verdict.
    pub fn health(&self) -> Health {
        Health::of(self.requests, self.errors)
    }

    /// Whether the edge runs between these places.
    pub fn joins(&self, source: &str, target: &str) -> bool {
        self.source == source && self.target == target
    }
}

impl Scene {
    /// Joins; nodes that the layout does not know yet wait for the next one.
    pub fn new(graph: &Graph, layout: &Layout, kind: GraphType) -> Self {
        let places: BTreeMap<&str, _> = layout
            .nodes
            .iter()
            .map(|place| (place.id.as_str(), place))
            .collect();
        let lines = lines(graph, layout);
        let nodes: BTreeMap<&str, &Node> = graph.nodes.iter().map(|node| (node.id.as_str(), node)).collect();
        let outside = Node {
            id: "unknown".into(),
            kind: NodeKind::Unknown,
            ..Node::default()
        };
        let mut cards = Vec::new();
        for (id, place) in &places {
            let node = match (nodes.get(id), *id) {
                (_, LOCAL_ANSWERS) if lines.iter().any(|line| line.target == LOCAL_ANSWERS) => &outside,
                (Some(node), "unknown") if lines.iter().any(|line| line.source == "unknown") => node,
                (Some(node), id) if id != "unknown" => node,
                _ => continue,
            };
            let (requests, errors) = received(&lines, id);
            let idle = !lines.iter().any(|line| line.source == *id || line.target == *id);
            cards.push(Card {
                id: (*id).to_owned(),
                x: place.x,
                y: place.y,
                width: place.width,
                height: place.height,
                title: title(node, id, kind),
                version: if kind == GraphType::VersionedApp {
                    node.version.clone()
                } else {
                    String::new()
                },
                namespace: node.namespace.clone(),
                app: node.app.clone(),
                kind: node.kind,
                idle,
                found: false,
                requests,
                errors,
            });
        }
        let used = |name: &str| {
            cards
                .iter()
                .any(|card| card.namespace == name && card.kind != NodeKind::Unknown)
        };
        let boxes = layout
            .boxes
            .iter()
            .filter(|frame| used(&frame.namespace))
            .cloned()
            .collect();
        Self {
            boxes,
            cards,
            lines,
            size: (layout.width, layout.height),
            seconds: graph.seconds,
            ..Self::default()
        }
    }

    /// The part of the picture that is not empty: left, top, width, height.
    pub fn bounds(&self) -> (f64, f64, f64, f64) {
        let corners = self
            .cards
            .iter()
            .map(|card| {
                let (half_width, half_height) = (card.width / 2.0, card.height / 2.0);
                (
                    card.x - half_width,
                    card.y - half_height,
                    card.x + half_width,
                    card.y + half_height,
                )
            })
            .chain(
                self.boxes
                    .iter()
                    .map(|frame| (frame.x, frame.y, frame.x + frame.width, frame.y + frame.height)),
            );
        let all = corners.reduce(|a, b| (a.0.min(b.0), a.1.min(b.1), a.2.max(b.2), a.3.max(b.3)));
        all.map_or(
            (0.0, 0.0, self.size.0, self.size.1),
            |(left, top, right, bottom)| (left, top, right - left, bottom - top),
        )
    }

    /// A node.
    pub fn card(&self, id: &str) -> Option<&Card> {
        self.cards.iter().find(|card| card.id == id)
    }

    /// An edge.
    pub fn line(&self, source: &str, target: &str) -> Option<&Line> {
        self.lines.iter().find(|line| line.joins(source, target))
    }

    /// The edge nearest to a point of the picture, within `reach`.
    pub fn line_at(&self, point: (f64, f64), reach: f64) -> Option<&Line> {
        let near = self.lines.iter().map(|line| (line, line.curve.distance(point)));
        near.filter(|(_, distance)| *distance <= reach)
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .map(|(line, _)| line)
    }

    /// The neighbour that a call leads to (or comes from), nearest in height.
    pub fn neighbour(&self, id: &str, downstream: bool) -> Option<&Card> {
        let here = self.card(id)?;
        let others = self.lines.iter().filter_map(|line| match downstream {
            true if line.source == id => self.card(&line.target),
            false if line.target == id => self.card(&line.source),
            _ => None,
        });
        others
            .filter(|card| card.id != id)
            .min_by(|a, b| (a.y - here.y).abs().total_cmp(&(b.y - here.y).abs()))
    }

    /// The nearest node above or below.
    pub fn beside(&self, id: &str, below: bool) -> Option<&Card> {
        let here = self.card(id)?;
        let wanted = |card: &&Card| {
            card.id != id
                && if below {
                    card.y > here.y + 1.0
                } else {
                    card.y < here.y - 1.0
                }
        };
        let far = |card: &Card| (card.y - here.y).abs() + (card.x - here.x).abs() * 2.0;
        self.cards
            .iter()
            .filter(wanted)
            .min_by(|a, b| far(a).total_cmp(&far(b)))
    }
}

/// Whether the layout has a place for every node and a way for every edge.
pub fn covers(graph: &Graph, layout: &Layout) -> bool {
    graph.edges.iter().all(|edge| {
        let target = place_of_target(&edge.target);
        layout
            .edges
            .iter()
            .any(|path| path.source == edge.source && path.target == target)
    }) && graph
        .nodes
        .iter()
        .all(|node| node.id == "unknown" || layout.nodes.iter().any(|place| place.id == node.id))
}

/// Edges to `unknown` end at the place of local answers.
pub fn place_of_target(target: &str) -> &str {
    if target == "unknown" {
        LOCAL_ANSWERS
    } else {
        target
    }
}

fn lines(graph: &Graph, layout: &Layout) -> Vec<Line> {
    let mut edges: BTreeMap<(&str, &str), Vec<&Edge>> = BTreeMap::new();
    for edge in &graph.edges {
        edges
            .entry((&edge.source, place_of_target(&edge.target)))
            .or_default()
            .push(edge);
    }
    let ways = layout.edges.iter().filter_map(|path| {
        let edges = edges.get(&(path.source.as_str(), path.target.as_str()))?;
        Some(Line::new(
            path.source.clone(),
            path.target.clone(),
            Curve::through(&path.points),
            edges.iter().map(|edge| (*edge).clone()).collect(),
        ))
    });
    ways.collect()
}

fn received(lines: &[Line], id: &str) -> (u64, u64) {
    let sum = |pick: fn(&Line) -> &str| {
        let mine = lines.iter().filter(|line| pick(line) == id);
        mine.fold((0, 0), |(requests, errors), line| {
            (requests + line.requests, errors + line.errors)
        })
    };
    if id == "unknown" {
        sum(|line| &line.source)
    } else {
        sum(|line| &line.target)
    }
}

fn title(node: &Node, id: &str, kind: GraphType) -> String {
    if id == LOCAL_ANSWERS {
        return t().local_answers.to_owned();
    }
    if node.kind == NodeKind::Unknown {
        return t().outside.to_owned();
    }
    let name = match kind {
        GraphType::Workload => &node.workload,
        GraphType::App | GraphType::VersionedApp => &node.app,
        GraphType::Service => return service_name(id).to_owned(),
    };
    if name.is_empty() {
        id.rsplit('/').next().unwrap_or(id).to_owned()
    } else {
        name.clone()
    }
}

/// `service:reviews.default.svc.cluster.local` -> `reviews`; other hosts stay whole.
pub fn service_name(id: &str) -> &str {
    let host = id.strip_prefix("service:").unwrap_or(id);
    if host.ends_with(".svc.cluster.local") {
        host.split('.').next().unwrap_or(host)
    } else {
        host
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use mesh_api::layout::{Path, Place};

    use super::*;

    fn scene() -> Scene {
        let edge = |source: &str, target: &str, requests, errors| Edge {
            source: source.into(),
            target: target.into(),
            requests,
            errors,
            mutual_tls: requests,
            ..Edge::default()
        };
        let node = |id: &str| Node {
            id: id.into(),
            workload: id.trim_start_matches("a/").into(),
            kind: if id == "unknown" {
                NodeKind::Unknown
            } else {
                NodeKind::Workload
            },
            ..Node::default()
        };
        let graph = Graph {
            nodes: ["a/x", "a/y", "unknown"].map(node).into(),
            edges: vec![
                edge("unknown", "a/x", 10, 0),
                edge("a/x", "a/y", 8, 1),
                edge("a/x", "unknown", 2, 2),
            ],
            seconds: 60.0,
            ..Graph::default()
        };
        let place = |id: &str, x: f64| Place {
            id: id.into(),
            x,
            y: 0.0,
            width: 10.0,
            height: 10.0,
        };
        let path = |source: &str, target: &str| Path {
            source: source.into(),
            target: target.into(),
            points: vec![(0.0, 0.0), (50.0, 0.0)],
        };
        let layout = Layout {
            nodes: vec![
                place("a/x", 100.0),
                place("a/y", 200.0),
                place("a/silent", 300.0),
                place("unknown", 0.0),
                place(LOCAL_ANSWERS, 200.0),
            ],
            edges: vec![
                path("unknown", "a/x"),
                path("a/x", "a/y"),
                path("a/x", LOCAL_ANSWERS),
                path("a/y", "a/silent"),
            ],
            ..Layout::default()
        };
        assert!(covers(&graph, &layout));
        Scene::new(&graph, &layout, GraphType::Workload)
    }

    #[test]
    fn outside_callers_and_local_answers_are_two_places() {
        let scene = scene();
        let ids: Vec<_> = scene.cards.iter().map(|card| card.id.as_str()).collect();
        assert_eq!(ids, ["a/x", "a/y", "unknown", LOCAL_ANSWERS]);
        assert_eq!(scene.card("unknown").unwrap().requests, 10);
        assert_eq!(scene.card(LOCAL_ANSWERS).unwrap().requests, 2);
    }

    #[test]
    fn a_place_without_traffic_is_not_drawn() {
        assert!(scene().card("a/silent").is_none());
        assert_eq!(scene().lines.len(), 3);
    }

    #[test]
    fn neighbours_follow_calls() {
        let scene = scene();
        assert_eq!(scene.neighbour("unknown", true).unwrap().id, "a/x");
        assert_eq!(scene.neighbour("a/x", false).unwrap().id, "unknown");
        assert!(scene.neighbour("a/y", true).is_none());
    }

    #[test]
    fn services_are_called_by_their_short_name() {
        assert_eq!(
            service_name("service:reviews.default.svc.cluster.local"),
            "reviews"
        );
        assert_eq!(service_name("service:api.example.com"), "api.example.com");
    }
}
