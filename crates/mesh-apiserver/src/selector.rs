//! Label and field selectors.

use serde_json::Value;

use crate::registry::{Core, Family, Resource};

/// One term of a label selector.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    Exists(String),
    Missing(String),
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Greater(String, i64),
    Less(String, i64),
}

/// A parsed label selector; the empty one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Labels(Vec<Term>);

impl Labels {
    /// Parses the text form.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut terms = Vec::new();
        for requirement in split(text)? {
            terms.push(term(requirement.trim())?);
        }
        Ok(Self(terms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an object's labels fit.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let get = |key: &str| labels.and_then(|l| l.get(key)).and_then(Value::as_str);
        self.0.iter().all(|term| match term {
            Term::Exists(key) => get(key).is_some(),
            Term::Missing(key) => get(key).is_none(),
            Term::In(key, values) => get(key).is_some_and(|v| values.iter().any(|x| x == v)),
            Term::NotIn(key, values) => get(key).is_none_or(|v| values.iter().all(|x| x != v)),
            Term::Greater(key, bound) => get(key)
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| v > *bound),
            Term::Less(key, bound) => get(key)
                .and_then(|v| v.parse::<i64>().ok())
                .is_some_and(|v| v < *bound),
        })
    }
}

/// Splits at commas outside parentheses.
fn split(text: &str) -> Result<Vec<&str>, String> {
    let mut parts = Vec::new();
    let mut depth = 0_i32;
    let mut start = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + 1;
            }
            _ => {}
        }
        if !(0..=1).contains(&depth) {
            return Err("unable to parse requirement: found ')' or '(' where a value was expected".into());
        }
    }
    if depth != 0 {
        return Err("unable to parse requirement: found '', expected: ',' or ')'".into());
    }
    let rest = text.get(start..).unwrap_or_default();
    if !rest.trim().is_empty() || start > 0 {
        parts.push(rest);
    }
    Ok(parts)
}

fn term(text: &str) -> Result<Term, String> {
    if let Some(key) = text.strip_prefix('!') {
        return Ok(Term::Missing(label_key(key.trim())?));
    }
    if text.ends_with(')') {
        return set_term(text);
    }
    if let Some(second) = text.split_whitespace().nth(1)
        && !second.starts_with(['=', '!', '<', '>'])
        && !text
            .split_whitespace()
            .next()
            .is_some_and(|first| first.ends_with(['=', '<', '>']))
    {
        return Err(format!(
            "unable to parse requirement: found '{second}', expected: in, notin, =, ==, !=, gt, lt"
        ));
    }
    for (operator, negative) in [("!=", true), ("==", false), ("=", false)] {
        if let Some((key, value)) = text.split_once(operator) {
            let key = label_key(key.trim())?;
            let value = label_value(&key, value.trim())?;
            return Ok(if negative {
                Term::NotIn(key, vec![value])
            } else {
                Term::In(key, vec![value])
            });
        }
    }
    for operator in ['>', '<'] {
        if let Some((key, value)) = text.split_once(operator) {
            let key = label_key(key.trim())?;
            let bound = value
                .trim()
                .parse()
                .map_err(|_| format!("values[0][{key}]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer"))?;
            return Ok(if operator == '>' {
                Term::Greater(key, bound)
            } else {
                Term::Less(key, bound)
            });
        }
    }
    Ok(Term::Exists(label_key(text)?))
}

fn set_term(text: &str) -> Result<Term, String> {
    let bad = || format!("unable to parse requirement: {text:?}");
    let (head, values) = text.split_once('(').ok_or_else(bad)?;
    let values = values.strip_suffix(')').ok_or_else(bad)?;
    let mut words = head.split_whitespace();
    let (Some(key), Some(operator), None) = (words.next(), words.next(), words.next()) else {
        return Err(bad());
    };
    let key = label_key(key)?;
    let mut list = Vec::new();
    for value in values.split(',') {
        list.push(label_value(&key, value.trim())?);
    }
    match operator {
        "in" => Ok(Term::In(key, list)),
        "notin" => Ok(Term::NotIn(key, list)),
        other => Err(format!(
            "unable to parse requirement: found '{other}', expected: in, notin, =, ==, !=, gt, lt"
        )),
    }
}

