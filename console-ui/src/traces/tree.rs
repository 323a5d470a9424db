//! The spans of a trace as a tree: who called whom, what is missing, what took the time. Pure.

use std::collections::{HashMap, HashSet};

use mesh_api::traces::{Span, Trace};

/// A span at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The span.
    pub span: Span,
    /// Steps from its root.
    pub depth: usize,
    /// Place of its parent among the nodes.
    pub parent: Option<usize>,
    /// Spans below it.
    pub below: usize,
    /// Direct children.
    pub children: usize,
    /// Its parent is named, but is not here.
    pub orphan: bool,
    /// Starts so many microseconds before its caller: the clocks of the two proxies differ by at least that.
    pub skew_us: f64,
    /// Microseconds not covered by children.
    pub self_us: f64,
    /// The trace would end earlier if this span did.
    pub critical: bool,
}

/// A trace, depth first: a caller stands before what it called.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Tree {
    /// In the order in which they are shown.
    pub nodes: Vec<Node>,
    /// Earliest start, Unix microseconds.
    pub start_us: f64,
    /// Earliest start to latest end, microseconds.
    pub length_us: f64,
    /// No span without a parent is here.
    pub rootless: bool,
}

impl Tree {
    /// Builds the tree. Spans may lack their parents, name themselves, or call in circles: each is shown once.
    pub fn new(trace: &Trace) -> Self {
        let mut seen = HashSet::new();
        let spans: Vec<&Span> = trace
            .spans
            .iter()
            .filter(|span| seen.insert(span.span.as_str()))
            .collect();
        let start_us = spans
            .iter()
            .map(|span| span.started_us)
            .fold(f64::INFINITY, f64::min);
        let end_us = spans.iter().map(|span| end(span)).fold(0.0, f64::max);
        if spans.is_empty() {
            return Self::default();
        }
        let mut tree = Self {
            nodes: ordered(&spans),
            start_us,
            length_us: (end_us - start_us).max(0.0),
            rootless: spans.iter().all(|span| span.parent.is_some()),
        };
        tree.measure();
        tree.follow_time();
        tree
    }

    /// Counts what is below, and the time that is a span's own.
    fn measure(&mut self) {
        let mut covered: HashMap<usize, Vec<(f64, f64)>> = HashMap::new();
        for at in (0..self.nodes.len()).rev() {
            let Some(node) = self.nodes.get(at) else { continue };
            let (parent, below) = (node.parent, node.below);
            let extent = (node.span.started_us, end(&node.span));
            if let Some(parent) = parent {
                covered.entry(parent).or_default().push(extent);
                if let Some(parent) = self.nodes.get_mut(parent) {
                    parent.below += below + 1;
                    parent.children += 1;
                }
            }
        }
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let inside = covered.remove(&at).unwrap_or_default();
            node.self_us = uncovered(node.span.started_us, end(&node.span), inside);
        }
        let starts: Vec<(f64, String)> = self
            .nodes
            .iter()
            .map(|node| (node.span.started_us, node.span.proxy.clone()))
            .collect();
        for node in &mut self.nodes {
            if let Some((start, proxy)) = node.parent.and_then(|parent| starts.get(parent))
                && *proxy != node.span.proxy
            {
                node.skew_us = (start - node.span.started_us).max(0.0);
            }
        }
    }

    /// Marks what the end waited for: from each end backwards, the child that ended last before it.
    fn follow_time(&mut self) {
        let mut children: HashMap<usize, Vec<usize>> = HashMap::new();
        for (at, node) in self.nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                children.entry(parent).or_default().push(at);
            }
        }
        let last_root = (0..self.nodes.len())
            .filter(|at| self.nodes.get(*at).is_some_and(|node| node.parent.is_none()))
            .max_by(|a, b| self.end_of(*a).total_cmp(&self.end_of(*b)));
        let mut open: Vec<usize> = last_root.into_iter().collect();
        while let Some(at) = open.pop() {
            if let Some(node) = self.nodes.get_mut(at) {
                node.critical = true;
            }
            let mut inside = children.remove(&at).unwrap_or_default();
            inside.sort_by(|a, b| self.end_of(*b).total_cmp(&self.end_of(*a)));
            let mut until = f64::INFINITY;
            for child in inside {
                if self.end_of(child) <= until
                    && let Some(node) = self.nodes.get(child)
                {
                    until = node.span.started_us;
                    open.push(child);
                }
            }
        }
    }

    fn end_of(&self, at: usize) -> f64 {
        self.nodes.get(at).map_or(0.0, |node| end(&node.span))
    }

    /// Places of nodes that are not below a closed one.
    pub fn visible(&self, closed: &HashSet<String>) -> Vec<usize> {
        let mut places = Vec::new();
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            places.push(at);
            at += 1;
            if closed.contains(&node.span.span) {
                at += node.below;
            }
        }
        places
    }

    /// Place of a span.
    pub fn place(&self, span: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.span.span == span)
    }

    /// Places of nodes with all the words in their name, workload, or attributes.
    pub fn matches(&self, words: &str) -> Vec<usize> {
        let words = words.to_lowercase();
        if words.trim().is_empty() {
            return Vec::new();
        }
        let has = |node: &Node| {
            let span = &node.span;
            let mut text = format!("{} {} {} {}", span.name, span.workload, span.kind, span.span);
            for (name, value) in &span.attributes {
                text.push_str(&format!(" {name}={value}"));
            }
            let text = text.to_lowercase();
            words.split_whitespace().all(|word| text.contains(word))
        };
        self.nodes
            .iter()
            .enumerate()
            .filter(|(_, node)| has(node))
            .map(|(at, _)| at)
            .collect()
    }

    /// Greatest difference of clocks that shows.
    pub fn skew_us(&self) -> f64 {
        self.nodes.iter().map(|node| node.skew_us).fold(0.0, f64::max)
    }

    /// Spans whose caller is not here.
    pub fn orphans(&self) -> usize {
        self.nodes.iter().filter(|node| node.orphan).count()
    }
}

