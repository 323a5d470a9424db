use crate::text::overview::Words;

/// English.
pub const WORDS: Words = Words {
    golden: "Golden signals",
    golden_hint: "every request once, as it entered the mesh",
    rate: "Requests",
    errors: "Errors",
    latency: "Duration",
    requests_total: "Requests in this time",
    mtls_share: "Over mutual TLS",
    offenders: "Needs attention",
    no_offenders: "Nothing stands out",
    no_offenders_hint: "No edge has errors above the threshold or an unusual duration.",
    reason_errors: "Errors",
    reason_latency: "Slow",
    reason_new: "New errors since the last change",
    problems: "Configuration problems",
    no_problems: "The configuration has no problems",
    changes: "Recent changes",
    no_changes: "No change is recorded",
    no_changes_hint: "Edits here and with kubectl appear in this list.",
    certificates: "Next certificate expires",
    see_graph: "Show in the graph",
    see_requests: "Show the requests",
    p95: "p95",
    traffic: "Traffic",
    unknown_expiry: "unknown",
};
