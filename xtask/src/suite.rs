//! `cargo xtask test`: every test of the default tier, group by group.
//!
//! A group that fails does not stop the next one, so that one run shows everything that is wrong.

use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::Result;

use crate::phase::phase;
use crate::tally::{self, Counts};
use crate::{bench, demo, root, tidy, tools};

/// Which groups to run.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only these groups (names as in the summary); all unless given.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// List the groups.
    #[arg(long)]
    list: bool,
    /// The long tier instead: restarts, rotations and changes at full length (some 20 minutes).
    #[arg(long)]
    long: bool,
}

/// A named part of the suite.
struct Group {
    name: &'static str,
    run: fn() -> Result<Counts>,
}

/// In the order of what they need: pages before the console that serves them, binaries before what starts them.
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
        name: "pages",
        run: pages,
    },
    Group {
        name: "build",
        run: build,
    },
    Group {
        name: "cluster",
        run: cluster,
    },
    Group {
        name: "packages",
        run: packages,
    },
    Group {
        name: "stories",
        run: stories,
    },
    Group {
        name: "browser",
        run: browser,
    },
    Group {
        name: "instructions",
        run: instructions,
    },
    Group {
        name: "clippy",
        run: clippy,
    },
    Group {
        name: "page-lints",
        run: page_lints,
    },
];

/// What takes minutes by itself; its figures are in docs/performance.md.
const LONG: &[Group] = &[
    Group {
        name: "restarts",
        run: restarts,
    },
    Group {
        name: "churn",
        run: churn,
    },
];

/// Runs the groups and prints the summary.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let groups = if options.long { LONG } else { GROUPS };
    if options.list {
        for group in groups {
            println!("{}", group.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows: Vec<(&str, Counts, Duration)> = Vec::new();
    for group in groups {
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

/// 10 hot restarts under 200,000 requests.
fn restarts() -> Result<Counts> {
    long(&["--test", "control", "hot_restart"])
}

/// 10,000 changes of configuration in ten minutes, 1,000 rotations of certificates.
fn churn() -> Result<Counts> {
    long(&["--test", "it", "churn"])
}

/// One part at a time: they measure themselves.
fn long(filter: &[&str]) -> Result<Counts> {
    let mut command = root::cargo();
    command.args(["test", "-p", "sightline-proxy"]).args(filter);
    command.args(["--", "--nocapture", "--test-threads", "1"]);
    tally::run(command.env("SIGHTLINE_LONG", "1"))
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

/// The console's pages, for the browser.
fn pages() -> Result<Counts> {
    demo::build_pages(false)?;
    Ok(Counts::single(true))
}

fn build() -> Result<Counts> {
    demo::build(false)?;
    Ok(Counts::single(true))
}

/// The real Kubernetes API server, h2spec and Envoy, by which ours are judged, and the real collectors of traces.
fn cluster() -> Result<Counts> {
    judges_and_collectors()?;
    Ok(Counts::single(true))
}

/// Makes all that tests compare with and that no package has.
pub(crate) fn judges_and_collectors() -> Result<()> {
    demo::succeed(&mut judges())?;
    demo::succeed(&mut collectors())?;
    demo::succeed(&mut script("tests/h2spec/build.sh"))?;
    demo::succeed(&mut script("tests/envoy/fetch.sh"))
}

/// A script that makes one of them; does nothing when it is there.
fn script(path: &str) -> Command {
    let mut command = Command::new("bash");
    command.arg(path).current_dir(root::repository());
    command
}

/// Builds Jaeger from its Go module and fetches Zipkin; does nothing when they are there.
fn collectors() -> Command {
    script("tests/collectors/build.sh")
}

/// Builds etcd, kube-apiserver and kubectl from Go modules; does nothing when they are there.
fn judges() -> Command {
    script("tests/cluster/build.sh")
}

/// Unit and integration tests of all packages that run on this machine's own target.
fn packages() -> Result<Counts> {
    let mut counts = tally::run(root::cargo().args([
        "test",
        "--workspace",
        "--exclude",
        "console-ui",
        "--exclude",
        "mesh-stories",
        "--no-fail-fast",
    ]))?;
    // By themselves, so that the pages' features do not change what the other packages are built with.
    counts.add(tally::run(root::cargo().args([
        "test",
        "-p",
        "console-ui",
        "--no-fail-fast",
    ]))?);
    Ok(counts)
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

/// The pages compile for the browser's target only.
fn page_lints() -> Result<Counts> {
    let arguments = [
        "clippy",
        "-p",
        "console-ui",
        "--target",
        "wasm32-unknown-unknown",
        "--",
        "-D",
        "warnings",
    ];
    tally::run(root::cargo().args(arguments)).map(check)
}

/// Whole meshes; one after the other, since each wants the machine for itself.
fn stories() -> Result<Counts> {
    let arguments = [
        "test",
        "-p",
        "mesh-stories",
        "--no-fail-fast",
        "--",
        "--test-threads=1",
    ];
    tally::run(root::cargo().args(arguments))
}

/// The console in a real browser, against a real demo.
fn browser() -> Result<Counts> {
    let folder = root::repository().join("tests/browser");
    let mut install = Command::new("npm");
    install
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&folder);
    demo::succeed(&mut install)?;
    let mut test = Command::new("npm");
    test.args(["test", "--silent"])
        .current_dir(&folder)
        .env("SIGHTLINE_BINARIES", root::binaries(false));
    tally::run(&mut test)
}

/// What a request costs the proxy, in instructions: no shape may grow beyond its tolerance.
fn instructions() -> Result<Counts> {
    let problems = bench::proxy::instructions::problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(Counts::single(problems.is_empty()))
}

/// A command without tests of its own passes or fails as one.
fn check(counts: Counts) -> Counts {
    Counts::single(counts.failed == 0)
}
