#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeSet;

use super::*;

/// All names that a document refers to.
fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(name)) = map.get("$ref") {
                found.insert(name.rsplit('/').next().unwrap().to_owned());
            }
            map.values().for_each(|inner| references(inner, found));
        }
        Value::Array(items) => items.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

/// No reference leads nowhere, and every served kind has a schema with properties.
#[test]
fn documents_are_whole() {
    let mut all: Vec<(String, Value, Value)> = V3
        .iter()
        .map(|(name, document)| {
            let body: Value = serde_json::from_slice(&document.text).unwrap();
            let schemas = body["components"]["schemas"].clone();
            (name.clone(), body, schemas)
        })
        .collect();
    let v2: Value = serde_json::from_slice(&V2.text).unwrap();
    let definitions = v2["definitions"].clone();
    all.push(("v2".into(), v2, definitions));
    for (name, body, schemas) in all {
        let mut found = BTreeSet::new();
        references(&body, &mut found);
        for reference in found {
            assert!(schemas[&reference].is_object(), "{name}: {reference} is nowhere");
        }
        for (schema, body) in schemas.as_object().unwrap() {
            let plain = body["properties"].is_object() || body["type"] != "object";
            assert!(
                plain || schema.ends_with("FieldsV1"),
                "{name}: {schema} has no properties"
            );
        }
    }
}

/// Only the core kinds take strategic merge patches.
#[test]
fn patches_are_told_apart() {
    let media = |base: &str, path: &str| {
        let body: Value = serde_json::from_slice(&V3[base].text).unwrap();
        let content = body["paths"][path]["patch"]["requestBody"]["content"].clone();
        content.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
    };
    let strategic = "application/strategic-merge-patch+json".to_owned();
    let service = media("api/v1", "/api/v1/namespaces/{namespace}/services/{name}");
    assert!(service.contains(&strategic));
    let custom = media(
        "apis/networking.istio.io/v1",
        "/apis/networking.istio.io/v1/namespaces/{namespace}/gateways/{name}",
    );
    assert!(!custom.contains(&strategic) && custom.len() == 3);
}
