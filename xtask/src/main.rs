//! Build, checks, demo, tests and benchmarks of this repository: `cargo xtask --help`.

mod bench;
mod dashboards;
mod demo;
mod descriptors;
mod phase;
mod root;
mod suite;
mod tally;
mod tidy;
mod tools;
mod ui;
mod xds_support;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, checks, demo, tests and benchmarks of this repository.
#[derive(Parser)]
#[command(name = "cargo xtask", disable_version_flag = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Set up, build and start the demo; arguments after `--` go to `sightline demo`.
    #[command(
        after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo -- --rps 200 --open\n  \
                            cargo xtask demo --release -- --data /tmp/mesh --no-load"
    )]
    Demo(demo::Options),
    /// Run every test of the default tier, browser tests included.
    Test(suite::Options),
    /// Measure the figures of docs/performance.md and write them there.
    Bench(bench::Options),
    /// Build the console's pages into console-ui/dist.
    Ui(ui::Options),
    /// Compile Envoy's message descriptors into crates/mesh-xds/descriptors.binpb.gz.
    Descriptors,
    /// Write docs/xds-support.md from the table of Envoy fields.
    XdsSupport,
    /// Write the Grafana dashboards of dashboards/grafana.
    Dashboards {
        /// Write nothing; fail if a file is not what the table says.
        #[arg(long)]
        check: bool,
    },
    /// Build the real peers of the tests: Kubernetes API server, Jaeger, Zipkin, h2spec, Envoy (Go, Maven,
    /// Python; some 12 minutes the first time).
    Cluster,
    /// Count the proxy's instructions per request and compare them with bench/instructions.tsv.
    Instructions {
        /// Write the file anew, after a change that is worth its cost.
        #[arg(long)]
        bless: bool,
    },
    /// Check package edges, file names and sizes, banned crates.
    Tidy,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Test(options) => suite::run(&options),
        Command::Bench(options) => bench::run(&root::repository(), &options).map(|()| ExitCode::SUCCESS),
        Command::Ui(options) => ui::run(&options),
        Command::Descriptors => descriptors::run(&root::repository()),
        Command::XdsSupport => xds_support::run(&root::repository()).map(|()| ExitCode::SUCCESS),
        Command::Cluster => suite::judges_and_collectors().map(|()| ExitCode::SUCCESS),
        Command::Dashboards { check } => dashboards::run(check).map(|()| ExitCode::SUCCESS),
        Command::Instructions { bless } => bench::proxy::instructions::run(bless),
        Command::Tidy => tidy::run(),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(1)
        }
    }
}
