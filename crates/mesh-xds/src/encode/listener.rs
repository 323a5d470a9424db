//! Listeners and filter chains.

use mesh_model::listener::{
    ChainMatch, ConnectionService, Direction, FilterChain, Listener, MetricRule, RouteSource, TcpProxy,
};

use super::tls::downstream_socket;
use super::{authorization, http, log};
use crate::pb::{self, core, listener as envoy, name, number, tcp};
use crate::{Any, METADATA_KEY};

pub(super) fn listener(from: &Listener) -> envoy::Listener {
    let chains = || from.chains.iter().chain(&from.default_chain);
    envoy::Listener {
        name: from.name.clone(),
        address: Some(address(from)),
        filter_chains: from.chains.iter().map(chain).collect(),
        default_filter_chain: from.default_chain.as_ref().map(chain),
        use_original_dst: from.capture.hand_off.then(|| pb::yes(true)),
        transparent: from.capture.transparent.then(|| pb::yes(true)),
        listener_filters: original_destination(from)
            .into_iter()
            .chain(inspectors(chains()))
            .collect(),
        listener_filters_timeout: Some(pb::duration_or_zero(from.detection_timeout)),
        continue_on_listener_filters_timeout: true,
        bind_to_port: (!from.bind_to_port).then(|| pb::yes(false)),
        traffic_direction: match from.direction {
            Direction::Inbound => core::TrafficDirection::Inbound,
            Direction::Outbound => core::TrafficDirection::Outbound,
            Direction::Unspecified => core::TrafficDirection::Unspecified,
        }
        .into(),
        metadata: metadata(from, chains()),
        ..envoy::Listener::default()
    }
}

/// A capturing listener on all IPv6 addresses takes IPv4 too.
fn address(from: &Listener) -> core::Address {
    let mut made = pb::address(from.address);
    if from.capture.original_destination
        && from.address.is_ipv6()
        && let Some(core::address::Address::SocketAddress(socket)) = &mut made.address
    {
        socket.ipv4_compat = true;
    }
    made
}

fn filter(name: &str, config: Any) -> envoy::ListenerFilter {
    envoy::ListenerFilter {
        name: name.to_owned(),
        config_type: Some(envoy::listener_filter::ConfigType::TypedConfig(config)),
        ..envoy::ListenerFilter::default()
    }
}

fn original_destination(from: &Listener) -> Option<envoy::ListenerFilter> {
    from.capture.original_destination.then(|| {
        filter(
            name::ORIGINAL_DST,
            pb::pack(&pb::original_dst::OriginalDst::default()),
        )
    })
}

/// What Envoy needs in order to match on TLS and on the detected protocol.
fn inspectors<'a>(chains: impl Iterator<Item = &'a FilterChain> + Clone) -> Vec<envoy::ListenerFilter> {
    let on_tls = chains.clone().any(|c| {
        c.matches.tls.is_some()
            || !c.matches.server_names.is_empty()
            || !c.matches.application_protocols.is_empty()
    });
    let on_http = chains.into_iter().any(|c| {
        c.matches.tls != Some(true)
            && c.matches
                .application_protocols
                .iter()
                .any(|p| matches!(p.as_str(), "http/1.0" | "http/1.1" | "h2c"))
    });
    let mut filters = Vec::new();
    if on_tls {
        filters.push(filter(
            name::TLS_INSPECTOR,
            pb::pack(&pb::tls_inspector::TlsInspector::default()),
        ));
    }
    if on_http {
        filters.push(filter(
            name::HTTP_INSPECTOR,
            pb::pack(&pb::http_inspector::HttpInspector::default()),
        ));
    }
    filters
}

/// Facts that Envoy has no field for.
fn metadata<'a>(from: &Listener, chains: impl Iterator<Item = &'a FilterChain>) -> Option<core::Metadata> {
    let mut fields = Vec::new();
    if let Some(names) = &from.capture.names {
        let hosts = names.hosts.iter().map(|(host, addresses)| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            (host.clone(), pb::text(addresses.join(",")))
        });
        fields.push(("names".to_owned(), pb::nested(hosts)));
    }
    for chain in chains {
        let ConnectionService::Http(http) = &chain.service else {
            continue;
        };
        if let RouteSource::ByAuthorityPort {
            tables,
            fallback,
            listeners,
        } = &http.routes
        {
            let tables = tables
                .iter()
                .map(|(port, table)| (port.to_string(), pb::text(table)));
            fields.push((
                "http_proxy".to_owned(),
                pb::nested([
                    ("tables".to_owned(), pb::nested(tables)),
                    ("fallback".to_owned(), pb::text(fallback)),
                    (
                        "listeners".to_owned(),
                        pb::nested(listeners.iter().map(|(at, name)| (at.clone(), pb::text(name)))),
                    ),
                ]),
            ));
        }
        if !http.metrics.is_empty() {
            fields.push(("metrics".to_owned(), metric_rules(&http.metrics)));
        }
        if http.scheme_from_transport != http.use_remote_address {
            let value = pb::Value {
                kind: Some(pb::Kind::BoolValue(http.scheme_from_transport)),
            };
            fields.push(("scheme_from_transport".to_owned(), value));
        }
    }
    (!fields.is_empty())
        .then(|| pb::metadata([(METADATA_KEY, pb::structure(fields))]))
        .flatten()
}

