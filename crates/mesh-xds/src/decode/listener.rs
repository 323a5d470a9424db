//! Listeners and filter chains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_model::authorization::{Policies, RuleSet};
use mesh_model::listener::{
    Capture, ChainMatch, ConnectionService, Direction, FilterChain, Listener, MetricRule, RouteSource,
    TcpProxy,
};

use mesh_model::names::NameTable;

use super::value::{flag, limit, socket_address};
use super::{Path, authorization, http, is_type, log, tls, unpack};
use crate::fields::Rule;
use crate::pb::{self, Struct, core, hcm, listener as envoy, tcp, tcp_rbac};
use crate::{Any, Invalid, METADATA_KEY, fields};

/// Envoy's wait for listener filters when nothing is said.
const DEFAULT_DETECTION: Duration = Duration::from_secs(15);

pub(super) fn listener(from: &envoy::Listener, path: &Path<'_>) -> Result<Listener, Invalid> {
    let facts = from
        .metadata
        .as_ref()
        .and_then(|m| m.filter_metadata.get(METADATA_KEY));
    let address = socket_address(from.address.as_ref(), &path.field("address"))?;
    let mut chains = Vec::with_capacity(from.filter_chains.len());
    for (i, one) in from.filter_chains.iter().enumerate() {
        chains.push(chain(one, facts, &path.item("filter_chains", i))?);
    }
    let default_chain = from
        .default_filter_chain
        .as_ref()
        .map(|c| chain(c, facts, &path.field("default_filter_chain")))
        .transpose()?;
    if chains.is_empty() && default_chain.is_none() {
        return Err(path.field("filter_chains").invalid("is empty"));
    }
    Ok(Listener {
        name: if from.name.is_empty() {
            address.to_string()
        } else {
            from.name.clone()
        },
        address,
        direction: match from.traffic_direction() {
            core::TrafficDirection::Inbound => Direction::Inbound,
            core::TrafficDirection::Outbound => Direction::Outbound,
            core::TrafficDirection::Unspecified => Direction::Unspecified,
        },
        chains,
        default_chain,
        detection_timeout: limit(
            from.listener_filters_timeout.as_ref(),
            Some(DEFAULT_DETECTION),
            &path.field("listener_filters_timeout"),
        )?,
        bind_to_port: flag(from.bind_to_port.as_ref(), true),
        capture: capture(from, facts),
    })
}

fn capture(from: &envoy::Listener, facts: Option<&Struct>) -> Capture {
    let hand_off = flag(from.use_original_dst.as_ref(), false);
    let asked = from
        .listener_filters
        .iter()
        .any(|f| f.name == pb::name::ORIGINAL_DST);
    Capture {
        // Handing off needs to know where to; Envoy adds the filter by itself.
        original_destination: hand_off || asked,
        hand_off,
        transparent: flag(from.transparent.as_ref(), false),
        names: facts
            .and_then(|facts| pb::get_struct(facts, "names"))
            .map(|hosts| {
                let hosts = hosts.fields.iter().filter_map(|(host, value)| match &value.kind {
                    Some(pb::Kind::StringValue(list)) => {
                        let addresses = list.split(',').filter_map(|ip| ip.parse().ok()).collect();
                        Some((host.clone(), addresses))
                    }
                    _ => None,
                });
                Arc::new(NameTable {
                    hosts: hosts.collect(),
                })
            }),
    }
}

/// The one filter that serves the chain's connections: those whose work is native are passed over.
fn serving_filter<'a>(from: &'a envoy::FilterChain, path: &Path<'_>) -> Result<(usize, &'a Any), Invalid> {
    let native = |name: &str| {
        fields::LISTENER
            .fields
            .iter()
            .find(|f| f.name == "filter_chains")
            .and_then(|f| match &f.rule {
                Rule::List(chain) => chain.fields.iter().find(|f| f.name == "filters"),
                _ => None,
            })
            .is_some_and(|f| matches!(&f.rule, Rule::Filters(table) if table.native(name).is_some()))
    };
    let mut serving = from
        .filters
        .iter()
        .enumerate()
        .filter(|(_, f)| !native(&f.name) && !is_policy(f));
    let first = serving.next();
    if let Some((i, extra)) = serving.next() {
        return Err(path.item("filters", i).invalid(format!(
            "{:?} follows the filter that serves the connection",
            extra.name
        )));
    }
    match first {
        Some((
            i,
            envoy::Filter {
                config_type: Some(envoy::filter::ConfigType::TypedConfig(any)),
                ..
            },
        )) => Ok((i, any)),
        _ => Err(path.field("filters").invalid(
            "needs envoy.filters.network.http_connection_manager or envoy.filters.network.tcp_proxy",
        )),
    }
}

