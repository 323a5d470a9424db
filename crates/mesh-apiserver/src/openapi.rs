//! OpenAPI documents: enough for clients to see what is served, and that fields are validated here.

use http::Response;
use mesh_crd::schema;
use serde_json::{Map, Value, json};

use crate::registry::{self, Family, Resource};
use crate::reply::{Accept, Body, respond};
use crate::status::Refusal;

/// `/openapi/v2`: only as JSON.
pub(crate) fn v2(accept: Option<&str>) -> Result<Response<Body>, Refusal> {
    let json = accept.is_none_or(|a| a.contains("application/json") || a.contains("*/*"));
    if !json {
        return Err(Refusal::not_acceptable(
            "only the following media types are accepted: application/json",
        ));
    }
    let mut paths = Map::new();
    for (group, version) in group_versions() {
        paths.extend(paths_of(&group, &version));
    }
    let body = json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths,
        "definitions": {},
    });
    Ok(respond(200, &body, Accept::default()))
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

/// `/openapi/v3`.
pub(crate) fn v3_index() -> Value {
    let paths: Map<String, Value> = group_versions()
        .into_iter()
        .map(|(group, version)| {
            let base = base(&group, &version);
            let url = format!("/openapi/v3/{base}?hash={}", env!("CARGO_PKG_VERSION"));
            (base, json!({"serverRelativeURL": url}))
        })
        .collect();
    json!({"paths": paths})
}

/// `/openapi/v3/apis/G/V`.
pub(crate) fn v3(path: &str) -> Option<Value> {
    let (group, version) = group_versions().into_iter().find(|(g, v)| base(g, v) == path)?;
    let schemas: Map<String, Value> = registry::all()
        .iter()
        .filter(|r| r.group == group && r.versions.contains(&version.as_str()))
        .map(|r| (schema_name(r, &version), schema_of(r, &version)))
        .collect();
    Some(json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "unversioned"},
        "paths": paths_of(&group, &version),
        "components": {"schemas": schemas},
    }))
}

fn schema_name(resource: &Resource, version: &str) -> String {
    if resource.group.is_empty() {
        return format!("io.k8s.api.core.{version}.{}", resource.kind);
    }
    let mut parts: Vec<&str> = resource.group.split('.').collect();
    parts.reverse();
    format!("{}.{version}.{}", parts.join("."), resource.kind)
}

fn gvk(resource: &Resource, version: &str) -> Value {
    json!({"group": resource.group, "version": version, "kind": resource.kind})
}

fn schema_of(resource: &Resource, version: &str) -> Value {
    let mut body = match resource.family {
        Family::Istio(kind) => schema::of(kind.kind)
            .map(|s| schema::open_api_v3(&s))
            .unwrap_or_default(),
        Family::Core(_) => json!({"x-kubernetes-preserve-unknown-fields": true}),
    };
    if !body.is_object() {
        body = json!({});
    }
    if let Some(map) = body.as_object_mut() {
        map.insert("type".into(), "object".into());
        let mut properties = map
            .get("properties")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        properties.insert("apiVersion".into(), json!({"type": "string"}));
        properties.insert("kind".into(), json!({"type": "string"}));
        properties.insert("metadata".into(), json!({"type": "object"}));
        map.insert("properties".into(), Value::Object(properties));
        map.insert(
            "x-kubernetes-group-version-kind".into(),
            json!([gvk(resource, version)]),
        );
    }
    body
}

fn paths_of(group: &str, version: &str) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in registry::all()
        .iter()
        .filter(|r| r.group == group && r.versions.contains(&version))
    {
        let scope = if resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("/{}{scope}/{}", base(group, version), resource.plural);
        let operation = |action: &str, fields: bool| {
            let parameters = match fields {
                true => {
                    json!([{"name": "dryRun", "in": "query"}, {"name": "fieldManager", "in": "query"}, {"name": "fieldValidation", "in": "query"}])
                }
                false => json!([]),
            };
            json!({
                "parameters": parameters,
                "responses": {"200": {"description": "OK"}},
                "x-kubernetes-action": action,
                "x-kubernetes-group-version-kind": gvk(resource, version),
            })
        };
        if resource.virtual_only {
            paths.insert(collection, json!({"post": operation("post", true)}));
            continue;
        }
        paths.insert(
            collection.clone(),
            json!({"get": operation("list", false), "post": operation("post", true), "delete": operation("deletecollection", false)}),
        );
        paths.insert(
            format!("{collection}/{{name}}"),
            json!({"get": operation("get", false), "put": operation("put", true), "patch": operation("patch", true), "delete": operation("delete", false)}),
        );
    }
    paths
}
