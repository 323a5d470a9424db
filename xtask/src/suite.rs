//! `cargo xtask test`: every test of the default tier, group by group.
//!
//! A group that fails does not stop the next one, so that one run shows everything that is wrong.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;

use crate::phase::phase;
use crate::tally::{self, Counts};
use crate::{demo, root, tidy, tools};

/// Which groups to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these groups (names as in the summary); all unless given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// List the groups.
    #[arg(long)]
    list: bool,
}

/// A named part of the suite.
struct Group {
    name: &'static str,
    run: fn() -> Result<Counts>,
}

const GROUPS: &[Group] = &[
    Group {
        name: "tools",
        run: tools_present,
    },
    Group {
        name: "format",
        run: format,
    },
    Group {
        name: "tidy",
        run: tidy_check,
    },
    Group {
        name: "build",
        run: build,
    },
    Group {
        name: "packages",
        run: packages,
    },
    Group {
        name: "clippy",
        run: clippy,
    },
    Group {
        name: "stories",
        run: stories,
    },
];

/// Runs the groups and prints the summary.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if options.list {
        for group in GROUPS {
            println!("{}", group.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows: Vec<(&str, Counts, Duration)> = Vec::new();
    for group in GROUPS {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == group.name) {
            continue;
        }
        let (outcome, took) = phase(group.name, group.run);
        let counts = outcome.unwrap_or_else(|error| {
            println!("error: {error:#}");
            Counts::single(false)
        });
        rows.push((group.name, counts, took));
    }
    Ok(summary(&rows))
}

/// Prints one line a group, then the line that closes the run.
fn summary(rows: &[(&str, Counts, Duration)]) -> ExitCode {
    println!("\n=== summary");
    let mut total = Counts::default();
    for (name, counts, took) in rows {
        println!(
            "{name:<12} {:>5} passed {:>4} failed {:>8.1} s",
            counts.passed,
            counts.failed,
            took.as_secs_f64()
        );
        total.add(*counts);
    }
    println!("{} passed, {} failed", total.passed, total.failed);
    if total.failed == 0 && total.passed > 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    }
}

fn tools_present() -> Result<Counts> {
    let missing = tools::missing(&[tools::BUILD, tools::PAGES, tools::TESTS]);
    for line in &missing {
        println!("{line}");
    }
    Ok(Counts::single(missing.is_empty()))
}

fn format() -> Result<Counts> {
    tally::run(root::cargo().args(["fmt", "--all", "--check"])).map(check)
}

fn tidy_check() -> Result<Counts> {
    let problems = tidy::problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(Counts::single(problems.is_empty()))
}

fn build() -> Result<Counts> {
    demo::build(false)?;
    Ok(Counts::single(true))
}

/// Unit and integration tests of all packages that run on this machine's own target.
fn packages() -> Result<Counts> {
    tally::run(root::cargo().args([
        "test",
        "--workspace",
        "--exclude",
        "console-ui",
        "--exclude",
        "mesh-stories",
        "--no-fail-fast",
    ]))
}

fn clippy() -> Result<Counts> {
    let native = tally::run(root::cargo().args([
        "clippy",
        "--workspace",
        "--exclude",
        "console-ui",
        "--all-targets",
        "--",
        "-D",
        "warnings",
    ]))?;
    Ok(check(native))
}

fn stories() -> Result<Counts> {
    tally::run(root::cargo().args([
        "test",
        "-p",
        "mesh-stories",
        "--no-fail-fast",
        "--",
        "--test-threads=1",
    ]))
}

/// A command without tests of its own passes or fails as one.
fn check(counts: Counts) -> Counts {
    Counts::single(counts.failed == 0)
}
