//! Tests only: processes, addresses, conditions with a deadline, metrics.
//!
//! A test never sleeps for a guessed time: it waits for a condition with [`eventually`]. It never takes a fixed
//! port: it takes a free block of loopback addresses with [`AddressBlock`], or port 0. What it starts with
//! [`Process`] ends with it.

mod address;
mod binary;
mod condition;
mod fetch;
mod postgres;
mod process;
mod prometheus;

pub use address::{AddressBlock, free_port};
pub use binary::binary;
pub use condition::eventually;
pub use fetch::{Answer, get, get_json, get_text, request};
pub use postgres::Postgres;
pub use process::Process;
pub use prometheus::{Sample, Samples};
