//! The REST types that the browser sees: method, path, request, response, error.
//!
//! serde only; builds for wasm32. The control plane answers [`graph`], [`config`] and [`mesh`] on its query
//! port; the console passes them through unchanged and adds [`session`], [`layout`] and the object routes of
//! [`config`].

pub mod config;
pub mod error;
pub mod graph;
pub mod layout;
pub mod mesh;
pub mod session;
