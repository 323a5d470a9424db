//! The kinds of patch: JSON patch, JSON merge patch, strategic merge patch.

use serde_json::{Map, Value, json};

use crate::registry::Resource;
use crate::status::Refusal;

/// The most operations that one JSON patch may have.
const MAX_OPERATIONS: usize = 10_000;

/// How a body is to be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Json,
    Merge,
    Strategic,
}

impl Kind {
    /// The kind that a content type asks for.
    pub(crate) fn of(content_type: &str, resource: &Resource) -> Result<Self, Refusal> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" if !resource.is_istio() => Ok(Self::Strategic),
            _ => Err(Refusal::unsupported_media_type(match resource.is_istio() {
                true => {
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
                }
                false => {
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml"
                }
            })),
        }
    }
}

/// A parsed patch.
#[derive(Debug, Clone)]
pub(crate) enum Patch {
    Json(json_patch::Patch),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Parses a body.
    pub(crate) fn parse(kind: Kind, body: &[u8]) -> Result<Self, Refusal> {
        match kind {
            Kind::Json => {
                let patch: json_patch::Patch = serde_json::from_slice(body)
                    .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
                if patch.0.len() > MAX_OPERATIONS {
                    let mut refusal = Refusal::too_large();
                    refusal.message = format!(
                        "Request entity too large: The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
                        patch.0.len()
                    );
                    return Err(refusal);
                }
                Ok(Self::Json(patch))
            }
            Kind::Merge | Kind::Strategic => {
                let value: Value = serde_json::from_slice(body)
                    .map_err(|error| Refusal::bad_request(format!("error decoding patch: {error}")))?;
                if !value.is_object() {
                    return Err(Refusal::bad_request(
                        "error decoding patch: the patch must be an object",
                    ));
                }
                Ok(if kind == Kind::Merge {
                    Self::Merge(value)
                } else {
                    Self::Strategic(value)
                })
            }
        }
    }

    /// The object with the patch applied.
    pub(crate) fn apply(&self, object: &Value) -> Result<Value, Refusal> {
        let mut out = object.clone();
        match self {
            // The copy is thrown away on failure, so nothing has to be undone (and undoing can panic).
            Self::Json(patch) => {
                json_patch::patch_unsafe(&mut out, patch).map_err(|error| unprocessable(&error))?
            }
            Self::Merge(patch) => json_patch::merge(&mut out, patch),
            Self::Strategic(patch) => {
                let patch = patch.as_object().cloned().unwrap_or_default();
                if let Value::Object(map) = &mut out {
                    merge_map(map, &patch, "")?;
                }
            }
        }
        Ok(out)
    }
}

fn unprocessable(error: &dyn std::fmt::Display) -> Refusal {
    let mut refusal = Refusal::bad_request("the server rejected our request due to an error in our request");
    refusal.code = 422;
    refusal.reason = "Invalid";
    tracing::debug!(%error, "patch does not apply");
    refusal.details = Some(json!({}));
    refusal
}

/// The field that tells the items of a list apart, for the lists that merge item by item.
fn merge_key(field: &str, parent: &str) -> Option<&'static str> {
    Some(match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims" => "name",
        "secrets" if parent != "projected" => "name",
        "ports" if parent == "spec" => "port",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" | "podIPs" | "hostIPs" => "ip",
        "conditions" => "type",
        "ownerReferences" => "uid",
        "topologySpreadConstraints" => "topologyKey",
        _ => return None,
    })
}

fn merge_map(
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
    parent: &str,
) -> Result<(), Refusal> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = patch
                .iter()
                .filter(|(k, _)| !k.starts_with('$'))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(unprocessable(&format!("Unknown patch type: {other}"))),
    }
    for (key, value) in patch {
        if let Some(field) = key.strip_prefix("$deleteFromPrimitiveList/") {
            delete_primitives(target, field, value);
        } else if let Some(field) = key.strip_prefix("$setElementOrder/") {
            // Applied after the merge below; the wanted order is only a hint for lists that exist.
            let _ = field;
        } else if key == "$retainKeys" {
            let keep: Vec<&str> = value
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            target.retain(|k, _| keep.contains(&k.as_str()));
        } else if key != "$patch" {
            merge_field(target, key, value, parent)?;
        }
    }
    for (key, order) in patch {
        if let Some(field) = key.strip_prefix("$setElementOrder/") {
            reorder(target, field, order, parent);
        }
    }
    Ok(())
}

