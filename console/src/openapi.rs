//! The API's description: paths from the table of routes, shapes from `schemas.json`.

use serde_json::{Map, Value, json};

use crate::routes::{Permission, Route, TABLE};

const SCHEMAS: &str = include_str!("openapi/schemas.json");

/// The OpenAPI 3.1 document.
pub fn describe() -> Value {
    let mut paths = Map::new();
    for route in TABLE {
        // axum's wildcard has no counterpart: the rest of the path is one parameter.
        let path = route.path.replace("{*", "{");
        let entry = paths.entry(path).or_insert_with(|| json!({}));
        entry[route.method.as_str().to_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Sightline console", "version": env!("CARGO_PKG_VERSION"), "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "a Kubernetes token"},
                "cookie": {"type": "apiKey", "in": "cookie", "name": "sightline", "description": "set by /api/session"},
            },
        },
    })
}

fn schemas() -> Value {
    serde_json::from_str(SCHEMAS).unwrap_or_default()
}

fn operation(route: &Route) -> Value {
    let reference = |name: &str| json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{name}")}}});
    let mut parameters: Vec<Value> = route
        .query
        .iter()
        .map(|(name, text)| json!({"name": name, "in": "query", "description": text, "schema": {"type": "string"}}))
        .collect();
    parameters.extend(
        path_parameters(route.path)
            .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})),
    );
    let success = match route.response {
        Some(name) => json!({"description": "success", "content": reference(name)}),
        None => json!({"description": "success"}),
    };
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": {"200": success, "default": {"description": "failure", "content": reference("ApiError")}},
        "x-permission": match route.permission {
            Permission::Public => "public",
            Permission::Read => "read",
            Permission::Records => "records",
            Permission::Edit => "edit",
        },
    });
    if let Some(name) = route.request {
        operation["requestBody"] = json!({"required": true, "content": reference(name)});
    }
    if route.permission != Permission::Public {
        operation["security"] = json!([{"bearer": []}, {"cookie": []}]);
    }
    operation
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{')
        .skip(1)
        .filter_map(|rest| rest.split('}').next())
        .map(|name| name.trim_start_matches('*'))
}

#[cfg(test)]
mod tests;
