//! Where the graph's nodes stand: namespaces first, then inside them, and never moved by a number.

mod dagre;
mod memory;

use std::collections::{BTreeMap, BTreeSet};

use mesh_api::graph::Graph;
use mesh_api::layout::{LOCAL_ANSWERS, Layout, NamespaceBox, Path, Place};

pub use self::dagre::Dagre;
pub use self::memory::Memory;

const NODE_WIDTH: f64 = 184.0;
const NODE_HEIGHT: f64 = 52.0;
const BOX_PADDING: f64 = 24.0;
/// Room for the namespace's name above its nodes.
const BOX_TITLE: f64 = 24.0;
const MARGIN: f64 = 32.0;

/// Arranges rectangles joined by arrows, from left to right.
pub trait Arrange: Send + Sync {
    /// `sizes` are (width, height); `edges` are pairs of indexes into it, without doubles.
    fn arrange(&self, sizes: &[(f64, f64)], edges: &[(usize, usize)], spacing: Spacing) -> Arranged;
}

/// Free room between rectangles.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spacing {
    /// Between neighbours in a column.
    pub within: f64,
    /// Between columns.
    pub between: f64,
    /// Room that an edge's label needs (width, height).
    pub label: (f64, f64),
}

/// What [`Arrange`] gives: middles, and lines in the order of the edges.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Arranged {
    /// Middle of each rectangle.
    pub middles: Vec<(f64, f64)>,
    /// Line of each edge.
    pub lines: Vec<Vec<(f64, f64)>>,
    /// Extent.
    pub size: (f64, f64),
}

/// What a layout depends on: names, not numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Namespace by place id; empty for places outside every box.
    pub nodes: BTreeMap<String, String>,
    /// Pairs of place ids.
    pub edges: BTreeSet<(String, String)>,
}

impl Topology {
    /// The names in a graph. Edges to `unknown` end at [`LOCAL_ANSWERS`].
    pub fn of(graph: &Graph) -> Self {
        let mut topology = Self::default();
        for edge in &graph.edges {
            let target = if edge.target == "unknown" {
                LOCAL_ANSWERS
            } else {
                &edge.target
            };
            topology.edges.insert((edge.source.clone(), target.to_owned()));
        }
        for node in &graph.nodes {
            // `unknown` that only answers stands at its other place.
            if node.id != "unknown" || topology.edges.iter().any(|(source, _)| source == "unknown") {
                let namespace = if node.id == "unknown" {
                    String::new()
                } else {
                    node.namespace.clone()
                };
                topology.nodes.insert(node.id.clone(), namespace);
            }
        }
        if topology.edges.iter().any(|(_, target)| target == LOCAL_ANSWERS) {
            topology.nodes.insert(LOCAL_ANSWERS.to_owned(), String::new());
        }
        let known = &topology.nodes;
        topology
            .edges
            .retain(|(source, target)| known.contains_key(source) && known.contains_key(target));
        topology
    }
}

impl Topology {
    /// With the names of another time.
    pub fn extend(&mut self, other: Self) {
        self.nodes.extend(other.nodes);
        self.edges.extend(other.edges);
    }

    /// With nodes that may have no edge.
    pub fn add(&mut self, nodes: Vec<mesh_api::graph::Node>) {
        for node in nodes {
            self.nodes.entry(node.id).or_insert(node.namespace);
        }
    }
}

/// Lays a topology out. The same topology gives the same layout.
pub fn lay_out(topology: &Topology, arrange: &dyn Arrange) -> Layout {
    let groups = groups(topology);
    let inner: Vec<Arranged> = groups
        .iter()
        .map(|group| arrange_inside(group, topology, arrange))
        .collect();
    let outer = arrange_groups(&groups, &inner, topology, arrange);

    let mut places = BTreeMap::new();
    let mut paths = BTreeMap::new();
    let mut boxes = Vec::new();
    for ((group, inside), middle) in groups.iter().zip(&inner).zip(&outer.middles) {
        let (width, height) = extent(group, inside);
        let (left, top) = (middle.0 - width / 2.0 + MARGIN, middle.1 - height / 2.0 + MARGIN);
        let (dx, dy) = if group.namespace.is_empty() {
            (left, top)
        } else {
            (left + BOX_PADDING, top + BOX_PADDING + BOX_TITLE)
        };
        if !group.namespace.is_empty() {
            boxes.push(NamespaceBox {
                namespace: group.namespace.clone(),
                x: left,
                y: top,
                width,
                height,
            });
        }
        for (id, (x, y)) in group.members.iter().zip(&inside.middles) {
            let place = Place {
                id: (*id).clone(),
                x: x + dx,
                y: y + dy,
                width: NODE_WIDTH,
                height: NODE_HEIGHT,
            };
            places.insert((*id).clone(), place);
        }
        for ((source, target), line) in inner_edges(group, topology).into_iter().zip(&inside.lines) {
            let points = line.iter().map(|(x, y)| (x + dx, y + dy)).collect();
            let points = match (places.get(source), places.get(target)) {
                (Some(from), Some(to)) => from_side_to_side(from, to, points),
                _ => points,
            };
            paths.insert(
                (source.clone(), target.clone()),
                Path {
                    source: source.clone(),
                    target: target.clone(),
                    points,
                },
            );
        }
    }
    for (source, target) in &topology.edges {
        let key = (source.clone(), target.clone());
        if !paths.contains_key(&key)
            && let (Some(from), Some(to)) = (places.get(source), places.get(target))
        {
            let points = vec![(from.x + from.width / 2.0, from.y), (to.x - to.width / 2.0, to.y)];
            paths.insert(
                key,
                Path {
                    source: source.clone(),
                    target: target.clone(),
                    points,
                },
            );
        }
    }
    Layout {
        nodes: places.into_values().collect(),
        edges: paths.into_values().collect(),
        boxes,
        width: outer.size.0 + 2.0 * MARGIN,
        height: outer.size.1 + 2.0 * MARGIN,
    }
}