fn merge_field(
    target: &mut Map<String, Value>,
    key: &str,
    value: &Value,
    parent: &str,
) -> Result<(), Refusal> {
    match value {
        Value::Null => {
            target.shift_remove(key);
        }
        Value::Object(patch) => match target.get_mut(key) {
            Some(Value::Object(inner)) => merge_map(inner, patch, key)?,
            _ => {
                let mut fresh = Map::new();
                merge_map(&mut fresh, patch, key)?;
                target.insert(key.to_owned(), Value::Object(fresh));
            }
        },
        Value::Array(patch) => {
            let current = match target.get(key) {
                Some(Value::Array(items)) => items.clone(),
                _ => Vec::new(),
            };
            let merged = merge_list(current, patch, key, parent)?;
            target.insert(key.to_owned(), Value::Array(merged));
        }
        plain => {
            target.insert(key.to_owned(), plain.clone());
        }
    }
    Ok(())
}

fn merge_list(
    mut current: Vec<Value>,
    patch: &[Value],
    key: &str,
    parent: &str,
) -> Result<Vec<Value>, Refusal> {
    if key == "finalizers" && parent == "metadata" {
        for item in patch {
            if !current.contains(item) {
                current.push(item.clone());
            }
        }
        return Ok(current);
    }
    let Some(by) = merge_key(key, parent) else {
        return Ok(patch.to_vec());
    };
    if patch
        .iter()
        .any(|item| item.get("$patch").and_then(Value::as_str) == Some("replace"))
    {
        return Ok(patch
            .iter()
            .filter(|item| item.get("$patch").is_none())
            .cloned()
            .collect());
    }
    let mut touched = Vec::new();
    for item in patch {
        let (Some(map), Some(id)) = (item.as_object(), item.get(by)) else {
            return Err(unprocessable(&format!(
                "map: {item} does not contain declared merge key: {by}"
            )));
        };
        if map.get("$patch").and_then(Value::as_str) == Some("delete") {
            current.retain(|c| c.get(by) != Some(id));
            continue;
        }
        let known = current.iter_mut().find(|c| c.get(by) == Some(id));
        touched.push((id.clone(), known.is_none()));
        match known {
            Some(Value::Object(existing)) => merge_map(existing, map, key)?,
            _ => {
                let mut fresh = Map::new();
                merge_map(&mut fresh, map, key)?;
                current.push(Value::Object(fresh));
            }
        }
    }
    Ok(interleave(&current, by, &touched))
}

/// The patch's items keep the patch's order; the others stay before the patch item that they were before.
/// Items that are new come before all others that are left.
fn interleave(items: &[Value], by: &str, touched: &[(Value, bool)]) -> Vec<Value> {
    let patched = |item: &Value| {
        item.get(by)
            .is_some_and(|id| touched.iter().any(|(t, _)| t == id))
    };
    let mut rest = items
        .iter()
        .enumerate()
        .filter(|(_, item)| !patched(item))
        .peekable();
    let mut out: Vec<Value> = Vec::with_capacity(items.len());
    for (id, new) in touched {
        let Some(at) = items.iter().position(|item| item.get(by) == Some(id)) else {
            continue;
        };
        while !new && rest.peek().is_some_and(|(other, _)| *other < at) {
            out.extend(rest.next().map(|(_, item)| item.clone()));
        }
        out.extend(items.get(at).filter(|item| !out.contains(item)).cloned());
    }
    out.extend(rest.map(|(_, item)| item.clone()));
    out
}

fn delete_primitives(target: &mut Map<String, Value>, field: &str, gone: &Value) {
    let gone = gone.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(Value::Array(items)) = target.get_mut(field) {
        items.retain(|item| !gone.contains(item));
    }
}

fn reorder(target: &mut Map<String, Value>, field: &str, order: &Value, parent: &str) {
    let Some(Value::Array(items)) = target.get_mut(field) else {
        return;
    };
    let order = order.as_array().map(Vec::as_slice).unwrap_or_default();
    let by = merge_key(field, parent);
    let place = |item: &Value| {
        order.iter().position(|wanted| match by {
            Some(by) => wanted.get(by).is_some() && wanted.get(by) == item.get(by),
            None => wanted == item,
        })
    };
    // Items that the order does not name stay behind those that it does, in their own order.
    items.sort_by_key(|item| place(item).unwrap_or(usize::MAX));
}
