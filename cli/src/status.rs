//! `sightline status`: every process, its address, its log file.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
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
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
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
    /// Where the mesh's own parts listen; absent for a process that joined one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) mesh: Option<Addresses>,
    /// Links that the console shows, as they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) links: Vec<String>,
    /// Where people go: name and URL.
    pub(crate) addresses: Vec<(String, String)>,
    /// Every process.
    pub(crate) processes: Vec<State>,
}

/// Where other commands find the mesh.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// Block of the workloads' addresses.
    pub(crate) base: String,
    /// Discovery, certificates, telemetry.
    pub(crate) discovery: SocketAddr,
    /// Queries.
    pub(crate) query: SocketAddr,
    /// Metrics and health of the control plane.
    pub(crate) metrics: SocketAddr,
    /// The console.
    pub(crate) console: SocketAddr,
}

impl Status {
    /// Replaces the mesh's status file.
    pub(crate) fn write(&self, folder: &Folder) -> std::io::Result<()> {
        self.write_to(&folder.status())
    }

    /// Replaces a status file.
    pub(crate) fn write_to(&self, file: &Path) -> std::io::Result<()> {
        crate::folder::write_private(file, &serde_json::to_string_pretty(self)?)
    }

    /// Reads a status file.
    pub(crate) fn read(file: &Path) -> Result<Self, Failure> {
        let text = std::fs::read_to_string(file).tried(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text).tried_as(Code::Bug, || format!("cannot understand {}", file.display()))
    }

    /// The status of the mesh that runs on a folder, with where it listens.
    pub(crate) fn of_mesh(folder: &Folder) -> Result<(Self, Addresses), Failure> {
        let status = Self::read(&folder.status())?;
        let addresses = status.mesh.clone().ok_or_else(|| {
            Failure::unavailable(format!(
                "{} does not say where the mesh listens: it was started by an older version; restart it",
                folder.status().display()
            ))
        })?;
        Ok((status, addresses))
    }
}

/// What `sightline run` and `sightline gateway` left, as far as they live.
pub(crate) fn runs(folder: &Folder) -> Vec<Status> {
    let files = std::fs::read_dir(folder.runs()).into_iter().flatten().flatten();
    let mut runs: Vec<Status> = files
        .filter_map(|file| Status::read(&file.path()).ok())
        .filter(|status| is_sightline(status.supervisor))
        .collect();
    runs.sort_by(|a, b| a.started.cmp(&b.started));
    runs
}

/// Whether a process lives and is this program: an id may have gone to another one.
pub(crate) fn is_sightline(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sightline")
}

/// Prints the status; exit code 69 when no mesh runs on the folder.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = Folder::running(options.data.as_deref())?;
    let mut status = Status::read(&folder.status())?;
    for run in runs(&folder) {
        status.addresses.extend(run.addresses);
        status.processes.extend(run.processes);
    }
    let shown = if options.json {
        serde_json::to_string_pretty(&status).tried_as(Code::Bug, || "cannot write the status".to_owned())?
    } else {
        table(&status)
    };
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
