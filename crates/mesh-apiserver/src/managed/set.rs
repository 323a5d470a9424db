//! Sets of fields, in the form of `FieldsV1`.
//!
//! A field is an element under its parents: `f:name` of an object, `k:{"name":"a"}` of a list whose items have keys,
//! `v:"a"` of a list whose items are their own keys. Elements are kept in that written form.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::types::Type;

/// A set of fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Set(BTreeMap<String, Entry>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Entry {
    /// The element itself is in the set, not only what is below it.
    member: bool,
    below: Set,
}

impl Entry {
    fn is_empty(&self) -> bool {
        !self.member && self.below.is_empty()
    }
}

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A set of some paths of plain fields.
    pub(crate) fn of(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<String> = path.iter().map(|name| format!("f:{name}")).collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a path; the empty one is nothing.
    pub(crate) fn insert(&mut self, path: &[String]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let entry = self.0.entry(first.clone()).or_default();
        match rest {
            [] => entry.member = true,
            rest => entry.below.insert(rest),
        }
    }

    /// Whether an element at the top is a member.
    pub(crate) fn has(&self, element: &str) -> bool {
        self.0.get(element).is_some_and(|e| e.member)
    }

    /// What is below an element.
    pub(crate) fn below(&self, element: &str) -> Option<&Self> {
        self.0.get(element).map(|e| &e.below).filter(|s| !s.is_empty())
    }

    pub(crate) fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for (element, theirs) in &other.0 {
            let entry = out.0.entry(element.clone()).or_default();
            entry.member |= theirs.member;
            entry.below = entry.below.union(&theirs.below);
        }
        out
    }

    /// The members that the other set has, too.
    pub(crate) fn intersection(&self, other: &Self) -> Self {
        self.combine(|element, mine| {
            other.0.get(element).map_or_else(Entry::default, |theirs| Entry {
                member: mine.member && theirs.member,
                below: mine.below.intersection(&theirs.below),
            })
        })
    }

    /// The members that the other set has not.
    pub(crate) fn difference(&self, other: &Self) -> Self {
        self.combine(|element, mine| match other.0.get(element) {
            None => mine.clone(),
            Some(theirs) => Entry {
                member: mine.member && !theirs.member,
                below: mine.below.difference(&theirs.below),
            },
        })
    }

    /// The same; a member of the other set takes all that is below it along.
    pub(crate) fn without(&self, other: &Self) -> Self {
        self.combine(|element, mine| match other.0.get(element) {
            None => mine.clone(),
            Some(theirs) if theirs.member => Entry::default(),
            Some(theirs) => Entry {
                member: mine.member,
                below: mine.below.without(&theirs.below),
            },
        })
    }

    fn combine(&self, each: impl Fn(&str, &Entry) -> Entry) -> Self {
        Self(
            self.0
                .iter()
                .map(|(element, mine)| (element.clone(), each(element, mine)))
                .filter(|(_, entry)| !entry.is_empty())
                .collect(),
        )
    }

    /// Fields that a struct declares become members when anything below them is one.
    pub(crate) fn with_named_fields(&self, kind: &Type) -> Self {
        let named = |element: &str| match (kind, element.strip_prefix("f:")) {
            (Type::Struct(s), Some(name)) => s.fields.contains_key(name),
            _ => false,
        };
        Self(
            self.0
                .iter()
                .map(|(element, entry)| {
                    let inner = match element.strip_prefix("f:") {
                        Some(name) => kind.field(name),
                        None => kind.items(),
                    };
                    let below = entry.below.with_named_fields(inner);
                    let member = entry.member || (!below.is_empty() && named(element));
                    (element.clone(), Entry { member, below })
                })
                .collect(),
        )
    }

    /// Each member's path.
    pub(crate) fn paths(&self) -> Vec<Vec<String>> {
        let mut all = Vec::new();
        self.walk(&mut Vec::new(), &mut all);
        all
    }

    fn walk(&self, path: &mut Vec<String>, all: &mut Vec<Vec<String>>) {
        // What is said of a level comes before what is below it.
        for (element, _) in self.0.iter().filter(|(_, entry)| entry.member) {
            path.push(element.clone());
            all.push(path.clone());
            path.pop();
        }
        for (element, entry) in &self.0 {
            path.push(element.clone());
            entry.below.walk(path, all);
            path.pop();
        }
    }

    /// Reads `fieldsV1`; the error says what is no field.
    pub(crate) fn parse(value: &Value) -> Result<Self, String> {
        let map = value.as_object().ok_or("fieldsV1 is no object")?;
        let mut set = Self::default();
        for (element, inner) in map.iter().filter(|(element, _)| *element != ".") {
            let element = canonical(element).ok_or_else(|| format!("{element:?} is no field"))?;
            let fields = inner
                .as_object()
                .ok_or_else(|| format!("{element} is no object"))?;
            let entry = Entry {
                member: fields.is_empty() || fields.contains_key("."),
                below: Self::parse(inner)?,
            };
            set.0.insert(element, entry);
        }
        Ok(set)
    }

    /// As `fieldsV1`.
    pub(crate) fn write(&self) -> Value {
        let fields = self.0.iter().map(|(element, entry)| {
            let mut inner = Map::new();
            if entry.member && !entry.below.is_empty() {
                inner.insert(".".into(), Value::Object(Map::new()));
            }
            if let Value::Object(below) = entry.below.write() {
                inner.extend(below);
            }
            (element.clone(), Value::Object(inner))
        });
        Value::Object(fields.collect())
    }
}

/// The one spelling of an element.
fn canonical(element: &str) -> Option<String> {
    let (prefix, rest) = element.split_once(':')?;
    match prefix {
        "f" => Some(element.to_owned()),
        "i" => rest.parse::<i64>().ok().map(|at| format!("i:{at}")),
        "v" => Some(format!("v:{}", serde_json::from_str::<Value>(rest).ok()?)),
        "k" => match serde_json::from_str(rest).ok()? {
            Value::Object(map) => Some(key(map.into_iter())),
            _ => None,
        },
        _ => None,
    }
}

/// The element of an item with these keys.
pub(super) fn key(keys: impl Iterator<Item = (String, Value)>) -> String {
    let sorted: BTreeMap<String, Value> = keys.collect();
    let map: Map<String, Value> = sorted.into_iter().collect();
    format!("k:{}", Value::Object(map))
}

/// A path as messages show it: `.spec.ports[port=80,protocol="TCP"].name`.
pub(crate) fn shown(path: &[String]) -> String {
    path.iter().map(|element| shown_element(element)).collect()
}

/// One element of it.
pub(super) fn shown_element(element: &str) -> String {
    match element.split_once(':') {
        Some(("f", name)) => format!(".{name}"),
        Some(("v", value)) => format!("[={value}]"),
        Some(("k", keys)) => {
            let keys: BTreeMap<String, Value> = serde_json::from_str(keys).unwrap_or_default();
            let each: Vec<String> = keys.iter().map(|(k, v)| format!("{k}={v}")).collect();
            format!("[{}]", each.join(","))
        }
        Some((_, other)) => format!("[{other}]"),
        None => element.to_owned(),
    }
}
