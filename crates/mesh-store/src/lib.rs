//! What the mesh remembers: exact, idempotent, bounded in bytes.
//!
//! [`History`] commits a batch together with its (proxy, epoch, sequence) before it is acknowledged (journal), and
//! folds it later into one compressed column block per (resolution, window, shard) and into hourly rows. Reading sees
//! both, so folding never changes an answer. [`Records`] holds kept requests, sealed into column segments by the
//! thousand, and the spans of their traces. [`Revisions`] holds every seen state of the configuration.
//! [`open`] gives all three, on SQLite or on Postgres; [`conformance`] is the suite that both pass.

pub mod history;
pub mod progress;
pub mod records;
pub mod store;

pub mod block;
pub mod cover;
pub mod sums;

pub mod conformance;

mod engine;
mod link;
mod place;

pub use engine::SqlStore;
pub use history::{Appended, Error, Gap, History, Limits, Resolution, Usage};
pub use records::{Records, Revisions};
pub use store::{Database, Store, StoreOptions, open};
