//! The data plane on real sockets: a runtime, recording upstreams and raw clients.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    missing_docs,
    unreachable_pub,
    reason = "tests"
)]

mod churn;
mod corpus;
mod explain;
mod external;
mod floods;
mod forwarding;
mod h2spec;
mod harms;
mod harness;
mod http2;
mod lifecycle;
mod mesh;
mod policies;
mod records;
mod slow;
