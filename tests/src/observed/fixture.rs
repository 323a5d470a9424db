//! The roles of the recording: namespaces, services and workloads of `fixture.yaml`, with addresses of this run.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Context;
use mesh_model::address::{AddressBase, WorkloadAddresses};
use serde_json::{Value, json};

use super::places::{NO_HOST, Places, SILENT_HOST};

/// Namespace of control plane and gateway.
pub const ROOT_NAMESPACE: &str = "istio-system";
/// Deployment of the ingress gateway.
pub const GATEWAY: &str = "istio-ingressgateway";
/// Number of the /24 of service addresses; no workload has it.
const SERVICES: u8 = 0;
const FIRST_SERVICE: u8 = 10;

/// Everything that exists while cases are played.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Namespace objects; the root namespace is the API server's own.
    pub namespaces: Vec<Value>,
    /// Service objects, with cluster IPs.
    pub services: Vec<Value>,
    /// Other objects, such as the Gateway.
    pub others: Vec<Value>,
    /// One per Deployment.
    pub workloads: Vec<Workload>,
    /// An address, as long as the recorded one, on which nothing listens.
    pub no_host: IpAddr,
    /// An address that takes connections into a full queue and never answers.
    pub silent_host: IpAddr,
}

/// One process of the application, and its sidecar.
#[derive(Debug, Clone)]
pub struct Workload {
    /// Namespace.
    pub namespace: String,
    /// Name of the Deployment.
    pub name: String,
    /// Labels of its pod.
    pub labels: BTreeMap<String, String>,
    /// Annotations of its pod.
    pub annotations: BTreeMap<String, String>,
    /// Arguments of the echo process.
    pub arguments: Vec<String>,
    /// What runs beside (or instead of) the application.
    pub proxy: Proxy,
    /// Where it runs.
    pub place: Place,
}

/// Where a workload runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// As plain processes, in a /24 of the loopback network.
    Plain(WorkloadAddresses),
    /// In a network namespace, as the pod with this number; its traffic is captured.
    Pod(u8),
}

/// Which places the workloads of a fixture get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Plain processes.
    Plain(AddressBase),
    /// Pods with captured traffic.
    Pods,
}

/// Which proxy a workload has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// None: the application itself listens on the pod's address.
    None,
    /// A sidecar.
    Sidecar,
    /// The workload is a gateway.
    Gateway,
}

impl Workload {
    /// Value of a pod label.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map_or("", String::as_str)
    }

    /// Name of its only pod.
    #[must_use]
    pub fn pod(&self) -> String {
        format!("{}-0", self.name)
    }

    /// Address of the pod.
    #[must_use]
    pub fn pod_ip(&self) -> IpAddr {
        match self.place {
            Place::Plain(addresses) => addresses.inbound(),
            Place::Pod(number) => pod_address(number),
        }
    }

    /// Address on which the application listens, and from which it calls.
    #[must_use]
    pub fn application(&self) -> IpAddr {
        match (self.proxy, self.place) {
            (Proxy::Sidecar, Place::Plain(addresses)) => addresses.application(),
            _ => self.pod_ip(),
        }
    }

    /// The HTTP proxy port of a plain process.
    #[must_use]
    pub fn outbound(&self) -> Option<SocketAddr> {
        match self.place {
            Place::Plain(addresses) => Some(addresses.outbound()),
            Place::Pod(_) => None,
        }
    }

    /// Number of its network namespace, if it has one.
    #[must_use]
    pub fn pod_number(&self) -> Option<u8> {
        match self.place {
            Place::Plain(_) => None,
            Place::Pod(number) => Some(number),
        }
    }

    /// How its traffic comes to its sidecar.
    #[must_use]
    pub fn interception(&self) -> &str {
        match (self.place, self.proxy) {
            (Place::Pod(_), Proxy::Sidecar) => self
                .annotations
                .get("sidecar.istio.io/interceptionMode")
                .map_or("REDIRECT", String::as_str),
            _ => "NONE",
        }
    }

    /// What the pod's init container would be told.
    #[must_use]
    pub fn init_arguments(&self, dns: bool) -> Vec<String> {
        let mut all = vec!["init".to_owned(), "-m".to_owned(), self.interception().to_owned()];
        if dns {
            all.extend(["--redirect-dns", "--capture-all-dns"].map(str::to_owned));
        }
        for (annotation, flag, before) in [
            ("includeInboundPorts", "-b", ""),
            ("excludeInboundPorts", "-d", "15090,15021,15020,"),
            ("includeOutboundPorts", "-q", ""),
            ("excludeOutboundPorts", "-o", ""),
            ("includeOutboundIPRanges", "-i", ""),
            ("excludeOutboundIPRanges", "-x", ""),
        ] {
            if let Some(value) = self
                .annotations
                .get(&format!("traffic.sidecar.istio.io/{annotation}"))
            {
                all.extend([flag.to_owned(), format!("{before}{value}")]);
            }
        }
        all
    }

    /// Whether the process serves (the others only call).
    #[must_use]
    pub fn serves(&self) -> bool {
        self.arguments.first().is_some_and(|first| first == "serve")
    }

    /// First HTTP port of the application, if it has one.
    #[must_use]
    pub fn http_port(&self) -> Option<u16> {
        if !self.serves() {
            return None;
        }
        let flag = self.arguments.iter().position(|argument| argument == "-http");
        let ports = match flag {
            Some(at) => self.arguments.get(at + 1)?.as_str(),
            None => "8080",
        };
        ports.split(',').next()?.parse().ok()
    }
}

