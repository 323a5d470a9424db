//! An object as people edit it (pure).

use serde_json::{Map, Value};

/// Metadata that only the API server writes.
const BOOKKEEPING: [&str; 6] = [
    "creationTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];
/// What kubectl keeps beside the object for itself.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// YAML without status and bookkeeping, in the order in which people write.
pub(super) fn of(object: &Value) -> String {
    let Some(fields) = object.as_object() else {
        return String::new();
    };
    let first = ["apiVersion", "kind"].into_iter().filter_map(|name| {
        let value = fields.get(name)?;
        Some((name.to_owned(), value.clone()))
    });
    let mut ordered: Map<String, Value> = first.collect();
    if let Some(metadata) = fields.get("metadata").and_then(Value::as_object) {
        ordered.insert("metadata".into(), Value::Object(edited(metadata)));
    }
    for (name, value) in fields {
        if name != "status" && !ordered.contains_key(name) {
            ordered.insert(name.clone(), value.clone());
        }
    }
    serde_saphyr::to_string(&Value::Object(ordered)).unwrap_or_default()
}

fn edited(metadata: &Map<String, Value>) -> Map<String, Value> {
    let mut kept = metadata.clone();
    kept.retain(|name, _| !BOOKKEEPING.contains(&name.as_str()));
    if let Some(annotations) = kept.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove(LAST_APPLIED);
        if annotations.is_empty() {
            kept.shift_remove("annotations");
        }
    }
    let mut ordered = Map::new();
    for name in ["name", "namespace", "labels", "annotations"] {
        ordered.extend(kept.shift_remove_entry(name));
    }
    ordered.extend(kept);
    ordered
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn as_people_write_it() {
        let object = json!({
            "spec": { "hosts": ["a"] },
            "metadata": {
                "uid": "1", "annotations": { super::LAST_APPLIED: "{}" }, "namespace": "default",
                "name": "a", "managedFields": [], "resourceVersion": "7", "generation": 2,
                "creationTimestamp": "2023-11-14T22:00:00Z", "finalizers": ["x"],
            },
            "status": { "x": 1 }, "kind": "VirtualService", "apiVersion": "networking.istio.io/v1",
        });
        assert_eq!(
            super::of(&object),
            "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: a\n  namespace: default\n  \
             finalizers:\n  - x\nspec:\n  hosts:\n  - a\n"
        );
    }
}
