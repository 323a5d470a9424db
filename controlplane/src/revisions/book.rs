//! The last recorded state of every object, and what an event adds to it (pure).

use std::collections::{BTreeMap, BTreeSet};

use mesh_crd::ObjectKey;
use mesh_store::records::{Change, Revision};
use serde_json::Value;

use super::yaml;
use super::{Event, Seen};

/// What is recorded.
#[derive(Debug, Default)]
pub(super) struct Book {
    objects: BTreeMap<ObjectKey, Last>,
    /// Objects whose next state may come after missed ones.
    doubtful: BTreeSet<ObjectKey>,
    /// Events were missed, so any object may have come unseen.
    doubt_new: bool,
}

#[derive(Debug, Clone, Default)]
struct Last {
    uid: String,
    resource_version: String,
    yaml: String,
    generation: i64,
    deleted: bool,
}

fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn key_of(object: &Value) -> ObjectKey {
    ObjectKey::new(
        text(object, "/kind"),
        text(object, "/metadata/namespace"),
        text(object, "/metadata/name"),
    )
}

impl Book {
    /// Takes a recorded revision, newest first; answers its object when it is there and this is its newest.
    pub(super) fn remember(&mut self, revision: &Revision) -> Option<ObjectKey> {
        let key = ObjectKey::new(&revision.kind, &revision.namespace, &revision.name);
        if self.objects.contains_key(&key) {
            return None;
        }
        let deleted = revision.change == Change::Deleted;
        let last = Last {
            uid: revision.uid.clone(),
            resource_version: revision.resource_version.clone(),
            yaml: revision.yaml.clone(),
            generation: revision.generation,
            deleted,
        };
        self.objects.insert(key.clone(), last);
        (!deleted).then_some(key)
    }

    /// Events were missed.
    pub(super) fn doubt(&mut self) {
        self.doubtful.extend(self.objects.keys().cloned());
        self.doubt_new = true;
    }

    /// The revisions that an event makes.
    pub(super) fn take(&mut self, event: Event, now_ms: u64) -> Vec<Revision> {
        match event {
            Event::Applied(seen) => self.put(&seen, now_ms, false).into_iter().collect(),
            Event::Deleted(seen) => {
                let key = key_of(&seen.object);
                let version = text(&seen.object, "/metadata/resourceVersion").to_owned();
                self.remove(&key, &version, &seen.manager, now_ms, false)
                    .into_iter()
                    .collect()
            }
            Event::Listed(kind, list) => {
                let listed: BTreeSet<ObjectKey> = list.iter().map(|seen| key_of(&seen.object)).collect();
                let gone: Vec<ObjectKey> = self
                    .objects
                    .iter()
                    .filter(|(key, last)| key.kind == kind && !last.deleted && !listed.contains(key))
                    .map(|(key, _)| key.clone())
                    .collect();
                let mut made: Vec<Revision> = gone
                    .iter()
                    .filter_map(|key| self.remove(key, "", "", now_ms, true))
                    .collect();
                made.extend(list.iter().filter_map(|seen| self.put(seen, now_ms, true)));
                made
            }
        }
    }

    /// A state of an object. What a list shows may have had states before that nobody saw.
    fn put(&mut self, seen: &Seen, now_ms: u64, listed: bool) -> Option<Revision> {
        let object = &seen.object;
        let key = key_of(object);
        let doubtful = self.doubtful.remove(&key);
        let generation = object
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or_default();
        let now = Last {
            uid: text(object, "/metadata/uid").to_owned(),
            resource_version: text(object, "/metadata/resourceVersion").to_owned(),
            yaml: yaml::of(object),
            generation,
            deleted: false,
        };
        let before = self.objects.insert(key.clone(), now.clone());
        let created = text(object, "/metadata/creationTimestamp");
        let mut at_ms = now_ms;
        let (change, gap) = match before {
            // Only its status changed. The recorded version stays the one that is known.
            Some(before) if !before.deleted && before.uid == now.uid && before.yaml == now.yaml => {
                self.objects.insert(key, before);
                return None;
            }
            Some(before) if !before.deleted && before.uid == now.uid => {
                let one_step = generation == before.generation + 1;
                (Change::Updated, (listed || doubtful) && !one_step)
            }
            before => {
                if listed && generation <= 1 {
                    at_ms = parse_ms(created).unwrap_or(now_ms).min(now_ms);
                }
                // Another object of this name went before.
                let replaced = before.is_some_and(|b| !b.deleted);
                (
                    Change::Created,
                    replaced || ((listed || self.doubt_new) && generation > 1),
                )
            }
        };
        Some(Revision {
            id: 0,
            at_ms,
            kind: key.kind,
            namespace: key.namespace,
            name: key.name,
            uid: now.uid,
            resource_version: now.resource_version,
            generation,
            change,
            user: String::new(),
            manager: seen.manager.clone(),
            yaml: now.yaml,
            gap,
        })
    }

