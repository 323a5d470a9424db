//! A sidecar's inbound side: a listener for each workload port of the services that the workload is part of.

mod captured;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_crd::networking::destination_rule::ConnectionPool;
use mesh_crd::networking::{Sidecar, labels_match};
use mesh_crd::security::MutualTlsMode;
use mesh_crd::{Object, ObjectKey};
use mesh_model::cluster::{
    CertificateSource, Cluster, Discovery, Endpoint, Endpoints, PeerValidation, RootSource, UpstreamProtocol,
};
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, DownstreamTls, FilterChain, Listener, RouteSource,
    TcpProxy,
};
use mesh_model::retry::{RetryOn, RetryPolicy};
use mesh_model::route::{
    Action, Domain, Forward, HeaderEdits, Route, RouteTable, VirtualHost, WeightedDestination,
};
use mesh_model::snapshot::Snapshot;

use crate::World;
use crate::access::{self, Asked};
use crate::cluster;
use crate::connection::{self, Place};
use crate::index::Index;
use crate::node::ProxyNode;
use crate::outbound;
use crate::peer::PeerModes;
use crate::policy::{self, Client, Effective};
use crate::protocol::Protocol;
use crate::registry::{MeshService, ServicePort, TargetPort};
use crate::visible;

/// ALPN by which mesh peers are told from foreign TLS.
const MESH_ALPN: &[&str] = &[
    "istio",
    "istio-peer-exchange",
    "istio-http/1.0",
    "istio-http/1.1",
    "istio-h2",
];
/// Plain protocols that the first bytes tell.
const PLAIN_HTTP: &[&str] = &["http/1.1", "h2c"];
/// After this, the application behind a silent client is connected to, as it may be the one that speaks first. Should the
/// client speak first after all, what it says still decides.
const DETECTION_TIMEOUT: Duration = Duration::from_millis(100);
/// Where a Sidecar object's `defaultEndpoint` is.
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const TCP_IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Adds listeners and clusters.
pub(crate) fn build(world: &World, index: &Index, node: &ProxyNode, out: &mut Snapshot) {
    if node.application.is_none() && !node.is_captured() {
        return;
    }
    let modes = PeerModes::of(world, index, &node.namespace, &node.labels);
    let workload = access::Workload {
        namespace: &node.namespace,
        labels: &node.labels,
    };
    let asked = access::of(world, index, workload);
    outbound::asked_services(world, index, node, &asked, out);
    let sidecar = visible::sidecar(world, index, node).map(|sidecar| &sidecar.spec);
    let own_pool = sidecar.and_then(|s| s.inbound_connection_pool.as_ref());
    let served = served(world, index, node, sidecar);
    let sides = served.iter().map(|served| Inbound {
        world,
        index,
        node,
        service: Some(served.service),
        service_port: &served.service_port,
        port: served.port,
        application: match node.application {
            Some(application) => Some(SocketAddr::new(application, served.application_port)),
            // A Sidecar object may say where the application is; else it is where the connection was going.
            None if served.application_port == served.port => None,
            None => Some(SocketAddr::new(LOOPBACK, served.application_port)),
        },
        pool: served.pool.or(own_pool),
        asked: &asked,
    });
    if node.is_captured() {
        let pod = captured::Pod {
            world,
            index,
            node,
            modes: &modes,
            asked: &asked,
        };
        captured::build(&pod, &sides.collect::<Vec<_>>(), out);
        return;
    }
    for side in sides {
        let cluster = side.cluster();
        let listener = side.listener(modes.at(side.port), &cluster.name);
        out.clusters.insert(cluster.name.clone(), Arc::new(cluster));
        out.listeners.insert(listener.name.clone(), Arc::new(listener));
    }
}

/// A workload port that is listened on.
struct Served<'a> {
    port: u16,
    service: &'a MeshService,
    service_port: Cow<'a, ServicePort>,
    application_port: u16,
    pool: Option<&'a ConnectionPool>,
}

/// The ports of a workload's services, or those that its Sidecar object lists instead.
fn served<'a>(
    world: &World,
    index: &'a Index,
    node: &ProxyNode,
    sidecar: Option<&'a Sidecar>,
) -> Vec<Served<'a>> {
    let of_services = ports(world, index, node);
    let ingress = sidecar.map_or(&[][..], |s| s.ingress.as_slice());
    if ingress.is_empty() {
        let all = of_services.into_iter();
        return all
            .map(|(port, (service, service_port))| Served {
                port,
                service,
                service_port: Cow::Borrowed(service_port),
                application_port: port,
                pool: None,
            })
            .collect();
    }
    let first = of_services.values().next().copied();
    ingress
        .iter()
        .filter_map(|listener| {
            let port = u16::try_from(listener.port.number)
                .ok()
                .filter(|port| *port != 0)?;
            let own = of_services.get(&port).copied();
            let (service, known) = own.or(first)?;
            let number = if own.is_some() { known.number } else { port };
            Some(Served {
                port,
                service,
                service_port: Cow::Owned(ServicePort {
                    number,
                    name: listener.port.name.clone(),
                    protocol: Protocol::by_name(&listener.port.protocol).unwrap_or(known.protocol),
                    target: TargetPort::Number(port),
                    endpoints: Vec::new(),
                }),
                application_port: application_port(&listener.default_endpoint, port)?,
                pool: listener.connection_pool.as_ref(),
            })
        })
        .collect()
}

