//! Walks over typed values: which fields a value has, what differs, what is merged, what is taken away.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::set::{Set, key};
use crate::types::{Identity, List, Type};

/// What two values differ in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) added: Set,
    pub(crate) modified: Set,
    pub(crate) removed: Set,
}

impl Comparison {
    /// Without fields that do not count.
    pub(crate) fn without(self, ignored: &Set) -> Self {
        Self {
            added: self.added.without(ignored),
            modified: self.modified.without(ignored),
            removed: self.removed.without(ignored),
        }
    }

    /// What the new value sets.
    pub(crate) fn set(&self) -> Set {
        self.added.union(&self.modified)
    }
}

/// How values of a type are looked at.
enum Look<'a> {
    /// As one.
    Whole,
    /// Field by field.
    Fields,
    /// Item by item.
    Items(&'a List),
}

fn look<'a>(kind: &'a Type, values: &[Option<&Value>]) -> Look<'a> {
    let all = |test: fn(&Value) -> bool| {
        let mut given = values.iter().flatten().filter(|v| !v.is_null()).peekable();
        given.peek().is_some() && given.all(|v| test(v))
    };
    let empty = values.iter().flatten().all(|value| match value {
        Value::Object(map) => map.is_empty(),
        Value::Array(items) => items.is_empty(),
        other => other.is_null(),
    });
    match kind {
        // Two empty ones are compared as one: so that empty and absent stay apart.
        _ if empty => Look::Whole,
        Type::Struct(s) if !s.atomic && all(Value::is_object) => Look::Fields,
        Type::Map { atomic: false, .. } | Type::Any if all(Value::is_object) => Look::Fields,
        Type::List(list) if list.identity != Identity::Atomic && all(Value::is_array) => Look::Items(list),
        _ => Look::Whole,
    }
}

/// The element that an item of a list is; none when it has not the fields that tell.
pub(super) fn element(list: &List, item: &Value) -> Option<String> {
    match &list.identity {
        Identity::Atomic => None,
        Identity::Set => match item {
            Value::Array(_) | Value::Object(_) | Value::Null => None,
            plain => Some(format!("v:{plain}")),
        },
        Identity::Keys(keys) => {
            let map = item.as_object()?;
            let mut found = Vec::new();
            for name in keys {
                let default = || match &*list.items {
                    Type::Struct(s) => s.fields.get(name).and_then(|f| f.default_key()),
                    _ => None,
                };
                let value = map.get(*name).filter(|v| !v.is_null()).or_else(default)?;
                found.push(((*name).to_owned(), value.clone()));
            }
            Some(key(found.into_iter()))
        }
    }
}

/// The items of a list with their elements; those without one go by their place.
fn elements<'a>(list: &List, value: Option<&'a Value>) -> Vec<(String, &'a Value)> {
    let items = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    items
        .iter()
        .enumerate()
        .map(|(at, item)| (element(list, item).unwrap_or_else(|| format!("i:{at}")), item))
        .collect()
}

fn names(values: &[Option<&Value>]) -> Vec<String> {
    let mut seen = HashSet::new();
    let maps = values.iter().flatten().filter_map(|v| v.as_object());
    maps.flat_map(Map::keys)
        .filter(|name| seen.insert(name.as_str()))
        .cloned()
        .collect()
}

/// The fields that a value has.
pub(crate) fn fields(kind: &Type, value: &Value) -> Set {
    let mut out = Set::default();
    collect(kind, value, &mut Vec::new(), &mut out);
    out
}

