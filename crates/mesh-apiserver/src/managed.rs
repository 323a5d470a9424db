//! `metadata.managedFields`: which manager last set which field; and server-side apply, which lives on it.

mod entries;
mod set;
#[cfg(test)]
mod tests;
mod validate;
mod walk;

use serde_json::Value;

use self::entries::Owned;
pub(crate) use self::entries::{Managed, Manager, same_but_for_times};
pub(crate) use self::set::Set;
use self::set::shown;
use self::walk::{compare, fields, merge, take_away};
use crate::object::{meta, now};
use crate::registry::Resource;
use crate::status::Refusal;
use crate::types::Type;

/// The annotation in which kubectl keeps what it applied from the client's side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What a write is about: the type of the objects, who writes, and which fields its endpoint leaves alone.
pub(crate) struct Writer<'a> {
    pub(crate) kind: &'a Type,
    pub(crate) manager: Manager,
    pub(crate) api_version: String,
    pub(crate) ignored: Set,
}

/// Fields that a resource's endpoint does not write.
pub(crate) fn ignored(resource: &Resource, subresource: Option<&str>) -> Set {
    match subresource {
        Some("status") if resource.is_istio() => Set::of(&[&["metadata"], &["spec"]]),
        Some("status") => Set::of(&[&["spec"]]),
        _ if resource.has_status => Set::of(&[&["status"]]),
        _ => Set::default(),
    }
}

/// Fields of which nobody is the manager.
fn unmanaged() -> Set {
    let metadata = [
        "name",
        "namespace",
        "creationTimestamp",
        "selfLink",
        "uid",
        "clusterName",
        "generation",
        "managedFields",
        "resourceVersion",
    ];
    let mut set = Set::of(&[&["apiVersion"], &["kind"], &["metadata"]]);
    for field in metadata {
        set = set.union(&Set::of(&[&["metadata", field]]));
    }
    set
}

/// The managers that a write starts from: those of the new object if it brings some, else those of the old one.
pub(crate) fn known(old: &Value, new: &Value, subresource: bool) -> Managed {
    let given = new.pointer("/metadata/managedFields");
    if !subresource && let Some(list) = given {
        // One empty entry asks to forget all managers.
        if list
            .as_array()
            .is_some_and(|l| l.len() == 1 && l.iter().all(is_blank))
        {
            return Managed::default();
        }
        if let Ok(given) = Managed::parse(list)
            && !given.0.is_empty()
        {
            return given;
        }
    }
    Managed::of(old)
}

fn is_blank(entry: &Value) -> bool {
    entry.as_object().is_some_and(serde_json::Map::is_empty)
}

/// An object without its list of managers.
fn plain(object: &Value) -> Value {
    let mut object = object.clone();
    crate::object::edit_metadata(&mut object, |m| m.shift_remove("managedFields"));
    object
}

/// Files what an update changed under its manager.
pub(crate) fn update(writer: &Writer<'_>, old: &Value, new: &Value, mut managed: Managed) -> Managed {
    let changes = compare(writer.kind, &plain(old), &plain(new)).without(&writer.ignored);
    let set = changes.set();
    disown(&mut managed, &set, None);
    disown(&mut managed, &changes.removed, None);
    let mine = set.difference(&unmanaged());
    if !mine.is_empty() {
        let owned = managed.0.entry(writer.manager.clone()).or_default();
        owned.set = owned.set.union(&mine);
        owned.api_version.clone_from(&writer.api_version);
        owned.time = Some(now());
    }
    managed.cap();
    managed
}

/// Takes fields from all managers but one; those that have none left go.
fn disown(managed: &mut Managed, set: &Set, keep: Option<&Manager>) {
    managed.0.retain(|manager, owned| {
        if keep != Some(manager) {
            owned.set = owned.set.difference(set);
        }
        !owned.set.is_empty()
    });
}

/// What applying made.
pub(crate) struct Applied {
    /// The object; the live one when nothing changed.
    pub(crate) object: Value,
    pub(crate) managed: Managed,
}

/// Why a configuration is not applied.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotApplied {
    /// It is no object of the type.
    Untyped(String),
    /// Other managers hold fields that it wants otherwise: manager and path.
    Conflicts(Vec<(Manager, Vec<String>)>),
}

impl NotApplied {
    /// As a refusal about the object that the configuration names.
    pub(crate) fn refusal(self, config: &Value) -> Refusal {
        match self {
            Self::Untyped(why) => Refusal::unreasoned(format!(
                "failed to create typed patch object ({}/{}; {}): {why}",
                meta(config, "namespace"),
                meta(config, "name"),
                type_of(config)
            )),
            Self::Conflicts(conflicts) => {
                let causes = conflicts
                    .iter()
                    .map(|(manager, path)| (format!("conflict with {}", manager.shown()), shown(path)));
                Refusal::apply_conflict(&conflict_message(&conflicts), causes)
            }
        }
    }
}

/// Group, version and kind of an object in one text.
pub(crate) fn type_of(object: &Value) -> String {
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or_default();
    let slash = if text("apiVersion").contains('/') { "" } else { "/" };
    format!("{slash}{}, Kind={}", text("apiVersion"), text("kind"))
}