/// Port of `127.0.0.1:80`, `0.0.0.0:80` or `[::1]:80`; the listener's own where nothing is written. `None` = a unix
/// socket.
pub(crate) fn application_port(endpoint: &str, port: u16) -> Option<u16> {
    if endpoint.is_empty() {
        return Some(port);
    }
    endpoint
        .parse::<SocketAddr>()
        .ok()
        .map(|at| at.port())
        .filter(|port| *port != 0)
}

/// Workload ports with the service port that is served there; the oldest service has a port.
fn ports<'a>(
    world: &World,
    index: &'a Index,
    node: &ProxyNode,
) -> BTreeMap<u16, (&'a MeshService, &'a ServicePort)> {
    let pod = match world
        .get(&ObjectKey::new("Pod", &node.namespace, &node.name))
        .map(Arc::as_ref)
    {
        Some(Object::Pod(pod)) => Some(pod),
        _ => None,
    };
    let labels = pod.map_or(&node.labels, |p| &p.meta.labels);
    let mut out = BTreeMap::new();
    for service in &index.registry.services {
        let selected = service.namespace == node.namespace
            && !service.selector.is_empty()
            && labels_match(&service.selector, labels);
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            let listed = port
                .endpoints
                .iter()
                .find(|e| node.addresses.contains(&e.address.ip()))
                .map(|e| e.address.port());
            let by_selector = || match &port.target {
                TargetPort::Number(n) => Some(*n),
                TargetPort::Named(name) => pod?.spec.named_ports.get(name).copied(),
            };
            let target = listed.or_else(|| by_selector().filter(|_| selected));
            if let Some(target) = target.filter(|t| *t != 0) {
                out.entry(target).or_insert((service.as_ref(), port));
            }
        }
    }
    out
}

struct Inbound<'a> {
    world: &'a World,
    index: &'a Index,
    node: &'a ProxyNode,
    /// `None` = a port that no service has.
    service: Option<&'a MeshService>,
    service_port: &'a ServicePort,
    port: u16,
    /// Where the application is; `None` = where the connection was going.
    application: Option<SocketAddr>,
    /// Limits of the Sidecar object.
    pool: Option<&'a ConnectionPool>,
    asked: &'a Asked,
}

