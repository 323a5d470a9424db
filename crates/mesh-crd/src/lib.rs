//! Kubernetes-shaped objects: parse, defaults, validation.
//!
//! [`parse_yaml`] and [`parse_value`] turn text or JSON into a typed [`Object`] and name every problem on the
//! way: field, line and column (where the input was text), and what to do. An object with an error is never
//! half taken: [`Parsed::object`] is then `None`, and whoever holds the last good version keeps it.
//!
//! [`kinds`] and [`schema`] describe the Istio kinds to an API server. References between objects are judged
//! by `mesh-translate`, which sees all of them.

pub mod kinds;
pub mod schema;

pub mod core;
pub mod networking;
pub mod object;
pub mod security;
pub mod telemetry;

pub mod mesh_config;

pub mod duration;
mod grpc;
pub mod host;
pub mod problem;

mod parse;
mod validate;
mod yaml;

pub use grpc::grpc_status;
pub use object::{Meta, Object, Resource};
pub use parse::{Parsed, parse_value, parse_yaml};
pub use problem::{ObjectKey, Problem, Severity};

/// Line and column (from 1) of a field path in a text, or of the nearest part around it; `None`s if the text
/// cannot be read. For problems that were found outside this crate.
#[must_use]
pub fn locate(text: &str, field: &str) -> (Option<u32>, Option<u32>) {
    yaml::read(text).map_or((None, None), |document| {
        let (line, column) = document.locate(field);
        (Some(line), Some(column))
    })
}
