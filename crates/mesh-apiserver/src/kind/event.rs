//! Events: one store, shown in two API groups with different field names.

use serde_json::Value;

use crate::object::remove;

/// (core/v1, events.k8s.io/v1).
const NAMES: &[(&str, &str)] = &[
    ("message", "note"),
    ("involvedObject", "regarding"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

fn rename(object: &mut Value, from: &str, to: &str) {
    if let Some(value) = remove(object, from)
        && let Value::Object(map) = object
    {
        map.insert(to.to_owned(), value);
    }
}

/// As core/v1 names it.
pub(super) fn to_core(mut object: Value) -> Value {
    for (core, events) in NAMES {
        rename(&mut object, events, core);
    }
    if let Value::Object(map) = &mut object {
        map.insert("apiVersion".into(), "v1".into());
    }
    object
}

/// As events.k8s.io/v1 names it.
pub(super) fn to_events(mut object: Value) -> Value {
    for (core, events) in NAMES {
        rename(&mut object, core, events);
    }
    if let Value::Object(map) = &mut object {
        map.retain(|key, value| {
            !(value == "" && matches!(key.as_str(), "reportingController" | "reportingInstance"))
        });
    }
    object
}

/// Fields that are always written.
pub(super) fn default(object: &mut Value) {
    if let Value::Object(map) = object {
        for field in ["reportingComponent", "reportingInstance"] {
            map.entry(field).or_insert_with(|| "".into());
        }
        for field in ["firstTimestamp", "lastTimestamp", "eventTime"] {
            map.entry(field).or_insert(Value::Null);
        }
        map.entry("source").or_insert_with(|| serde_json::json!({}));
    }
}
