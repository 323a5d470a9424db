//! The demo's figures: start, first request on screen, save to effect, memory, size of the page.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{conditions, http, median, peers};

const CONSOLE: &str = "127.0.0.1:20001";
const GATEWAY: &str = "127.0.0.1:8080";
const TRIES: usize = 100;

struct Demo(Child);

impl Drop for Demo {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        let _ = self.0.wait();
    }
}

/// Starts the built demo without load and returns the Markdown section.
pub(super) fn measure(root: &Path) -> Result<String> {
    let target = crate::root::target();
    let binary = target.join("debug/sightline");
    ensure!(binary.exists(), "build the demo first: `cargo xtask demo`");
    let data = target.join("bench-demo");
    let _ = std::fs::remove_dir_all(&data);
    let begin = Instant::now();
    let mut child = Command::new(&binary)
        .args(["demo", "--no-load", "--data"])
        .arg(&data)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let stdout = child.stdout.take().context("no stdout")?;
    let demo = Demo(child);
    let ready = BufReader::new(stdout)
        .lines()
        .map_while(Result::ok)
        .any(|l| l.starts_with("ready"));
    ensure!(
        ready,
        "the demo ended before it was ready; logs: {}",
        data.join("logs").display()
    );
    let start = begin.elapsed();
    let mut visible: Vec<f64> = (0..TRIES).map(|_| first_visible()).collect::<Result<_>>()?;
    visible.sort_by(f64::total_cmp);
    let token = std::fs::read_to_string(data.join("token"))?;
    let saves: Vec<f64> = (0..10)
        .map(|turn| save_to_effect(token.trim(), turn))
        .collect::<Result<_>>()?;
    let memory = memory(demo.0.id());
    let mut report = String::from("## Mesh: the demo\n\n");
    report.push_str(&conditions(", development build"));
    let _ = writeln!(report, "| figure | value |\n|---|---|");
    let _ = writeln!(
        report,
        "| built demo up and serving, empty data folder | {:.1} s |",
        start.as_secs_f64()
    );
    let _ = writeln!(
        report,
        "| request answered to visible in `/api/graph`, {TRIES} tries | p50 {:.0} ms, p99 {:.0} ms |",
        median(visible.clone()),
        visible.get(TRIES * 99 / 100).copied().unwrap_or_default()
    );
    let _ = writeln!(
        report,
        "| save in the console to acknowledged by every demo proxy, 10 tries | median {:.0} ms, worst {:.0} ms |",
        median(saves.clone()),
        saves.iter().copied().fold(0.0, f64::max)
    );
    for (name, mib) in memory {
        let _ = writeln!(report, "| resident memory, {name} | {mib:.1} MiB |");
    }
    if let Some(bytes) = page_bytes(root) {
        let _ = writeln!(
            report,
            "| initial load of the console, brotli | {:.0} KiB |",
            bytes as f64 / 1024.0
        );
    }
    if let Some(paint) = first_paint(root) {
        let _ = writeln!(
            report,
            "| first contentful paint, median of 5 fresh browsers | {paint} ms |"
        );
    }
    report.push('\n');
    Ok(report)
}

fn gateway_requests() -> Result<u64> {
    let graph: Value = serde_json::from_str(&http::get(CONSOLE, "/api/graph?type=workload&from=now-10m")?)?;
    Ok(graph["edges"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|e| e["source"] == "unknown" && e["target"] == "istio-system/istio-ingressgateway")
        .filter_map(|e| e["requests"].as_u64())
        .sum())
}

