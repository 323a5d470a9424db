//! Strategic merge patches: lists merge by the keys of their kinds, and directives say what else is to happen.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::unprocessable;
use crate::status::{Refusal, printed};
use crate::types::{List, Merge, Type};

const ORDER: &str = "$setElementOrder/";
const DELETE: &str = "$deleteFromPrimitiveList/";

/// Applies a patch to an object of a type.
pub(super) fn merge(
    kind: &Type,
    target: &mut Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<(), Refusal> {
    match patch.get("$patch").and_then(Value::as_str) {
        Some("replace") => {
            *target = without_directives(patch);
            return Ok(());
        }
        Some("delete") => {
            target.clear();
            return Ok(());
        }
        Some("merge") | None => {}
        Some(other) => return Err(unprocessable(&format!("Unknown patch type: {other}"))),
    }
    if let Some(Value::Array(keep)) = patch.get("$retainKeys") {
        let keep: HashSet<&str> = keep.iter().filter_map(Value::as_str).collect();
        target.retain(|name, _| keep.contains(name.as_str()));
    }
    for (name, value) in patch.iter().filter(|(name, _)| !name.starts_with('$')) {
        let order = patch.get(&format!("{ORDER}{name}"));
        merge_field(kind.field(name), target, name, value, order)?;
    }
    for (directive, value) in patch.iter().filter(|(name, _)| name.starts_with('$')) {
        if let Some(name) = directive.strip_prefix(DELETE) {
            delete_values(target, name, value);
        } else if let Some(name) = directive.strip_prefix(ORDER)
            && !patch.contains_key(name)
            && let Type::List(list) = kind.field(name)
            && let (Some(Value::Array(items)), Value::Array(order)) = (target.get_mut(name), value)
        {
            *items = ordered(list, std::mem::take(items), order, None);
        }
    }
    Ok(())
}

fn without_directives(patch: &Map<String, Value>) -> Map<String, Value> {
    let plain = patch.iter().filter(|(name, _)| !name.starts_with('$'));
    plain.map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn merge_field(
    kind: &Type,
    target: &mut Map<String, Value>,
    name: &str,
    value: &Value,
    order: Option<&Value>,
) -> Result<(), Refusal> {
    match value {
        Value::Null => {
            target.shift_remove(name);
        }
        Value::Object(patch) => match target.get_mut(name) {
            Some(Value::Object(inner)) => merge(kind, inner, patch)?,
            // Nothing is there to be directed.
            _ if patch
                .get("$patch")
                .is_some_and(|d| d != "replace" && d != "merge") => {}
            _ => {
                let mut fresh = Map::new();
                merge(kind, &mut fresh, &without_directives(patch))?;
                target.insert(name.to_owned(), Value::Object(fresh));
            }
        },
        Value::Array(patch) => {
            let current = match target.get(name) {
                Some(Value::Array(items)) => items.clone(),
                _ => Vec::new(),
            };
            let merged = match kind {
                Type::List(list) => merge_list(list, current, patch, order)?,
                _ => patch.clone(),
            };
            target.insert(name.to_owned(), Value::Array(merged));
        }
        plain => {
            target.insert(name.to_owned(), plain.clone());
        }
    }
    Ok(())
}

/// What tells an item apart: its merge key's value, or itself.
fn identity(list: &List, item: &Value) -> Option<String> {
    match list.patch {
        Merge::Items { key, .. } => item.get(key).map(Value::to_string),
        _ => Some(item.to_string()),
    }
}

fn merge_list(
    list: &List,
    current: Vec<Value>,
    patch: &[Value],
    order: Option<&Value>,
) -> Result<Vec<Value>, Refusal> {
    let before: Vec<Value> = current.clone();
    let merged = match list.patch {
        Merge::Replace => return Ok(patch.to_vec()),
        Merge::Values => {
            let mut seen: HashSet<String> = current.iter().map(Value::to_string).collect();
            let fresh: Vec<Value> = patch
                .iter()
                .filter(|v| seen.insert(v.to_string()))
                .cloned()
                .collect();
            [current, fresh].concat()
        }
        Merge::Items { key, .. } => {
            let directive = |item: &Value| item.get("$patch").and_then(Value::as_str).map(str::to_owned);
            if patch
                .iter()
                .any(|item| directive(item).as_deref() == Some("replace"))
            {
                let plain = patch.iter().filter(|item| directive(item).is_none());
                return Ok(plain.cloned().collect());
            }
            merge_items(list, key, current, patch)?
        }
    };
    let order = match order {
        Some(Value::Array(order)) => order.as_slice(),
        _ => patch,
    };
    Ok(ordered(list, merged, order, Some(&before)))
}

fn merge_items(
    list: &List,
    key: &str,
    mut current: Vec<Value>,
    patch: &[Value],
) -> Result<Vec<Value>, Refusal> {
    let mut places: HashMap<String, usize> = HashMap::new();
    for (at, item) in current.iter().enumerate() {
        if let Some(id) = identity(list, item) {
            places.entry(id).or_insert(at);
        }
    }
    let mut gone: HashSet<String> = HashSet::new();
    for item in patch {
        let (Some(map), Some(id)) = (item.as_object(), identity(list, item)) else {
            return Err(Refusal::unreasoned(format!(
                "map: {} does not contain declared merge key: {key}",
                printed(item)
            )));
        };
        if map.get("$patch").and_then(Value::as_str) == Some("delete") {
            gone.insert(id);
            continue;
        }
        match places.get(&id).and_then(|at| current.get_mut(*at)) {
            Some(Value::Object(existing)) => merge(&list.items, existing, map)?,
            _ => {
                let mut fresh = Map::new();
                merge(&list.items, &mut fresh, map)?;
                places.insert(id, current.len());
                current.push(Value::Object(fresh));
            }
        }
    }
    current.retain(|item| identity(list, item).is_none_or(|id| !gone.contains(&id)));
    Ok(current)
}

/// The items that the order names, in that order; the others stay before the item that they were before.
fn ordered(list: &List, items: Vec<Value>, order: &[Value], before: Option<&[Value]>) -> Vec<Value> {
    let places = |values: &[Value]| -> HashMap<String, usize> {
        let ids = values
            .iter()
            .enumerate()
            .filter_map(|(at, v)| Some((identity(list, v)?, at)));
        ids.collect()
    };
    let wanted = places(order);
    let server = places(before.unwrap_or(&items));
    let place = |places: &HashMap<String, usize>, item: &Value| {
        identity(list, item).and_then(|id| places.get(&id).copied())
    };
    let (mut named, others): (Vec<Value>, Vec<Value>) =
        items.into_iter().partition(|item| place(&wanted, item).is_some());
    named.sort_by_key(|item| place(&wanted, item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let (mut named, mut others) = (named.into_iter().peekable(), others.into_iter().peekable());
    loop {
        match (named.peek(), others.peek()) {
            (Some(next), Some(other)) => {
                let earlier = match (place(&server, other), place(&server, next)) {
                    (Some(other), Some(next)) => other < next,
                    _ => false,
                };
                out.extend(if earlier { others.next() } else { named.next() });
            }
            (None, None) => return out,
            _ => out.extend(named.next().or_else(|| others.next())),
        }
    }
}

fn delete_values(target: &mut Map<String, Value>, name: &str, gone: &Value) {
    let gone: HashSet<String> = gone
        .as_array()
        .into_iter()
        .flatten()
        .map(Value::to_string)
        .collect();
    if let Some(Value::Array(items)) = target.get_mut(name) {
        items.retain(|item| !gone.contains(&item.to_string()));
    }
}
