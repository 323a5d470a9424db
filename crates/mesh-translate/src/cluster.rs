//! Clusters: name, policy, transport, endpoints.

use std::time::Duration;

use mesh_crd::networking::destination_rule::{
    ClientTls, ClientTlsMode, ConnectionPool, H2UpgradePolicy, LoadBalancer, OutlierDetection as OutlierSpec,
    Simple, Subset,
};
use mesh_crd::networking::labels_match;
use mesh_crd::security::MutualTlsMode;
use mesh_model::cluster::{
    Balancer, CertificateSource, Cluster, Discovery, Endpoint, Endpoints, Limits, OutlierDetection,
    PeerValidation, RootSource, Transport, UpstreamProtocol, UpstreamTls,
};

use crate::World;
use crate::index::Index;
use crate::locality::{self, Near};
use crate::peer::PeerModes;
use crate::policy::Effective;
use crate::protocol::Protocol;
use crate::registry::{MeshService, ServicePort, Source, TargetPort};

/// To what is not in the registry.
pub(crate) const PASSTHROUGH: &str = "PassthroughCluster";
/// To nowhere.
pub(crate) const BLACK_HOLE: &str = "BlackHoleCluster";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// Roots of the operating system, by the name that Istio gives this secret.
const SYSTEM_ROOTS: &str = "file-root:system";

/// `outbound|port|subset|host`.
pub(crate) fn name(port: u16, subset: &str, host: &str) -> String {
    format!("outbound|{port}|{subset}|{host}")
}

/// A cluster of a service's port, for all endpoints or a subset.
pub(crate) fn outbound(
    world: &World,
    service: &MeshService,
    port: &ServicePort,
    subset: Option<&Subset>,
    policy: Effective<'_>,
) -> Cluster {
    let subset_name = subset.map_or("", |s| s.name.as_str());
    let name = name(port.number, subset_name, &service.host);
    let mut cluster = base(world, name.clone());
    cluster.discovery = discovery(service, port, &name, policy.load_balancer);
    cluster.protocol = upstream_protocol(port.protocol, policy.pool);
    cluster.service = Some(service.service_name());
    apply(&mut cluster, policy);
    cluster.transport = transport(world, service, port, subset_name, policy.tls, cluster.protocol);
    cluster
}

/// Everything at its default.
pub(crate) fn base(world: &World, name: String) -> Cluster {
    Cluster {
        name,
        discovery: Discovery::Static(Endpoints::default()),
        balancer: Balancer::LeastRequest,
        connect_timeout: world.mesh().connect_timeout.unwrap_or(CONNECT_TIMEOUT),
        protocol: UpstreamProtocol::Unspecified,
        limits: Limits::default(),
        outlier: None,
        transport: Transport::Plain,
        max_requests_per_connection: None,
        idle_timeout: Some(IDLE_TIMEOUT),
        service: None,
        bind: None,
        panic_threshold_percent: 0,
    }
}

/// The two clusters that every sidecar has.
pub(crate) fn unknown_destinations(world: &World) -> [Cluster; 2] {
    let mut passthrough = base(world, PASSTHROUGH.to_owned());
    passthrough.discovery = Discovery::OriginalDestination;
    passthrough.balancer = Balancer::Passthrough;
    passthrough.protocol = UpstreamProtocol::UseDownstream;
    [passthrough, base(world, BLACK_HOLE.to_owned())]
}

/// Pool, outlier detection and balancing of a policy.
pub(crate) fn apply(cluster: &mut Cluster, policy: Effective<'_>) {
    if let Some(pool) = policy.pool {
        limits(cluster, pool);
    }
    if let Some(outlier) = policy.outlier {
        cluster.outlier = Some(outlier_detection(outlier));
        cluster.panic_threshold_percent = u32::try_from(outlier.min_health_percent).unwrap_or(0);
    }
    if let Some(balancer) = policy.load_balancer.and_then(balancer) {
        cluster.balancer = balancer;
    }
}

/// Connection limits; 0 means unlimited.
pub(crate) fn limits(cluster: &mut Cluster, pool: &ConnectionPool) {
    let positive = |n: i32| u32::try_from(n).ok().filter(|n| *n > 0);
    if let Some(tcp) = &pool.tcp {
        cluster.limits.max_connections = positive(tcp.max_connections).unwrap_or(u32::MAX);
        cluster.connect_timeout = tcp.connect_timeout.unwrap_or(cluster.connect_timeout);
    }
    if let Some(http) = &pool.http {
        cluster.limits.max_pending = positive(http.http1_max_pending_requests).unwrap_or(u32::MAX);
        cluster.limits.max_requests = positive(http.http2_max_requests).unwrap_or(u32::MAX);
        cluster.limits.max_retries = positive(http.max_retries).unwrap_or(u32::MAX);
        cluster.max_requests_per_connection = positive(http.max_requests_per_connection);
        if let Some(idle) = http.idle_timeout {
            cluster.idle_timeout = Some(idle).filter(|d| !d.is_zero());
        }
    }
}

