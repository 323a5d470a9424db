//! All configuration of one proxy at one moment.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::cluster::{Cluster, Endpoints};
use crate::listener::Listener;
use crate::route::RouteTable;
use crate::secret::Secret;

/// Everything a proxy runs on. Equal inputs give equal snapshots, in equal order.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Hash of the input without status; shown as the configuration revision.
    pub revision: String,
    /// Listeners by name.
    pub listeners: BTreeMap<String, Arc<Listener>>,
    /// Route tables by name.
    pub routes: BTreeMap<String, Arc<RouteTable>>,
    /// Clusters by name.
    pub clusters: BTreeMap<String, Arc<Cluster>>,
    /// Endpoints by the cluster's discovery name.
    pub endpoints: BTreeMap<String, Arc<Endpoints>>,
    /// Secrets by name; never kept on disk with the rest.
    pub secrets: BTreeMap<String, Arc<Secret>>,
}
