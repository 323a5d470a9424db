//! Words of the changes of the configuration.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub title: &'static str,
    pub created: &'static str,
    pub updated: &'static str,
    pub deleted: &'static str,
    pub seen: &'static str,
    pub change: &'static str,
    pub somebody: &'static str,
    pub through: fn(&str) -> String,
    pub present: &'static str,
    pub against_before: &'static str,
    pub against_present: &'static str,
    pub revert: &'static str,
    pub reverting: &'static str,
    pub reverted: fn(&str) -> String,
    pub recreate: &'static str,
    pub none: &'static str,
    pub none_hint: &'static str,
    pub gap: &'static str,
    pub proxies_run: fn(&str) -> String,
    pub all_objects: &'static str,
    pub older: &'static str,
    pub same: &'static str,
    pub choose: &'static str,
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::history::WORDS, &zh::history::WORDS)
}

impl Words {
    /// The API's name of a change in words.
    pub fn change(&self, name: &str) -> &'static str {
        match name {
            "created" => self.created,
            "updated" => self.updated,
            "deleted" => self.deleted,
            _ => self.seen,
        }
    }
}