/// Calls leave on the right and arrive on the left, wherever the target is to the right.
fn from_side_to_side(from: &Place, to: &Place, mut points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let (right, left) = (from.x + from.width / 2.0, to.x - to.width / 2.0);
    if right < left && points.len() >= 2 {
        points.remove(0);
        points.pop();
        points.retain(|(x, _)| *x > right && *x < left);
        points.insert(0, (right, from.y));
        points.push((left, to.y));
    }
    points
}

/// A namespace with its places, or one place outside every namespace.
struct Group<'a> {
    namespace: String,
    members: Vec<&'a String>,
}

fn groups(topology: &Topology) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let mut by_namespace: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    for (id, namespace) in &topology.nodes {
        if namespace.is_empty() {
            groups.push(Group {
                namespace: String::new(),
                members: vec![id],
            });
        } else {
            by_namespace.entry(namespace).or_default().push(id);
        }
    }
    groups.extend(by_namespace.into_iter().map(|(namespace, members)| Group {
        namespace: namespace.to_owned(),
        members,
    }));
    groups
}

fn inner_edges<'a>(group: &Group<'_>, topology: &'a Topology) -> Vec<&'a (String, String)> {
    let inside = |id: &String| group.members.contains(&id);
    topology
        .edges
        .iter()
        .filter(|(source, target)| inside(source) && inside(target))
        .collect()
}

fn arrange_inside(group: &Group<'_>, topology: &Topology, arrange: &dyn Arrange) -> Arranged {
    let index: BTreeMap<&String, usize> = group
        .members
        .iter()
        .enumerate()
        .map(|(at, id)| (*id, at))
        .collect();
    let edges: Vec<(usize, usize)> = inner_edges(group, topology)
        .into_iter()
        .filter_map(|(source, target)| Some((*index.get(source)?, *index.get(target)?)))
        .collect();
    let sizes = vec![(NODE_WIDTH, NODE_HEIGHT); group.members.len()];
    arrange.arrange(
        &sizes,
        &edges,
        Spacing {
            within: 32.0,
            between: 28.0,
            label: (64.0, 20.0),
        },
    )
}

fn arrange_groups(
    groups: &[Group<'_>],
    inner: &[Arranged],
    topology: &Topology,
    arrange: &dyn Arrange,
) -> Arranged {
    let mut group_of: BTreeMap<&String, usize> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        group_of.extend(group.members.iter().map(|id| (*id, at)));
    }
    let edges: BTreeSet<(usize, usize)> = topology
        .edges
        .iter()
        .filter_map(|(source, target)| Some((*group_of.get(source)?, *group_of.get(target)?)))
        .filter(|(source, target)| source != target)
        .collect();
    let sizes: Vec<(f64, f64)> = groups
        .iter()
        .zip(inner)
        .map(|(group, inside)| extent(group, inside))
        .collect();
    let edges: Vec<(usize, usize)> = edges.into_iter().collect();
    arrange.arrange(
        &sizes,
        &edges,
        Spacing {
            within: 36.0,
            between: 28.0,
            label: (64.0, 20.0),
        },
    )
}

fn extent(group: &Group<'_>, inside: &Arranged) -> (f64, f64) {
    let (width, height) = inside.size;
    if group.namespace.is_empty() {
        (width, height)
    } else {
        (width + 2.0 * BOX_PADDING, height + 2.0 * BOX_PADDING + BOX_TITLE)
    }
}

#[cfg(test)]
mod tests;
