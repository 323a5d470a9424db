//! The field table agrees with Envoy's descriptors.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::HashSet;

use mesh_xds::fields::{self, Message, Rule};
use mesh_xds::json::Descriptors;

#[test]
fn every_name_number_and_shape_is_envoys() {
    let descriptors = Descriptors::load().unwrap();
    let mut seen = HashSet::new();
    for root in [
        &fields::BOOTSTRAP,
        &fields::LISTENER,
        &fields::CLUSTER,
        &fields::ENDPOINTS,
        &fields::ROUTE_CONFIGURATION,
        &fields::SECRET,
    ] {
        visit(root, &descriptors, &mut seen);
    }
    assert!(seen.len() > 90, "{}", seen.len());
}

#[test]
fn the_page_says_what_the_table_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/xds-support.md");
    let wanted = fields::document(&Descriptors::load().unwrap());
    if std::env::var_os("XDS_SUPPORT_WRITE").is_some() {
        std::fs::write(path, &wanted).unwrap();
    }
    let page = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        page == wanted,
        "docs/xds-support.md is stale: run `cargo xtask xds-support`"
    );
}

fn visit(message: &'static Message, descriptors: &Descriptors, seen: &mut HashSet<usize>) {
    if !seen.insert(std::ptr::from_ref(message).addr()) {
        return;
    }
    let descriptor = descriptors
        .pool()
        .get_message_by_name(message.name)
        .unwrap_or_else(|| panic!("{} is not in the descriptors", message.name));
    for field in message.fields {
        let at = format!("{}.{}", message.name, field.name);
        let known = descriptor
            .get_field(field.number)
            .unwrap_or_else(|| panic!("{at}: number {} does not exist", field.number));
        assert_eq!(known.name(), field.name, "{at}");
        let target = || known.kind().as_message().unwrap().full_name().to_owned();
        match &field.rule {
            Rule::Message(inner) => {
                assert!(!known.is_list() && target() == inner.name, "{at}");
                visit(inner, descriptors, seen);
            }
            Rule::List(inner) => {
                assert!(known.is_list() && target() == inner.name, "{at}");
                visit(inner, descriptors, seen);
            }
            Rule::Map(inner) => {
                assert!(known.is_map(), "{at}");
                visit(inner, descriptors, seen);
            }
            Rule::MapAny(types) => {
                assert!(known.is_map(), "{at}");
                types.iter().for_each(|t| visit(t, descriptors, seen));
            }
            Rule::Any(types) => {
                assert_eq!(target(), "google.protobuf.Any", "{at}");
                types.iter().for_each(|t| visit(t, descriptors, seen));
            }
            Rule::Filters(filters) => {
                let filter = known.kind();
                let filter = filter.as_message().unwrap();
                assert_eq!(filter.get_field(1).unwrap().name(), "name", "{at}");
                assert_eq!(
                    filter.get_field(filters.config).unwrap().name(),
                    "typed_config",
                    "{at}"
                );
                if filters.disabled != 0 {
                    assert_eq!(
                        filter.get_field(filters.disabled).unwrap().name(),
                        "disabled",
                        "{at}"
                    );
                }
                filters.types.iter().for_each(|t| visit(t, descriptors, seen));
            }
            Rule::Honoured | Rule::Ignored(_) | Rule::OffOnly(_) | Rule::Refused(_) => {}
        }
    }
}
