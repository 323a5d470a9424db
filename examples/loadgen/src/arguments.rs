//! Command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use http::Uri;

/// Drives a web server at a fixed rate and counts exactly what it sent and what came back.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  sightline-loadgen --target http://127.0.0.1:8080 --host shop.example.com --path /productpage \
                  --rps 50\n  sightline-loadgen --target http://127.0.0.1:8080 --path /a --path /b --rps 500 --for 60s \
                  --final counts.json"
)]
pub(crate) struct Arguments {
    /// Where to connect, `http://ADDRESS:PORT`.
    #[arg(long)]
    target: String,
    /// Host header; the target's own unless given.
    #[arg(long)]
    host: Option<String>,
    /// Path to ask for; several are taken in turn.
    #[arg(long = "path", default_value = "/")]
    pub(crate) paths: Vec<String>,
    /// Requests a second.
    #[arg(long, default_value_t = 20.0, value_parser = rate)]
    pub(crate) rps: f64,
    /// Most connections.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) connections: u16,
    /// Serve the counts at this address, `/metrics`.
    #[arg(long)]
    pub(crate) counters: Option<SocketAddr>,
    /// Stop after this time (`90s`, `10m`, `1h`); until stopped unless given.
    #[arg(long = "for", value_parser = duration)]
    pub(crate) length: Option<Duration>,
    /// Longest wait for one answer.
    #[arg(long, default_value = "10s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Write the final counts to this file.
    #[arg(long = "final")]
    pub(crate) final_file: Option<PathBuf>,
}

/// Where requests go.
pub(crate) struct Target {
    /// `ADDRESS:PORT`.
    pub(crate) address: String,
    /// Host header.
    pub(crate) host: String,
}

impl Arguments {
    /// Takes the target apart.
    pub(crate) fn target(&self) -> Result<Target> {
        let uri: Uri = self
            .target
            .parse()
            .with_context(|| format!("--target {:?} is not a URL", self.target))?;
        if uri.scheme_str() != Some("http") {
            bail!("--target {:?} must begin with http://", self.target);
        }
        let authority = uri
            .authority()
            .with_context(|| format!("--target {:?} names no host", self.target))?;
        let address = format!("{}:{}", authority.host(), authority.port_u16().unwrap_or(80));
        let host = self.host.clone().unwrap_or_else(|| authority.as_str().to_owned());
        Ok(Target { address, host })
    }
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 1e6 => Ok(rate),
        _ => Err("must be a number above 0, at most 1000000".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a number with a unit: 500ms, 90s, 10m, 1h".to_owned();
    let split = text.find(|c: char| c.is_ascii_alphabetic()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let seconds = match unit {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wrong()),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * seconds).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: Option<u64>) {
        assert_eq!(duration(text).ok(), millis.map(Duration::from_millis), "{text}");
    }

    #[test]
    fn durations() {
        check("500ms", Some(500));
        check("90s", Some(90_000));
        check("1.5m", Some(90_000));
        check("1h", Some(3_600_000));
        check("90", None);
        check("s", None);
        check("-1s", None);
        check("1d", None);
    }

    #[test]
    fn rates() {
        assert!(rate("0").is_err());
        assert!(rate("nan").is_err());
        assert!(rate("0.5").is_ok());
    }
}
