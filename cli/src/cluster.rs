//! What a cluster's own controllers do, for a mesh of plain processes: it registers workloads as pods, keeps
//! their readiness, computes endpoints, and hands out service-account tokens.

pub(crate) mod endpoints;
pub(crate) mod expiry;
pub(crate) mod lease;
pub(crate) mod numbers;
pub(crate) mod objects;
pub(crate) mod readiness;
pub(crate) mod registration;
pub(crate) mod tokens;
pub(crate) mod workload;
pub(crate) mod world;
