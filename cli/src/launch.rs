//! The step between the supervisor and each child: ties the child's life to the supervisor's.
//!
//! A child of the supervisor is this program first (`sightline launch`): it asks the kernel to be killed when its
//! parent dies, however that happens, and then becomes the real program. So nothing outlives the supervisor, and
//! no watcher process is needed that could be killed itself.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

use crate::failure::{Code, Failure, Tried};

/// Who starts what.
#[derive(clap::Args)]
pub(crate) struct Launch {
    /// Process id of the supervisor.
    #[arg(long)]
    parent: i32,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the program; returns only if that fails.
pub(crate) fn run(launch: &Launch) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).tried(|| "cannot tie this process to its supervisor".to_owned())?;
    // The supervisor may have died before the line above took effect.
    if getppid().as_raw() != launch.parent {
        return Err(Failure::unavailable("the supervisor is gone"));
    }
    let Some((program, arguments)) = launch.command.split_first() else {
        return Err(Failure::new(Code::Bug, "no program to launch"));
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).tried(|| format!("cannot start {}", program.display()))
}
