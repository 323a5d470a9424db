//! Whole-mesh stories: the demo as users run it, with addresses and a data folder of its own.
//!
//! `cargo build` first (`cargo xtask test` does). `SIGHTLINE_STORY_SECONDS` shortens the load while developing.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod collectors;
mod counts;
mod demo;
mod faults;
mod inspect;
mod join;
mod lifecycle;
mod process;
mod prometheus;
mod restart;
mod truth;