fn outlier_detection(spec: &OutlierSpec) -> OutlierDetection {
    let gateway = spec
        .consecutive_gateway_errors
        .or_else(|| u32::try_from(spec.consecutive_errors).ok().filter(|n| *n > 0));
    OutlierDetection {
        consecutive_5xx: spec.consecutive5xx_errors.unwrap_or(5),
        consecutive_gateway_errors: gateway.unwrap_or(0),
        consecutive_local_origin: spec.consecutive_local_origin_failures.unwrap_or(5),
        split_local_origin: spec.split_external_local_origin_errors,
        interval: spec.interval.unwrap_or(Duration::from_secs(10)),
        base_ejection: spec.base_ejection_time.unwrap_or(Duration::from_secs(30)),
        max_ejection_percent: u32::try_from(spec.max_ejection_percent)
            .ok()
            .filter(|n| *n > 0)
            .unwrap_or(10),
    }
}

fn balancer(lb: &LoadBalancer) -> Option<Balancer> {
    if let Some(hash) = &lb.consistent_hash {
        let keyed = hash.http_header_name.is_some()
            || hash.http_cookie.is_some()
            || hash.use_source_ip == Some(true)
            || hash.http_query_parameter_name.is_some();
        // A hash of nothing balances as if it were not there.
        if !keyed {
            return None;
        }
        if let Some(maglev) = &hash.maglev {
            return Some(Balancer::Maglev {
                table_size: maglev.table_size.unwrap_or(65537),
            });
        }
        let ring = hash.ring_hash.as_ref().and_then(|r| r.minimum_ring_size);
        return Some(Balancer::RingHash {
            minimum_ring_size: ring.or(hash.minimum_ring_size).filter(|n| *n > 0).unwrap_or(1024),
        });
    }
    Some(match lb.simple? {
        Simple::Unspecified | Simple::LeastConn | Simple::LeastRequest => Balancer::LeastRequest,
        Simple::Random => Balancer::Random,
        Simple::RoundRobin => Balancer::RoundRobin,
        Simple::Passthrough => Balancer::Passthrough,
    })
}

fn discovery(service: &MeshService, port: &ServicePort, name: &str, lb: Option<&LoadBalancer>) -> Discovery {
    if lb.and_then(|l| l.simple) == Some(Simple::Passthrough) {
        return Discovery::OriginalDestination;
    }
    let target = match port.target {
        TargetPort::Number(n) => n,
        TargetPort::Named(_) => port.number,
    };
    let at = |host: &(String, std::collections::BTreeMap<String, u32>)| {
        let named = host.1.get(&port.name).and_then(|p| u16::try_from(*p).ok());
        (host.0.clone(), named.unwrap_or(target))
    };
    match &service.source {
        Source::Known => Discovery::Eds(name.to_owned()),
        Source::Dns(hosts) => Discovery::StrictDns(hosts.iter().map(at).collect()),
        Source::DnsOnce(hosts) => match hosts.first().map(at) {
            Some((host, port)) => Discovery::LogicalDns(host, port),
            None => Discovery::StrictDns(Vec::new()),
        },
        Source::Original => Discovery::OriginalDestination,
    }
}

fn upstream_protocol(protocol: Protocol, pool: Option<&ConnectionPool>) -> UpstreamProtocol {
    let http = pool.and_then(|p| p.http.as_ref());
    if !protocol.may_be_http() {
        return UpstreamProtocol::Unspecified;
    }
    if http.is_some_and(|h| h.use_client_protocol) {
        return UpstreamProtocol::UseDownstream;
    }
    match protocol {
        _ if protocol.is_http2() => UpstreamProtocol::Http2,
        Protocol::Http if http.is_some_and(|h| h.h2_upgrade_policy == H2UpgradePolicy::Upgrade) => {
            UpstreamProtocol::Http2
        }
        Protocol::Http => UpstreamProtocol::Http1,
        _ => UpstreamProtocol::UseDownstream,
    }
}

