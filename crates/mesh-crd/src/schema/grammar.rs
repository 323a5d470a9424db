//! The short form in which schemas are written.
//!
//! A line at the margin begins a type, indented lines are its fields, `#` begins a comment:
//!
//! ```text
//! HTTPRoute
//!   name string
//!   route [HTTPRouteDestination]
//!   timeout Duration
//!   ! redirect|directResponse        at most one of these fields
//!   @ only-one-selector              a rule, by name
//! Duration = string rule=duration    another name for a type with options
//! ```
//!
//! `name*` is required. Types: `string bytes date-time int32 uint32 integer double bool any object
//! int-or-string`, `enum(A,B)`, `[T]`, `{T}` (map from text), or a name. Options after a type: `nullable`,
//! `min=`, `max=` (range, length or count), `pattern=`, `key=` (list map key), `rule=`.
//! Texts are compiled in and read by a test, so a mistake in them cannot reach a user; a name that does not
//! resolve becomes [`Shape::Any`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Bounds, Rule, Schema, Shape};

/// Reads a whole text; types may be used before they are defined.
pub(super) fn read(text: &'static str) -> BTreeMap<&'static str, Arc<Schema>> {
    let mut definitions: BTreeMap<&'static str, Definition> = BTreeMap::new();
    let mut current = "";
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if line.is_empty() {
        } else if let Some(field) = line.strip_prefix("  ") {
            definitions.entry(current).or_default().lines.push(field.trim());
        } else if let Some((name, alias)) = line.split_once('=') {
            definitions.entry(name.trim()).or_default().alias = Some(alias.trim());
        } else {
            current = line.trim();
            definitions.entry(current).or_default();
        }
    }
    let mut resolver = Resolver {
        definitions,
        done: BTreeMap::new(),
    };
    let names: Vec<_> = resolver.definitions.keys().copied().collect();
    for name in names {
        resolver.named(name);
    }
    resolver.done
}

#[derive(Default)]
struct Definition {
    alias: Option<&'static str>,
    lines: Vec<&'static str>,
}

struct Resolver {
    definitions: BTreeMap<&'static str, Definition>,
    done: BTreeMap<&'static str, Arc<Schema>>,
}

impl Resolver {
    fn named(&mut self, name: &'static str) -> Arc<Schema> {
        if let Some(schema) = self.done.get(name) {
            return Arc::clone(schema);
        }
        let Some(definition) = self.definitions.remove(name) else {
            debug_assert!(false, "schema type {name:?} is not defined, or refers to itself");
            return Arc::default();
        };
        let schema = match definition.alias {
            Some(alias) => self.type_with_options(alias),
            None => self.object(&definition.lines),
        };
        self.done.insert(name, Arc::clone(&schema));
        schema
    }

    fn object(&mut self, lines: &[&'static str]) -> Arc<Schema> {
        let mut schema = Schema::default();
        let (mut properties, mut required) = (BTreeMap::new(), Vec::new());
        for line in lines {
            let (head, rest) = line.split_once(' ').unwrap_or((line, "any"));
            match head {
                "!" => schema.exclusive.push(rest.trim().split('|').collect()),
                "@" => schema.rules.extend(Rule::by_name(rest.trim())),
                _ => {
                    let name = head.trim_end_matches('*');
                    if head.ends_with('*') {
                        required.push(name);
                    }
                    properties.insert(name, self.type_with_options(rest.trim()));
                }
            }
        }
        schema.shape = Shape::Object { properties, required };
        Arc::new(schema)
    }

    fn type_with_options(&mut self, text: &'static str) -> Arc<Schema> {
        let (head, options) = text.split_once(' ').unwrap_or((text, ""));
        let base = self.type_alone(head);
        if options.is_empty() {
            return base;
        }
        let mut schema = Schema::clone(&base);
        for option in options.split_whitespace() {
            apply(&mut schema, option);
        }
        Arc::new(schema)
    }

    fn type_alone(&mut self, text: &'static str) -> Arc<Schema> {
        let shape = if let Some(item) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            Shape::Array {
                items: self.type_alone(item),
                count: Bounds::default(),
                keys: Vec::new(),
            }
        } else if let Some(value) = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
            Shape::Map {
                values: self.type_alone(value),
                entries: Bounds::default(),
            }
        } else if let Some(values) = text.strip_prefix("enum(").and_then(|t| t.strip_suffix(')')) {
            string(values.split(',').collect(), "")
        } else if let Some(shape) = scalar(text) {
            shape
        } else {
            return self.named(text);
        };
        Arc::new(Schema {
            shape,
            ..Schema::default()
        })
    }
}

fn string(values: Vec<&'static str>, format: &'static str) -> Shape {
    Shape::String {
        values,
        pattern: None,
        length: Bounds::default(),
        format,
    }
}

fn scalar(text: &str) -> Option<Shape> {
    Some(match text {
        "string" => string(Vec::new(), ""),
        "bytes" => string(Vec::new(), "byte"),
        "date-time" => string(Vec::new(), "date-time"),
        "int32" => Shape::Integer {
            range: Bounds::default(),
            format: "int32",
        },
        "uint32" => Shape::Integer {
            range: Bounds {
                min: Some(0),
                max: Some(i64::from(u32::MAX)),
            },
            format: "",
        },
        "integer" => Shape::Integer {
            range: Bounds::default(),
            format: "",
        },
        "double" => Shape::Number {
            range: Bounds::default(),
        },
        "bool" => Shape::Boolean,
        "int-or-string" => Shape::IntOrString,
        "object" => Shape::AnyObject,
        "any" => Shape::Any,
        _ => return None,
    })
}

fn apply(schema: &mut Schema, option: &'static str) {
    let (name, value) = option.split_once('=').unwrap_or((option, ""));
    match name {
        "nullable" => schema.nullable = true,
        "rule" => schema.rules.extend(Rule::by_name(value)),
        "key" => {
            if let Shape::Array { keys, .. } = &mut schema.shape {
                keys.push(value);
            }
        }
        "pattern" => {
            if let Shape::String { pattern, .. } = &mut schema.shape {
                *pattern = Some(value);
            }
        }
        "min" | "max" => {
            let bounds = match &mut schema.shape {
                Shape::Map { entries, .. } => entries,
                Shape::Array { count, .. } => count,
                Shape::String { length, .. } => length,
                Shape::Integer { range, .. } | Shape::Number { range } => range,
                _ => return,
            };
            let value = value.parse().ok();
            if name == "min" {
                bounds.min = value;
            } else {
                bounds.max = value;
            }
        }
        _ => debug_assert!(false, "schema option {option:?} is not known"),
    }
}
