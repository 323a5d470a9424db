//! Processes of the world: started under a guard that ends them with the test, output kept.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::access_log::AccessLog;

/// Where binaries are and where their logs go.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The echo binary; also the guard.
    pub echo: PathBuf,
    /// Folder of the mesh's own binaries.
    pub folder: PathBuf,
    /// Folder for logs.
    pub logs: PathBuf,
}

/// A started process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    /// Name for logs and errors.
    pub name: String,
    child: Child,
}

impl Programs {
    /// Path of one of the mesh's binaries, or how to get it.
    pub fn binary(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.folder.join(name);
        if !path.exists() {
            bail!(
                "{} is missing; build it first: cargo build --bin {name}",
                path.display()
            );
        }
        Ok(path)
    }

    /// Starts a program. Its standard output goes to the access log and `<logs>/<name>.out`, its standard error to
    /// `<logs>/<name>.log`.
    ///
    /// To be called on a thread that lives as long as the processes shall: the kernel ends them with it.
    pub fn start(
        &self,
        name: &str,
        program: &Path,
        arguments: &[String],
        log: AccessLog,
    ) -> anyhow::Result<Process> {
        let file = std::fs::File::create(self.logs.join(format!("{name}.log")))
            .with_context(|| format!("log of {name} in {}", self.logs.display()))?;
        let mut child = Command::new(&self.echo)
            .arg("guard")
            .arg("--")
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::from(file))
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("start {name}"))?;
        if let Some(output) = child.stdout.take() {
            let mut kept = std::fs::File::create(self.logs.join(format!("{name}.out")))?;
            tokio::spawn(async move {
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    log.push(&line);
                    let _ = writeln!(kept, "{line}");
                }
            });
        }
        Ok(Process {
            name: name.to_owned(),
            child,
        })
    }
}

impl Process {
    /// Fails if the process has ended.
    pub fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("{} ended: {status}; see its log", self.name),
            None => Ok(()),
        }
    }
}