fn conflict_message(conflicts: &[(Manager, Vec<String>)]) -> String {
    if let [(manager, path)] = conflicts {
        return format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            manager.shown(),
            shown(path)
        );
    }
    let mut message = format!("Apply failed with {} conflicts: ", conflicts.len());
    let mut last: Option<&Manager> = None;
    for (manager, path) in conflicts {
        if last != Some(manager) {
            if last.is_some() {
                message.push('\n');
            }
            message.push_str(&format!("conflicts with {}:", manager.shown()));
            last = Some(manager);
        }
        message.push_str(&format!("\n- {}", shown(path)));
    }
    message
}

/// Applies a configuration to an object.
pub(crate) fn apply(
    writer: &Writer<'_>,
    live: &Value,
    config: &Value,
    force: bool,
) -> Result<Applied, NotApplied> {
    validate::check(writer.kind, config).map_err(NotApplied::Untyped)?;
    let mut applied = match try_apply(writer, live, config, force) {
        Err(NotApplied::Conflicts(conflicts)) if writer.manager.name == "kubectl" => {
            take_over(writer, live, config, conflicts)?
        }
        other => other?,
    };
    if writer.manager.name == "kubectl" && applied.object.pointer(&annotation()).is_some() {
        refresh_annotation(&mut applied.object, config);
    }
    Ok(applied)
}

fn try_apply(writer: &Writer<'_>, live: &Value, config: &Value, force: bool) -> Result<Applied, NotApplied> {
    let mut managed = Managed::of(live);
    let live = plain(live);
    let before = managed.0.get(&writer.manager).map(|owned| owned.set.clone());
    let set = fields(writer.kind, config).without(&writer.ignored);
    let time = managed
        .0
        .get(&writer.manager)
        .and_then(|owned| owned.time.clone());
    managed.0.insert(
        writer.manager.clone(),
        Owned {
            set,
            api_version: writer.api_version.clone(),
            time,
        },
    );
    let merged = merge(writer.kind, &live, config);
    let object = match before {
        Some(before) if !before.is_empty() => prune(writer.kind, &merged, &managed, &before),
        _ => merged,
    };
    let changes = compare(writer.kind, &live, &object).without(&writer.ignored);
    let wanted = changes.set();
    let conflicts: Vec<(Manager, Vec<String>)> = managed
        .0
        .iter()
        .filter(|(manager, _)| **manager != writer.manager)
        .flat_map(|(manager, owned)| {
            let paths = owned.set.intersection(&wanted).paths();
            paths.into_iter().map(|path| (manager.clone(), path))
        })
        .collect();
    if !force && !conflicts.is_empty() {
        return Err(NotApplied::Conflicts(conflicts));
    }
    disown(&mut managed, &wanted, Some(&writer.manager));
    disown(&mut managed, &changes.removed, Some(&writer.manager));
    if let Some(owned) = managed.0.get_mut(&writer.manager) {
        owned.set = owned.set.difference(&unmanaged());
        if object != live {
            owned.time = Some(now());
        }
        owned.time.get_or_insert_with(now);
    }
    managed.0.retain(|_, owned| !owned.set.is_empty());
    Ok(Applied { object, managed })
}

/// Takes away what the manager applied before and no longer does, unless another holds it.
fn prune(kind: &Type, merged: &Value, managed: &Managed, before: &Set) -> Value {
    let before = before.with_named_fields(kind);
    let pruned = take_away(kind, merged, &before);
    let held = managed
        .0
        .values()
        .fold(Set::default(), |all, owned| all.union(&owned.set))
        .with_named_fields(kind);
    let all = fields(kind, merged).with_named_fields(kind);
    let left = fields(kind, &pruned).with_named_fields(kind);
    let pruned = take_away(kind, merged, &all.difference(&left.union(&held)));
    // What nobody owned, or who updates own, stays.
    let left = fields(kind, &pruned).with_named_fields(kind);
    take_away(kind, merged, &all.difference(&left).intersection(&before))
}

fn annotation() -> String {
    format!("/metadata/annotations/{}", LAST_APPLIED.replace('/', "~1"))
}

/// kubectl may take over what it applied from the client's side, as far as that is still so.
fn take_over(
    writer: &Writer<'_>,
    live: &Value,
    config: &Value,
    conflicts: Vec<(Manager, Vec<String>)>,
) -> Result<Applied, NotApplied> {
    let last: Option<Value> = live
        .pointer(&annotation())
        .and_then(Value::as_str)
        .and_then(|text| serde_json::from_str(text).ok())
        .filter(|last: &Value| last.get("apiVersion") == config.get("apiVersion"));
    let Some(last) = last else {
        return Err(NotApplied::Conflicts(conflicts));
    };
    let changes = compare(writer.kind, &last, &plain(live));
    let allowed = fields(writer.kind, &last)
        .difference(&changes.set())
        .difference(&changes.removed);
    let left: Vec<_> = conflicts
        .into_iter()
        .filter(|(_, path)| {
            let mut one = Set::default();
            one.insert(path);
            allowed.intersection(&one).is_empty()
        })
        .collect();
    if !left.is_empty() {
        return Err(NotApplied::Conflicts(left));
    }
    try_apply(writer, live, config, true)
}

/// Keeps kubectl's own record in step, so that applying from the client's side goes on from here.
fn refresh_annotation(object: &mut Value, config: &Value) {
    let mut last = plain(config);
    if let Some(annotations) = last
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(LAST_APPLIED);
    }
    let text = format!("{last}\n");
    if let Some(slot) = object.pointer_mut(&annotation()) {
        *slot = Value::String(text);
    }
}
