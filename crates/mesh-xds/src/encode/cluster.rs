//! Clusters and endpoints.

use mesh_model::cluster::{
    Balancer, Cluster, Discovery, Endpoint, Endpoints, Limits, OutlierDetection, Transport, UpstreamProtocol,
};

use super::tls::{plain_socket, upstream_socket};
use crate::pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy};
use crate::pb::upstream_http::http_protocol_options as options;
use crate::pb::{self, core, endpoint, name, number};
use crate::{METADATA_KEY, pb::cluster as envoy};

/// Envoy's idle timeout of upstream connections when nothing is said.
pub(crate) const DEFAULT_IDLE: std::time::Duration = std::time::Duration::from_secs(3600);

pub(super) fn cluster(from: &Cluster) -> envoy::Cluster {
    let (lb_policy, lb_config) = balancer(&from.balancer);
    let mut to = envoy::Cluster {
        name: from.name.clone(),
        connect_timeout: Some(pb::duration(from.connect_timeout)),
        lb_policy: lb_policy.into(),
        lb_config,
        circuit_breakers: Some(breakers(&from.limits)),
        outlier_detection: from.outlier.as_ref().map(outlier),
        metadata: metadata(from),
        upstream_bind_config: from.bind.map(|ip| core::BindConfig {
            source_address: Some(pb::socket_address(&ip.to_string(), 0)),
            ..core::BindConfig::default()
        }),
        common_lb_config: Some(envoy::cluster::CommonLbConfig {
            healthy_panic_threshold: Some(pb::kind::Percent {
                value: f64::from(from.panic_threshold_percent),
            }),
            ..envoy::cluster::CommonLbConfig::default()
        }),
        ..envoy::Cluster::default()
    };
    discovery(from, &mut to);
    transport(from, &mut to);
    if let Some(options) = http_options(from) {
        to.typed_extension_protocol_options
            .insert(name::HTTP_OPTIONS.to_owned(), pb::pack(&options));
    }
    to
}

fn discovery(from: &Cluster, to: &mut envoy::Cluster) {
    let kind = match &from.discovery {
        Discovery::Eds(service) => {
            to.eds_cluster_config = Some(envoy::cluster::EdsClusterConfig {
                eds_config: Some(pb::ads()),
                service_name: if *service == from.name {
                    String::new()
                } else {
                    service.clone()
                },
            });
            DiscoveryType::Eds
        }
        Discovery::Static(endpoints) => {
            to.load_assignment = Some(assignment(&from.name, endpoints));
            DiscoveryType::Static
        }
        Discovery::StrictDns(hosts) => {
            to.load_assignment = Some(named(&from.name, hosts));
            DiscoveryType::StrictDns
        }
        Discovery::LogicalDns(host, port) => {
            to.load_assignment = Some(named(&from.name, &[(host.clone(), *port)]));
            DiscoveryType::LogicalDns
        }
        Discovery::OriginalDestination => DiscoveryType::OriginalDst,
    };
    to.cluster_discovery_type = Some(ClusterDiscoveryType::Type(kind.into()));
}

fn balancer(from: &Balancer) -> (LbPolicy, Option<LbConfig>) {
    match from {
        Balancer::LeastRequest => (LbPolicy::LeastRequest, None),
        Balancer::RoundRobin => (LbPolicy::RoundRobin, None),
        Balancer::Random => (LbPolicy::Random, None),
        Balancer::RingHash { minimum_ring_size } => (
            LbPolicy::RingHash,
            Some(LbConfig::RingHashLbConfig(envoy::cluster::RingHashLbConfig {
                minimum_ring_size: Some(pb::UInt64Value {
                    value: *minimum_ring_size,
                }),
                ..envoy::cluster::RingHashLbConfig::default()
            })),
        ),
        Balancer::Maglev { table_size } => (
            LbPolicy::Maglev,
            Some(LbConfig::MaglevLbConfig(envoy::cluster::MaglevLbConfig {
                table_size: Some(pb::UInt64Value { value: *table_size }),
            })),
        ),
        Balancer::Passthrough => (LbPolicy::ClusterProvided, None),
    }
}

