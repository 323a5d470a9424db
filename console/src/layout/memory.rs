//! Layouts by scope. A node that stops for a while keeps its place, so that the picture is the same when it returns.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use mesh_api::layout::Layout;
use parking_lot::Mutex;

use super::{Arrange, Topology, lay_out};

/// Scopes people look at; the longest unused one makes room.
const SCOPES: usize = 128;
/// Places are kept for names that have been silent this long.
const KEEP: Duration = Duration::from_secs(3600);

/// Remembers where everything stood.
#[derive(Default)]
pub struct Memory {
    // Held for a look-up or one layout (some milliseconds, 170 at 300 services), never across an await.
    scopes: Mutex<HashMap<String, Remembered>>,
}

struct Remembered {
    topology: Topology,
    seen: HashMap<String, Instant>,
    layout: Layout,
    used: Instant,
}

impl Memory {
    /// The layout of a scope that now has these names.
    pub fn layout(&self, scope: &str, current: Topology, arrange: &dyn Arrange, now: Instant) -> Layout {
        let mut scopes = self.scopes.lock();
        if !scopes.contains_key(scope) && scopes.len() >= SCOPES {
            let oldest = scopes
                .iter()
                .min_by_key(|(_, scope)| scope.used)
                .map(|(name, _)| name.clone());
            oldest.and_then(|name| scopes.remove(&name));
        }
        let remembered = scopes.entry(scope.to_owned()).or_insert_with(|| Remembered {
            topology: Topology::default(),
            seen: HashMap::new(),
            layout: Layout::default(),
            used: now,
        });
        remembered.used = now;
        for id in current.nodes.keys() {
            remembered.seen.insert(id.clone(), now);
        }
        let covered = current
            .nodes
            .iter()
            .all(|node| remembered.topology.nodes.get(node.0) == Some(node.1))
            && current.edges.is_subset(&remembered.topology.edges);
        if !covered {
            remembered.grow(current, now);
            remembered.layout = lay_out(&remembered.topology, arrange);
        }
        remembered.layout.clone()
    }
}

impl Remembered {
    /// Adds the new names, and lets go of those that were silent for long: everything moves now anyway.
    fn grow(&mut self, current: Topology, now: Instant) {
        self.seen.retain(|_, at| now.duration_since(*at) < KEEP);
        self.topology.nodes.extend(current.nodes);
        self.topology.edges.extend(current.edges);
        let seen = &self.seen;
        self.topology.nodes.retain(|id, _| seen.contains_key(id));
        self.topology
            .edges
            .retain(|(source, target)| seen.contains_key(source) && seen.contains_key(target));
    }
}
