//! Cases of [`Revisions`].

use super::NOW;
use crate::history::{History, Limits};
use crate::records::{Change, Records, Revision, RevisionQuery, Revisions};

pub(super) fn revision(number: u64) -> Revision {
    Revision {
        id: 0,
        at_ms: (NOW + number) * 1000,
        kind: "VirtualService".to_owned(),
        namespace: "default".to_owned(),
        name: format!("reviews-{}", number % 2),
        uid: format!("uid-{}", number % 2),
        resource_version: number.to_string(),
        generation: number.cast_signed(),
        change: if number <= 2 {
            Change::Created
        } else {
            Change::Updated
        },
        user: "anna".to_owned(),
        manager: "kubectl".to_owned(),
        yaml: format!("spec:\n  note: \"{number} \u{1f980}\"\n"),
        gap: number == 3,
    }
}

pub(super) async fn run<S: History + Records + Revisions>(open: &impl AsyncFn(Limits) -> S) {
    let store = open(Limits::default()).await;
    for number in 1..=20 {
        assert!(store.record(&revision(number)).await.unwrap(), "{number}");
        assert!(!store.record(&revision(number)).await.unwrap(), "{number} again");
    }
    // The same version may be seen to go.
    let gone = Revision {
        change: Change::Deleted,
        ..revision(20)
    };
    assert!(store.record(&gone).await.unwrap());
    assert!(!store.record(&gone).await.unwrap());
    let wanted: Vec<Revision> = [gone.clone()]
        .into_iter()
        .chain((1..=20).rev().map(revision))
        .collect();
    let found = store.revisions(&RevisionQuery::default(), 100).await.unwrap();
    assert!(found.is_sorted_by(|a, b| a.id > b.id));
    let plain = |found: Vec<Revision>| -> Vec<Revision> {
        found
            .into_iter()
            .map(|revision| Revision { id: 0, ..revision })
            .collect()
    };
    let before = found.get(4).map(|revision| revision.id).unwrap();
    assert_eq!(plain(found), wanted);
    let one = RevisionQuery {
        kind: Some("VirtualService".to_owned()),
        namespace: Some("default".to_owned()),
        name: Some("reviews-1".to_owned()),
        ..RevisionQuery::default()
    };
    assert_eq!(store.revisions(&one, 100).await.unwrap().len(), 10);
    let cases = [
        (
            RevisionQuery {
                before,
                ..Default::default()
            },
            16,
        ),
        (
            RevisionQuery {
                namespace: Some(String::new()),
                ..Default::default()
            },
            0,
        ),
        (
            RevisionQuery {
                kind: Some("Gateway".to_owned()),
                ..Default::default()
            },
            0,
        ),
        (
            RevisionQuery {
                from_ms: (NOW + 5) * 1000,
                to_ms: (NOW + 8) * 1000,
                ..Default::default()
            },
            3,
        ),
    ];
    for (query, wanted) in cases {
        let found = store.revisions(&query, 100).await.unwrap();
        assert_eq!(found.len(), wanted, "{query:?}");
    }
    assert_eq!(
        store.revisions(&RevisionQuery::default(), 3).await.unwrap().len(),
        3
    );
    // After their time, the newest state of what is still there stays.
    store.fold(NOW + 200 * 24 * 3600).await.unwrap();
    let left = store.revisions(&RevisionQuery::default(), 100).await.unwrap();
    assert_eq!(plain(left), vec![revision(19)]);
}
