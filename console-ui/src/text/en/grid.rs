//! English words of tables.

use crate::text::grid::Words;

/// English.
pub const WORDS: Words = Words {
    columns: "Columns",
    sort_hint: "Sort; with Shift as a further column",
};
