//! Worlds in YAML to snapshots.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod access;
mod analysis;
mod basics;
mod locality;
mod order;
mod recorded;
mod semantics;
mod support;
mod tcp;
mod telemetry;
mod wire;
