#![allow(clippy::unwrap_used, reason = "tests")]
//! Managers and applying, as tables.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::registry::{Core, of as core_resource};
use crate::types;

fn writer<'a>(kind: &'a Type, name: &str, applied: bool) -> Writer<'a> {
    Writer {
        kind,
        manager: Manager::new(name, applied, "v1", None),
        api_version: "v1".into(),
        ignored: Set::default(),
    }
}

fn with(mut object: Value, managed: &Managed) -> Value {
    crate::object::set_metadata(&mut object, "managedFields", managed.write());
    object
}

/// Applies each configuration in turn, by the manager beside it, and returns the last state.
fn applied(kind: &Type, steps: &[(&str, bool, Value)]) -> Result<Value, String> {
    let mut live = kind.blank();
    for (name, force, config) in steps {
        let applied = apply(&writer(kind, name, true), &live, config, *force);
        let applied = applied.map_err(|why| why.refusal(config).message)?;
        live = with(applied.object, &applied.managed);
    }
    Ok(live)
}

fn service(spec: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": spec})
}

/// Checks what two managers who apply one service after the other make of it.
fn check(steps: &[(&str, bool, Value)], expected: Result<Value, &str>) {
    let kind = types::of(core_resource(Core::Service));
    let steps: Vec<_> = steps
        .iter()
        .map(|(name, force, spec)| (*name, *force, service(spec)))
        .collect();
    let found = applied(&kind, &steps).map(|o| o["spec"].clone());
    assert_eq!(found, expected.map_err(str::to_owned), "{steps:?}");
}

#[test]
fn lists_with_keys_merge_and_shrink() {
    let port = |port: u16, name: &str| json!({"port": port, "name": name});
    check(
        &[
            (
                "a",
                false,
                json!({"ports": [port(80, "http"), port(81, "admin")]}),
            ),
            ("b", false, json!({"ports": [port(82, "grpc")]})),
        ],
        Ok(json!({"ports": [port(80, "http"), port(81, "admin"), port(82, "grpc")]})),
    );
    check(
        &[
            (
                "a",
                false,
                json!({"ports": [port(80, "http"), port(81, "admin")]}),
            ),
            ("a", false, json!({"ports": [port(81, "admin")]})),
        ],
        Ok(json!({"ports": [port(81, "admin")]})),
    );
    // The port's own protocol is TCP unless it says otherwise: the same item.
    check(
        &[
            ("a", false, json!({"ports": [port(80, "http")]})),
            (
                "b",
                false,
                json!({"ports": [{"port": 80, "protocol": "TCP", "name": "other"}]}),
            ),
        ],
        Err("Apply failed with 1 conflict: conflict with \"a\": .spec.ports[port=80,protocol=\"TCP\"].name"),
    );
    check(
        &[("a", false, json!({"ports": [port(80, "x"), port(80, "y")]}))],
        Err(
            "failed to create typed patch object (/s; /v1, Kind=Service): .spec.ports: duplicate entries for key [port=80,protocol=\"TCP\"]",
        ),
    );
}

#[test]
fn fields_are_shared_taken_and_given_up() {
    check(
        &[
            (
                "a",
                false,
                json!({"type": "ClusterIP", "sessionAffinity": "None"}),
            ),
            ("b", false, json!({"type": "ClusterIP"})),
            ("a", false, json!({"sessionAffinity": "None"})),
        ],
        Ok(json!({"type": "ClusterIP", "sessionAffinity": "None"})),
    );
    check(
        &[
            ("a", false, json!({"type": "ClusterIP"})),
            ("b", false, json!({"type": "NodePort"})),
        ],
        Err("Apply failed with 1 conflict: conflict with \"a\": .spec.type"),
    );
    check(
        &[
            ("a", false, json!({"type": "ClusterIP"})),
            ("b", true, json!({"type": "NodePort"})),
            ("a", false, json!({"sessionAffinity": "None"})),
        ],
        Ok(json!({"type": "NodePort", "sessionAffinity": "None"})),
    );
    check(
        &[("a", false, json!({"types": "x", "ports": {}}))],
        Err(
            "failed to create typed patch object (/s; /v1, Kind=Service): errors:\n  .spec.ports: expected list, got &{map[]}\n  .spec.types: field not declared in schema",
        ),
    );
}

/// The selector is owned as a whole.
#[test]
fn a_whole_map_has_one_owner() {
    check(
        &[
            ("a", false, json!({"selector": {"app": "x"}})),
            ("b", false, json!({"selector": {"version": "v1"}})),
        ],
        Err("Apply failed with 1 conflict: conflict with \"a\": .spec.selector"),
    );
}