impl Fixture {
    /// Reads the fixture and gives out addresses.
    pub fn read(text: &str, places: Layout) -> anyhow::Result<Self> {
        let (no_host, silent_host) = match places {
            Layout::Plain(base) => (host(base, 9, 13), host(base, 240, 1)),
            Layout::Pods => (NO_HOST.parse()?, SILENT_HOST.parse()?),
        };
        let mut fixture = Self {
            namespaces: Vec::new(),
            services: Vec::new(),
            others: Vec::new(),
            workloads: Vec::new(),
            no_host,
            silent_host,
        };
        let mut deployments = Vec::new();
        for document in documents(text)? {
            match document["kind"].as_str() {
                Some("Namespace") => fixture.namespaces.push(document),
                Some("Service") => fixture.services.push(document),
                Some("Deployment") => deployments.push(document),
                _ => fixture.others.push(document),
            }
        }
        for (number, deployment) in (1..).zip(&deployments) {
            let workload = fixture.workload(deployment, places.place(number))?;
            fixture.workloads.push(workload);
        }
        let last = u8::try_from(deployments.len() + 1).context("too many workloads")?;
        fixture.add_gateway(places.place(last));
        for (number, service) in (FIRST_SERVICE..).zip(&mut fixture.services) {
            if service["spec"]["clusterIP"].is_null() {
                service["spec"]["clusterIP"] = json!(places.service(number).to_string());
            }
            service["spec"]["clusterIPs"] = json!([service["spec"]["clusterIP"]]);
        }
        Ok(fixture)
    }

    /// The workload of a Deployment.
    pub fn find(&self, namespace: &str, name: &str) -> anyhow::Result<&Workload> {
        self.workloads
            .iter()
            .find(|workload| workload.namespace == namespace && workload.name == name)
            .with_context(|| format!("the fixture has no Deployment {namespace}/{name}"))
    }

    /// Addresses for placeholders.
    #[must_use]
    pub fn places(&self) -> Places {
        let captured = self.workloads.iter().any(|w| matches!(w.place, Place::Pod(_)));
        let elsewhere = if captured {
            // Every address of the recording can be had.
            BTreeMap::new()
        } else {
            BTreeMap::from([
                (NO_HOST.to_owned(), self.no_host.to_string()),
                (SILENT_HOST.to_owned(), self.silent_host.to_string()),
                // What the log says of a host without route, it says here of one without listener.
                ("_No_route_to_host".to_owned(), "_Connection_refused".to_owned()),
            ])
        };
        let mut places = Places {
            elsewhere,
            ..Places::default()
        };
        for workload in &self.workloads {
            let name = format!(
                "{}/{}-{}",
                workload.namespace,
                workload.label("app"),
                workload.label("version")
            );
            places.pods.insert(name, workload.pod_ip());
        }
        for service in &self.services {
            let (namespace, name) = name_of(service);
            if let Some(address) = service["spec"]["clusterIP"]
                .as_str()
                .and_then(|ip| ip.parse().ok())
            {
                places.services.insert(format!("{namespace}/{name}"), address);
            }
        }
        places
    }

