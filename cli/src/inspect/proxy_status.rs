//! `sightline proxy-status`: which proxies run the current configuration, and why not.

use std::path::PathBuf;
use std::process::ExitCode;

use mesh_api::mesh::{Proxy, ProxyList};

use super::output::{self, Rows};
use super::{Format, Running, block_on};
use crate::failure::{Code, Failure, Tried};

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  Every proxy:
    sightline proxy-status
  One, with everything that is known of it:
    sightline proxy-status reviews-v1 -o yaml

STATE is synced, stale (sent, not acknowledged), refused (the reason is told) or
disconnected.";

/// Flags of `sightline proxy-status`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only proxies whose pod or workload has this in its name.
    name: Option<String>,
    /// Data folder of the mesh; without it, the one that runs.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How to print.
    #[arg(long, short, value_enum, default_value_t = Format::Table)]
    output: Format,
}

/// Prints the proxies.
pub(crate) fn run(options: &Options) -> Result<ExitCode, Failure> {
    let running = Running::find(options.data.as_deref())?;
    let list: ProxyList = block_on(async { running.query()?.get("/api/proxies").await })?;
    let wanted = options.name.as_deref().unwrap_or_default();
    let proxies: Vec<Proxy> = list
        .proxies
        .into_iter()
        .filter(|proxy| proxy.id.contains(wanted) || proxy.workload.contains(wanted))
        .collect();
    let value = serde_json::to_value(&proxies).tried_as(Code::Bug, || "cannot write JSON".to_owned())?;
    output::print(options.output, &value, || table(&proxies))?;
    Ok(ExitCode::SUCCESS)
}

fn table(proxies: &[Proxy]) -> String {
    let mut rows = Rows::new(&[
        "NAME",
        "WORKLOAD",
        "KIND",
        "STATE",
        "REVISION",
        "CERTIFICATE UNTIL",
        "VERSION",
        "REASON",
    ]);
    for proxy in proxies {
        let name = proxy.id.split('~').nth(2).unwrap_or(&proxy.id);
        rows.push(vec![
            name.to_owned(),
            proxy.workload.clone(),
            proxy.kind.clone(),
            proxy.state.clone(),
            proxy.revision.clone(),
            proxy.certificate_expires.clone(),
            proxy.version.clone(),
            proxy.refused.clone().unwrap_or_default(),
        ]);
    }
    rows.text()
}
