//! Clusters and endpoints.

use std::time::Duration;

use mesh_model::cluster::{
    Balancer, Cluster, Discovery, Endpoint, Endpoints, Limits, OutlierDetection, UpstreamProtocol,
};
use mesh_model::workload::{ServiceName, Workload};

use super::value::{host_port, limit, number, socket_address, time};
use super::{Path, tls, unpack};
use crate::encode::DEFAULT_IDLE;
use crate::pb::cluster::cluster::{ClusterDiscoveryType, DiscoveryType, LbConfig, LbPolicy};
use crate::pb::upstream_http::http_protocol_options as options;
use crate::pb::{self, cluster as envoy, core, endpoint, name};
use crate::{Invalid, METADATA_KEY};

pub(super) fn cluster(from: &envoy::Cluster, path: &Path<'_>) -> Result<Cluster, Invalid> {
    if from.name.is_empty() {
        return Err(path.field("name").invalid("is empty"));
    }
    let http = http_options(from, path)?;
    Ok(Cluster {
        name: from.name.clone(),
        discovery: discovery(from, path)?,
        balancer: balancer(from, path)?,
        connect_timeout: time(
            from.connect_timeout.as_ref(),
            Duration::from_secs(5),
            &path.field("connect_timeout"),
        )?,
        protocol: http.protocol,
        limits: limits(from),
        outlier: from
            .outlier_detection
            .as_ref()
            .map(|o| outlier(o, &path.field("outlier_detection")))
            .transpose()?,
        transport: tls::transport(from, path)?,
        max_requests_per_connection: http.max_requests,
        idle_timeout: http.idle_timeout,
        service: service(from),
        bind: bind(from, path)?,
        panic_threshold_percent: panic_threshold(from),
    })
}

fn discovery(from: &envoy::Cluster, path: &Path<'_>) -> Result<Discovery, Invalid> {
    let kind = match &from.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => DiscoveryType::try_from(*kind)
            .map_err(|_| path.field("type").invalid(format!("{kind} is unknown")))?,
        Some(ClusterDiscoveryType::ClusterType(_)) => {
            return Err(path.field("cluster_type").invalid("is not supported"));
        }
    };
    let assignment = || {
        from.load_assignment
            .as_ref()
            .ok_or_else(|| path.field("load_assignment").invalid("is missing"))
    };
    let at = path.field("load_assignment");
    match kind {
        DiscoveryType::Eds => {
            let service = from.eds_cluster_config.as_ref().map(|c| c.service_name.clone());
            let service = service.filter(|s| !s.is_empty());
            Ok(Discovery::Eds(service.unwrap_or_else(|| from.name.clone())))
        }
        DiscoveryType::Static => match &from.load_assignment {
            None => Ok(Discovery::Static(Endpoints::default())),
            Some(assignment) => Ok(Discovery::Static(endpoints(assignment, &at)?)),
        },
        DiscoveryType::StrictDns => Ok(Discovery::StrictDns(named(assignment()?, &at)?)),
        DiscoveryType::LogicalDns => match named(assignment()?, &at)?.as_slice() {
            [(host, port)] => Ok(Discovery::LogicalDns(host.clone(), *port)),
            _ => Err(at.invalid("LOGICAL_DNS needs exactly one endpoint")),
        },
        DiscoveryType::OriginalDst => Ok(Discovery::OriginalDestination),
    }
}

fn balancer(from: &envoy::Cluster, path: &Path<'_>) -> Result<Balancer, Invalid> {
    let policy = LbPolicy::try_from(from.lb_policy).map_err(|_| {
        path.field("lb_policy")
            .invalid(format!("{} is unknown", from.lb_policy))
    })?;
    Ok(match policy {
        LbPolicy::RoundRobin => Balancer::RoundRobin,
        LbPolicy::LeastRequest => Balancer::LeastRequest,
        LbPolicy::Random => Balancer::Random,
        LbPolicy::RingHash => Balancer::RingHash {
            minimum_ring_size: match &from.lb_config {
                Some(LbConfig::RingHashLbConfig(c)) => c.minimum_ring_size.as_ref().map_or(1024, |v| v.value),
                _ => 1024,
            },
        },
        LbPolicy::Maglev => Balancer::Maglev {
            table_size: match &from.lb_config {
                Some(LbConfig::MaglevLbConfig(c)) => c.table_size.as_ref().map_or(65537, |v| v.value),
                _ => 65537,
            },
        },
        LbPolicy::ClusterProvided => Balancer::Passthrough,
        LbPolicy::LoadBalancingPolicyConfig => {
            return Err(path
                .field("lb_policy")
                .invalid("LOAD_BALANCING_POLICY_CONFIG is not supported"));
        }
    })
}

