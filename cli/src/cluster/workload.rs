//! A workload made of plain processes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::str::FromStr;

use mesh_model::address::{WorkloadAddresses, port};

/// Says which workload a pod is; a cluster tells it from owner references.
pub(crate) const WORKLOAD_LABEL: &str = "sightline.io/workload";

/// What a workload is, before it has a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Workload {
    /// `reviews-v1`.
    pub(crate) name: String,
    /// `reviews`, the label `app`.
    pub(crate) app: String,
    /// `v1`, the label `version`; empty: none.
    pub(crate) version: String,
    /// Namespace.
    pub(crate) namespace: String,
    /// Service account.
    pub(crate) service_account: String,
    /// Labels beside those that follow from the above.
    pub(crate) extra_labels: BTreeMap<String, String>,
    /// Annotations of its pod, which its proxy knows too (`prometheus.io/scrape`, `sightline.io/redact-headers`).
    pub(crate) annotations: BTreeMap<String, String>,
    /// Role of its proxy.
    pub(crate) role: Role,
}

/// What a workload's proxy is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Beside an application that listens on these ports; none: it only calls others.
    Sidecar {
        /// The application's ports.
        ports: Vec<Port>,
    },
    /// A gateway that listens here, all on one address.
    Gateway {
        /// Its listeners.
        listeners: Vec<Listener>,
    },
}

/// A port of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Port {
    /// Number.
    pub(crate) number: u16,
    /// What is spoken there, as in a Service's port name.
    pub(crate) protocol: &'static str,
}

/// Protocols that a Service's port name may begin with.
const PROTOCOLS: &[&str] = &[
    "http", "http2", "grpc", "grpc-web", "tcp", "tls", "https", "mongo", "mysql", "redis",
];

impl FromStr for Port {
    type Err = String;

    /// `9080` or `9080:grpc`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (number, protocol) = text.split_once(':').unwrap_or((text, "http"));
        let number = match number.parse() {
            Ok(0) | Err(_) => return Err(format!("{number:?} is not a port; 1 to 65535 is")),
            Ok(number) => number,
        };
        let protocol = PROTOCOLS
            .iter()
            .find(|known| **known == protocol)
            .ok_or_else(|| {
                format!(
                    "protocol {protocol:?} is not known; known are {}",
                    PROTOCOLS.join(", ")
                )
            })?;
        Ok(Self { number, protocol })
    }
}

/// A port of a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Number by which Gateway objects name it (the Service's port).
    pub(crate) port: u16,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl FromStr for Listener {
    type Err = String;

    /// `127.0.0.1:8080` or `80=127.0.0.1:8080`.
    fn from_str(text: &str) -> Result<Self, String> {
        let (port, address) = match text.split_once('=') {
            Some((port, address)) => {
                let port = port
                    .parse()
                    .map_err(|_| format!("{port:?} is not a port; for example 80=127.0.0.1:8080"))?;
                (Some(port), address)
            }
            None => (None, text),
        };
        let address: SocketAddr = address
            .parse()
            .map_err(|_| format!("{address:?} is not an IP:PORT; for example 127.0.0.1:8080"))?;
        let usual = match address.port() {
            8080 => 80,
            8443 => 443,
            other => other,
        };
        Ok(Self {
            port: port.unwrap_or(usual),
            address,
        })
    }
}

impl Workload {
    /// The name of a workload of this application and version, as deployments are called.
    pub(crate) fn name_of(app: &str, version: &str) -> String {
        if version.is_empty() {
            app.to_owned()
        } else {
            format!("{app}-{version}")
        }
    }

    /// Labels of its pod, those that its proxy reports among them.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let revision = if self.version.is_empty() {
            "latest"
        } else {
            &self.version
        };
        let mut labels = self.extra_labels.clone();
        let own = [
            ("app", self.app.as_str()),
            (WORKLOAD_LABEL, &self.name),
            ("security.istio.io/tlsMode", "istio"),
            ("service.istio.io/canonical-name", &self.app),
            ("service.istio.io/canonical-revision", revision),
        ];
        labels.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if !self.version.is_empty() {
            labels.insert("version".to_owned(), self.version.clone());
        }
        labels
    }
}

/// A workload that has a pod and addresses.
#[derive(Debug, Clone)]
pub(crate) struct Registered {
    /// What it is.
    pub(crate) workload: Workload,
    /// Its pod.
    pub(crate) pod: String,
    /// Its number, from which its addresses follow.
    pub(crate) number: u8,
    /// Its addresses.
    pub(crate) addresses: WorkloadAddresses,
}

impl Registered {
    /// The proxy's node id, as Istio forms it.
    pub(crate) fn node_id(&self) -> String {
        let Workload { namespace, .. } = &self.workload;
        let kind = match self.workload.role {
            Role::Sidecar { .. } => "sidecar",
            Role::Gateway { .. } => "router",
        };
        let inbound = self.addresses.inbound();
        format!(
            "{kind}~{inbound}~{}.{namespace}~{namespace}.svc.cluster.local",
            self.pod
        )
    }

    /// Where the application listens first; a gateway and a mere caller have none.
    pub(crate) fn application(&self) -> Option<SocketAddr> {
        match &self.workload.role {
            Role::Sidecar { ports } => ports
                .first()
                .map(|port| SocketAddr::new(self.addresses.application(), port.number)),
            Role::Gateway { .. } => None,
        }
    }

    /// Where its proxy says that it is ready.
    pub(crate) fn proxy_readiness(&self) -> SocketAddr {
        SocketAddr::new(self.addresses.inbound(), port::READINESS)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn ports_have_a_number_and_a_known_protocol() {
        let check = |text: &str, expected: Result<(u16, &str), &str>| match (text.parse::<Port>(), expected) {
            (Ok(port), Ok(expected)) => assert_eq!((port.number, port.protocol), expected, "{text}"),
            (Err(reason), Err(part)) => assert!(reason.contains(part), "{text}: {reason}"),
            (found, _) => panic!("{text}: {found:?}"),
        };
        check("9080", Ok((9080, "http")));
        check("9091:grpc", Ok((9091, "grpc")));
        check("9090:tcp", Ok((9090, "tcp")));
        check("0", Err("not a port"));
        check("70000", Err("not a port"));
        check("9080:soap", Err("known are http"));
        check("9080:", Err("not known"));
    }

    #[test]
    fn listeners_name_the_port_that_gateways_use() {
        let check = |text: &str, expected: Option<(u16, u16)>| {
            let found = text.parse::<Listener>().ok();
            assert_eq!(
                found.map(|found| (found.port, found.address.port())),
                expected,
                "{text}"
            );
        };
        check("127.0.0.1:8080", Some((80, 8080)));
        check("127.0.0.1:8443", Some((443, 8443)));
        check("127.0.0.1:7000", Some((7000, 7000)));
        check("81=127.0.0.1:8080", Some((81, 8080)));
        check("8080", None);
        check("x=127.0.0.1:8080", None);
    }
}
