//! Collecting problems by object.

use mesh_crd::problem::{Severity, code};
use mesh_crd::{ObjectKey, Problem};

use crate::Problems;

/// Problems found on the way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Findings(pub(crate) Problems);

impl Findings {
    pub(crate) fn add(&mut self, key: &ObjectKey, problem: Problem) {
        let list = self.0.entry(key.clone()).or_default();
        if !list.contains(&problem) {
            list.push(problem);
        }
    }

    /// Something that is valid but has no effect here.
    pub(crate) fn no_effect(&mut self, key: &ObjectKey, field: String, message: String, remedy: &str) {
        self.add(
            key,
            Problem::new(code::NO_EFFECT, Severity::Warning, field, message, remedy),
        );
    }

    pub(crate) fn unsupported(&mut self, key: &ObjectKey, field: String, message: &str, remedy: &str) {
        self.add(
            key,
            Problem::new(code::NOT_SUPPORTED, Severity::Warning, field, message, remedy),
        );
    }
}
