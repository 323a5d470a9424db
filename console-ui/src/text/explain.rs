//! Words of the Explain page.

use super::{en, pick, zh};

/// The words.
pub struct Words {
    pub title: &'static str,
    pub answer: &'static str,
    pub request: &'static str,
    pub from: &'static str,
    pub outside: &'static str,
    pub gateway: &'static str,
    pub gateway_hint: &'static str,
    pub method: &'static str,
    pub path: &'static str,
    pub host: &'static str,
    pub port: &'static str,
    pub headers: &'static str,
    pub hint: &'static str,
    pub nothing_asked: &'static str,
    pub nothing_asked_hint: &'static str,
    pub status: &'static str,
    pub flags: &'static str,
    pub details: &'static str,
    pub route: &'static str,
    pub clusters: &'static str,
    pub chance: &'static str,
    pub ends_here: &'static str,
    pub won: &'static str,
    pub lost: &'static str,
    pub others: fn(usize) -> String,
    pub line: fn(u32) -> String,
    pub healthy: &'static str,
    pub unhealthy: &'static str,
    pub ejected: &'static str,
    pub plain: &'static str,
    pub weight: fn(u32, u32) -> String,
    pub sides: &'static [(&'static str, &'static str)],
    pub actions: &'static [(&'static str, &'static str)],
    pub steps: &'static [(&'static str, &'static str)],
}

/// In the language in use.
pub fn words() -> &'static Words {
    pick(&en::explain::WORDS, &zh::explain::WORDS)
}

/// The word for one of the API's names; a name without a word stands for itself.
fn word<'a>(list: &'static [(&'static str, &'static str)], name: &'a str) -> &'a str {
    list.iter()
        .find(|(known, _)| *known == name)
        .map_or(name, |(_, word)| word)
}

impl Words {
    /// The side of a proxy.
    pub fn side<'a>(&self, name: &'a str) -> &'a str {
        word(self.sides, name)
    }

    /// What a proxy does.
    pub fn action<'a>(&self, name: &'a str) -> &'a str {
        word(self.actions, name)
    }

    /// What is decided.
    pub fn step<'a>(&self, name: &'a str) -> &'a str {
        word(self.steps, name)
    }
}
