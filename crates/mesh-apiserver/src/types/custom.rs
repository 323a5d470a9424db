//! Types of Istio's kinds.

use std::sync::Arc;

use mesh_crd::schema::{self, Schema, Shape};

use super::{Field, Identity, List, Merge, Scalar, Struct, Type, object_meta};

/// The type of a kind's objects.
pub(super) fn object(kind: &str) -> Arc<Type> {
    let mut made = match schema::of(kind).map(|s| convert(&s)).as_deref() {
        Some(Type::Struct(found)) => found.clone(),
        _ => Struct::default(),
    };
    let text = || Arc::new(Type::Scalar(Scalar::Text));
    for (name, kind) in [
        ("apiVersion", text()),
        ("kind", text()),
        ("metadata", object_meta()),
    ] {
        made.fields.insert(name, field(kind));
    }
    Arc::new(Type::Struct(made))
}

fn field(kind: Arc<Type>) -> Field {
    Field {
        kind,
        default: None,
        always: false,
    }
}

fn convert(schema: &Schema) -> Arc<Type> {
    Arc::new(match &schema.shape {
        Shape::Object { properties, required } => Type::Struct(Struct {
            name: None,
            fields: properties
                .iter()
                .map(|(name, inner)| (*name, field(convert(inner))))
                .collect(),
            required: required.clone(),
            atomic: false,
        }),
        Shape::Map { values, .. } => Type::Map {
            values: convert(values),
            atomic: false,
        },
        Shape::Array { items, keys, .. } => Type::List(List {
            items: convert(items),
            identity: match keys.is_empty() {
                true => Identity::Atomic,
                false => Identity::Keys(keys.clone()),
            },
            patch: Merge::Replace,
        }),
        Shape::String { format: "byte", .. } => Type::Scalar(Scalar::Bytes),
        Shape::String { .. } => Type::Scalar(Scalar::Text),
        Shape::Integer { .. } => Type::Scalar(Scalar::Int64),
        Shape::Number { .. } => Type::Scalar(Scalar::Number),
        Shape::Boolean => Type::Scalar(Scalar::Boolean),
        Shape::IntOrString => Type::Scalar(Scalar::IntOrString),
        Shape::AnyObject | Shape::Any => Type::Any,
    })
}
