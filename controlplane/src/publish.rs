//! A snapshot as named, versioned resources (pure).

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_model::snapshot::Snapshot;
use mesh_xds::Any;
use sha2::{Digest, Sha256};

/// A resource type, in the order in which additions are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// CDS.
    Clusters,
    /// EDS.
    Endpoints,
    /// LDS.
    Listeners,
    /// RDS.
    Routes,
    /// SDS: key material of gateways.
    Secrets,
}

impl Kind {
    pub(crate) const ALL: [Self; 5] = [
        Self::Clusters,
        Self::Endpoints,
        Self::Listeners,
        Self::Routes,
        Self::Secrets,
    ];

    pub(crate) fn type_url(self) -> &'static str {
        match self {
            Self::Clusters => mesh_xds::TYPE_CLUSTER,
            Self::Endpoints => mesh_xds::TYPE_ENDPOINTS,
            Self::Listeners => mesh_xds::TYPE_LISTENER,
            Self::Routes => mesh_xds::TYPE_ROUTE,
            Self::Secrets => mesh_xds::TYPE_SECRET,
        }
    }

    pub(crate) fn of(type_url: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.type_url() == type_url)
    }

    /// Label value of the push metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Clusters => "cds",
            Self::Endpoints => "eds",
            Self::Listeners => "lds",
            Self::Routes => "rds",
            Self::Secrets => "sds",
        }
    }

    /// Whether a first request without names asks for everything.
    pub(crate) fn wildcard_by_default(self) -> bool {
        matches!(self, Self::Clusters | Self::Listeners)
    }
}

/// A resource with a version that is a hash of its bytes.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Versioned {
    pub(crate) version: String,
    pub(crate) any: Any,
}

pub(crate) type Resources = BTreeMap<String, Arc<Versioned>>;

/// What one proxy should run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Published {
    /// Generation of the world that it was made of.
    pub(crate) generation: u64,
    /// The snapshot's revision.
    pub(crate) revision: String,
    clusters: Resources,
    endpoints: Resources,
    listeners: Resources,
    routes: Resources,
    secrets: Resources,
    /// VirtualServices (`namespace/name`) that rules of it come from, with their revision.
    pub(crate) virtual_services: BTreeMap<String, String>,
}

impl Published {
    /// Encodes a snapshot; what is unchanged is shared with `before`.
    pub(crate) fn new(snapshot: &Snapshot, generation: u64, before: Option<&Self>) -> Self {
        let old = |kind: Kind| before.map(|b| b.of(kind));
        Self {
            generation,
            revision: snapshot.revision.clone(),
            clusters: versioned(
                old(Kind::Clusters),
                snapshot
                    .clusters
                    .iter()
                    .map(|(n, c)| (n, mesh_xds::encode::cluster(c))),
            ),
            endpoints: versioned(
                old(Kind::Endpoints),
                snapshot
                    .endpoints
                    .iter()
                    .map(|(n, e)| (n, mesh_xds::encode::endpoints(n, e))),
            ),
            listeners: versioned(
                old(Kind::Listeners),
                snapshot
                    .listeners
                    .iter()
                    .map(|(n, l)| (n, mesh_xds::encode::listener(l))),
            ),
            routes: versioned(
                old(Kind::Routes),
                snapshot
                    .routes
                    .iter()
                    .map(|(n, r)| (n, mesh_xds::encode::route_table(r))),
            ),
            secrets: versioned(
                old(Kind::Secrets),
                snapshot
                    .secrets
                    .iter()
                    .map(|(n, s)| (n, mesh_xds::encode::secret(n, s))),
            ),
            virtual_services: origins(snapshot),
        }
    }

    pub(crate) fn of(&self, kind: Kind) -> &Resources {
        match kind {
            Kind::Clusters => &self.clusters,
            Kind::Endpoints => &self.endpoints,
            Kind::Listeners => &self.listeners,
            Kind::Routes => &self.routes,
            Kind::Secrets => &self.secrets,
        }
    }

    /// The snapshot as the proxy reads it, without secrets.
    pub(crate) fn snapshot(&self) -> Result<Snapshot, mesh_xds::Invalid> {
        let mut snapshot = Snapshot {
            revision: self.revision.clone(),
            ..Snapshot::default()
        };
        for (name, resource) in &self.listeners {
            let listener = mesh_xds::decode::listener(&resource.any)?;
            snapshot.listeners.insert(name.clone(), Arc::new(listener));
        }
        for (name, resource) in &self.routes {
            let table = mesh_xds::decode::route_table(&resource.any)?;
            snapshot.routes.insert(name.clone(), Arc::new(table));
        }
        for (name, resource) in &self.clusters {
            let cluster = mesh_xds::decode::cluster(&resource.any)?;
            snapshot.clusters.insert(name.clone(), Arc::new(cluster));
        }
        for resource in self.endpoints.values() {
            let (name, endpoints) = mesh_xds::decode::endpoints(&resource.any)?;
            snapshot.endpoints.insert(name, Arc::new(endpoints));
        }
        Ok(snapshot)
    }

    #[cfg(test)]
    pub(crate) fn of_versions(generation: u64, kinds: &[(Kind, &[(&str, &str)])]) -> Self {
        let mut published = Self {
            generation,
            revision: generation.to_string(),
            ..Self::default()
        };
        for (kind, resources) in kinds {
            let map = match kind {
                Kind::Clusters => &mut published.clusters,
                Kind::Endpoints => &mut published.endpoints,
                Kind::Listeners => &mut published.listeners,
                Kind::Routes => &mut published.routes,
                Kind::Secrets => &mut published.secrets,
            };
            for (name, version) in *resources {
                let versioned = Versioned {
                    version: (*version).to_owned(),
                    any: Any::default(),
                };
                map.insert((*name).to_owned(), Arc::new(versioned));
            }
        }
        published
    }
}

fn versioned<'n>(
    before: Option<&Resources>,
    resources: impl Iterator<Item = (&'n String, Any)>,
) -> Resources {
    resources
        .map(|(name, any)| {
            let version = hash(&any.value);
            let same = before
                .and_then(|b| b.get(name))
                .filter(|old| old.version == version);
            let resource = same.map_or_else(|| Arc::new(Versioned { version, any }), Arc::clone);
            (name.clone(), resource)
        })
        .collect()
}

fn hash(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn origins(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let tables = snapshot.routes.values().map(Arc::as_ref);
    let rules = tables
        .flat_map(|table| &table.virtual_hosts)
        .flat_map(|host| &host.routes);
    rules
        .filter_map(|rule| rule.origin.as_ref())
        .map(|origin| (origin.virtual_service.clone(), origin.revision.clone()))
        .collect()
}
