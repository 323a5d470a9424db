//! The inbound listener of a captured sidecar: chains for the ports of services, and for every other port.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mesh_crd::security::MutualTlsMode;
use mesh_model::address::port;
use mesh_model::authorization::Policies;
use mesh_model::cluster::{Balancer, Cluster, UpstreamProtocol};
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, FilterChain, Listener, TcpProxy,
};
use mesh_model::snapshot::Snapshot;

use super::{DETECTION_TIMEOUT, Inbound, TCP_IDLE_TIMEOUT};
use crate::World;
use crate::access::Asked;
use crate::cluster;
use crate::connection;
use crate::index::Index;
use crate::node::{Interception, ProxyNode};
use crate::peer::PeerModes;
use crate::protocol::Protocol;
use crate::registry::{ServicePort, TargetPort};

/// The capturing listener.
const VIRTUAL: &str = "virtualInbound";
/// To ports that no service has.
const PASSTHROUGH: &str = "InboundPassthroughCluster";
/// The application is called from here (over IPv6 from ::6): its answers are not captured again.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

/// What everything here is made from.
pub(super) struct Pod<'a> {
    pub(super) world: &'a World,
    pub(super) index: &'a Index,
    pub(super) node: &'a ProxyNode,
    pub(super) modes: &'a PeerModes,
    pub(super) asked: &'a Asked,
}

/// Adds the listener and its clusters.
pub(super) fn build(pod: &Pod<'_>, sides: &[Inbound<'_>], out: &mut Snapshot) {
    let mut chains = vec![loop_guard(pod.world)];
    for side in sides {
        let cluster = captured(side);
        let name = format!("0.0.0.0_{}", side.port);
        chains.extend(at_port(
            side,
            &name,
            pod.modes.at(side.port),
            &cluster.name,
            Some(side.port),
        ));
        out.clusters.insert(cluster.name.clone(), Arc::new(cluster));
    }
    let unknown = ServicePort {
        number: 0,
        name: String::new(),
        protocol: Protocol::Auto,
        target: TargetPort::Number(0),
        endpoints: Vec::new(),
    };
    let side = Inbound {
        world: pod.world,
        index: pod.index,
        node: pod.node,
        service: None,
        service_port: &unknown,
        port: 0,
        application: None,
        pool: None,
        asked: pod.asked,
    };
    let mut cluster = captured(&side);
    PASSTHROUGH.clone_into(&mut cluster.name);
    // A port level policy holds for a port without service too.
    let modes: BTreeMap<Option<u16>, MutualTlsMode> = pod
        .modes
        .ports()
        .filter(|(port, _)| sides.iter().all(|side| side.port != *port))
        .map(|(port, mode)| (Some(port), mode))
        .chain([(None, pod.modes.elsewhere())])
        .collect();
    for (port, mode) in modes {
        let name = port.map_or_else(|| VIRTUAL.to_owned(), |port| format!("{VIRTUAL}-{port}"));
        chains.extend(at_port(&side, &name, mode, PASSTHROUGH, port));
    }
    out.clusters.insert(cluster.name.clone(), Arc::new(cluster));
    let listener = Listener {
        name: VIRTUAL.to_owned(),
        address: SocketAddr::new(pod.node.any_address(), port::INBOUND),
        direction: Direction::Inbound,
        chains,
        default_chain: None,
        detection_timeout: Some(DETECTION_TIMEOUT),
        bind_to_port: true,
        capture: Capture {
            original_destination: true,
            hand_off: false,
            transparent: pod.node.interception == Interception::Tproxy,
            names: None,
        },
    };
    out.listeners.insert(VIRTUAL.to_owned(), Arc::new(listener));
}

fn captured(side: &Inbound<'_>) -> Cluster {
    let mut cluster = side.cluster();
    if side.application.is_none() {
        cluster.balancer = Balancer::Passthrough;
        cluster.bind = Some(SOURCE);
    }
    if side.service.is_none() {
        cluster.protocol = UpstreamProtocol::UseDownstream;
    }
    cluster
}

fn at_port(
    side: &Inbound<'_>,
    name: &str,
    mode: MutualTlsMode,
    cluster: &str,
    port: Option<u16>,
) -> Vec<FilterChain> {
    let mut chains = side.chains(name, mode, cluster);
    for chain in &mut chains {
        chain.matches.destination_port = port;
    }
    chains
}

/// A connection to the capturing port itself would come back for ever.
fn loop_guard(world: &World) -> FilterChain {
    FilterChain {
        name: format!("{VIRTUAL}-blackhole"),
        matches: ChainMatch {
            destination_port: Some(port::INBOUND),
            ..ChainMatch::default()
        },
        tls: None,
        service: ConnectionService::Tcp(TcpProxy {
            stat_prefix: cluster::BLACK_HOLE.to_owned(),
            clusters: vec![(cluster::BLACK_HOLE.to_owned(), 1)],
            idle_timeout: Some(TCP_IDLE_TIMEOUT),
            max_duration: None,
            hash_source_ip: false,
            origin: None,
            policies: Policies::default(),
            access_logs: connection::access_logs(world),
        }),
    }
}
