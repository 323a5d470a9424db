//! The nouns of the mesh and every pure decision on them.
//!
//! No I/O, no clock, no source of randomness, no async runtime and no serde: time and chance come in as
//! parameters, so that proxy, control plane, analysis and what-if execute the same functions.
//! Modules stand in the order in which a request meets them.

pub mod address;
pub mod identity;
pub mod workload;

pub mod expression;
pub mod matching;
pub mod names;
pub mod path;
pub mod record;
pub mod request;
pub mod why;

pub mod authorization;
pub mod listener;
pub mod route;
pub mod token;

pub mod balance;
pub mod cluster;
pub mod retry;

pub mod edge;
pub mod explain;
pub mod flags;
pub mod histogram;

pub mod secret;
pub mod snapshot;

mod describe;
