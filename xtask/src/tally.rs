//! Runs a test command, shows its output as it comes, and counts what passed and failed.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

/// What a test command said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that passed.
    pub(crate) passed: u32,
    /// Tests that failed; a command that fails without saying so counts one.
    pub(crate) failed: u32,
}

impl Counts {
    /// One check that has no tests of its own.
    pub(crate) fn single(ok: bool) -> Self {
        Self {
            passed: u32::from(ok),
            failed: u32::from(!ok),
        }
    }

    /// Sum.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

/// Runs the command with its standard output shown and read.
pub(crate) fn run(command: &mut Command) -> Result<Counts> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {}", command.get_program().to_string_lossy()))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("cannot read a test's output")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some(found) = count(&line) {
                counts.add(found);
            }
        }
    }
    let status = child.wait().context("cannot wait for a test")?;
    if !status.success() && counts.failed == 0 {
        counts.failed = 1;
    }
    Ok(counts)
}

/// Reads libtest's `test result:` line, or a plain `N passed, N failed` line.
fn count(line: &str) -> Option<Counts> {
    let line = line.trim();
    let plain = line.strip_prefix("test result: ").map_or(line, |rest| {
        rest.split_once(". ").map_or(rest, |(_, counts)| counts)
    });
    let mut parts = plain.split([';', ',']).map(str::trim);
    let passed = parts.next()?.strip_suffix(" passed")?.parse().ok()?;
    let failed = parts.next()?.strip_suffix(" failed")?.parse().ok()?;
    Some(Counts { passed, failed })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: Option<(u32, u32)>) {
        assert_eq!(count(line).map(|c| (c.passed, c.failed)), expected, "{line}");
    }

    #[test]
    fn lines() {
        check(
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.1s",
            Some((12, 0)),
        );
        check("test result: FAILED. 3 passed; 2 failed; 0 ignored", Some((3, 2)));
        check("4 passed, 1 failed", Some((4, 1)));
        check("test one ... ok", None);
        check("passed, failed", None);
        check("", None);
    }
}
