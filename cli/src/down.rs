//! `sightline down`: ends a mesh that runs in another terminal.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::failure::{Code, Failure, Tried};
use crate::folder::Folder;
use crate::mesh::host::say;
use crate::status::{self, Status};

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  End the mesh; what it stored stays for the next start:
    sightline down
  End it and remove its data folder: configuration, history, identities, logs:
    sightline down --purge";

/// How long everything may take to end. A run's proxy may drain for five seconds.
const END: Duration = Duration::from_secs(15);

/// Time between looks.
const LOOK: Duration = Duration::from_millis(50);

/// Flags of `sightline down`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Remove the data folder, too, whether or not the mesh runs.
    #[arg(long)]
    purge: bool,
}

/// Asks every process of the mesh to end, and waits until they did.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let folder = match (Folder::running(options.data.as_deref()), options.purge) {
        (Ok(folder), _) => folder,
        (Err(_), true) => Folder::at(
            &options
                .data
                .clone()
                .unwrap_or_else(|| Folder::default_path("mesh")),
        ),
        (Err(failure), false) => return Err(failure),
    };
    if folder.is_locked() {
        stop(&folder)?;
    }
    if options.purge {
        purge(&folder)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn stop(folder: &Folder) -> Result<(), Failure> {
    let deadline = Instant::now() + END;
    // Whoever joined leaves first, while there is somebody to say it to.
    for run in status::runs(folder) {
        terminate(run.supervisor)?;
    }
    wait(deadline, || status::runs(folder).is_empty());
    let supervisor = Status::read(&folder.status())?.supervisor;
    let holder = std::fs::read_to_string(folder.lock_file()).unwrap_or_default();
    if holder.trim() != supervisor.to_string() || !status::is_sightline(supervisor) {
        return Err(Failure::unavailable(format!(
            "process {supervisor} is not the supervisor of {} (its lock names {:?}); end the mesh where it was started",
            folder.path().display(),
            holder.trim()
        )));
    }
    say(&format!(
        "ending the mesh of {} (process {supervisor})",
        folder.path().display()
    ));
    terminate(supervisor)?;
    if wait(deadline, || !folder.is_locked()) {
        Ok(())
    } else {
        Err(Failure::unavailable(format!(
            "process {supervisor} did not end within {} s; its log is {}",
            END.as_secs(),
            folder.logs().join("sightline.log").display()
        )))
    }
}

fn terminate(pid: u32) -> Result<(), Failure> {
    let id = i32::try_from(pid).tried_as(Code::Bug, || format!("{pid} is no process id"))?;
    match kill(Pid::from_raw(id), Signal::SIGTERM) {
        // It ended in this moment.
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
        Err(error) => Err(error).tried(|| format!("cannot ask process {pid} to end")),
    }
}

fn wait(deadline: Instant, done: impl Fn() -> bool) -> bool {
    while !done() {
        if Instant::now() >= deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// Removes a folder that a supervisor made; any other is left alone.
fn purge(folder: &Folder) -> Result<(), Failure> {
    let path = folder.path();
    if !path.exists() {
        say(&format!("{} is not there", path.display()));
        return Ok(());
    }
    if !folder.lock_file().is_file() {
        return Err(Failure::new(
            Code::Configuration,
            format!(
                "{} is not the data folder of a mesh; nothing was removed",
                path.display()
            ),
        ));
    }
    // Nobody may start on it meanwhile.
    let _lock = folder.lock()?;
    std::fs::remove_dir_all(path).tried(|| format!("cannot remove {}", path.display()))?;
    say(&format!("removed {}", path.display()));
    Ok(())
}
