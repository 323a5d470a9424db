//! Measures the store on SQLite and on Debian's PostgreSQL: ingest, reading an hour, searching kept requests.
//!
//! Prints the section "History" of docs/performance.md; progress goes to stderr.

mod history;
mod mesh;
mod requests;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use mesh_store::{Database, Limits, StoreOptions};
use mesh_testkit::Postgres;

/// Sizes; the defaults are those of the figures.
struct Options {
    edges: usize,
    requests: u64,
    rounds: usize,
}

fn options() -> Options {
    let mut options = Options {
        edges: 20_000,
        requests: 1_000_000,
        rounds: 40,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(name) = arguments.next() {
        let value = arguments.next().and_then(|value| value.parse::<usize>().ok());
        let value = value.unwrap_or_else(|| panic!("{name} wants a number"));
        match name.as_str() {
            "--edges" => options.edges = value,
            "--requests" => options.requests = value as u64,
            "--rounds" => options.rounds = value,
            _ => panic!("unknown option {name}: there are --edges, --requests, --rounds"),
        }
    }
    options
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(&options()));
}

async fn run(options: &Options) {
    let server = Postgres::start_with(&["fsync=on", "shared_buffers=256MB", "max_wal_size=4GB"])
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let url = server.create("bench").unwrap();
    let mut rows = Vec::new();
    for (name, database) in [
        ("SQLite", Database::Sqlite),
        ("PostgreSQL", Database::Postgres(url)),
    ] {
        let limits = Limits {
            bytes: 16 << 30,
            ..Limits::default()
        };
        let store = mesh_store::open(&StoreOptions {
            database,
            folder: folder.path().to_owned(),
            limits,
        })
        .await
        .unwrap();
        let mut figures = Vec::new();
        if options.edges > 0 {
            figures.extend(history::measure(&store, options.edges, options.rounds).await);
        }
        if options.requests > 0 {
            figures.extend(requests::measure(&store, options.requests, options.rounds).await);
        }
        for (figure, value) in &figures {
            eprintln!("{name}: {figure}: {value}");
        }
        rows.push(figures);
    }
    print!("{}", table(&rows));
}

fn table(columns: &[Vec<(String, String)>]) -> String {
    let mut out = String::from("| figure | SQLite | PostgreSQL |\n|---|---|---|\n");
    let (Some(first), Some(second)) = (columns.first(), columns.get(1)) else {
        return out;
    };
    for ((figure, one), (_, other)) in first.iter().zip(second) {
        let _ = writeln!(out, "| {figure} | {one} | {other} |");
    }
    out
}

/// A figure and its value.
pub(crate) type Figure = (String, String);

/// p50 and p95 of times.
pub(crate) fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1000.0;
    format!("p50 {:.0} ms, p95 {:.0} ms", at(50), at(95))
}

/// User and system time of this process.
pub(crate) fn cpu() -> Duration {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let time = |t: libc::timeval| Duration::new(t.tv_sec as u64, t.tv_usec as u32 * 1000);
    time(usage.ru_utime) + time(usage.ru_stime)
}

/// A measured stretch: time on the wall and of this process.
pub(crate) struct Stretch(Instant, Duration);

impl Stretch {
    pub(crate) fn begin() -> Self {
        Self(Instant::now(), cpu())
    }

    pub(crate) fn end(&self) -> (Duration, Duration) {
        (self.0.elapsed(), cpu() - self.1)
    }
}
