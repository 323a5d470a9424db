//! Words of the help and the palette.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub keys: &'static str,
    pub everywhere: &'static str,
    pub palette: &'static str,
    pub this_help: &'static str,
    pub search: &'static str,
    pub next_row: &'static str,
    pub previous_row: &'static str,
    pub open_row: &'static str,
    pub escape: &'static str,
    pub go_to: fn(&str) -> String,
    pub in_graph: &'static str,
    pub pan: &'static str,
    pub zoom: &'static str,
    pub fit: &'static str,
    pub walk: &'static str,
    pub in_editor: &'static str,
    pub review: &'static str,
    pub complete: &'static str,
    pub api: &'static str,
    pub licences: &'static str,
    pub nothing_found: &'static str,
    pub type_to_find: &'static str,
    pub pages: &'static str,
    pub actions: &'static str,
    pub switch_theme: &'static str,
    pub switch_language: &'static str,
    pub new_object: &'static str,
    pub pause: &'static str,
    pub copy_link: &'static str,
    pub results: fn(&str) -> String,
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::help::WORDS, &zh::help::WORDS)
}