fn label_key(key: &str) -> Result<String, String> {
    match crate::names::qualified_name(key) {
        None => Ok(key.to_owned()),
        Some(fault) => Err(format!(
            "unable to parse requirement: <nil>: Invalid value: {key:?}: {fault}"
        )),
    }
}

fn label_value(key: &str, value: &str) -> Result<String, String> {
    match crate::names::label_value(value) {
        None => Ok(value.to_owned()),
        Some(fault) => Err(format!(
            "unable to parse requirement: values[0][{key}]: Invalid value: {value:?}: {fault}"
        )),
    }
}

/// A parsed field selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fields(Vec<(String, String, bool)>);

impl Fields {
    /// Parses the text form and checks the fields against what the resource supports.
    pub(crate) fn parse(text: &str, resource: &Resource) -> Result<Self, String> {
        let mut terms = Vec::new();
        for part in split_escaped(text).into_iter().filter(|p| !p.is_empty()) {
            let (field, value, equal) = if let Some((f, v)) = part.split_once("!=") {
                (f, v, false)
            } else if let Some((f, v)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (f, v, true)
            } else {
                return Err(format!("invalid selector: '{text}'; can't understand '{part}'"));
            };
            if !supported(resource).contains(&field) {
                return Err(unsupported(resource, field));
            }
            let value = value
                .replace("\\,", ",")
                .replace("\\=", "=")
                .replace("\\\\", "\\");
            terms.push((field.to_owned(), value, equal));
        }
        Ok(Self(terms))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The one name that is asked for, if there is one.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0
            .iter()
            .find(|(field, _, equal)| field == "metadata.name" && *equal)
            .map(|(_, value, _)| value.as_str())
    }

    /// Whether an object's fields fit.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        self.0.iter().all(|(field, value, equal)| {
            let found = read(object, field);
            (found == *value) == *equal
        })
    }
}

/// A field's text; the two Event kinds name theirs differently, the stored form is the core one.
fn read(object: &Value, field: &str) -> String {
    let field = match field {
        "reportingComponent" | "source" if object.get("reportingComponent").is_none_or(|c| c == "") => {
            "source.component"
        }
        "source" => "reportingComponent",
        other => other,
    };
    let mut at = object;
    for part in field.split('.') {
        match at.get(part) {
            Some(next) => at = next,
            None if field == "spec.hostNetwork" => return "false".into(),
            None => return String::new(),
        }
    }
    match at {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn split_escaped(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    parts
}

fn supported(resource: &Resource) -> &'static [&'static str] {
    match resource.family {
        Family::Core(Core::Pod) => &[
            "metadata.name",
            "metadata.namespace",
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        Family::Core(Core::Event | Core::EventsEvent) => &[
            "metadata.name",
            "metadata.namespace",
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Family::Core(Core::Secret) => &["metadata.name", "metadata.namespace", "type"],
        Family::Core(Core::Namespace) => &["metadata.name", "status.phase", "name"],
        Family::Core(Core::Service) => &[
            "metadata.name",
            "metadata.namespace",
            "spec.clusterIP",
            "spec.type",
        ],
        _ if resource.namespaced => &["metadata.name", "metadata.namespace"],
        _ => &["metadata.name"],
    }
}

fn unsupported(resource: &Resource, field: &str) -> String {
    match resource.family {
        Family::Core(
            Core::Pod | Core::Event | Core::EventsEvent | Core::Secret | Core::Namespace | Core::Service,
        ) => {
            format!("field label not supported: {field}")
        }
        Family::Core(_) => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        Family::Istio(_) => format!("field label not supported: {field}"),
    }
}
