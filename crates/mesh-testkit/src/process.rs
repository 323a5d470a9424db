//! Processes that end with the test that started them.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::eventually;

/// Lines of output kept for the case that the test fails.
const KEPT: usize = 2000;

/// A child in a process group of its own; the whole group is killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts it with its output captured.
    pub fn spawn(name: &str, mut command: Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut readers = Vec::new();
        if let Some(stdout) = child.stdout.take() {
            readers.push(capture(stdout, Arc::clone(&lines)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.push(capture(stderr, Arc::clone(&lines)));
        }
        Ok(Self {
            name: name.to_owned(),
            child,
            lines,
            readers,
        })
    }

    /// Process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .join("\n")
    }

    /// Sends a signal to the process alone (not to its group).
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.child.id()).context("process id")?;
        kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Waits for a line that satisfies `wanted`; fails at once if the process ends first.
    pub async fn wait_for_line(
        &mut self,
        deadline: Duration,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<String> {
        let lines = Arc::clone(&self.lines);
        let child = &mut self.child;
        let readers = &self.readers;
        let found = eventually("a line of output", deadline, async || {
            // It has ended when it is gone and all that it wrote was read.
            let read = readers.iter().all(JoinHandle::is_finished);
            let ended = child.try_wait().ok().flatten().filter(|_| read);
            let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            match (lines.iter().find(|line| wanted(line)), ended) {
                (Some(line), _) => Ok(Ok(line.clone())),
                (None, Some(status)) => Ok(Err(anyhow!("ended with {status}"))),
                (None, None) => Err("not written".to_owned()),
            }
        });
        found
            .await
            .and_then(|line| line)
            .with_context(|| format!("{}:\n{}", self.name, self.output()))
    }

    /// Waits for its end.
    pub async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let child = &mut self.child;
        let ended = eventually("the end of the process", deadline, async || {
            match child.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) => Err("still runs".to_owned()),
                Err(error) => Err(error.to_string()),
            }
        });
        ended
            .await
            .with_context(|| format!("{}:\n{}", self.name, self.output()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id())
            && matches!(self.child.try_wait(), Ok(None))
        {
            // It may end in this moment.
            let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- output of {}\n{}", self.name, self.output());
        }
    }
}

fn capture(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() >= KEPT {
                lines.drain(..KEPT / 2);
            }
            lines.push(String::from_utf8_lossy(&line).into_owned());
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::spawn("sh", command).unwrap()
    }

    #[tokio::test]
    async fn output_is_seen_and_the_end_is_noticed() {
        let mut process = shell("echo one; echo two; exit 3");
        let line = process
            .wait_for_line(Duration::from_secs(5), |line| line == "two")
            .await
            .unwrap();
        assert_eq!(line, "two");
        assert_eq!(
            process.wait(Duration::from_secs(5)).await.unwrap().code(),
            Some(3)
        );
        let mut process = shell("exit 1");
        let error = process
            .wait_for_line(Duration::from_secs(5), |_| false)
            .await
            .unwrap_err();
        assert!(format!("{error:#}").contains("ended with"), "{error:#}");
    }

    #[tokio::test]
    async fn dropping_kills_the_group() {
        let process = shell("sleep 100 & echo $!; wait");
        let mut process = process;
        let child = process
            .wait_for_line(Duration::from_secs(5), |line| !line.is_empty())
            .await
            .unwrap();
        let child = Pid::from_raw(child.parse().unwrap());
        drop(process);
        let gone = eventually("the grandchild's end", Duration::from_secs(5), async || {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            if stat.is_empty() || stat.contains(") Z ") {
                Ok(())
            } else {
                Err("still there".to_owned())
            }
        });
        gone.await.unwrap();
    }
}
