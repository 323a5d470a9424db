//! Words of the overview.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub golden: &'static str,
    pub golden_hint: &'static str,
    pub rate: &'static str,
    pub errors: &'static str,
    pub latency: &'static str,
    pub requests_total: &'static str,
    pub mtls_share: &'static str,
    pub offenders: &'static str,
    pub no_offenders: &'static str,
    pub no_offenders_hint: &'static str,
    pub reason_errors: &'static str,
    pub reason_latency: &'static str,
    pub reason_new: &'static str,
    pub problems: &'static str,
    pub no_problems: &'static str,
    pub changes: &'static str,
    pub no_changes: &'static str,
    pub no_changes_hint: &'static str,
    pub certificates: &'static str,
    pub see_graph: &'static str,
    pub see_requests: &'static str,
    pub p95: &'static str,
    pub traffic: &'static str,
    pub unknown_expiry: &'static str,
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::overview::WORDS, &zh::overview::WORDS)
}
