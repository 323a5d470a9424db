//! Namespaces: the label of their name, the account they come with, and their end.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{edit, list, or_set};
use crate::object::{edit_metadata, has_finalizers, is_deleting, meta, now};
use crate::registry::{self, Core, Resource, of};
use crate::status::Refusal;
use crate::store::{Key, Transaction};

pub(super) fn default(object: &mut Value) {
    let name = meta(object, "name").to_owned();
    edit_metadata(object, |metadata| {
        let mut labels = metadata
            .get("labels")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        if !name.is_empty() {
            labels.insert("kubernetes.io/metadata.name".into(), name.into());
        }
        metadata.insert("labels".into(), Value::Object(labels));
    });
    let deleting = is_deleting(object);
    edit(object, "spec", |spec| {
        if !deleting {
            or_set(spec, "finalizers", json!(["kubernetes"]));
        }
    });
    edit(object, "status", |status| or_set(status, "phase", "Active"));
}

pub(super) fn prepare_update(new: &mut Value, old: &Value, subresource: Option<&str>) {
    // Its finalizers go only through the subresource of that name.
    if subresource != Some("finalize") {
        let finalizers = list(old, "/spec/finalizers").to_vec();
        edit(new, "spec", |spec| {
            if finalizers.is_empty() {
                spec.shift_remove("finalizers");
            } else {
                spec.insert("finalizers".into(), finalizers.into());
            }
        });
    }
}

/// Each namespace has the account `default`.
pub(super) async fn furnish(tx: &mut Transaction<'_>, namespace: &Value) -> Result<(), Refusal> {
    let name = meta(namespace, "name");
    let key = Key {
        resource: of(Core::ServiceAccount).storage,
        namespace: name.to_owned(),
        name: "default".into(),
    };
    if tx.get(&key).await?.is_none() {
        let account = json!({
            "kind": "ServiceAccount",
            "apiVersion": "v1",
            "metadata": {
                "name": "default",
                "namespace": name,
                "uid": uuid::Uuid::new_v4().to_string(),
                "creationTimestamp": now(),
            },
        });
        tx.put(&key, account).await?;
    }
    Ok(())
}

/// The resources that live in namespaces, each store once.
fn contents() -> impl Iterator<Item = &'static Resource> {
    registry::all()
        .iter()
        .filter(|r| r.namespaced && !r.virtual_only && r.core() != Some(Core::EventsEvent))
}

/// Deletes the content of a namespace that is going, then, if nothing held on, the namespace.
pub(super) async fn empty(tx: &mut Transaction<'_>, namespace: &Value) -> Result<bool, Refusal> {
    let name = meta(namespace, "name").to_owned();
    for resource in contents() {
        for mut object in tx.list(resource.storage, Some(&name)).await? {
            let key = Key {
                resource: resource.storage,
                namespace: name.clone(),
                name: meta(&object, "name").to_owned(),
            };
            if !has_finalizers(&object) {
                tx.remove(&key, object).await?;
            } else if !is_deleting(&object) {
                edit_metadata(&mut object, |m| {
                    m.insert("deletionTimestamp".into(), now().into())
                });
                tx.put(&key, object).await?;
            }
        }
    }
    finish(tx, &name).await
}

/// Removes a namespace that is going once it is empty and only waits for that.
pub(super) async fn finish(tx: &mut Transaction<'_>, name: &str) -> Result<bool, Refusal> {
    let key = Key {
        resource: of(Core::Namespace).storage,
        namespace: String::new(),
        name: name.to_owned(),
    };
    let Some(mut namespace) = tx.get(&key).await? else {
        return Ok(false);
    };
    if !is_deleting(&namespace) {
        return Ok(false);
    }
    let remaining = Remaining::count(tx, name).await?;
    if !remaining.resources.is_empty() {
        let before = namespace.get("status").cloned();
        remaining.tell(&mut namespace);
        if namespace.get("status") != before.as_ref() {
            tx.put(&key, namespace).await?;
        }
        return Ok(false);
    }
    edit(&mut namespace, "spec", |spec| {
        let others: Vec<Value> = spec
            .get("finalizers")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter(|f| *f != "kubernetes")
            .cloned()
            .collect();
        match others.is_empty() {
            true => spec.shift_remove("finalizers"),
            false => spec.insert("finalizers".into(), others.into()),
        };
    });
    if has_finalizers(&namespace) {
        tx.put(&key, namespace).await?;
        return Ok(false);
    }
    tx.remove(&key, namespace).await?;
    Ok(true)
}

/// What a namespace that is going still has.
#[derive(Default)]
struct Remaining {
    resources: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
}

impl Remaining {
    async fn count(tx: &mut Transaction<'_>, name: &str) -> Result<Self, Refusal> {
        let mut out = Self::default();
        for resource in contents() {
            for object in tx.list(resource.storage, Some(name)).await? {
                *out.resources.entry(resource.qualified()).or_default() += 1;
                for finalizer in list(&object, "/metadata/finalizers")
                    .iter()
                    .filter_map(Value::as_str)
                {
                    *out.finalizers.entry(finalizer.to_owned()).or_default() += 1;
                }
            }
        }
        Ok(out)
    }

    /// Writes the conditions that say why the namespace is still there.
    fn tell(&self, namespace: &mut Value) {
        let each = |counts: &BTreeMap<String, usize>, word: &str| {
            let all = counts
                .iter()
                .map(|(name, count)| format!("{name} {word} {count} resource instances"));
            all.collect::<Vec<_>>().join(", ")
        };
        let mut conditions = vec![(
            "NamespaceContentRemaining",
            "SomeResourcesRemain",
            format!("Some resources are remaining: {}", each(&self.resources, "has")),
        )];
        if !self.finalizers.is_empty() {
            conditions.push((
                "NamespaceFinalizersRemaining",
                "SomeFinalizersRemain",
                format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    each(&self.finalizers, "in")
                ),
            ));
        }
        let before = list(namespace, "/status/conditions").to_vec();
        let conditions: Vec<Value> = conditions
            .into_iter()
            .map(|(kind, reason, message)| {
                let known = before
                    .iter()
                    .find(|c| c["type"] == kind && c["message"] == message.as_str());
                known.cloned().unwrap_or_else(|| {
                    json!({
                        "type": kind,
                        "status": "True",
                        "lastTransitionTime": now(),
                        "reason": reason,
                        "message": message,
                    })
                })
            })
            .collect();
        edit(namespace, "status", |status| {
            status.insert("conditions".into(), conditions.into());
        });
    }
}
