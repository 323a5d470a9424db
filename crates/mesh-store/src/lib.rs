//! History of what proxies reported: exact, idempotent, bounded in bytes.
//!
//! A [`History`] commits a batch together with its (proxy, epoch, sequence) before it is acknowledged
//! (journal), and folds it later into one compressed column block per (resolution, window, shard) and into
//! hourly rows. Reading sees both, so folding never changes an answer.
//! [`conformance`] is the suite that every implementation passes.

pub mod history;
pub mod progress;
pub mod records;
pub mod store;

mod pending;

pub mod block;
pub mod cover;

pub mod conformance;
pub mod sqlite;

pub use history::{Appended, Error, Gap, History, Limits, Resolution, Usage};
pub use records::{Records, Revisions};
pub use sqlite::SqliteHistory;
pub use store::{Database, Store, StoreOptions, open};
