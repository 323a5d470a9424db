//! English words of the mesh page.

use crate::text::meshes::Words;

/// English.
pub const WORDS: Words = Words {
    filter: "Filter proxies",
    why: "Why",
    node_id: "Node id",
    expired: "expired",
    dropped: |number| format!("{number} kept requests and spans were given up because a queue was full"),
    first_expiry: "First certificate to expire",
    store: "Store",
    collector: "Collector",
    sent: "Sent",
    queued: "Queued",
    given_up: "Given up",
    exporters: "Span exporters",
    delivering: "Delivering",
    lossy: "Delivering, some were given up",
    when: "When",
};
