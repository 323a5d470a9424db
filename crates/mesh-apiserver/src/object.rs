//! What every object has: metadata and its life from create to delete.

use serde_json::{Map, Value, json};

use crate::names;
use crate::registry::{Core, Family, Resource};
use crate::status::{Cause, Refusal};

/// Now, as Kubernetes prints times.
pub(crate) fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Changes the object's metadata, which is made when absent.
pub(crate) fn edit_metadata<T>(object: &mut Value, edit: impl FnOnce(&mut Map<String, Value>) -> T) -> T {
    let mut metadata = match object.get_mut("metadata").map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let out = edit(&mut metadata);
    if let Value::Object(map) = object {
        map.insert("metadata".into(), Value::Object(metadata));
    }
    out
}

/// Sets one field of the metadata.
pub(crate) fn set_metadata(object: &mut Value, field: &str, value: impl Into<Value>) {
    edit_metadata(object, |m| m.insert(field.to_owned(), value.into()));
}

/// A text field of the metadata, empty when absent.
pub(crate) fn meta<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|m| m.get(field))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// Whether the object waits for its finalizers.
pub(crate) fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
}

/// Whether finalizers keep the object.
pub(crate) fn has_finalizers(object: &Value) -> bool {
    let listed = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_array)
            .is_some_and(|f| !f.is_empty())
    };
    listed("/metadata/finalizers")
        || (object.get("kind").and_then(Value::as_str) == Some("Namespace") && listed("/spec/finalizers"))
}

/// Whether a kind counts generations.
fn counts_generations(resource: &Resource) -> bool {
    match resource.family {
        Family::Istio(_) => true,
        Family::Core(core) => matches!(core, Core::Pod | Core::EndpointSlice),
    }
}

/// Five characters from the alphabet that generated names use.
pub(crate) fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rng = rand::rng();
    (0..5)
        .filter_map(|_| ALPHABET.get(rand::Rng::random_range(&mut rng, 0..ALPHABET.len())))
        .map(|b| char::from(*b))
        .collect()
}

/// Completes the metadata of a new object.
pub(crate) fn prepare_create(
    object: &mut Value,
    resource: &Resource,
    namespace: &str,
) -> Result<(), Refusal> {
    if resource.has_status && resource.is_istio() {
        remove(object, "status");
    }
    if !meta(object, "resourceVersion").is_empty() {
        return Err(Refusal::unreasoned(
            "resourceVersion should not be set on objects to be created",
        ));
    }
    let generated = match (meta(object, "name"), meta(object, "generateName")) {
        ("", prefix) if !prefix.is_empty() => Some(format!(
            "{}{}",
            prefix.chars().take(58).collect::<String>(),
            suffix()
        )),
        _ => None,
    };
    edit_metadata(object, |metadata| {
        if let Some(name) = generated {
            metadata.insert("name".into(), Value::String(name));
        }
        if resource.namespaced {
            metadata.insert("namespace".into(), Value::String(namespace.into()));
        }
        for field in SERVER_OWNED {
            metadata.shift_remove(*field);
        }
        metadata.insert("uid".into(), Value::String(uuid::Uuid::new_v4().to_string()));
        metadata.insert("creationTimestamp".into(), Value::String(now()));
        if counts_generations(resource) {
            metadata.insert("generation".into(), 1.into());
        }
    });
    Ok(())
}

/// Fields of the metadata that a new object's author cannot set.
const SERVER_OWNED: &[&str] = &[
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generation",
    "managedFields",
    "resourceVersion",
];

pub(crate) fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object.as_object_mut().and_then(|map| map.shift_remove(field))
}

/// What an update may not change is taken from the old object; generation counts changes of the wish.
pub(crate) fn prepare_update(new: &mut Value, old: &Value, resource: &Resource, subresource: Option<&str>) {
    match subresource {
        Some("status") if resource.is_istio() => {
            let status = remove(new, "status");
            let managed = new.pointer("/metadata/managedFields").cloned();
            *new = old.clone();
            remove(new, "status");
            if let (Some(status), Some(map)) = (status, new.as_object_mut()) {
                map.insert("status".into(), status);
            }
            if let Some(managed) = managed {
                set_metadata(new, "managedFields", managed);
            }
        }
        Some("status") => copy(new, old, "spec"),
        _ if resource.has_status => copy(new, old, "status"),
        _ => {}
    }
    let old_metadata = old.get("metadata").cloned().unwrap_or_default();
    edit_metadata(new, |metadata| {
        for field in FIXED {
            match old_metadata.get(*field) {
                Some(value) => {
                    metadata.insert((*field).to_owned(), value.clone());
                }
                None => {
                    metadata.shift_remove(*field);
                }
            }
        }
    });
    if counts_generations(resource) && wish(new) != wish(old) {
        let generation = old_metadata
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or(0)
            + 1;
        set_metadata(new, "generation", generation);
    }
}

