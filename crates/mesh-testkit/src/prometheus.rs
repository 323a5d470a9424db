//! Reading Prometheus' text format.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// One line of an exposition.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Name of the series.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All lines of an exposition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Samples(Vec<Sample>);

impl Samples {
    /// Reads the text format.
    pub fn parse(text: &str) -> Result<Self> {
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
            .map(|line| sample(line).with_context(|| format!("not a sample: {line}")))
            .collect::<Result<_>>()
            .map(Self)
    }

    /// Samples of a series whose labels have these values.
    pub fn matching<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.0.iter().filter(move |sample| {
            sample.name == name
                && labels
                    .iter()
                    .all(|(label, value)| sample.labels.get(*label).is_some_and(|is| is == value))
        })
    }

    /// Sum over them, as a whole number.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let sum: f64 = self.matching(name, labels).map(|sample| sample.value).sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counters are whole and below 2^53"
        )]
        let whole = sum as u64;
        whole
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (name, rest) = match line.find(['{', ' ']) {
        Some(at) => line.split_at(at),
        None => return None,
    };
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => labels(inside)?,
        None => (BTreeMap::new(), rest),
    };
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(Sample {
        name: name.to_owned(),
        labels,
        value,
    })
}

/// Reads `a="b",c="d"} 1`; answers what follows the brace.
fn labels(mut text: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        text = text.trim_start_matches([',', ' ']);
        if let Some(rest) = text.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, rest) = text.split_once("=\"")?;
        let (value, rest) = quoted(rest)?;
        labels.insert(name.trim().to_owned(), value);
        text = rest;
    }
}

fn quoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value, text.get(at + 1..)?)),
            '\\' => match characters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn samples_are_summed_over_matching_labels() {
        let samples = Samples::parse(
            "# TYPE a counter\na{x=\"1\",y=\"q\\\"}, z\"} 2\na{x=\"1\",y=\"r\"} 3 1700000000\na{x=\"2\"} 10\nb 7\n",
        )
        .unwrap();
        assert_eq!(samples.sum("a", &[("x", "1")]), 5);
        assert_eq!(samples.sum("a", &[("y", "q\"}, z")]), 2);
        assert_eq!(samples.sum("b", &[]), 7);
        assert_eq!(samples.sum("c", &[]), 0);
        assert!(Samples::parse("a{x=\"1} 2").is_err());
    }
}
