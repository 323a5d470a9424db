//! One supervised process: what to run, whether it runs, when to run it again.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::failure::{Failure, Tried};
use crate::supervisor::log;

/// Pause before the first restart; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A process that ran this long begins with the first pause again.
const STEADY: Duration = Duration::from_secs(10);

/// Which processes end together; the order of the variants is the order of an orderly end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    /// Makes load.
    Load,
    /// Lets load in.
    Gateway,
    /// Sidecars and their applications.
    Workloads,
    /// Shows and steers.
    Console,
    /// Gathers what the proxies counted until their last request.
    ControlPlane,
}

impl Stage {
    /// In the order of an orderly end.
    pub(crate) const ALL: [Self; 5] = [
        Self::Load,
        Self::Gateway,
        Self::Workloads,
        Self::Console,
        Self::ControlPlane,
    ];
}

/// How a process is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs again when it died; its output goes to its log.
    Service,
    /// Runs once; has the terminal.
    Command,
}

/// What to run.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// Name in status and log file.
    pub(crate) name: String,
    /// Executable.
    pub(crate) program: PathBuf,
    /// Arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Environment beside the supervisor's own.
    pub(crate) environment: Vec<(String, String)>,
    /// When it ends.
    pub(crate) stage: Stage,
    /// Whether it is a service of the mesh, or somebody's own command.
    pub(crate) kind: Kind,
    /// Where it can be reached, for people.
    pub(crate) address: String,
}

/// Where a process is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// Runs.
    Running,
    /// Died, will be started again.
    Restarting,
    /// Was stopped.
    Stopped,
}

/// What others may know of a process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// Name.
    pub(crate) name: String,
    /// Process id while it runs.
    pub(crate) pid: Option<i32>,
    /// Where it is in its life.
    pub(crate) phase: Phase,
    /// How often it was started again.
    pub(crate) restarts: u32,
    /// Where it can be reached.
    pub(crate) address: String,
    /// Its log file.
    pub(crate) log: PathBuf,
    /// Exit code of a command that ended; 128 and the signal's number if a signal ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) exit: Option<u8>,
}

/// A process that is alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Running {
    pid: Pid,
    since: Instant,
}

impl Running {
    pub(super) fn since_now(pid: i32) -> Self {
        Self {
            pid: Pid::from_raw(pid),
            since: Instant::now(),
        }
    }
}

/// A process and its life so far.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) spec: Spec,
    pub(super) running: Option<Running>,
    pub(super) restarts: u32,
    pub(super) exit: Option<u8>,
    pause: Duration,
    wanted: bool,
}

impl Process {
    pub(super) fn new(spec: Spec) -> Self {
        Self {
            spec,
            running: None,
            restarts: 0,
            exit: None,
            pause: FIRST_PAUSE,
            wanted: true,
        }
    }

    /// Asks it to end, and not to be started again.
    pub(super) fn stop(&mut self) {
        self.wanted = false;
        self.signal(Signal::SIGTERM);
    }

    /// Passes a signal on.
    pub(super) fn pass_on(&self, signal: Signal) {
        self.signal(signal);
    }

    /// Ends it, and what it may have started.
    pub(super) fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    /// Each child leads a process group of its own, so that its children get the signal, too.
    fn signal(&self, signal: Signal) {
        let Some(running) = self.running else { return };
        match killpg(running.pid, signal) {
            // It ended in this moment.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(error) => tracing::warn!(process = self.spec.name, %error, "cannot send {signal}"),
        }
    }

    /// Notes its end; says when to start it again.
    pub(super) fn exited(&mut self) -> Option<Duration> {
        // What it started must not hold its addresses.
        self.kill();
        let steady = self
            .running
            .take()
            .is_some_and(|running| running.since.elapsed() >= STEADY);
        if self.spec.kind == Kind::Command {
            self.wanted = false;
        }
        if !self.wanted {
            return None;
        }
        if steady {
            self.pause = FIRST_PAUSE;
        }
        let pause = self.pause;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Some(pause)
    }

    pub(super) fn may_restart(&self) -> bool {
        self.wanted && self.running.is_none()
    }

    pub(super) fn state(&self, logs: &Path) -> State {
        State {
            name: self.spec.name.clone(),
            pid: self.running.map(|running| running.pid.as_raw()),
            phase: match (self.running, self.wanted) {
                (Some(_), _) => Phase::Running,
                (None, true) => Phase::Restarting,
                (None, false) => Phase::Stopped,
            },
            restarts: self.restarts,
            address: self.spec.address.clone(),
            log: match self.spec.kind {
                Kind::Service => logs.join(format!("{}.log", self.spec.name)),
                Kind::Command => PathBuf::from("(its terminal)"),
            },
            exit: self.exit,
        }
    }
}

/// Exit code as shells tell it.
pub(super) fn exit_code(status: std::process::ExitStatus) -> u8 {
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX)
}

/// Starts the process through `sightline launch`.
pub(super) fn spawn(spec: &Spec, launcher: &Path, log: PathBuf) -> Result<Child, Failure> {
    let what = || format!("cannot start {}", spec.name);
    let mut command = Command::new(launcher);
    command
        .arg("launch")
        .args(["--parent", &std::process::id().to_string()]);
    if spec.kind == Kind::Command && std::io::stdin().is_terminal() {
        command.arg("--foreground");
    }
    command
        .arg("--")
        .arg(&spec.program)
        .args(&spec.arguments)
        .envs(spec.environment.iter().map(|(name, value)| (name, value)))
        .process_group(0);
    if spec.kind == Kind::Command {
        return command.spawn().tried(what);
    }
    let (reader, writer) = std::io::pipe().tried(what)?;
    command
        // Logs are files.
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(writer.try_clone().tried(what)?)
        .stderr(writer);
    let child = command.spawn().tried(what)?;
    // The command holds the writing end: while it lives, the log would never end.
    drop(command);
    log::pump(reader, log).tried(what)?;
    Ok(child)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        Process::new(Spec {
            name: "p".to_owned(),
            program: PathBuf::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            stage: Stage::Load,
            kind: Kind::Service,
            address: String::new(),
        })
    }

    #[test]
    fn a_command_runs_once() {
        let mut process = process();
        process.spec.kind = Kind::Command;
        assert_eq!(process.exited(), None);
        assert!(!process.may_restart());
    }

    #[test]
    fn pauses_double_up_to_the_longest() {
        let mut process = process();
        let pauses: Vec<_> = (0..8)
            .filter_map(|_| process.exited())
            .map(|pause| pause.as_millis())
            .collect();
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]);
    }

    #[test]
    fn a_stopped_process_stays_stopped() {
        let mut process = process();
        process.stop();
        assert_eq!(process.exited(), None);
        assert!(!process.may_restart());
        assert_eq!(process.state(Path::new("/logs")).phase, Phase::Stopped);
    }
}