fn breakers(from: &Limits) -> envoy::CircuitBreakers {
    envoy::CircuitBreakers {
        thresholds: vec![envoy::circuit_breakers::Thresholds {
            max_connections: Some(number(from.max_connections)),
            max_pending_requests: Some(number(from.max_pending)),
            max_requests: Some(number(from.max_requests)),
            max_retries: Some(number(from.max_retries)),
            ..envoy::circuit_breakers::Thresholds::default()
        }],
        ..envoy::CircuitBreakers::default()
    }
}

/// A detector that is off is said by its enforcement, because its threshold must be at least 1 in Envoy.
fn outlier(from: &OutlierDetection) -> envoy::OutlierDetection {
    let detector = |threshold: u32| {
        if threshold == 0 {
            (None, Some(number(0)))
        } else {
            (Some(number(threshold)), Some(number(100)))
        }
    };
    let (consecutive_5xx, enforcing_consecutive_5xx) = detector(from.consecutive_5xx);
    let (consecutive_gateway_failure, enforcing_consecutive_gateway_failure) =
        detector(from.consecutive_gateway_errors);
    let (consecutive_local_origin_failure, enforcing_consecutive_local_origin_failure) =
        detector(from.consecutive_local_origin);
    envoy::OutlierDetection {
        consecutive_5xx,
        enforcing_consecutive_5xx,
        consecutive_gateway_failure,
        enforcing_consecutive_gateway_failure,
        consecutive_local_origin_failure,
        enforcing_consecutive_local_origin_failure,
        split_external_local_origin_errors: from.split_local_origin,
        interval: Some(pb::duration(from.interval)),
        base_ejection_time: Some(pb::duration(from.base_ejection)),
        max_ejection_percent: Some(number(from.max_ejection_percent)),
        enforcing_success_rate: Some(number(0)),
        enforcing_local_origin_success_rate: Some(number(0)),
        ..envoy::OutlierDetection::default()
    }
}

fn metadata(from: &Cluster) -> Option<core::Metadata> {
    let service = from.service.as_ref().map(|service| {
        let facts = pb::nested([
            ("host".into(), pb::text(&service.host)),
            ("name".into(), pb::text(&service.name)),
            ("namespace".into(), pb::text(&service.namespace)),
        ]);
        let list = pb::Value {
            kind: Some(pb::Kind::ListValue(pb::ListValue { values: vec![facts] })),
        };
        ("istio", pb::structure([("services".to_owned(), list)]))
    });
    let unspecified =
        (from.protocol == UpstreamProtocol::Unspecified && http_options(from).is_some()).then(|| {
            (
                METADATA_KEY,
                pb::structure([("protocol".to_owned(), pb::text("unspecified"))]),
            )
        });
    pb::metadata(service.into_iter().chain(unspecified))
}

fn transport(from: &Cluster, to: &mut envoy::Cluster) {
    match &from.transport {
        Transport::Plain => {}
        Transport::Tls(tls) => to.transport_socket = Some(upstream_socket(tls)),
        Transport::Auto(tls) => {
            to.transport_socket_matches = vec![
                envoy::cluster::TransportSocketMatch {
                    name: "tlsMode-istio".to_owned(),
                    r#match: Some(pb::structure([("tlsMode".to_owned(), pb::text("istio"))])),
                    transport_socket: Some(upstream_socket(tls)),
                },
                envoy::cluster::TransportSocketMatch {
                    name: "tlsMode-disabled".to_owned(),
                    r#match: Some(pb::Struct::default()),
                    transport_socket: Some(plain_socket()),
                },
            ];
        }
    }
}

