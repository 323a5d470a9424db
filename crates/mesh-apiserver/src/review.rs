//! Reviews and token requests: questions that are answered, not stored.

use http::Response;
use serde_json::{Map, Value, json};

use crate::authenticate::{User, identify};
use crate::authorize::Attributes;
use crate::handle::Call;
use crate::object::{edit_metadata, meta, now};
use crate::registry::{Core, of};
use crate::reply::{Body, respond, warn};
use crate::request::FieldValidation;
use crate::status::{Cause, Refusal};
use crate::store::Key;
use crate::token::{Bound, Claims, ISSUER, Named};
use crate::{decode, fields};

/// Answers `create` of a review.
pub(crate) async fn create(call: Call) -> Result<Response<Body>, Refusal> {
    let resource = call.target.resource;
    let mut decoded = decode::decode(&call.content_type, &call.body)?;
    fields::check_type(&mut decoded.value, resource, &call.target.version)?;
    let read = fields::read(decoded.value, resource, &call.target.version)?;
    let mut complaints = decoded.complaints;
    complaints.extend(read.complaints);
    if call.params.field_validation == FieldValidation::Strict && !complaints.is_empty() {
        return Err(fields::strict(&complaints, resource, &call.target.version));
    }
    let mut object = read.value;
    edit_metadata(&mut object, |_| ());
    let status = match resource.core() {
        Some(Core::TokenReview) => token_review(&call, &object).await?,
        Some(Core::SelfSubjectReview) => {
            edit_metadata(&mut object, |m| {
                m.insert("creationTimestamp".into(), now().into())
            });
            json!({"userInfo": call.user.info()})
        }
        Some(Core::SubjectAccessReview | Core::LocalSubjectAccessReview) => {
            let user = subject(&call, &object)?;
            access(&call, &user, &object).await?
        }
        Some(Core::SelfSubjectAccessReview) => access(&call, &call.user.clone(), &object).await?,
        Some(Core::SelfSubjectRulesReview) => {
            let status = rules(&call, &object).await?;
            // The answer does not repeat the question.
            if let Value::Object(map) = &mut object {
                map.insert("spec".into(), json!({}));
            }
            status
        }
        _ => return Err(Refusal::method_not_allowed()),
    };
    if let Value::Object(map) = &mut object {
        map.insert("status".into(), status);
    }
    let mut response = respond(201, &object, call.accept);
    if call.params.field_validation == FieldValidation::Warn {
        warn(&mut response, &complaints);
    }
    Ok(response)
}

