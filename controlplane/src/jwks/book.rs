//! Which keys there are, how old, and when they are fetched next; pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mesh_translate::{KeySet, KeySource};
use serde_json::{Value, json};
use tokio::time::Instant;

/// Time between fetches, as in Istio.
const REFRESH: Duration = Duration::from_secs(20 * 60);
/// Pauses after failures, doubled from the first to the last.
const PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(120)];
/// Keys that could not be renewed for so long hold no more, seconds.
const AGE_LIMIT: u64 = 6 * 3600;
/// Sources that are fetched at most; the rest have no keys.
const SOURCES_MAX: usize = 1000;

/// Keys of every wanted source.
#[derive(Debug, Default)]
pub(super) struct Book(BTreeMap<KeySource, Entry>);

#[derive(Debug)]
struct Entry {
    /// Keys and when they came, seconds since 1970.
    keys: Option<(String, u64)>,
    problem: Option<String>,
    failures: u32,
    /// `None` while they are being fetched.
    next: Option<Instant>,
    /// Some object names it.
    wanted: bool,
}

impl Book {
    /// Takes what was kept by a process before this one.
    pub(super) fn load(&mut self, kept: Value, now: u64) {
        let Value::Array(list) = kept else { return };
        for entry in list {
            let text = |name: &str| entry.get(name).and_then(Value::as_str).unwrap_or_default();
            let at = entry.get("at").and_then(Value::as_u64).unwrap_or_default();
            let (Some(source), keys) = (KeySource::parse(text("source")), text("keys")) else {
                continue;
            };
            // A time to come is no time.
            if super::keys::check(keys.as_bytes()).is_ok() && at <= now && now - at < AGE_LIMIT {
                let keys = Some((keys.to_owned(), at));
                self.0.insert(source, Entry { keys, ..Entry::new() });
            }
        }
    }

    /// What a process after this one may load.
    pub(super) fn kept(&self) -> Value {
        let entries = self.0.iter().filter_map(|(source, entry)| {
            let (keys, at) = entry.keys.as_ref()?;
            Some(json!({"source": source.to_string(), "keys": keys, "at": at}))
        });
        entries.collect()
    }

    /// Takes the wanted sources; answers whether the present keys may have changed.
    pub(super) fn want(&mut self, wanted: BTreeSet<KeySource>, now: Instant) -> bool {
        let before = self.0.values().filter(|entry| entry.wanted).count();
        let mut new = false;
        self.0.retain(|source, _| wanted.contains(source));
        let gone = before != self.0.values().filter(|entry| entry.wanted).count();
        for source in wanted.into_iter().take(SOURCES_MAX) {
            let entry = self.0.entry(source).or_insert_with(Entry::new);
            if !entry.wanted {
                entry.wanted = true;
                entry.next = Some(now);
                new = true;
            }
        }
        new || gone
    }

    /// Sources that are to be fetched now, at most so many; each is answered by [`Book::fetched`].
    pub(super) fn due(&mut self, now: Instant, most: usize) -> Vec<KeySource> {
        let due = self
            .0
            .iter_mut()
            .filter(|(_, entry)| entry.wanted && entry.next.is_some_and(|next| next <= now));
        due.take(most)
            .map(|(source, entry)| {
                entry.next = None;
                source.clone()
            })
            .collect()
    }

    /// When something is to be fetched next.
    pub(super) fn next(&self) -> Option<Instant> {
        let wanted = self.0.values().filter(|entry| entry.wanted);
        wanted.filter_map(|entry| entry.next).min()
    }

    /// Takes the outcome of a fetch; `jitter` spreads the next ones.
    pub(super) fn fetched(
        &mut self,
        source: &KeySource,
        fetched: Result<String, String>,
        now: Instant,
        wall: u64,
        jitter: f64,
    ) {
        // Nobody may want it any more.
        let Some(entry) = self.0.get_mut(source) else {
            return;
        };
        let pause = match fetched {
            Ok(keys) => {
                entry.keys = Some((keys, wall));
                entry.problem = None;
                entry.failures = 0;
                REFRESH
            }
            Err(reason) => {
                entry.problem = Some(reason);
                entry.failures = entry.failures.saturating_add(1);
                let factor = 1_u32 << (entry.failures - 1).min(6);
                (PAUSES[0] * factor).min(PAUSES[1])
            }
        };
        entry.next = Some(now + pause.mul_f64(jitter));
        self.expire(wall);
    }

    /// Drops keys over the age limit; answers whether there were any.
    pub(super) fn expire(&mut self, wall: u64) -> bool {
        let mut any = false;
        for entry in self.0.values_mut() {
            if entry
                .keys
                .as_ref()
                .is_some_and(|(_, at)| wall.saturating_sub(*at) >= AGE_LIMIT)
            {
                entry.keys = None;
                any = true;
            }
        }
        any
    }

    /// What holds now.
    pub(super) fn present(&self) -> BTreeMap<KeySource, KeySet> {
        let wanted = self.0.iter().filter(|(_, entry)| entry.wanted);
        wanted
            .map(|(source, entry)| {
                let set = KeySet {
                    keys: entry.keys.as_ref().map(|(keys, _)| keys.clone()),
                    problem: entry.problem.clone(),
                };
                (source.clone(), set)
            })
            .collect()
    }
}

impl Entry {
    fn new() -> Self {
        Self {
            keys: None,
            problem: None,
            failures: 0,
            next: None,
            wanted: false,
        }
    }
}
