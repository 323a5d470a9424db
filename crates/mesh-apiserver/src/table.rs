//! Tables: what `kubectl get` prints.

mod columns;

use mesh_crd::kinds;
use serde_json::{Map, Value, json};

use self::columns::{NAME_TEXT, core_columns, name, since};
use crate::object::meta;
use crate::registry::{Family, Resource};

fn definitions(resource: &Resource) -> Vec<Value> {
    let define = |name: &str, kind: &str, format: &str, description: &str, priority: i32| json!({"name": name, "type": kind, "format": format, "description": description, "priority": priority});
    match resource.family {
        Family::Core(core) => core_columns(core)
            .iter()
            .map(|c| define(c.name, c.kind, c.format, c.description, c.priority))
            .collect(),
        Family::Istio(kind) => {
            let mut list = vec![define("Name", "string", "name", NAME_TEXT, 0)];
            list.extend(
                kind.columns
                    .iter()
                    .map(|c| define(c.name, c.kind, "", c.description, 0)),
            );
            list
        }
    }
}

fn cells(resource: &Resource, object: &Value) -> Vec<Value> {
    match resource.family {
        Family::Core(core) => core_columns(core).iter().map(|c| (c.cell)(object)).collect(),
        Family::Istio(kind) => {
            let mut list = vec![name(object)];
            list.extend(kind.columns.iter().map(|c| custom_cell(c, object)));
            list
        }
    }
}

/// A cell of a custom resource: dates as ages, lists as their JSON.
fn custom_cell(column: &kinds::Column, object: &Value) -> Value {
    let pointer = column.json_path.replace('.', "/");
    match (column.kind, object.pointer(&pointer)) {
        ("date", Some(Value::String(time))) => since(time).into(),
        (_, None | Some(Value::Null)) => Value::Null,
        (_, Some(Value::String(text))) => text.clone().into(),
        (_, Some(other)) => other.to_string().into(),
    }
}

fn row(resource: &Resource, object: Value, include: &str) -> Value {
    let cells = cells(resource, &object);
    let mut row = json!({"cells": cells});
    let shown = match include {
        "None" => None,
        "Object" => Some(object),
        _ => Some(crate::reply::partial(object)),
    };
    if let Some(map) = row.as_object_mut() {
        map.insert("object".into(), shown.unwrap_or_default());
    }
    row
}

fn table(resource: &Resource, metadata: Map<String, Value>, rows: Vec<Value>) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": definitions(resource),
        "rows": rows,
    })
}

/// A table of one object.
pub(crate) fn one(resource: &Resource, object: Value, include: &str) -> Value {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), meta(&object, "resourceVersion").into());
    table(resource, metadata, vec![row(resource, object, include)])
}

/// A table of a list.
pub(crate) fn many(
    resource: &Resource,
    items: Vec<Value>,
    metadata: Map<String, Value>,
    include: &str,
) -> Value {
    let rows = items
        .into_iter()
        .map(|object| row(resource, object, include))
        .collect();
    table(resource, metadata, rows)
}
