//! `VirtualService.tcp` and `.tls`: rules that choose by port, server name and client, before any byte is understood.

use std::net::IpAddr;
use std::time::Duration;

use mesh_crd::networking::labels_match;
use mesh_crd::networking::virtual_service::{L4Match, RouteDestination};
use mesh_model::authorization::Policies;
use mesh_model::listener::TcpProxy;
use mesh_model::route::{HashSource, RouteOrigin};

use crate::bound::{self, Bound};
use crate::connection;
use crate::policy::{self, Effective};
use crate::registry::MeshService;
use crate::route::{self, RouteContext};

/// Istio's idle timeout of TCP connections.
const IDLE: Duration = Duration::from_secs(3600);

/// Where a connection goes, and for which server names (none = any).
pub(crate) struct L4Route {
    pub(crate) server_names: Vec<String>,
    pub(crate) proxy: TcpProxy,
}

/// Routes of the `tls` rules that hold here; `None` if the VirtualService has none for this place.
pub(crate) fn tls(
    context: &RouteContext<'_>,
    bound: &Bound,
    destination: &[IpAddr],
    stat_prefix: &str,
) -> Option<Vec<L4Route>> {
    let mut out: Vec<L4Route> = Vec::new();
    let mut applies_here = false;
    for rule in &bound.tls {
        for condition in rule
            .matches
            .iter()
            .filter(|m| applies(context, bound, m, destination))
        {
            applies_here = true;
            let names: Vec<String> = condition
                .sni_hosts
                .iter()
                .map(|name| name.to_ascii_lowercase())
                .filter(|name| !out.iter().any(|r| r.server_names.contains(name)))
                .collect();
            if names.is_empty() {
                continue;
            }
            out.push(L4Route {
                server_names: names,
                proxy: proxy(context, bound, &rule.route, stat_prefix),
            });
        }
    }
    applies_here.then_some(out)
}

/// The first `tcp` rule that holds here.
pub(crate) fn tcp(
    context: &RouteContext<'_>,
    bound: &Bound,
    destination: &[IpAddr],
    stat_prefix: &str,
) -> Option<TcpProxy> {
    let rule = bound.tcp.iter().find(|rule| {
        rule.matches.is_empty()
            || rule
                .matches
                .iter()
                .any(|m| applies(context, bound, m, destination))
    })?;
    Some(proxy(context, bound, &rule.route, stat_prefix))
}

/// To all endpoints of a service's port.
pub(crate) fn default_proxy(
    context: &RouteContext<'_>,
    service: &MeshService,
    stat_prefix: &str,
) -> TcpProxy {
    let mut proxy = plain_proxy(
        context,
        stat_prefix,
        vec![(crate::cluster::name(context.port, "", &service.host), 1)],
    );
    settle(context, &mut proxy, &service.host, "", context.port);
    proxy
}

/// A proxy with the mesh's settings.
pub(crate) fn plain_proxy(
    context: &RouteContext<'_>,
    stat_prefix: &str,
    clusters: Vec<(String, u32)>,
) -> TcpProxy {
    TcpProxy {
        stat_prefix: stat_prefix.to_owned(),
        clusters,
        idle_timeout: Some(IDLE),
        max_duration: None,
        hash_source_ip: false,
        origin: None,
        policies: Policies::default(),
        access_logs: connection::access_logs(context.world),
    }
}

fn proxy(
    context: &RouteContext<'_>,
    bound: &Bound,
    destinations: &[RouteDestination],
    stat_prefix: &str,
) -> TcpProxy {
    let single = destinations.len() == 1;
    let mut proxy = plain_proxy(context, stat_prefix, Vec::new());
    for candidate in destinations {
        let weight = match u32::try_from(candidate.weight) {
            _ if single => 1,
            Ok(weight) if weight > 0 => weight,
            _ => continue,
        };
        let target = route::resolve(context, &candidate.destination, &bound.key.namespace);
        settle(
            context,
            &mut proxy,
            &target.host,
            &candidate.destination.subset,
            target.port,
        );
        proxy.clusters.push((target.cluster, weight));
    }
    // One that is left gets everything.
    if let [(_, weight)] = proxy.clusters.as_mut_slice() {
        *weight = 1;
    }
    proxy.origin = Some(RouteOrigin {
        virtual_service: format!("{}/{}", bound.key.namespace, bound.key.name),
        route: String::new(),
        match_name: String::new(),
        revision: bound.revision.clone(),
    });
    proxy
}

/// Timeouts and hashing of the destination's DestinationRule.
fn settle(context: &RouteContext<'_>, proxy: &mut TcpProxy, host: &str, subset: &str, port: u16) {
    proxy.hash_source_ip |= route::hash_sources(context, host, subset, port).contains(&HashSource::SourceIp);
    let Some(service) = context.index.registry.covering(host) else {
        return;
    };
    let Some(rule) = policy::lookup(context.world, context.index, context.client, service) else {
        return;
    };
    let subset = rule.subsets.iter().find(|s| s.name == subset);
    if let Some(tcp) = Effective::of(rule, subset, port)
        .pool
        .and_then(|p| p.tcp.as_ref())
    {
        if let Some(idle) = tcp.idle_timeout {
            proxy.idle_timeout = Some(idle).filter(|d| !d.is_zero());
        }
        proxy.max_duration = proxy
            .max_duration
            .or(tcp.max_connection_duration.filter(|d| !d.is_zero()));
    }
}

/// Conditions that do not depend on the connection.
fn applies(context: &RouteContext<'_>, bound: &Bound, condition: &L4Match, destination: &[IpAddr]) -> bool {
    if condition.port != 0 && condition.port != u32::from(context.port) {
        return false;
    }
    let ranges: Vec<ipnet::IpNet> = condition
        .destination_subnets
        .iter()
        .filter_map(|text| {
            text.parse()
                .ok()
                .or_else(|| text.parse::<IpAddr>().ok().map(Into::into))
        })
        .collect();
    if !ranges.is_empty()
        && !destination.is_empty()
        && !destination.iter().any(|ip| ranges.iter().any(|r| r.contains(ip)))
    {
        return false;
    }
    if !condition.gateways.is_empty() {
        let named = bound::gateways(&condition.gateways, &bound.key.namespace);
        return named.iter().any(|g| context.gateways.contains(g));
    }
    labels_match(&condition.source_labels, context.client.labels)
        && (condition.source_namespace.is_empty() || condition.source_namespace == context.client.namespace)
}
