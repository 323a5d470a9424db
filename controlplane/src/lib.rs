//! Watches, pushes configuration, signs certificates, gathers telemetry, answers queries.
//!
//! A change walks `watch` -> `index` (one owner) -> `mesh_translate` -> `publish` -> `session` -> `discovery`.
//! A fact walks `gather` -> the history and `live` -> `fold`, `traffic`, `charts` -> `query`.
//! A kept request or a span walks `records` -> the store and `export`; a seen object walks `watch` -> `revisions`.
//! `publish`, `session`, `fold` and the index's state are pure; the rooms around them do the I/O.

pub mod options;
pub mod run;

mod listen;

mod index;
mod secrets;
mod watch;

mod jwks;

mod publish;
mod session;

mod discovery;
mod proxies;

mod auth;
mod ca;
mod status;

mod fold;
mod gather;
mod live;

mod export;
mod records;
mod revisions;

mod charts;
mod health;
mod inventory;
mod traffic;

mod metrics;
mod query;
mod scrape;

mod clock;
