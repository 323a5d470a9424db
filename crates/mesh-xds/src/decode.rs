//! Envoy v3 resources as the model.

use mesh_model::cluster::{Cluster, Endpoints};
use mesh_model::listener::Listener;
use mesh_model::route::RouteTable;

use crate::{Any, Invalid};

/// A listener.
pub fn listener(any: &Any) -> Result<Listener, Invalid> {
    Err(Invalid::new(&any.type_url, "not a listener"))
}

/// A route table.
pub fn route_table(any: &Any) -> Result<RouteTable, Invalid> {
    Err(Invalid::new(&any.type_url, "not a route table"))
}

/// A cluster.
pub fn cluster(any: &Any) -> Result<Cluster, Invalid> {
    Err(Invalid::new(&any.type_url, "not a cluster"))
}

/// Endpoints with the discovery name of their cluster.
pub fn endpoints(any: &Any) -> Result<(String, Endpoints), Invalid> {
    Err(Invalid::new(&any.type_url, "not endpoints"))
}
