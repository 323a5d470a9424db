//! Known and unknown fields: what an object may contain, and what a strict reading says about the rest.

use k8s_openapi::api::authentication::v1 as authentication;
use k8s_openapi::api::authorization::v1 as authorization;
use k8s_openapi::api::{coordination, core::v1 as core, discovery, events, rbac::v1 as rbac};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use mesh_crd::schema::{self, Reason, Schema, Shape};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::registry::{Core, Family, Resource};
use crate::status::{Cause, Refusal};

/// An object with only known fields.
pub(crate) struct Read {
    pub(crate) value: Value,
    pub(crate) complaints: Vec<String>,
}

/// Checks that a body is an object of the path's kind; the core kinds may leave their type out.
pub(crate) fn check_type(value: &mut Value, resource: &Resource, version: &str) -> Result<(), Refusal> {
    let wanted = resource.api_version(version);
    let shown = value.to_string();
    let Value::Object(map) = value else {
        return Err(Refusal::bad_request(format!(
            "{} in version {version:?} cannot be handled as a {}: json: cannot unmarshal {} into Go value",
            resource.kind,
            resource.kind,
            type_name(value)
        )));
    };
    let text = |key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, api_version) = (text("kind"), text("apiVersion"));
    if resource.is_istio() && kind.is_empty() {
        return Err(Refusal::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): Object 'Kind' is missing in '{shown}' ({} ...)",
            resource.kind,
            shown.chars().take(30).collect::<String>()
        )));
    }
    if !kind.is_empty() && kind != resource.kind || !api_version.is_empty() && api_version != wanted {
        let name = map
            .get("metadata")
            .and_then(|m| m.get("name"))
            .and_then(Value::as_str)
            .unwrap_or_default();
        return Err(mismatch(resource, version, &api_version, &kind, name));
    }
    map.insert("kind".into(), resource.kind.into());
    map.insert("apiVersion".into(), wanted.into());
    Ok(())
}

fn mismatch(resource: &Resource, version: &str, api_version: &str, kind: &str, name: &str) -> Refusal {
    let wanted = resource.api_version(version);
    if resource.is_istio() && api_version == wanted {
        let cause = Cause::invalid("kind", &json!(kind), &format!("must be {}", resource.kind));
        return Refusal::invalid_kind(resource.group, kind, name, &[cause]);
    }
    if kind == resource.kind && resource.is_istio() {
        return Refusal::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({wanted})"
        ));
    }
    if !resource.is_istio() && api_version == wanted {
        return Refusal::bad_request(format!(
            "{kind} in version {version:?} cannot be handled as a {0}: converting ({version}.{kind}) to (core.{0}): unknown conversion",
            resource.kind
        ));
    }
    Refusal::bad_request(format!(
        "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is registered for version {api_version:?}",
        api_version.rsplit('/').next().unwrap_or_default(),
        resource.kind
    ))
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Removes unknown fields and lists them.
pub(crate) fn read(value: Value, resource: &Resource, version: &str) -> Result<Read, Refusal> {
    match resource.family {
        Family::Core(kind) => read_core(value, kind, resource, version),
        Family::Istio(kind) => read_istio(value, kind.kind, resource),
    }
}

fn read_core(value: Value, kind: Core, resource: &Resource, version: &str) -> Result<Read, Refusal> {
    let known = known(kind, &value).map_err(|error| {
        Refusal::bad_request(format!(
            "{0} in version {version:?} cannot be handled as a {0}: {error}",
            resource.kind
        ))
    })?;
    let mut complaints = Vec::new();
    let mut value = value;
    keep(&mut value, &known, "", &mut complaints);
    drop_empty(&mut value, "");
    Ok(Read { value, complaints })
}

/// The value as a type writes it; the error says where it does not fit.
fn through<T: DeserializeOwned + Serialize>(value: &Value) -> Result<Value, String> {
    let typed: T = serde_path_to_error::deserialize(value)
        .map_err(|error| unreadable(&error.path().to_string(), &error.inner().to_string()))?;
    serde_json::to_value(typed).map_err(|error| error.to_string())
}

