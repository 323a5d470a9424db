//! Entries of the fuzz targets. The same functions run as quick property tests: `proxy/tests/fuzz`,
//! `crates/mesh-crd/tests/fuzz.rs`.

pub mod mutate;
pub mod objects;
pub mod wire;
