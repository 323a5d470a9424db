//! The console in front of a made-up control plane and API server: who gets in, what passes, what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod edits;
mod entry;
mod world;
