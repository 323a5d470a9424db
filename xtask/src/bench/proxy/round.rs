//! One measured round of load against one target, and the table that rounds become.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::median;
use super::super::peers::Peer;

/// What the generator does.
pub(super) struct Scenario {
    pub(super) name: &'static str,
    /// Latency is what it is about: everything runs in real time. Not when saturated, where the kernel throttles that.
    pub(super) real_time: bool,
    pub(super) args: &'static [&'static str],
    /// Requests that our telemetry counts for each answer of the generator (2 for a pair of proxies, 0 for bytes).
    pub(super) counted: u64,
}

/// What is measured: the processes that a request passes, and where it enters.
pub(super) struct Target {
    pub(super) label: &'static str,
    pub(super) address: String,
    pub(super) peers: Vec<Peer>,
}

impl Target {
    fn cpu_seconds(&self) -> f64 {
        self.peers.iter().map(Peer::cpu_seconds).sum()
    }

    /// Resident MiB of all its processes.
    pub(super) fn rss_mib(&self) -> f64 {
        self.peers.iter().map(Peer::rss_mib).sum()
    }

    pub(super) fn real_time(&self, on: bool) {
        for peer in &self.peers {
            peer.real_time(on);
        }
    }
}

/// One round's figures.
pub(super) struct Round {
    pub(super) rps: f64,
    pub(super) cpu_us: f64,
    pub(super) p50: f64,
    pub(super) p99: f64,
    pub(super) answered: u64,
}

/// Arguments that make the generator speak mutual TLS, or TLS.
pub(super) fn tls_args(certificates: &Path, mutual: bool) -> Vec<String> {
    let mut args: Vec<String> = ["--tls", "--sni", "server.mesh.local"].map(String::from).to_vec();
    if mutual {
        for (flag, file) in [("--cert", "client.pem"), ("--key", "client.key")] {
            args.extend([flag.into(), certificates.join(file).display().to_string()]);
        }
    }
    args
}

/// Loads `target` for `seconds`. Fails on any failed request.
pub(super) fn round(
    load: &Path,
    target: &Target,
    scenario: &Scenario,
    extra: &[String],
    seconds: u32,
) -> Result<Round> {
    // Under SCHED_OTHER the priority of 0 is the only one; niceness does the rest.
    let how = if scenario.real_time {
        ["-f", "10"]
    } else {
        ["-o", "0"]
    };
    let mut child = Command::new("chrt")
        .args(how)
        .args(["nice", "-n", "-15", "taskset", "-c", "1"])
        .arg(load)
        .args(["--addr", &target.address, "--warmup", "1.5"])
        .args(["--secs", &seconds.to_string()])
        .args(scenario.args)
        .args(extra)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let _ = std::fs::write(format!("/proc/{}/autogroup", child.id()), "-15");
    let mut lines =
        std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().context("no stderr")?));
    while let Some(line) = lines.next().transpose()? {
        if line.starts_with("MEASURE") {
            break;
        }
    }
    let before = target.cpu_seconds();
    let out = child.wait_with_output()?;
    let used = target.cpu_seconds() - before;
    let line: Value = serde_json::from_slice(&out.stdout).context("the generator's result")?;
    let number = |key: &str| line[key].as_f64().unwrap_or_default();
    ensure!(
        number("bad") == 0.0 && number("err") == 0.0,
        "{} failed requests at {}: {line}",
        scenario.name,
        target.label
    );
    Ok(Round {
        rps: number("rps"),
        cpu_us: used * 1e6 / number("ok").max(1.0),
        p50: number("p50_us"),
        p99: number("p99_us"),
        answered: line["total"].as_u64().unwrap_or_default(),
    })
}

/// Head of the tables.
pub(super) const HEAD: &str = "| scenario | proxy | CPU µs/request | ratio | rps | p50 µs | p99 µs | added p50 ratio | added p99 ratio |\n|---|---|---|---|---|---|---|---|---|\n";

/// One line for each target; ratios against the first one. `direct` holds rounds without any proxy, of which latency
/// is what a proxy adds to.
pub(super) fn rows(name: &str, measured: &[(&'static str, Vec<Round>)], direct: &[Round]) -> String {
    let medians = |rounds: &[Round]| {
        [
            median(rounds.iter().map(|r| r.cpu_us).collect()),
            median(rounds.iter().map(|r| r.rps).collect()),
            median(rounds.iter().map(|r| r.p50).collect()),
            median(rounds.iter().map(|r| r.p99).collect()),
        ]
    };
    let mut text = String::new();
    let base = measured.first().map(|(_, rounds)| medians(rounds));
    let [_, _, direct50, direct99] = medians(direct);
    for (label, rounds) in measured {
        let [cpu, rps, p50, p99] = medians(rounds);
        let [base_cpu, _, base50, base99] = base.unwrap_or([f64::NAN; 4]);
        let added = |own: f64, base: f64, direct: f64| {
            let ratio = (own - direct) / (base - direct);
            if ratio.is_finite() {
                format!("{ratio:.2}")
            } else {
                "".into()
            }
        };
        let _ = writeln!(
            text,
            "| {name} | {label} | {cpu:.1} | **{:.2}** | {rps:.0} | {p50:.0} | {p99:.0} | {} | {} |",
            cpu / base_cpu,
            added(p50, base50, direct50),
            added(p99, base99, direct99),
        );
    }
    if !direct.is_empty() {
        let _ = writeln!(
            text,
            "| {name} | none (direct) | | | | {direct50:.0} | {direct99:.0} | | |"
        );
    }
    text
}