    fn remove(
        &mut self,
        key: &ObjectKey,
        version: &str,
        manager: &str,
        now_ms: u64,
        listed: bool,
    ) -> Option<Revision> {
        let doubtful = self.doubtful.remove(key);
        let last = self.objects.get_mut(key).filter(|last| !last.deleted)?;
        last.deleted = true;
        let version = if version.is_empty() {
            &last.resource_version
        } else {
            version
        };
        Some(Revision {
            id: 0,
            at_ms: now_ms,
            kind: key.kind.clone(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            uid: last.uid.clone(),
            resource_version: version.to_owned(),
            generation: last.generation,
            change: Change::Deleted,
            user: String::new(),
            manager: manager.to_owned(),
            yaml: last.yaml.clone(),
            gap: listed || doubtful,
        })
    }
}

fn parse_ms(rfc3339: &str) -> Option<u64> {
    let at: jiff::Timestamp = rfc3339.parse().ok()?;
    u64::try_from(at.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: u64 = 1_700_002_800_000;

    fn state(name: &str, uid: &str, version: u64, generation: i64, host: &str) -> Seen {
        Seen {
            object: json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": {
                    "name": name, "namespace": "default", "uid": uid, "generation": generation,
                    "resourceVersion": version.to_string(), "creationTimestamp": "2023-11-14T22:00:00Z",
                },
                "spec": { "hosts": [host] },
                "status": { "version": version },
            }),
            manager: "kubectl".into(),
        }
    }

    #[track_caller]
    fn check(book: &mut Book, event: Event, wanted: &[(&str, Change, &str, bool)]) -> Vec<Revision> {
        let made = book.take(event, NOW);
        let shape: Vec<_> = made
            .iter()
            .map(|r| (r.name.as_str(), r.change, r.resource_version.as_str(), r.gap))
            .collect();
        assert_eq!(shape, wanted);
        made
    }

    const KIND: &str = "VirtualService";

    #[test]
    fn what_changed_is_a_revision() {
        let mut book = Book::default();
        let listed = Event::Listed(KIND, vec![state("a", "1", 5, 1, "x"), state("b", "2", 6, 3, "x")]);
        let made = check(
            &mut book,
            listed.clone(),
            &[
                ("a", Change::Created, "5", false),
                ("b", Change::Created, "6", true),
            ],
        );
        // An object as it was created is as old as it says.
        assert_eq!((made[0].at_ms, made[1].at_ms), (1_699_999_200_000, NOW));
        check(&mut book, listed, &[]);
        // Only status.
        check(&mut book, Event::Applied(state("a", "1", 7, 1, "x")), &[]);
        check(
            &mut book,
            Event::Applied(state("a", "1", 8, 2, "y")),
            &[("a", Change::Updated, "8", false)],
        );
        let made = check(
            &mut book,
            Event::Deleted(state("a", "1", 9, 2, "y")),
            &[("a", Change::Deleted, "9", false)],
        );
        assert!(made[0].yaml.contains("- \"y\""), "{}", made[0].yaml);
        check(&mut book, Event::Deleted(state("a", "1", 9, 2, "y")), &[]);
        check(
            &mut book,
            Event::Applied(state("a", "3", 10, 1, "y")),
            &[("a", Change::Created, "10", false)],
        );
    }

    #[test]
    fn what_happened_unseen_is_a_gap() {
        let recorded = |book: &mut Book, name: &str, version: u64, generation: i64| {
            let made = Book::default().take(Event::Applied(state(name, name, version, generation, "x")), NOW);
            assert!(book.remember(&made[0]).is_some());
            assert!(book.remember(&made[0]).is_none(), "older ones do not count");
        };
        let mut book = Book::default();
        recorded(&mut book, "same", 5, 1);
        recorded(&mut book, "next", 6, 1);
        recorded(&mut book, "far", 7, 1);
        recorded(&mut book, "gone", 8, 1);
        recorded(&mut book, "replaced", 9, 1);
        let list = vec![
            state("same", "same", 5, 1, "x"),
            state("next", "next", 16, 2, "y"),
            state("far", "far", 17, 4, "y"),
            state("replaced", "other", 18, 1, "x"),
            state("new", "new", 19, 1, "x"),
        ];
        check(
            &mut book,
            Event::Listed(KIND, list),
            &[
                ("gone", Change::Deleted, "8", true),
                ("next", Change::Updated, "16", false),
                ("far", Change::Updated, "17", true),
                ("replaced", Change::Created, "18", true),
                ("new", Change::Created, "19", false),
            ],
        );
    }

    #[test]
    fn missed_events_cast_doubt_on_every_object_once() {
        let mut book = Book::default();
        let first = Event::Applied(state("a", "1", 5, 1, "x"));
        check(&mut book, first, &[("a", Change::Created, "5", false)]);
        book.doubt();
        check(
            &mut book,
            Event::Applied(state("a", "1", 9, 5, "y")),
            &[("a", Change::Updated, "9", true)],
        );
        check(
            &mut book,
            Event::Applied(state("a", "1", 10, 6, "z")),
            &[("a", Change::Updated, "10", false)],
        );
        check(
            &mut book,
            Event::Applied(state("b", "2", 11, 2, "z")),
            &[("b", Change::Created, "11", true)],
        );
    }
}
