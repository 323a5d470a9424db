//! The sightline command: run the mesh, the demo, and look into both.

mod backup;
mod cluster;
mod demo;
mod down;
mod failure;
mod fetch;
mod folder;
mod inspect;
mod join;
mod launch;
mod member;
mod mesh;
mod ports;
mod status;
mod supervisor;
mod up;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::failure::{Failure, Tried};

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("SIGHTLINE_COMMIT"), ")");

/// An observability-first service mesh.
#[derive(Parser)]
#[command(name = "sightline", version = VERSION, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a whole mesh on this machine: API server, control plane, gateway, console, sample shop, load.
    #[command(after_help = demo::EXAMPLES)]
    Demo(Box<demo::Options>),
    /// Hold a mesh for plain processes on this machine: API server, control plane, console.
    #[command(after_help = up::EXAMPLES)]
    Up(Box<up::Options>),
    /// Run a command as a workload of the mesh: registered, with an identity and a sidecar.
    #[command(after_help = join::RUN_EXAMPLES)]
    Run(Box<join::RunOptions>),
    /// Run a gateway of the mesh.
    #[command(after_help = join::GATEWAY_EXAMPLES)]
    Gateway(Box<join::GatewayOptions>),
    /// End a mesh that runs in another terminal.
    #[command(after_help = down::EXAMPLES)]
    Down(down::Options),
    /// Copy configuration, history and keys of a mesh while it runs.
    #[command(after_help = backup::EXAMPLES)]
    Backup(backup::Options),
    /// Show every process of a running mesh: its address, its log file.
    Status(status::Options),
    /// Show which proxies run the current configuration, and why not.
    #[command(visible_alias = "ps", after_help = inspect::proxy_status::EXAMPLES)]
    ProxyStatus(inspect::proxy_status::Options),
    /// Show what a proxy runs.
    #[command(visible_alias = "pc", after_help = inspect::proxy_config::EXAMPLES)]
    ProxyConfig(inspect::proxy_config::Options),
    /// Find what is wrong with configuration, in files or in the mesh.
    #[command(after_help = inspect::analysis::EXAMPLES)]
    Analyze(inspect::analysis::Options),
    /// Say what becomes of a request: each decision, the rule that wins, why the others lose.
    #[command(after_help = inspect::explain::EXAMPLES)]
    Explain(inspect::explain::Options),
    /// Print where a page is, or open it: console, Grafana, Prometheus, Jaeger, Zipkin, a proxy's admin.
    #[command(after_help = inspect::dashboard::EXAMPLES)]
    Dashboard(inspect::dashboard::Options),
    /// Print the version, the commit and its date.
    Version,
    /// Print a script that completes commands in a shell.
    Completion {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// Become a program whose life is tied to the supervisor's.
    #[command(hide = true)]
    Launch(launch::Launch),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(&options),
        Command::Up(options) => up::run(&options),
        Command::Run(options) => join::run(&options),
        Command::Gateway(options) => join::gateway(&options),
        Command::Down(options) => down::run(&options),
        Command::Backup(options) => backup::run(&options),
        Command::Status(options) => status::run(&options),
        Command::ProxyStatus(options) => inspect::proxy_status::run(&options),
        Command::ProxyConfig(options) => inspect::proxy_config::run(&options),
        Command::Analyze(options) => inspect::analysis::run(&options),
        Command::Explain(options) => inspect::explain::run(&options),
        Command::Dashboard(options) => inspect::dashboard::run(&options),
        Command::Version => version(),
        Command::Completion { shell } => completion(shell),
        Command::Launch(launch) => launch::run(&launch).map(|()| ExitCode::SUCCESS),
    };
    outcome.unwrap_or_else(|failure| {
        // The terminal may be gone; the exit code still tells.
        let _ = std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("sightline: {}\n", failure.chain()),
        );
        failure.exit_code()
    })
}

fn completion(shell: clap_complete::Shell) -> Result<ExitCode, Failure> {
    use std::io::Write;
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "sightline", &mut script);
    std::io::stdout()
        .write_all(&script)
        .tried(|| "cannot write".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn version() -> Result<ExitCode, Failure> {
    use std::io::Write;
    writeln!(std::io::stdout(), "sightline {VERSION}").tried(|| "cannot write".to_owned())?;
    Ok(ExitCode::SUCCESS)
}
