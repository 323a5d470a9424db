//! Attributes of kept requests: the access log's keys ([`crate::access_log`]) and the labels of their series
//! ([`crate::labels`]) wherever these have a name, and the following.

/// Why it was kept: `error`, `slow`, `sample`.
pub const REASON: &str = "sightline.reason";
/// First byte to last byte, nanoseconds.
pub const DURATION_NS: &str = "sightline.duration_ns";
/// Request headers that may be recorded: a list of `name: value`.
pub const HEADERS: &str = "http.request.headers";
