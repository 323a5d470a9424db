//! The layered layout of the `dagre` crate behind [`Arrange`].

use dagre::graph::{Graph, GraphOptions};
use dagre::{EdgeLabel, LayoutOptions, NodeLabel, RankDir, layout};

use super::{Arrange, Arranged, Spacing};

/// Sugiyama's layered drawing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dagre;

impl Arrange for Dagre {
    fn arrange(&self, sizes: &[(f64, f64)], edges: &[(usize, usize)], spacing: Spacing) -> Arranged {
        let mut graph: Graph<NodeLabel, EdgeLabel> = Graph::with_options(GraphOptions {
            directed: true,
            multigraph: false,
            compound: false,
        });
        for (at, (width, height)) in sizes.iter().enumerate() {
            graph.set_node(
                key(at),
                Some(NodeLabel {
                    width: *width,
                    height: *height,
                    ..NodeLabel::default()
                }),
            );
        }
        for (source, target) in edges {
            let label = EdgeLabel {
                width: spacing.label.0,
                height: spacing.label.1,
                ..EdgeLabel::default()
            };
            graph.set_edge(key(*source), key(*target), Some(label), None);
        }
        let options = LayoutOptions {
            rankdir: RankDir::LR,
            nodesep: spacing.within,
            ranksep: spacing.between,
            edgesep: spacing.within / 2.0,
            ..LayoutOptions::default()
        };
        layout(&mut graph, Some(options));
        read(&graph, sizes, edges)
    }
}

fn read(graph: &Graph<NodeLabel, EdgeLabel>, sizes: &[(f64, f64)], edges: &[(usize, usize)]) -> Arranged {
    let mut arranged = Arranged::default();
    for (at, (width, height)) in sizes.iter().enumerate() {
        let middle = graph
            .node(&key(at))
            .and_then(|node| Some((node.x?, node.y?)))
            .unwrap_or_default();
        arranged.size.0 = arranged.size.0.max(middle.0 + width / 2.0);
        arranged.size.1 = arranged.size.1.max(middle.1 + height / 2.0);
        arranged.middles.push(middle);
    }
    for (source, target) in edges {
        let line: Vec<(f64, f64)> = graph
            .edge(&key(*source), &key(*target), None)
            .map(|edge| edge.points.iter().map(|point| (point.x, point.y)).collect())
            .unwrap_or_default();
        for (x, y) in &line {
            arranged.size.0 = arranged.size.0.max(*x);
            arranged.size.1 = arranged.size.1.max(*y);
        }
        arranged.lines.push(line);
    }
    arranged
}

fn key(at: usize) -> String {
    at.to_string()
}
