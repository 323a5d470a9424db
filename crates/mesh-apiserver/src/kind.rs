//! What the core kinds do on their own: defaults, rules, and what happens beside a write.

mod config;
mod event;
mod namespace;
mod pod;
mod rbac;
mod service;
mod slice;

use serde_json::{Map, Value, json};

use crate::managed::Set;
use crate::registry::{Core, Resource};
use crate::status::{Cause, Refusal};
use crate::store::Transaction;

/// Brings an object into the form in which it is stored.
pub(crate) fn convert_in(object: Value, resource: &Resource) -> Value {
    let mut object = match resource.core() {
        Some(Core::EventsEvent) => event::to_core(object),
        _ => object,
    };
    if let (true, Some(map)) = (resource.is_istio(), object.as_object_mut()) {
        map.insert(
            "apiVersion".into(),
            resource.api_version(resource.storage_version).into(),
        );
    }
    object
}

/// Brings a stored object into the form that a resource shows.
pub(crate) fn convert_out(object: Value, resource: &Resource) -> Value {
    match resource.core() {
        Some(Core::EventsEvent) => event::to_events(object),
        _ => object,
    }
}

/// Sets what the author left open.
pub(crate) fn default(object: &mut Value, resource: &Resource) {
    match resource.core() {
        Some(Core::Namespace) => namespace::default(object),
        Some(Core::Service) => service::default(object),
        Some(Core::Pod) => pod::default(object),
        Some(Core::Secret) => config::default_secret(object),
        Some(Core::Role | Core::ClusterRole) => rbac::default_role(object),
        Some(Core::RoleBinding | Core::ClusterRoleBinding) => rbac::default_binding(object),
        Some(Core::EndpointSlice) => slice::default(object),
        Some(Core::Event | Core::EventsEvent) => event::default(object),
        _ => {}
    }
}

/// Fields that the server itself sets on a new object, though the author may.
pub(crate) fn own_fields(resource: &Resource) -> Set {
    match resource.core() {
        Some(Core::Namespace) => Set::of(&[&["spec", "finalizers"]]),
        _ => Set::default(),
    }
}

/// What a kind keeps from the old object beyond the common metadata.
pub(crate) fn prepare_update(new: &mut Value, old: &Value, resource: &Resource, subresource: Option<&str>) {
    match resource.core() {
        Some(Core::Service) => service::prepare_update(new, old),
        Some(Core::Namespace) => namespace::prepare_update(new, old, subresource),
        Some(Core::Pod) => pod::complete(new),
        _ => {}
    }
}

/// The rules that an object breaks.
pub(crate) fn validate(new: &Value, old: Option<&Value>, resource: &Resource) -> Vec<Cause> {
    match resource.core() {
        Some(Core::Service) => service::validate(new, old),
        Some(Core::Pod) => pod::validate(new, old),
        Some(Core::Secret) => config::validate_secret(new, old),
        Some(Core::ConfigMap) => config::validate_config_map(new, old),
        Some(Core::Role | Core::ClusterRole) => rbac::validate_role(new, resource),
        Some(Core::RoleBinding | Core::ClusterRoleBinding) => rbac::validate_binding(new, old),
        Some(Core::EndpointSlice) => slice::validate(new, old),
        Some(Core::Lease) => config::validate_lease(new),
        Some(Core::Event) if new.pointer("/involvedObject").is_none() => {
            vec![Cause::required("involvedObject.namespace", "")]
        }
        _ => Vec::new(),
    }
}

/// What is settled with the world's help before an object is stored.
pub(crate) async fn admit_create(
    tx: &mut Transaction<'_>,
    object: &mut Value,
    resource: &Resource,
) -> Result<(), Refusal> {
    match resource.core() {
        Some(Core::Service) => service::allocate(tx, object, resource).await,
        Some(Core::Pod) => pod::admit(tx, object, resource).await,
        _ => Ok(()),
    }
}

