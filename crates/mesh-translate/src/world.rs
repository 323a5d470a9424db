//! The objects that configuration is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};

use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::{Object, ObjectKey, Parsed, Problem};

use sha2::{Digest, Sha256};

use crate::index::Index;
use crate::keys::{KeySet, KeySource};
use crate::{Problems, ProxyNode};

/// Everything known: objects by key, mesh settings, and the problems of objects that were refused.
///
/// A clone shares everything; a change copies the maps only when they are shared.
#[derive(Debug, Clone, Default)]
pub struct World {
    objects: Arc<BTreeMap<ObjectKey, Arc<Object>>>,
    refused: Arc<Problems>,
    mesh: Arc<MeshConfig>,
    cluster_id: Arc<str>,
    secrets: Arc<BTreeMap<(String, String), KeyMaterial>>,
    keys: Arc<BTreeMap<KeySource, KeySet>>,
    derived: Arc<Derived>,
}

/// What a Kubernetes Secret holds for TLS. Never shown.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyMaterial {
    /// Certificate chain and private key, PEM (`tls.crt` and `tls.key`, or `cert` and `key`).
    pub certificate: Option<(String, String)>,
    /// Trust anchors, PEM (`ca.crt` or `cacert`).
    pub roots: Option<String>,
}

impl std::fmt::Debug for KeyMaterial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyMaterial(..)")
    }
}

/// What follows from the objects, made when it is first asked for.
#[derive(Debug, Default)]
struct Derived {
    revision: OnceLock<[u8; 32]>,
    index: OnceLock<Index>,
}

impl World {
    /// Takes a parsed object. A valid one replaces what was there; a refused one leaves the last valid version
    /// in force and is remembered with its problems. Answers whether the configuration may have changed.
    pub fn apply(&mut self, parsed: Parsed) -> bool {
        let Some(key) = parsed.key.clone() else {
            return false;
        };
        match parsed.object {
            Some(object) => {
                let warnings = parsed.problems;
                self.remember(key, warnings);
                self.insert(object)
            }
            None => {
                self.remember(key, parsed.problems);
                false
            }
        }
    }

    /// Puts a valid object. Answers whether what it says is new.
    pub fn insert(&mut self, object: Object) -> bool {
        let key = object.key();
        let same = self.objects.get(&key).is_some_and(|old| {
            old.meta().revision == object.meta().revision && !object.meta().revision.is_empty()
        });
        Arc::make_mut(&mut self.objects).insert(key, Arc::new(object));
        if !same {
            self.changed();
        }
        !same
    }

    /// Removes an object and its problems. Answers whether it was there.
    pub fn remove(&mut self, key: &ObjectKey) -> bool {
        self.remember(key.clone(), Vec::new());
        let there = self.objects.contains_key(key);
        if there {
            Arc::make_mut(&mut self.objects).remove(key);
            self.changed();
        }
        there
    }

    /// Replaces the mesh settings.
    pub fn set_mesh(&mut self, mesh: MeshConfig) {
        self.mesh = Arc::new(mesh);
        self.changed();
    }

    /// Mesh settings.
    #[must_use]
    pub fn mesh(&self) -> &MeshConfig {
        &self.mesh
    }

    /// The valid object of this key.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Arc<Object>> {
        self.objects.get(key)
    }

    /// Every valid object, by key.
    pub fn objects(&self) -> impl Iterator<Item = (&ObjectKey, &Arc<Object>)> {
        self.objects.iter()
    }

    /// Problems of objects by themselves: of refused versions, and warnings of valid ones.
    #[must_use]
    pub fn parse_problems(&self) -> &Problems {
        &self.refused
    }

    fn remember(&mut self, key: ObjectKey, problems: Vec<Problem>) {
        if problems.is_empty() {
            if self.refused.contains_key(&key) {
                Arc::make_mut(&mut self.refused).remove(&key);
            }
        } else {
            Arc::make_mut(&mut self.refused).insert(key, problems);
        }
    }

    fn changed(&mut self) {
        self.derived = Arc::default();
    }

    /// Replaces all key material, by namespace and name. Answers whether it is new.
    pub fn set_secrets(&mut self, secrets: BTreeMap<(String, String), KeyMaterial>) -> bool {
        let new = *self.secrets != secrets;
        if new {
            self.secrets = Arc::new(secrets);
            self.changed();
        }
        new
    }

    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Option<&KeyMaterial> {
        self.secrets.get(&(namespace.to_owned(), name.to_owned()))
    }

    /// Replaces the keys of token issuers. Answers whether they are new.
    pub fn set_keys(&mut self, keys: BTreeMap<KeySource, KeySet>) -> bool {
        let new = *self.keys != keys;
        if new {
            self.keys = Arc::new(keys);
            self.changed();
        }
        new
    }

    /// Where keys of token issuers are to be had, as far as objects do not hold them.
    #[must_use]
    pub fn key_sources(&self) -> BTreeSet<KeySource> {
        let policies = self.index().accesses.tokens.iter();
        let rules = policies.flat_map(|policy| &policy.spec.jwt_rules);
        rules.filter_map(KeySource::of).collect()
    }

    pub(crate) fn keys(&self, source: &KeySource) -> Option<&KeySet> {
        self.keys.get(source)
    }

    /// Sets the cluster id that workloads are named with.
    pub fn set_cluster_id(&mut self, id: &str) {
        self.cluster_id = id.into();
        self.changed();
    }

    pub(crate) fn cluster_id(&self) -> &str {
        match self.cluster_id.as_ref() {
            "" => "Kubernetes",
            id => id,
        }
    }

    pub(crate) fn index(&self) -> &Index {
        self.derived.index.get_or_init(|| Index::build(self))
    }

    /// Hash of what every object and the mesh settings say, and of who asks.
    pub(crate) fn snapshot_revision(&self, node: &ProxyNode) -> String {
        let world = self.derived.revision.get_or_init(|| {
            let mut hash = Sha256::new();
            for (key, object) in self.objects.iter() {
                hash.update(key.to_string());
                hash.update([0]);
                hash.update(&object.meta().revision);
                hash.update([0]);
            }
            for ((namespace, name), material) in self.secrets.iter() {
                let (chain, key) = material.certificate.as_ref().map_or(("", ""), |(c, k)| (c, k));
                for part in [
                    namespace,
                    name,
                    chain,
                    key,
                    material.roots.as_deref().unwrap_or_default(),
                ] {
                    hash.update(part);
                    hash.update([0]);
                }
            }
            for (source, set) in self.keys.iter() {
                hash.update(format!("{source}"));
                hash.update([0]);
                hash.update(set.keys.as_deref().unwrap_or_default());
                hash.update([0]);
            }
            // Debug text is stable within one build, which is how long revisions are compared.
            hash.update(format!("{:?}{}", self.mesh, self.cluster_id));
            hash.finalize().into()
        });
        let mut hash = Sha256::new();
        hash.update(world);
        hash.update(format!("{node:?}"));
        let bytes = hash.finalize();
        bytes.iter().take(8).map(|b| format!("{b:02x}")).collect()
    }
}
