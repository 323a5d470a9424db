//! The console's backend: sign-in, static files, edits with the user's identity, queries.
//!
//! A request meets, in this order: [`server`] (host, request id, headers) → [`routes`] (the table) → [`gate`] (from
//! where, who, may they) → what the table says: [`assets`], [`session`], [`controlplane`] (queries), [`layout`],
//! [`objects`] (edits, through [`cluster`]).

pub mod answer;
pub mod assets;
pub mod cluster;
pub mod config;
pub mod controlplane;
pub mod gate;
pub mod layout;
pub mod listen;
pub mod objects;
pub mod openapi;
pub mod routes;
pub mod server;
pub mod session;
pub mod state;
pub mod yaml;
