//! A real Prometheus scrapes the demo; every panel of the dashboards, and the queries that the field's tools send,
//! find data.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use mesh_testkit::{Process, eventually, free_port, get};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::demo::Place;

/// What dashboards call the window of a rate, and what fits a scrape every second.
const WINDOW: &str = "15s";

/// Time within which everything that will answer has answered.
const DEADLINE: Duration = Duration::from_secs(90);

struct Prometheus {
    address: SocketAddr,
    _process: Process,
    _data: tempfile::TempDir,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Escapes a query parameter.
fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| {
            if byte.is_ascii_alphanumeric() {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

impl Prometheus {
    /// Starts it on our own configuration, with the addresses of this demo.
    async fn start(metrics: SocketAddr) -> Result<Self> {
        let program = Path::new("/usr/bin/prometheus");
        ensure!(
            program.is_file(),
            "{} is missing; apt-get install prometheus",
            program.display()
        );
        let folder = repository().join("dashboards/prometheus");
        let data = tempfile::tempdir()?;
        let text = std::fs::read_to_string(folder.join("prometheus.yml"))?
            .replace("127.0.0.1:15014", &metrics.to_string())
            .replace("interval: 5s", "interval: 1s");
        std::fs::write(data.path().join("prometheus.yml"), text)?;
        for name in ["rules.yml", "alerts.yml"] {
            std::fs::copy(folder.join(name), data.path().join(name))?;
        }
        let address = free_port()?;
        let mut command = Command::new(program);
        command
            .arg(format!(
                "--config.file={}",
                data.path().join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                data.path().join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"));
        let process = Process::spawn("prometheus", command)?;
        eventually("prometheus", Duration::from_secs(30), async || {
            match get(&format!("http://{address}/-/ready")).await {
                Ok(answer) if answer.status == 200 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        Ok(Self {
            address,
            _process: process,
            _data: data,
        })
    }

    /// Number of series that answer; an error for a query that it refuses.
    async fn ask(&self, query: &str) -> Result<usize> {
        let url = format!("http://{}/api/v1/query?query={}", self.address, escape(query));
        let answer: Value = serde_json::from_str(&get(&url).await?.text())?;
        ensure!(answer["status"] == "success", "{query}: {}", answer["error"]);
        let result = answer["data"]["result"].as_array().context("no result")?;
        // NaN is what 0/0 gives: no data.
        Ok(result.iter().filter(|series| series["value"][1] != "NaN").count())
    }
}

/// Every expression of every dashboard, by `dashboard / panel`.
fn panels() -> Result<BTreeMap<String, Vec<String>>> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(repository().join("dashboards/grafana"))? {
        let dashboard: Value = serde_json::from_str(&std::fs::read_to_string(file?.path())?)?;
        let uid = dashboard["uid"].as_str().context("no uid")?;
        for panel in dashboard["panels"].as_array().context("no panels")? {
            let Some(targets) = panel["targets"].as_array() else {
                continue;
            };
            let title = panel["title"].as_str().context("no title")?;
            let queries = targets
                .iter()
                .filter_map(|target| target["expr"].as_str().map(substitute));
            found.insert(format!("{uid}\t{title}"), queries.collect());
        }
    }
    ensure!(found.len() > 50, "only {} panels", found.len());
    Ok(found)
}

/// What Grafana puts in for variables when everything is chosen.
fn substitute(expr: &str) -> String {
    let mut out = String::new();
    let mut rest = expr.replace("$__rate_interval", WINDOW);
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let name = rest[at + 1..]
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .map_or(rest.len(), |length| at + 1 + length);
        out.push_str(".*");
        rest = rest[name..].to_owned();
    }
    out + &rest
}

/// Lines of a table of the repository, without its comments.
fn table(path: &str) -> Result<Vec<Vec<String>>> {
    let text = std::fs::read_to_string(repository().join(path))?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect())
}

#[tokio::test]
async fn every_panel_and_known_query_finds_data() -> Result<()> {
    let mut wanted: BTreeMap<String, Vec<String>> = panels()?;
    let mut may_be_empty = BTreeSet::new();
    for line in table("dashboards/may-be-empty.tsv")? {
        let [dashboard, panel, reason] = line.as_slice() else {
            anyhow::bail!("not dashboard, panel, reason: {line:?}");
        };
        ensure!(!reason.is_empty(), "{panel}: a reason is needed");
        let name = format!("{dashboard}\t{panel}");
        ensure!(wanted.contains_key(&name), "{name}: there is no such panel");
        may_be_empty.insert(name);
    }
    for line in table("tests/data/promql/known.tsv")? {
        let [name, query] = line.as_slice() else {
            anyhow::bail!("not name, query: {line:?}");
        };
        let query = query
            .replace("[1m]", &format!("[{WINDOW}]"))
            .replace("[5m]", "[1m]");
        wanted.insert(format!("known\t{name}"), vec![query]);
    }

    let place = Place::new()?;
    let demo = place.start(&["--rps", "50"]).await?;
    let began = std::time::Instant::now();
    let prometheus = Prometheus::start(place.address("--metrics-address")?).await?;
    let missing = eventually("data in every panel", DEADLINE, async || {
        // Pushes and their durations have data only while configuration changes.
        let share = 10
            + u32::from(
                std::time::Instant::now()
                    .duration_since(began)
                    .as_secs()
                    .is_multiple_of(2),
            );
        if let Err(error) = demo.set_reviews_weights(100 - share, share).await {
            return Err(format!("{error:#}"));
        }
        let mut missing = Vec::new();
        for (name, queries) in &wanted {
            for query in queries {
                match prometheus.ask(query).await {
                    Ok(0) if !may_be_empty.contains(name) => missing.push(format!("{name}\t{query}")),
                    Ok(_) => {}
                    Err(error) => missing.push(format!("{name}\trefused: {error:#}")),
                }
            }
        }
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} without data:\n{}", missing.len(), missing.join("\n")))
        }
    })
    .await;
    demo.stop(Signal::SIGINT).await?;
    missing
}
