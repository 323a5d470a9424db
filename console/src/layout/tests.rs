#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use mesh_api::graph::{Edge, Node};

use super::*;

fn graph(edges: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::default();
    for (source, target) in edges {
        graph.edges.push(Edge {
            source: (*source).into(),
            target: (*target).into(),
            ..Edge::default()
        });
        for id in [source, target] {
            if !graph.nodes.iter().any(|node| node.id == **id) {
                let namespace = id.split_once('/').map_or("", |(namespace, _)| namespace);
                graph.nodes.push(Node {
                    id: (*id).to_string(),
                    namespace: namespace.into(),
                    ..Node::default()
                });
            }
        }
    }
    graph
}

fn shop() -> Topology {
    Topology::of(&graph(&[
        ("unknown", "edge/gateway"),
        ("edge/gateway", "shop/front"),
        ("edge/gateway", "unknown"),
        ("shop/front", "shop/details"),
        ("shop/front", "shop/reviews"),
        ("shop/reviews", "shop/ratings"),
    ]))
}

fn place<'a>(layout: &'a Layout, id: &str) -> &'a Place {
    layout.nodes.iter().find(|place| place.id == id).unwrap()
}

#[test]
fn the_same_names_give_the_same_layout() {
    let first = lay_out(&shop(), &Dagre);
    for _ in 0..5 {
        assert_eq!(lay_out(&shop(), &Dagre), first);
    }
}

#[test]
fn traffic_runs_from_left_to_right_and_nothing_overlaps() {
    let layout = lay_out(&shop(), &Dagre);
    for pair in [
        "unknown",
        "edge/gateway",
        "shop/front",
        "shop/reviews",
        "shop/ratings",
    ]
    .windows(2)
    {
        assert!(place(&layout, pair[0]).x < place(&layout, pair[1]).x, "{pair:?}");
    }
    for (at, a) in layout.nodes.iter().enumerate() {
        for b in &layout.nodes[at + 1..] {
            let apart = (a.x - b.x).abs() >= a.width || (a.y - b.y).abs() >= a.height;
            assert!(apart, "{a:?} {b:?}");
        }
    }
}

#[test]
fn every_node_is_in_its_namespace_box_and_every_edge_has_a_line() {
    let layout = lay_out(&shop(), &Dagre);
    assert_eq!(
        layout
            .boxes
            .iter()
            .map(|b| b.namespace.as_str())
            .collect::<Vec<_>>(),
        ["edge", "shop"]
    );
    for node in layout.nodes.iter().filter(|node| !node.id.starts_with("unknown")) {
        let namespace = node.id.split_once('/').unwrap().0;
        let frame = layout
            .boxes
            .iter()
            .find(|frame| frame.namespace == namespace)
            .unwrap();
        assert!(
            node.x - node.width / 2.0 >= frame.x && node.x + node.width / 2.0 <= frame.x + frame.width,
            "{node:?}"
        );
        assert!(
            node.y - node.height / 2.0 >= frame.y && node.y + node.height / 2.0 <= frame.y + frame.height,
            "{node:?}"
        );
    }
    assert_eq!(layout.edges.len(), shop().edges.len());
    assert!(layout.edges.iter().all(|path| path.points.len() >= 2));
}

#[test]
fn local_answers_stand_apart_from_outside_callers() {
    let layout = lay_out(&shop(), &Dagre);
    assert!(place(&layout, "unknown").x < place(&layout, LOCAL_ANSWERS).x);
    assert!(
        layout
            .edges
            .iter()
            .any(|path| path.source == "edge/gateway" && path.target == LOCAL_ANSWERS)
    );
}

#[test]
fn nothing_moves_when_a_node_falls_silent_and_returns() {
    let (memory, start) = (Memory::default(), Instant::now());
    let first = memory.layout("all", shop(), &Dagre, start);
    let mut quiet = shop();
    quiet.nodes.remove("shop/ratings");
    quiet.edges.retain(|(_, target)| target != "shop/ratings");
    assert_eq!(
        memory.layout("all", quiet, &Dagre, start + Duration::from_secs(60)),
        first
    );
    assert_eq!(
        memory.layout("all", shop(), &Dagre, start + Duration::from_secs(120)),
        first
    );
}

#[test]
fn a_new_node_gets_a_place_and_long_silence_frees_one() {
    let (memory, start) = (Memory::default(), Instant::now());
    memory.layout("all", shop(), &Dagre, start);
    let mut next = shop();
    next.nodes.remove("shop/ratings");
    next.edges.retain(|(_, target)| target != "shop/ratings");
    next.nodes.insert("shop/basket".into(), "shop".into());
    let soon = memory.layout("all", next.clone(), &Dagre, start + Duration::from_secs(60));
    assert!(soon.nodes.iter().any(|place| place.id == "shop/ratings"));
    next.nodes.insert("shop/search".into(), "shop".into());
    let later = memory.layout("all", next, &Dagre, start + Duration::from_secs(7200));
    assert!(!later.nodes.iter().any(|place| place.id == "shop/ratings"));
    assert!(later.nodes.iter().any(|place| place.id == "shop/search"));
}
