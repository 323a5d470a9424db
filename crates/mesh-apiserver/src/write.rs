//! create, update, patch, delete: decode, prepare, check, store, in one transaction.

use http::Response;
use serde_json::{Value, json};

use crate::dependents::Fate;
use crate::handle::Call;
use crate::managed::Managed;
use crate::object::{
    check_metadata, edit_metadata, has_finalizers, is_deleting, meta, prepare_create, prepare_update, same,
};
use crate::patch::{Kind, Patch};
use crate::read::{key, one};
use crate::registry::Core;
use crate::reply::{Body, versioned, warn};
use crate::request::FieldValidation;
use crate::status::{Cause, Refusal};
use crate::store::{Key, Transaction};
use crate::{admission, apply, decode, dependents, fields, kind, managed, types};

/// The object of a body in stored form, with the warnings that its reading gave.
pub(crate) struct Taken {
    pub(crate) object: Value,
    pub(crate) warnings: Vec<String>,
}

/// Checks type and fields of a decoded object, and brings it into the stored version.
pub(crate) fn take(call: &Call, decoded: decode::Decoded, patched: bool) -> Result<Taken, Refusal> {
    let target = &call.target;
    let resource = target.resource;
    let decode::Decoded {
        mut value,
        mut complaints,
    } = decoded;
    fields::check_type(&mut value, resource, &target.version)?;
    let whole = (patched && call.params.field_validation == FieldValidation::Strict).then(|| value.clone());
    let read = fields::read(value, resource, &target.version)?;
    complaints.extend(read.complaints);
    let mut warnings = Vec::new();
    match call.params.field_validation {
        FieldValidation::Strict if !complaints.is_empty() => {
            return Err(match whole {
                Some(whole) => fields::strict_patch(&complaints, &whole),
                None => fields::strict(&complaints, resource, &target.version),
            });
        }
        FieldValidation::Warn => warnings.append(&mut complaints),
        _ => {}
    }
    let object = kind::convert_in(read.value, resource);
    Ok(Taken { object, warnings })
}

/// Whether the object belongs at the path.
pub(crate) fn check_place(call: &Call, object: &mut Value) -> Result<(), Refusal> {
    let target = &call.target;
    let namespace = meta(object, "namespace").to_owned();
    if target.resource.namespaced && !namespace.is_empty() && namespace != target.namespace {
        return Err(Refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !target.resource.namespaced && !namespace.is_empty() {
        crate::object::edit_metadata(object, |m| m.shift_remove("namespace"));
    }
    if let Some(wanted) = &target.name {
        let name = meta(object, "name").to_owned();
        if name.is_empty() {
            return Err(Refusal::bad_request(
                "the name of the object (, which was empty) must be set".to_owned(),
            ));
        }
        if name != *wanted {
            return Err(Refusal::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({wanted})"
            )));
        }
    }
    Ok(())
}

/// Answers `create`.
pub(crate) async fn create(call: Call) -> Result<Response<Body>, Refusal> {
    apply::check_manager(&call.params, "CreateOptions")?;
    let decoded = decode::decode(&call.content_type, &call.body)?;
    let Taken { mut object, warnings } = take(&call, decoded, false)?;
    check_place(&call, &mut object)?;
    let object = insert(&call, "create", object, None).await?;
    Ok(written(&call, 201, object, warnings))
}

/// A stored object with all warnings: of its reading, and those that a webhook would give.
pub(crate) fn written(call: &Call, status: u16, object: Value, mut warnings: Vec<String>) -> Response<Body> {
    if call.app.admission && call.target.subresource.is_none() {
        warnings.extend(admission::warnings(&object, call.target.resource));
    }
    let mut response = one(call, status, object);
    warn(&mut response, &warnings);
    response
}