fn collect(kind: &Type, value: &Value, path: &mut Vec<String>, out: &mut Set) {
    match look(kind, &[Some(value)]) {
        Look::Whole => {
            // An empty map or list with separate fields has none; whoever holds it says that it is there.
            let empty = matches!(value, Value::Object(m) if m.is_empty())
                || matches!(value, Value::Array(l) if l.is_empty());
            let atomic = match kind {
                Type::Struct(s) => s.atomic,
                Type::Map { atomic, .. } => *atomic,
                Type::List(list) => list.identity == Identity::Atomic,
                Type::Any => value.is_array(),
                Type::Scalar(_) => true,
            };
            if atomic || !empty {
                out.insert(path);
            }
        }
        Look::Fields => {
            let map = value.as_object().into_iter().flatten();
            for (name, inner) in map {
                path.push(format!("f:{name}"));
                collect(kind.field(name), inner, path, out);
                let declared = matches!(kind, Type::Struct(s) if s.fields.contains_key(name.as_str()));
                let bare = inner.is_null() || inner.as_object().is_some_and(Map::is_empty);
                if bare || !declared {
                    out.insert(path);
                }
                path.pop();
            }
        }
        Look::Items(list) => {
            let all = elements(list, Some(value));
            let groups = grouped(&all);
            for (element, inner) in &all {
                path.push(element.clone());
                if groups.get(element.as_str()).is_some_and(|same| same.len() == 1) {
                    collect(kind.items(), inner, path, out);
                }
                out.insert(path);
                path.pop();
            }
        }
    }
}

/// What the right value has, and the left one has not or has otherwise; and what only the left one has.
pub(crate) fn compare(kind: &Type, left: &Value, right: &Value) -> Comparison {
    let mut out = Comparison::default();
    differ(kind, Some(left), Some(right), &mut Vec::new(), &mut out);
    out
}

fn differ(
    kind: &Type,
    left: Option<&Value>,
    right: Option<&Value>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    match look(kind, &[left, right]) {
        Look::Whole => {
            match (left, right) {
                (None, Some(_)) => out.added.insert(path),
                (Some(_), None) => out.removed.insert(path),
                (left, right) if left != right => out.modified.insert(path),
                _ => {}
            }
            return;
        }
        Look::Fields => {
            for name in names(&[left, right]) {
                path.push(format!("f:{name}"));
                let (before, after) = (left.and_then(|v| v.get(&name)), right.and_then(|v| v.get(&name)));
                differ(kind.field(&name), before, after, path, out);
                path.pop();
            }
        }
        Look::Items(list) => differ_items(kind, &elements(list, left), &elements(list, right), path, out),
    }
    match (left, right) {
        (None, Some(_)) => out.added.insert(path),
        (Some(_), None) => out.removed.insert(path),
        _ => {}
    }
}

type Items<'a> = [(String, &'a Value)];

/// The items of each element.
fn grouped<'a>(items: &'a Items<'_>) -> HashMap<&'a str, Vec<&'a Value>> {
    let mut groups: HashMap<&str, Vec<&Value>> = HashMap::new();
    for (element, item) in items {
        groups.entry(element).or_default().push(item);
    }
    groups
}

fn differ_items(
    kind: &Type,
    left: &Items<'_>,
    right: &Items<'_>,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let (lefts, rights) = (grouped(left), grouped(right));
    let mut seen = HashSet::new();
    for (element, _) in left.iter().chain(right) {
        if !seen.insert(element.as_str()) {
            continue;
        }
        let before = lefts.get(element.as_str()).map_or(&[][..], Vec::as_slice);
        let after = rights.get(element.as_str()).map_or(&[][..], Vec::as_slice);
        path.push(element.clone());
        match (before, after) {
            ([] | [_], [] | [_]) => {
                differ(
                    kind.items(),
                    before.first().copied(),
                    after.first().copied(),
                    path,
                    out,
                );
            }
            ([_, _, ..], [_, _, ..]) if before != after => out.modified.insert(path),
            ([_, _, ..], [_, _, ..]) => {}
            // Repeated items count as one; what was one becomes many, or the other way round.
            ([_, _, ..], one) => {
                if let Some(one) = one.first() {
                    differ(kind.items(), None, Some(*one), path, out);
                }
                out.removed.insert(path);
            }
            (one, _) => {
                if let Some(one) = one.first() {
                    differ(kind.items(), Some(*one), None, path, out);
                }
                out.added.insert(path);
            }
        }
        path.pop();
    }
}