/// Envoy's defaults where nothing is said: 1024 of everything, 3 retries.
fn limits(from: &envoy::Cluster) -> Limits {
    let default = envoy::circuit_breakers::Thresholds::default();
    let said = from
        .circuit_breakers
        .iter()
        .flat_map(|b| &b.thresholds)
        .find(|t| t.priority() == core::RoutingPriority::Default)
        .unwrap_or(&default);
    Limits {
        max_connections: number(said.max_connections.as_ref(), 1024),
        max_pending: number(said.max_pending_requests.as_ref(), 1024),
        max_requests: number(said.max_requests.as_ref(), 1024),
        max_retries: number(said.max_retries.as_ref(), 3),
    }
}

fn outlier(from: &envoy::OutlierDetection, path: &Path<'_>) -> Result<OutlierDetection, Invalid> {
    // Ejection by chance (an enforcement between 0 and 100) is not modelled: any enforcement is full.
    let detector =
        |threshold: Option<&pb::UInt32Value>, enforcing: Option<&pb::UInt32Value>, default: u32| {
            if number(enforcing, default) == 0 {
                0
            } else {
                number(threshold, 5)
            }
        };
    let at = |name| path.field(name);
    Ok(OutlierDetection {
        consecutive_5xx: detector(
            from.consecutive_5xx.as_ref(),
            from.enforcing_consecutive_5xx.as_ref(),
            100,
        ),
        consecutive_gateway_errors: detector(
            from.consecutive_gateway_failure.as_ref(),
            from.enforcing_consecutive_gateway_failure.as_ref(),
            0,
        ),
        consecutive_local_origin: detector(
            from.consecutive_local_origin_failure.as_ref(),
            from.enforcing_consecutive_local_origin_failure.as_ref(),
            100,
        ),
        split_local_origin: from.split_external_local_origin_errors,
        interval: time(from.interval.as_ref(), Duration::from_secs(10), &at("interval"))?,
        base_ejection: time(
            from.base_ejection_time.as_ref(),
            Duration::from_secs(30),
            &at("base_ejection_time"),
        )?,
        max_ejection_percent: number(from.max_ejection_percent.as_ref(), 10),
    })
}

struct HttpOptions {
    protocol: UpstreamProtocol,
    idle_timeout: Option<Duration>,
    max_requests: Option<u32>,
}

fn http_options(from: &envoy::Cluster, path: &Path<'_>) -> Result<HttpOptions, Invalid> {
    use options::UpstreamProtocolOptions as U;
    use options::explicit_http_config::ProtocolConfig as P;
    let mut protocol = if from.http2_protocol_options.is_some() {
        UpstreamProtocol::Http2
    } else {
        UpstreamProtocol::Unspecified
    };
    let mut common = from.common_http_protocol_options;
    if let Some(any) = from.typed_extension_protocol_options.get(name::HTTP_OPTIONS) {
        let path = path.key("typed_extension_protocol_options", name::HTTP_OPTIONS);
        let said: pb::upstream_http::HttpProtocolOptions = unpack(any, &path)?;
        common = said.common_http_protocol_options.or(common);
        protocol = match said.upstream_protocol_options {
            Some(U::ExplicitHttpConfig(explicit)) => match explicit.protocol_config {
                Some(P::Http2ProtocolOptions(_)) => UpstreamProtocol::Http2,
                Some(P::Http3ProtocolOptions(_)) => {
                    return Err(path
                        .field("explicit_http_config")
                        .field("http3_protocol_options")
                        .invalid("HTTP/3 is not supported"));
                }
                Some(P::HttpProtocolOptions(_)) | None => UpstreamProtocol::Http1,
            },
            // With auto_config ALPN decides; following the downstream protocol comes closest.
            Some(U::UseDownstreamProtocolConfig(_) | U::AutoConfig(_)) => UpstreamProtocol::UseDownstream,
            None => protocol,
        };
    }
    let marked_unspecified = from
        .metadata
        .as_ref()
        .and_then(|m| m.filter_metadata.get(METADATA_KEY))
        .is_some_and(|m| pb::get_text(m, "protocol") == "unspecified");
    if marked_unspecified {
        protocol = UpstreamProtocol::Unspecified;
    }
    let idle = common.as_ref().and_then(|c| c.idle_timeout.as_ref());
    let max = common
        .as_ref()
        .and_then(|c| c.max_requests_per_connection.as_ref())
        .or(from.max_requests_per_connection.as_ref());
    Ok(HttpOptions {
        protocol,
        idle_timeout: limit(idle, Some(DEFAULT_IDLE), &path.field("idle_timeout"))?,
        max_requests: max.map(|m| m.value).filter(|m| *m != 0),
    })
}

