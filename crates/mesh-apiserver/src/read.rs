//! get and list.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Response;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::handle::Call;
use crate::reply::{Body, Form, partial, respond, versioned};
use crate::request::Target;
use crate::selector::{Fields, Labels};
use crate::status::{Cause, Refusal};
use crate::store::{Key, Range};
use crate::table;

/// How many objects are read from the store at a time while a selector thins them out.
const BATCH: i64 = 500;

/// The key of the one object that a target names.
pub(crate) fn key(target: &Target) -> Key {
    Key {
        resource: target.resource.storage,
        namespace: if target.resource.namespaced {
            target.namespace.clone()
        } else {
            String::new()
        },
        name: target.name.clone().unwrap_or_default(),
    }
}

/// Answers `get`.
pub(crate) async fn get(call: Call) -> Result<Response<Body>, Refusal> {
    let resource = call.target.resource;
    let key = key(&call.target);
    if let Ok(asked) = call.params.resource_version.parse::<i64>() {
        let current = call.app.store.revision();
        if asked > current {
            return Err(Refusal::too_new(asked, current));
        }
    }
    let Some(object) = call.app.store.get(&key).await? else {
        return Err(Refusal::not_found(resource, &key.name));
    };
    Ok(one(&call, 200, object))
}

/// One object in the wanted form.
pub(crate) fn one(call: &Call, code: u16, object: Value) -> Response<Body> {
    let object = versioned(object, call.target.resource, &call.target.version);
    let body = match call.accept.form {
        Form::Full => object,
        Form::Partial => partial(object),
        Form::Table => table::one(call.target.resource, object, &call.params.include_object),
    };
    respond(code, &body, call.accept)
}

/// Where a paged list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resume {
    v: String,
    rv: i64,
    start: String,
}

impl Resume {
    pub(crate) fn encode(revision: i64, namespace: &str, name: &str) -> String {
        let token = Self {
            v: "meta.k8s.io/v1".into(),
            rv: revision,
            start: format!("{namespace}/{name}"),
        };
        URL_SAFE_NO_PAD.encode(serde_json::to_string(&token).unwrap_or_default())
    }

    pub(crate) fn decode(text: &str) -> Result<(i64, (String, String)), Refusal> {
        let bad = |why: &str| {
            Refusal::bad_request(format!(
                "invalid continue token: continue key is not valid: {why}"
            ))
        };
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|e| bad(&e.to_string()))?;
        let token: Self = serde_json::from_slice(&bytes).map_err(|e| bad(&e.to_string()))?;
        if token.v != "meta.k8s.io/v1" {
            return Err(bad(&format!(
                "server does not recognize this encoded version {:?}",
                token.v
            )));
        }
        let (namespace, name) = token
            .start
            .split_once('/')
            .ok_or_else(|| bad("incorrect encoded start key"))?;
        Ok((token.rv, (namespace.to_owned(), name.to_owned())))
    }
}

/// The selectors of a request.
pub(crate) fn selectors(call: &Call) -> Result<(Labels, Fields), Refusal> {
    let labels = Labels::parse(&call.params.label_selector).map_err(Refusal::bad_request)?;
    let fields =
        Fields::parse(&call.params.field_selector, call.target.resource).map_err(Refusal::bad_request)?;
    Ok((labels, fields))
}

/// Checks resourceVersion and resourceVersionMatch of a list; answers the exact revision if one is wanted.
fn list_version(call: &Call) -> Result<Option<i64>, Refusal> {
    let params = &call.params;
    let refuse = |field: &str, detail: &str| {
        Err(Refusal::invalid_kind(
            "meta.k8s.io",
            "ListOptions",
            "",
            &[Cause::forbidden(field, detail)],
        ))
    };
    let matching = params.resource_version_match.as_str();
    if params.send_initial_events.is_some() && !params.watch {
        return refuse("sendInitialEvents", "sendInitialEvents is forbidden for list");
    }
    if !matching.is_empty() {
        if params.resource_version.is_empty() {
            return refuse(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden unless resourceVersion is provided",
            );
        }
        if !params.resume.is_empty() {
            return refuse(
                "resourceVersionMatch",
                "resourceVersionMatch is forbidden when continue is provided",
            );
        }
        if !matches!(matching, "Exact" | "NotOlderThan") {
            let cause = Cause::unsupported(
                "resourceVersionMatch",
                &json!(matching),
                &["Exact", "NotOlderThan", ""],
            );
            return Err(Refusal::invalid_kind("meta.k8s.io", "ListOptions", "", &[cause]));
        }
        if matching == "Exact" && params.resource_version == "0" {
            return refuse(
                "resourceVersionMatch",
                "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"",
            );
        }
    }
    if params.resource_version.is_empty() {
        return Ok(None);
    }
    let asked = parse_version(&params.resource_version)
        .map_err(|why| Refusal::bad_request(format!("invalid resource version: {why}")))?;
    if asked > 0 && !params.resume.is_empty() {
        return Err(Refusal::bad_request(
            "specifying resource version is not allowed when using continue",
        ));
    }
    let current = call.app.store.revision();
    if asked > current {
        return Err(Refusal::too_new(asked, current));
    }
    let exact = matching == "Exact" || (matching.is_empty() && params.limit > 0 && asked > 0);
    Ok(exact.then_some(asked))
}