fn end(span: &Span) -> f64 {
    span.started_us + span.duration_us.max(0.0)
}

fn ordered(spans: &[&Span]) -> Vec<Node> {
    let ids: HashSet<&str> = spans.iter().map(|span| span.span.as_str()).collect();
    let mut children: HashMap<&str, Vec<&Span>> = HashMap::new();
    let mut roots: Vec<&Span> = Vec::new();
    for span in spans {
        match span.parent.as_deref() {
            Some(parent) if parent != span.span && ids.contains(parent) => {
                children.entry(parent).or_default().push(span);
            }
            _ => roots.push(span),
        }
    }
    let by_start = |list: &mut Vec<&Span>| list.sort_by(|a, b| a.started_us.total_cmp(&b.started_us));
    by_start(&mut roots);
    children.values_mut().for_each(by_start);
    let mut nodes: Vec<Node> = Vec::new();
    let mut placed: HashSet<&str> = HashSet::new();
    let mut waiting: Vec<&Span> = roots.into_iter().rev().collect();
    let mut rest: Vec<&Span> = spans.iter().copied().rev().collect();
    loop {
        // Whom no root leads to, a circle holds: it is opened at its earliest span.
        let Some(first) = waiting.pop().or_else(|| rest.pop()) else {
            return nodes;
        };
        let mut open: Vec<(&Span, usize, Option<usize>)> = vec![(first, 0, None)];
        while let Some((span, depth, parent)) = open.pop() {
            if !placed.insert(span.span.as_str()) {
                continue;
            }
            let at = nodes.len();
            let orphan =
                parent.is_none() && span.parent.as_deref().is_some_and(|parent| !ids.contains(parent));
            nodes.push(Node {
                span: span.clone(),
                depth,
                parent,
                below: 0,
                children: 0,
                orphan,
                skew_us: 0.0,
                self_us: 0.0,
                critical: false,
            });
            let inside = children.get(span.span.as_str()).into_iter().flatten();
            open.extend(inside.rev().map(|child| (*child, depth + 1, Some(at))));
        }
    }
}

