//! Clusters and endpoints with their live state.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use mesh_model::balance::consistent::{self, Member, Table};
use mesh_model::cluster::{
    Balancer, CertificateSource, Cluster, Discovery, Endpoint, Endpoints, Transport, UpstreamProtocol,
    UpstreamTls,
};
use mesh_model::snapshot::Snapshot;
use rustls::ClientConfig;

use super::{Problems, next_id};
use crate::secure::TlsContexts;

/// A cluster with its live state.
pub(crate) struct ClusterEntry {
    /// Distinguishes it from every other cluster of this process's lifetime.
    pub(crate) id: u32,
    /// As configured.
    pub(crate) config: Arc<Cluster>,
    /// Numbers that limits look at; they hold for the whole proxy and outlive configuration changes.
    pub(crate) shared: Arc<ClusterShared>,
    /// TLS for HTTP/1 and opaque bytes, and for HTTP/2.
    pub(crate) tls: Option<Tls>,
    /// Endpoints in force.
    pub(crate) endpoints: ArcSwap<EndpointSet>,
}

/// Client contexts that differ in ALPN only, or why there are none.
#[derive(Clone)]
pub(crate) struct Tls {
    /// As configured.
    pub(crate) config: UpstreamTls,
    /// HTTP/1.1.
    pub(crate) http1: Result<Arc<ClientConfig>, String>,
    /// HTTP/2.
    pub(crate) http2: Result<Arc<ClientConfig>, String>,
    /// Opaque bytes.
    pub(crate) opaque: Result<Arc<ClientConfig>, String>,
}

/// Numbers of a cluster.
#[derive(Debug, Default)]
pub(crate) struct ClusterShared {
    /// Open connections.
    pub(crate) connections: AtomicU32,
    /// Requests waiting for a connection.
    pub(crate) pending: AtomicU32,
    /// Requests in flight.
    pub(crate) requests: AtomicU32,
    /// Retries in flight.
    pub(crate) retries: AtomicU32,
}

/// Endpoints of one moment.
#[derive(Default)]
pub(crate) struct EndpointSet {
    /// In configured order.
    pub(crate) all: Vec<Arc<EndpointEntry>>,
    /// Positions by priority, healthy first preferred level first.
    pub(crate) levels: Vec<Vec<u32>>,
    /// For each level, which endpoint serves a key; empty when nothing is hashed.
    pub(crate) tables: Vec<Table>,
    /// Every endpoint is healthy and of one priority and weight: the common case needs no thought.
    pub(crate) uniform: bool,
}

/// An endpoint with its live state.
pub(crate) struct EndpointEntry {
    /// Distinguishes it from every other endpoint of this process's lifetime; key of connection pools.
    pub(crate) id: u32,
    /// As discovered.
    pub(crate) endpoint: Endpoint,
    /// Connections to it are secured.
    pub(crate) secured: bool,
    /// Counters.
    pub(crate) counters: Counters,
}

/// Counters of an endpoint, shared by all workers.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Requests in flight.
    pub(crate) active: AtomicU32,
    /// Requests sent.
    pub(crate) requests: AtomicU64,
    /// Requests that ended in a 5xx or a reset.
    pub(crate) errors: AtomicU64,
    /// Open connections.
    pub(crate) connections: AtomicU32,
    /// Connections tried.
    pub(crate) connections_total: AtomicU64,
    /// Connections that failed.
    pub(crate) connections_failed: AtomicU64,
    /// 5xx in a row.
    pub(crate) consecutive_5xx: AtomicU32,
    /// Gateway errors in a row.
    pub(crate) consecutive_gateway: AtomicU32,
    /// Times ejected in a row.
    pub(crate) ejections: AtomicU32,
    /// Out of use until this moment (milliseconds of the proxy's clock); 0 = in use.
    pub(crate) ejected_until: AtomicU64,
}

impl EndpointEntry {
    fn new(endpoint: Endpoint, transport: &Transport) -> Arc<Self> {
        let secured = match transport {
            Transport::Plain => false,
            Transport::Tls(_) => true,
            Transport::Auto(_) => endpoint.mutual_tls,
        };
        Arc::new(Self {
            id: next_id(),
            endpoint,
            secured,
            counters: Counters::default(),
        })
    }

