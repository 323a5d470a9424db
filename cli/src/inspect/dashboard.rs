//! `sightline dashboard`: where to look, opened in a browser.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Running, block_on, proxy_config};
use crate::failure::{Code, Failure, Tried};
use crate::fetch;

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  The console, in a browser:
    sightline dashboard console --open
  The admin page of a proxy:
    sightline dashboard proxy reviews-v1

Grafana, Prometheus, Jaeger and Zipkin are those that the mesh was told of
(`sightline up --link 'Jaeger:trace=http://127.0.0.1:16686/trace/{trace}'`), or
that listen at their usual ports of this machine.";

/// Which page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Page {
    Console,
    Grafana,
    Prometheus,
    Jaeger,
    Zipkin,
    Proxy,
}

impl Page {
    /// Name in links, and usual port.
    fn other(self) -> Option<(&'static str, u16)> {
        match self {
            Self::Console | Self::Proxy => None,
            Self::Grafana => Some(("grafana", 3000)),
            Self::Prometheus => Some(("prometheus", 9090)),
            Self::Jaeger => Some(("jaeger", 16686)),
            Self::Zipkin => Some(("zipkin", 9411)),
        }
    }
}

/// Flags of `sightline dashboard`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Which page.
    #[arg(value_enum)]
    page: Page,
    /// Pod or workload (`proxy`).
    #[arg(value_name = "POD", required_if_eq("page", "proxy"))]
    pod: Option<String>,
    /// Open it in a browser.
    #[arg(long)]
    open: bool,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Prints the address of a page, and opens it if asked.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let running = Running::find(options.data.as_deref())?;
    let url = match options.page.other() {
        None if options.page == Page::Console => format!("http://{}", running.console),
        None => {
            let pod = options.pod.as_deref().unwrap_or_default();
            let admin = block_on(async { proxy_config::admin(&running, pod).await })?;
            format!("http://{admin}")
        }
        Some((name, port)) => match linked(&running.status.links, name) {
            Some(url) => url,
            None => usual(name, port)?,
        },
    };
    writeln!(std::io::stdout(), "{url}").tried(|| "cannot write".to_owned())?;
    if options.open {
        crate::demo::open(&url);
    }
    Ok(ExitCode::SUCCESS)
}

/// Scheme and authority of the link of this name.
fn linked(links: &[String], name: &str) -> Option<String> {
    links.iter().find_map(|link| {
        let (head, template) = link.split_once('=')?;
        let (named, _) = head.split_once(':').unwrap_or((head, ""));
        let (scheme, rest) = template.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let same = named.to_lowercase().contains(name);
        same.then(|| format!("{scheme}://{authority}"))
    })
}

/// What listens at the usual port.
fn usual(name: &str, port: u16) -> Result<String, Failure> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let there = block_on(async { Ok(fetch::accepts(address).await) })?;
    if there {
        return Ok(format!("http://{address}"));
    }
    Err(Failure::new(
        Code::Unavailable,
        format!(
            "no {name} listens on {address}, and the mesh was told of none: start it there, or start the mesh with --link '{name}:trace=http://HOST:PORT/...'"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_name_their_server() {
        let links = [
            "Jaeger:trace=http://127.0.0.1:16686/trace/{trace}".to_owned(),
            "odd".to_owned(),
        ];
        assert_eq!(
            linked(&links, "jaeger").as_deref(),
            Some("http://127.0.0.1:16686")
        );
        assert_eq!(linked(&links, "grafana"), None);
    }
}
