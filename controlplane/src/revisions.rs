//! Every seen state of every Istio object into the history of configuration.
//!
//! The watches tell what they see; nothing here slows configuration down: when the store is away, the queue fills,
//! what does not fit is missed, and the next state of every object then says that there may be a gap.

mod audit;
mod book;
mod yaml;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mesh_crd::ObjectKey;
use mesh_store::records::{Change, Revision, RevisionQuery, Revisions};
use serde_json::Value;
use tokio::sync::mpsc;

use self::audit::Audit;
use self::book::Book;
use crate::clock::unix_ms;
use crate::metrics::Metrics;

/// Events that may wait for the store.
const QUEUE: usize = 1024;
/// Revisions read at a time, and at most, when the last state of every object is looked up at start.
const PAGE: usize = 1000;
const MAX_READ: usize = 50_000;
/// Pause while the store cannot be used.
const RETRY: Duration = Duration::from_secs(1);

/// What a watch saw of an object.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seen {
    pub(crate) object: Value,
    /// The field manager that wrote it last.
    pub(crate) manager: String,
}

/// What a watch saw.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Event {
    /// All objects of a kind.
    Listed(&'static str, Vec<Seen>),
    /// A new or changed object.
    Applied(Seen),
    /// An object went; its last state.
    Deleted(Seen),
}

/// Where watches tell what they see. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Witness {
    events: mpsc::Sender<Event>,
    missed: Arc<AtomicBool>,
}

impl Witness {
    /// Tells it; never waits.
    pub(crate) fn tell(&self, event: Event) {
        if self.events.try_send(event).is_err() {
            self.missed.store(true, Ordering::Relaxed);
        }
    }
}

/// Which recorded state of an object is its present one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Present(Arc<Mutex<BTreeMap<ObjectKey, String>>>);

impl Present {
    pub(crate) fn is(&self, key: &ObjectKey, resource_version: &str) -> bool {
        let present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        present
            .get(key)
            .is_some_and(|version| version == resource_version)
    }

    fn set(&self, key: ObjectKey, resource_version: Option<&str>) {
        let mut present = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match resource_version {
            Some(version) => present.insert(key, version.to_owned()),
            None => present.remove(&key),
        };
    }
}

/// Records what the watches tell.
pub(crate) struct Recording {
    revisions: Arc<dyn Revisions>,
    audit: Audit,
    present: Present,
    metrics: Arc<Metrics>,
    events: mpsc::Receiver<Event>,
    missed: Arc<AtomicBool>,
}

impl Recording {
    pub(crate) fn new(
        client: kube::Client,
        revisions: Arc<dyn Revisions>,
        metrics: Arc<Metrics>,
    ) -> (Self, Witness, Present) {
        let (sender, events) = mpsc::channel(QUEUE);
        let missed = Arc::new(AtomicBool::new(false));
        let present = Present::default();
        let witness = Witness {
            events: sender,
            missed: Arc::clone(&missed),
        };
        let recording = Self {
            revisions,
            audit: Audit::new(client),
            present: present.clone(),
            metrics,
            events,
            missed,
        };
        (recording, witness, present)
    }

    /// Until the watches end.
    pub(crate) async fn run(mut self) {
        let mut book = self.load().await;
        while let Some(event) = self.events.recv().await {
            if self.missed.swap(false, Ordering::Relaxed) {
                book.doubt();
            }
            for revision in book.take(event, unix_ms()) {
                self.record(revision).await;
            }
        }
    }

    /// The last recorded state of every object.
    async fn load(&self) -> Book {
        let mut told = false;
        loop {
            match self.read().await {
                Ok(book) => return book,
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "the history of configuration cannot be read yet");
                        told = true;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn read(&self) -> Result<Book, mesh_store::Error> {
        let mut book = Book::default();
        let mut query = RevisionQuery::default();
        for _ in 0..MAX_READ / PAGE {
            let page = self.revisions.revisions(&query, PAGE).await?;
            for revision in &page {
                if let Some(key) = book.remember(revision) {
                    self.present.set(key, Some(&revision.resource_version));
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => query.before = last.id,
                _ => break,
            }
        }
        Ok(book)
    }

    async fn record(&self, mut revision: Revision) {
        if let Some(author) = self.audit.author(&revision).await {
            revision.user = author.user;
            if !author.manager.is_empty() {
                revision.manager = author.manager;
            }
        }
        // First, so that whoever finds it finds it present.
        let key = ObjectKey::new(&revision.kind, &revision.namespace, &revision.name);
        let version = (revision.change != Change::Deleted).then_some(revision.resource_version.as_str());
        self.present.set(key, version);
        let mut told = false;
        loop {
            match self.revisions.record(&revision).await {
                Ok(new) => {
                    if new {
                        self.metrics.revisions.inc();
                    }
                    break;
                }
                Err(mesh_store::Error::Damaged(error)) => {
                    tracing::error!(%error, "a configuration revision cannot be recorded");
                    break;
                }
                Err(error) => {
                    if !told {
                        tracing::warn!(%error, "configuration revisions wait for the store");
                        told = true;
                    }
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}
