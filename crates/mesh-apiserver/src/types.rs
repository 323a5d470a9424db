//! What the fields of each served kind are: for applying, for strategic merge patches, for OpenAPI documents.
//!
//! Kubernetes' kinds come from the message table of [`crate::protobuf`] and the facts of `types/facts.txt` (what is
//! required, which lists are told apart by which fields); Istio's from `mesh_crd`.

mod core;
mod custom;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use serde_json::{Map, Value};

use crate::registry::{self, Family, Resource};

#[cfg(test)]
use self::core::message;
pub(crate) use self::core::object_meta;

/// The type of a value.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Type {
    /// Whatever the value says: maps field by field, lists as a whole.
    #[default]
    Any,
    Scalar(Scalar),
    Struct(Struct),
    Map {
        values: Arc<Type>,
        /// Set and owned as a whole.
        atomic: bool,
    },
    List(List),
}

/// A plain value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scalar {
    Text,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    Int32,
    Int64,
    Number,
    Boolean,
    IntOrString,
}

/// An object with fields of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Struct {
    /// The message that it is, for Kubernetes' kinds: `core.ServiceSpec`.
    pub(crate) name: Option<&'static str>,
    pub(crate) fields: BTreeMap<&'static str, Field>,
    pub(crate) required: Vec<&'static str>,
    pub(crate) atomic: bool,
}

/// A field of a struct.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    pub(crate) kind: Arc<Type>,
    pub(crate) default: Option<Value>,
    /// Written even when nothing is in it.
    pub(crate) always: bool,
}

/// A list.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct List {
    pub(crate) items: Arc<Type>,
    pub(crate) identity: Identity,
    /// How a strategic merge patch treats it.
    pub(crate) patch: Merge,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Identity {
    /// Not at all: the list is one value.
    Atomic,
    /// By themselves.
    Set,
    /// By these fields.
    Keys(Vec<&'static str>),
}

/// What a strategic merge patch does with a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merge {
    /// The patch's list takes its place.
    Replace,
    /// The patch's values are added.
    Values,
    /// Items are merged by a field; `retain`: only the fields that the patch names stay.
    Items { key: &'static str, retain: bool },
}

static NOTHING: Type = Type::Any;

impl Type {
    /// The type of a field (any, when the type does not say).
    pub(crate) fn field(&self, name: &str) -> &Type {
        match self {
            Self::Struct(s) => s.fields.get(name).map_or(&NOTHING, |f| &f.kind),
            Self::Map { values, .. } => values,
            _ => &NOTHING,
        }
    }

    /// The type of a list's items.
    pub(crate) fn items(&self) -> &Type {
        match self {
            Self::List(list) => &list.items,
            _ => &NOTHING,
        }
    }

    /// What a value of this type is before anyone set anything: structs in it are there, without content.
    pub(crate) fn blank(&self) -> Value {
        let mut map = Map::new();
        if let Self::Struct(s) = self {
            for (name, field) in s.fields.iter().filter(|(_, f)| f.always) {
                let value = match &*field.kind {
                    Self::Struct(_) => field.kind.blank(),
                    _ => Value::Null,
                };
                map.insert((*name).to_owned(), value);
            }
        }
        Value::Object(map)
    }
}

static ALL: LazyLock<HashMap<(&'static str, &'static str), Arc<Type>>> = LazyLock::new(|| {
    registry::all()
        .iter()
        .map(|resource| {
            let made = match resource.family {
                Family::Core(_) => core::object(resource),
                Family::Istio(kind) => custom::object(kind.kind),
            };
            ((resource.group, resource.kind), made)
        })
        .collect()
});

/// The type of a resource's objects.
pub(crate) fn of(resource: &Resource) -> Arc<Type> {
    ALL.get(&(resource.group, resource.kind))
        .cloned()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
