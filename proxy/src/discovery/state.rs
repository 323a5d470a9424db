//! What discovery has delivered, and when it is a whole configuration. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_model::cluster::{CertificateSource, Cluster, Discovery, Endpoints, RootSource, Transport};
use mesh_model::listener::{ConnectionService, Listener, RouteSource};
use mesh_model::route::RouteTable;
use mesh_model::secret::Secret;
use mesh_model::snapshot::Snapshot;
use mesh_xds::discovery::{DeltaDiscoveryResponse, Resource};
use mesh_xds::{Any, Invalid, TYPE_CLUSTER, TYPE_ENDPOINTS, TYPE_LISTENER, TYPE_ROUTE, TYPE_SECRET, decode};

/// The types, in the order in which they are subscribed and applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoints,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// SDS: key material of gateways.
    Secret,
}

impl Kind {
    /// All, in order.
    pub const ALL: [Self; 5] = [
        Self::Cluster,
        Self::Endpoints,
        Self::Listener,
        Self::Route,
        Self::Secret,
    ];

    /// Its type URL.
    #[must_use]
    pub fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => TYPE_CLUSTER,
            Self::Endpoints => TYPE_ENDPOINTS,
            Self::Listener => TYPE_LISTENER,
            Self::Route => TYPE_ROUTE,
            Self::Secret => TYPE_SECRET,
        }
    }

    /// By type URL.
    #[must_use]
    pub fn of(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|k| k.type_url() == type_url)
    }

    /// Whether everything is wanted, instead of what is referred to.
    #[must_use]
    pub fn is_wildcard(self) -> bool {
        matches!(self, Self::Cluster | Self::Listener)
    }
}

/// A resource as it came and as the model.
#[derive(Debug, Clone)]
pub struct Held<T> {
    /// Version by the control plane.
    pub version: String,
    /// As it came.
    pub any: Arc<Any>,
    /// As the model.
    pub model: Arc<T>,
}

/// Everything delivered so far. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Clusters by name.
    pub clusters: BTreeMap<String, Held<Cluster>>,
    /// Endpoints by discovery name.
    pub endpoints: BTreeMap<String, Held<Endpoints>>,
    /// Listeners by name.
    pub listeners: BTreeMap<String, Held<Listener>>,
    /// Route tables by name.
    pub routes: BTreeMap<String, Held<RouteTable>>,
    /// Secrets by name.
    pub secrets: BTreeMap<String, Held<Secret>>,
    /// Names of which the control plane said that they do not exist.
    absent: BTreeSet<(Kind, String)>,
    /// Wildcard types that were answered at least once.
    answered: BTreeSet<Kind>,
    /// The control plane's last `system_version_info`.
    pub revision: String,
}

