//! Words of tables.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub columns: &'static str,
    pub sort_hint: &'static str,
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::grid::WORDS, &zh::grid::WORDS)
}