fn chain(from: &envoy::FilterChain, facts: Option<&Struct>, path: &Path<'_>) -> Result<FilterChain, Invalid> {
    let (index, any) = serving_filter(from, path)?;
    let at = path.item("filters", index);
    let at = at.field("typed_config");
    let service = if is_type::<tcp::TcpProxy>(any) {
        let mut proxy = tcp_proxy(&unpack(any, &at)?, &at)?;
        proxy.policies = Policies(policies(from, path)?);
        proxy.origin = from
            .metadata
            .as_ref()
            .and_then(|m| m.filter_metadata.get(METADATA_KEY))
            .map(super::route::origin);
        ConnectionService::Tcp(proxy)
    } else {
        let manager: hcm::HttpConnectionManager = unpack(any, &at)?;
        let mut http = http::connection_manager(&manager, &at)?;
        if let Some(source) = facts.and_then(|f| http_proxy(f, &http.routes)) {
            http.routes = source;
        }
        http.metrics = facts.map(metric_rules).unwrap_or_default();
        if let Some(pb::Kind::BoolValue(value)) = facts
            .and_then(|f| f.fields.get("scheme_from_transport"))
            .and_then(|v| v.kind.as_ref())
        {
            http.scheme_from_transport = *value;
        }
        ConnectionService::Http(Box::new(http))
    };
    Ok(FilterChain {
        name: from.name.clone(),
        matches: from
            .filter_chain_match
            .as_ref()
            .map(|m| chain_match(m, &path.field("filter_chain_match")))
            .transpose()?
            .unwrap_or_default(),
        tls: from
            .transport_socket
            .as_ref()
            .map(|s| tls::downstream(s, &path.field("transport_socket")))
            .transpose()?
            .flatten(),
        service,
    })
}

/// Network policies before the filter that serves.
fn policies(from: &envoy::FilterChain, path: &Path<'_>) -> Result<Vec<RuleSet>, Invalid> {
    let mut sets = Vec::new();
    for (i, filter) in from.filters.iter().enumerate() {
        let Some(envoy::filter::ConfigType::TypedConfig(any)) = &filter.config_type else {
            continue;
        };
        if is_type::<tcp_rbac::Rbac>(any) {
            let path = path.item("filters", i);
            let path = path.field("typed_config");
            let set: tcp_rbac::Rbac = unpack(any, &path)?;
            sets.push(authorization::rule_set(
                set.rules.as_ref(),
                set.shadow_rules.as_ref(),
                &path,
            )?);
        }
    }
    Ok(sets)
}

fn is_policy(filter: &envoy::Filter) -> bool {
    matches!(&filter.config_type, Some(envoy::filter::ConfigType::TypedConfig(any)) if is_type::<tcp_rbac::Rbac>(any))
}

/// How metrics are shown, by the listener's metadata.
fn metric_rules(facts: &Struct) -> Vec<MetricRule> {
    let Some(pb::Kind::ListValue(list)) = facts.fields.get("metrics").and_then(|v| v.kind.as_ref()) else {
        return Vec::new();
    };
    let text = |value: &pb::Value| match &value.kind {
        Some(pb::Kind::StringValue(text)) => text.clone(),
        _ => String::new(),
    };
    let rules = list.values.iter().filter_map(|value| match &value.kind {
        Some(pb::Kind::StructValue(rule)) => Some(rule),
        _ => None,
    });
    rules
        .map(|rule| {
            let kind = |key: &str| rule.fields.get(key).and_then(|v| v.kind.as_ref());
            let mut set: Vec<(String, String)> = pb::get_struct(rule, "set")
                .into_iter()
                .flat_map(|set| &set.fields)
                .map(|(label, value)| (label.clone(), text(value)))
                .collect();
            set.sort();
            MetricRule {
                metric: pb::get_text(rule, "metric").to_owned(),
                disabled: match kind("disabled") {
                    Some(pb::Kind::BoolValue(value)) => Some(*value),
                    _ => None,
                },
                remove: match kind("remove") {
                    Some(pb::Kind::ListValue(list)) => list.values.iter().map(text).collect(),
                    _ => Vec::new(),
                },
                set,
            }
        })
        .collect()
}