impl Inbound<'_> {
    fn cluster(&self) -> Cluster {
        let mut cluster = cluster::base(self.world, format!("inbound|{}||", self.port));
        cluster.discovery = match self.application {
            None => Discovery::OriginalDestination,
            Some(address) => Discovery::Static(Endpoints(vec![Endpoint {
                address,
                healthy: true,
                weight: 1,
                priority: 0,
                locality: String::new(),
                mutual_tls: false,
                workload: None,
            }])),
        };
        // What the port's name promises is what the application gets, however the peer's sidecar came.
        cluster.protocol = match self.service_port.protocol {
            Protocol::Http => UpstreamProtocol::Http1,
            protocol if protocol.is_http2() => UpstreamProtocol::Http2,
            protocol if protocol.may_be_http() => UpstreamProtocol::UseDownstream,
            _ => UpstreamProtocol::Unspecified,
        };
        let Some(service) = self.service else {
            return cluster;
        };
        cluster.service = Some(service.service_name());
        // The service's own connection pool holds here too; nothing else of a DestinationRule does.
        let client = Client {
            namespace: &service.namespace,
            labels: &self.node.labels,
        };
        let rule = policy::lookup(self.world, self.index, client, service);
        let of_rule = rule.and_then(|rule| Effective::of(rule, None, self.service_port.number).pool);
        if let Some(pool) = self.pool.or(of_rule) {
            cluster::limits(&mut cluster, pool);
            if pool.http.as_ref().is_some_and(|http| http.use_client_protocol)
                && self.service_port.protocol.may_be_http()
            {
                cluster.protocol = UpstreamProtocol::UseDownstream;
            }
        }
        cluster
    }

    fn listener(&self, mode: MutualTlsMode, cluster: &str) -> Listener {
        let name = format!("{}_{}", self.node.address, self.port);
        let protocol = self.service_port.protocol;
        Listener {
            address: SocketAddr::new(self.node.address, self.port),
            direction: Direction::Inbound,
            chains: self.chains(&name, mode, cluster),
            default_chain: None,
            detection_timeout: (!protocol.is_http()).then_some(DETECTION_TIMEOUT),
            bind_to_port: true,
            capture: Capture::default(),
            name,
        }
    }

    fn chains(&self, name: &str, mode: MutualTlsMode, cluster: &str) -> Vec<FilterChain> {
        let protocol = self.service_port.protocol;
        let mut chains = Vec::new();
        let secure = mode != MutualTlsMode::Disable;
        let plain = mode != MutualTlsMode::Strict;
        if protocol.may_be_http() {
            if secure {
                chains.push(self.chain(name, Kind::SecureHttp, mode, cluster));
            }
            if protocol == Protocol::Auto && secure {
                chains.push(self.chain(name, Kind::SecureTcp, mode, cluster));
            }
            if plain {
                chains.push(self.chain(name, Kind::PlainHttp, mode, cluster));
            }
        } else if secure {
            chains.push(self.chain(name, Kind::SecureTcp, mode, cluster));
        }
        if plain && !protocol.is_http() {
            chains.push(self.chain(name, Kind::PlainTcp, mode, cluster));
        }
        chains
    }

    fn chain(&self, listener: &str, kind: Kind, mode: MutualTlsMode, cluster: &str) -> FilterChain {
        let auto = self.service_port.protocol == Protocol::Auto;
        let names = |list: &[&str]| list.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let (suffix, tls, alpn) = match kind {
            // An undeclared port tells HTTP from TCP by the peer's ALPN.
            Kind::SecureHttp if auto => (
                "mtls-http",
                Some(true),
                names(&["istio-http/1.0", "istio-http/1.1", "istio-h2"]),
            ),
            // STRICT answers any TLS with the mesh certificate.
            Kind::SecureHttp if mode == MutualTlsMode::Strict => ("mtls-http", Some(true), Vec::new()),
            Kind::SecureHttp => ("mtls-http", Some(true), names(MESH_ALPN)),
            Kind::SecureTcp if mode == MutualTlsMode::Strict => ("mtls-tcp", Some(true), Vec::new()),
            Kind::SecureTcp => ("mtls-tcp", Some(true), names(MESH_ALPN)),
            Kind::PlainHttp if auto => ("http", Some(false), names(PLAIN_HTTP)),
            Kind::PlainHttp => ("http", Some(false), Vec::new()),
            // Foreign TLS goes through untouched.
            Kind::PlainTcp => ("tcp", None, Vec::new()),
        };
        let service = match kind {
            Kind::SecureHttp | Kind::PlainHttp => {
                let mut http = connection::http(
                    self.world,
                    Place::Inbound,
                    format!("inbound_{listener}"),
                    RouteSource::Inline(Arc::new(self.table(cluster))),
                );
                http.policies = self.asked.http.clone();
                http.external.clone_from(&self.asked.external);
                http.tokens.clone_from(&self.asked.tokens);
                ConnectionService::Http(Box::new(http))
            }
            Kind::SecureTcp | Kind::PlainTcp => ConnectionService::Tcp(TcpProxy {
                stat_prefix: cluster.to_owned(),
                clusters: vec![(cluster.to_owned(), 1)],
                idle_timeout: Some(TCP_IDLE_TIMEOUT),
                max_duration: None,
                hash_source_ip: false,
                origin: None,
                policies: self.asked.tcp.clone(),
                access_logs: connection::access_logs(self.world),
            }),
        };
        let secure = matches!(kind, Kind::SecureHttp | Kind::SecureTcp);
        FilterChain {
            name: format!("{listener}-{suffix}"),
            matches: ChainMatch {
                tls,
                application_protocols: alpn,
                ..ChainMatch::default()
            },
            tls: secure.then(|| DownstreamTls {
                certificates: vec![CertificateSource::Workload],
                validation: PeerValidation {
                    roots: RootSource::Mesh,
                    subject_alt_names: Vec::new(),
                },
                require_client_certificate: true,
                alpn: match kind {
                    Kind::SecureHttp => names(&["h2", "http/1.1"]),
                    _ => names(&["istio"]),
                },
            }),
            service,
        }
    }

    fn table(&self, cluster: &str) -> RouteTable {
        let retry = RetryPolicy {
            on: RetryOn {
                reset_before_request: true,
                ..RetryOn::default()
            },
            ..RetryPolicy::default()
        };
        let forward = Forward {
            destinations: vec![WeightedDestination {
                cluster: cluster.to_owned(),
                weight: 1,
                ..WeightedDestination::default()
            }],
            retry: Some(retry),
            max_grpc_timeout: Some(Duration::ZERO),
            ..Forward::default()
        };
        let route = Route {
            name: "default".into(),
            matches: crate::route::everything(),
            action: Action::Forward(Box::new(forward)),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            fault: None,
            cors: None,
            operation: Some(match self.service {
                Some(service) => format!("{}:{}/*", service.host, self.service_port.number),
                None => ":0/*".to_owned(),
            }),
            origin: None,
        };
        RouteTable {
            name: cluster.to_owned(),
            virtual_hosts: vec![Arc::new(VirtualHost {
                name: format!("inbound|http|{}", self.service_port.number),
                domains: vec![Domain::Any],
                routes: vec![Arc::new(route)],
                require_tls: false,
                include_attempt_count: false,
            })],
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    SecureHttp,
    SecureTcp,
    PlainHttp,
    PlainTcp,
}
