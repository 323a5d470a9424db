//! The world, sorted for questions: made once per state of the world.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use mesh_crd::networking::{Gateway, Sidecar};
use mesh_crd::security::PeerAuthentication;
use mesh_crd::{Object, Resource};

use crate::World;
use crate::access::Accesses;
use crate::bound::{self, Bound};
use crate::policy::{self, Rules};
use crate::problem::Findings;
use crate::registry::Registry;

/// Everything that does not depend on who asks.
#[derive(Debug, Default)]
pub(crate) struct Index {
    /// Services with endpoints.
    pub(crate) registry: Registry,
    /// VirtualServices with hosts, delegates resolved, oldest first.
    pub(crate) bound: Vec<Arc<Bound>>,
    /// DestinationRules, merged by namespace, host and selector.
    pub(crate) rules: BTreeMap<String, Rules>,
    /// Numbers of TCP services in every workload's /24, by host.
    pub(crate) tcp_numbers: BTreeMap<String, u8>,
    /// Addresses made up for ServiceEntries that have none, by host.
    pub(crate) made_up: BTreeMap<String, Ipv4Addr>,
    /// Policies and token rules.
    pub(crate) accesses: Accesses,
    gateways: Vec<Arc<Object>>,
    peers: Vec<Arc<Object>>,
    sidecars: Vec<Arc<Object>>,
    /// Problems that do not depend on who asks.
    pub(crate) findings: Findings,
}

impl Index {
    pub(crate) fn build(world: &World) -> Self {
        let mut findings = Findings::default();
        let registry = Registry::build(world);
        Self {
            tcp_numbers: crate::local::numbers(&registry),
            made_up: crate::made_up::addresses(&registry),
            registry,
            accesses: Accesses::build(world, &mut findings),
            bound: bound::build(world, &mut findings),
            rules: policy::merge(world),
            gateways: by_age(world, "Gateway"),
            peers: by_age(world, "PeerAuthentication"),
            sidecars: by_age(world, "Sidecar"),
            findings,
        }
    }

    /// Oldest first.
    pub(crate) fn gateways(&self) -> impl Iterator<Item = &Resource<Gateway>> {
        self.gateways.iter().filter_map(|o| match o.as_ref() {
            Object::Gateway(r) => Some(r),
            _ => None,
        })
    }

    /// Oldest first.
    pub(crate) fn peers(&self) -> impl Iterator<Item = &Resource<PeerAuthentication>> {
        self.peers.iter().filter_map(|o| match o.as_ref() {
            Object::PeerAuthentication(r) => Some(r),
            _ => None,
        })
    }

    /// Oldest first.
    pub(crate) fn sidecars(&self) -> impl Iterator<Item = &Resource<Sidecar>> {
        self.sidecars.iter().filter_map(|o| match o.as_ref() {
            Object::Sidecar(r) => Some(r),
            _ => None,
        })
    }
}

/// Every object of a kind, oldest first.
pub(crate) fn by_age(world: &World, kind: &str) -> Vec<Arc<Object>> {
    let mut all: Vec<Arc<Object>> = world
        .objects()
        .filter(|(key, _)| key.kind == kind)
        .map(|(_, o)| Arc::clone(o))
        .collect();
    all.sort_by(|a, b| a.meta().age_order().cmp(&b.meta().age_order()));
    all
}
