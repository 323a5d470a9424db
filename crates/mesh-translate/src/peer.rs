//! PeerAuthentication: the mode of a workload's port.

use std::collections::BTreeMap;

use mesh_crd::Resource;
use mesh_crd::networking::labels_match;
use mesh_crd::security::{MutualTlsMode, PeerAuthentication};

use crate::World;
use crate::index::Index;

/// What a workload takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PeerModes {
    mode: MutualTlsMode,
    ports: BTreeMap<u16, MutualTlsMode>,
}

impl PeerModes {
    /// Policies by workload, then namespace, then mesh; UNSET inherits; the default is PERMISSIVE.
    pub(crate) fn of(
        world: &World,
        index: &Index,
        namespace: &str,
        labels: &BTreeMap<String, String>,
    ) -> Self {
        if index.peers().next().is_none() {
            return Self {
                mode: MutualTlsMode::Permissive,
                ports: BTreeMap::new(),
            };
        }
        let root = world.mesh().root_namespace.as_str();
        let has_selector = |r: &Resource<PeerAuthentication>| {
            r.spec
                .selector
                .as_ref()
                .is_some_and(|s| !s.match_labels.is_empty())
        };
        let wide = |ns: &str| index.peers().find(|r| r.meta.namespace == ns && !has_selector(r));
        // A selector in the root namespace selects nothing elsewhere, nor there mesh-wide.
        let own = index.peers().find(|r| {
            r.meta.namespace == namespace
                && has_selector(r)
                && r.spec
                    .selector
                    .as_ref()
                    .is_some_and(|s| labels_match(&s.match_labels, labels))
        });
        let mut mode = MutualTlsMode::Permissive;
        let mut ports = BTreeMap::new();
        let levels = [wide(root), wide(namespace).filter(|_| namespace != root), own];
        for policy in levels.into_iter().flatten() {
            match policy.spec.mtls.as_ref().map(|m| m.mode) {
                None | Some(MutualTlsMode::Unset) => {}
                Some(other) => mode = other,
            }
            for (port, m) in &policy.spec.port_level_mtls {
                if let Ok(port) = port.parse::<u16>()
                    && m.mode != MutualTlsMode::Unset
                {
                    ports.insert(port, m.mode);
                }
            }
        }
        Self { mode, ports }
    }

    /// Mode of a workload port.
    pub(crate) fn at(&self, port: u16) -> MutualTlsMode {
        self.ports.get(&port).copied().unwrap_or(self.mode)
    }

    /// Mode of every port that has no mode of its own.
    pub(crate) fn elsewhere(&self) -> MutualTlsMode {
        self.mode
    }

    /// Ports with a mode of their own.
    pub(crate) fn ports(&self) -> impl Iterator<Item = (u16, MutualTlsMode)> {
        self.ports.iter().map(|(port, mode)| (*port, *mode))
    }
}
