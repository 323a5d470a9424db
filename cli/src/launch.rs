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
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::unistd::{Pid, getpgrp, getppid, tcsetpgrp};

use crate::failure::{Code, Failure, Tried};

/// Who starts what.
#[derive(clap::Args)]
pub(crate) struct Launch {
    /// Process id of the supervisor.
    #[arg(long)]
    parent: i32,
    /// Take the terminal: what is typed goes to the program, Ctrl-C too.
    #[arg(long)]
    foreground: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Makes `group` the one that reads from the terminal, if standard input is one. Best effort: without it the program
/// runs, but cannot read.
pub(crate) fn take_terminal(group: Pid) {
    // A group in the background that asks is stopped by SIGTTOU, unless it is blocked.
    let ttou = SigSet::from(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    if sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ttou), Some(&mut before)).is_err() {
        return;
    }
    let _ = tcsetpgrp(std::io::stdin(), group);
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None);
}

/// Becomes the program; returns only if that fails.
pub(crate) fn run(launch: &Launch) -> Result<(), Failure> {
    prctl::set_pdeathsig(Signal::SIGKILL).tried(|| "cannot tie this process to its supervisor".to_owned())?;
    // The supervisor may have died before the line above took effect.
    if getppid().as_raw() != launch.parent {
        return Err(Failure::unavailable("the supervisor is gone"));
    }
    if launch.foreground {
        take_terminal(getpgrp());
    }
    let Some((program, arguments)) = launch.command.split_first() else {
        return Err(Failure::new(Code::Bug, "no program to launch"));
    };
    let error = Command::new(program).args(arguments).exec();
    Err(error).tried(|| format!("cannot start {}", program.display()))
}
