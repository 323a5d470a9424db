//! The objects that configuration is made of.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::{Object, ObjectKey, Parsed, Problem};

use crate::Problems;

/// Everything known: objects by key, mesh settings, and the problems of objects that were refused.
///
/// A clone shares everything; a change copies the maps only when they are shared.
#[derive(Debug, Clone, Default)]
pub struct World {
    objects: Arc<BTreeMap<ObjectKey, Arc<Object>>>,
    refused: Arc<Problems>,
    mesh: Arc<MeshConfig>,
    revision: Arc<OnceLock<String>>,
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
        self.revision = Arc::default();
    }
}
