//! Types of Kubernetes' own kinds.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use serde_json::Value;

use super::{Field, Identity, List, Merge, Scalar, Struct, Type};
use crate::protobuf::{self, Shape};
use crate::registry::Resource;

/// What is said of one field (or, under `.`, of the struct): pairs of a word and its arguments.
type Facts = HashMap<&'static str, Vec<(&'static str, &'static str)>>;

static FACTS: LazyLock<HashMap<&'static str, Facts>> = LazyLock::new(|| {
    let text: &'static str = include_str!("facts.txt");
    text.lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(message, items)| {
            let mut facts = Facts::new();
            for item in items.split("; ") {
                let (field, rest) = item.split_once(' ').unwrap_or((item, ""));
                let fact = rest.split_once(' ').unwrap_or((rest, ""));
                facts.entry(field).or_default().push(fact);
            }
            (message, facts)
        })
        .collect()
});

/// Messages that were made already.
static MADE: LazyLock<Mutex<HashMap<&'static str, Arc<Type>>>> = LazyLock::new(Mutex::default);

/// The type of a kind's objects.
pub(super) fn object(resource: &Resource) -> Arc<Type> {
    let api_version = resource.api_version(resource.storage_version);
    let package = protobuf::package(&api_version).unwrap_or_default();
    let name = format!("{package}.{}", resource.kind);
    let mut made = match protobuf::name(&name).map(message).as_deref() {
        Some(Type::Struct(found)) => found.clone(),
        _ => return Arc::default(),
    };
    for field in ["apiVersion", "kind"] {
        let text = Field {
            kind: Arc::new(Type::Scalar(Scalar::Text)),
            default: None,
            always: false,
        };
        made.fields.insert(field, text);
    }
    Arc::new(Type::Struct(made))
}

/// The metadata of every object.
pub(crate) fn object_meta() -> Arc<Type> {
    message("meta.ObjectMeta")
}

/// The type of a message of the table.
pub(crate) fn message(name: &'static str) -> Arc<Type> {
    let known = |made: &HashMap<&'static str, Arc<Type>>| made.get(name).cloned();
    // A poisoned lock only means that another thread ended while it held it; the map is whole.
    let found = match MADE.lock() {
        Ok(made) => known(&made),
        Err(poisoned) => known(&poisoned.into_inner()),
    };
    if let Some(found) = found {
        return found;
    }
    let mut made = Struct {
        name: Some(name),
        ..Struct::default()
    };
    fill(&mut made, name);
    let facts = FACTS.get(name);
    if let Some(facts) = facts {
        made.atomic = facts.contains_key(".");
        made.required = facts
            .iter()
            .filter(|(_, all)| all.iter().any(|(word, _)| *word == "required"))
            .map(|(field, _)| *field)
            .collect();
        made.required.sort_unstable();
    }
    let made = Arc::new(Type::Struct(made));
    if let Ok(mut all) = MADE.lock() {
        all.insert(name, Arc::clone(&made));
    }
    made
}

/// Adds the fields of a message; inlined ones bring theirs along.
fn fill(out: &mut Struct, name: &'static str) {
    let owner = out.name.unwrap_or(name);
    for field in protobuf::fields(name) {
        if field.shape == Shape::Inline {
            fill(out, field.kind);
            continue;
        }
        let said = Said::new(owner, field.name);
        let single = single(field.kind, said.has("int64"));
        let kind = match field.shape {
            Shape::List => Arc::new(Type::List(said.list(single))),
            Shape::Map => Arc::new(Type::Map {
                values: single,
                atomic: said.has("atomic"),
            }),
            _ => single,
        };
        let always = match (field.shape, &*kind) {
            (Shape::One, Type::Struct(_)) => true,
            (Shape::List, _) => said.has("required"),
            _ => false,
        };
        let default = said
            .get("default")
            .and_then(|text| serde_json::from_str(text).ok());
        out.fields.insert(
            field.name,
            Field {
                kind,
                default,
                always,
            },
        );
    }
}

/// The facts of one field.
struct Said(Option<&'static [(&'static str, &'static str)]>);

impl Said {
    fn new(message: &str, field: &str) -> Self {
        Self(FACTS.get(message).and_then(|f| f.get(field)).map(Vec::as_slice))
    }

    fn get(&self, word: &str) -> Option<&'static str> {
        let all = self.0?;
        all.iter().find(|(w, _)| *w == word).map(|(_, rest)| *rest)
    }

    fn has(&self, word: &str) -> bool {
        self.get(word).is_some()
    }

    fn list(&self, items: Arc<Type>) -> List {
        let identity = match self.get("map") {
            Some(keys) => Identity::Keys(keys.split(',').collect()),
            None if self.has("set") => Identity::Set,
            None => Identity::Atomic,
        };
        let patch = match self.get("merge") {
            None => Merge::Replace,
            Some("-") => Merge::Values,
            Some(text) => {
                let key = text.split(' ').next().unwrap_or_default();
                Merge::Items {
                    key,
                    retain: text.ends_with(" retain"),
                }
            }
        };
        List {
            items,
            identity,
            patch,
        }
    }
}

fn single(kind: &'static str, long: bool) -> Arc<Type> {
    let scalar = match kind {
        "s" => Scalar::Text,
        "b" => Scalar::Boolean,
        "d" => Scalar::Number,
        "y" => Scalar::Bytes,
        "i" if long => Scalar::Int64,
        "i" => Scalar::Int32,
        "meta.Time" => Scalar::Time,
        "meta.MicroTime" => Scalar::MicroTime,
        "intstr.IntOrString" => Scalar::IntOrString,
        "resource.Quantity" => Scalar::Quantity,
        "meta.FieldsV1" => return Arc::default(),
        "authentication.ExtraValue" | "authorization.ExtraValue" => {
            return Arc::new(Type::List(List {
                items: Arc::new(Type::Scalar(Scalar::Text)),
                identity: Identity::Atomic,
                patch: Merge::Replace,
            }));
        }
        other => return message(other),
    };
    Arc::new(Type::Scalar(scalar))
}

/// Used where a default decides what tells two items apart.
impl Field {
    /// The value that stands for an absent one.
    pub(crate) fn default_key(&self) -> Option<&Value> {
        self.default.as_ref()
    }
}
