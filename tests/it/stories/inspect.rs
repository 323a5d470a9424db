//! The commands that look into a mesh, on a demo: what they print, as tables and for programs, and how they fail.

use std::time::Duration;

use anyhow::{Context, Result};
use mesh_testkit::{Process, eventually};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::demo::Place;

/// A command of a debug build on a busy machine.
const ANSWER: Duration = Duration::from_secs(20);

/// A command line after `sightline`, its exit code, and what its output must have.
struct Case(&'static [&'static str], i32, &'static [&'static str]);

const CASES: &[Case] = &[
    Case(
        &["proxy-status"],
        0,
        &["NAME", "STATE", "reviews-v1", "istio-ingressgateway", "synced"],
    ),
    Case(&["proxy-status", "no-such-proxy", "-o", "json"], 0, &["[]"]),
    Case(
        &["proxy-config", "cluster", "productpage-v1"],
        0,
        &["reviews.default.svc.cluster.local", "9080"],
    ),
    Case(
        &["proxy-config", "endpoint", "productpage-v1", "--name", "ratings"],
        0,
        &["ratings", "HEALTHY"],
    ),
    Case(&["proxy-config", "listener", "productpage-v1"], 0, &["15001"]),
    Case(
        &["proxy-config", "route", "productpage-v1", "-o", "yaml"],
        0,
        &["reviews", "virtual_hosts"],
    ),
    Case(
        &["proxy-config", "secret", "productpage-v1"],
        0,
        &["default", "ROOTCA"],
    ),
    Case(
        &["proxy-config", "bootstrap", "productpage-v1", "-o", "json"],
        0,
        &["SIGHTLINE_APPLICATION_ADDRESS"],
    ),
    Case(
        &["proxy-config", "log", "productpage-v1", "--level", "debug"],
        0,
        &["debug"],
    ),
    Case(
        &["proxy-config", "cluster", "no-such-pod"],
        69,
        &["no-such-pod", "productpage-v1"],
    ),
    Case(&["status"], 0, &["console", "controlplane", "running"]),
    Case(&["dashboard", "console"], 0, &["http://127."]),
    Case(&["analyze", "--live"], 0, &[]),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_what_runs() -> Result<()> {
    let place = Place::new()?;
    let demo = place.start(&["--no-load"]).await?;
    eventually("every proxy is synced", ANSWER, async || {
        let told = run(&place, &["proxy-status", "-o", "json"]).await;
        let (_, text) = told.map_err(|error| error.to_string())?;
        let proxies: Vec<Value> = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let synced = proxies.iter().filter(|proxy| proxy["state"] == "synced");
        if proxies.len() >= 9 && synced.count() == proxies.len() {
            Ok(())
        } else {
            Err(text)
        }
    })
    .await?;
    let mut wrong = Vec::new();
    for Case(arguments, code, parts) in CASES {
        let (found, text) = run(&place, arguments).await?;
        let lacking: Vec<_> = parts.iter().filter(|part| !text.contains(**part)).collect();
        if found != Some(*code) || !lacking.is_empty() {
            wrong.push(format!(
                "{arguments:?}: exit {found:?} (wanted {code}), lacks {lacking:?}:\n{text}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    demo.stop(Signal::SIGINT).await?;
    Ok(())
}

/// A file that is wrong is told with its line, by itself and as if it were applied.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn analyze_names_the_line() -> Result<()> {
    let place = Place::new()?;
    let file = place.data().join("wrong.yaml");
    let text = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: wrong\n  namespace: default\nspec:\n  hosts: [reviews]\n  http:\n  - route:\n    - destination: {host: reviews, subset: v9}\n      wieght: 100\n";
    std::fs::write(&file, text)?;
    let name = file.to_str().context("not text")?;
    let (code, text) = run(&place, &["analyze", name]).await?;
    assert_eq!(code, Some(1), "{text}");
    for part in ["wieght", "11"] {
        assert!(text.contains(part), "lacks {part}: {text}");
    }
    Ok(())
}

/// Runs a command of `sightline` to its end; exit code and both outputs.
async fn run(place: &Place, arguments: &[&str]) -> Result<(Option<i32>, String)> {
    let (name, rest) = arguments.split_first().context("no command")?;
    let files = *name == "analyze" && !rest.contains(&"--live");
    let mut command = if files {
        let mut command = std::process::Command::new(mesh_testkit::binary("sightline")?);
        command.arg(name);
        command
    } else {
        place.sightline(name)?
    };
    command.args(rest);
    let mut process = Process::spawn("sightline", command)?;
    let status = process.wait(ANSWER).await?;
    Ok((status.code(), process.output()))
}
