//! CPU per request of a plain HTTP/1 route, beside Envoy on the same bootstrap file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::peers::{Peer, envoy};
use super::{Options, conditions, http, median};

const BACKEND: &str = "127.0.0.1:19001";
const SINK: &str = "127.0.0.1:19010";
const SINK_COUNT: &str = "127.0.0.1:19011";
const OURS_PORT: u16 = 18180;
const ENVOY_PORT: u16 = 18080;

struct Scenario {
    name: &'static str,
    /// Latency is what it is about: everything runs in real time. Not when saturated, where the kernel throttles that.
    real_time: bool,
    args: &'static [&'static str],
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "plain, saturated, 64 connections",
        real_time: false,
        args: &["--conns", "64"],
    },
    Scenario {
        name: "plain, 2000 rps",
        real_time: true,
        args: &["--conns", "64", "--rate", "2000"],
    },
    Scenario {
        name: "new connection per request",
        real_time: false,
        args: &["--conns", "32", "--close"],
    },
    Scenario {
        name: "1 MiB bodies",
        real_time: false,
        args: &["--conns", "16", "--path", "/size/1048576"],
    },
];

/// One round's figures.
struct Round {
    rps: f64,
    cpu_us: f64,
    p50: f64,
    p99: f64,
    answered: u64,
}

/// Runs every scenario and returns the Markdown section.
pub(super) fn measure(options: &Options) -> Result<String> {
    let bins = build()?;
    let work = bins.join("bench-work");
    std::fs::create_dir_all(&work)?;
    let envoy_path = envoy(options.envoy.as_ref())?;
    let path = |name: &str| bins.join(name).display().to_string();
    let backend = Peer::start(
        "backend",
        BACKEND,
        "1",
        &work.join("backend.log"),
        &[path("bench-backend"), BACKEND.into()],
    )?;
    let _sink = Peer::start(
        "sink",
        SINK_COUNT,
        "1",
        &work.join("sink.log"),
        &[path("bench-otlp-sink"), SINK.into()],
    )?;
    let bootstrap = |port: u16| -> Result<String> {
        let file = work.join(format!("plain-{port}.json"));
        std::fs::write(&file, serde_json::to_string_pretty(&plain_bootstrap(port))?)?;
        Ok(file.display().to_string())
    };
    let peer = start_envoy(&envoy_path, &bootstrap(ENVOY_PORT)?, &work)?;
    let command = [
        path("sightline-proxy"),
        "-c".into(),
        bootstrap(OURS_PORT)?,
        "--concurrency".into(),
        "1".into(),
        "--telemetry-endpoint".into(),
        format!("http://{SINK}"),
    ];
    let ours = Peer::start(
        "sightline",
        &format!("127.0.0.1:{OURS_PORT}"),
        "0",
        &work.join("sightline.log"),
        &command,
    )?;
    let idle = (peer.rss_mib(), ours.rss_mib());

    let version = super::output(&envoy_path.display().to_string(), &["--version"]);
    let version = version
        .rsplit("version: ")
        .next()
        .and_then(|v| v.split('/').nth(1))
        .unwrap_or("unknown")
        .to_owned();
    let mut report = String::from("## Proxy beside Envoy\n\n");
    report.push_str(&conditions(&format!(", Envoy {version}")));
    let _ = writeln!(
        report,
        "Both run the same bootstrap file with one worker on core 0; backend and generator share core 1. Ours pushes \
         telemetry (OTLP, every 250 ms) to a sink during every round; the run fails unless the sink's count equals the \
         generator's. {} interleaved rounds of {} s, medians.\n",
        options.rounds, options.seconds
    );
    let _ = writeln!(
        report,
        "Load average of the machine at the start: {} (other work shares both cores when it is above 2; CPU time per \
         request stands, rates and latencies suffer, except those at 2000 rps, where both proxies, the backend and the \
         generator run in real time (SCHED_FIFO)).\n",
        load_average()
    );
    report.push_str("| scenario | CPU µs/request Envoy | ours | ratio | rps Envoy | ours | p50 µs Envoy | ours | p99 µs Envoy | ours |\n|---|---|---|---|---|---|---|---|---|---|\n");
    let load = bins.join("bench-load");
    let mut answered = 0;
    for scenario in SCENARIOS {
        for one in [&backend, &peer, &ours] {
            one.real_time(scenario.real_time);
        }
        let (mut theirs, mut own) = (Vec::new(), Vec::new());
        for _ in 0..options.rounds {
            theirs.push(round(&load, &peer, scenario, options.seconds)?);
            own.push(round(&load, &ours, scenario, options.seconds)?);
        }
        answered += own.iter().map(|r| r.answered).sum::<u64>();
        report.push_str(&row(scenario.name, &theirs, &own));
    }
    let counted = wait_for_count(answered)?;
    let _ = writeln!(
        report,
        "\nThe sink counted {counted} requests, the generator {answered}. Resident memory at start: Envoy {:.1} MiB, ours {:.1} MiB; after the run {:.1} and {:.1} MiB.\n",
        idle.0,
        idle.1,
        peer.rss_mib(),
        ours.rss_mib()
    );
    Ok(report)
}

