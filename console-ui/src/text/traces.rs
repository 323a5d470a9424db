//! Words of traces.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub search: &'static str,
    pub only_errors: &'static str,
    pub longer_than: &'static str,
    pub any_length: &'static str,
    pub how_many: &'static str,
    pub newest: fn(u32) -> String,
    pub operation: &'static str,
    pub entry: &'static str,
    pub duration: &'static str,
    pub spans: &'static str,
    pub started: &'static str,
    pub trace: &'static str,
    pub unnamed: &'static str,
    pub none: &'static str,
    pub none_hint: &'static str,
    pub no_matches_hint: &'static str,
    pub scatter: &'static str,
    pub scatter_hint: &'static str,
    pub depth: &'static str,
    pub in_trace: &'static str,
    pub found: fn(usize) -> String,
    pub kept: fn(usize) -> String,
    pub open_all: &'static str,
    pub close_all: &'static str,
    pub rootless: &'static str,
    pub rootless_hint: &'static str,
    pub orphans: fn(usize) -> String,
    pub skew: fn(&str) -> String,
    pub skew_hint: &'static str,
    pub minimap_hint: &'static str,
    pub whole: &'static str,
    pub waterfall: &'static str,
    pub span_column: &'static str,
    pub time_column: &'static str,
    pub fold: &'static str,
    pub client: &'static str,
    pub server: &'static str,
    pub orphan: &'static str,
    pub orphan_hint: &'static str,
    pub fine: &'static str,
    pub workload: &'static str,
    pub its_request: &'static str,
    pub no_tags: &'static str,
    pub span: &'static str,
    pub critical: &'static str,
    pub critical_hint: &'static str,
    pub own_time: &'static str,
    pub process: &'static str,
    pub parent: &'static str,
    pub clock: &'static str,
    pub tags: &'static str,
    pub copy_tags: &'static str,
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::traces::WORDS, &zh::traces::WORDS)
}
