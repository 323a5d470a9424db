//! Schemas in the form of `openAPIV3Schema`, for clients that ask for it (`kubectl explain`).

use serde_json::{Map, Value, json};

use super::{Bounds, Schema, Shape};

/// The schema as OpenAPI v3.
#[must_use]
pub fn open_api_v3(schema: &Schema) -> Value {
    let mut out = Map::new();
    shape(&schema.shape, &mut out);
    if schema.nullable {
        out.insert("nullable".into(), true.into());
    }
    let choices: Vec<Value> = schema.exclusive.iter().map(|group| exclusive(group)).collect();
    match choices.as_slice() {
        [] => {}
        [one] => {
            out.insert("oneOf".into(), one.clone());
        }
        many => {
            let all: Vec<Value> = many.iter().map(|c| json!({"oneOf": c})).collect();
            out.insert("allOf".into(), all.into());
        }
    }
    if !schema.rules.is_empty() {
        let rules: Vec<Value> = schema
            .rules
            .iter()
            .map(|r| json!({"rule": r.cel, "message": r.message}))
            .collect();
        out.insert("x-kubernetes-validations".into(), rules.into());
    }
    Value::Object(out)
}

fn exclusive(group: &[&str]) -> Value {
    let each: Vec<Value> = group.iter().map(|f| json!({"required": [f]})).collect();
    let mut all = vec![json!({"not": {"anyOf": each}})];
    all.extend(each);
    all.into()
}

fn shape(shape: &Shape, out: &mut Map<String, Value>) {
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    match shape {
        Shape::Object { properties, required } => {
            put("type", "object".into());
            let all: Map<String, Value> = properties
                .iter()
                .map(|(name, s)| ((*name).to_owned(), open_api_v3(s)))
                .collect();
            put("properties", all.into());
            if !required.is_empty() {
                put("required", required.clone().into());
            }
        }
        Shape::Map { values, entries } => {
            put("type", "object".into());
            put("additionalProperties", open_api_v3(values));
            bounds(*entries, "minProperties", "maxProperties", &mut put);
        }
        Shape::Array { items, count, keys } => {
            put("type", "array".into());
            put("items", open_api_v3(items));
            bounds(*count, "minItems", "maxItems", &mut put);
            if !keys.is_empty() {
                put("x-kubernetes-list-type", "map".into());
                put("x-kubernetes-list-map-keys", keys.clone().into());
            }
        }
        Shape::String {
            values,
            pattern,
            length,
            format,
        } => {
            put("type", "string".into());
            if !values.is_empty() {
                put("enum", values.clone().into());
            }
            if let Some(pattern) = pattern {
                put("pattern", (*pattern).into());
            }
            if !format.is_empty() {
                put("format", (*format).into());
            }
            bounds(*length, "minLength", "maxLength", &mut put);
        }
        Shape::Integer { range, format } => {
            put("type", "integer".into());
            if !format.is_empty() {
                put("format", (*format).into());
            }
            bounds(*range, "minimum", "maximum", &mut put);
        }
        Shape::Number { range } => {
            put("type", "number".into());
            put("format", "double".into());
            bounds(*range, "minimum", "maximum", &mut put);
        }
        Shape::Boolean => put("type", "boolean".into()),
        Shape::IntOrString => put("x-kubernetes-int-or-string", true.into()),
        Shape::AnyObject => {
            put("type", "object".into());
            put("x-kubernetes-preserve-unknown-fields", true.into());
        }
        Shape::Any => put("x-kubernetes-preserve-unknown-fields", true.into()),
    }
}

fn bounds(bounds: Bounds, min: &str, max: &str, put: &mut impl FnMut(&str, Value)) {
    if let Some(value) = bounds.min {
        put(min, value.into());
    }
    if let Some(value) = bounds.max {
        put(max, value.into());
    }
}
