//! Secrets, ConfigMaps and Leases.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{or_set, text};
use crate::names;
use crate::status::Cause;

/// The largest sum of a Secret's or ConfigMap's data.
const MAX_DATA: usize = 1024 * 1024;

pub(super) fn default_secret(object: &mut Value) {
    if let Value::Object(map) = object {
        or_set(map, "type", "Opaque");
        // What was written as text is kept as bytes.
        if let Some(Value::Object(plain)) = map.shift_remove("stringData") {
            let mut data = map
                .get("data")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            for (key, value) in plain {
                data.insert(key, STANDARD.encode(value.as_str().unwrap_or_default()).into());
            }
            map.insert("data".into(), Value::Object(data));
        }
    }
}

fn is_immutable(object: &Value) -> bool {
    object.get("immutable").and_then(Value::as_bool) == Some(true)
}

fn check_immutable(new: &Value, old: Option<&Value>, fields: &[&str], causes: &mut Vec<Cause>) {
    let Some(old) = old.filter(|o| is_immutable(o)) else {
        return;
    };
    if !is_immutable(new) {
        causes.push(Cause::forbidden(
            "immutable",
            "field is immutable when `immutable` is set",
        ));
    }
    for field in fields {
        if new.get(*field) != old.get(*field) {
            causes.push(Cause::forbidden(
                *field,
                "field is immutable when `immutable` is set",
            ));
        }
    }
}

fn check_keys(object: &Value, fields: &[&str], causes: &mut Vec<Cause>) {
    let mut size = 0;
    for field in fields {
        for (key, value) in object
            .get(*field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            size += value.as_str().map_or(0, str::len);
            if let Some(fault) = names::config_key(key) {
                causes.push(Cause::invalid(format!("{field}[{key}]"), &json!(key), &fault));
            }
        }
    }
    if size > MAX_DATA {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {MAX_DATA} bytes"),
            field: if fields.contains(&"binaryData") {
                "[]".into()
            } else {
                "data".into()
            },
        });
    }
}

pub(super) fn validate_secret(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_keys(new, &["data"], &mut causes);
    let required: &[&str] = match text(new, "/type") {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        _ => &[],
    };
    for key in required {
        if new.get("data").and_then(|d| d.get(*key)).is_none() {
            causes.push(Cause::required(format!("data[{key}]"), ""));
        }
    }
    if let Some(old) = old
        && new.get("type") != old.get("type")
    {
        causes.push(Cause::invalid(
            "type",
            new.get("type").unwrap_or(&Value::Null),
            "field is immutable",
        ));
    }
    check_immutable(new, old, &["data"], &mut causes);
    causes
}

pub(super) fn validate_config_map(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    check_keys(new, &["data", "binaryData"], &mut causes);
    check_immutable(new, old, &["data", "binaryData"], &mut causes);
    causes
}

pub(super) fn validate_lease(new: &Value) -> Vec<Cause> {
    let mut causes = Vec::new();
    if let Some(seconds) = new.pointer("/spec/leaseDurationSeconds").and_then(Value::as_i64)
        && seconds <= 0
    {
        causes.push(Cause::invalid(
            "spec.leaseDurationSeconds",
            &json!(seconds),
            "must be greater than 0",
        ));
    }
    if let Some(count) = new.pointer("/spec/leaseTransitions").and_then(Value::as_i64)
        && count < 0
    {
        let detail = "must be greater than or equal to 0";
        causes.push(Cause::invalid("spec.leaseTransitions", &json!(count), detail));
    }
    causes
}
