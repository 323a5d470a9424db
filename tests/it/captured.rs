//! Recorded cases that need to know where a connection was going, played between pods with captured traffic. Every case of
//! `captured` must pass.
//!
//! As root, with iptables and iproute2. The same variables as for the cases among plain processes.

#[path = "observed.rs"]
mod observed;

fn main() {
    observed::main();
}
