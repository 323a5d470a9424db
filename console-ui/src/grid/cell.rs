//! What stands in a table. Pure.

use crate::format::{self, number};
use crate::health::Health;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// In the URL.
    pub id: &'static str,
    /// Its head.
    pub name: &'static str,
    /// Figures stand at the right.
    pub numeric: bool,
    /// Not shown until it is asked for.
    pub hidden: bool,
}

impl Column {
    /// Words.
    pub const fn text(id: &'static str, name: &'static str) -> Self {
        Self {
            id,
            name,
            numeric: false,
            hidden: false,
        }
    }

    /// Figures.
    pub const fn number(id: &'static str, name: &'static str) -> Self {
        Self {
            numeric: true,
            ..Self::text(id, name)
        }
    }

    /// Not shown until it is asked for.
    #[must_use]
    pub const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// A row. Its first cell is the link.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row {
    /// Tells rows apart.
    pub id: String,
    /// Where it leads; none: the row is no link.
    pub href: Option<String>,
    /// One for each column.
    pub cells: Vec<Cell>,
}

/// How a cell looks.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Look {
    /// Text.
    #[default]
    Plain,
    /// Quieter text.
    Soft,
    /// Text of a machine.
    Mono,
    /// A verdict.
    Health(Health),
    /// A state: style class, icon.
    State(&'static str, &'static str),
    /// A small box of the given style class.
    Chip(&'static str),
    /// A curve.
    Spark(Vec<f64>),
    /// A bar from 0 to 1 beside the text.
    Bar(f64),
}

/// A cell: what is read, what is sorted by, how it looks.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Cell {
    /// What is read, and exported.
    pub text: String,
    /// What is sorted by; without it the text.
    pub value: Option<f64>,
    /// How.
    pub look: Look,
    /// On hover.
    pub title: String,
    /// A link of its own.
    pub href: Option<String>,
}

impl Cell {
    /// Text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// Quieter text.
    pub fn soft(text: impl Into<String>) -> Self {
        Self {
            look: Look::Soft,
            ..Self::text(text)
        }
    }

    /// Text of a machine.
    pub fn mono(text: impl Into<String>) -> Self {
        Self {
            look: Look::Mono,
            ..Self::text(text)
        }
    }

    /// A figure with its text.
    pub fn figure(text: impl Into<String>, value: f64) -> Self {
        Self {
            value: Some(value),
            ..Self::text(text)
        }
    }

    /// A count.
    pub fn count(value: u64) -> Self {
        Self::figure(format::count(value), number(value))
    }

    /// Milliseconds.
    pub fn millis(value: Option<f64>) -> Self {
        Self {
            value,
            ..Self::text(format::millis(value))
        }
    }

    /// A share; nothing of nothing is told apart from nothing of something.
    pub fn share(part: u64, whole: u64) -> Self {
        if whole == 0 {
            return Self::soft("–");
        }
        Self::figure(format::percent(part, whole), number(part) / number(whole))
    }

    /// Requests a second.
    pub fn rate(rate: f64) -> Self {
        let text = if rate > 0.0 {
            format!("{}/s", format::short(rate))
        } else {
            "0".to_owned()
        };
        Self::figure(text, rate)
    }

    /// A verdict.
    pub fn health(health: Health) -> Self {
        Self {
            value: Some(match health {
                Health::Unknown => 0.0,
                Health::Ok => 1.0,
                Health::Warn => 2.0,
                Health::Fail => 3.0,
            }),
            look: Look::Health(health),
            ..Self::text(health.word())
        }
    }

    /// A curve; sorted by its last value.
    pub fn spark(values: &[f64]) -> Self {
        Self {
            value: values.last().copied(),
            look: Look::Spark(values.to_vec()),
            ..Self::default()
        }
    }

    /// A state.
    pub fn state(class: &'static str, icon: &'static str, word: &str) -> Self {
        Self {
            look: Look::State(class, icon),
            ..Self::text(word)
        }
    }

    /// A small box.
    pub fn chip(class: &'static str, text: impl Into<String>) -> Self {
        Self {
            look: Look::Chip(class),
            ..Self::text(text)
        }
    }

    /// With words on hover.
    #[must_use]
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Sorted by a value.
    #[must_use]
    pub fn valued(mut self, value: Option<f64>) -> Self {
        self.value = value;
        self
    }

    /// With a link of its own.
    #[must_use]
    pub fn linked(mut self, href: impl Into<String>) -> Self {
        self.href = Some(href.into());
        self
    }
}