    /// What a client in `namespace` gets when it resolves `host`.
    pub fn resolve(&self, host: &str, namespace: &str) -> anyhow::Result<IpAddr> {
        if let Ok(ip) = host.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(ip);
        }
        let mut parts = host.split('.');
        let name = parts.next().unwrap_or_default();
        let namespace = parts.next().unwrap_or(namespace);
        let service = self
            .services
            .iter()
            .find(|service| name_of(service) == (namespace, name))
            .with_context(|| format!("{host:?} has no address in namespace {namespace}"))?;
        let address = service["spec"]["clusterIP"]
            .as_str()
            .and_then(|ip| ip.parse().ok());
        address
            .or_else(|| self.selected(service).first().map(|workload| workload.pod_ip()))
            .with_context(|| format!("{host:?} has no address"))
    }

    /// Where a client without sidecar arrives that calls `service.namespace:port`: kube-proxy's choice.
    pub fn reach(&self, host: &str, port: u16) -> anyhow::Result<std::net::SocketAddr> {
        let (name, namespace) = host
            .split_once('.')
            .with_context(|| format!("{host:?} has no namespace"))?;
        let service = self
            .services
            .iter()
            .find(|service| name_of(service) == (namespace, name))
            .with_context(|| format!("the fixture has no Service {host}"))?;
        let ports = service["spec"]["ports"].as_array();
        let target = ports
            .into_iter()
            .flatten()
            .find(|entry| entry["port"] == json!(port))
            .and_then(|entry| entry["targetPort"].as_u64())
            .and_then(|port| u16::try_from(port).ok());
        let pod = self.selected(service).first().map(|workload| workload.pod_ip());
        match (pod, target) {
            (Some(ip), Some(port)) => Ok((ip, port).into()),
            _ => {
                let ip: IpAddr = service["spec"]["clusterIP"]
                    .as_str()
                    .and_then(|ip| ip.parse().ok())
                    .context("service without address")?;
                Ok((ip, port).into())
            }
        }
    }

    /// Workloads that a Service selects.
    #[must_use]
    pub fn selected(&self, service: &Value) -> Vec<&Workload> {
        let (namespace, _) = name_of(service);
        let selector = service["spec"]["selector"].as_object();
        self.workloads
            .iter()
            .filter(|workload| {
                workload.namespace == namespace
                    && selector.is_some_and(|selector| {
                        selector.iter().all(|(name, value)| {
                            value.as_str() == workload.labels.get(name).map(String::as_str)
                        })
                    })
            })
            .collect()
    }

    fn workload(&self, deployment: &Value, place: Place) -> anyhow::Result<Workload> {
        let (namespace, name) = name_of(deployment);
        let template = &deployment["spec"]["template"];
        let labels: BTreeMap<String, String> = serde_json::from_value(template["metadata"]["labels"].clone())
            .with_context(|| format!("labels of {name}"))?;
        let arguments: Vec<String> =
            serde_json::from_value(template["spec"]["containers"][0]["args"].clone())
                .with_context(|| format!("args of {name}"))?;
        let enabled = self.namespaces.iter().any(|object| {
            object["metadata"]["name"] == json!(namespace)
                && object["metadata"]["labels"]["istio-injection"] == json!("enabled")
        });
        let refused = labels
            .get("sidecar.istio.io/inject")
            .is_some_and(|value| value == "false");
        Ok(Workload {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            labels,
            annotations: serde_json::from_value(template["metadata"]["annotations"].clone())
                .unwrap_or_default(),
            arguments,
            proxy: if enabled && !refused {
                Proxy::Sidecar
            } else {
                Proxy::None
            },
            place,
        })
    }

    /// The recording had an ingress gateway beside its fixture.
    fn add_gateway(&mut self, place: Place) {
        let labels = BTreeMap::from([
            ("app".to_owned(), GATEWAY.to_owned()),
            ("istio".to_owned(), "ingressgateway".to_owned()),
        ]);
        self.services.push(json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": GATEWAY, "namespace": ROOT_NAMESPACE},
            "spec": {"selector": labels, "ports": [
                {"name": "http2", "port": 80, "targetPort": 8080},
                {"name": "https", "port": 443, "targetPort": 8443},
            ]},
        }));
        self.workloads.push(Workload {
            namespace: ROOT_NAMESPACE.to_owned(),
            name: GATEWAY.to_owned(),
            labels,
            annotations: BTreeMap::new(),
            arguments: Vec::new(),
            proxy: Proxy::Gateway,
            place,
        });
    }
}