/// One-minute load average.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

fn build() -> Result<PathBuf> {
    let ok = crate::root::cargo()
        .args([
            "build",
            "--release",
            "-p",
            "sightline-proxy",
            "-p",
            "sightline-bench",
        ])
        .status()?
        .success();
    ensure!(ok, "the release build failed");
    let target = crate::root::target();
    Ok(target.join("release"))
}

fn start_envoy(binary: &Path, config: &str, work: &Path) -> Result<Peer> {
    let command = [
        binary.display().to_string(),
        "-c".into(),
        config.into(),
        "--concurrency".into(),
        "1".into(),
        "--base-id".into(),
        "180".into(),
        "--log-level".into(),
        "error".into(),
        "--disable-hot-restart".into(),
    ];
    Peer::start(
        "envoy",
        &format!("127.0.0.1:{ENVOY_PORT}"),
        "0",
        &work.join("envoy.log"),
        &command,
    )
}

/// One listener, one route, one static cluster; the admin port lies 5000 above.
fn plain_bootstrap(port: u16) -> Value {
    let socket =
        |address: &str, port: u16| json!({"socket_address": {"address": address, "port_value": port}});
    let backend_port = BACKEND
        .rsplit(':')
        .next()
        .and_then(|p| p.parse().ok())
        .unwrap_or_default();
    json!({
        // Counters are pushed under this name.
        "node": {"id": format!("bench-{port}"), "cluster": "bench"},
        "admin": {"address": socket("127.0.0.1", port + 5000)},
        "static_resources": {
            "listeners": [{
                "name": "l",
                "address": socket("127.0.0.1", port),
                "filter_chains": [{"filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "in",
                        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
                        "route_config": {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"],
                            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "b"}}]}]},
                    },
                }]}],
            }],
            "clusters": [{
                "name": "b", "type": "STATIC", "connect_timeout": "2s",
                "load_assignment": {"cluster_name": "b", "endpoints": [{"lb_endpoints": [
                    {"endpoint": {"address": socket("127.0.0.1", backend_port)}}]}]},
            }],
        },
    })
}

fn round(load: &Path, peer: &Peer, scenario: &Scenario, seconds: u32) -> Result<Round> {
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
        .args([
            "--addr",
            &peer.address,
            "--secs",
            &seconds.to_string(),
            "--warmup",
            "1.5",
        ])
        .args(scenario.args)
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
    let before = peer.cpu_seconds();
    let out = child.wait_with_output()?;
    let used = peer.cpu_seconds() - before;
    let line: Value = serde_json::from_slice(&out.stdout).context("the generator's result")?;
    let number = |key: &str| line[key].as_f64().unwrap_or_default();
    ensure!(
        number("bad") == 0.0 && number("err") == 0.0,
        "{} failed requests at {}: {line}",
        scenario.name,
        peer.label
    );
    Ok(Round {
        rps: number("rps"),
        cpu_us: used * 1e6 / number("ok").max(1.0),
        p50: number("p50_us"),
        p99: number("p99_us"),
        answered: line["total"].as_u64().unwrap_or_default(),
    })
}

fn row(name: &str, theirs: &[Round], own: &[Round]) -> String {
    let pair = |f: fn(&Round) -> f64| {
        (
            median(theirs.iter().map(f).collect()),
            median(own.iter().map(f).collect()),
        )
    };
    let (cpu, rps, p50, p99) = (
        pair(|r| r.cpu_us),
        pair(|r| r.rps),
        pair(|r| r.p50),
        pair(|r| r.p99),
    );
    format!(
        "| {name} | {:.1} | {:.1} | **{:.2}** | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} |\n",
        cpu.0,
        cpu.1,
        cpu.1 / cpu.0,
        rps.0,
        rps.1,
        p50.0,
        p50.1,
        p99.0,
        p99.1
    )
}

fn wait_for_count(wanted: u64) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let counted: u64 = http::get(SINK_COUNT, "/")?.trim().parse()?;
        if counted == wanted {
            return Ok(counted);
        }
        ensure!(
            Instant::now() < deadline,
            "the sink counted {counted} requests, the generator {wanted}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