/// The value as its type writes it: the fields that the type knows.
fn known(kind: Core, value: &Value) -> Result<Value, String> {
    match kind {
        Core::Namespace => through::<core::Namespace>(value),
        Core::Service => through::<core::Service>(value),
        Core::Pod => through::<core::Pod>(value),
        Core::Secret => through::<core::Secret>(value),
        Core::ConfigMap => through::<core::ConfigMap>(value),
        Core::ServiceAccount => through::<core::ServiceAccount>(value),
        Core::Event => through::<core::Event>(value),
        Core::EventsEvent => through::<events::v1::Event>(value),
        Core::EndpointSlice => through::<discovery::v1::EndpointSlice>(value),
        Core::Lease => through::<coordination::v1::Lease>(value),
        Core::Role => through::<rbac::Role>(value),
        Core::ClusterRole => through::<rbac::ClusterRole>(value),
        Core::RoleBinding => through::<rbac::RoleBinding>(value),
        Core::ClusterRoleBinding => through::<rbac::ClusterRoleBinding>(value),
        Core::TokenReview => through::<authentication::TokenReview>(value),
        Core::SelfSubjectReview => through::<authentication::SelfSubjectReview>(value),
        Core::SubjectAccessReview => through::<authorization::SubjectAccessReview>(value),
        Core::LocalSubjectAccessReview => through::<authorization::LocalSubjectAccessReview>(value),
        Core::SelfSubjectAccessReview => through::<authorization::SelfSubjectAccessReview>(value),
        Core::SelfSubjectRulesReview => through::<authorization::SelfSubjectRulesReview>(value),
    }
}

/// What is wrong where, in the words of the real server as far as its own types do not show in them.
fn unreadable(path: &str, why: &str) -> String {
    if let Some(at) = why
        .strip_prefix("Invalid symbol ")
        .and_then(|w| w.split("offset ").nth(1))
    {
        return format!("illegal base64 data at input byte {}", at.trim_end_matches('.'));
    }
    let Some((found, wanted)) = why
        .strip_prefix("invalid type: ")
        .and_then(|w| w.split_once(", expected "))
    else {
        return format!("{path}: {why}");
    };
    let found = match found.split(' ').next().unwrap_or_default() {
        "integer" | "floating" => "number",
        "map" => "object",
        "sequence" => "array",
        "boolean" => "bool",
        other => other,
    };
    let wanted = wanted.trim_start_matches("a ").trim_start_matches("an ");
    format!("json: cannot unmarshal {found} into Go struct field {path} of type {wanted}")
}

/// Removes from `value` what `known` does not have.
fn keep(value: &mut Value, known: &Value, path: &str, complaints: &mut Vec<String>) {
    match (value, known) {
        (Value::Object(map), Value::Object(fields)) => map.retain(|key, inner| {
            let path = join(path, key);
            match fields.get(key) {
                Some(field) => {
                    keep(inner, field, &path, complaints);
                    true
                }
                None => {
                    // A type writes nothing for null, so null says nothing about the field.
                    if !inner.is_null() {
                        complaints.push(format!("unknown field \"{path}\""));
                    }
                    false
                }
            }
        }),
        (Value::Array(items), Value::Array(fields)) => {
            for (at, (item, field)) in items.iter_mut().zip(fields).enumerate() {
                keep(item, field, &format!("{path}[{at}]"), complaints);
            }
        }
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// Maps (not structs) that are left out when empty.
const MAPS: &[&str] = &[
    "labels",
    "annotations",
    "data",
    "binaryData",
    "stringData",
    "selector",
    "nodeSelector",
    "limits",
    "requests",
    "matchLabels",
    "overhead",
    "extra",
];

/// Leaves out what Go's `omitempty` does: null, empty lists and maps. Data keeps its own entries.
fn drop_empty(value: &mut Value, field: &str) {
    match value {
        Value::Object(map) if !MAPS.contains(&field) => map.retain(|key, inner| {
            drop_empty(inner, key);
            match inner {
                Value::Null => false,
                Value::Array(items) => !items.is_empty(),
                Value::Object(entries) => !(entries.is_empty() && MAPS.contains(&key.as_str())),
                Value::String(text) => !text.is_empty() || matches!(key.as_str(), "value"),
                _ => true,
            }
        }),
        Value::Array(items) => items.iter_mut().for_each(|item| drop_empty(item, "")),
        _ => {}
    }
}

fn read_istio(mut value: Value, kind: &str, resource: &Resource) -> Result<Read, Refusal> {
    let mut complaints = Vec::new();
    let metadata = value.get("metadata").cloned().unwrap_or_else(|| json!({}));
    let known = through::<ObjectMeta>(&metadata)
        .map_err(|why| Refusal::bad_request(format!("{} cannot be read: metadata: {why}", resource.kind)))?;
    if let Some(slot) = value.get_mut("metadata") {
        keep(slot, &known, "metadata", &mut complaints);
        drop_empty(slot, "metadata");
    }
    let Some(schema) = schema::of(kind) else {
        return Ok(Read { value, complaints });
    };
    for violation in schema::check(&schema, "", &body(&value)) {
        if violation.reason == Reason::UnknownField {
            complaints.push(violation.kubernetes);
        }
    }
    if let Value::Object(map) = &mut value {
        map.retain(|key, inner| match key.as_str() {
            "apiVersion" | "kind" | "metadata" => true,
            key => match property(&schema, key) {
                Some(schema) => {
                    prune(inner, schema);
                    true
                }
                None => false,
            },
        });
    }
    Ok(Read { value, complaints })
}

/// The part of a custom resource that its schema describes.
fn body(object: &Value) -> Value {
    let mut object = object.clone();
    if let Value::Object(map) = &mut object {
        for key in ["apiVersion", "kind", "metadata"] {
            map.shift_remove(key);
        }
    }
    object
}

fn property<'a>(schema: &'a Schema, key: &str) -> Option<&'a Schema> {
    match &schema.shape {
        Shape::Object { properties, .. } => properties.get(key).map(|s| &**s),
        _ => None,
    }
}