/// The same for an update.
pub(crate) async fn admit_update(
    tx: &mut Transaction<'_>,
    new: &mut Value,
    old: &Value,
    resource: &Resource,
) -> Result<(), Refusal> {
    match resource.core() {
        Some(Core::Service)
            if new.pointer("/spec/clusterIP").is_none()
                || new.pointer("/spec/type") != old.pointer("/spec/type") =>
        {
            service::allocate(tx, new, resource).await
        }
        _ => Ok(()),
    }
}

/// What a new object brings with it.
pub(crate) async fn after_create(
    tx: &mut Transaction<'_>,
    object: &Value,
    resource: &Resource,
) -> Result<(), Refusal> {
    match resource.core() {
        Some(Core::Namespace) => namespace::furnish(tx, object).await,
        _ => Ok(()),
    }
}

/// What follows an update: the last finalizer of a namespace's content may have gone.
pub(crate) async fn after_update(
    tx: &mut Transaction<'_>,
    object: &Value,
    resource: &Resource,
) -> Result<(), Refusal> {
    if resource.namespaced && crate::object::is_deleting(object) && !crate::object::has_finalizers(object) {
        namespace::finish(tx, crate::object::meta(object, "namespace")).await?;
    }
    Ok(())
}

/// What follows a mark for deletion; true when the object is gone already.
pub(crate) async fn after_delete(
    tx: &mut Transaction<'_>,
    object: &Value,
    resource: &Resource,
) -> Result<bool, Refusal> {
    match resource.core() {
        Some(Core::Namespace) => namespace::empty(tx, object).await,
        _ => Ok(false),
    }
}

/// Kinds that an update creates when they are not there.
pub(crate) fn creates_on_update(resource: &Resource) -> bool {
    matches!(
        resource.core(),
        Some(
            Core::Lease
                | Core::Event
                | Core::EventsEvent
                | Core::Role
                | Core::ClusterRole
                | Core::RoleBinding
                | Core::ClusterRoleBinding
        )
    )
}

/// Kinds whose delete answers with the object.
pub(crate) fn returns_deleted(resource: &Resource) -> bool {
    matches!(
        resource.core(),
        Some(Core::Pod | Core::Service | Core::ServiceAccount)
    )
}

/// Objects that may not be deleted.
pub(crate) fn check_delete(object: &Value, resource: &Resource) -> Result<(), Refusal> {
    let name = crate::object::meta(object, "name");
    if resource.core() == Some(Core::Namespace) && matches!(name, "default" | "kube-system" | "kube-public") {
        return Err(Refusal::forbidden(
            resource,
            name,
            "this namespace may not be deleted",
        ));
    }
    Ok(())
}

/// How long an object has to go: only pods that run somewhere get time.
pub(crate) fn grace_period(object: &Value, resource: &Resource, asked: Option<i64>) -> i64 {
    match resource.core() {
        Some(Core::Pod) => pod::grace_period(object, asked),
        _ => 0,
    }
}

/// Shows in an object's status that it is going.
pub(crate) fn mark_deleting(object: &mut Value, resource: &Resource) {
    if resource.core() == Some(Core::Namespace) {
        set(object, "/status", "phase", json!("Terminating"));
    }
}

/// A map inside an object, made when absent.
fn edit(object: &mut Value, field: &str, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut map = match object.get_mut(field).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    change(&mut map);
    if let Value::Object(outer) = object {
        outer.insert(field.to_owned(), Value::Object(map));
    }
}

/// Sets a field of the map at a pointer of one step.
fn set(object: &mut Value, pointer: &str, field: &str, value: Value) {
    edit(object, pointer.trim_start_matches('/'), |map| {
        map.insert(field.to_owned(), value);
    });
}

/// Sets a field where the author did not.
fn or_set(map: &mut Map<String, Value>, field: &str, value: impl Into<Value>) {
    if map.get(field).is_none_or(Value::is_null) {
        map.insert(field.to_owned(), value.into());
    }
}

/// A text at a pointer, empty when absent.
fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The items of a list at a pointer.
fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
