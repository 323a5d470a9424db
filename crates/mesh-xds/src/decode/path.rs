//! Where in a resource we are; text is made only when something is wrong.

use std::fmt;

use crate::Invalid;

/// A path from the resource to a field.
pub(crate) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    part: Part<'a>,
}

enum Part<'a> {
    Root(&'a str),
    Field(&'a str),
    Item(&'a str, usize),
    Key(&'a str, &'a str),
}

impl<'a> Path<'a> {
    pub(crate) fn root(text: &'a str) -> Self {
        Self {
            parent: None,
            part: Part::Root(text),
        }
    }
    pub(crate) fn field(&'a self, name: &'a str) -> Path<'a> {
        Self {
            parent: Some(self),
            part: Part::Field(name),
        }
    }
    pub(crate) fn item(&'a self, name: &'a str, index: usize) -> Path<'a> {
        Self {
            parent: Some(self),
            part: Part::Item(name, index),
        }
    }
    pub(crate) fn key(&'a self, name: &'a str, key: &'a str) -> Path<'a> {
        Self {
            parent: Some(self),
            part: Part::Key(name, key),
        }
    }
    pub(crate) fn invalid(&self, reason: impl Into<String>) -> Invalid {
        Invalid::new(self.to_string(), reason)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(f)?;
            f.write_str(".")?;
        }
        match self.part {
            Part::Root(text) | Part::Field(text) => f.write_str(text),
            Part::Item(name, index) => write!(f, "{name}[{index}]"),
            Part::Key(name, key) => write!(f, "{name}[{key:?}]"),
        }
    }
}