fn http_options(from: &Cluster) -> Option<pb::upstream_http::HttpProtocolOptions> {
    let common = core::HttpProtocolOptions {
        idle_timeout: (from.idle_timeout != Some(DEFAULT_IDLE))
            .then(|| pb::duration_or_zero(from.idle_timeout)),
        max_requests_per_connection: from.max_requests_per_connection.map(number),
        ..core::HttpProtocolOptions::default()
    };
    let nothing_said = common == core::HttpProtocolOptions::default();
    if from.protocol == UpstreamProtocol::Unspecified && nothing_said {
        return None;
    }
    let explicit = |protocol| {
        options::UpstreamProtocolOptions::ExplicitHttpConfig(options::ExplicitHttpConfig {
            protocol_config: Some(protocol),
        })
    };
    let protocol = match from.protocol {
        UpstreamProtocol::Http1 | UpstreamProtocol::Unspecified => explicit(
            options::explicit_http_config::ProtocolConfig::HttpProtocolOptions(
                core::Http1ProtocolOptions::default(),
            ),
        ),
        UpstreamProtocol::Http2 => explicit(
            options::explicit_http_config::ProtocolConfig::Http2ProtocolOptions(
                core::Http2ProtocolOptions::default(),
            ),
        ),
        UpstreamProtocol::UseDownstream => {
            options::UpstreamProtocolOptions::UseDownstreamProtocolConfig(options::UseDownstreamHttpConfig {
                http_protocol_options: Some(core::Http1ProtocolOptions::default()),
                http2_protocol_options: Some(core::Http2ProtocolOptions::default()),
                ..options::UseDownstreamHttpConfig::default()
            })
        }
    };
    Some(pb::upstream_http::HttpProtocolOptions {
        common_http_protocol_options: (!nothing_said).then_some(common),
        upstream_protocol_options: Some(protocol),
        ..pb::upstream_http::HttpProtocolOptions::default()
    })
}

pub(super) fn assignment(name: &str, endpoints: &Endpoints) -> endpoint::ClusterLoadAssignment {
    let mut groups: Vec<endpoint::LocalityLbEndpoints> = Vec::new();
    let mut last: Option<(&str, u32)> = None;
    for one in &endpoints.0 {
        let place = (one.locality.as_str(), one.priority);
        if last != Some(place) {
            groups.push(endpoint::LocalityLbEndpoints {
                locality: locality(&one.locality),
                priority: one.priority,
                ..endpoint::LocalityLbEndpoints::default()
            });
            last = Some(place);
        }
        if let Some(group) = groups.last_mut() {
            group.lb_endpoints.push(lb_endpoint(one));
        }
    }
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: groups,
        ..endpoint::ClusterLoadAssignment::default()
    }
}

fn locality(text: &str) -> Option<core::Locality> {
    if text.is_empty() {
        return None;
    }
    let mut parts = text.splitn(3, '/').map(str::to_owned);
    Some(core::Locality {
        region: parts.next().unwrap_or_default(),
        zone: parts.next().unwrap_or_default(),
        sub_zone: parts.next().unwrap_or_default(),
    })
}

fn lb_endpoint(from: &Endpoint) -> endpoint::LbEndpoint {
    let tls = from.mutual_tls.then(|| {
        (
            name::SOCKET_MATCH,
            pb::structure([("tlsMode".to_owned(), pb::text("istio"))]),
        )
    });
    let workload = from.workload.as_ref().map(|w| {
        (
            "istio",
            pb::structure([("workload".to_owned(), pb::text(w.to_endpoint_metadata()))]),
        )
    });
    endpoint::LbEndpoint {
        host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
            endpoint::Endpoint {
                address: Some(pb::address(from.address)),
                ..endpoint::Endpoint::default()
            },
        )),
        health_status: if from.healthy {
            core::HealthStatus::Healthy.into()
        } else {
            core::HealthStatus::Unhealthy.into()
        },
        metadata: pb::metadata(tls.into_iter().chain(workload)),
        load_balancing_weight: (from.weight != 1).then(|| number(from.weight.max(1))),
    }
}

fn named(name: &str, hosts: &[(String, u16)]) -> endpoint::ClusterLoadAssignment {
    let lb_endpoints = hosts
        .iter()
        .map(|(host, port)| endpoint::LbEndpoint {
            host_identifier: Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(
                endpoint::Endpoint {
                    address: Some(core::Address {
                        address: Some(core::address::Address::SocketAddress(pb::socket_address(
                            host, *port,
                        ))),
                    }),
                    ..endpoint::Endpoint::default()
                },
            )),
            ..endpoint::LbEndpoint::default()
        })
        .collect();
    endpoint::ClusterLoadAssignment {
        cluster_name: name.to_owned(),
        endpoints: vec![endpoint::LocalityLbEndpoints {
            lb_endpoints,
            ..endpoint::LocalityLbEndpoints::default()
        }],
        ..endpoint::ClusterLoadAssignment::default()
    }
}
