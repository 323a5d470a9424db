//! Properties that hold for any input.
#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::patch::{Kind, Patch};
use crate::registry::{Core, of};
use crate::request::{Params, route};
use crate::selector::{Fields, Labels};

/// Any JSON, small, with keys that meet often.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-c]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn any_object() -> impl Strategy<Value = Value> {
    btree_map("[a-d]", any_json(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
}

/// What a merge patch means, said another way: the RFC's own pseudo code.
fn merged(target: &Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else {
        return patch.clone();
    };
    let mut out = target.as_object().cloned().unwrap_or_default();
    for (key, value) in patch {
        if value.is_null() {
            out.shift_remove(key);
        } else {
            let inner = merged(out.get(key).unwrap_or(&Value::Null), value);
            out.insert(key.clone(), inner);
        }
    }
    Value::Object(out)
}

fn apply(kind: Kind, object: &Value, patch: &Value) -> Option<Value> {
    Patch::parse(kind, patch.to_string().as_bytes())
        .ok()?
        .apply(object, &crate::types::of(of(Core::Pod)))
        .ok()
}

fn any_operation() -> impl Strategy<Value = Value> {
    let path = "(/([a-d]|[0-3]|-)){0,3}";
    (
        prop_oneof![
            Just("add"),
            Just("remove"),
            Just("replace"),
            Just("move"),
            Just("copy"),
            Just("test")
        ],
        path,
        path,
        any_json(),
    )
        .prop_map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}))
}

proptest! {
    #[test]
    fn a_merge_patch_does_what_the_rfc_says(object in any_object(), patch in any_object()) {
        prop_assert_eq!(apply(Kind::Merge, &object, &patch), Some(merged(&object, &patch)));
    }

    #[test]
    fn a_merge_patch_twice_is_as_once(object in any_object(), patch in any_object()) {
        let once = apply(Kind::Merge, &object, &patch).unwrap();
        prop_assert_eq!(apply(Kind::Merge, &once, &patch), Some(once));
    }

    #[test]
    fn a_strategic_patch_never_panics_and_the_empty_one_changes_nothing(object in any_object(), patch in any_object()) {
        let _ = apply(Kind::Strategic, &object, &patch);
        prop_assert_eq!(apply(Kind::Strategic, &object, &json!({})), Some(object));
    }

    #[test]
    fn a_json_patch_never_panics_and_applies_whole_or_not_at_all(object in any_object(), operations in vec(any_operation(), 0..6)) {
        let before = object.clone();
        let _ = apply(Kind::Json, &object, &Value::from(operations));
        prop_assert_eq!(before, object);
    }

    #[test]
    fn a_json_patch_can_replace_everything(object in any_object(), other in any_object()) {
        let patch = json!([{"op": "test", "path": "", "value": object}, {"op": "replace", "path": "", "value": other}]);
        prop_assert_eq!(apply(Kind::Json, &object, &patch), Some(other));
    }

    #[test]
    fn a_body_is_read_as_any_json_reader_would(value in any_json()) {
        let read = crate::decode::json(value.to_string().as_bytes()).unwrap();
        prop_assert_eq!(read.value, value);
        prop_assert!(read.complaints.is_empty());
    }

    #[test]
    fn selectors_never_panic(text in "\\PC*", object in any_object()) {
        if let Ok(labels) = Labels::parse(&text) {
            labels.matches(&object);
        }
        if let Ok(fields) = Fields::parse(&text, of(Core::Pod)) {
            fields.matches(&object);
        }
    }

    #[test]
    fn label_selectors_decide(key in "[a-z]{1,5}", value in "[a-z]{1,5}", other in "[a-z]{1,5}") {
        let object = json!({"metadata": {"labels": {&key: &value}}});
        let matches = |text: String| Labels::parse(&text).unwrap().matches(&object);
        prop_assert_eq!(matches(format!("{key}={other}")), value == other);
        prop_assert_eq!(matches(format!("{key}!={other}")), value != other);
        prop_assert_eq!(matches(format!("{key} in ({other},{value})")), true);
        prop_assert_eq!(matches(format!("{key} notin ({other})")), value != other);
        prop_assert_eq!(matches(key.clone()), true);
        prop_assert_eq!(matches(format!("!{key}")), false);
    }

    #[test]
    fn continue_tokens_never_panic(text in "\\PC*", namespace in "[a-z-]{0,9}", name in "[a-z.-]{1,9}", revision in 1_i64..) {
        let _ = crate::read::Resume::decode(&text);
        let token = crate::read::Resume::encode(revision, &namespace, &name);
        prop_assert_eq!(crate::read::Resume::decode(&token).unwrap(), (revision, (namespace, name)));
    }

    #[test]
    fn paths_and_queries_never_panic(path in "\\PC*", query in "\\PC*") {
        let _ = route(&path);
        let _ = Params::parse(&query);
    }

    #[test]
    fn protobuf_bodies_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let mut body = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12".to_vec();
        body.push(u8::try_from(bytes.len().min(127)).unwrap());
        body.extend(&bytes);
        let _ = crate::protobuf::decode(&body);
        let _ = crate::protobuf::decode(&bytes);
    }
}

/// kubectl's bytes for a ServiceAccount: the pieces that matter, written by hand.
#[test]
fn a_protobuf_body_becomes_the_object() {
    let metadata = b"\x0a\x03app\x1a\x04shop\x5a\x06\x0a\x01k\x12\x01v\x42\x00";
    let mut raw = vec![0x0a, u8::try_from(metadata.len()).unwrap()];
    raw.extend(metadata);
    raw.extend([0x20, 0x00]);
    let mut body = b"k8s\0\x0a\x14\x0a\x02v1\x12\x0eServiceAccount\x12".to_vec();
    body.push(u8::try_from(raw.len()).unwrap());
    body.extend(raw);
    let expected = json!({
        "kind": "ServiceAccount",
        "apiVersion": "v1",
        "metadata": {"name": "app", "namespace": "shop", "labels": {"k": "v"}},
        // A pointer's zero is a value.
        "automountServiceAccountToken": false,
    });
    assert_eq!(crate::protobuf::decode(&body), Ok(expected));
}
