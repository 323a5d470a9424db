//! Looks at processes from outside.

use std::time::Duration;

use anyhow::Result;
use mesh_testkit::eventually;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Whether a process runs (one that ended but was not yet waited for does not).
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses and may hold anything.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Children of a process.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let listed = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    listed
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .collect()
}

/// Waits until none of them runs.
pub(crate) async fn gone(pids: &[i32], deadline: Duration) -> Result<()> {
    eventually("the end of every process", deadline, async || {
        let left: Vec<_> = pids.iter().filter(|pid| is_alive(**pid)).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("{left:?} still run"))
        }
    })
    .await
}

/// Kills a process as the kernel would for want of memory.
pub(crate) fn kill_hard(pid: i32) -> Result<()> {
    Ok(kill(Pid::from_raw(pid), Signal::SIGKILL)?)
}
