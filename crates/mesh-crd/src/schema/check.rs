//! Checking a value against a schema, with the texts that Kubernetes gives.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{Bounds, Schema, Shape};

/// What kind of violation it is, as Kubernetes tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The schema has no such field (strict decoding).
    UnknownField,
    /// Wrong type.
    Type,
    /// A required field is absent.
    Required,
    /// Not one of the values.
    Unsupported,
    /// Out of bounds, wrong pattern or format.
    Invalid,
    /// Too many or too long.
    TooMuch,
    /// A list map key repeats.
    Duplicate,
    /// More than one of exclusive fields.
    Exclusive,
    /// A rule (CEL) does not hold.
    Rule,
}

/// One violation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Field path as Kubernetes prints it: `spec.http[0].match[0].headers[x-a].exact`.
    pub field: String,
    /// What kind.
    pub reason: Reason,
    /// For people.
    pub message: String,
    /// The whole item of a Kubernetes `Invalid` status, field included; for [`Reason::UnknownField`] the item
    /// of a strict decoding error, `unknown field "spec.httpp"`.
    pub kubernetes: String,
}

/// All violations of `schema` by `value`, in document order. `path` is the path of `value`, empty at the top.
#[must_use]
pub fn check(schema: &Schema, path: &str, value: &Value) -> Vec<Violation> {
    let mut checker = Checker::default();
    checker.value(schema, path, value);
    checker.found
}

