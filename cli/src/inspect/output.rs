//! Tables for people, JSON and YAML for programs.

use std::io::Write;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde_json::Value;

use crate::failure::{Code, Failure, Tried};

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// A table, one row for each thing.
    #[value(alias = "short")]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Rows under a heading.
pub(super) struct Rows {
    heading: &'static [&'static str],
    rows: Vec<Vec<String>>,
}

impl Rows {
    pub(super) fn new(heading: &'static [&'static str]) -> Self {
        Self {
            heading,
            rows: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    /// Keeps the rows that have the text in a cell.
    pub(super) fn keep(&mut self, text: &str) {
        self.rows.retain(|row| row.iter().any(|cell| cell.contains(text)));
    }

    pub(super) fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(NOTHING);
        table.set_header(self.heading.iter().copied());
        for row in &self.rows {
            table.add_row(row);
        }
        table.trim_fmt()
    }
}

/// Prints a value, or the rows made of it.
pub(super) fn print(format: Format, value: &Value, rows: impl FnOnce() -> String) -> Result<(), Failure> {
    let text = match format {
        Format::Table => rows(),
        Format::Json => {
            serde_json::to_string_pretty(value).tried_as(Code::Bug, || "cannot write JSON".to_owned())?
        }
        Format::Yaml => {
            serde_saphyr::to_string(value).tried_as(Code::Bug, || "cannot write YAML".to_owned())?
        }
    };
    writeln!(std::io::stdout(), "{}", text.trim_end()).tried(|| "cannot write".to_owned())
}