fn metric_rules(from: &[MetricRule]) -> pb::Value {
    let list = |values: Vec<pb::Value>| pb::Value {
        kind: Some(pb::Kind::ListValue(pb::ListValue { values })),
    };
    let rules = from.iter().map(|rule| {
        let mut fields = vec![
            ("metric".to_owned(), pb::text(&rule.metric)),
            (
                "remove".to_owned(),
                list(rule.remove.iter().map(pb::text).collect()),
            ),
            (
                "set".to_owned(),
                pb::nested(
                    rule.set
                        .iter()
                        .map(|(label, value)| (label.clone(), pb::text(value))),
                ),
            ),
        ];
        if let Some(disabled) = rule.disabled {
            let value = pb::Value {
                kind: Some(pb::Kind::BoolValue(disabled)),
            };
            fields.push(("disabled".to_owned(), value));
        }
        pb::nested(fields)
    });
    list(rules.collect())
}

fn chain(from: &FilterChain) -> envoy::FilterChain {
    let (filter_name, config) = match &from.service {
        ConnectionService::Http(http) => (name::HCM, pb::pack(&http::connection_manager(http))),
        ConnectionService::Tcp(tcp) => (name::TCP_PROXY, pb::pack(&tcp_proxy(tcp))),
    };
    let typed = |name: &str, config: Any| envoy::Filter {
        name: name.to_owned(),
        config_type: Some(envoy::filter::ConfigType::TypedConfig(config)),
    };
    let (policies, origin) = match &from.service {
        ConnectionService::Tcp(tcp) => (
            authorization::network_filters(&tcp.policies)
                .map(|set| typed(name::TCP_RBAC, pb::pack(&set)))
                .collect::<Vec<_>>(),
            tcp.origin.as_ref(),
        ),
        ConnectionService::Http(_) => (Vec::new(), None),
    };
    envoy::FilterChain {
        name: from.name.clone(),
        metadata: origin.and_then(|origin| pb::metadata([(METADATA_KEY, super::route::origin(origin))])),
        filter_chain_match: chain_match(&from.matches),
        transport_socket: from.tls.as_ref().map(downstream_socket),
        filters: policies.into_iter().chain([typed(filter_name, config)]).collect(),
        ..envoy::FilterChain::default()
    }
}

fn chain_match(from: &ChainMatch) -> Option<envoy::FilterChainMatch> {
    if *from == ChainMatch::default() {
        return None;
    }
    Some(envoy::FilterChainMatch {
        transport_protocol: match from.tls {
            None => "",
            Some(true) => "tls",
            Some(false) => "raw_buffer",
        }
        .to_owned(),
        application_protocols: from.application_protocols.clone(),
        server_names: from.server_names.clone(),
        destination_port: from.destination_port.map(|p| number(u32::from(p))),
        prefix_ranges: from
            .destination_ranges
            .iter()
            .map(|range| core::CidrRange {
                address_prefix: range.addr().to_string(),
                prefix_len: Some(number(u32::from(range.prefix_len()))),
            })
            .collect(),
        ..envoy::FilterChainMatch::default()
    })
}

fn tcp_proxy(from: &TcpProxy) -> tcp::TcpProxy {
    use tcp::tcp_proxy::{ClusterSpecifier, WeightedCluster, weighted_cluster::ClusterWeight};
    let cluster_specifier = match from.clusters.as_slice() {
        [(name, 1)] => ClusterSpecifier::Cluster(name.clone()),
        many => ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: many
                .iter()
                .map(|(name, weight)| ClusterWeight {
                    name: name.clone(),
                    weight: *weight,
                    ..ClusterWeight::default()
                })
                .collect(),
        }),
    };
    tcp::TcpProxy {
        stat_prefix: from.stat_prefix.clone(),
        cluster_specifier: Some(cluster_specifier),
        idle_timeout: Some(pb::duration_or_zero(from.idle_timeout)),
        max_downstream_connection_duration: from.max_duration.map(pb::duration),
        hash_policy: from
            .hash_source_ip
            .then_some(pb::kind::HashPolicy {
                policy_specifier: Some(pb::kind::hash_policy::PolicySpecifier::SourceIp(
                    pb::kind::hash_policy::SourceIp {},
                )),
            })
            .into_iter()
            .collect(),
        access_log: from.access_logs.iter().map(log::access_log).collect(),
        ..tcp::TcpProxy::default()
    }
}
