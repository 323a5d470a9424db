//! The demo's flags.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mesh_model::address::{AddressBase, port};

use crate::cluster::registration::FIRST_RESERVED;
use crate::folder::Folder;
use crate::ports::Wanted;

/// Shown below the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  The console at http://127.0.0.1:20001, the shop at http://127.0.0.1:8080/productpage:
    sightline demo
  More load, and the console in a browser:
    sightline demo --rps 200 --open
  One minute with a history of its own:
    sightline demo --for 60s --data /tmp/mesh
  No load but your own requests:
    sightline demo --no-load
  A second mesh beside the first (\\ continues the line):
    sightline demo --data /tmp/second --address-base 127.65.0.0/16 \\
      --gateway-address 127.0.0.1:8081 --console-address 127.0.0.1:20002 \\
      --api-address 127.0.0.1:15081 --discovery-address 127.0.0.1:16012 \\
      --query-address 127.0.0.1:16019 --metrics-address 127.0.0.1:16014

A second start with the same data folder continues where the first one ended:
history, edits and addresses stay. `sightline status` shows every process, its
address and its log file.";

/// Rates, ports, data folder, duration.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Data folder: configuration, history, logs. One mesh at a time uses it.
    #[arg(long, value_name = "DIR", default_value_os_t = Folder::default_path())]
    pub(crate) data: PathBuf,
    /// Requests a second that the load generator sends to the gateway.
    #[arg(long, value_name = "N", default_value_t = 20.0, value_parser = rate)]
    pub(crate) rps: f64,
    /// End by itself after this time (`90s`, `10m`).
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    pub(crate) length: Option<Duration>,
    /// Start no load generator.
    #[arg(long)]
    pub(crate) no_load: bool,
    /// Open the console in a browser when ready.
    #[arg(long)]
    pub(crate) open: bool,
    /// Loopback block from which processes get their addresses.
    #[arg(long, value_name = "BLOCK", default_value = "127.64.0.0/16", value_parser = AddressBase::parse)]
    pub(crate) address_base: AddressBase,
    /// Where the ingress gateway listens.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) gateway_address: SocketAddr,
    /// Where the console listens.
    #[arg(long, value_name = "IP:PORT", default_value_t = local(port::CONSOLE))]
    pub(crate) console_address: SocketAddr,
    /// Where the embedded Kubernetes API server listens.
    #[arg(long, value_name = "IP:PORT", default_value_t = local(port::API_SERVER))]
    pub(crate) api_address: SocketAddr,
    /// Where the control plane serves discovery and certificates and takes telemetry.
    #[arg(long, value_name = "IP:PORT", default_value_t = local(port::DISCOVERY))]
    pub(crate) discovery_address: SocketAddr,
    /// Where the control plane answers queries.
    #[arg(long, value_name = "IP:PORT", default_value_t = local(port::QUERY))]
    pub(crate) query_address: SocketAddr,
    /// Where the control plane serves its metrics and health.
    #[arg(long, value_name = "IP:PORT", default_value_t = local(port::CONTROL_PLANE_METRICS))]
    pub(crate) metrics_address: SocketAddr,
}

impl Options {
    /// Address of the load generator, which is outside the mesh.
    pub(crate) fn load_generator(&self) -> SocketAddr {
        let ip = self.address_base.workload(FIRST_RESERVED).application();
        SocketAddr::new(ip, port::APPLICATION_COUNTERS)
    }

    /// Every address that must be free, with the flag that moves it. Of the workloads' addresses, the first
    /// one's stand for all: whoever has one of them has the whole plan.
    pub(crate) fn wanted_ports(&self) -> Vec<Wanted> {
        let wanted = |who: &str, address, flag| Wanted {
            who: who.to_owned(),
            address,
            flag,
        };
        let first = self.address_base.workload(1);
        let inbound = |port| SocketAddr::new(first.inbound(), port);
        vec![
            wanted("the API server", self.api_address, "--api-address"),
            wanted(
                "the control plane's discovery",
                self.discovery_address,
                "--discovery-address",
            ),
            wanted(
                "the control plane's query API",
                self.query_address,
                "--query-address",
            ),
            wanted(
                "the control plane's metrics",
                self.metrics_address,
                "--metrics-address",
            ),
            wanted("the console", self.console_address, "--console-address"),
            wanted("the gateway", self.gateway_address, "--gateway-address"),
            wanted("the first workload", inbound(port::ADMIN), "--address-base"),
            wanted("the first workload", inbound(port::READINESS), "--address-base"),
            wanted("the load generator", self.load_generator(), "--address-base"),
        ]
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate <= 100_000.0 => Ok(rate),
        _ => Err("must be a number above 0, at most 100000".to_owned()),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let parsed: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}"))?;
    Duration::try_from(parsed).map_err(|_| "must not be negative".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("90s").unwrap(), Duration::from_secs(90));
        assert_eq!(duration("1m 30s").unwrap(), Duration::from_secs(90));
        assert!(duration("-1s").is_err());
        assert!(duration("soon").is_err());
    }
}
