//! A workload made of plain processes.

use std::net::SocketAddr;

use mesh_model::address::{WorkloadAddresses, port};

/// What a workload is, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// `reviews-v1`.
    pub(crate) name: String,
    /// `reviews`, the label `app`.
    pub(crate) app: String,
    /// `v1`, the label `version`; empty: none.
    pub(crate) version: String,
    /// Namespace.
    pub(crate) namespace: String,
    /// Service account.
    pub(crate) service_account: String,
    /// Role of its proxy.
    pub(crate) role: Role,
}

/// What a workload's proxy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Beside an application that listens on this port.
    Sidecar {
        /// The application's port.
        port: u16,
    },
    /// A gateway whose listeners bind this address.
    Gateway {
        /// Address and first port.
        bind: SocketAddr,
    },
}

/// A workload that has a pod and addresses.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    /// What it is.
    pub(crate) workload: Workload,
    /// Its pod.
    pub(crate) pod: String,
    /// Its number, from which its addresses follow.
    pub(crate) number: u8,
    /// Its addresses.
    pub(crate) addresses: WorkloadAddresses,
}

impl Registered {
    /// The proxy's node id, as Istio forms it.
    pub(crate) fn node_id(&self) -> String {
        let Workload { namespace, .. } = &self.workload;
        let kind = match self.workload.role {
            Role::Sidecar { .. } => "sidecar",
            Role::Gateway { .. } => "router",
        };
        let inbound = self.addresses.inbound();
        format!(
            "{kind}~{inbound}~{}.{namespace}~{namespace}.svc.cluster.local",
            self.pod
        )
    }

    /// Where the application listens; a gateway has none.
    pub(crate) fn application(&self) -> Option<SocketAddr> {
        match self.workload.role {
            Role::Sidecar { port } => Some(SocketAddr::new(self.addresses.application(), port)),
            Role::Gateway { .. } => None,
        }
    }

    /// Where its proxy says that it is ready.
    pub(crate) fn proxy_readiness(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.inbound(), port::READINESS)
    }
}
