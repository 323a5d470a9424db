//! Envoy v3 resources as the model.
//!
//! A resource is first checked against the table in [`crate::fields`], then read; what is refused says its path.

#![expect(
    deprecated,
    reason = "real configurations use fields that Envoy deprecated long ago"
)]

mod authorization;
mod cluster;
mod external;
mod http;
mod listener;
mod log;
mod path;
mod route;
mod tls;
mod value;

use mesh_model::cluster::{Cluster, Endpoints};
use mesh_model::listener::Listener;
use mesh_model::route::RouteTable;
use mesh_model::secret::Secret;

use crate::fields::{self, Message};
use crate::{
    Any, Ignored, Invalid, TYPE_CLUSTER, TYPE_ENDPOINTS, TYPE_LISTENER, TYPE_ROUTE, TYPE_SECRET, pb,
};

pub(crate) use path::Path;
pub(crate) use tls::{certificate as tls_certificate, validation as tls_validation};

/// A listener.
pub fn listener(any: &Any) -> Result<Listener, Invalid> {
    let message: pb::listener::Listener = open(any, TYPE_LISTENER)?;
    let root = format!("Listener({})", message.name);
    fields::check(&fields::LISTENER, &any.value, &root)?;
    listener::listener(&message, &Path::root(&root))
}

/// A route table.
pub fn route_table(any: &Any) -> Result<RouteTable, Invalid> {
    let message: pb::route::RouteConfiguration = open(any, TYPE_ROUTE)?;
    let root = format!("RouteConfiguration({})", message.name);
    fields::check(&fields::ROUTE_CONFIGURATION, &any.value, &root)?;
    route::route_table(&message, &Path::root(&root))
}

/// A cluster.
pub fn cluster(any: &Any) -> Result<Cluster, Invalid> {
    let message: pb::cluster::Cluster = open(any, TYPE_CLUSTER)?;
    let root = format!("Cluster({})", message.name);
    fields::check(&fields::CLUSTER, &any.value, &root)?;
    cluster::cluster(&message, &Path::root(&root))
}

/// Endpoints with the discovery name of their cluster.
pub fn endpoints(any: &Any) -> Result<(String, Endpoints), Invalid> {
    let message: pb::endpoint::ClusterLoadAssignment = open(any, TYPE_ENDPOINTS)?;
    let root = format!("ClusterLoadAssignment({})", message.cluster_name);
    fields::check(&fields::ENDPOINTS, &any.value, &root)?;
    let endpoints = cluster::endpoints(&message, &Path::root(&root))?;
    Ok((message.cluster_name, endpoints))
}

/// A secret with its name.
pub fn secret(any: &Any) -> Result<(String, Secret), Invalid> {
    let message: pb::tls::Secret = open(any, TYPE_SECRET)?;
    let root = format!("Secret({})", message.name);
    fields::check(&fields::SECRET, &any.value, &root)?;
    let secret = tls::secret(&message, &Path::root(&root))?;
    Ok((message.name, secret))
}

/// What of a resource has no effect, with the reasons; empty for an unknown type or a refused resource.
#[must_use]
pub fn ignored(any: &Any) -> Vec<Ignored> {
    let table: &'static Message = match any.type_url.as_str() {
        TYPE_LISTENER => &fields::LISTENER,
        TYPE_ROUTE => &fields::ROUTE_CONFIGURATION,
        TYPE_CLUSTER => &fields::CLUSTER,
        TYPE_ENDPOINTS => &fields::ENDPOINTS,
        _ => return Vec::new(),
    };
    fields::check(table, &any.value, "").unwrap_or_default()
}

fn open<T: prost::Message + Default>(any: &Any, type_url: &str) -> Result<T, Invalid> {
    if any.type_url != type_url {
        return Err(Invalid::new(
            "type_url",
            format!("is {:?}, expected {type_url:?}", any.type_url),
        ));
    }
    T::decode(any.value.as_slice()).map_err(|e| Invalid::new(type_url, format!("is not valid protobuf: {e}")))
}

pub(crate) fn listener_message(
    message: &pb::listener::Listener,
    path: &Path<'_>,
) -> Result<Listener, Invalid> {
    listener::listener(message, path)
}

pub(crate) fn cluster_message(message: &pb::cluster::Cluster, path: &Path<'_>) -> Result<Cluster, Invalid> {
    cluster::cluster(message, path)
}

/// The message in a `typed_config`.
fn unpack<T: prost::Message + prost::Name + Default>(any: &Any, path: &Path<'_>) -> Result<T, Invalid> {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    if name != T::full_name() {
        return Err(path.invalid(format!(
            "type {name:?} is not supported; expected {:?}",
            T::full_name()
        )));
    }
    T::decode(any.value.as_slice()).map_err(|e| path.invalid(format!("is not valid protobuf: {e}")))
}

fn is_type<T: prost::Name>(any: &Any) -> bool {
    any.type_url.rsplit('/').next() == Some(T::full_name().as_str())
}
