//! The control plane against the embedded API server, over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

mod support;

mod embedded;
mod explain;
mod inventory;
mod records;
mod revisions;
