//! The demo's flags.

use std::net::SocketAddr;
use std::time::Duration;

use mesh_model::address::port;

use crate::cluster::numbers::FIRST_RESERVED;
use crate::mesh::options::MeshOptions;
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

/// Load, gateway, duration, and the flags of every mesh.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    pub(crate) mesh: MeshOptions,
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
    /// Where the ingress gateway listens.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:8080")]
    pub(crate) gateway_address: SocketAddr,
}

impl Options {
    /// Counters of the load generator, which is outside the mesh.
    pub(crate) fn load_generator(&self) -> SocketAddr {
        self.outside(FIRST_RESERVED, port::APPLICATION_COUNTERS)
    }

    /// Where the publisher listens, who is outside the mesh.
    pub(crate) fn publisher(&self) -> SocketAddr {
        self.outside(FIRST_RESERVED + 1, 9080)
    }

    /// Counters of the auditor, who is outside the mesh.
    pub(crate) fn auditor(&self) -> SocketAddr {
        self.outside(FIRST_RESERVED + 2, port::APPLICATION_COUNTERS)
    }

    fn outside(&self, number: u8, port: u16) -> SocketAddr {
        SocketAddr::new(self.mesh.address_base.workload(number).application(), port)
    }

    /// What must be free beside the mesh's own addresses.
    pub(crate) fn wanted_ports(&self) -> Vec<Wanted> {
        vec![
            Wanted::new("the gateway", self.gateway_address, "--gateway-address"),
            Wanted::new("the load generator", self.load_generator(), "--address-base"),
            Wanted::new("the publisher", self.publisher(), "--address-base"),
            Wanted::new("the auditor", self.auditor(), "--address-base"),
        ]
    }
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