async fn token_review(call: &Call, object: &Value) -> Result<Value, Refusal> {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let token = text("/spec/token");
    if token.is_empty() {
        return Err(Refusal::bad_request(
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences: Vec<String> = texts(object, "/spec/audiences");
    Ok(match identify(&call.app, token, &audiences).await? {
        Ok((user, common)) => json!({"authenticated": true, "user": user.info(), "audiences": common}),
        Err(why) => json!({"user": {}, "error": why}),
    })
}

fn texts(object: &Value, pointer: &str) -> Vec<String> {
    let list = object.pointer(pointer).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

/// Reviews are refused without naming their kind.
fn invalid(call: &Call, causes: &[Cause]) -> Refusal {
    Refusal::invalid_kind(call.target.resource.group, "", "", causes)
}

fn subject(call: &Call, object: &Value) -> Result<User, Refusal> {
    let text = |pointer| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let name = text("/spec/user");
    let groups = texts(object, "/spec/groups");
    let mut causes = Vec::new();
    if name.is_empty() && groups.is_empty() {
        causes.push(Cause::invalid(
            "spec.user",
            &json!(""),
            "at least one of user or group must be specified",
        ));
    }
    if call.target.resource.core() == Some(Core::LocalSubjectAccessReview) {
        let namespace = text("/spec/resourceAttributes/namespace");
        if namespace != call.target.namespace {
            let detail = "must match metadata.namespace";
            causes.push(Cause::invalid(
                "spec.resourceAttributes.namespace",
                &json!(namespace),
                detail,
            ));
        }
    }
    if !causes.is_empty() {
        return Err(invalid(call, &causes));
    }
    Ok(User {
        name,
        uid: text("/spec/uid"),
        groups,
        extra: Default::default(),
    })
}

fn attributes(call: &Call, object: &Value) -> Result<Attributes, Refusal> {
    let resource = object
        .pointer("/spec/resourceAttributes")
        .filter(|v| v.is_object());
    let path = object
        .pointer("/spec/nonResourceAttributes")
        .filter(|v| v.is_object());
    let text = |map: &Value, key: &str| {
        map.get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    match (resource, path) {
        (Some(asked), None) => Ok(Attributes {
            verb: text(asked, "verb"),
            group: text(asked, "group"),
            resource: text(asked, "resource"),
            subresource: text(asked, "subresource"),
            namespace: text(asked, "namespace"),
            name: text(asked, "name"),
            path: None,
        }),
        (None, Some(asked)) => Ok(Attributes {
            verb: text(asked, "verb"),
            path: Some(text(asked, "path")),
            ..Attributes::default()
        }),
        (Some(_), Some(_)) => Err(invalid(
            call,
            &[Cause::invalid(
                "spec.nonResourceAttributes",
                &path.cloned().unwrap_or_default(),
                "cannot be specified in combination with resourceAttributes",
            )],
        )),
        (None, None) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Err(invalid(
                call,
                &[Cause::invalid("spec.resourceAttributes", &Value::Null, detail)],
            ))
        }
    }
}

async fn access(call: &Call, user: &User, object: &Value) -> Result<Value, Refusal> {
    let asked = attributes(call, object)?;
    let mut status = Map::new();
    match call
        .app
        .authorizer
        .rules(&call.app.store)
        .await?
        .allow(user, &asked)
    {
        Some(reason) => {
            status.insert("allowed".into(), true.into());
            if !reason.is_empty() {
                status.insert("reason".into(), reason.into());
            }
        }
        None => {
            status.insert("allowed".into(), false.into());
        }
    }
    Ok(Value::Object(status))
}

async fn rules(call: &Call, object: &Value) -> Result<Value, Refusal> {
    let namespace = object
        .pointer("/spec/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if namespace.is_empty() {
        return Err(Refusal::bad_request("no namespace on request"));
    }
    let rules = call
        .app
        .authorizer
        .rules(&call.app.store)
        .await?
        .of(&call.user, namespace);
    let mut resource_rules = Vec::new();
    let mut path_rules = Vec::new();
    for rule in rules {
        if !rule.resources.is_empty() {
            let mut entry =
                json!({"verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources});
            if let (false, Some(map)) = (rule.names.is_empty(), entry.as_object_mut()) {
                map.insert("resourceNames".into(), json!(rule.names));
            }
            resource_rules.push(entry);
        }
        if !rule.paths.is_empty() {
            path_rules.push(json!({"verbs": rule.verbs, "nonResourceURLs": rule.paths}));
        }
    }
    Ok(json!({"resourceRules": resource_rules, "nonResourceRules": path_rules, "incomplete": false}))
}

/// Shortest and longest life of a token, and the one when none is asked for.
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
const DEFAULT_SECONDS: i64 = 3600;

/// Answers `create` of a service account's token.
pub(crate) async fn token(call: Call) -> Result<Response<Body>, Refusal> {
    let accounts = of(Core::ServiceAccount);
    let name = call.target.name.clone().unwrap_or_default();
    let mut object = decode::decode(&call.content_type, &call.body)?.value;
    if !object.is_object() {
        return Err(Refusal::bad_request("the request's body must be a TokenRequest"));
    }
    let key = Key {
        resource: accounts.storage,
        namespace: call.target.namespace.clone(),
        name: name.clone(),
    };
    let Some(account) = call.app.store.get(&key).await? else {
        return Err(Refusal::not_found(accounts, &name));
    };
    let mut audiences = texts(&object, "/spec/audiences");
    if audiences.is_empty() {
        audiences.push(ISSUER.to_owned());
    }
    let seconds = object
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(DEFAULT_SECONDS);
    let invalid = |detail: &str| {
        let cause = Cause::invalid("spec.expirationSeconds", &json!(seconds), detail);
        Refusal::invalid_kind("authentication.k8s.io", "TokenRequest", "", &[cause])
    };
    if seconds < MIN_SECONDS {
        return Err(invalid("may not specify a duration less than 10 minutes"));
    }
    if seconds > MAX_SECONDS {
        return Err(invalid("may not specify a duration larger than 2^32 seconds"));
    }
    let pod = bound_pod(&call, &object, &name).await?;
    let issued = jiff::Timestamp::now().as_second();
    let claims = Claims {
        aud: audiences.clone(),
        exp: issued + seconds,
        iat: issued,
        iss: ISSUER.into(),
        jti: uuid::Uuid::new_v4().to_string(),
        kubernetes: Bound {
            namespace: call.target.namespace.clone(),
            pod,
            serviceaccount: Named {
                name: name.clone(),
                uid: meta(&account, "uid").to_owned(),
            },
        },
        nbf: issued,
        sub: format!("system:serviceaccount:{}:{name}", call.target.namespace),
    };
    let signed = call
        .app
        .signer
        .sign(&claims)
        .ok_or_else(|| Refusal::internal("the token cannot be signed"))?;
    let expires = jiff::Timestamp::from_second(claims.exp).map_err(Refusal::internal)?;
    edit_metadata(&mut object, |m| {
        m.insert("name".into(), name.into());
        m.insert("namespace".into(), call.target.namespace.clone().into());
        m.insert("uid".into(), meta(&account, "uid").into());
        m.insert("creationTimestamp".into(), now().into());
    });
    if let Value::Object(map) = &mut object {
        map.insert("kind".into(), "TokenRequest".into());
        map.insert("apiVersion".into(), "authentication.k8s.io/v1".into());
        let bound = map
            .get("spec")
            .and_then(|s| s.get("boundObjectRef"))
            .cloned()
            .unwrap_or_default();
        map.insert(
            "spec".into(),
            json!({"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": bound}),
        );
        map.insert(
            "status".into(),
            json!({"token": signed, "expirationTimestamp": expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()}),
        );
    }
    Ok(respond(201, &object, call.accept))
}

async fn bound_pod(call: &Call, object: &Value, account: &str) -> Result<Option<Named>, Refusal> {
    let Some(reference) = object.pointer("/spec/boundObjectRef").filter(|r| r.is_object()) else {
        return Ok(None);
    };
    let text = |key: &str| reference.get(key).and_then(Value::as_str).unwrap_or_default();
    if text("kind") != "Pod" {
        return Err(Refusal::bad_request(format!(
            "cannot bind token to object of type {} {}",
            text("apiVersion"),
            text("kind")
        )));
    }
    let pods = of(Core::Pod);
    let name = text("name");
    let key = Key {
        resource: pods.storage,
        namespace: call.target.namespace.clone(),
        name: name.to_owned(),
    };
    let Some(pod) = call.app.store.get(&key).await? else {
        return Err(Refusal::not_found(pods, name));
    };
    let uid = meta(&pod, "uid").to_owned();
    if !text("uid").is_empty() && text("uid") != uid {
        let why = format!(
            "the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated",
            text("uid")
        );
        return Err(Refusal::precondition(pods, name, &why));
    }
    if pod.pointer("/spec/serviceAccountName").and_then(Value::as_str) != Some(account) {
        return Err(Refusal::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        )));
    }
    Ok(Some(Named {
        name: name.to_owned(),
        uid,
    }))
}
