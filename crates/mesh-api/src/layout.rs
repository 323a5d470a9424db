//! Where the graph's nodes stand.
//!
//! `GET /api/layout?type=&namespaces=&from=&to=` answers [`Layout`], from the console. Positions are remembered
//! per scope (type and namespaces): nothing moves while only numbers change.

use serde::{Deserialize, Serialize};

/// Id of the place where edges to `unknown` end: answers that a proxy gave itself. Callers outside the mesh are
/// `unknown` too, and stand on the other side of the picture.
pub const LOCAL_ANSWERS: &str = "unknown/answers";

/// Answer of `GET /api/layout`. Lengths are CSS pixels at zoom 1, y grows downwards.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Layout {
    /// One for each node of the graph, and [`LOCAL_ANSWERS`] if an edge ends there. Sorted by id.
    pub nodes: Vec<Place>,
    /// One for each pair of nodes with an edge. Sorted by (source, target).
    pub edges: Vec<Path>,
    /// One for each namespace. Sorted by namespace.
    pub boxes: Vec<NamespaceBox>,
    /// Of the whole picture.
    pub width: f64,
    /// Of the whole picture.
    pub height: f64,
}

/// A node's rectangle; `x` and `y` are its middle.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Place {
    /// Node id, or [`LOCAL_ANSWERS`].
    pub id: String,
    /// Middle.
    pub x: f64,
    /// Middle.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}

/// An edge's line: points from border to border.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Path {
    /// Place id.
    pub source: String,
    /// Place id.
    pub target: String,
    /// At least two.
    pub points: Vec<(f64, f64)>,
}

/// A namespace's box; `x` and `y` are its top left corner.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct NamespaceBox {
    /// Namespace.
    pub namespace: String,
    /// Left.
    pub x: f64,
    /// Top.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
}
