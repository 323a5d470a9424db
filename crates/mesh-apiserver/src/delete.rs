//! delete and deletecollection: preconditions, finalizers, grace.

use http::Response;
use serde_json::{Map, Value, json};

use crate::handle::Call;
use crate::object::{edit_metadata, has_finalizers, is_deleting, meta};
use crate::read::{key, many, one, selectors};
use crate::registry::{Core, Resource};
use crate::reply::{Body, respond};
use crate::status::{Cause, Refusal, deleted};
use crate::store::{Key, Transaction};
use crate::{decode, dependents, kind};

/// The options of a delete: from the body, then from the query.
#[derive(Debug, Default)]
struct DeleteOptions {
    uid: Option<String>,
    resource_version: Option<String>,
    grace_period: Option<i64>,
    propagation: Option<String>,
    orphan: Option<bool>,
    dry_run: bool,
}

impl DeleteOptions {
    fn read(call: &Call) -> Result<Self, Refusal> {
        let mut options = Self {
            grace_period: call.params.grace_period,
            propagation: call.params.propagation.clone(),
            dry_run: call.params.dry_run,
            ..Self::default()
        };
        if !call.body.is_empty() {
            let body = decode::decode(&call.content_type, &call.body)?.value;
            let text = |p: &str| body.pointer(p).and_then(Value::as_str).map(str::to_owned);
            options.uid = text("/preconditions/uid");
            options.resource_version = text("/preconditions/resourceVersion");
            options.grace_period = body
                .get("gracePeriodSeconds")
                .and_then(Value::as_i64)
                .or(options.grace_period);
            options.orphan = body.get("orphanDependents").and_then(Value::as_bool);
            options.propagation = text("/propagationPolicy").or(options.propagation);
            let dry = body.get("dryRun").and_then(Value::as_array);
            for value in dry.into_iter().flatten() {
                match value.as_str() {
                    Some("All") => options.dry_run = true,
                    _ => {
                        let cause = Cause::unsupported("dryRun", &json!([value]), &["All"]);
                        return Err(Refusal::invalid_kind(
                            "meta.k8s.io",
                            "DeleteOptions",
                            "",
                            &[cause],
                        ));
                    }
                }
            }
        }
        if let Some(policy) = options.propagation.as_deref()
            && !matches!(policy, "Foreground" | "Background" | "Orphan")
        {
            let cause = Cause::unsupported(
                "propagationPolicy",
                &json!(policy),
                &["Foreground", "Background", "Orphan", "nil"],
            );
            return Err(Refusal::invalid_kind(
                "meta.k8s.io",
                "DeleteOptions",
                "",
                &[cause],
            ));
        }
        Ok(options)
    }
}

/// Answers `delete`.
pub(crate) async fn delete(call: Call) -> Result<Response<Body>, Refusal> {
    let options = DeleteOptions::read(&call)?;
    let resource = call.target.resource;
    let key = key(&call.target);
    let mut tx = call.begin("delete").await?;
    let Some(object) = tx.get(&key).await? else {
        return Err(Refusal::not_found(resource, &key.name));
    };
    let (object, gone) = delete_one(&mut tx, &call, &key, object, &options).await?;
    match options.dry_run {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    let uid = meta(&object, "uid").to_owned();
    if gone && !kind::returns_deleted(resource) {
        return Ok(respond(200, &deleted(resource, &key.name, &uid), call.accept));
    }
    Ok(one(&call, 200, object))
}

/// Deletes, or marks for deletion while finalizers are there; true when it is gone.
async fn delete_one(
    tx: &mut Transaction<'_>,
    call: &Call,
    key: &Key,
    mut object: Value,
    options: &DeleteOptions,
) -> Result<(Value, bool), Refusal> {
    let resource = call.target.resource;
    let wrong = |field: &str, wanted: &Option<String>| {
        wanted
            .as_ref()
            .filter(|w| **w != meta(&object, field))
            .map(|w| (w.clone(), meta(&object, field).to_owned()))
    };
    if let Some((wanted, found)) = wrong("uid", &options.uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({found}). The object might have been deleted and then recreated"
        );
        return Err(Refusal::precondition(resource, &key.name, &why));
    }
    if let Some((wanted, found)) = wrong("resourceVersion", &options.resource_version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({found}). The object might have been modified"
        );
        return Err(Refusal::precondition(resource, &key.name, &why));
    }
    kind::check_delete(&object, resource)?;
    let grace = kind::grace_period(&object, resource, options.grace_period);
    if has_finalizers(&object) || grace > 0 {
        if !is_deleting(&object) {
            mark_deleting(&mut object, resource, grace);
            object = tx.put(key, object).await?;
        }
        let gone = kind::after_delete(tx, &object, resource).await?;
        return Ok((object, gone && resource.core() != Some(Core::Namespace)));
    }
    if resource.core() == Some(Core::Pod) {
        // A pod that goes at once goes gracefully, too, with no time to do it in.
        mark_deleting(&mut object, resource, 0);
    }
    let object = tx.remove(key, object).await?;
    // Dependents go in the same transaction, so before and after the owner are the same to a client.
    let fate = dependents::fate(options.propagation.as_deref(), options.orphan);
    dependents::settle(tx, &object, fate).await?;
    Ok((object, true))
}

fn mark_deleting(object: &mut Value, resource: &Resource, grace: i64) {
    let first = !is_deleting(object);
    edit_metadata(object, |m| {
        if first {
            m.insert("deletionTimestamp".into(), later(grace).into());
            if let Some(generation) = m.get("generation").and_then(Value::as_i64) {
                m.insert("generation".into(), (generation + 1).into());
            }
        }
        if resource.core() != Some(Core::Namespace) {
            m.insert("deletionGracePeriodSeconds".into(), grace.into());
        }
    });
    kind::mark_deleting(object, resource);
}

fn later(seconds: i64) -> String {
    let at = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Answers `deletecollection`: the answer is the list of what was deleted.
pub(crate) async fn delete_collection(call: Call) -> Result<Response<Body>, Refusal> {
    let options = DeleteOptions::read(&call)?;
    let (labels, fields) = selectors(&call)?;
    let resource = call.target.resource;
    let namespace = (!call.target.namespace.is_empty()).then_some(call.target.namespace.as_str());
    let mut tx = call.begin("deletecollection").await?;
    let mut items = Vec::new();
    for object in tx.list(resource.storage, namespace).await? {
        if !labels.matches(&object) || !fields.matches(&object) {
            continue;
        }
        let key = Key {
            resource: resource.storage,
            namespace: meta(&object, "namespace").to_owned(),
            name: meta(&object, "name").to_owned(),
        };
        // The answer shows what was asked for as it was before.
        items.push(object.clone());
        delete_one(&mut tx, &call, &key, object, &options).await?;
    }
    match options.dry_run {
        true => tx.rollback().await?,
        false => tx.commit().await?,
    }
    let mut metadata = Map::new();
    if resource.is_istio() {
        metadata.insert("continue".into(), "".into());
    }
    metadata.insert(
        "resourceVersion".into(),
        call.app.store.revision().to_string().into(),
    );
    Ok(many(&call, items, metadata))
}
