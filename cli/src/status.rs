//! `sightline status`: every process, its address, its log file.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use serde::{Deserialize, Serialize};

use crate::failure::{Code, Failure, Tried};
use crate::folder::Folder;
use crate::supervisor::{Phase, State};

/// Which mesh, and how to show it.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data folder of the mesh.
    #[arg(long, value_name = "DIR", default_value_os_t = Folder::default_path())]
    data: PathBuf,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

/// What the supervisor leaves in the data folder.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Process id of the supervisor.
    pub(crate) supervisor: u32,
    /// Version of the supervisor.
    pub(crate) version: String,
    /// When it started, RFC 3339.
    pub(crate) started: String,
    /// Where people go: name and URL.
    pub(crate) addresses: Vec<(String, String)>,
    /// Every process.
    pub(crate) processes: Vec<State>,
}

impl Status {
    /// Replaces the status file.
    pub(crate) fn write(&self, folder: &Folder) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        crate::folder::write_private(&folder.status(), &text)
    }
}

/// Prints the status; exit code 69 when no mesh runs on the folder.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = Folder::existing(&options.data);
    if !folder.is_locked() {
        return Err(Failure::unavailable(format!(
            "no mesh runs with the data folder {}; start one with `sightline demo`, or name its folder with --data",
            folder.path().display()
        )));
    }
    let file = folder.status();
    let text = std::fs::read_to_string(&file).tried(|| format!("cannot read {}", file.display()))?;
    let status: Status = serde_json::from_str(&text)
        .tried_as(Code::Bug, || format!("cannot understand {}", file.display()))?;
    let shown = if options.json { text } else { table(&status) };
    writeln!(std::io::stdout(), "{shown}").tried(|| "cannot write".to_owned())?;
    Ok(ExitCode::SUCCESS)
}

fn table(status: &Status) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(["PROCESS", "STATE", "PID", "RESTARTS", "ADDRESS", "LOG"]);
    for process in &status.processes {
        let state = match process.phase {
            Phase::Running => "running",
            Phase::Restarting => "restarting",
            Phase::Stopped => "stopped",
        };
        table.add_row([
            process.name.clone(),
            state.to_owned(),
            process.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
            process.restarts.to_string(),
            process.address.clone(),
            process.log.display().to_string(),
        ]);
    }
    let mut text = format!(
        "sightline {} (process {}, since {})\n",
        status.version, status.supervisor, status.started
    );
    for (name, address) in &status.addresses {
        text.push_str(&format!("  {name:<23} {address}\n"));
    }
    text.push('\n');
    text.push_str(&table.trim_fmt());
    text
}