/// Milliseconds from the answer of one request to its count in the graph.
fn first_visible() -> Result<f64> {
    let before = gateway_requests()?;
    let answer = http::exchange(GATEWAY, "GET", "/productpage", "", "")?;
    ensure!(answer.status == 200, "the shop answered {}", answer.status);
    let begin = Instant::now();
    while gateway_requests()? <= before {
        ensure!(
            begin.elapsed() < Duration::from_secs(10),
            "the request never became visible"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}

/// Milliseconds from a save of the reviews VirtualService to its acknowledgement by all proxies.
fn save_to_effect(token: &str, turn: usize) -> Result<f64> {
    let path = "/api/objects/VirtualService/default/reviews";
    let headers = format!("Authorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let object: Value = serde_json::from_str(&http::exchange(CONSOLE, "GET", path, &headers, "")?.body)?;
    let yaml = object["yaml"].as_str().context("no yaml")?;
    let marked = mark(yaml, turn);
    let body =
        serde_json::json!({"yaml": marked, "resource_version": object["resource_version"], "dry_run": false});
    let begin = Instant::now();
    let saved = http::exchange(CONSOLE, "PUT", path, &headers, &body.to_string())?;
    ensure!(
        saved.status == 200,
        "the save answered {}: {}",
        saved.status,
        saved.body
    );
    let saved: Value = serde_json::from_str(&saved.body)?;
    let version = saved["resource_version"].as_str().unwrap_or_default();
    let query = format!(
        "/api/propagation?kind=VirtualService&namespace=default&name=reviews&resourceVersion={version}"
    );
    loop {
        let p: Value = serde_json::from_str(&http::get(CONSOLE, &query)?)?;
        if p["total"].as_u64() > Some(0) && p["live"] == p["total"] {
            return Ok(begin.elapsed().as_secs_f64() * 1e3);
        }
        ensure!(
            begin.elapsed() < Duration::from_secs(10),
            "the save never became live: {p}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Changes the weights, so that each save changes what proxies run.
fn mark(yaml: &str, turn: usize) -> String {
    let mut weights = [50 + turn, 50 - turn].into_iter();
    let mut out = String::new();
    for line in yaml.lines() {
        match line.split_once("weight: ") {
            Some((before, _)) => {
                let weight = weights.next().unwrap_or_default();
                let _ = writeln!(out, "{before}weight: {weight}");
            }
            None => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}

/// Milliseconds, where the browser tests' packages are installed.
fn first_paint(root: &Path) -> Option<String> {
    let out = Command::new("node")
        .args(["paint.mjs", &format!("http://{CONSOLE}/")])
        .current_dir(root.join("tests/browser"))
        .stderr(Stdio::inherit())
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
    out.status.success().then_some(text)
}

fn memory(supervisor: u32) -> Vec<(String, f64)> {
    let mut rows: Vec<(String, f64)> =
        vec![("supervisor with API server".into(), peers::rss_mib(supervisor))];
    let mut proxies = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<u32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let parent = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .nth(1)
            .and_then(|p| p.parse().ok());
        if parent != Some(supervisor) {
            continue;
        }
        let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let name = command
            .split('\0')
            .next()
            .unwrap_or_default()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        match name.as_str() {
            "sightline-proxy" => proxies.push(peers::rss_mib(pid)),
            "sightline-controlplane" | "sightline-console" => rows.push((name, peers::rss_mib(pid))),
            _ => {}
        }
    }
    let largest = proxies.iter().copied().fold(0.0, f64::max);
    rows.push((format!("sidecar, median of {}", proxies.len()), median(proxies)));
    rows.push(("sidecar, largest".into(), largest));
    rows
}

/// Sum of the brotli twins of the page and of what it names; lazy islands are not named by it.
fn page_bytes(root: &Path) -> Option<u64> {
    let dist = root.join("console-ui/dist");
    let page = std::fs::read_to_string(dist.join("index.html")).ok()?;
    let mut sum = std::fs::metadata(dist.join("index.html.br")).ok()?.len();
    for entry in std::fs::read_dir(dist.join("assets")).ok()?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Fonts are compressed already and named by the style sheet.
        if name.ends_with(".woff2") || name.strip_suffix(".br").is_some_and(|asset| page.contains(asset)) {
            sum += entry.metadata().ok()?.len();
        }
    }
    Some(sum)
}
