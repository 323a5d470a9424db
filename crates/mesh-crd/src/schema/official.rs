//! Comparison with CustomResourceDefinitions, for tests that have Istio's own file.

use serde_json::Value;

use crate::kinds::Kind;

/// What differs between a CustomResourceDefinition (as JSON) and ours: names, versions and the schema of `spec`
/// in its storage version, descriptions and CEL texts aside. Empty when they agree.
#[must_use]
pub fn differences(crd: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let name = crd
        .pointer("/spec/names/kind")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let (Some(kind), Some(ours)) = (Kind::by_kind(name), super::of(name)) else {
        return vec![format!("{name}: no such kind here")];
    };
    let strings = |at: &str| -> Vec<&str> {
        let list = crd.pointer(at).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect()
    };
    let mut same = |what: &str, ours: &[&str], theirs: &[&str]| {
        if ours != theirs {
            found.push(format!("{name}: {what}: ours {ours:?}, official {theirs:?}"));
        }
    };
    same("categories", kind.categories, &strings("/spec/names/categories"));
    same(
        "short names",
        kind.short_names,
        &strings("/spec/names/shortNames"),
    );
    let plural = crd
        .pointer("/spec/names/plural")
        .and_then(Value::as_str)
        .unwrap_or_default();
    same("plural", &[kind.plural], &[plural]);
    let versions = crd
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .map_or(&[][..], Vec::as_slice);
    let mut theirs: Vec<&str> = versions
        .iter()
        .filter_map(|v| v.get("name").and_then(Value::as_str))
        .collect();
    theirs.sort_unstable();
    let mut own = kind.versions.to_vec();
    own.sort_unstable();
    same("versions", &own, &theirs);
    let stored = versions
        .iter()
        .find(|v| v.get("storage") == Some(&Value::Bool(true)));
    let text = |v: Option<&Value>, key: &str| {
        v.and_then(|v| v.get(key))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    same(
        "storage version",
        &[kind.storage_version],
        &[&text(stored, "name")],
    );
    let columns: Vec<String> = stored
        .and_then(|v| v.get("additionalPrinterColumns"))
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|c| text(Some(c), "name") + text(Some(c), "jsonPath").as_str())
        .collect();
    let ours_columns: Vec<String> = kind
        .columns
        .iter()
        .map(|c| format!("{}{}", c.name, c.json_path))
        .collect();
    // Kubernetes gives a kind without columns the age.
    let default = columns.is_empty() && ours_columns.len() == 1;
    if columns != ours_columns && !default {
        found.push(format!(
            "{name}: columns: ours {ours_columns:?}, official {columns:?}"
        ));
    }
    let theirs = stored.and_then(|v| v.pointer("/schema/openAPIV3Schema/properties/spec"));
    let ours = super::open_api_v3(&ours);
    compare(
        &format!("{name}.spec"),
        &simplified(ours.pointer("/properties/spec").unwrap_or(&Value::Null)),
        &simplified(theirs.unwrap_or(&Value::Null)),
        &mut found,
    );
    found
}

/// Without what does not constrain, rules reduced to their messages.
fn simplified(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            // A field may be *called* description; its schema is then an object.
            .filter(|(name, value)| *name != "description" || value.is_object())
            .map(|(name, value)| {
                let value = match (name.as_str(), value) {
                    ("x-kubernetes-validations", Value::Array(rules)) => rules
                        .iter()
                        .map(|r| r.get("message").cloned().unwrap_or_default())
                        .collect(),
                    ("required", Value::Array(names)) => {
                        let mut names = names.clone();
                        names.sort_by_key(Value::to_string);
                        Value::Array(names)
                    }
                    _ => simplified(value),
                };
                (name.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(simplified).collect(),
        Value::Number(n) => n.as_f64().map_or(Value::Null, Value::from),
        other => other.clone(),
    }
}

fn compare(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            for (name, value) in a {
                match b.get(name) {
                    Some(other) => compare(&format!("{path}.{name}"), value, other, found),
                    None => found.push(format!("{path}.{name}: only ours: {value}")),
                }
            }
            for (name, value) in b.iter().filter(|(name, _)| !a.contains_key(*name)) {
                found.push(format!("{path}.{name}: only official: {value}"));
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("{path}: ours {a}, official {b}")),
    }
}
