//! Instructions per request, counted by callgrind: the same on every machine, so that a regression shows in CI where
//! times cannot be trusted. Two runs of different length; their difference leaves the start out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::super::peers::Peer;
use super::{BACKEND, COLLECTOR, MESH, Proxy, Rig, SINK, SINK_COUNT, Shape};

/// Counts as blessed: one line for each shape.
const FILE: &str = "bench/instructions.tsv";
/// Growth that is noise: timers and flushes fall differently in each run.
const TOLERANCE: f64 = 0.04;
const SHAPES: [Shape; 2] = [Shape::Plain, Shape::Mesh];
const FEW: u64 = 2_000;
const MANY: u64 = 8_000;
const START: Duration = Duration::from_secs(60);

/// Prints the counts; an error code when one has grown, unless they are blessed.
pub(crate) fn run(bless: bool) -> Result<ExitCode> {
    if bless {
        let mut text = String::from("# Instructions per request: cargo xtask instructions --bless\n");
        for (shape, count) in measure()? {
            let _ = writeln!(text, "{shape}\t{count}");
        }
        std::fs::write(crate::root::repository().join(FILE), text)?;
        return Ok(ExitCode::SUCCESS);
    }
    let problems = problems()?;
    for problem in &problems {
        println!("{problem}");
    }
    Ok(if problems.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

/// Shapes that cost more than the file says.
pub(crate) fn problems() -> Result<Vec<String>> {
    let file = crate::root::repository().join(FILE);
    let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(compare(&blessed(&text), &measure()?))
}

fn blessed(text: &str) -> BTreeMap<String, u64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| {
            let (shape, count) = line.split_once('\t')?;
            Some((shape.to_owned(), count.parse().ok()?))
        })
        .collect()
}

fn compare(blessed: &BTreeMap<String, u64>, measured: &BTreeMap<String, u64>) -> Vec<String> {
    let mut problems = Vec::new();
    for (shape, count) in measured {
        let Some(before) = blessed.get(shape) else {
            problems.push(format!("{FILE} has no line for {shape}"));
            continue;
        };
        let (now, then) = (*count as f64, *before as f64);
        if now > then * (1.0 + TOLERANCE) {
            problems.push(format!(
                "{shape}: {count} instructions per request, {:.1} % more than the {before} of {FILE}; \
                 find them with `callgrind_annotate`, or run `cargo xtask instructions --bless` and say why it is worth it",
                (now / then - 1.0) * 100.0
            ));
        }
    }
    problems
}

fn measure() -> Result<BTreeMap<String, u64>> {
    let rig = Rig::prepare_alone()?;
    let peer = |label: &str, address: &str, ready: &str| {
        let log = rig.work.join(format!("{label}.log"));
        Peer::start(label, ready, "1", &log, &[rig.binary(label), address.into()])
    };
    let _backend = peer("bench-backend", BACKEND, BACKEND)?;
    let _collector = peer("bench-backend", COLLECTOR, COLLECTOR)?;
    let _sink = peer("bench-otlp-sink", SINK, SINK_COUNT)?;
    let mut counts = BTreeMap::new();
    for shape in SHAPES {
        let few = count(&rig, shape, FEW)?;
        let many = count(&rig, shape, MANY)?;
        let each = many.saturating_sub(few) / (MANY - FEW);
        println!("{shape:?}: {each} instructions per request");
        counts.insert(format!("{shape:?}"), each);
    }
    Ok(counts)
}

/// Ends the process when dropped.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Instructions of a whole run with this many requests.
fn count(rig: &Rig, shape: Shape, requests: u64) -> Result<u64> {
    let port = Proxy::Sightline.port();
    let address = format!("127.0.0.1:{port}");
    ensure!(
        std::net::TcpStream::connect(&address).is_err(),
        "{address} is in use: end the process that listens there"
    );
    let out = rig.work.join("callgrind.out");
    let _ = std::fs::remove_file(&out);
    let log = std::fs::File::create(rig.work.join("callgrind.log"))?;
    let mut proxy = Ended(
        Command::new("valgrind")
            .args(["--tool=callgrind", "--error-exitcode=0"])
            .arg(format!("--callgrind-out-file={}", out.display()))
            .args(rig.command(Proxy::Sightline, shape, port, BACKEND)?)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("valgrind; get it: apt-get install valgrind")?,
    );
    let begun = Instant::now();
    while std::net::TcpStream::connect(&address).is_err() {
        ensure!(
            begun.elapsed() < START && proxy.0.try_wait()?.is_none(),
            "the proxy does not listen under callgrind; see {}",
            rig.work.join("callgrind.log").display()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    let mesh: &[&str] = if shape.is_mesh() { &MESH } else { &[] };
    let told = Command::new(rig.bins.join("bench-load"))
        .args([
            "--addr", &address, "--conns", "4", "--warmup", "0", "--secs", "300",
        ])
        .args(["--requests", &requests.to_string()])
        .args(mesh)
        .stderr(Stdio::null())
        .output()?;
    let told: serde_json::Value = serde_json::from_slice(&told.stdout).context("the generator's result")?;
    ensure!(
        told["bad"] == 0 && told["err"] == 0,
        "{shape:?}: failed requests: {told}"
    );
    let pid = proxy.0.id().to_string();
    Command::new("kill").args(["-TERM", &pid]).status()?;
    proxy.0.wait()?;
    total(&out)
}

/// The sum that callgrind wrote.
fn total(file: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    text.lines()
        .find_map(|line| line.strip_prefix("totals: ")?.trim().parse().ok())
        .with_context(|| format!("no totals in {}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::{blessed, compare};

    #[test]
    fn growth_beyond_the_tolerance_is_told() {
        let before = blessed("# comment\nPlain\t1000\nMesh\t2000\n");
        let check = |text: &str, wanted: &[&str]| {
            let found = compare(&before, &blessed(text));
            assert_eq!(found.len(), wanted.len(), "{text}: {found:?}");
            for (problem, part) in found.iter().zip(wanted) {
                assert!(problem.contains(part), "{problem}");
            }
        };
        check("Plain\t1040\nMesh\t1500", &[]);
        check("Plain\t1041\nMesh\t2000", &["Plain: 1041"]);
        check("Tcp\t1", &["no line for Tcp"]);
    }
}