/// Stores a new object; who manages its fields is known when it was applied.
pub(crate) async fn insert(
    call: &Call,
    verb: &'static str,
    mut object: Value,
    applied: Option<Managed>,
) -> Result<Value, Refusal> {
    let resource = call.target.resource;
    let brought = managed::known(&Value::Null, &object, false);
    prepare_create(&mut object, resource, &call.target.namespace)?;
    let mut tx = call.begin(verb).await?;
    if resource.namespaced {
        check_namespace(&mut tx, call, meta(&object, "name")).await?;
    }
    kind::default(&mut object, resource);
    let managed = applied.unwrap_or_else(|| {
        let kind = types::of(resource);
        let mut writer = apply::writer(call, &kind, false);
        writer.ignored = writer.ignored.union(&kind::own_fields(resource));
        managed::update(&writer, &kind.blank(), &object, brought)
    });
    kind::admit_create(&mut tx, &mut object, resource).await?;
    let name = meta(&object, "name").to_owned();
    check_grant(call, &object, None).await?;
    check(call, &object, None)?;
    let key = Key {
        name: name.clone(),
        ..key(&call.target)
    };
    set_managed(&mut object, &managed);
    if tx.get(&key).await?.is_some() {
        return Err(Refusal::already_exists(resource, &name));
    }
    if call.params.dry_run {
        tx.rollback().await?;
        return Ok(object);
    }
    let object = tx.put(&key, object).await?;
    kind::after_create(&mut tx, &object, resource).await?;
    tx.commit().await?;
    Ok(object)
}

fn set_managed(object: &mut Value, managed: &Managed) {
    let list = managed.write();
    edit_metadata(object, |metadata| {
        metadata.shift_remove("managedFields");
        if list.as_array().is_some_and(|l| !l.is_empty()) {
            metadata.insert("managedFields".into(), list);
        }
    });
}

async fn check_namespace(tx: &mut Transaction<'_>, call: &Call, name: &str) -> Result<(), Refusal> {
    let namespaces = crate::registry::of(Core::Namespace);
    let namespace = &call.target.namespace;
    let key = Key {
        resource: namespaces.storage,
        namespace: String::new(),
        name: namespace.clone(),
    };
    match tx.get(&key).await? {
        None => Err(Refusal::not_found(namespaces, namespace)),
        Some(found) if is_deleting(&found) => {
            let why = format!(
                "unable to create new content in namespace {namespace} because it is being terminated"
            );
            let mut refusal = Refusal::forbidden(call.target.resource, name, &why);
            if let Some(details) = refusal.details.as_mut().and_then(Value::as_object_mut) {
                details.insert(
                    "causes".into(),
                    json!([{"reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"), "field": "metadata.namespace"}]),
                );
            }
            Err(refusal)
        }
        Some(_) => Ok(()),
    }
}

/// Roles and bindings give only rights that their author has.
async fn check_grant(call: &Call, object: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let resource = call.target.resource;
    let unchanged = |field: &str| old.is_some_and(|o| o.get(field) == object.get(field));
    if unchanged("rules") && unchanged("roleRef") && unchanged("subjects") {
        return Ok(());
    }
    let rules = call.app.authorizer.rules(&call.app.store).await?;
    match crate::authorize::check_grant(&rules, &call.user, resource, object) {
        Some(why) => Err(Refusal::forbidden(resource, meta(object, "name"), &why)),
        None => Ok(()),
    }
}

/// Everything that makes an object invalid, then what a webhook would say.
fn check(call: &Call, new: &Value, old: Option<&Value>) -> Result<(), Refusal> {
    let resource = call.target.resource;
    let name = meta(new, "name");
    let mut causes = check_metadata(new, resource);
    causes.extend(fields::violations(new, resource));
    causes.extend(kind::validate(new, old, resource));
    if let Some(old) = old {
        causes.extend(crate::object::check_update(new, old));
    }
    if resource.is_istio() && causes.iter().any(Cause::blocks_rules) {
        causes.push(Cause::unchecked_rules());
    }
    if !causes.is_empty() {
        return Err(Refusal::invalid(resource, name, &causes));
    }
    if call.app.admission && call.target.subresource.is_none() {
        admission::review(new, resource)?;
    }
    Ok(())
}

