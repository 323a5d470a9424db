//! Words of the mesh page.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub filter: &'static str,
    pub why: &'static str,
    pub node_id: &'static str,
    pub expired: &'static str,
    pub dropped: fn(&str) -> String,
    pub first_expiry: &'static str,
    pub store: &'static str,
    pub collector: &'static str,
    pub sent: &'static str,
    pub queued: &'static str,
    pub given_up: &'static str,
    pub exporters: &'static str,
    pub delivering: &'static str,
    pub lossy: &'static str,
    pub when: &'static str,
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::meshes::WORDS, &zh::meshes::WORDS)
}