impl State {
    /// Takes a response as a whole, or nothing of it: then every bad resource is named.
    pub fn receive(&mut self, kind: Kind, response: &DeltaDiscoveryResponse) -> Result<(), Vec<Invalid>> {
        let mut next = self.clone();
        let mut bad = Vec::new();
        for resource in &response.resources {
            if let Err(invalid) = next.insert(kind, resource) {
                bad.push(invalid);
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        for name in &response.removed_resources {
            next.remove(kind, name);
        }
        next.answered.insert(kind);
        if !response.system_version_info.is_empty() {
            next.revision.clone_from(&response.system_version_info);
        }
        *self = next;
        Ok(())
    }

    fn insert(&mut self, kind: Kind, resource: &Resource) -> Result<(), Invalid> {
        // A resource without a body only says that the one we have is still right.
        let Some(any) = &resource.resource else {
            return Ok(());
        };
        self.put(kind, &resource.name, &resource.version, Arc::new(any.clone()))
    }

    /// Stores one resource; also used to load a saved configuration.
    pub fn put(&mut self, kind: Kind, name: &str, version: &str, any: Arc<Any>) -> Result<(), Invalid> {
        fn hold<T>(into: &mut BTreeMap<String, Held<T>>, name: &str, version: &str, any: Arc<Any>, model: T) {
            let held = Held {
                version: version.to_owned(),
                any,
                model: Arc::new(model),
            };
            into.insert(name.to_owned(), held);
        }
        match kind {
            Kind::Cluster => {
                let model = decode::cluster(&any)?;
                let name = agreed(name, &model.name)?;
                hold(&mut self.clusters, &name, version, any, model);
            }
            Kind::Endpoints => {
                let (own, model) = decode::endpoints(&any)?;
                let name = agreed(name, &own)?;
                hold(&mut self.endpoints, &name, version, any, model);
            }
            Kind::Listener => {
                let model = decode::listener(&any)?;
                let name = agreed(name, &model.name)?;
                hold(&mut self.listeners, &name, version, any, model);
            }
            Kind::Route => {
                let model = decode::route_table(&any)?;
                let name = agreed(name, &model.name)?;
                hold(&mut self.routes, &name, version, any, model);
            }
            Kind::Secret => {
                let (own, model) = decode::secret(&any)?;
                let name = agreed(name, &own)?;
                hold(&mut self.secrets, &name, version, any, model);
            }
        }
        self.absent.remove(&(kind, name.to_owned()));
        Ok(())
    }

    /// An empty state of this revision.
    #[must_use]
    pub fn of_revision(revision: String) -> Self {
        Self {
            revision,
            ..Self::default()
        }
    }

    /// Marks the wildcard types as answered: a saved configuration is a whole one.
    pub fn assume_answered(&mut self) {
        self.answered.extend([Kind::Cluster, Kind::Listener]);
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        match kind {
            Kind::Cluster => drop(self.clusters.remove(name)),
            Kind::Endpoints => drop(self.endpoints.remove(name)),
            Kind::Listener => drop(self.listeners.remove(name)),
            Kind::Route => drop(self.routes.remove(name)),
            Kind::Secret => drop(self.secrets.remove(name)),
        }
        if !kind.is_wildcard() {
            self.absent.insert((kind, name.to_owned()));
        }
    }

    /// Forgets resources that nothing refers to any more.
    pub fn forget_unwanted(&mut self, kind: Kind, wanted: &BTreeSet<String>) {
        match kind {
            Kind::Endpoints => self.endpoints.retain(|name, _| wanted.contains(name)),
            Kind::Route => self.routes.retain(|name, _| wanted.contains(name)),
            Kind::Secret => self.secrets.retain(|name, _| wanted.contains(name)),
            Kind::Cluster | Kind::Listener => {}
        }
        self.absent
            .retain(|(of, name)| *of != kind || wanted.contains(name));
    }

    /// Names and versions held, for `initial_resource_versions`.
    #[must_use]
    pub fn versions(&self, kind: Kind) -> Vec<(String, String)> {
        fn of<T>(held: &BTreeMap<String, Held<T>>) -> Vec<(String, String)> {
            held.iter().map(|(n, h)| (n.clone(), h.version.clone())).collect()
        }
        match kind {
            Kind::Cluster => of(&self.clusters),
            Kind::Endpoints => of(&self.endpoints),
            Kind::Listener => of(&self.listeners),
            Kind::Route => of(&self.routes),
            Kind::Secret => of(&self.secrets),
        }
    }

    /// Every resource but secrets, which no file may hold: type, name, version, bytes.
    #[must_use]
    pub fn resources(&self) -> Vec<(Kind, String, String, Arc<Any>)> {
        fn of<T>(
            kind: Kind,
            held: &BTreeMap<String, Held<T>>,
        ) -> impl Iterator<Item = (Kind, String, String, Arc<Any>)> {
            held.iter()
                .map(move |(name, h)| (kind, name.clone(), h.version.clone(), Arc::clone(&h.any)))
        }
        of(Kind::Cluster, &self.clusters)
            .chain(of(Kind::Endpoints, &self.endpoints))
            .chain(of(Kind::Listener, &self.listeners))
            .chain(of(Kind::Route, &self.routes))
            .collect()
    }

    /// Names that clusters (EDS) or listeners (RDS) refer to.
    #[must_use]
    pub fn referred(&self, kind: Kind) -> BTreeSet<String> {
        match kind {
            Kind::Endpoints => self
                .clusters
                .values()
                .filter_map(|c| match &c.model.discovery {
                    Discovery::Eds(name) => Some(name.clone()),
                    _ => chosen_by_application(&c.model),
                })
                .collect(),
            Kind::Route => self
                .listeners
                .values()
                .flat_map(|l| l.model.chains.iter().chain(&l.model.default_chain))
                .filter_map(|chain| match &chain.service {
                    ConnectionService::Http(http) => Some(&http.routes),
                    ConnectionService::Tcp(_) => None,
                })
                .flat_map(tables)
                .collect(),
            Kind::Secret => self.secret_names(),
            Kind::Cluster | Kind::Listener => BTreeSet::new(),
        }
    }

    /// Secrets that TLS contexts refer to; the workload's own certificate and roots are not delivered.
    fn secret_names(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let mut roots = |source: &RootSource| match source {
            RootSource::Secret(name) if !name.starts_with("file-root:") => names.extend([name.clone()]),
            _ => {}
        };
        let chains = self
            .listeners
            .values()
            .flat_map(|l| l.model.chains.iter().chain(&l.model.default_chain));
        let downstream: Vec<_> = chains.filter_map(|chain| chain.tls.as_ref()).collect();
        let upstream: Vec<_> = self
            .clusters
            .values()
            .filter_map(|c| match &c.model.transport {
                Transport::Plain => None,
                Transport::Tls(tls) | Transport::Auto(tls) => Some(tls),
            })
            .collect();
        downstream.iter().for_each(|tls| roots(&tls.validation.roots));
        upstream.iter().for_each(|tls| roots(&tls.validation.roots));
        let certificates = downstream
            .iter()
            .flat_map(|tls| &tls.certificates)
            .chain(upstream.iter().map(|tls| &tls.certificate));
        names.extend(certificates.filter_map(|certificate| match certificate {
            CertificateSource::Secret(name) => Some(name.clone()),
            _ => None,
        }));
        names
    }

    /// What is still needed before this is a whole configuration.
    #[must_use]
    pub fn missing(&self) -> Vec<(Kind, String)> {
        let mut missing: Vec<(Kind, String)> = [Kind::Cluster, Kind::Listener]
            .into_iter()
            .filter(|kind| !self.answered.contains(kind))
            .map(|kind| (kind, "*".to_owned()))
            .collect();
        let optional: BTreeSet<String> = self
            .clusters
            .values()
            .filter_map(|c| chosen_by_application(&c.model))
            .collect();
        for kind in [Kind::Endpoints, Kind::Route] {
            let held = |name: &String| match kind {
                Kind::Endpoints => self.endpoints.contains_key(name),
                _ => self.routes.contains_key(name),
            };
            missing.extend(
                self.referred(kind)
                    .into_iter()
                    .filter(|name| kind != Kind::Endpoints || !optional.contains(name))
                    .filter(|name| !held(name) && !self.absent.contains(&(kind, name.clone())))
                    .map(|name| (kind, name)),
            );
        }
        missing
    }

    /// Whether the wildcard types were answered, so that only details can be missing.
    #[must_use]
    pub fn has_outline(&self) -> bool {
        self.answered.contains(&Kind::Cluster) && self.answered.contains(&Kind::Listener)
    }

    /// The configuration; what is referred to and not there is empty.
    #[must_use]
    pub fn snapshot(&self, base: &Snapshot) -> Snapshot {
        let mut snapshot = base.clone();
        snapshot.revision.clone_from(&self.revision);
        for (name, held) in &self.clusters {
            snapshot.clusters.insert(name.clone(), Arc::clone(&held.model));
        }
        for (name, held) in &self.listeners {
            snapshot.listeners.insert(name.clone(), Arc::clone(&held.model));
        }
        for name in self.referred(Kind::Endpoints) {
            let model = self.endpoints.get(&name).map(|h| Arc::clone(&h.model));
            snapshot.endpoints.insert(name, model.unwrap_or_default());
        }
        for name in self.referred(Kind::Route) {
            let model = self.routes.get(&name).map(|h| Arc::clone(&h.model));
            let empty = || {
                Arc::new(RouteTable {
                    name: name.clone(),
                    virtual_hosts: Vec::new(),
                })
            };
            let model = model.unwrap_or_else(empty);
            snapshot.routes.insert(name, model);
        }
        for (name, held) in &self.secrets {
            snapshot.secrets.insert(name.clone(), Arc::clone(&held.model));
        }
        snapshot
    }
}

/// The wrapper's name, when it has one, must be the resource's own.
fn agreed(wrapper: &str, own: &str) -> Result<String, Invalid> {
    if wrapper.is_empty() || wrapper == own {
        Ok(own.to_owned())
    } else {
        Err(Invalid::new(
            format!("Resource({wrapper}).name"),
            format!("the resource calls itself {own:?}"),
        ))
    }
}

/// Endpoints of a cluster whose connections go where the application said: not needed, but they tell which of them take
/// mutual TLS.
fn chosen_by_application(cluster: &Cluster) -> Option<String> {
    let automatic = matches!(cluster.transport, Transport::Auto(_));
    (automatic && cluster.discovery == Discovery::OriginalDestination).then(|| cluster.name.clone())
}

fn tables(source: &RouteSource) -> Vec<String> {
    match source {
        RouteSource::Inline(_) => Vec::new(),
        RouteSource::Named(name) => vec![name.clone()],
        RouteSource::ByAuthorityPort { tables, fallback, .. } => tables
            .values()
            .chain(std::iter::once(fallback))
            .cloned()
            .collect(),
    }
}
