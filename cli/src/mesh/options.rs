//! Flags of every command that holds a mesh.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use mesh_model::address::{AddressBase, port};

use crate::ports::Wanted;

/// Data folder, addresses, and where telemetry goes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct MeshOptions {
    /// Data folder: configuration, history, logs. One mesh at a time uses it
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Loopback block from which processes get their addresses.
    #[arg(long, value_name = "BLOCK", default_value = "127.64.0.0/16", value_parser = AddressBase::parse)]
    pub(crate) address_base: AddressBase,
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
    /// Send spans to this OTLP collector, gRPC (`http://127.0.0.1:4317`); may be repeated.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) otlp_endpoint: Vec<String>,
    /// Send spans to this Zipkin (`http://127.0.0.1:9411/api/v2/spans`); may be repeated.
    #[arg(long, value_name = "URL", value_parser = url)]
    pub(crate) zipkin_endpoint: Vec<String>,
    /// Where the history is: `sqlite` (in the data folder) or `postgres://USER@HOST/NAME`.
    #[arg(long, value_name = "WHERE", value_parser = database)]
    pub(crate) database: Option<String>,
    /// A link that the console shows, for example
    /// `Jaeger:trace=http://127.0.0.1:16686/trace/{trace}`; may be repeated.
    #[arg(long, value_name = "NAME:SHOWS=TEMPLATE")]
    pub(crate) link: Vec<String>,
}

impl MeshOptions {
    /// Every address that must be free, with the flag that moves it. Of the workloads' addresses, the first
    /// one's stand for all: whoever has one of them has the whole plan.
    pub(crate) fn wanted_ports(&self) -> Vec<Wanted> {
        let first = self.address_base.workload(1).inbound();
        [
            ("the API server", self.api_address, "--api-address"),
            (
                "the control plane's discovery",
                self.discovery_address,
                "--discovery-address",
            ),
            (
                "the control plane's query API",
                self.query_address,
                "--query-address",
            ),
            (
                "the control plane's metrics",
                self.metrics_address,
                "--metrics-address",
            ),
            ("the console", self.console_address, "--console-address"),
            (
                "the first workload",
                SocketAddr::new(first, port::ADMIN),
                "--address-base",
            ),
            (
                "the first workload",
                SocketAddr::new(first, port::READINESS),
                "--address-base",
            ),
        ]
        .map(|(who, address, flag)| Wanted::new(who, address, flag))
        .into()
    }
}

fn local(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port)
}

fn url(text: &str) -> Result<String, String> {
    let uri: http::Uri = text.parse().map_err(|error| format!("not a URL: {error}"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http" | "https"), Some(_)) => Ok(text.to_owned()),
        _ => Err("must be http://HOST:PORT[/PATH] or https://HOST:PORT[/PATH]".to_owned()),
    }
}

fn database(text: &str) -> Result<String, String> {
    let known = text == "sqlite" || text.starts_with("postgres://") || text.starts_with("postgresql://");
    if known {
        Ok(text.to_owned())
    } else {
        Err("must be `sqlite` or postgres://USER@HOST/NAME".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn collectors_and_databases_are_checked_before_anything_starts() {
        for (text, good) in [
            ("http://127.0.0.1:4317", true),
            ("https://host/api/v2/spans", true),
            ("127.0.0.1:4317", false),
            ("grpc://host", false),
        ] {
            assert_eq!(url(text).is_ok(), good, "{text}");
        }
        for (text, good) in [
            ("sqlite", true),
            ("postgres://me@host/name", true),
            ("mysql://host", false),
        ] {
            assert_eq!(database(text).is_ok(), good, "{text}");
        }
    }
}
