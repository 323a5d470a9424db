//! OpenAPI documents: what is served, what its fields are, and what may be sent. `kubectl explain`, `diff` and
//! `apply` read them. They are made once and sent as they are.

mod describe;
mod paths;
mod schemas;

use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use self::schemas::{Dialect, Schemas};
use crate::registry;
use crate::reply::{Body, plain};
use crate::status::Refusal;

/// A finished document.
struct Document {
    text: Bytes,
    /// Of its text.
    hash: String,
}

impl Document {
    fn new(body: &Value) -> Self {
        let text = Bytes::from(body.to_string());
        let hash = Sha256::digest(&text).iter().map(|b| format!("{b:02X}")).collect();
        Self { text, hash }
    }

    fn respond(&self) -> Response<Body> {
        let mut response = plain(200, "application/json", self.text.clone());
        if let Ok(value) = HeaderValue::from_str(&format!("\"{}\"", self.hash)) {
            response.headers_mut().insert(header::ETAG, value);
        }
        response
    }
}

static V2: LazyLock<Document> = LazyLock::new(|| {
    let mut schemas = Schemas::new(Dialect::V2);
    let mut all = Map::new();
    for (group, version) in group_versions() {
        all.extend(paths::of(&group, &version, Dialect::V2, |r| {
            schemas.add(r, &version)
        }));
    }
    Document::new(&json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": all,
        "definitions": schemas.all,
    }))
});

static V3: LazyLock<HashMap<String, Document>> = LazyLock::new(|| {
    group_versions()
        .into_iter()
        .map(|(group, version)| {
            let mut schemas = Schemas::new(Dialect::V3);
            let all = paths::of(&group, &version, Dialect::V3, |r| schemas.add(r, &version));
            let body = json!({
                "openapi": "3.0.0",
                "info": {"title": "Kubernetes", "version": "unversioned"},
                "paths": all,
                "components": {"schemas": schemas.all},
            });
            (base(&group, &version), Document::new(&body))
        })
        .collect()
});

/// Whether a client takes JSON.
fn takes_json(accept: Option<&str>) -> Result<(), Refusal> {
    let fits = |range: &str| {
        let media = range.split(';').next().unwrap_or_default().trim();
        matches!(media, "application/json" | "application/*" | "*/*" | "")
    };
    match accept.is_none_or(|accept| accept.split(',').any(fits)) {
        true => Ok(()),
        false => Err(Refusal::not_acceptable(
            "only the following media types are accepted: application/json",
        )),
    }
}

/// `/openapi/v2`: only as JSON.
pub(crate) fn v2(accept: Option<&str>) -> Result<Response<Body>, Refusal> {
    takes_json(accept)?;
    Ok(V2.respond())
}

fn group_versions() -> Vec<(String, String)> {
    let mut all = vec![(String::new(), "v1".to_owned())];
    for (group, versions) in registry::groups() {
        all.extend(versions.iter().map(|v| ((*group).to_owned(), (*v).to_owned())));
    }
    all
}

fn base(group: &str, version: &str) -> String {
    if group.is_empty() {
        format!("api/{version}")
    } else {
        format!("apis/{group}/{version}")
    }
}

/// `/openapi/v3`: clients keep documents by the hash in their address.
pub(crate) fn v3_index() -> Value {
    let paths: Map<String, Value> = group_versions()
        .into_iter()
        .filter_map(|(group, version)| {
            let base = base(&group, &version);
            let url = format!("/openapi/v3/{base}?hash={}", V3.get(&base)?.hash);
            Some((base, json!({"serverRelativeURL": url})))
        })
        .collect();
    json!({"paths": paths})
}

/// `/openapi/v3/apis/G/V`: only as JSON.
pub(crate) fn v3(path: &str, accept: Option<&str>) -> Result<Response<Body>, Refusal> {
    takes_json(accept)?;
    V3.get(path)
        .map(Document::respond)
        .ok_or_else(Refusal::no_such_resource)
}

#[cfg(test)]
mod tests;