/// Namespace and name of an object.
#[must_use]
pub fn name_of(object: &Value) -> (&str, &str) {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// The YAML documents of a text.
pub fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let mut documents = Vec::new();
    for part in text.split("\n---") {
        if !part.trim().is_empty() {
            // As kubectl reads it: `y` is a text.
            let options = serde_saphyr::options! { strict_booleans: true };
            let document = serde_saphyr::from_str_with_options(part, options);
            documents.push(document.with_context(|| format!("YAML: {part}"))?);
        }
    }
    Ok(documents)
}

impl Layout {
    fn place(self, number: u8) -> Place {
        match self {
            Self::Plain(base) => Place::Plain(base.workload(number)),
            // As long as recorded ones.
            Self::Pods => Place::Pod(number + 10),
        }
    }

    fn service(self, number: u8) -> IpAddr {
        match self {
            Self::Plain(base) => host(base, SERVICES, number),
            Self::Pods => IpAddr::from([10, 96, 1, number + 100]),
        }
    }
}

fn pod_address(number: u8) -> IpAddr {
    IpAddr::from([10, 244, 0, number])
}

fn host(base: AddressBase, number: u8, last: u8) -> IpAddr {
    let IpAddr::V4(first) = base.workload(number).application() else {
        return IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    };
    let [a, b, c, _] = first.octets();
    IpAddr::from([a, b, c, last])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fixture() -> Fixture {
        let base = AddressBase::parse("127.80.0.0/16").unwrap();
        Fixture::read(
            include_str!("../../data/observed/routing/fixture.yaml"),
            Layout::Plain(base),
        )
        .unwrap()
    }

    #[test]
    fn roles() {
        let fixture = fixture();
        let proxies = |wanted: Proxy| {
            fixture
                .workloads
                .iter()
                .filter(|workload| workload.proxy == wanted)
                .count()
        };
        assert_eq!(
            (
                proxies(Proxy::Sidecar),
                proxies(Proxy::None),
                proxies(Proxy::Gateway)
            ),
            (11, 2, 1)
        );
        assert_eq!(fixture.find("app", "multi").unwrap().http_port(), Some(8080));
        assert_eq!(fixture.find("app", "tcp-echo-v1").unwrap().http_port(), None);
        assert_eq!(fixture.find("app", "client").unwrap().http_port(), None);
        assert!(fixture.find("app", "nothing").is_err());
    }

    #[test]
    fn a_service_address_is_as_long_as_the_recorded_one() {
        let places = fixture().places();
        assert_eq!(places.services["app/web"].to_string().len(), "10.96.1.234".len());
        assert!(places.pods.contains_key("app/bare-v1") && places.pods.contains_key("plain/client-v1"));
        assert!(!places.services.contains_key("app/headless"));
    }

    #[test]
    fn a_service_without_endpoints_is_reached_at_its_own_address() {
        let fixture = fixture();
        let places = fixture.places();
        let closed = fixture.reach("noep.app", 80).unwrap();
        assert_eq!(closed, (places.services["app/noep"], 80).into());
        let open = fixture.reach("web.app", 80).unwrap();
        assert_eq!(open.port(), 8080);
    }
}