/// Removes fields that a schema does not have.
fn prune(value: &mut Value, schema: &Schema) {
    match (value, &schema.shape) {
        (Value::Object(map), Shape::Object { properties, .. }) => {
            map.retain(|key, inner| match properties.get(key.as_str()) {
                Some(schema) => {
                    prune(inner, schema);
                    true
                }
                None => false,
            });
        }
        (Value::Object(map), Shape::Map { values, .. }) => {
            map.values_mut().for_each(|inner| prune(inner, values))
        }
        (Value::Array(list), Shape::Array { items, .. }) => {
            list.iter_mut().for_each(|inner| prune(inner, items))
        }
        _ => {}
    }
}

/// What an Istio object's schema says against it.
pub(crate) fn violations(object: &Value, resource: &Resource) -> Vec<Cause> {
    let Family::Istio(kind) = resource.family else {
        return Vec::new();
    };
    let Some(schema) = schema::of(kind.kind) else {
        return Vec::new();
    };
    schema::check(&schema, "", &body(object))
        .into_iter()
        .filter_map(|violation| {
            let reason = match violation.reason {
                Reason::UnknownField => return None,
                Reason::Type => "FieldValueTypeInvalid",
                Reason::Required => "FieldValueRequired",
                Reason::Unsupported => "FieldValueNotSupported",
                Reason::Invalid | Reason::Exclusive | Reason::Rule => "FieldValueInvalid",
                Reason::TooMuch if violation.kubernetes.contains("Too long") => "FieldValueTooLong",
                Reason::TooMuch => "FieldValueTooMany",
                Reason::Duplicate => "FieldValueDuplicate",
            };
            let (field, message) = match violation.kubernetes.split_once(": ") {
                Some((field, message)) => (field.to_owned(), message.to_owned()),
                None => (violation.field, violation.kubernetes),
            };
            Some(Cause {
                reason,
                message,
                field,
            })
        })
        .collect()
}

/// The refusal of a strict reading.
pub(crate) fn strict(complaints: &[String], resource: &Resource, version: &str) -> Refusal {
    Refusal::bad_request(format!(
        "{0} in version {version:?} cannot be handled as a {0}: strict decoding error: {1}",
        resource.kind,
        complaints.join(", ")
    ))
}

/// The same when it was a patch that brought the fields: it is then the patch that is invalid.
pub(crate) fn strict_patch(complaints: &[String], patched: &Value) -> Refusal {
    let detail = format!("strict decoding error: {}", complaints.join(", "));
    let cause = Cause::invalid("patch", &Value::String(patched.to_string()), &detail);
    Refusal::invalid_kind("", "", "", &[cause])
}
