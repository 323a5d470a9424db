//! `cargo xtask demo`: from a clone to the running demo.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

use crate::phase::phase;
use crate::{root, tools, ui};

/// How to build, and what to pass on.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Build with optimisation (slower to build, faster to run).
    #[arg(long)]
    release: bool,
    /// Keep the console's pages as they were built last time.
    #[arg(long)]
    skip_ui: bool,
    /// Arguments for `sightline demo`.
    #[arg(last = true)]
    demo: Vec<String>,
}

/// Sets up, builds, and becomes the demo.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let missing = if options.skip_ui {
        tools::missing(&[tools::BUILD])
    } else {
        tools::missing(&[tools::BUILD, tools::PAGES])
    };
    if !missing.is_empty() {
        bail!("some tools are missing\n  {}", missing.join("\n  "));
    }
    if !options.skip_ui {
        phase("console pages", || build_pages(options.release)).0?;
    }
    phase("build", || build(options.release)).0?;
    start(options)
}

/// The wasm target, npm packages, and the pages themselves.
pub(crate) fn build_pages(release: bool) -> Result<()> {
    ui::run(&ui::Options { release }).map(drop)
}

/// Every binary of the demo.
pub(crate) fn build(release: bool) -> Result<()> {
    let mut command = root::cargo();
    command.args(["build", "--bins"]);
    if release {
        command.arg("--release");
    }
    succeed(&mut command)
}

/// Replaces this process by `sightline demo`, so that Ctrl-C and the exit code are its own.
fn start(options: &Options) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    let program = root::binaries(options.release).join("sightline");
    let mut command = Command::new(&program);
    command.arg("demo").args(&options.demo);
    println!("\n=== {} demo {}", program.display(), options.demo.join(" "));
    Err(command.exec()).with_context(|| format!("cannot start {}", program.display()))
}

/// Runs a command with its output shown; an exit code other than 0 is an error.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let shown: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    let status = command
        .status()
        .with_context(|| format!("cannot start {program}"))?;
    if !status.success() {
        bail!("`{program} {}` failed ({status})", shown.join(" "));
    }
    Ok(())
}
