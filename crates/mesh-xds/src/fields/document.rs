//! The table as a page for people: `docs/xds-support.md`.

use std::fmt::Write as _;

use super::{Field, Message, Rule};
use crate::json::Descriptors;

/// The resources whose fields the page lists, with the headings that they stand under.
const ROOTS: &[(&str, &Message)] = &[
    ("Bootstrap", &super::BOOTSTRAP),
    ("Listener", &super::LISTENER),
    ("Route configuration", &super::ROUTE_CONFIGURATION),
    ("Cluster", &super::CLUSTER),
    ("Endpoints", &super::ENDPOINTS),
    ("Secret", &super::SECRET),
];

const INTRODUCTION: &str = "\
# Envoy fields

What `sightline-proxy` makes of each field of an Envoy resource, whether it comes from a control plane or from a
bootstrap file. Written by `cargo xtask xds-support` from the table that also decides (`crates/mesh-xds/src/fields/`);
a test fails when this page is stale. Do not edit it.

- **honoured**: it does what Envoy's documentation says, or the value is refused with its path.
- **ignored**: it is accepted and changes no answer; the reason says why.
- **off only**: accepted while it is off (absent, false or zero); in use it is refused, and the reason says what then.
- **refused**: the resource is not accepted (NACK, or an error at the start) and the last good one keeps serving. This
  also holds for every field that is newer than our message types.

A message that is used in several places is listed once, where it comes first.
";

/// The whole page.
#[must_use]
pub fn document(descriptors: &Descriptors) -> String {
    let mut page = Page {
        descriptors,
        text: INTRODUCTION.to_owned(),
        seen: Vec::new(),
    };
    for (heading, root) in ROOTS {
        // Writing into a string does not fail.
        let _ = write!(page.text, "\n## {heading}\n");
        page.message(root);
    }
    page.text
}

struct Page<'a> {
    descriptors: &'a Descriptors,
    text: String,
    seen: Vec<&'static Message>,
}

impl Page<'_> {
    fn message(&mut self, message: &'static Message) {
        if self.seen.iter().any(|seen| std::ptr::eq(*seen, message)) {
            return;
        }
        self.seen.push(message);
        let _ = write!(self.text, "\n### {}\n\n", message.name);
        if !message.fields.is_empty() {
            self.text.push_str("| field | | |\n|---|---|---|\n");
        }
        for field in message.fields {
            let (what, why) = verdict(field);
            let _ = writeln!(self.text, "| `{}` | {what} | {} |", field.name, cell(&why));
        }
        let others = self.unlisted(message);
        if !others.is_empty() {
            let _ = write!(self.text, "\nRefused: {}.\n", others.join(", "));
        }
        for field in message.fields {
            self.below(&field.rule);
        }
    }

    /// Fields that Envoy has and the table does not name.
    fn unlisted(&self, message: &Message) -> Vec<String> {
        let Some(descriptor) = self.descriptors.pool().get_message_by_name(message.name) else {
            return Vec::new();
        };
        let listed = |number: u32| message.fields.iter().any(|field| field.number == number);
        let mut names: Vec<_> = descriptor
            .fields()
            .filter(|field| !listed(field.number()))
            .map(|field| format!("`{}`", field.name()))
            .collect();
        names.sort();
        names
    }

    fn below(&mut self, rule: &'static Rule) {
        match rule {
            Rule::Message(inner) | Rule::List(inner) | Rule::Map(inner) => self.message(inner),
            Rule::MapAny(types) | Rule::Any(types) => types.iter().for_each(|inner| self.message(inner)),
            Rule::Filters(filters) => filters.types.iter().for_each(|inner| self.message(inner)),
            Rule::Honoured | Rule::Ignored(_) | Rule::OffOnly(_) | Rule::Refused(_) => {}
        }
    }
}

fn verdict(field: &Field) -> (&'static str, String) {
    match &field.rule {
        Rule::Honoured => ("honoured", String::new()),
        Rule::Message(inner) => ("honoured", format!("see {}", short(inner))),
        Rule::List(inner) => ("honoured", format!("a list, see {}", short(inner))),
        Rule::Map(inner) => ("honoured", format!("a map, see {}", short(inner))),
        Rule::MapAny(types) => ("honoured", format!("a map to one of {}", list(types))),
        Rule::Any(types) => ("honoured", format!("one of {}", list(types))),
        Rule::Filters(filters) => {
            let mut text = format!("filters of type {}", list(filters.types));
            for (name, reason) in filters.native {
                let _ = write!(text, "; `{name}` is ignored: {reason}");
            }
            ("honoured", text)
        }
        Rule::Ignored(reason) => ("ignored", (*reason).to_owned()),
        Rule::OffOnly(reason) => ("off only", (*reason).to_owned()),
        Rule::Refused(reason) => ("refused", (*reason).to_owned()),
    }
}

/// The type's name without its package.
fn short(message: &Message) -> String {
    let name = message.name;
    let start = name
        .split('.')
        .take_while(|part| !part.starts_with(|c: char| c.is_ascii_uppercase()))
        .map(|part| part.len() + 1)
        .sum::<usize>();
    format!("`{}`", name.get(start..).unwrap_or(name))
}

fn list(types: &[&Message]) -> String {
    types
        .iter()
        .map(|inner| short(inner))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Text that does not end a table cell.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
