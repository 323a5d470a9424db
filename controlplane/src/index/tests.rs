#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use mesh_crd::ObjectKey;
use mesh_crd::mesh_config::MeshConfig;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::{CAP, Generation, Index, QUIET, run};
use crate::metrics::Metrics;
use crate::watch::{Change, kinds};

fn virtual_service(version: &str, prefix: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": { "namespace": "default", "name": "reviews", "resourceVersion": version, "generation": 1 },
        "spec": {
            "hosts": ["reviews"],
            "http": [{ "match": [{ "uri": { "prefix": prefix } }], "route": [{ "destination": { "host": "reviews" } }] }],
        },
    })
}

fn key() -> ObjectKey {
    ObjectKey::new("VirtualService", "default", "reviews")
}

/// An index for which every kind has been listed, empty.
fn listed() -> Index {
    let kinds = kinds();
    let mut index = Index::new(&kinds, MeshConfig::default());
    for watched in &kinds {
        assert!(!index.is_due(), "{} is missing", watched.kind);
        index.apply(Change::Listed(watched.kind, Vec::new()));
    }
    assert!(index.is_due());
    index
}

fn publish(index: &mut Index) -> Generation {
    index.publish(Instant::now())
}

#[test]
fn status_writes_make_no_new_generation() {
    let mut index = listed();
    index.apply(Change::Applied("VirtualService", virtual_service("1", "/a")));
    let first = publish(&mut index);
    let mut written = virtual_service("2", "/a");
    written["status"] = json!({ "validationMessages": [] });
    index.apply(Change::Applied("VirtualService", written));
    assert!(index.is_due(), "its new version has to be known");
    let second = publish(&mut index);
    assert_eq!(second.number, first.number);
    assert_eq!(second.objects[&key()].included_in("2"), Some(first.number));
    index.apply(Change::Applied("VirtualService", virtual_service("3", "/b")));
    let third = publish(&mut index);
    assert_eq!(third.number, first.number + 1);
    assert_eq!(third.objects[&key()].included_in("3"), Some(third.number));
    assert_eq!(third.objects[&key()].included_in("2"), Some(first.number));
    assert_eq!(third.objects[&key()].included_in("4"), None);
}

#[test]
fn a_bad_version_leaves_the_last_good_one_in_force() {
    let mut index = listed();
    index.apply(Change::Applied("VirtualService", virtual_service("1", "/a")));
    let first = publish(&mut index);
    let mut bad = virtual_service("2", "/b");
    bad["spec"]["http"][0]["nonsense"] = json!(true);
    index.apply(Change::Applied("VirtualService", bad));
    let second = publish(&mut index);
    assert_eq!(second.number, first.number);
    assert_eq!(
        second.world.get(&key()).unwrap(),
        first.world.get(&key()).unwrap()
    );
    assert_eq!(
        second.objects[&key()].included_in("2"),
        Some(u64::MAX),
        "it is never live"
    );
    assert!(!second.world.parse_problems()[&key()].is_empty());
    // A malformed object stops nothing.
    index.apply(Change::Applied("VirtualService", json!({ "kind": 7 })));
    index.apply(Change::Applied("VirtualService", json!([])));
    index.apply(Change::Applied("VirtualService", virtual_service("3", "/c")));
    assert_eq!(publish(&mut index).number, first.number + 1);
}

#[test]
fn a_list_removes_what_it_does_not_name() {
    let mut index = listed();
    index.apply(Change::Applied("VirtualService", virtual_service("1", "/a")));
    publish(&mut index);
    index.apply(Change::Listed("VirtualService", vec![virtual_service("1", "/a")]));
    assert!(publish(&mut index).world.get(&key()).is_some());
    index.apply(Change::Listed("DestinationRule", Vec::new()));
    assert!(publish(&mut index).world.get(&key()).is_some());
    index.apply(Change::Listed("VirtualService", Vec::new()));
    let last = publish(&mut index);
    assert!(last.world.get(&key()).is_none());
    assert!(last.objects.is_empty());
}

#[test]
fn replays_in_any_order_end_in_the_same_world() {
    let mut index = listed();
    for _ in 0..3 {
        index.apply(Change::Deleted(
            "VirtualService",
            "default".into(),
            "reviews".into(),
        ));
        index.apply(Change::Applied("VirtualService", virtual_service("7", "/a")));
        index.apply(Change::Applied("VirtualService", virtual_service("7", "/a")));
    }
    let first = publish(&mut index);
    index.apply(Change::Listed("VirtualService", vec![virtual_service("7", "/a")]));
    assert_eq!(publish(&mut index).number, first.number);
}

#[test]
fn mesh_settings_take_effect_and_bad_ones_do_not() {
    let mut index = listed();
    let first = publish(&mut index);
    let set = |index: &mut Index, text: &str| index.apply(Change::Settings(Some(text.to_owned())));
    set(&mut index, "accessLogFile: \"\"\ntrustDomain: elsewhere\n");
    let second = publish(&mut index);
    assert_eq!(second.number, first.number + 1);
    assert_eq!(second.world.mesh().access_log_file, "");
    assert_eq!(
        second.world.mesh().trust_domain,
        "cluster.local",
        "the CA's, not the text's"
    );
    set(&mut index, "accessLogFile: [nonsense");
    assert!(!index.is_due());
    index.apply(Change::Settings(None));
    assert_eq!(publish(&mut index).world.mesh(), first.world.mesh());
}

#[tokio::test(start_paused = true)]
async fn a_burst_is_one_generation_but_never_waits_for_ever() {
    let (sender, changes) = mpsc::channel(64);
    let (worlds, mut seen) = watch::channel(None::<Arc<Generation>>);
    let metrics = Arc::new(Metrics::new().unwrap());
    tokio::spawn(run(listed(), changes, worlds, metrics));
    let edit = |n: u32| {
        Change::Applied(
            "VirtualService",
            virtual_service(&n.to_string(), &format!("/{n}")),
        )
    };
    let began = Instant::now();
    for n in 0..5 {
        sender.send(edit(n)).await.unwrap();
        tokio::time::sleep(QUIET / 2).await;
    }
    seen.changed().await.unwrap();
    assert_eq!(seen.borrow_and_update().as_ref().unwrap().number, 1);
    assert!(began.elapsed() < QUIET * 4, "{:?}", began.elapsed());
    // Edits that never pause are published at the cap.
    let began = Instant::now();
    let mut n = 5;
    while !seen.has_changed().unwrap() {
        sender.send(edit(n)).await.unwrap();
        tokio::time::sleep(QUIET / 2).await;
        n += 1;
        assert!(began.elapsed() < CAP * 2);
    }
    assert!(began.elapsed() + Duration::from_millis(50) >= CAP);
}
