//! `metadata`, and the revision of an object.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::object::Meta;
use crate::problem::Problem;

/// Annotations that change what an object does; all others are free to change without a push.
const STEERING: &[&str] = &[
    "istio.io/",
    "sidecar.istio.io/",
    "networking.istio.io/",
    "traffic.sidecar.istio.io/",
    "sightline.io/",
];

/// Reads `metadata` leniently and tells what Kubernetes would refuse.
pub(super) fn read(value: &Value, kind: &str, problems: &mut Vec<Problem>) -> Meta {
    let none = Value::Null;
    let metadata = value.get("metadata").unwrap_or(&none);
    let text = |name: &str| {
        metadata
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let name = text("name");
    if name.is_empty() {
        problems.push(Problem::invalid(
            "metadata.name",
            "metadata.name is missing",
            "give the object a name",
        ));
    } else if !is_dns_subdomain(&name) {
        problems.push(Problem::invalid(
            "metadata.name",
            format!("{name:?} is not a valid name"),
            "use lower-case letters, digits, '-' and '.', at most 253",
        ));
    }
    let mut namespace = text("namespace");
    if namespace.is_empty() && kind != "Namespace" {
        namespace = "default".into();
    } else if !namespace.is_empty() && !is_dns_label(&namespace) {
        problems.push(Problem::invalid(
            "metadata.namespace",
            format!("{namespace:?} is not a valid namespace"),
            "use lower-case letters, digits and '-', at most 63",
        ));
    }
    let labels = strings(metadata, "labels", problems);
    let annotations = strings(metadata, "annotations", problems);
    let mut meta = Meta {
        namespace,
        name,
        labels,
        annotations,
        created: text("creationTimestamp"),
        resource_version: text("resourceVersion"),
        generation: metadata
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        uid: text("uid"),
        revision: String::new(),
    };
    meta.revision = revision(value, kind, &meta);
    meta
}

fn strings(metadata: &Value, name: &str, problems: &mut Vec<Problem>) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    match metadata.get(name) {
        None | Some(Value::Null) => {}
        Some(Value::Object(fields)) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) => {
                        out.insert(key.clone(), text.clone());
                    }
                    _ => problems.push(Problem::invalid(
                        format!("metadata.{name}[{key}]"),
                        "must be of type string",
                        "put the value into quotes",
                    )),
                }
            }
        }
        Some(_) => problems.push(Problem::invalid(
            format!("metadata.{name}"),
            "must be of type object",
            "write one `key: value` a line",
        )),
    }
    out
}

/// 16 hexadecimal digits over what the object says, independent of field order, status and bookkeeping.
fn revision(value: &Value, kind: &str, meta: &Meta) -> String {
    let mut hash = Sha256::new();
    let mut part = |text: &str| {
        hash.update(u64::try_from(text.len()).unwrap_or_default().to_le_bytes());
        hash.update(text.as_bytes());
    };
    part(kind);
    part(&meta.namespace);
    part(&meta.name);
    part(&meta.created);
    for (key, value) in &meta.labels {
        part(key);
        part(value);
    }
    part("annotations");
    for (key, value) in &meta.annotations {
        if STEERING.iter().any(|s| key.starts_with(s)) {
            part(key);
            part(value);
        }
    }
    let body = match kind {
        // Of a pod's status only these change what proxies get.
        "Pod" => {
            let ready = super::core_kinds::is_ready(value);
            let ip = value.pointer("/status/podIP").and_then(Value::as_str);
            part(&format!("{ready} {}", ip.unwrap_or_default()));
            value.get("spec").cloned()
        }
        "EndpointSlice" => {
            let mut body = value.clone();
            if let Some(fields) = body.as_object_mut() {
                fields.retain(|k, _| matches!(k.as_str(), "addressType" | "endpoints" | "ports"));
            }
            Some(body)
        }
        _ => value.get("spec").cloned(),
    };
    part(&sorted(body.unwrap_or_default()).to_string());
    hash.finalize()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut entries: Vec<_> = fields.into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(entries.into_iter().map(|(k, v)| (k, sorted(v))).collect())
        }
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        other => other,
    }
}

/// RFC 1123 label.
pub(crate) fn is_dns_label(text: &str) -> bool {
    let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().next_back())
        && text
            .bytes()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
}

fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| {
            let edge = |c: Option<u8>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(part.bytes().next())
                && edge(part.bytes().next_back())
                && part
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-')
        })
}
