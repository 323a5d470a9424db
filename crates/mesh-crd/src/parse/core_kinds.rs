//! The Kubernetes kinds that the mesh reads. The API server has checked them, so this reads leniently.

use serde_json::Value;

use super::{typed, without_nulls};
use crate::core::{Owner, Pod};
use crate::object::{Meta, Object, Resource};
use crate::problem::Problem;

/// `None` without a problem at `spec` for kinds that are not read.
pub(super) fn read(
    api_version: &str,
    kind: &str,
    meta: Meta,
    value: &Value,
    problems: &mut Vec<Problem>,
) -> Option<Object> {
    let body = |field: Option<&str>| {
        let body = field.map_or(Some(value), |f| value.get(f)).cloned();
        without_nulls(body.unwrap_or_else(|| Value::Object(serde_json::Map::new())))
    };
    let resource = |meta, spec| Resource {
        meta,
        api_version: api_version.to_owned(),
        spec,
    };
    match (api_version, kind) {
        ("v1", "Service") => typed(resource(meta, body(Some("spec"))), problems).map(Object::Service),
        ("discovery.k8s.io/v1", "EndpointSlice") => {
            typed(resource(meta, body(None)), problems).map(Object::EndpointSlice)
        }
        ("v1", "Pod") => Some(Object::Pod(Resource {
            spec: pod(value),
            meta,
            api_version: api_version.to_owned(),
        })),
        ("v1", "Namespace") => Some(Object::Namespace(Resource {
            meta,
            api_version: api_version.to_owned(),
            spec: (),
        })),
        _ => None,
    }
}

fn pod(value: &Value) -> Pod {
    let text = |at: &str| {
        value
            .pointer(at)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let list = |at: &str| {
        value
            .pointer(at)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice)
    };
    let named_ports = list("/spec/containers")
        .iter()
        .flat_map(|c| c.get("ports").and_then(Value::as_array).into_iter().flatten())
        .filter_map(|p| {
            let number = p.get("containerPort")?.as_u64()?;
            Some((p.get("name")?.as_str()?.to_owned(), u16::try_from(number).ok()?))
        })
        .collect();
    let service_account = match text("/spec/serviceAccountName") {
        name if name.is_empty() => "default".into(),
        name => name,
    };
    Pod {
        service_account,
        node_name: text("/spec/nodeName"),
        named_ports,
        ip: text("/status/podIP").parse().ok(),
        ready: is_ready(value),
        phase: text("/status/phase"),
        owner: list("/metadata/ownerReferences")
            .iter()
            .find(|o| o.get("controller") == Some(&Value::Bool(true)))
            .map(|o| Owner {
                kind: o.get("kind").and_then(Value::as_str).unwrap_or_default().into(),
                name: o.get("name").and_then(Value::as_str).unwrap_or_default().into(),
            }),
    }
}

/// Whether the pod's Ready condition is true.
pub(super) fn is_ready(value: &Value) -> bool {
    value
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .any(|c| c.get("type") == Some(&"Ready".into()) && c.get("status") == Some(&"True".into()))
}
