//! A PostgreSQL server for one test: Debian's, in a folder of its own, gone when the test ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use nix::unistd::{User, chown, geteuid};
use tempfile::TempDir;

use crate::{Process, free_port};

const MISSING: &str = "PostgreSQL is missing; get it: apt-get install postgresql";
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(10);

/// A running server on 127.0.0.1, user `sightline`, no password.
#[derive(Debug)]
pub struct Postgres {
    folder: TempDir,
    programs: PathBuf,
    owner: Option<User>,
    settings: Vec<String>,
    port: u16,
    process: Option<Process>,
}

impl Postgres {
    /// Starts a server that is quick rather than safe against power cuts.
    pub async fn start() -> Result<Self> {
        Self::start_with(&["fsync=off", "synchronous_commit=off"]).await
    }

    /// Starts a server with settings of its own (`name=value`).
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        let programs = programs().context(MISSING)?;
        let folder = tempfile::Builder::new().prefix("sightline-postgres-").tempdir()?;
        // The server refuses to run as root.
        let owner = if geteuid().is_root() {
            let user = ["postgres", "nobody"]
                .into_iter()
                .find_map(|name| User::from_name(name).ok().flatten())
                .context("neither the user postgres nor nobody exists; PostgreSQL refuses to run as root")?;
            chown(folder.path(), Some(user.uid), Some(user.gid))?;
            Some(user)
        } else {
            None
        };
        let mut server = Self {
            folder,
            programs,
            owner,
            settings: settings.iter().map(|&setting| setting.to_owned()).collect(),
            port: free_port()?.port(),
            process: None,
        };
        server.initialise()?;
        server.run().await?;
        Ok(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("LC_ALL", "C");
        if let Some(owner) = &self.owner {
            command.uid(owner.uid.as_raw()).gid(owner.gid.as_raw());
        }
        command
    }

    fn initialise(&self) -> Result<()> {
        let mut command = self.command("initdb");
        command
            .args([
                "--username=sightline",
                "--auth=trust",
                "--encoding=UTF8",
                "--locale=C",
            ])
            .args(["--no-sync", "--no-instructions", "--pgdata"])
            .arg(self.data());
        let output = command.output().context("cannot start initdb")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    /// Runs the server (again), with the same data on the same port.
    pub async fn run(&mut self) -> Result<()> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data());
        let port = format!("port={}", self.port);
        let fixed = ["listen_addresses=127.0.0.1", "unix_socket_directories=", &port];
        for setting in fixed.into_iter().chain(self.settings.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let mut process = Process::spawn("postgres", command)?;
        process
            .wait_for_line(START, |line| line.contains("ready to accept connections"))
            .await?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends the server; its data stays for [`Postgres::run`].
    pub fn stop(&mut self) {
        let Some(process) = self.process.take() else {
            return;
        };
        // The kind end first: it leaves no shared memory behind. What does not end is killed by its drop.
        let stat = format!("/proc/{}/stat", process.pid());
        let ended = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        let since = Instant::now();
        if process.signal(Signal::SIGINT).is_ok() {
            while !ended() && since.elapsed() < STOP {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://sightline@127.0.0.1:{}/{database}", self.port)
    }

    /// Makes a database; answers its URL.
    pub fn create(&self, database: &str) -> Result<String> {
        self.sql("postgres", &format!("CREATE DATABASE {database}"))?;
        Ok(self.url(database))
    }

    /// Runs statements; answers what they print, unaligned.
    pub fn sql(&self, database: &str, statements: &str) -> Result<String> {
        let mut command = self.command("psql");
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d"]);
        let output = command.arg(self.url(database)).args(["-c", statements]).output();
        let output = output.context("cannot start psql")?;
        if !output.status.success() {
            bail!("psql: {}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Folder of the programs: of the newest version where Debian puts them, else of `initdb` on the PATH.
fn programs() -> Option<PathBuf> {
    let has = |folder: &Path| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let version = entry.file_name().to_str()?.parse().ok()?;
            Some((version, entry.path().join("bin")))
        })
        .filter(|(_, folder)| has(folder))
        .collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    versions
        .pop()
        .map(|(_, folder)| folder)
        .or_else(|| std::env::split_paths(&path).find(|folder| has(folder)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::Postgres;

    #[tokio::test]
    async fn a_server_starts_stops_and_goes_on() {
        let mut server = Postgres::start().await.unwrap();
        server.create("shop").unwrap();
        server
            .sql("shop", "CREATE TABLE t (x INT); INSERT INTO t VALUES (7)")
            .unwrap();
        server.stop();
        assert!(server.sql("shop", "SELECT x FROM t").is_err());
        server.run().await.unwrap();
        assert_eq!(server.sql("shop", "SELECT x FROM t").unwrap(), "7");
    }
}
