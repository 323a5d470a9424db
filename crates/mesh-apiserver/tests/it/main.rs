//! The API server judged: by a table of requests that the real one passes too, by the real kubectl, and by
//! what its data folder must bear.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod audit;
mod client;
mod conformance;
mod folder;
mod kubectl;
mod kubectl_apply;
mod kubectl_life;
mod load;
mod real;