    /// Whether outlier detection took it out.
    #[must_use]
    pub(crate) fn is_ejected(&self) -> bool {
        self.counters.ejected_until.load(Ordering::Relaxed) != 0
    }
}

impl EndpointSet {
    fn new(all: Vec<Arc<EndpointEntry>>, balancer: &Balancer) -> Self {
        let most = all.iter().map(|e| e.endpoint.priority).max().unwrap_or(0).min(15);
        let levels: Vec<Vec<u32>> = (0..=most)
            .map(|priority| {
                all.iter()
                    .zip(0_u32..)
                    .filter(|(e, _)| e.endpoint.priority.min(15) == priority)
                    .map(|(_, position)| position)
                    .collect()
            })
            .filter(|level: &Vec<u32>| !level.is_empty())
            .collect();
        let weight = all.first().map_or(1, |e| e.endpoint.weight);
        let uniform = levels.len() <= 1
            && all
                .iter()
                .all(|e| e.endpoint.healthy && e.endpoint.weight == weight);
        let tables = levels.iter().filter_map(|level| table(&all, level, balancer));
        Self {
            tables: tables.collect(),
            all,
            levels,
            uniform,
        }
    }
}

/// Which healthy endpoint of a level serves a key; `None` when the balancer does not hash.
fn table(all: &[Arc<EndpointEntry>], level: &[u32], balancer: &Balancer) -> Option<Table> {
    let build = match balancer {
        Balancer::RingHash { minimum_ring_size } => {
            let size = *minimum_ring_size;
            Box::new(move |members: &[Member<'_>]| consistent::ring_table(members, size))
                as Box<dyn Fn(&[Member<'_>]) -> Table>
        }
        Balancer::Maglev { table_size } => {
            let size = *table_size;
            Box::new(move |members: &[Member<'_>]| consistent::maglev_table(members, size))
        }
        _ => return None,
    };
    let entries: Vec<(u32, &Arc<EndpointEntry>)> = level
        .iter()
        .filter_map(|at| Some((*at, all.get(usize::try_from(*at).ok()?)?)))
        .filter(|(_, entry)| entry.endpoint.healthy)
        .collect();
    let keys: Vec<String> = entries
        .iter()
        .map(|(_, e)| e.endpoint.address.to_string())
        .collect();
    let members: Vec<Member<'_>> = entries
        .iter()
        .zip(&keys)
        .map(|((_, entry), key)| Member {
            key,
            weight: entry.endpoint.weight.max(1),
        })
        .collect();
    // Positions in the level become positions in the whole set.
    let whole = |member: &mut u32| {
        let entry = usize::try_from(*member).ok().and_then(|at| entries.get(at));
        *member = entry.map_or(u32::MAX, |(at, _)| *at);
    };
    let mut table = build(&members);
    match &mut table {
        Table::Ring(points) => points.iter_mut().for_each(|(_, member)| whole(member)),
        Table::Maglev(slots) => slots.iter_mut().for_each(whole),
    }
    Some(table)
}

impl ClusterEntry {
    /// An endpoint that is not discovered but asked for (original destination).
    #[must_use]
    pub(crate) fn dynamic_endpoint(&self, address: std::net::SocketAddr) -> Arc<EndpointEntry> {
        let known = self.endpoints.load();
        if let Some(entry) = known.all.iter().find(|e| e.endpoint.address == address) {
            return Arc::clone(entry);
        }
        let endpoint = Endpoint {
            address,
            healthy: true,
            weight: 1,
            priority: 0,
            locality: String::new(),
            mutual_tls: false,
            workload: None,
        };
        EndpointEntry::new(endpoint, &self.config.transport)
    }

    /// Puts resolved addresses in force; known endpoints keep their state.
    pub(crate) fn replace_endpoints(&self, endpoints: &[Endpoint]) {
        let before = self.endpoints.load();
        self.endpoints
            .store(Arc::new(carry_over(endpoints, Some(&before), &self.config)));
    }

    /// The client context for what will be spoken.
    pub(crate) fn client_tls(&self, protocol: Option<UpstreamProtocol>) -> Result<Arc<ClientConfig>, String> {
        match (&self.tls, protocol) {
            (None, _) => Err("cluster has no TLS context".into()),
            (Some(tls), Some(UpstreamProtocol::Http2)) => tls.http2.clone(),
            (Some(tls), Some(_)) => tls.http1.clone(),
            (Some(tls), None) => tls.opaque.clone(),
        }
    }
}

pub(super) fn endpoints_of(snapshot: &Snapshot, cluster: &Cluster) -> Arc<Endpoints> {
    match &cluster.discovery {
        Discovery::Eds(name) => snapshot.endpoints.get(name).cloned().unwrap_or_default(),
        Discovery::Static(endpoints) => Arc::new(endpoints.clone()),
        // What is known of the addresses that the application may choose.
        Discovery::OriginalDestination => snapshot.endpoints.get(&cluster.name).cloned().unwrap_or_default(),
        Discovery::StrictDns(_) | Discovery::LogicalDns(..) => Arc::default(),
    }
}

pub(super) fn compile(
    cluster: &Arc<Cluster>,
    endpoints: &Endpoints,
    before: Option<&Arc<ClusterEntry>>,
    tls: &dyn TlsContexts,
    keep_tls: bool,
    problems: &mut Problems,
) -> Arc<ClusterEntry> {
    let is_dns = matches!(
        cluster.discovery,
        Discovery::StrictDns(_) | Discovery::LogicalDns(..)
    );
    let same = before.filter(|b| *b.config == **cluster);
    if let Some(same) = same.filter(|same| keep_tls || same.tls.is_none()) {
        let now = same.endpoints.load();
        if is_dns || now.all.iter().map(|e| &e.endpoint).eq(endpoints.0.iter()) {
            return Arc::clone(same);
        }
    }
    let configured = match &cluster.transport {
        Transport::Plain => None,
        Transport::Tls(configured) | Transport::Auto(configured) => Some(configured),
    };
    let contexts = configured.map(|configured| {
        let base = problems.tls(|| format!("cluster {}", cluster.name), tls.client(configured));
        let mesh = configured.certificate == CertificateSource::Workload;
        let with = |alpn: &[&str]| {
            base.clone().map(|base| {
                let mut context = ClientConfig::clone(&base);
                context.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
                Arc::new(context)
            })
        };
        Tls {
            config: UpstreamTls::clone(configured),
            http1: with(if mesh {
                &["istio-http/1.1", "istio", "http/1.1"]
            } else {
                &["http/1.1"]
            }),
            http2: with(if mesh {
                &["istio-h2", "istio", "h2"]
            } else {
                &["h2"]
            }),
            opaque: if mesh { with(&["istio"]) } else { base.clone() },
        }
    });
    let set = match same {
        Some(same) if is_dns => same.endpoints.load_full(),
        // Pools are keyed by endpoint: new identities only when connections would be made otherwise.
        _ => {
            let kept = before.filter(|b| b.config.transport == cluster.transport);
            let kept = kept.map(|b| b.endpoints.load_full());
            Arc::new(carry_over(&endpoints.0, kept.as_deref(), cluster))
        }
    };
    Arc::new(ClusterEntry {
        id: same.map_or_else(next_id, |same| same.id),
        config: Arc::clone(cluster),
        shared: before.map(|b| Arc::clone(&b.shared)).unwrap_or_default(),
        tls: contexts,
        endpoints: ArcSwap::new(set),
    })
}

fn carry_over(endpoints: &[Endpoint], before: Option<&EndpointSet>, cluster: &Cluster) -> EndpointSet {
    let known: HashMap<_, _> = before
        .iter()
        .flat_map(|set| &set.all)
        .map(|entry| (entry.endpoint.address, entry))
        .collect();
    let all = endpoints
        .iter()
        .map(|endpoint| match known.get(&endpoint.address) {
            Some(entry) if entry.endpoint == *endpoint => Arc::clone(entry),
            _ => EndpointEntry::new(endpoint.clone(), &cluster.transport),
        })
        .collect();
    EndpointSet::new(all, &cluster.balancer)
}
