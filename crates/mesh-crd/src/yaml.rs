//! YAML (and JSON, which is YAML) to a value that remembers where each part stood.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::Spanned;

use crate::problem::{Problem, Severity, code};

/// Largest text.
pub(crate) const MAX_BYTES: usize = 1 << 20;
/// Deepest nesting.
pub(crate) const MAX_DEPTH: usize = 64;
/// For [`MAX_DEPTH`] levels of the reader without optimisation, several times over.
const STACK_BYTES: usize = 16 << 20;

/// A text that was read.
#[derive(Debug)]
pub(crate) struct Document(Spanned<Tree>);

#[derive(Debug)]
enum Tree {
    Scalar(Value),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

/// Reads one document. Boxed because the error is large and rare.
pub(crate) fn read(text: &str) -> Result<Document, Box<Problem>> {
    if text.len() > MAX_BYTES {
        return Err(Box::new(Problem::new(
            code::TEXT,
            Severity::Error,
            "",
            format!("the text has {} bytes, more than 1 MiB", text.len()),
            "split it into several objects",
        )));
    }
    // The reader recurses with large frames; the callers' stacks may be small.
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || read_here(text))
            .map_err(|error| Box::new(exhausted(&error.to_string())))?
            .join()
            .unwrap_or_else(|_| Err(Box::new(exhausted("the reader failed"))))
    })
}

fn exhausted(reason: &str) -> Problem {
    Problem::new(
        code::TEXT,
        Severity::Error,
        "",
        format!("the text cannot be read: {reason}"),
        "try again, or shorten it",
    )
}

fn read_here(text: &str) -> Result<Document, Box<Problem>> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_events: 200_000,
            max_nodes: 100_000,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        // `y`, `on` and the like stay text: booleans are true and false.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Spanned<Tree>>(text, options)
        .map(Document)
        .map_err(|error| Box::new(unreadable(&error)))
}

fn unreadable(error: &serde_saphyr::Error) -> Problem {
    let mut problem = Problem::new(
        code::TEXT,
        Severity::Error,
        "",
        error.without_snippet().to_string(),
        "write one YAML or JSON object, without repeated keys, at most 64 levels deep",
    );
    if let Some(location) = error.location() {
        problem.line = u32::try_from(location.line()).ok();
        problem.column = u32::try_from(location.column()).ok();
    }
    problem
}

impl Document {
    /// The value.
    pub(crate) fn value(&self) -> Value {
        self.0.value.value()
    }

    /// Line and column of the part at `field`, or of the nearest part around it.
    pub(crate) fn locate(&self, field: &str) -> (u32, u32) {
        let (mut node, mut rest) = (&self.0, field);
        let mut at = position(&node.referenced);
        while !rest.is_empty() {
            let Some((next, place, tail)) = step(&node.value, rest) else {
                break;
            };
            at = place;
            node = next;
            rest = tail;
        }
        at
    }
}

type Step<'a, 'p> = (&'a Spanned<Tree>, (u32, u32), &'p str);

fn step<'a, 'p>(tree: &'a Tree, rest: &'p str) -> Option<Step<'a, 'p>> {
    match tree {
        Tree::Scalar(_) => None,
        Tree::List(items) => {
            let (index, tail) = rest.strip_prefix('[')?.split_once(']')?;
            let item = items.get(index.parse::<usize>().ok()?)?;
            Some((item, position(&item.referenced), tail))
        }
        // Keys may hold dots and brackets, so the longest key that fits wins.
        Tree::Map(entries) => entries
            .iter()
            .filter_map(|(key, item)| {
                let tail = after_key(rest, &key.value)?;
                let at = match item.value {
                    Tree::Scalar(ref v) if !v.is_null() => position(&item.referenced),
                    _ => position(&key.referenced),
                };
                Some((item, at, tail))
            })
            .min_by_key(|(_, _, tail)| tail.len()),
    }
}

/// What follows `key` in `rest`, written as `.key`, `key` (at the top) or `[key]`.
fn after_key<'p>(rest: &'p str, key: &str) -> Option<&'p str> {
    if let Some(tail) = rest.strip_prefix('[') {
        return tail.strip_prefix(key)?.strip_prefix(']');
    }
    let tail = rest.strip_prefix('.').unwrap_or(rest).strip_prefix(key)?;
    (tail.is_empty() || tail.starts_with(['.', '['])).then_some(tail)
}

fn position(location: &serde_saphyr::Location) -> (u32, u32) {
    let small = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
    (small(location.line()), small(location.column()))
}

impl Tree {
    fn value(&self) -> Value {
        match self {
            Self::Scalar(value) => value.clone(),
            Self::List(items) => items.iter().map(|i| i.value.value()).collect(),
            Self::Map(entries) => Value::Object(
                entries
                    .iter()
                    .map(|(k, v)| (k.value.clone(), v.value.value()))
                    .collect::<Map<_, _>>(),
            ),
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }
    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Scalar(Value::Null))
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }
    fn visit_bool<E>(self, v: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_i64<E>(self, v: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_u64<E>(self, v: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_f64<E>(self, v: f64) -> Result<Tree, E> {
        // `.inf` and `.nan` have no JSON; as text they fail the type check with a clear message.
        Ok(Tree::Scalar(
            Number::from_f64(v).map_or_else(|| v.to_string().into(), Value::Number),
        ))
    }
    fn visit_str<E>(self, v: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_string<E>(self, v: String) -> Result<Tree, E> {
        Ok(Tree::Scalar(v.into()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}
