//! `metadata.managedFields` as it is written: one entry for each manager, operation, version and subresource.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::set::Set;

/// How many entries of updates are kept apart; older ones are put together.
const MOST_UPDATERS: usize = 10;
/// Who manages what the oldest updaters did.
const ANCIENT: &str = "ancient-changes";

/// Who manages fields, by what kind of request.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Manager {
    pub(crate) name: String,
    /// By applying; otherwise by updating.
    pub(crate) applied: bool,
    /// Tells updaters apart; an applier stays the same through all versions.
    pub(crate) api_version: String,
    pub(crate) subresource: String,
}

impl Manager {
    pub(crate) fn new(name: &str, applied: bool, api_version: &str, subresource: Option<&str>) -> Self {
        Self {
            name: name.to_owned(),
            applied,
            api_version: if applied { "" } else { api_version }.to_owned(),
            subresource: subresource.unwrap_or_default().to_owned(),
        }
    }

    /// As conflicts name it.
    pub(crate) fn shown(&self) -> String {
        let mut shown = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            shown.push_str(&format!(" with subresource {:?}", self.subresource));
        }
        if !self.applied {
            shown.push_str(&format!(" using {}", self.api_version));
        }
        shown
    }
}

/// What one manager manages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Owned {
    pub(crate) set: Set,
    pub(crate) api_version: String,
    pub(crate) time: Option<String>,
}

/// All managers of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Managed(pub(crate) BTreeMap<Manager, Owned>);

impl Managed {
    /// Reads the list; the error says which entry is wrong.
    pub(crate) fn parse(list: &Value) -> Result<Self, String> {
        let mut all = BTreeMap::new();
        for entry in list.as_array().into_iter().flatten() {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or_default();
            let applied = match text("operation") {
                "Apply" => true,
                "Update" => false,
                other => return Err(format!("operation {other:?} is not Apply or Update")),
            };
            if text("fieldsType") != "FieldsV1" {
                return Err(format!("fieldsType {:?} is not FieldsV1", text("fieldsType")));
            }
            let owned = Owned {
                set: Set::parse(entry.get("fieldsV1").unwrap_or(&json!({})))?,
                api_version: text("apiVersion").to_owned(),
                time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
            };
            let subresource = Some(text("subresource"));
            let manager = Manager::new(text("manager"), applied, text("apiVersion"), subresource);
            all.insert(manager, owned);
        }
        Ok(Self(all))
    }

    /// Of an object; nothing when it cannot be read.
    pub(crate) fn of(object: &Value) -> Self {
        object
            .pointer("/metadata/managedFields")
            .and_then(|list| Self::parse(list).ok())
            .unwrap_or_default()
    }

    /// The list, appliers first, oldest first.
    pub(crate) fn write(&self) -> Value {
        let mut entries: Vec<(&Manager, &Owned)> = self.0.iter().collect();
        entries.sort_by(|(a, x), (b, y)| {
            (!a.applied, &x.time, &a.name, &x.api_version, &a.subresource).cmp(&(
                !b.applied,
                &y.time,
                &b.name,
                &y.api_version,
                &b.subresource,
            ))
        });
        entries
            .into_iter()
            .map(|(manager, owned)| entry(manager, owned))
            .collect()
    }

    /// Puts the oldest updaters of a version together while there are too many.
    pub(super) fn cap(&mut self) {
        let mut updaters: Vec<(Option<String>, Manager)> = self
            .0
            .iter()
            .filter(|(manager, _)| !manager.applied)
            .map(|(manager, owned)| (owned.time.clone(), manager.clone()))
            .collect();
        updaters.sort();
        let mut left = updaters.len();
        let mut firsts: BTreeMap<String, Manager> = BTreeMap::new();
        for (time, manager) in updaters {
            if left <= MOST_UPDATERS {
                return;
            }
            let Some(first) = firsts.get(&manager.api_version).cloned() else {
                firsts.insert(manager.api_version.clone(), manager);
                continue;
            };
            let bucket = Manager::new(ANCIENT, false, &manager.api_version, None);
            if !self.0.contains_key(&bucket) {
                let moved = self.0.remove(&first).unwrap_or_default();
                self.0.insert(bucket.clone(), moved);
            }
            if manager != bucket
                && let Some(merged) = self.0.remove(&manager)
                && let Some(all) = self.0.get_mut(&bucket)
            {
                all.set = all.set.union(&merged.set);
                all.api_version = merged.api_version;
                all.time = time;
                left -= 1;
            }
        }
    }
}

fn entry(manager: &Manager, owned: &Owned) -> Value {
    let mut map = Map::new();
    let operation = if manager.applied { "Apply" } else { "Update" };
    for (field, value) in [
        ("manager", Some(manager.name.clone())),
        ("operation", Some(operation.to_owned())),
        ("apiVersion", Some(owned.api_version.clone())),
        ("time", owned.time.clone()),
        ("fieldsType", Some("FieldsV1".to_owned())),
        ("subresource", Some(manager.subresource.clone())),
    ] {
        if let Some(value) = value.filter(|v| !v.is_empty()) {
            map.insert(field.to_owned(), Value::String(value));
        }
    }
    map.insert("fieldsV1".into(), owned.set.write());
    Value::Object(map)
}

/// Whether two lists differ in more than their times.
pub(crate) fn same_but_for_times(a: &Value, b: &Value) -> bool {
    let timeless = |list: &Value| {
        let mut list = list.clone();
        for entry in list.as_array_mut().into_iter().flatten() {
            crate::object::remove(entry, "time");
        }
        list
    };
    let (Value::Array(mut a), Value::Array(mut b)) = (timeless(a), timeless(b)) else {
        return a.is_null() && b.is_null();
    };
    // Times decide the order, too.
    let by_text = |v: &Value| v.to_string();
    a.sort_by_key(by_text);
    b.sort_by_key(by_text);
    a == b
}
