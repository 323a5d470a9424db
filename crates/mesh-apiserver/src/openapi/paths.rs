//! The paths of the served resources, with what clients look for in them.

use serde_json::{Map, Value, json};

use super::schemas::{Dialect, gvk};
use crate::registry::{self, Resource};

/// The paths of a group version; `name` gives the name of a kind's schema.
pub(super) fn of(
    group: &str,
    version: &str,
    dialect: Dialect,
    mut name: impl FnMut(&Resource) -> String,
) -> Map<String, Value> {
    let mut paths = Map::new();
    let served = registry::all()
        .iter()
        .filter(|r| r.group == group && r.versions.contains(&version));
    for resource in served {
        let operations = Operations {
            resource,
            version,
            dialect,
            schema: name(resource),
        };
        operations.add(group, &mut paths);
    }
    paths
}

struct Operations<'a> {
    resource: &'a Resource,
    version: &'a str,
    dialect: Dialect,
    schema: String,
}

impl Operations<'_> {
    fn add(&self, group: &str, paths: &mut Map<String, Value>) {
        let base = format!("/{}", super::base(group, self.version));
        let scope = if self.resource.namespaced {
            "/namespaces/{namespace}"
        } else {
            ""
        };
        let collection = format!("{base}{scope}/{}", self.resource.plural);
        let create = self.operation("post", "create", false);
        if self.resource.virtual_only {
            paths.insert(collection, json!({"post": create}));
            return;
        }
        let list = self.operation("list", "list", true);
        if self.resource.namespaced {
            paths.insert(format!("{base}/{}", self.resource.plural), json!({"get": list}));
        }
        let mut whole = json!({"get": list, "post": create});
        if let (true, Some(map)) = (
            self.resource.verbs().contains(&"deletecollection"),
            whole.as_object_mut(),
        ) {
            map.insert(
                "delete".into(),
                self.operation("deletecollection", "delete", true),
            );
        }
        paths.insert(collection.clone(), whole);
        let write = |delete: bool| {
            let mut one = json!({
                "get": self.operation("get", "read", false),
                "put": self.operation("put", "replace", false),
                "patch": self.operation("patch", "patch", false),
            });
            if let (true, Some(map)) = (delete, one.as_object_mut()) {
                map.insert("delete".into(), self.operation("delete", "delete", false));
            }
            one
        };
        paths.insert(format!("{collection}/{{name}}"), write(true));
        if self.resource.has_status {
            paths.insert(format!("{collection}/{{name}}/status"), write(false));
        }
    }

    fn operation(&self, action: &str, verb: &str, many: bool) -> Value {
        let names: &[&str] = match action {
            "post" | "put" => &["dryRun", "fieldManager", "fieldValidation"],
            "patch" => &["dryRun", "fieldManager", "fieldValidation", "force"],
            "delete" => &["dryRun", "gracePeriodSeconds", "propagationPolicy"],
            _ => &[],
        };
        let parameters: Vec<Value> = names.iter().map(|name| self.parameter(name)).collect();
        let shown = if many {
            format!("{}List", self.schema)
        } else {
            self.schema.clone()
        };
        let mut operation = json!({
            "description": format!("{verb} {}", self.resource.kind),
            "parameters": parameters,
            "responses": {"200": self.response(&shown)},
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(self.resource, self.version),
        });
        if let Some(map) = operation.as_object_mut() {
            self.body(action, map);
        }
        operation
    }

    fn parameter(&self, name: &str) -> Value {
        let kind = match name {
            "force" => "boolean",
            "gracePeriodSeconds" => "integer",
            _ => "string",
        };
        match self.dialect {
            Dialect::V2 => json!({"name": name, "in": "query", "type": kind, "uniqueItems": true}),
            Dialect::V3 => {
                json!({"name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true}})
            }
        }
    }

    fn response(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => {
                json!({"description": "OK", "schema": {"$ref": format!("#/definitions/{name}")}})
            }
            Dialect::V3 => {
                let schema = json!({"schema": {"$ref": format!("#/components/schemas/{name}")}});
                json!({"description": "OK", "content": {"application/json": schema, "application/yaml": schema}})
            }
        }
    }

    /// What may be sent: kubectl learns from it which kinds of patch a kind takes.
    fn body(&self, action: &str, operation: &mut Map<String, Value>) {
        let mut media = match action {
            "patch" => vec![
                "application/apply-patch+yaml",
                "application/json-patch+json",
                "application/merge-patch+json",
            ],
            "post" | "put" => vec!["*/*"],
            _ => return,
        };
        if action == "patch" && !self.resource.is_istio() {
            media.push("application/strategic-merge-patch+json");
        }
        match self.dialect {
            Dialect::V2 => {
                operation.insert("consumes".into(), json!(media));
            }
            Dialect::V3 => {
                let schema = match action {
                    "patch" => json!({"type": "object"}),
                    _ => json!({"$ref": format!("#/components/schemas/{}", self.schema)}),
                };
                let content: Map<String, Value> = media
                    .into_iter()
                    .map(|media| (media.to_owned(), json!({"schema": schema})))
                    .collect();
                operation.insert(
                    "requestBody".into(),
                    json!({"content": content, "required": true}),
                );
            }
        }
    }
}
