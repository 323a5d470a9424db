//! What the server has seen: calls per key, how many ran at once, how often a flaky path was asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// One call that carried a key.
#[derive(Clone, Serialize)]
pub(crate) struct Hit {
    pub(crate) path: String,
    pub(crate) host: String,
    pub(crate) method: String,
    pub(crate) version: String,
    pub(crate) service: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    /// The caller's socket address: one value per connection.
    pub(crate) remote: String,
    /// Milliseconds since 1970.
    pub(crate) at: u64,
}

/// Answer of `/seen`.
#[derive(Serialize)]
pub(crate) struct Seen {
    count: usize,
    hits: Vec<Hit>,
    max_inflight: usize,
}

/// Shared by all ports of one server.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<Books>>);

#[derive(Default)]
struct Books {
    hits: HashMap<String, Vec<Hit>>,
    running: HashMap<String, usize>,
    most_running: HashMap<String, usize>,
    flaky: HashMap<String, usize>,
}

/// A call in progress; counts down when it ends, also when the client goes away.
pub(crate) struct Running {
    ledger: Ledger,
    key: String,
}

impl Ledger {
    pub(crate) fn enter(&self, key: &str, hit: Hit) -> Running {
        let mut books = self.books();
        books.hits.entry(key.to_owned()).or_default().push(hit);
        let running = books.running.entry(key.to_owned()).or_default();
        *running += 1;
        let now = *running;
        let most = books.most_running.entry(key.to_owned()).or_default();
        *most = now.max(*most);
        Running {
            ledger: self.clone(),
            key: key.to_owned(),
        }
    }

    pub(crate) fn seen(&self, key: &str) -> Seen {
        let books = self.books();
        let hits = books.hits.get(key).cloned().unwrap_or_default();
        Seen {
            count: hits.len(),
            hits,
            max_inflight: books.most_running.get(key).copied().unwrap_or_default(),
        }
    }

    /// How often the flaky path was asked with this key, this time included.
    pub(crate) fn ask_flaky(&self, key: &str) -> usize {
        let mut books = self.books();
        let asked = books.flaky.entry(key.to_owned()).or_default();
        *asked += 1;
        *asked
    }

    pub(crate) fn flaky(&self, key: &str) -> usize {
        self.books().flaky.get(key).copied().unwrap_or_default()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(running) = self.ledger.books().running.get_mut(&self.key) {
            *running = running.saturating_sub(1);
        }
    }
}
