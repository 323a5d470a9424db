//! `metadata.managedFields`: which manager last set which field.

use serde_json::{Map, Value, json};

use crate::object::{now, remove, set_metadata};

/// Files the differences between two states under their manager.
pub(crate) fn track(
    new: &mut Value,
    old: Option<&Value>,
    manager: &str,
    api_version: &str,
    subresource: Option<&str>,
) {
    let empty = json!({});
    let changed = changed(&plain(new), &plain(old.unwrap_or(&empty)));
    let gone = removed(&plain(old.unwrap_or(&empty)), &plain(new));
    let mut entries: Vec<Value> = old
        .and_then(|o| o.pointer("/metadata/managedFields"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut own = Map::new();
    entries.retain_mut(|entry| {
        let Some(Value::Object(mut fields)) = remove(entry, "fieldsV1") else {
            return false;
        };
        subtract(&mut fields, &gone);
        let mine = entry.get("manager").and_then(Value::as_str) == Some(manager)
            && entry.get("operation").and_then(Value::as_str) == Some("Update")
            && entry.get("apiVersion").and_then(Value::as_str) == Some(api_version)
            && entry.get("subresource").and_then(Value::as_str) == subresource;
        if mine {
            own = fields;
            return false;
        }
        subtract(&mut fields, &changed);
        let keep = !fields.is_empty();
        if let Some(map) = entry.as_object_mut() {
            map.insert("fieldsV1".into(), Value::Object(fields));
        }
        keep
    });
    add(&mut own, &changed);
    if !own.is_empty() {
        let mut entry = json!({
            "manager": manager,
            "operation": "Update",
            "apiVersion": api_version,
            "time": now(),
            "fieldsType": "FieldsV1",
            "fieldsV1": own,
        });
        if let (Some(subresource), Some(map)) = (subresource, entry.as_object_mut()) {
            map.insert("subresource".into(), subresource.into());
        }
        entries.push(entry);
    }
    if entries.is_empty() {
        crate::object::edit_metadata(new, |m| m.shift_remove("managedFields"));
    } else {
        set_metadata(new, "managedFields", entries);
    }
}

/// The object without what the server keeps itself.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    for field in ["apiVersion", "kind"] {
        remove(&mut object, field);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| {
            matches!(
                key.as_str(),
                "labels" | "annotations" | "finalizers" | "ownerReferences" | "generateName"
            )
        });
        if metadata.is_empty() {
            remove(&mut object, "metadata");
        }
    }
    object
}

/// Field set of what `new` has and `old` has not, or has otherwise. Lists count as one field.
fn changed(new: &Value, old: &Value) -> Map<String, Value> {
    let mut set = Map::new();
    for (key, value) in new.as_object().into_iter().flatten() {
        let before = old.get(key);
        if before == Some(value) {
            continue;
        }
        let inner = match value {
            Value::Object(map) if !map.is_empty() => {
                let mut inner = changed(value, before.unwrap_or(&Value::Null));
                if before.is_none() {
                    inner.insert(".".into(), json!({}));
                }
                inner
            }
            _ => Map::new(),
        };
        set.insert(format!("f:{key}"), Value::Object(inner));
    }
    set
}

/// Field set of what `old` has and `new` has not.
fn removed(old: &Value, new: &Value) -> Map<String, Value> {
    let mut set = Map::new();
    for (key, value) in old.as_object().into_iter().flatten() {
        match new.get(key) {
            None => {
                set.insert(format!("f:{key}"), json!({}));
            }
            Some(after) if value.is_object() && after.is_object() => {
                let inner = removed(value, after);
                if !inner.is_empty() {
                    set.insert(format!("f:{key}"), Value::Object(inner));
                }
            }
            Some(_) => {}
        }
    }
    set
}

fn subtract(from: &mut Map<String, Value>, what: &Map<String, Value>) {
    for (key, inner) in what {
        let inner = inner.as_object().cloned().unwrap_or_default();
        let empty = match from.get_mut(key) {
            Some(Value::Object(mine)) if !inner.is_empty() => {
                subtract(mine, &inner);
                mine.is_empty() || mine.keys().all(|k| k == ".")
            }
            Some(_) => true,
            None => false,
        };
        if empty {
            from.shift_remove(key);
        }
    }
}

fn add(to: &mut Map<String, Value>, what: &Map<String, Value>) {
    for (key, inner) in what {
        match (to.get_mut(key), inner) {
            (Some(Value::Object(mine)), Value::Object(inner)) => add(mine, inner),
            _ => {
                to.insert(key.clone(), inner.clone());
            }
        }
    }
}
