//! The model as Envoy v3 resources. Equal inputs give equal bytes.

use mesh_model::cluster::{Cluster, Endpoints};
use mesh_model::listener::Listener;
use mesh_model::route::RouteTable;

use crate::Any;

/// A listener (LDS).
#[must_use]
pub fn listener(_listener: &Listener) -> Any {
    Any::default()
}

/// A route table (RDS).
#[must_use]
pub fn route_table(_table: &RouteTable) -> Any {
    Any::default()
}

/// A cluster (CDS).
#[must_use]
pub fn cluster(_cluster: &Cluster) -> Any {
    Any::default()
}

/// Endpoints (EDS) of the cluster with this discovery name.
#[must_use]
pub fn endpoints(_name: &str, _endpoints: &Endpoints) -> Any {
    Any::default()
}
