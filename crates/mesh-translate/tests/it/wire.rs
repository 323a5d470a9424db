//! Everything that translation makes survives the wire.

use std::path::PathBuf;

use mesh_model::snapshot::Snapshot;

use crate::support::{BASE, client, gateway, parse_all, server, world};

#[track_caller]
fn check(name: &str, snapshot: &Snapshot) {
    for (key, listener) in &snapshot.listeners {
        let back = mesh_xds::decode::listener(&mesh_xds::encode::listener(listener));
        assert_eq!(
            back.as_ref().ok(),
            Some(listener.as_ref()),
            "{name}: listener {key}: {back:?}"
        );
    }
    for (key, table) in &snapshot.routes {
        let back = mesh_xds::decode::route_table(&mesh_xds::encode::route_table(table));
        assert_eq!(
            back.as_ref().ok(),
            Some(table.as_ref()),
            "{name}: table {key}: {back:?}"
        );
    }
    for (key, cluster) in &snapshot.clusters {
        let back = mesh_xds::decode::cluster(&mesh_xds::encode::cluster(cluster));
        assert_eq!(
            back.as_ref().ok(),
            Some(cluster.as_ref()),
            "{name}: cluster {key}: {back:?}"
        );
    }
    for (key, endpoints) in &snapshot.endpoints {
        let back = mesh_xds::decode::endpoints(&mesh_xds::encode::endpoints(key, endpoints));
        let back = back.map(|(_, endpoints)| endpoints);
        assert_eq!(
            back.as_ref().ok(),
            Some(endpoints.as_ref()),
            "{name}: endpoints {key}: {back:?}"
        );
    }
}

#[test]
fn the_base_survives() {
    let world = world(&[BASE]);
    for node in [client(), server(), gateway()] {
        check(&node.id, &mesh_translate::snapshot(&world, &node).0);
    }
}

#[test]
fn the_sample_survives_and_has_no_problem() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop");
    let mut texts = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "yaml") {
            texts.push(std::fs::read_to_string(path).unwrap());
        }
    }
    assert!(!texts.is_empty());
    let mut world = mesh_translate::World::default();
    for parsed in texts.iter().flat_map(|t| parse_all(t)) {
        let kind = parsed.key.as_ref().map(|k| k.kind.clone()).unwrap_or_default();
        // Accounts are Kubernetes' own matter.
        if kind != "ServiceAccount" {
            assert!(parsed.problems.is_empty(), "{:?}", parsed.problems);
            world.apply(parsed);
        }
    }
    let problems = mesh_translate::analyze(&world);
    assert!(problems.is_empty(), "{problems:?}");
    for node in [client(), server(), gateway()] {
        check(&node.id, &mesh_translate::snapshot(&world, &node).0);
    }
}

#[test]
fn every_recorded_configuration_survives() {
    for (id, world) in crate::recorded::worlds() {
        for from in ["client", "gateway-client"] {
            check(
                &id,
                &mesh_translate::snapshot(&world, &crate::recorded::node(from)).0,
            );
        }
    }
}