fn transport(
    world: &World,
    service: &MeshService,
    port: &ServicePort,
    subset: &str,
    tls: Option<&ClientTls>,
    protocol: UpstreamProtocol,
) -> Transport {
    let mesh = || {
        Box::new(UpstreamTls {
            sni: Some(format!("outbound_.{}_.{subset}_.{}", port.number, service.host)),
            alpn: mesh_alpn(protocol),
            certificate: CertificateSource::Workload,
            validation: PeerValidation {
                roots: RootSource::Mesh,
                subject_alt_names: service.identities(&world.mesh().trust_domain),
            },
        })
    };
    let Some(tls) = tls else {
        let automatic = world.mesh().enable_auto_mtls && service.internal && service.source == Source::Known;
        return if automatic {
            Transport::Auto(mesh())
        } else {
            Transport::Plain
        };
    };
    match tls.mode {
        ClientTlsMode::Disable => Transport::Plain,
        ClientTlsMode::IstioMutual => {
            let mut context = mesh();
            if !tls.sni.is_empty() {
                context.sni = Some(tls.sni.clone());
            }
            if !tls.subject_alt_names.is_empty() {
                context
                    .validation
                    .subject_alt_names
                    .clone_from(&tls.subject_alt_names);
            }
            Transport::Tls(context)
        }
        ClientTlsMode::Simple | ClientTlsMode::Mutual => Transport::Tls(Box::new(external(tls, protocol))),
    }
}

/// TLS to something that is not a mesh sidecar.
fn external(tls: &ClientTls, protocol: UpstreamProtocol) -> UpstreamTls {
    let roots = if tls.insecure_skip_verify == Some(true) {
        RootSource::None
    } else if !tls.credential_name.is_empty() {
        RootSource::Secret(format!("kubernetes://{}-cacert", tls.credential_name))
    } else if !tls.ca_certificates.is_empty() {
        RootSource::File(tls.ca_certificates.clone())
    } else {
        RootSource::Secret(SYSTEM_ROOTS.to_owned())
    };
    let certificate = match tls.mode {
        ClientTlsMode::Mutual if !tls.credential_name.is_empty() => {
            CertificateSource::Secret(format!("kubernetes://{}", tls.credential_name))
        }
        ClientTlsMode::Mutual => CertificateSource::Files {
            chain: tls.client_certificate.clone(),
            key: tls.private_key.clone(),
        },
        _ => CertificateSource::None,
    };
    UpstreamTls {
        sni: Some(tls.sni.clone()).filter(|s| !s.is_empty()),
        alpn: match protocol {
            UpstreamProtocol::Http2 => vec!["h2".to_owned()],
            UpstreamProtocol::Http1 => vec!["http/1.1".to_owned()],
            UpstreamProtocol::UseDownstream => vec!["h2".to_owned(), "http/1.1".to_owned()],
            UpstreamProtocol::Unspecified => Vec::new(),
        },
        certificate,
        validation: PeerValidation {
            roots,
            subject_alt_names: tls.subject_alt_names.clone(),
        },
    }
}

/// By these names a mesh sidecar tells mesh TLS from any other.
fn mesh_alpn(protocol: UpstreamProtocol) -> Vec<String> {
    let names: &[&str] = match protocol {
        UpstreamProtocol::Http1 => &["istio-http/1.1", "istio", "http/1.1"],
        UpstreamProtocol::Http2 => &["istio-h2", "istio", "h2"],
        UpstreamProtocol::UseDownstream => &["istio-http/1.1", "istio-h2", "istio", "http/1.1", "h2"],
        UpstreamProtocol::Unspecified => &["istio-peer-exchange", "istio"],
    };
    names.iter().map(|n| (*n).to_owned()).collect()
}

/// Endpoints of one cluster, in address order.
pub(crate) fn endpoints(
    world: &World,
    index: &Index,
    port: &ServicePort,
    subset: Option<&Subset>,
    policy: Effective<'_>,
    near: &Near<'_>,
) -> Endpoints {
    let chosen: Vec<_> = port
        .endpoints
        .iter()
        .filter(|e| e.ready && subset.is_none_or(|s| labels_match(&s.labels, &e.labels)))
        .collect();
    let mut list = chosen
        .iter()
        .map(|e| {
            // A server that takes no TLS is not offered any.
            let mutual_tls = e.tls_mode
                && PeerModes::of(world, index, &e.namespace, &e.labels).at(e.address.port())
                    != MutualTlsMode::Disable;
            Endpoint {
                address: e.address,
                healthy: true,
                weight: e.weight.max(1),
                priority: 0,
                locality: e.locality.clone(),
                mutual_tls,
                workload: e.workload.clone(),
            }
        })
        .collect();
    let labels: Vec<_> = chosen.iter().map(|e| std::sync::Arc::clone(&e.labels)).collect();
    locality::apply(world, policy, near, &labels, &mut list);
    Endpoints(list)
}
