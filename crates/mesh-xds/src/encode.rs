//! The model as Envoy v3 resources. Equal inputs give equal bytes.

mod authorization;
mod cluster;
mod external;
pub(crate) use cluster::DEFAULT_IDLE;
mod http;
mod listener;
mod log;
mod route;
pub(crate) use route::RETRY_ON;
mod tls;

use mesh_model::cluster::{Cluster, Endpoints};
use mesh_model::listener::Listener;
use mesh_model::route::RouteTable;
use mesh_model::secret::Secret;
use prost::Message as _;

use crate::fields::{self, Message};
use crate::{Any, TYPE_CLUSTER, TYPE_ENDPOINTS, TYPE_LISTENER, TYPE_ROUTE, TYPE_SECRET};

/// A listener (LDS).
#[must_use]
pub fn listener(listener: &Listener) -> Any {
    resource(
        TYPE_LISTENER,
        &fields::LISTENER,
        &listener::listener(listener).encode_to_vec(),
    )
}

/// A route table (RDS).
#[must_use]
pub fn route_table(table: &RouteTable) -> Any {
    resource(
        TYPE_ROUTE,
        &fields::ROUTE_CONFIGURATION,
        &route::route_table(table).encode_to_vec(),
    )
}

/// A cluster (CDS).
#[must_use]
pub fn cluster(cluster: &Cluster) -> Any {
    resource(
        TYPE_CLUSTER,
        &fields::CLUSTER,
        &cluster::cluster(cluster).encode_to_vec(),
    )
}

/// Endpoints (EDS) of the cluster with this discovery name.
#[must_use]
pub fn endpoints(name: &str, endpoints: &Endpoints) -> Any {
    resource(
        TYPE_ENDPOINTS,
        &fields::ENDPOINTS,
        &cluster::assignment(name, endpoints).encode_to_vec(),
    )
}

/// A secret (SDS).
#[must_use]
pub fn secret(name: &str, secret: &Secret) -> Any {
    resource(
        TYPE_SECRET,
        &fields::SECRET,
        &tls::secret_message(name, secret).encode_to_vec(),
    )
}

fn resource(type_url: &str, message: &'static Message, bytes: &[u8]) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: fields::canonical(message, bytes),
    }
}
