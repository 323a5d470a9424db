//! Structural schemas of the Istio kinds, and the check of a value against them.
//!
//! The schemas are written in the short form of `schema/*.schema` (see [`grammar`]) and read once. They say
//! what Istio's CustomResourceDefinitions say: fields, types, bounds, exclusive choices and the rules that
//! Kubernetes evaluates as CEL, here named functions ([`rules`]).

mod check;
mod grammar;
mod official;
mod open_api;
mod rules;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

pub use check::{Reason, Violation, check, status_message};
pub use official::differences;
pub use open_api::open_api_v3;
pub use rules::Rule;

/// What a value must look like.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// Its shape.
    pub shape: Shape,
    /// `null` is a value of its own (Kubernetes drops `null` elsewhere).
    pub nullable: bool,
    /// Of each group at most one field may be present (the CRDs' `oneOf`).
    pub exclusive: Vec<Vec<&'static str>>,
    /// Further rules (CEL in the CRDs).
    pub rules: Vec<Rule>,
}

/// The shape of a value.
#[derive(Debug, Clone, Default)]
pub enum Shape {
    /// Fixed fields, in alphabetical order; others are refused.
    Object {
        /// Fields.
        properties: BTreeMap<&'static str, Arc<Schema>>,
        /// Fields that must be present.
        required: Vec<&'static str>,
    },
    /// Any keys, one type of value.
    Map {
        /// Schema of the values.
        values: Arc<Schema>,
        /// Bounds of the number of entries.
        entries: Bounds,
    },
    /// A list.
    Array {
        /// Schema of the items.
        items: Arc<Schema>,
        /// Bounds of the number of items.
        count: Bounds,
        /// Items are told apart by these fields, which must not repeat (`x-kubernetes-list-map-keys`).
        keys: Vec<&'static str>,
    },
    /// Text.
    String {
        /// The only values.
        values: Vec<&'static str>,
        /// Unanchored regular expression.
        pattern: Option<&'static str>,
        /// Bounds of the number of characters.
        length: Bounds,
        /// `byte` (base64), `date-time`, or empty.
        format: &'static str,
    },
    /// A whole number.
    Integer {
        /// Bounds.
        range: Bounds,
        /// `int32`, or empty.
        format: &'static str,
    },
    /// A number.
    Number {
        /// Bounds.
        range: Bounds,
    },
    /// `true` or `false`.
    Boolean,
    /// An integer or a string.
    IntOrString,
    /// An object with fields of any kind (`x-kubernetes-preserve-unknown-fields`).
    AnyObject,
    /// Anything.
    #[default]
    Any,
}

/// Inclusive bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Smallest.
    pub min: Option<i64>,
    /// Largest.
    pub max: Option<i64>,
}

/// The schema of the whole object of `kind` (`spec` and `status`; Kubernetes itself checks `apiVersion`,
/// `kind` and `metadata`).
#[must_use]
pub fn of(kind: &str) -> Option<Arc<Schema>> {
    SCHEMAS.get(kind).cloned()
}

static SCHEMAS: LazyLock<BTreeMap<&'static str, Arc<Schema>>> = LazyLock::new(|| {
    let mut specs = BTreeMap::new();
    for text in [
        include_str!("schema/networking.schema"),
        include_str!("schema/security.schema"),
        include_str!("schema/extensions.schema"),
    ] {
        specs.extend(grammar::read(text));
    }
    let status = Arc::new(Schema {
        shape: Shape::AnyObject,
        ..Schema::default()
    });
    crate::kinds::ALL
        .iter()
        .filter_map(|kind| {
            let spec = specs.remove(kind.kind)?;
            let root = Schema {
                shape: Shape::Object {
                    properties: BTreeMap::from([("spec", spec), ("status", Arc::clone(&status))]),
                    required: if kind.spec_required {
                        vec!["spec"]
                    } else {
                        Vec::new()
                    },
                },
                ..Schema::default()
            };
            Some((kind.kind, Arc::new(root)))
        })
        .collect()
});