/// The part of an interval that no other interval covers.
fn uncovered(from: f64, to: f64, mut others: Vec<(f64, f64)>) -> f64 {
    others.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut free, mut at) = (0.0, from);
    for (start, end) in others {
        let start = start.clamp(from, to);
        free += (start - at).max(0.0);
        at = at.max(end.clamp(from, to));
    }
    free + (to - at).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `id parent start length proxy`
    fn tree(text: &str) -> Tree {
        let span = |line: &str| {
            let parts: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| parts.get(at).and_then(|text| text.parse().ok()).unwrap_or(0.0);
            Span {
                span: parts.first().unwrap_or(&"").to_string(),
                parent: parts
                    .get(1)
                    .filter(|parent| **parent != "-")
                    .map(|parent| (*parent).to_owned()),
                started_us: number(2),
                duration_us: number(3),
                proxy: parts.get(4).unwrap_or(&"p").to_string(),
                name: format!("GET /{}", parts.first().unwrap_or(&"")),
                ..Span::default()
            }
        };
        Tree::new(&Trace {
            trace: "t".into(),
            spans: text
                .split(';')
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(span)
                .collect(),
        })
    }

    fn shape(tree: &Tree) -> String {
        let word = |node: &Node| {
            format!(
                "{}{}{}",
                node.depth,
                node.span.span,
                if node.orphan { "?" } else { "" }
            )
        };
        tree.nodes.iter().map(word).collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shape(&tree(text)), expected, "{text}");
    }

    #[test]
    fn trees() {
        check("", "");
        check("a - 0 10; c a 5 2; b a 1 2; d b 1 1", "0a 1b 2d 1c");
        check("b x 1 2; a - 0 10", "0a 0b?");
        check("a a 0 10", "0a");
        check("a b 0 10; b a 1 2", "0a 1b");
        check("r - 0 9; a b 0 10; b a 1 2", "0r 0a 1b");
        check("a - 0 10; a - 0 10", "0a");
    }

    #[test]
    fn what_is_missing_is_told() {
        let broken = tree("b x 1 2; c b 1 1");
        assert!(broken.rootless);
        assert_eq!(broken.orphans(), 1);
        assert!(!tree("a - 0 1").rootless);
    }

    #[test]
    fn clocks_that_differ_never_give_negative_lengths() {
        let skewed = tree("a - 100 50 p; b a 40 30 q; c a 90 -5 p");
        assert!((skewed.start_us - 40.0).abs() < 1e-9);
        assert!((skewed.length_us - 110.0).abs() < 1e-9);
        assert!((skewed.skew_us() - 60.0).abs() < 1e-9);
        let nodes = &skewed.nodes;
        assert!(nodes.iter().all(|node| node.self_us >= 0.0));
        // The same proxy has one clock.
        assert!(nodes.iter().filter(|node| node.skew_us > 0.0).count() == 1);
    }

    #[test]
    fn the_critical_path() {
        for (text, expected) in [
            ("a - 0 100; b a 10 30; c a 50 40; d c 60 10", "abcd"),
            // b and c run side by side: the later one counts.
            ("a - 0 100; b a 10 30; c a 20 60", "ac"),
            ("a - 0 100; x - 0 10", "a"),
        ] {
            let tree = tree(text);
            let path: String = tree
                .nodes
                .iter()
                .filter(|node| node.critical)
                .map(|node| node.span.span.as_str())
                .collect();
            assert_eq!(path, expected, "{text}");
        }
    }

    #[test]
    fn own_time() {
        for (others, expected) in [
            (vec![], 100.0),
            (vec![(10.0, 30.0), (20.0, 40.0)], 70.0),
            (vec![(-50.0, 200.0)], 0.0),
            (vec![(90.0, 300.0)], 90.0),
        ] {
            assert!((uncovered(0.0, 100.0, others) - expected).abs() < 1e-9);
        }
    }

    #[test]
    fn closed_spans_hide_what_is_below() {
        let tree = tree("a - 0 10; b a 1 2; d b 1 1; c a 5 2");
        assert_eq!(tree.visible(&HashSet::new()), [0, 1, 2, 3]);
        assert_eq!(tree.visible(&HashSet::from(["b".to_owned()])), [0, 1, 3]);
        assert_eq!(tree.visible(&HashSet::from(["a".to_owned()])), [0]);
        assert_eq!(tree.matches("get /C"), [3]);
        assert!(tree.matches(" ").is_empty());
    }
}
