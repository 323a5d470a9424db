//! Server-side apply: a patch that says which fields its manager wants, and which it no longer does.

use http::Response;
use serde_json::{Value, json};

use crate::authorize::{Attributes, denial};
use crate::handle::Call;
use crate::managed::{self, Manager, Writer};
use crate::object::{edit_metadata, meta};
use crate::read::key;
use crate::reply::{Body, versioned};
use crate::request::{FieldValidation, Params};
use crate::status::{Cause, Refusal};
use crate::types::{self, Type};
use crate::{decode, write};

/// The content type.
pub(crate) const MEDIA: &str = "application/apply-patch+yaml";
/// The longest name of a manager.
const LONGEST_MANAGER: usize = 128;

/// Checks what the query says about any patch.
pub(crate) fn check_options(params: &Params, apply: bool) -> Result<(), Refusal> {
    let mut causes = Vec::new();
    if apply && params.field_manager.is_empty() {
        causes.push(Cause::required("fieldManager", "is required for apply patch"));
    }
    if !apply && params.force.is_some() {
        causes.push(Cause::forbidden(
            "force",
            "may not be specified for non-apply patch",
        ));
    }
    causes.extend(manager_faults(&params.field_manager));
    options_fault("PatchOptions", &causes)
}

/// The same for the other writes.
pub(crate) fn check_manager(params: &Params, options: &'static str) -> Result<(), Refusal> {
    options_fault(options, &manager_faults(&params.field_manager))
}

fn options_fault(options: &'static str, causes: &[Cause]) -> Result<(), Refusal> {
    match causes.is_empty() {
        true => Ok(()),
        false => Err(Refusal::invalid_kind("meta.k8s.io", options, "", causes)),
    }
}

fn manager_faults(manager: &str) -> Vec<Cause> {
    let mut causes = Vec::new();
    if manager.len() > LONGEST_MANAGER {
        causes.push(Cause {
            reason: "FieldValueTooLong",
            message: format!("Too long: may not be more than {LONGEST_MANAGER} bytes"),
            field: "fieldManager".into(),
        });
    }
    if let Some((at, found)) = manager.char_indices().find(|(_, c)| c.is_control()) {
        let detail = format!("invalid character U+{:04X} (at position {at})", u32::from(found));
        causes.push(Cause::invalid("fieldManager", &json!(manager), &detail));
    }
    causes
}

/// Who writes what, for the bookkeeping of managers.
pub(crate) fn writer<'a>(call: &Call, kind: &'a Type, applied: bool) -> Writer<'a> {
    let resource = call.target.resource;
    let api_version = resource.api_version(&call.target.version);
    let subresource = call.target.subresource.as_deref();
    Writer {
        kind,
        manager: Manager::new(&call.manager(), applied, &api_version, subresource),
        api_version,
        ignored: managed::ignored(resource, subresource),
    }
}

/// Answers a patch of the apply kind: makes the object when it is not there.
pub(crate) async fn apply(call: Call) -> Result<Response<Body>, Refusal> {
    check_options(&call.params, true)?;
    let config = read_config(&call)?;
    let resource = call.target.resource;
    let key = key(&call.target);
    let kind = types::of(resource);
    let writer = writer(&call, &kind, true);
    let force = call.params.force == Some(true);
    let mut tx = call.begin("apply").await?;
    let old = tx.get(&key).await?;
    if old.is_none() && call.target.subresource.is_some() {
        return Err(Refusal::not_found(resource, &key.name));
    }
    let live = match &old {
        Some(old) => versioned(old.clone(), resource, &call.target.version),
        None => versioned(kind.blank(), resource, &call.target.version),
    };
    let applied = managed::apply(&writer, &live, &config, force).map_err(|why| why.refusal(&config))?;
    let decoded = decode::Decoded {
        value: applied.object,
        complaints: Vec::new(),
    };
    let write::Taken { mut object, warnings } = write::take(&call, decoded, true)?;
    if old.is_none() {
        if meta(&object, "name").is_empty() {
            return Err(Refusal::bad_request(format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                key.name
            )));
        }
        // Of an object that is not there yet, any version will do.
        edit_metadata(&mut object, |m| m.shift_remove("resourceVersion"));
    }
    write::check_place(&call, &mut object)?;
    match old {
        Some(old) => {
            let object = write::store_update(&call, tx, &key, old, object, Some(applied.managed)).await?;
            Ok(write::written(&call, 200, object, warnings))
        }
        None => {
            drop(tx);
            check_may_create(&call).await?;
            let object = write::insert(&call, "apply", object, Some(applied.managed)).await?;
            Ok(write::written(&call, 201, object, warnings))
        }
    }
}

/// The configuration of the body, of the path's type.
fn read_config(call: &Call) -> Result<Value, Refusal> {
    let media = match call.body.first() {
        Some(b'{') => "application/json",
        _ => "application/yaml",
    };
    let decoded = decode::decode(media, &call.body)
        .map_err(|refusal| Refusal::bad_request(format!("error decoding YAML: {}", refusal.message)))?;
    let strict = call.params.field_validation == FieldValidation::Strict;
    if strict && !decoded.complaints.is_empty() {
        return Err(Refusal::bad_request(format!(
            "error strict decoding YAML: {}",
            decoded.complaints.join(", ")
        )));
    }
    let config = decoded.value;
    let text = |field: &str| config.get(field).and_then(Value::as_str).unwrap_or_default();
    let resource = call.target.resource;
    let wanted = resource.api_version(&call.target.version);
    if !config.is_object() {
        return Err(Refusal::bad_request(
            "error decoding YAML: the configuration must be an object",
        ));
    }
    if text("kind") != resource.kind || text("apiVersion") != wanted {
        return Err(Refusal::bad_request(format!(
            "invalid object type: {}",
            managed::type_of(&config)
        )));
    }
    if config
        .pointer("/metadata/managedFields")
        .is_some_and(|m| !m.is_null())
    {
        return Err(Refusal::bad_request("metadata.managedFields must be nil"));
    }
    Ok(config)
}

/// Making an object by a patch or an update needs the right to create it.
pub(crate) async fn check_may_create(call: &Call) -> Result<(), Refusal> {
    let resource = call.target.resource;
    let name = call.target.name.clone().unwrap_or_default();
    let asked = Attributes {
        verb: "create".into(),
        group: resource.group.into(),
        resource: resource.plural.into(),
        namespace: call.target.namespace.clone(),
        name: name.clone(),
        ..Attributes::default()
    };
    let rules = call.app.authorizer.rules(&call.app.store).await?;
    match rules.allow(&call.user, &asked) {
        Some(_) => Ok(()),
        None => Err(Refusal::forbidden(resource, &name, &denial(&call.user, &asked))),
    }
}
