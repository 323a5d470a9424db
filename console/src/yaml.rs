//! Objects as text: what people edit and see compared.

use mesh_api::config::{ObjectName, Problem, Severity};
use serde_json::Value;

/// What an API server adds; people neither read nor write it in an editor.
const SERVER_FIELDS: &[&str] = &[
    "managedFields",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
];

/// Text to object, or the problem at its line.
pub fn parse(text: &str) -> Result<Value, Problem> {
    let value: Value = serde_saphyr::from_str(text).map_err(|error| {
        let location = error.location();
        let place = |n: u64| u32::try_from(n).ok().filter(|n| *n > 0);
        Problem {
            code: "IST0106".into(),
            severity: Severity::Error,
            field: String::new(),
            line: location.as_ref().and_then(|at| place(at.line())),
            column: location.as_ref().and_then(|at| place(at.column())),
            // Further lines draw the source, which the editor shows anyway.
            message: format!(
                "not valid YAML: {}",
                error.to_string().lines().next().unwrap_or_default()
            ),
            remedy: "correct the text at this line".into(),
        }
    })?;
    if value.is_object() {
        return Ok(value);
    }
    Err(Problem {
        code: "IST0106".into(),
        severity: Severity::Error,
        line: Some(1),
        message: "the text holds no object".into(),
        remedy: "begin with `apiVersion`, `kind`, `metadata` and `spec`".into(),
        ..Problem::default()
    })
}

/// Object to text, without what only servers write.
pub fn print(object: &Value) -> String {
    let mut object = object.clone();
    strip(&mut object);
    serde_saphyr::to_string(&in_reading_order(object)).unwrap_or_default()
}

/// Removes status and the server's bookkeeping.
pub fn strip(object: &mut Value) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    fields.shift_remove("status");
    let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    for field in SERVER_FIELDS {
        metadata.shift_remove(*field);
    }
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.shift_remove("kubectl.kubernetes.io/last-applied-configuration");
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
}

/// The order in which people write: apiVersion, kind, metadata (name first), spec.
fn in_reading_order(object: Value) -> Value {
    let Value::Object(mut fields) = object else {
        return object;
    };
    let mut ordered = serde_json::Map::new();
    for key in ["apiVersion", "kind", "metadata"] {
        if let Some(value) = fields.shift_remove(key) {
            ordered.insert(
                key.into(),
                if key == "metadata" {
                    metadata_in_order(value)
                } else {
                    value
                },
            );
        }
    }
    ordered.extend(fields);
    Value::Object(ordered)
}

fn metadata_in_order(metadata: Value) -> Value {
    let Value::Object(mut fields) = metadata else {
        return metadata;
    };
    let mut ordered = serde_json::Map::new();
    for key in ["name", "namespace", "labels", "annotations"] {
        if let Some(value) = fields.shift_remove(key) {
            ordered.insert(key.into(), value);
        }
    }
    ordered.extend(fields);
    Value::Object(ordered)
}

/// `metadata.resourceVersion`, or nothing.
pub fn resource_version(object: &Value) -> String {
    text(object, "/metadata/resourceVersion")
}

/// Which object the text is about.
pub fn name(object: &Value) -> ObjectName {
    ObjectName {
        kind: text(object, "/kind"),
        namespace: text(object, "/metadata/namespace"),
        name: text(object, "/metadata/name"),
    }
}

fn text(object: &Value, pointer: &str) -> String {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Line and column of a field path (`spec.http[0].route[0].weight`), or of its nearest ancestor in the text.
pub fn locate(source: &str, field: &str) -> Option<(u32, u32)> {
    let tree: Tree = serde_saphyr::from_str(source).ok()?;
    let mut at = None;
    let mut node = &tree;
    for step in steps(field) {
        let Some((place, next)) = node.child(&step) else {
            break;
        };
        at = Some(place);
        node = next;
    }
    at
}

enum Step {
    Field(String),
    Item(usize),
}

/// `a.b[0]["c.d"]` as steps; what is no path gives none.
fn steps(field: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = field;
    while !rest.is_empty() {
        if let Some(inner) = rest.strip_prefix('[') {
            let Some((index, after)) = inner.split_once(']') else {
                return steps;
            };
            steps.push(match index.parse() {
                Ok(number) => Step::Item(number),
                Err(_) => Step::Field(index.trim_matches(['"', '\'']).to_owned()),
            });
            rest = after.strip_prefix('.').unwrap_or(after);
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if !name.is_empty() {
                steps.push(Step::Field(name.to_owned()));
            }
            rest = after.strip_prefix('.').unwrap_or(after);
        }
    }
    steps
}

type Place = (u32, u32);

/// YAML with the place of every key and item.
enum Tree {
    Map(Vec<(String, Place, Tree)>),
    List(Vec<(Place, Tree)>),
    Leaf,
}

impl Tree {
    fn child(&self, step: &Step) -> Option<(Place, &Tree)> {
        match (self, step) {
            (Self::Map(entries), Step::Field(name)) => entries
                .iter()
                .find(|(key, ..)| key == name)
                .map(|(_, place, tree)| (*place, tree)),
            (Self::List(items), Step::Item(index)) => items.get(*index).map(|(place, tree)| (*place, tree)),
            _ => None,
        }
    }
}

impl<'de> serde::Deserialize<'de> for Tree {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> serde::de::Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<serde_saphyr::Spanned<String>>()? {
            let place = place(&key.referenced);
            entries.push((key.value, place, map.next_value()?));
        }
        Ok(Tree::Map(entries))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<serde_saphyr::Spanned<Tree>>()? {
            items.push((place(&item.referenced), item.value));
        }
        Ok(Tree::List(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_u64<E>(self, _: u64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_str<E>(self, _: &str) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
}

fn place(location: &serde_saphyr::Location) -> Place {
    let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (number(location.line()), number(location.column()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    const SOURCE: &str = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: reviews\n  namespace: default\nspec:\n  hosts:\n  - reviews\n  http:\n  - name: first\n    route:\n    - destination:\n        host: reviews\n      weight: 50\n";

    #[test]
    fn fields_are_found_in_the_text() {
        for (field, line) in [
            ("spec", Some(6)),
            ("spec.hosts[0]", Some(8)),
            ("spec.http[0].route[0].weight", Some(14)),
            ("spec.http[0].route[0].destination.host", Some(13)),
            // Absent: the nearest ancestor.
            ("spec.http[0].route[0].destination.subset", Some(12)),
            ("spec.tls[0]", Some(6)),
            ("status", None),
            ("", None),
        ] {
            assert_eq!(locate(SOURCE, field).map(|(line, _)| line), line, "{field}");
        }
    }

    #[test]
    fn a_syntax_error_has_its_line() {
        let problem = parse("a: 1\nb: [1,\nc: }\n").unwrap_err();
        assert!(problem.line.is_some_and(|line| line >= 2), "{problem:?}");
        assert!(parse("just text").is_err());
    }

    #[test]
    fn printing_drops_what_servers_write() {
        let object = serde_json::json!({
            "spec": {"hosts": ["a"]}, "status": {"x": 1},
            "metadata": {"managedFields": [], "uid": "1", "name": "a", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "x"}},
            "kind": "VirtualService", "apiVersion": "networking.istio.io/v1",
        });
        let text = print(&object);
        assert!(
            text.starts_with(
                "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata:\n  name: a\n"
            ),
            "{text}"
        );
        assert!(
            !text.contains("managedFields") && !text.contains("status") && !text.contains("annotations"),
            "{text}"
        );
        assert_eq!(parse(&text).unwrap()["spec"], object["spec"]);
    }
}