/// Reads a resourceVersion.
pub(crate) fn parse_version(text: &str) -> Result<i64, String> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().ok().filter(|v| *v >= 0).ok_or_else(|| {
        format!(
            "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
        )
    })
}

/// Answers `list`.
pub(crate) async fn list(call: Call) -> Result<Response<Body>, Refusal> {
    let (labels, fields) = selectors(&call)?;
    let exact = list_version(&call)?;
    let mut snapshot = call.app.store.snapshot().await?;
    let mut range = Range {
        namespace: (!call.target.namespace.is_empty()).then(|| call.target.namespace.clone()),
        name: fields.name().map(str::to_owned),
        at: exact,
        after: None,
    };
    if !call.params.resume.is_empty() {
        let (revision, after) = Resume::decode(&call.params.resume)?;
        // A token without a revision continues with whatever is newest.
        range.at = (revision > 0).then_some(revision);
        if revision > 0 && revision < call.app.store.floor() {
            return Err(expired_token(&after));
        }
        range.after = Some(after);
    }
    let revision = range.at.unwrap_or(snapshot.revision);
    let limit = usize::try_from(call.params.limit)
        .ok()
        .filter(|l| *l > 0)
        .unwrap_or(usize::MAX);
    let resource = call.target.resource.storage;
    let mut items = Vec::new();
    let mut last = None;
    let mut more = false;
    'pages: loop {
        let batch = snapshot.list(resource, &range, BATCH).await?;
        let full = i64::try_from(batch.len()).unwrap_or(BATCH) >= BATCH;
        for (namespace, name, object) in batch {
            if items.len() == limit {
                more = true;
                break 'pages;
            }
            range.after = Some((namespace.clone(), name.clone()));
            if labels.matches(&object) && fields.matches(&object) {
                last = Some((namespace, name));
                items.push(object);
            }
        }
        if !full {
            break;
        }
    }
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), revision.to_string().into());
    if call.target.resource.is_istio() && call.accept.form == Form::Full {
        // Lists of custom resources always write it.
        metadata.insert("continue".into(), "".into());
    }
    if let (true, Some((namespace, name))) = (more, &last) {
        metadata.insert(
            "continue".into(),
            Resume::encode(revision, namespace, name).into(),
        );
        if labels.is_empty() && fields.is_empty() {
            range.after = last;
            metadata.insert(
                "remainingItemCount".into(),
                snapshot.count(resource, &range).await?.into(),
            );
        }
    }
    Ok(many(&call, items, metadata))
}

fn expired_token(after: &(String, String)) -> Refusal {
    let mut refusal = Refusal::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    refusal.resume = Some(Resume::encode(-1, &after.0, &after.1));
    refusal
}

/// Objects as a list in the wanted form.
pub(crate) fn many(call: &Call, items: Vec<Value>, metadata: Map<String, Value>) -> Response<Body> {
    let resource = call.target.resource;
    let version = &call.target.version;
    let items: Vec<Value> = items
        .into_iter()
        .map(|o| versioned(o, resource, version))
        .collect();
    let body = match call.accept.form {
        Form::Table => table::many(resource, items, metadata, &call.params.include_object),
        Form::Partial => json!({
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": items.into_iter().map(partial).collect::<Vec<_>>(),
        }),
        Form::Full => json!({
            "kind": format!("{}List", resource.kind),
            "apiVersion": resource.api_version(version),
            "metadata": metadata,
            "items": items.into_iter().map(|o| list_item(o, resource.is_istio())).collect::<Vec<_>>(),
        }),
    };
    respond(200, &body, call.accept)
}

/// Items of the core kinds' lists carry no type of their own.
fn list_item(mut object: Value, typed: bool) -> Value {
    if let (false, Some(map)) = (typed, object.as_object_mut()) {
        map.shift_remove("apiVersion");
        map.shift_remove("kind");
    }
    object
}
