//! The data plane: sidecar and gateway.
//!
//! Modules stand in reading order: the object that runs, the rooms a request walks through, what is counted.

pub mod runtime;

pub mod secure;

pub mod stats;
