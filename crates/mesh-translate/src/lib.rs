//! World and proxy to configuration snapshot: merging, precedence, scoping. Pure and deterministic: the same
//! world gives the same snapshot and the same problems, in the same order.
//!
//! - [`World`] holds the parsed objects; cloning it is cheap.
//! - [`ProxyNode`] says who asks.
//! - [`snapshot`] makes all configuration of that proxy.
//! - [`analyze`] judges references between objects.

mod node;
mod world;

mod index;
mod keys;
mod problem;
mod protocol;
mod registry;
mod scope;
mod visible;

mod access;
mod bound;
mod l4;
mod local;
mod locality;
mod made_up;
mod peer;
mod policy;

mod cluster;
mod connection;
mod route;

mod gateway;
mod inbound;
mod outbound;
mod secrets;
mod telemetry;

mod analysis;

pub use analysis::analyze;
pub use keys::{KeySet, KeySource};
pub use local::{LocalService, local_services};
pub use node::{Interception, NodeError, ProxyKind, ProxyNode};
pub use world::{KeyMaterial, World};

use std::collections::BTreeMap;

use mesh_crd::{ObjectKey, Problem};
use mesh_model::snapshot::Snapshot;

/// Problems by object, each list in field order.
pub type Problems = BTreeMap<ObjectKey, Vec<Problem>>;

/// All configuration of one proxy, and what of the world could not be used for it and why.
#[must_use]
pub fn snapshot(world: &World, node: &ProxyNode) -> (Snapshot, Problems) {
    let index = world.index();
    let mut findings = problem::Findings::default();
    let mut out = Snapshot {
        revision: world.snapshot_revision(node),
        ..Snapshot::default()
    };
    match node.kind {
        ProxyKind::Sidecar => {
            outbound::build(world, index, node, &mut out, &mut findings);
            inbound::build(world, index, node, &mut out);
        }
        ProxyKind::Router => {
            gateway::build(world, index, node, &mut out, &mut findings);
            secrets::build(world, node, &mut out);
        }
    }
    telemetry::apply(world, index, node, &mut out);
    let mut problems = findings.0;
    for list in problems.values_mut() {
        list.sort();
    }
    (out, problems)
}
