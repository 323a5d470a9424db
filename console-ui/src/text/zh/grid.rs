//! Simplified Chinese words of tables.

use crate::text::grid::Words;

/// Simplified Chinese.
pub const WORDS: Words = Words {
    columns: "列",
    sort_hint: "排序；按住 Shift 作为次级排序",
};