/// The message of the status with which Kubernetes refuses the object; `None` if nothing is refused.
///
/// Unknown fields come first and alone (strict decoding, HTTP 400); otherwise the violations make an `Invalid`
/// status (HTTP 422), where rules are told only when the structure is right.
#[must_use]
pub fn status_message(
    kind: &crate::kinds::Kind,
    version: &str,
    name: &str,
    violations: &[Violation],
) -> Option<String> {
    let texts = |wanted: &dyn Fn(Reason) -> bool| -> Vec<&str> {
        violations
            .iter()
            .filter(|v| wanted(v.reason))
            .map(|v| v.kubernetes.as_str())
            .collect()
    };
    let unknown = texts(&|r| r == Reason::UnknownField);
    if !unknown.is_empty() {
        return Some(format!(
            "{kind} in version {version:?} cannot be handled as a {kind}: strict decoding error: {}",
            unknown.join(", "),
            kind = kind.kind,
        ));
    }
    let mut all = texts(&|r| r != Reason::Rule);
    if all.is_empty() {
        all = texts(&|r| r == Reason::Rule);
    } else if violations
        .iter()
        .any(|v| matches!(v.reason, Reason::Type | Reason::Required | Reason::Unsupported))
    {
        all.push(
            "<nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        );
    }
    let list = match all.as_slice() {
        [] => return None,
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    };
    Some(format!(
        "{}.{} {name:?} is invalid: {list}",
        kind.kind, kind.group
    ))
}

#[derive(Default)]
struct Checker {
    found: Vec<Violation>,
}

impl Checker {
    fn add(&mut self, path: &str, reason: Reason, message: String, kubernetes: String) {
        self.found.push(Violation {
            field: path.into(),
            reason,
            message,
            kubernetes,
        });
    }

    fn value(&mut self, schema: &Schema, path: &str, value: &Value) {
        if value.is_null() {
            if !schema.nullable && !matches!(schema.shape, Shape::Any) {
                self.wrong_type(schema, path, value);
            }
            return;
        }
        let before = self.found.len();
        if !self.shape(schema, path, value) {
            self.wrong_type(schema, path, value);
            return;
        }
        for group in &schema.exclusive {
            let present: Vec<_> = group.iter().filter(|f| value.get(**f).is_some()).collect();
            if present.len() > 1 {
                let names: Vec<String> = present.iter().map(|f| format!("{f:?}")).collect();
                self.add(
                    path,
                    Reason::Exclusive,
                    format!("only one of {} may be set", names.join(", ")),
                    format!(
                        "<nil>: Invalid value: \"\": \"{path}\" must validate one and only one schema (oneOf). Found {} valid alternatives",
                        present.len()
                    ),
                );
            }
        }
        if self.found.len() > before && !matches!(schema.shape, Shape::Object { .. }) {
            return;
        }
        for rule in &schema.rules {
            if !(rule.holds)(value) {
                let convertible = value
                    .as_str()
                    .is_none_or(|t| t.starts_with('-') || crate::duration::parse(t).is_some());
                let shown = match value {
                    // CEL fails before the comparison where the text is no duration.
                    Value::String(_) if rule.name == "duration" && !convertible => {
                        "\"string\": type conversion error from 'string' to 'google.protobuf.Duration' evaluating rule: ".to_owned()
                    }
                    Value::String(s) => format!("{s:?}: "),
                    Value::Number(n) => format!("{n}: "),
                    _ => String::new(),
                };
                self.add(
                    path,
                    Reason::Rule,
                    rule.message.into(),
                    format!("{path}: Invalid value: {shown}{}", rule.message),
                );
            }
        }
    }

    /// False when the value is of another type.
    fn shape(&mut self, schema: &Schema, path: &str, value: &Value) -> bool {
        match (&schema.shape, value) {
            (Shape::Object { properties, required }, Value::Object(fields)) => {
                for (name, field) in fields {
                    let at = join(path, name);
                    // Kubernetes drops `null` of fields that are not nullable, before it validates.
                    if field.is_null() && properties.contains_key(name.as_str()) {
                        continue;
                    }
                    match properties.get(name.as_str()) {
                        Some(schema) => self.value(schema, &at, field),
                        None => self.unknown(&at, name, properties.keys().copied()),
                    }
                }
                for name in required {
                    if fields.get(*name).is_none_or(Value::is_null) {
                        let at = join(path, name);
                        let kubernetes = format!("{at}: Required value");
                        self.add(
                            &at,
                            Reason::Required,
                            "required field is missing".into(),
                            kubernetes,
                        );
                    }
                }
            }
            (Shape::Map { values, entries }, Value::Object(fields)) => {
                for (name, field) in fields.iter().filter(|(_, v)| !v.is_null()) {
                    self.value(values, &format!("{path}[{name}]"), field);
                }
                self.count(*entries, path, fields.len(), "properties");
            }
            (Shape::Array { items, count, keys }, Value::Array(list)) => {
                self.count(*count, path, list.len(), "items");
                for (i, item) in list.iter().enumerate() {
                    self.value(items, &format!("{path}[{i}]"), item);
                }
                self.unique(keys, path, list);
            }
            (
                Shape::String {
                    values,
                    pattern,
                    length,
                    format,
                },
                Value::String(text),
            ) => {
                self.string(path, text, values, *pattern, *length, format);
            }
            (Shape::Integer { range, format }, Value::Number(n)) => {
                let Some(n) = whole(n) else { return false };
                let range = match (*format, *range) {
                    ("int32", r) => Bounds {
                        min: r.min.or(Some(i64::from(i32::MIN))),
                        max: r.max.or(Some(i64::from(i32::MAX))),
                    },
                    (_, r) => r,
                };
                #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^52")]
                self.range(range, path, n as f64, &n.to_string());
            }
            (Shape::Number { range }, Value::Number(n)) => {
                self.range(*range, path, n.as_f64().unwrap_or(f64::NAN), &n.to_string());
            }
            (Shape::Boolean, Value::Bool(_))
            | (Shape::IntOrString, Value::String(_))
            | (Shape::AnyObject, Value::Object(_))
            | (Shape::Any, _) => {}
            (Shape::IntOrString, Value::Number(n)) => return whole(n).is_some(),
            _ => return false,
        }
        true
    }

    fn string(
        &mut self,
        path: &str,
        text: &str,
        values: &[&str],
        pattern: Option<&str>,
        length: Bounds,
        format: &str,
    ) {
        if !values.is_empty() && !values.contains(&text) {
            let supported: Vec<String> = values.iter().map(|v| format!("{v:?}")).collect();
            let supported = supported.join(", ");
            self.add(
                path,
                Reason::Unsupported,
                format!("{text:?} is not one of {supported}"),
                format!("{path}: Unsupported value: {text:?}: supported values: {supported}"),
            );
            return;
        }
        let chars = i64::try_from(text.chars().count()).unwrap_or(i64::MAX);
        if length.max.is_some_and(|max| chars > max) {
            let max = length.max.unwrap_or_default();
            self.add(
                path,
                Reason::TooMuch,
                format!("may not be longer than {max} characters"),
                format!("{path}: Too long: may not be more than {max} bytes"),
            );
        }
        if length.min.is_some_and(|min| chars < min) {
            let min = length.min.unwrap_or_default();
            self.add(
                path,
                Reason::Invalid,
                format!("must have at least {min} characters"),
                format!(
                    "{path}: Invalid value: {text:?}: {path} in body should be at least {min} chars long"
                ),
            );
        }
        // A pattern that does not compile holds nothing back; a test compiles all of them.
        if let Some(pattern) = pattern
            && regex::Regex::new(pattern).is_ok_and(|p| !p.is_match(text))
        {
            self.add(
                path,
                Reason::Invalid,
                format!("must match {pattern}"),
                format!("{path}: Invalid value: {text:?}: {path} in body should match '{pattern}'"),
            );
        }
        if format == "byte" && !is_base64(text) {
            self.add(
                path,
                Reason::Invalid,
                "must be base64".into(),
                format!("{path}: Invalid value: {text:?}: {path} in body must be of type byte: {text:?}"),
            );
        }
    }

    fn range(&mut self, range: Bounds, path: &str, n: f64, shown: &str) {
        #[expect(clippy::cast_precision_loss, reason = "bounds are far below 2^52")]
        let (low, high) = (
            range.min.is_some_and(|min| n < min as f64),
            range.max.is_some_and(|max| n > max as f64),
        );
        let text = match (low, high, range) {
            (true, _, Bounds { min: Some(min), .. }) => {
                format!("should be greater than or equal to {min}")
            }
            (_, true, Bounds { max: Some(max), .. }) => format!("should be less than or equal to {max}"),
            _ => return,
        };
        self.add(
            path,
            Reason::Invalid,
            format!("{shown} {text}"),
            format!("{path}: Invalid value: {shown}: {path} in body {text}"),
        );
    }

    fn count(&mut self, bounds: Bounds, path: &str, n: usize, what: &str) {
        let len = i64::try_from(n).unwrap_or(i64::MAX);
        if let Some(max) = bounds.max.filter(|max| len > *max) {
            self.add(
                path,
                Reason::TooMuch,
                format!("has {n} {what}, at most {max} are allowed"),
                format!("{path}: Too many: {n}: must have at most {max} items"),
            );
        }
        if let Some(min) = bounds.min.filter(|min| len < *min) {
            self.add(
                path,
                Reason::Invalid,
                format!("must have at least {min} {what}"),
                format!("{path}: Invalid value: {n}: {path} in body should have at least {min} {what}"),
            );
        }
    }

    fn unique(&mut self, keys: &[&str], path: &str, list: &[Value]) {
        if keys.is_empty() {
            return;
        }
        let mut seen = BTreeSet::new();
        for (i, item) in list.iter().enumerate() {
            let key: serde_json::Map<String, Value> = keys
                .iter()
                .filter_map(|k| Some(((*k).to_owned(), item.get(k)?.clone())))
                .collect();
            let key = Value::Object(key).to_string();
            if !seen.insert(key.clone()) {
                let at = format!("{path}[{i}]");
                self.add(
                    &at,
                    Reason::Duplicate,
                    format!("{key} is already in the list"),
                    format!("{at}: Duplicate value: {key}"),
                );
            }
        }
    }

    fn unknown<'a>(&mut self, at: &str, name: &str, known: impl Iterator<Item = &'a str>) {
        let hint = nearest(name, known).map_or_else(String::new, |n| format!(", did you mean {n:?}?"));
        self.add(
            at,
            Reason::UnknownField,
            format!("unknown field {name:?}{hint}"),
            format!("unknown field {at:?}"),
        );
    }

    fn wrong_type(&mut self, schema: &Schema, path: &str, value: &Value) {
        let (wanted, got) = (type_name(&schema.shape), value_type(value));
        self.add(
            path,
            Reason::Type,
            format!("must be of type {wanted}, is {got}"),
            format!("{path}: Invalid value: \"{got}\": {path} in body must be of type {wanted}: \"{got}\""),
        );
    }
}

