//! Listeners of a plain process for services that are no declared HTTP, and what CONNECT opens.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use mesh_model::address::WorkloadAddresses;
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, FilterChain, Listener, RouteSource, TcpProxy,
};
use mesh_model::route::Domain;
use mesh_model::snapshot::Snapshot;

use super::domains;
use crate::bound::Bound;
use crate::cluster;
use crate::connection::{self, Place};
use crate::l4;
use crate::local;
use crate::protocol::Protocol;
use crate::registry::{MeshService, ServicePort};
use crate::route::RouteContext;
use crate::visible::Visible;

/// Serves what belongs to no other listener, as in Istio.
const VIRTUAL: &str = "virtualOutbound";
/// After this, a silent client of an undeclared port is taken for one that waits for the server.
pub(super) const DETECTION_TIMEOUT: Duration = Duration::from_millis(100);

/// Makes the listeners; answers which authority of a CONNECT belongs to which.
pub(super) fn listeners(
    context: &mut RouteContext<'_>,
    visible: &Visible<'_>,
    chosen: &[Option<&Arc<Bound>>],
    outbound: SocketAddr,
    allow_any: bool,
    out: &mut Snapshot,
) -> BTreeMap<String, String> {
    let workload = WorkloadAddresses::of(outbound.ip());
    let mut authorities = BTreeMap::new();
    for (service, bound) in visible.services.iter().zip(chosen) {
        let number = context.index.tcp_numbers.get(&service.host);
        let own = workload.zip(number).map(|(w, n)| w.tcp(*n));
        for port in local::ports(service) {
            context.port = port.number;
            // A wildcard has no address of its own; it is reached by CONNECT alone.
            let address = SocketAddr::new(own.unwrap_or(outbound.ip()), port.number);
            let name = match own {
                Some(_) => format!("{}_{}", address.ip(), address.port()),
                None => format!("{}_{}", service.host, port.number),
            };
            let place = ServedPort {
                context,
                service,
                port,
                bound: *bound,
                name: &name,
                allow_any,
                captured: false,
            };
            let listener = place.listener(address, own.is_some());
            for domain in domains(service, context.client.namespace, own) {
                let host = match domain {
                    Domain::Exact(name) => name,
                    Domain::Suffix(suffix) => format!("*{suffix}"),
                    Domain::Any | Domain::Prefix(_) => continue,
                };
                authorities
                    .entry(format!("{host}:{}", port.number))
                    .or_insert_with(|| name.clone());
            }
            out.listeners.insert(name, Arc::new(listener));
        }
    }
    let proxy = unknown(context, allow_any);
    let listener = Listener {
        name: VIRTUAL.to_owned(),
        address: outbound,
        direction: Direction::Outbound,
        chains: vec![chain(
            "virtualOutbound",
            ChainMatch::default(),
            ConnectionService::Tcp(proxy),
        )],
        default_chain: None,
        detection_timeout: None,
        bind_to_port: false,
        capture: Capture::default(),
    };
    out.listeners.insert(VIRTUAL.to_owned(), Arc::new(listener));
    authorities.insert("*".to_owned(), VIRTUAL.to_owned());
    authorities
}

/// Where a connection to an unknown destination goes.
pub(super) fn unknown(context: &RouteContext<'_>, allow_any: bool) -> TcpProxy {
    let rest = if allow_any {
        cluster::PASSTHROUGH
    } else {
        cluster::BLACK_HOLE
    };
    l4::plain_proxy(context, rest, vec![(rest.to_owned(), 1)])
}

/// A service's port that gets a listener of its own.
#[derive(Clone, Copy)]
pub(super) struct ServedPort<'a> {
    pub(super) context: &'a RouteContext<'a>,
    pub(super) service: &'a MeshService,
    pub(super) port: &'a ServicePort,
    pub(super) bound: Option<&'a Arc<Bound>>,
    pub(super) name: &'a str,
    pub(super) allow_any: bool,
    /// Connections have an original destination.
    pub(super) captured: bool,
}

impl ServedPort<'_> {
    pub(super) fn listener(&self, address: SocketAddr, bind_to_port: bool) -> Listener {
        let is_tls = matches!(self.port.protocol, Protocol::Tls | Protocol::Https);
        let (mut chains, mut default_chain) = (Vec::new(), None);
        let destination: Vec<IpAddr> = self.service.vips.clone();
        let by_name = self
            .bound
            .and_then(|b| l4::tls(self.context, b, &destination, &self.stat_prefix()));
        let by_name_only = by_name.is_some() && is_tls;
        for (i, route) in by_name.into_iter().flatten().enumerate() {
            let matches = ChainMatch {
                tls: Some(true),
                server_names: route.server_names,
                ..ChainMatch::default()
            };
            chains.push(chain(
                &format!("{}-tls-{i}", self.name),
                matches,
                ConnectionService::Tcp(route.proxy),
            ));
        }
        if self.port.protocol == Protocol::Auto {
            let http = connection::http(
                self.context.world,
                Place::Outbound,
                format!("outbound_{}", self.name),
                RouteSource::Named(self.port.number.to_string()),
            );
            let matches = ChainMatch {
                tls: Some(false),
                application_protocols: vec!["http/1.1".to_owned(), "h2c".to_owned()],
                ..ChainMatch::default()
            };
            chains.push(chain(
                &format!("{}-http", self.name),
                matches,
                ConnectionService::Http(Box::new(http)),
            ));
        }
        let rest = self.rest(&destination);
        if by_name_only {
            // Other names are not the VirtualService's business: as to any unknown destination.
            let rest = if self.captured {
                unknown(self.context, self.allow_any)
            } else {
                rest
            };
            default_chain = (self.allow_any || self.captured)
                .then(|| chain(self.name, ChainMatch::default(), ConnectionService::Tcp(rest)));
        } else {
            chains.push(chain(
                self.name,
                ChainMatch::default(),
                ConnectionService::Tcp(rest),
            ));
        }
        Listener {
            name: self.name.to_owned(),
            address,
            direction: Direction::Outbound,
            chains,
            default_chain,
            // TLS clients speak first; others may wait for the server.
            detection_timeout: (!is_tls).then_some(DETECTION_TIMEOUT),
            bind_to_port,
            capture: Capture::default(),
        }
    }

    fn stat_prefix(&self) -> String {
        cluster::name(self.port.number, "", &self.service.host)
    }

    pub(super) fn rest(&self, destination: &[IpAddr]) -> TcpProxy {
        self.bound
            .and_then(|b| l4::tcp(self.context, b, destination, &self.stat_prefix()))
            .filter(|proxy| !proxy.clusters.is_empty())
            .unwrap_or_else(|| l4::default_proxy(self.context, self.service, &self.stat_prefix()))
    }
}

pub(super) fn chain(name: &str, matches: ChainMatch, service: ConnectionService) -> FilterChain {
    FilterChain {
        name: name.to_owned(),
        matches,
        tls: None,
        service,
    }
}
