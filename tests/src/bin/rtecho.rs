//! The workload of the recorded cases: an echo server with special paths, and a guard that ties a process to its parent.
//!
//! `rtecho serve --bind IP --service NAME [--version V] [--http 8080,8081] [--tcp 9000] [--tls 8443]`
//! `rtecho guard -- PROGRAM ARGUMENTS` runs a program that is killed when its parent ends.

#[path = "rtecho/answer.rs"]
mod answer;
#[path = "rtecho/ledger.rs"]
mod ledger;
#[path = "rtecho/serve.rs"]
mod serve;

use std::net::IpAddr;
use std::os::unix::process::CommandExt;

use anyhow::{Context, bail};

/// What one server is.
struct Options {
    bind: IpAddr,
    service: String,
    version: String,
    http: Vec<u16>,
    tcp: Option<u16>,
    tls: Option<u16>,
    tls_host: String,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some("serve") => {
            let options = Options::parse(arguments)?;
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?
                .block_on(serve::run(options))
        }
        Some("guard") => guard(arguments),
        other => bail!("expected `serve` or `guard`, got {other:?}"),
    }
}

/// Becomes the named program, which the kernel kills when the parent thread ends.
fn guard(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<()> {
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?;
    let mut program = arguments.next().context("guard needs a program")?;
    if program == "--" {
        program = arguments.next().context("guard needs a program")?;
    }
    let error = std::process::Command::new(&program).args(arguments).exec();
    Err(error).with_context(|| format!("start {program}"))
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> anyhow::Result<Self> {
        let mut options = Self {
            bind: IpAddr::from([127, 0, 0, 1]),
            service: String::new(),
            version: "v1".to_owned(),
            http: vec![8080],
            tcp: None,
            tls: None,
            tls_host: "tls.routing.test".to_owned(),
        };
        while let Some(flag) = arguments.next() {
            let value = arguments
                .next()
                .with_context(|| format!("{flag} needs a value"))?;
            let bad = || format!("{flag} {value:?}");
            match flag.trim_start_matches('-') {
                "bind" => options.bind = value.parse().with_context(bad)?,
                "service" => options.service = value,
                "version" => options.version = value,
                "http" => {
                    options.http = value
                        .split(',')
                        .filter(|port| !port.is_empty())
                        .map(str::parse)
                        .collect::<Result<_, _>>()
                        .with_context(bad)?;
                }
                "tcp" => options.tcp = Some(value.parse().with_context(bad)?),
                "tls" => options.tls = Some(value.parse().with_context(bad)?),
                "tls-host" => options.tls_host = value,
                other => bail!("unknown flag {other:?}"),
            }
        }
        Ok(options)
    }
}
