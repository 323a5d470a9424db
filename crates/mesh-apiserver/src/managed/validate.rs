//! Whether an applied configuration is an object of its type.

use std::collections::HashSet;

use serde_json::Value;

use super::set::shown_element;
use super::walk::element;
use crate::status::printed;
use crate::types::{Identity, List, Scalar, Type};

/// The first faults shown; a body can have very many.
const MOST: usize = 50;

/// All that is wrong, in the words of the real server.
pub(super) fn check(kind: &Type, value: &Value) -> Result<(), String> {
    let mut faults = Vec::new();
    visit(kind, value, "", &mut faults);
    match faults.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

fn visit(kind: &Type, value: &Value, path: &str, faults: &mut Vec<String>) {
    if faults.len() >= MOST || value.is_null() {
        return;
    }
    match (kind, value) {
        (Type::Struct(s), Value::Object(map)) => {
            let mut undeclared = Vec::new();
            for (name, inner) in map {
                let path = format!("{path}.{name}");
                match s.fields.get(name.as_str()) {
                    Some(field) => visit(&field.kind, inner, &path, faults),
                    None => undeclared.push(format!("{path}: field not declared in schema")),
                }
            }
            faults.append(&mut undeclared);
        }
        (Type::Map { values, .. }, Value::Object(map)) => {
            for (name, inner) in map {
                visit(values, inner, &format!("{path}.{name}"), faults);
            }
        }
        (Type::List(list), Value::Array(items)) => visit_items(list, items, path, faults),
        (Type::Struct(_) | Type::Map { .. }, other) => {
            faults.push(format!("{path}: expected map, got {}", shown(other)));
        }
        (Type::List(_), other) => faults.push(format!("{path}: expected list, got {}", shown(other))),
        (Type::Scalar(scalar), value) => {
            faults.extend(fault(*scalar, value).map(|why| format!("{path}: {why}")))
        }
        (Type::Any, _) => {}
    }
}

fn visit_items(list: &List, items: &[Value], path: &str, faults: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for (at, item) in items.iter().enumerate() {
        if list.identity == Identity::Atomic {
            visit(&list.items, item, &format!("{path}[{at}]"), faults);
            continue;
        }
        let Some(found) = element(list, item) else {
            faults.push(format!("{path}: element {at}: {}", unidentified(list, item)));
            continue;
        };
        let shown = shown_element(&found);
        visit(&list.items, item, &format!("{path}{shown}"), faults);
        if !seen.insert(found) {
            faults.push(format!("{path}: duplicate entries for key {shown}"));
        }
    }
}

fn unidentified(list: &List, item: &Value) -> String {
    match (&list.identity, item) {
        (Identity::Keys(keys), Value::Object(map)) => {
            let missing = keys.iter().find(|key| map.get(**key).is_none_or(Value::is_null));
            format!(
                "associative list with keys has an element that omits key field {:?} (and doesn't have default value)",
                missing.unwrap_or(&"")
            )
        }
        (Identity::Keys(_), Value::Null) => "associative list with keys may not have a null element".into(),
        (Identity::Keys(_), _) => "associative list with keys may not have non-map elements".into(),
        (_, Value::Null) => "associative list without keys has an element that's an explicit null".into(),
        _ => "associative list without keys has an element that's a map type".into(),
    }
}

/// Why a value is no such scalar.
fn fault(scalar: Scalar, value: &Value) -> Option<String> {
    let (wanted, fits) = match scalar {
        Scalar::IntOrString | Scalar::Quantity => return None,
        Scalar::Text | Scalar::Bytes | Scalar::Time | Scalar::MicroTime => ("string", value.is_string()),
        Scalar::Int32 | Scalar::Int64 | Scalar::Number => ("numeric (int or float)", value.is_number()),
        Scalar::Boolean => ("boolean", value.is_boolean()),
    };
    (!fits).then(|| format!("expected {wanted}, got {}", shown(value)))
}

/// A value as the real server, a Go program, prints it.
fn shown(value: &Value) -> String {
    match value {
        Value::Object(_) | Value::Array(_) => format!("&{{{}}}", printed(value)),
        Value::String(text) => format!("&value.valueUnstructured{{Value:{text:?}}}"),
        other => format!("&value.valueUnstructured{{Value:{other}}}"),
    }
}
