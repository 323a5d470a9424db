//! Text or JSON to a typed object, with every problem on the way.

mod core_kinds;
mod metadata;

pub(crate) use metadata::is_dns_label;

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::kinds::{self, Kind};
use crate::object::{Meta, Object, Resource, Untyped};
use crate::problem::{ObjectKey, Problem};
use crate::schema::{self, Reason};
use crate::{validate, yaml};

/// Most problems told about one object.
const MAX_PROBLEMS: usize = 100;

/// What came of a text or a JSON value.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parsed {
    /// What the text names, if it can be told.
    pub key: Option<ObjectKey>,
    /// The object; `None` if there is any problem of severity error.
    pub object: Option<Object>,
    /// Every problem, by line where there are lines, else in document order.
    pub problems: Vec<Problem>,
}

/// Parses one YAML or JSON document (at most 1 MiB, 64 levels, no repeated keys). Never panics.
#[must_use]
pub fn parse_yaml(text: &str) -> Parsed {
    let document = match yaml::read(text) {
        Ok(document) => document,
        Err(problem) => {
            return Parsed {
                problems: vec![*problem],
                ..Parsed::default()
            };
        }
    };
    let mut parsed = parse_value(&document.value());
    for problem in &mut parsed.problems {
        let (line, column) = document.locate(&problem.field);
        problem.line = Some(line);
        problem.column = Some(column);
    }
    parsed.problems.sort_by_key(|p| (p.line, p.column));
    parsed
}

/// Parses a Kubernetes object in JSON form. Never panics.
#[must_use]
pub fn parse_value(value: &Value) -> Parsed {
    let mut problems = Vec::new();
    let Value::Object(fields) = value else {
        let problem = Problem::invalid(
            "",
            "this is no Kubernetes object",
            "write apiVersion, kind, metadata and spec",
        );
        return Parsed {
            problems: vec![problem],
            ..Parsed::default()
        };
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (api_version, kind_name) = (text("apiVersion"), text("kind"));
    let meta = metadata::read(value, kind_name, &mut problems);
    let object = match Kind::by_api_version(api_version, kind_name) {
        Some(kind) => istio_object(kind, meta.clone(), api_version, value, &mut problems),
        None => match core_kinds::read(api_version, kind_name, meta.clone(), value, &mut problems) {
            Some(object) => Some(object),
            None => {
                if !problems.iter().any(|p| p.field == "spec") {
                    problems.push(unknown_kind(api_version, kind_name));
                }
                None
            }
        },
    };
    problems.truncate(MAX_PROBLEMS);
    let refused = problems.iter().any(Problem::is_error);
    let key = (!kind_name.is_empty() && !meta.name.is_empty())
        .then(|| ObjectKey::new(kind_name, &meta.namespace, &meta.name));
    Parsed {
        key,
        object: object.filter(|_| !refused),
        problems,
    }
}

fn unknown_kind(api_version: &str, kind: &str) -> Problem {
    let served = Kind::by_kind(kind).map(|k| {
        k.versions
            .iter()
            .map(|v| format!("{}/{v}", k.group))
            .collect::<Vec<_>>()
    });
    let (field, message, remedy) = match (api_version, kind, served) {
        ("", _, _) => (
            "apiVersion",
            "apiVersion is missing".into(),
            "add apiVersion".into(),
        ),
        (_, "", _) => ("kind", "kind is missing".into(), "add kind".into()),
        (_, _, Some(served)) => (
            "apiVersion",
            format!("{kind} is not served as {api_version}"),
            format!("use {}", served.join(" or ")),
        ),
        _ => (
            "kind",
            format!("{api_version} {kind} is not a kind that the mesh reads"),
            format!(
                "use one of {}",
                kinds::ALL.iter().map(|k| k.kind).collect::<Vec<_>>().join(", ")
            ),
        ),
    };
    Problem::invalid(field, message, remedy)
}

fn istio_object(
    kind: &'static Kind,
    meta: Meta,
    api_version: &str,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<Object> {
    let mut body = value.as_object().cloned().unwrap_or_default();
    for name in ["apiVersion", "kind", "metadata"] {
        body.remove(name);
    }
    // Status is written by controllers; a strange one must not make an object unusable.
    body.remove("status");
    let body = Value::Object(body);
    if let Some(schema) = schema::of(kind.kind) {
        problems.extend(schema::check(&schema, "", &body).into_iter().map(|v| {
            let remedy = remedy(v.reason, &v.field);
            Problem::invalid(v.field, v.message, remedy)
        }));
    }
    let spec = body
        .get("spec")
        .cloned()
        .unwrap_or_else(|| Value::Object(serde_json::Map::new()));
    let api_version = api_version.to_owned();
    let base = |spec: Value| Resource {
        meta: meta.clone(),
        api_version: api_version.clone(),
        spec,
    };
    let r = base(without_nulls(spec));
    let object = match kind.kind {
        "VirtualService" => typed(r, problems).map(Object::VirtualService),
        "DestinationRule" => typed(r, problems).map(Object::DestinationRule),
        "Gateway" => typed(r, problems).map(Object::Gateway),
        "ServiceEntry" => typed(r, problems).map(Object::ServiceEntry),
        "WorkloadEntry" => typed(r, problems).map(Object::WorkloadEntry),
        "Sidecar" => typed(r, problems).map(Object::Sidecar),
        "PeerAuthentication" => typed(r, problems).map(Object::PeerAuthentication),
        _ => Some(Object::Other(Resource {
            meta: r.meta,
            api_version: r.api_version,
            spec: Untyped {
                kind: kind.kind,
                spec: r.spec,
            },
        })),
    };
    if let Some(object) = &object {
        let mut found = Vec::new();
        validate::object(object, &mut found);
        // What the schema says about a field is said once.
        let told: BTreeSet<&str> = problems.iter().map(|p| p.field.as_str()).collect();
        found.retain(|p| !told.contains(p.field.as_str()));
        problems.extend(found);
    }
    object
}

fn typed<T: DeserializeOwned>(r: Resource<Value>, problems: &mut Vec<Problem>) -> Option<Resource<T>> {
    match serde_json::from_value(r.spec) {
        Ok(spec) => Some(Resource {
            meta: r.meta,
            api_version: r.api_version,
            spec,
        }),
        Err(error) => {
            // The schema names the field; only what it cannot see is left to tell.
            if !problems.iter().any(Problem::is_error) {
                problems.push(Problem::invalid(
                    "spec",
                    format!("cannot be read: {error}"),
                    "correct the value",
                ));
            }
            None
        }
    }
}

/// Kubernetes treats `null` as absent where a field is optional.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, v)| !v.is_null())
                .map(|(k, v)| (k, without_nulls(v)))
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(without_nulls).collect(),
        other => other,
    }
}

fn remedy(reason: Reason, field: &str) -> String {
    let last = field.rsplit('.').next().unwrap_or(field);
    match reason {
        Reason::UnknownField => {
            format!("remove {last:?}, or check its spelling and indentation against the API reference")
        }
        Reason::Type => "write a value of that type".into(),
        Reason::Required => format!("add {last:?}"),
        Reason::Unsupported => "use one of these values".into(),
        Reason::Invalid | Reason::Rule => "correct the value".into(),
        Reason::TooMuch => "shorten it, or split the object".into(),
        Reason::Duplicate => "remove or rename the repeated entry".into(),
        Reason::Exclusive => "keep one of them".into(),
    }
}