/// The tables of an HTTP proxy port, when the listener's metadata has them for this fallback.
fn http_proxy(facts: &Struct, routes: &RouteSource) -> Option<RouteSource> {
    let proxy = pb::get_struct(facts, "http_proxy")?;
    let fallback = pb::get_text(proxy, "fallback");
    if *routes != RouteSource::Named(fallback.to_owned()) {
        return None;
    }
    let texts = |name: &str| -> BTreeMap<String, String> {
        let fields = pb::get_struct(proxy, name).map(|s| &s.fields);
        fields
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| match &value.kind {
                Some(pb::Kind::StringValue(text)) => Some((key.clone(), text.clone())),
                _ => None,
            })
            .collect()
    };
    Some(RouteSource::ByAuthorityPort {
        tables: texts("tables")
            .into_iter()
            .filter_map(|(port, table)| Some((port.parse().ok()?, table)))
            .collect(),
        listeners: texts("listeners"),
        fallback: fallback.to_owned(),
    })
}

fn chain_match(from: &envoy::FilterChainMatch, path: &Path<'_>) -> Result<ChainMatch, Invalid> {
    let tls = match from.transport_protocol.as_str() {
        "" => None,
        "tls" => Some(true),
        "raw_buffer" => Some(false),
        other => {
            return Err(path
                .field("transport_protocol")
                .invalid(format!("{other:?} is not tls or raw_buffer")));
        }
    };
    let destination_port = from
        .destination_port
        .as_ref()
        .map(|p| {
            u16::try_from(p.value).map_err(|_| {
                path.field("destination_port")
                    .invalid(format!("{} is not a port", p.value))
            })
        })
        .transpose()?;
    let mut destination_ranges = Vec::with_capacity(from.prefix_ranges.len());
    for (i, range) in from.prefix_ranges.iter().enumerate() {
        let length = range.prefix_len.as_ref().map_or(0, |l| l.value);
        let range = format!("{}/{length}", range.address_prefix);
        destination_ranges.push(range.parse().map_err(|_| {
            path.item("prefix_ranges", i)
                .invalid(format!("{range:?} is not an address range"))
        })?);
    }
    Ok(ChainMatch {
        tls,
        application_protocols: from.application_protocols.clone(),
        server_names: from.server_names.clone(),
        destination_port,
        destination_ranges,
    })
}

fn tcp_proxy(from: &tcp::TcpProxy, path: &Path<'_>) -> Result<TcpProxy, Invalid> {
    use tcp::tcp_proxy::ClusterSpecifier as S;
    let clusters: Vec<(String, u32)> = match &from.cluster_specifier {
        Some(S::Cluster(name)) => vec![(name.clone(), 1)],
        Some(S::WeightedClusters(weighted)) => weighted
            .clusters
            .iter()
            .map(|c| (c.name.clone(), c.weight))
            .collect(),
        None => Vec::new(),
    };
    if clusters.is_empty() {
        return Err(path.field("cluster").invalid("give cluster or weighted_clusters"));
    }
    Ok(TcpProxy {
        stat_prefix: from.stat_prefix.clone(),
        clusters,
        idle_timeout: limit(
            from.idle_timeout.as_ref(),
            Some(Duration::from_secs(3600)),
            &path.field("idle_timeout"),
        )?,
        max_duration: limit(
            from.max_downstream_connection_duration.as_ref(),
            None,
            &path.field("max_downstream_connection_duration"),
        )?,
        hash_source_ip: !from.hash_policy.is_empty(),
        origin: None,
        policies: Policies::default(),
        access_logs: log::access_logs(&from.access_log, path)?,
    })
}