#[test]
fn sets_read_back_as_written() {
    let text = json!({
        "f:metadata": {"f:labels": {".": {}, "f:a": {}}, "f:finalizers": {".": {}, "v:\"x\"": {}}},
        "f:spec": {"f:ports": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:port": {}}}},
    });
    let set = Set::parse(&text).unwrap();
    assert_eq!(set.write(), text);
    let swapped = json!({"f:a": {"k:{\"protocol\":\"TCP\",\"port\":80}": {}}});
    assert_eq!(
        Set::parse(&swapped).unwrap().write(),
        json!({"f:a": {"k:{\"port\":80,\"protocol\":\"TCP\"}": {}}})
    );
    for wrong in [
        json!({"x": {}}),
        json!({"f:a": 1}),
        json!({"k:no": {}}),
        json!([]),
    ] {
        assert!(Set::parse(&wrong).is_err(), "{wrong}");
    }
}

/// More than ten updaters: the oldest become one.
#[test]
fn old_updaters_are_put_together() {
    let kind = types::of(core_resource(Core::ConfigMap));
    let mut object = json!({"metadata": {}});
    for at in 0..15 {
        let mut next = object.clone();
        crate::object::edit_metadata(&mut next, |m| {
            let mut labels = m.get("labels").cloned().unwrap_or_else(|| json!({}));
            labels[format!("l{at}")] = json!("x");
            m.insert("labels".into(), labels)
        });
        let writer = writer(&kind, &format!("m{at:02}"), false);
        let managed = update(&writer, &object, &next, known(&object, &next, false));
        object = with(next, &managed);
    }
    let names: Vec<&str> = object["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["manager"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 10);
    assert!(names.contains(&"ancient-changes") && names.contains(&"m14") && !names.contains(&"m00"));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ];
    let names = prop_oneof![
        Just("metadata"),
        Just("spec"),
        Just("ports"),
        Just("port"),
        Just("name"),
        Just("selector"),
        Just("labels"),
        Just("finalizers"),
        Just("protocol"),
        Just("status"),
        Just("a"),
        Just("managedFields"),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(names.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())),
        ]
    })
}

/// A service's configuration: labels, selector, and ports without repetition.
fn any_config() -> impl Strategy<Value = Value> {
    let text = || btree_map("[a-c]", "[x-z]", 0..3);
    (
        text(),
        text(),
        btree_map(1_u16..5, "[a-c]", 0..4),
        vec("[a-c]", 0..3),
    )
        .prop_map(|(labels, selector, ports, mut finalizers)| {
            finalizers.sort();
            finalizers.dedup();
            let ports: Vec<Value> = ports
                .into_iter()
                .map(|(port, name)| json!({"port": port, "name": name}))
                .collect();
            json!({
                "apiVersion": "v1", "kind": "Service",
                "metadata": {"name": "s", "labels": labels, "finalizers": finalizers},
                "spec": {"selector": selector, "ports": ports},
            })
        })
}

proptest! {
    #[test]
    fn hostile_values_never_panic(live in any_json(), config in any_json(), list in any_json()) {
        let kind = types::of(core_resource(Core::Service));
        let live = json!({"metadata": {"managedFields": list}, "spec": live});
        let _ = apply(&writer(&kind, "a", true), &live, &config, true);
        let _ = apply(&writer(&kind, "kubectl", true), &live, &json!({"spec": config.clone()}), false);
        let new = json!({"metadata": {"managedFields": config}, "spec": config});
        let _ = update(&writer(&kind, "b", false), &live, &new, known(&live, &new, false));
    }

    #[test]
    fn applying_again_changes_nothing(live in any_config(), config in any_config()) {
        let kind = types::of(core_resource(Core::Service));
        let managed = update(&writer(&kind, "other", false), &kind.blank(), &live, Managed::default());
        let live = with(live, &managed);
        let once = apply(&writer(&kind, "a", true), &live, &config, true).unwrap();
        let first = with(once.object, &once.managed);
        let twice = apply(&writer(&kind, "a", true), &first, &config, false).unwrap();
        let second = with(twice.object, &twice.managed);
        prop_assert!(crate::object::same(&first, &second), "{first}\n{second}");
    }

    #[test]
    fn what_was_applied_is_there_and_goes_with_its_manager(config in any_config(), other in any_config()) {
        let kind = types::of(core_resource(Core::Service));
        let steps = [("a", true, config.clone()), ("b", true, other.clone())];
        let both = applied(&kind, &steps).unwrap();
        for (name, value) in other["metadata"]["labels"].as_object().unwrap() {
            prop_assert_eq!(&both["metadata"]["labels"][name], value);
        }
        // When the first gives up all, only what the second applied is left.
        let empty = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}});
        let left = applied(&kind, &[("a", true, config), ("b", true, other.clone()), ("a", true, empty)]).unwrap();
        let labels = left["metadata"].get("labels").cloned().unwrap_or_else(|| json!({}));
        prop_assert_eq!(&labels, &other["metadata"]["labels"]);
    }

    #[test]
    fn sets_are_an_algebra(a in any_config(), b in any_config()) {
        let kind = types::of(core_resource(Core::Service));
        let (a, b) = (walk::fields(&kind, &a), walk::fields(&kind, &b));
        prop_assert_eq!(a.difference(&b).union(&a.intersection(&b)), a.clone());
        prop_assert_eq!(a.union(&b).difference(&b), a.difference(&b));
        prop_assert_eq!(a.union(&b), b.union(&a));
        prop_assert_eq!(Set::parse(&a.write()).unwrap(), a);
    }
}