/// Fields of the metadata that no update changes.
const FIXED: &[&str] = &[
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "selfLink",
    "generateName",
    "namespace",
    "resourceVersion",
];

fn copy(to: &mut Value, from: &Value, field: &str) {
    match (from.get(field), to.as_object_mut()) {
        (Some(value), Some(map)) => {
            map.insert(field.into(), value.clone());
        }
        (None, Some(map)) => {
            map.shift_remove(field);
        }
        _ => {}
    }
}

/// All but metadata and status.
fn wish(object: &Value) -> Vec<(&String, &Value)> {
    let mut fields: Vec<_> = object
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(k, _)| !matches!(k.as_str(), "metadata" | "status" | "apiVersion" | "kind"))
        .collect();
    fields.sort_by_key(|(k, _)| *k);
    fields
}

/// Whether two states differ in nothing but their version and the times of their managers.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    let plain = |v: &Value| {
        let mut v = v.clone();
        edit_metadata(&mut v, |metadata| {
            metadata.shift_remove("managedFields");
            metadata.shift_remove("resourceVersion");
        });
        v
    };
    let managers = |v: &Value| v.pointer("/metadata/managedFields").cloned().unwrap_or_default();
    plain(a) == plain(b) && crate::managed::same_but_for_times(&managers(a), &managers(b))
}

/// Checks the metadata that every kind shares.
pub(crate) fn check_metadata(object: &Value, resource: &Resource) -> Vec<Cause> {
    let mut causes = Vec::new();
    let name = meta(object, "name");
    if name.is_empty() {
        causes.push(Cause::required(
            "metadata.name",
            "name or generateName is required",
        ));
    } else if let Some(fault) = check_name(resource)(name) {
        causes.push(Cause::invalid("metadata.name", &json!(name), &fault));
    }
    let labels = object.pointer("/metadata/labels").and_then(Value::as_object);
    for (key, value) in labels.into_iter().flatten() {
        if let Some(fault) = names::qualified_name(key) {
            causes.push(Cause::invalid("metadata.labels", &json!(key), &fault));
        }
        if let Some(fault) = value.as_str().and_then(names::label_value) {
            causes.push(Cause::invalid("metadata.labels", value, &fault));
        }
    }
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let mut size = 0;
    for (key, value) in annotations.into_iter().flatten() {
        size += key.len() + value.as_str().map_or(0, str::len);
        if let Some(fault) = names::qualified_name(&key.to_lowercase()) {
            causes.push(Cause::invalid("metadata.annotations", &json!(key), &fault));
        }
    }
    if size > 256 * 1024 {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: "Too long: may not be more than 262144 bytes".into(),
            field: "metadata.annotations".into(),
        });
    }
    let finalizers = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    for finalizer in finalizers.into_iter().flatten() {
        if let Some(fault) = finalizer.as_str().and_then(names::qualified_name) {
            causes.push(Cause::invalid("metadata.finalizers", finalizer, &fault));
        }
    }
    causes
}

/// What an update may not do to the metadata.
pub(crate) fn check_update(new: &Value, old: &Value) -> Vec<Cause> {
    let finalizers = |o: &Value| -> Vec<String> {
        let list = o.pointer("/metadata/finalizers").and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .filter_map(|f| f.as_str().map(str::to_owned))
            .collect()
    };
    let before = finalizers(old);
    let added: Vec<String> = finalizers(new)
        .into_iter()
        .filter(|f| !before.contains(f))
        .collect();
    if !is_deleting(old) || added.is_empty() {
        return Vec::new();
    }
    let shown: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
    let detail = format!(
        "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
        shown.join(", ")
    );
    vec![Cause::forbidden("metadata.finalizers", &detail)]
}

fn check_name(resource: &Resource) -> fn(&str) -> Option<String> {
    match resource.core() {
        Some(Core::Namespace) => names::label,
        Some(Core::Service) => names::label_1035,
        Some(Core::Role | Core::ClusterRole | Core::RoleBinding | Core::ClusterRoleBinding) => {
            names::path_segment
        }
        _ => names::subdomain,
    }
}
