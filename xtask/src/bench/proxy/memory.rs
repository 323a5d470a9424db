//! Resident memory (idle, per idle connection, with a large configuration) and the time from start to the first 200.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::{Options, median};
use super::{BACKEND, Proxy, Rig, Shape};

const BOTH: [Proxy; 2] = [Proxy::Envoy, Proxy::Sightline];
const CONNECTIONS: u32 = 5000;

/// The Markdown section.
pub(super) fn measure(rig: &Rig, options: &Options) -> Result<String> {
    let mut report =
        String::from("### Memory and start\n\n| figure | Envoy | Sightline | ratio |\n|---|---|---|---|\n");
    let mut row = |name: &str, unit: &str, values: [f64; 2]| {
        println!("{name}: {values:?} {unit}");
        let _ = writeln!(
            report,
            "| {name} | {:.2} {unit} | {:.2} {unit} | **{:.2}** |",
            values[0],
            values[1],
            values[1] / values[0]
        );
    };
    let (mut idle, mut each) = ([f64::NAN; 2], [f64::NAN; 2]);
    for (i, proxy) in BOTH.into_iter().enumerate() {
        (idle[i], each[i]) = connections(rig, proxy)?;
    }
    row("resident, idle, plain shape", "MiB", idle);
    row(
        &format!("per idle connection ({CONNECTIONS} that did one request)"),
        "KiB",
        each,
    );
    let mut big = [f64::NAN; 2];
    for (i, proxy) in BOTH.into_iter().enumerate() {
        let peer = rig.start(proxy, Shape::Big, proxy.port(), BACKEND)?;
        settle();
        big[i] = peer.rss_mib();
    }
    row("resident, 1000 clusters and 5000 routes", "MiB", big);
    let mut starts = [Vec::new(), Vec::new()];
    for _ in 0..options.rounds {
        for (i, proxy) in BOTH.into_iter().enumerate() {
            starts[i].push(start(rig, proxy)?);
        }
    }
    row("start to the first 200, mesh shape", "ms", starts.map(median));
    report.push('\n');
    Ok(report)
}

fn settle() {
    std::thread::sleep(Duration::from_millis(1500));
}

/// Resident MiB without connections, and KiB for each of many idle ones.
fn connections(rig: &Rig, proxy: Proxy) -> Result<(f64, f64)> {
    let peer = rig.start(proxy, Shape::Plain, proxy.port(), BACKEND)?;
    settle();
    let before = peer.rss_mib();
    let mut load = Command::new("taskset")
        .args(["-c", "1"])
        .arg(rig.bins.join("bench-load"))
        .args(["--addr", &peer.address, "--conns", &CONNECTIONS.to_string()])
        .args(["--idle", "--warmup", "0", "--secs", "12"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut lines = BufReader::new(load.stdout.take().context("no stdout")?).lines();
    let ready = lines.next().transpose()?.unwrap_or_default();
    ensure!(
        ready == format!("READY {CONNECTIONS} err 0"),
        "{}: not all connections opened: {ready:?}",
        peer.label
    );
    settle();
    let with = peer.rss_mib();
    let _ = load.kill();
    let _ = load.wait();
    Ok((before, (with - before) * 1024.0 / f64::from(CONNECTIONS)))
}

/// Milliseconds from exec to the first 200.
fn start(rig: &Rig, proxy: Proxy) -> Result<f64> {
    let port = proxy.port();
    let command = rig.command(proxy, Shape::Mesh, port, BACKEND)?;
    let address = format!("127.0.0.1:{port}");
    let (program, args) = command.split_first().context("no command")?;
    let begun = Instant::now();
    let mut child = Command::new("taskset")
        .args(["-c", "0", program])
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let mut taken = None;
    while begun.elapsed() < Duration::from_secs(30) {
        if answers_200(&address) {
            taken = Some(begun.elapsed());
            break;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    let _ = child.kill();
    let _ = child.wait();
    let taken = taken.with_context(|| format!("{} never answered 200", proxy.label()))?;
    Ok(taken.as_secs_f64() * 1e3)
}

fn answers_200(address: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(address) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
    let request = "GET /api/items/42 HTTP/1.1\r\nHost: svc7.mesh.local\r\nConnection: close\r\n\r\n";
    let mut head = [0; 12];
    stream.write_all(request.as_bytes()).is_ok()
        && stream.read_exact(&mut head).is_ok()
        && head == *b"HTTP/1.1 200"
}
