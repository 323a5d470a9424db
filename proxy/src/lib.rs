//! The data plane: sidecar and gateway.
//!
//! Modules stand in reading order: the object that runs, the rooms a request walks through, what is counted.

mod compile;
mod resolve;
pub mod runtime;
mod worker;

mod accept;
mod detect;
pub mod secure;

mod call;
mod http;
mod walk;

mod route;
mod shape;
mod trace;

mod guard;
mod hash;
mod mirror;
mod outlier;
mod pick;
mod refusal;

mod dial;
mod relay;
mod upstream;

pub mod codec;
pub mod metadata;
mod wire;

mod access_log;
pub mod record;
pub mod stats;

pub mod admin;
pub mod config;
pub mod connect;
pub mod discovery;
pub mod dns;
mod explain;
pub mod exposition;
pub mod handover;
pub mod identity;
pub mod init;
pub mod memory;
pub mod overload;
pub mod report;
pub mod run;
pub mod saved;
pub mod serve;
pub mod status;

pub use walk::token::token_passes;
