//! The REST types that the browser sees: method, path, request, response, error.
//!
//! serde only; builds for wasm32. The control plane answers [`graph`], [`config`], [`mesh`], [`requests`],
//! [`traces`], [`history`], [`metrics`], [`inventory`] and [`explain`] on its
//! query port; the console passes them through unchanged and adds [`session`], [`layout`] and the object routes of
//! [`config`].

pub mod config;
pub mod error;
pub mod explain;
pub mod graph;
pub mod history;
pub mod idle;
pub mod inventory;
pub mod layout;
pub mod mesh;
pub mod metrics;
pub mod requests;
pub mod session;
pub mod traces;