fn service(from: &envoy::Cluster) -> Option<ServiceName> {
    let istio = from.metadata.as_ref()?.filter_metadata.get("istio")?;
    let pb::Kind::ListValue(list) = istio.fields.get("services")?.kind.as_ref()? else {
        return None;
    };
    let pb::Kind::StructValue(facts) = list.values.first()?.kind.as_ref()? else {
        return None;
    };
    Some(ServiceName {
        host: pb::get_text(facts, "host").to_owned(),
        name: pb::get_text(facts, "name").to_owned(),
        namespace: pb::get_text(facts, "namespace").to_owned(),
    })
}

fn bind(from: &envoy::Cluster, path: &Path<'_>) -> Result<Option<std::net::IpAddr>, Invalid> {
    let source = from
        .upstream_bind_config
        .as_ref()
        .and_then(|b| b.source_address.as_ref());
    source
        .map(|s| {
            s.address.parse().map_err(|_| {
                path.field("upstream_bind_config")
                    .field("source_address")
                    .invalid(format!("{:?} is not an IP address", s.address))
            })
        })
        .transpose()
}

fn panic_threshold(from: &envoy::Cluster) -> u32 {
    let said = from
        .common_lb_config
        .as_ref()
        .and_then(|c| c.healthy_panic_threshold.as_ref());
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=100"
    )]
    said.map_or(50, |p| p.value.clamp(0.0, 100.0) as u32)
}

pub(super) fn endpoints(
    from: &endpoint::ClusterLoadAssignment,
    path: &Path<'_>,
) -> Result<Endpoints, Invalid> {
    let mut all = Vec::new();
    for (i, group) in from.endpoints.iter().enumerate() {
        let path = path.item("endpoints", i);
        for (j, one) in group.lb_endpoints.iter().enumerate() {
            let path = path.item("lb_endpoints", j);
            let at = path.field("endpoint").field("address").to_string();
            let address = socket_address(inner(one, &path)?.address.as_ref(), &Path::root(&at))?;
            all.push(lb_endpoint(one, group, address));
        }
    }
    Ok(Endpoints(all))
}

fn inner<'a>(from: &'a endpoint::LbEndpoint, path: &Path<'_>) -> Result<&'a endpoint::Endpoint, Invalid> {
    match &from.host_identifier {
        Some(endpoint::lb_endpoint::HostIdentifier::Endpoint(endpoint)) => Ok(endpoint),
        _ => Err(path.field("endpoint").invalid("is missing")),
    }
}

fn lb_endpoint(
    from: &endpoint::LbEndpoint,
    group: &endpoint::LocalityLbEndpoints,
    address: std::net::SocketAddr,
) -> Endpoint {
    let facts = |filter: &str, key: &str| {
        from.metadata
            .as_ref()
            .and_then(|m| m.filter_metadata.get(filter))
            .map_or("", |m| pb::get_text(m, key))
    };
    let workload = facts("istio", "workload");
    Endpoint {
        address,
        healthy: matches!(
            from.health_status(),
            core::HealthStatus::Unknown | core::HealthStatus::Healthy | core::HealthStatus::Degraded
        ),
        weight: number(from.load_balancing_weight.as_ref(), 1).max(1),
        priority: group.priority,
        locality: group.locality.as_ref().map_or_else(String::new, locality),
        mutual_tls: facts(name::SOCKET_MATCH, "tlsMode") == "istio",
        workload: (!workload.is_empty()).then(|| Workload::from_endpoint_metadata(workload)),
    }
}

fn locality(from: &core::Locality) -> String {
    let parts = [&from.region, &from.zone, &from.sub_zone];
    let used = parts.iter().rposition(|p| !p.is_empty()).map_or(0, |i| i + 1);
    let parts: Vec<&str> = parts.iter().take(used).map(|p| p.as_str()).collect();
    parts.join("/")
}

fn named(from: &endpoint::ClusterLoadAssignment, path: &Path<'_>) -> Result<Vec<(String, u16)>, Invalid> {
    let mut all = Vec::new();
    for (i, group) in from.endpoints.iter().enumerate() {
        let path = path.item("endpoints", i);
        for (j, one) in group.lb_endpoints.iter().enumerate() {
            let path = path.item("lb_endpoints", j);
            let at = path.field("endpoint").field("address").to_string();
            let at = Path::root(&at);
            let (host, port) = host_port(inner(one, &path)?.address.as_ref(), &at)?;
            if host.is_empty() || port == 0 {
                return Err(at.invalid("needs a host name and a port"));
            }
            all.push((host, port));
        }
    }
    if all.is_empty() {
        return Err(path.invalid("has no endpoint"));
    }
    Ok(all)
}