/// `path.name`, or `name` at the top.
pub(crate) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// A whole number, also when written `1.0`.
fn whole(n: &serde_json::Number) -> Option<i64> {
    n.as_i64().or_else(|| {
        let f = n.as_f64()?;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
        (f.fract() == 0.0 && f.abs() < 9.0e15).then_some(f as i64)
    })
}

fn type_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Object { .. } | Shape::Map { .. } | Shape::AnyObject => "object",
        Shape::Array { .. } => "array",
        Shape::String { .. } => "string",
        Shape::Integer { .. } => "integer",
        Shape::Number { .. } => "number",
        Shape::Boolean => "boolean",
        Shape::IntOrString => "integer,string",
        Shape::Any => "any",
    }
}

fn value_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(n) if n.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn is_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    text.len().is_multiple_of(4)
        && text.len() - body.len() <= 2
        && body
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'))
}

/// The known name that is one or two typing errors away.
fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|k| (distance(&name.to_lowercase(), &k.to_lowercase()), k))
        .filter(|(d, k)| *d <= 2 && *d < k.len())
        .min()
        .map(|(_, k)| k)
}

/// Levenshtein distance on bytes; field names are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(b.bytes()) {
            let up = *cell;
            let value = (diagonal + usize::from(x != y)).min(up + 1).min(left + 1);
            diagonal = up;
            left = value;
            *cell = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
