//! Schemas of the served kinds in both dialects of OpenAPI.

use mesh_crd::schema;
use serde_json::{Map, Value, json};

use super::describe;
use crate::registry::{Family, Resource};
use crate::types::{self, Field, Identity, List, Merge, Scalar, Struct, Type};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Which dialect is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    V2,
    V3,
}

/// The schemas of a document, with all that they refer to.
pub(super) struct Schemas {
    dialect: Dialect,
    pub(super) all: Map<String, Value>,
}

impl Schemas {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            all: Map::new(),
        }
    }

    /// Adds the schema of a kind and of its list; the name of the first.
    pub(super) fn add(&mut self, resource: &Resource, version: &str) -> String {
        let name = schema_name(resource, version);
        if self.all.contains_key(&name) {
            return name;
        }
        let mut body = match resource.family {
            Family::Istio(kind) => self.custom(kind.kind),
            Family::Core(_) => match &*types::of(resource) {
                Type::Struct(s) => self.object(s),
                _ => Map::new(),
            },
        };
        body.insert(
            "x-kubernetes-group-version-kind".into(),
            json!([gvk(resource, version)]),
        );
        if let Some(text) = describe::kind(resource.kind) {
            body.insert("description".into(), text.into());
        }
        if let Some(Value::Object(properties)) = body.get_mut("properties") {
            for (name, property) in properties {
                if let (Some(text), Some(map)) = (describe::top(name), property.as_object_mut()) {
                    map.insert("description".into(), text.into());
                }
            }
        }
        self.all.insert(name.clone(), Value::Object(body));
        if !resource.virtual_only {
            self.add_list(resource, version, &name);
        }
        name
    }

    fn add_list(&mut self, resource: &Resource, version: &str, item: &str) {
        let meta = format!("{META}.ListMeta");
        if !self.all.contains_key(&meta) {
            let text = || json!({"type": "string"});
            let body = json!({"type": "object", "properties": {
                "continue": text(), "resourceVersion": text(), "selfLink": text(),
                "remainingItemCount": {"type": "integer", "format": "int64"},
            }});
            self.all.insert(meta.clone(), body);
        }
        let kind = format!("{}List", resource.kind);
        let body = json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": self.refer(&meta),
                "items": {"type": "array", "items": self.refer(item)},
            },
            "x-kubernetes-group-version-kind":
                [{"group": resource.group, "version": version, "kind": kind}],
        });
        self.all.insert(format!("{item}List"), body);
    }

    /// A reference, in the form in which further words may stand beside it.
    fn refer(&self, name: &str) -> Value {
        match self.dialect {
            Dialect::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Dialect::V3 => json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]}),
        }
    }

    /// The schema of an Istio kind: written out, but for its metadata.
    fn custom(&mut self, kind: &str) -> Map<String, Value> {
        let mut body = schema::of(kind)
            .map(|s| schema::open_api_v3(&s))
            .unwrap_or_default();
        if self.dialect == Dialect::V2 {
            simplify(&mut body);
        }
        let mut body = body.as_object().cloned().unwrap_or_default();
        let mut properties = body
            .get("properties")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        for name in ["apiVersion", "kind"] {
            properties.insert(name.into(), json!({"type": "string"}));
        }
        properties.insert("metadata".into(), self.kind(&types::object_meta()));
        body.insert("properties".into(), Value::Object(properties));
        body.insert("type".into(), "object".into());
        body
    }

    fn object(&mut self, kind: &Struct) -> Map<String, Value> {
        let mut properties = Map::new();
        for (name, field) in &kind.fields {
            properties.insert((*name).to_owned(), self.field(field));
        }
        let mut body = Map::new();
        body.insert("type".into(), "object".into());
        body.insert("properties".into(), Value::Object(properties));
        if !kind.required.is_empty() {
            body.insert("required".into(), json!(kind.required));
        }
        if kind.atomic {
            body.insert("x-kubernetes-map-type".into(), "atomic".into());
        }
        body
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut body = self.kind(&field.kind);
        let default = match (&field.default, field.always, &*field.kind) {
            (Some(default), ..) => Some(default.clone()),
            (None, true, Type::Struct(_)) => Some(json!({})),
            _ => None,
        };
        if let (Some(default), Some(map)) = (default, body.as_object_mut()) {
            map.insert("default".into(), default);
        }
        body
    }

    /// The schema of a value; structs become references.
    fn kind(&mut self, kind: &Type) -> Value {
        match kind {
            Type::Any => json!({"type": "object"}),
            Type::Scalar(scalar) => self.scalar(*scalar),
            Type::Struct(s) => match s.name.and_then(public_name) {
                None => Value::Object(self.object(s)),
                Some(name) => {
                    if !self.all.contains_key(&name) {
                        // In its place before its fields are looked at: they may refer to it.
                        self.all.insert(name.clone(), Value::Null);
                        let body = self.object(s);
                        self.all.insert(name.clone(), Value::Object(body));
                    }
                    self.refer(&name)
                }
            },
            Type::Map { values, atomic } => {
                let mut body = json!({"type": "object", "additionalProperties": self.kind(values)});
                if let (true, Some(map)) = (*atomic, body.as_object_mut()) {
                    map.insert("x-kubernetes-map-type".into(), "atomic".into());
                }
                body
            }
            Type::List(list) => self.list(list),
        }
    }

    fn list(&mut self, list: &List) -> Value {
        let mut body = Map::new();
        body.insert("type".into(), "array".into());
        body.insert("items".into(), self.kind(&list.items));
        let identity = match &list.identity {
            Identity::Atomic => "atomic",
            Identity::Set => "set",
            Identity::Keys(keys) => {
                body.insert("x-kubernetes-list-map-keys".into(), json!(keys));
                "map"
            }
        };
        body.insert("x-kubernetes-list-type".into(), identity.into());
        match list.patch {
            Merge::Replace => {}
            Merge::Values => {
                body.insert("x-kubernetes-patch-strategy".into(), "merge".into());
            }
            Merge::Items { key, retain } => {
                let strategy = if retain { "merge,retainKeys" } else { "merge" };
                body.insert("x-kubernetes-patch-strategy".into(), strategy.into());
                body.insert("x-kubernetes-patch-merge-key".into(), key.into());
            }
        }
        Value::Object(body)
    }

    fn scalar(&mut self, scalar: Scalar) -> Value {
        let v3 = self.dialect == Dialect::V3;
        let (name, body) = match scalar {
            Scalar::Text => return json!({"type": "string"}),
            Scalar::Bytes => return json!({"type": "string", "format": "byte"}),
            Scalar::Int32 => return json!({"type": "integer", "format": "int32"}),
            Scalar::Int64 => return json!({"type": "integer", "format": "int64"}),
            Scalar::Number => return json!({"type": "number", "format": "double"}),
            Scalar::Boolean => return json!({"type": "boolean"}),
            Scalar::Time => (
                format!("{META}.Time"),
                json!({"type": "string", "format": "date-time"}),
            ),
            Scalar::MicroTime => (
                format!("{META}.MicroTime"),
                json!({"type": "string", "format": "date-time"}),
            ),
            Scalar::Quantity => (
                "io.k8s.apimachinery.pkg.api.resource.Quantity".to_owned(),
                match v3 {
                    true => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
                    false => json!({"type": "string"}),
                },
            ),
            Scalar::IntOrString => (
                "io.k8s.apimachinery.pkg.util.intstr.IntOrString".to_owned(),
                match v3 {
                    true => {
                        json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
                    }
                    false => json!({"type": "string", "format": "int-or-string"}),
                },
            ),
        };
        self.all.entry(name.clone()).or_insert(body);
        self.refer(&name)
    }
}

