//! Outbound listeners of a captured sidecar: the capturing one, and behind it one for each port of HTTP services and one
//! for each address of the others, as in Istio.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mesh_model::address::port;
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, FilterChain, Listener, RouteSource, TcpProxy,
};
use mesh_model::names::NameTable;
use mesh_model::snapshot::Snapshot;

use super::tcp::{ServedPort, chain, unknown};
use crate::bound::Bound;
use crate::cluster;
use crate::connection::{self, Place};
use crate::l4;
use crate::node::ProxyNode;
use crate::protocol::Protocol;
use crate::registry::{MeshService, ServicePort, Source};
use crate::route::RouteContext;
use crate::visible::Visible;

/// The capturing listener.
const VIRTUAL: &str = "virtualOutbound";
/// Stands for every address in the name and address of a listener behind the capturing one.
const ANY: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// What the first bytes of HTTP are called.
const HTTP: [&str; 2] = ["http/1.1", "h2c"];

/// Adds all listeners.
pub(super) fn listeners(
    context: &mut RouteContext<'_>,
    visible: &Visible<'_>,
    chosen: &[Option<&Arc<Bound>>],
    node: &ProxyNode,
    allow_any: bool,
    out: &mut Snapshot,
) {
    let mut http: BTreeMap<u16, Option<TcpProxy>> = BTreeMap::from([(super::HTTP_PORT, None)]);
    let mut whole_ports: BTreeMap<u16, TcpProxy> = BTreeMap::new();
    for (service, bound) in visible.services.iter().zip(chosen) {
        for port in service.ports.iter().filter(|p| p.protocol != Protocol::Udp) {
            context.port = port.number;
            if port.protocol.is_http() {
                http.entry(port.number).or_default();
                continue;
            }
            let unnamed = ServedPort {
                context,
                service,
                port,
                bound: *bound,
                name: "",
                allow_any,
                captured: true,
            };
            let addresses = addresses(context, service, port, node);
            for ip in &addresses {
                let address = SocketAddr::new(*ip, port.number);
                let name = format!("{ip}_{}", port.number);
                let place = ServedPort {
                    name: &name,
                    ..unnamed
                };
                let listener = place.listener(address, false);
                out.listeners.entry(name).or_insert_with(|| Arc::new(listener));
            }
            if addresses.is_empty() && takes_whole_port(service) {
                let name = format!("{ANY}_{}", port.number);
                let place = ServedPort {
                    name: &name,
                    ..unnamed
                };
                if port.protocol.may_be_http() {
                    http.entry(port.number).or_default();
                }
                whole_ports.entry(port.number).or_insert_with(|| place.rest(&[]));
                if !http.contains_key(&port.number) {
                    let listener = place.listener(SocketAddr::new(ANY, port.number), false);
                    out.listeners.entry(name).or_insert_with(|| Arc::new(listener));
                }
            }
        }
    }
    for number in http.into_keys() {
        // What is no HTTP belongs to a service that has the whole port, or to nobody.
        let rest = whole_ports
            .remove(&number)
            .unwrap_or_else(|| unknown(context, allow_any));
        let listener = http_port(context, number, rest);
        out.listeners.insert(listener.name.clone(), Arc::new(listener));
    }
    let listener = capturing(context, visible, node, allow_any);
    out.listeners.insert(VIRTUAL.to_owned(), Arc::new(listener));
}

/// Where connections to a port that is no declared HTTP go: to the service's own addresses, or to those of its pods.
fn addresses(
    context: &RouteContext<'_>,
    service: &MeshService,
    port: &ServicePort,
    node: &ProxyNode,
) -> Vec<IpAddr> {
    if !service.vips.is_empty() {
        return service.vips.clone();
    }
    if is_headless(service) {
        return port.endpoints.iter().map(|e| e.address.ip()).collect();
    }
    context
        .index
        .made_up
        .get(&service.host)
        .filter(|_| node.dns_capture)
        .map(|ip| IpAddr::V4(*ip))
        .into_iter()
        .collect()
}

/// A Service without address: its name is resolved to the pods.
pub(super) fn is_headless(service: &MeshService) -> bool {
    service.kubernetes && service.vips.is_empty() && service.source == Source::Known
}

/// A ServiceEntry without address: any destination may be meant.
fn takes_whole_port(service: &MeshService) -> bool {
    !service.kubernetes
}

fn http_port(context: &RouteContext<'_>, number: u16, rest: TcpProxy) -> Listener {
    let name = format!("{ANY}_{number}");
    let http = connection::http(
        context.world,
        Place::Outbound,
        format!("outbound_{name}"),
        RouteSource::Named(number.to_string()),
    );
    let matches = ChainMatch {
        tls: Some(false),
        application_protocols: HTTP.map(str::to_owned).to_vec(),
        ..ChainMatch::default()
    };
    Listener {
        address: SocketAddr::new(ANY, number),
        direction: Direction::Outbound,
        chains: vec![chain(&name, matches, ConnectionService::Http(Box::new(http)))],
        default_chain: Some(chain(
            "PassthroughFilterChain",
            ChainMatch::default(),
            ConnectionService::Tcp(rest),
        )),
        // A client that keeps a connection for later is no server-first protocol.
        detection_timeout: None,
        bind_to_port: false,
        capture: Capture::default(),
        name,
    }
}

/// What the application's lookups are answered.
fn names(context: &RouteContext<'_>, visible: &Visible<'_>) -> NameTable {
    let mut table = NameTable::default();
    for service in &visible.services {
        let mut addresses = service.vips.clone();
        if addresses.is_empty() && is_headless(service) {
            let pods = service.ports.iter().flat_map(|port| &port.endpoints);
            addresses = pods.filter(|e| e.ready).map(|e| e.address.ip()).collect();
            addresses.sort_unstable();
            addresses.dedup();
        }
        if addresses.is_empty() {
            addresses.extend(context.index.made_up.get(&service.host).map(|ip| IpAddr::V4(*ip)));
        }
        // Others are the business of the upstream name server.
        if !addresses.is_empty() {
            table.hosts.insert(service.host.clone(), addresses);
        }
    }
    table
}

fn capturing(
    context: &RouteContext<'_>,
    visible: &Visible<'_>,
    node: &ProxyNode,
    allow_any: bool,
) -> Listener {
    let address = SocketAddr::new(node.any_address(), port::OUTBOUND);
    Listener {
        name: VIRTUAL.to_owned(),
        address,
        direction: Direction::Outbound,
        chains: vec![loop_guard(context, "virtualOutbound-trafficloop", port::OUTBOUND)],
        default_chain: Some(chain(
            "virtualOutbound-catchall-tcp",
            ChainMatch::default(),
            ConnectionService::Tcp(unknown(context, allow_any)),
        )),
        detection_timeout: None,
        bind_to_port: true,
        capture: Capture {
            original_destination: true,
            hand_off: true,
            transparent: false,
            names: node.dns_capture.then(|| Arc::new(names(context, visible))),
        },
    }
}

/// A connection to the capturing port itself would come back for ever.
fn loop_guard(context: &RouteContext<'_>, name: &str, number: u16) -> FilterChain {
    let nowhere = cluster::BLACK_HOLE;
    let proxy = l4::plain_proxy(context, nowhere, vec![(nowhere.to_owned(), 1)]);
    let matches = ChainMatch {
        destination_port: Some(number),
        ..ChainMatch::default()
    };
    chain(name, matches, ConnectionService::Tcp(proxy))
}