/// The left value with everything that the right one says.
pub(crate) fn merge(kind: &Type, left: &Value, right: &Value) -> Value {
    match look(kind, &[Some(left), Some(right)]) {
        Look::Whole => right.clone(),
        Look::Fields => {
            let mut out = Map::new();
            for name in names(&[Some(left), Some(right)]) {
                let merged = match (left.get(&name), right.get(&name)) {
                    (Some(left), Some(right)) => merge(kind.field(&name), left, right),
                    (Some(one), None) | (None, Some(one)) => one.clone(),
                    (None, None) => continue,
                };
                out.insert(name, merged);
            }
            Value::Object(out)
        }
        Look::Items(list) => {
            let (left, right) = (elements(list, Some(left)), elements(list, Some(right)));
            Value::Array(merge_items(kind, &left, &right))
        }
    }
}

/// Items in the right list's order; those that only the left one has stay between the neighbours they had.
fn merge_items(kind: &Type, left: &Items<'_>, right: &Items<'_>) -> Vec<Value> {
    let (known, wanted) = (grouped(left), grouped(right));
    let both = |element: &str, item: &Value| match known.get(element).and_then(|same| same.first()) {
        Some(before) => merge(kind.items(), before, item),
        None => item.clone(),
    };
    let mut shared = right
        .iter()
        .map(|(element, _)| element.as_str())
        .filter(|element| known.contains_key(element));
    let mut next = shared.next();
    let mut merged: HashSet<&str> = HashSet::new();
    let mut out = Vec::new();
    let (mut lefts, mut rights) = (left.iter().peekable(), right.iter().peekable());
    loop {
        if let (Some((l, _)), Some((r, item))) = (lefts.peek(), rights.peek()) {
            if l == r {
                merged.insert(r);
                out.push(both(r, item));
                lefts.next();
                rights.next();
                next = shared.next();
                continue;
            }
            if wanted.contains_key(l.as_str()) && next.is_some_and(|wanted| wanted != l) {
                // Shared, but its turn comes later.
                lefts.next();
                continue;
            }
        }
        match lefts.peek() {
            Some((element, item)) if !wanted.contains_key(element.as_str()) => {
                out.push((*item).clone());
                lefts.next();
                continue;
            }
            Some((element, _)) if merged.contains(element.as_str()) => {
                lefts.next();
            }
            _ => {}
        }
        match rights.next() {
            Some((element, item)) => {
                merged.insert(element);
                out.push(both(element, item));
                if next == Some(element.as_str()) {
                    next = shared.next();
                }
            }
            None if lefts.peek().is_none() => return out,
            None => {}
        }
    }
}

/// The value without the members of a set; nothing when nothing is left.
pub(crate) fn take_away(kind: &Type, value: &Value, gone: &Set) -> Value {
    match look(kind, &[Some(value)]) {
        Look::Whole if value.is_object() || value.is_array() => Value::Null,
        Look::Whole => value.clone(),
        Look::Fields => {
            let mut out = Map::new();
            for (name, inner) in value.as_object().into_iter().flatten() {
                let element = format!("f:{name}");
                if gone.has(&element) {
                    continue;
                }
                let inner = match gone.below(&element) {
                    Some(gone) => take_away(kind.field(name), inner, gone),
                    None => inner.clone(),
                };
                if !inner.is_null() {
                    out.insert(name.clone(), inner);
                }
            }
            match out.is_empty() {
                true => Value::Null,
                false => Value::Object(out),
            }
        }
        Look::Items(list) => {
            let mut out = Vec::new();
            for (element, inner) in elements(list, Some(value)) {
                if gone.has(&element) {
                    continue;
                }
                out.push(match gone.below(&element) {
                    Some(gone) => take_away(kind.items(), inner, gone),
                    None => inner.clone(),
                });
            }
            match out.is_empty() {
                true => Value::Null,
                false => Value::Array(out),
            }
        }
    }
}
