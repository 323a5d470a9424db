#![allow(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::registry::{Core, of as core_resource};

/// Every fact is about a field that is there.
#[test]
fn facts_name_fields_that_exist() {
    let text = include_str!("facts.txt");
    for line in text.lines() {
        let (name, items) = line.split_once(": ").unwrap();
        let Type::Struct(found) = &*message(name) else {
            panic!("{name} is no message");
        };
        for item in items.split("; ") {
            let field = item.split(' ').next().unwrap();
            let known = [".", "apiVersion", "kind"].contains(&field) || found.fields.contains_key(field);
            assert!(known, "{name} has no field {field}");
        }
    }
}

/// Every kind has a type, and its lists say how their items are told apart.
#[test]
fn kinds_have_types() {
    for resource in registry::all() {
        let Type::Struct(found) = &*of(resource) else {
            panic!("{} has no type", resource.kind);
        };
        assert!(found.fields.contains_key("metadata"), "{}", resource.kind);
    }
    let ports = of(core_resource(Core::Service));
    let Type::List(ports) = ports.field("spec").field("ports") else {
        panic!("ports are a list");
    };
    assert_eq!(ports.identity, Identity::Keys(vec!["port", "protocol"]));
    assert_eq!(
        ports.patch,
        Merge::Items {
            key: "port",
            retain: false
        }
    );
    assert_eq!(
        of(core_resource(Core::Service)).blank(),
        serde_json::json!({"metadata": {}, "spec": {}, "status": {"loadBalancer": {}}})
    );
}
