//! Worlds in YAML to snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod basics;
mod recorded;
mod support;