/// Takes out what the second version's dialect does not know.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            for word in ["oneOf", "anyOf", "allOf", "not", "nullable"] {
                map.shift_remove(word);
            }
            map.values_mut().for_each(simplify);
        }
        Value::Array(items) => items.iter_mut().for_each(simplify),
        _ => {}
    }
}

/// The name of a message in documents.
fn public_name(message: &str) -> Option<String> {
    let (package, name) = message.split_once('.')?;
    Some(match package {
        "meta" => format!("{META}.{name}"),
        package => format!("io.k8s.api.{package}.v1.{name}"),
    })
}

/// The name of a kind in documents.
pub(super) fn schema_name(resource: &Resource, version: &str) -> String {
    let parts: Vec<&str> = resource.group.split('.').collect();
    match resource.family {
        Family::Core(_) => {
            let package = parts.first().copied().filter(|p| !p.is_empty()).unwrap_or("core");
            format!("io.k8s.api.{package}.{version}.{}", resource.kind)
        }
        Family::Istio(_) => {
            let reversed: Vec<&str> = parts.into_iter().rev().collect();
            format!("{}.{version}.{}", reversed.join("."), resource.kind)
        }
    }
}

/// Group, version and kind.
pub(super) fn gvk(resource: &Resource, version: &str) -> Value {
    json!({"group": resource.group, "version": version, "kind": resource.kind})
}
