//! The rules by which a pod's traffic is captured, with the chains and the order of Istio's: what the application sends
//! goes to the sidecar's outbound port, what comes for it to the inbound port, and name lookups to the DNS proxy.
//!
//! - [`Settings`] says what is captured; [`settings`] reads its parts from text.
//! - [`tables`] makes the rules of one address family; pure.
//! - [`plan`] compares them with what is there and says which programs to run with which input; pure.
//! - [`run`] runs a plan.

mod plan;
mod rules;
mod run;
pub mod settings;

pub use plan::{Present, Step, plan, removal};
pub use rules::{Family, Rule, Table, tables};
pub use run::{Failure, present, run, wants_ipv6};
pub use settings::{Dns, Mode, Ports, Ranges, Settings};