/// Answers `update`.
pub(crate) async fn update(call: Call) -> Result<Response<Body>, Refusal> {
    apply::check_manager(&call.params, "UpdateOptions")?;
    let decoded = decode::decode(&call.content_type, &call.body)?;
    let Taken { mut object, warnings } = take(&call, decoded, false)?;
    check_place(&call, &mut object)?;
    let key = key(&call.target);
    let mut tx = call.begin("update").await?;
    let Some(old) = tx.get(&key).await? else {
        drop(tx);
        if call.target.subresource.is_some() || !kind::creates_on_update(call.target.resource) {
            return Err(Refusal::not_found(call.target.resource, &key.name));
        }
        apply::check_may_create(&call).await?;
        edit_metadata(&mut object, |m| m.shift_remove("resourceVersion"));
        let object = insert(&call, "update", object, None).await?;
        return Ok(written(&call, 201, object, warnings));
    };
    let object = store_update(&call, tx, &key, old, object, None).await?;
    Ok(written(&call, 200, object, warnings))
}

/// Answers `patch`.
pub(crate) async fn patch(call: Call) -> Result<Response<Body>, Refusal> {
    if crate::patch::media(&call.content_type) == apply::MEDIA {
        return apply::apply(call).await;
    }
    let kind = Kind::of(&call.content_type, call.target.resource)?;
    apply::check_options(&call.params, false)?;
    let patch = Patch::parse(kind, &call.body)?;
    let key = key(&call.target);
    let resource = call.target.resource;
    let mut tx = call.begin("patch").await?;
    let Some(old) = tx.get(&key).await? else {
        return Err(Refusal::not_found(resource, &key.name));
    };
    let shown = versioned(old.clone(), resource, &call.target.version);
    let patched = patch.apply(&shown, &types::of(resource))?;
    let Taken { mut object, warnings } = take(
        &call,
        decode::Decoded {
            value: patched,
            complaints: Vec::new(),
        },
        true,
    )?;
    check_place(&call, &mut object)?;
    let object = store_update(&call, tx, &key, old, object, None).await?;
    Ok(written(&call, 200, object, warnings))
}

/// Stores the new state of an object; who manages its fields is known when it was applied.
pub(crate) async fn store_update(
    call: &Call,
    mut tx: Transaction<'_>,
    key: &Key,
    old: Value,
    mut new: Value,
    applied: Option<Managed>,
) -> Result<Value, Refusal> {
    let resource = call.target.resource;
    let version = meta(&new, "resourceVersion").to_owned();
    let uid = meta(&new, "uid").to_owned();
    if version.is_empty() && !resource.unconditional_update {
        return Err(Refusal::version_required(resource, &key.name));
    }
    if !uid.is_empty() && uid != meta(&old, "uid") {
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: /registry/{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            resource.storage.trim_start_matches('/'),
            key.namespace,
            key.name,
            meta(&old, "uid")
        );
        return Err(Refusal::conflict(resource, &key.name, &why));
    }
    if !version.is_empty() && version != meta(&old, "resourceVersion") {
        return Err(Refusal::stale(resource, &key.name));
    }
    let subresource = call.target.subresource.as_deref();
    let managed = applied.unwrap_or_else(|| track_update(call, &old, &new));
    prepare_update(&mut new, &old, resource, subresource);
    kind::default(&mut new, resource);
    kind::prepare_update(&mut new, &old, resource, subresource);
    check_grant(call, &new, Some(&old)).await?;
    check(call, &new, Some(&old))?;
    kind::admit_update(&mut tx, &mut new, &old, resource).await?;
    set_managed(&mut new, &managed);
    if same(&new, &old) {
        tx.rollback().await?;
        return Ok(old);
    }
    if call.params.dry_run {
        tx.rollback().await?;
        return Ok(new);
    }
    let stored = if is_deleting(&new) && !has_finalizers(&new) {
        let gone = tx.remove(key, new).await?;
        dependents::settle(&mut tx, &gone, Fate::Deleted).await?;
        gone
    } else {
        tx.put(key, new).await?
    };
    kind::after_update(&mut tx, &stored, resource).await?;
    tx.commit().await?;
    Ok(stored)
}

/// Who manages what after an update.
fn track_update(call: &Call, old: &Value, new: &Value) -> Managed {
    let resource = call.target.resource;
    let kind = types::of(resource);
    let writer = apply::writer(call, &kind, false);
    let known = managed::known(old, new, call.target.subresource.is_some());
    let mut new = new.clone();
    kind::default(&mut new, resource);
    managed::update(&writer, old, &new, known)
}
