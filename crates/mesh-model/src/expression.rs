//! Expressions over a request and its answer: the part of CEL that filters of access logs use.
//!
//! Literals, attributes, `request.headers['x']`, comparisons, `in`, `&&`, `||`, `!`, `+` `-` on numbers, `has()`,
//! `size()`, `duration()`, `startsWith`, `endsWith`, `contains`, `matches`. What cannot be evaluated is an error, and an
//! error beside a deciding operand is forgotten, as in CEL.

use std::fmt;
use std::time::Duration;

use crate::matching::Pattern;

mod parse;

/// A checked expression; equal when its text is.
#[derive(Clone)]
pub struct Expression {
    source: String,
    root: Node,
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}
impl Eq for Expression {}
impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Expression").field(&self.source).finish()
    }
}

/// Longest text of an expression.
const SOURCE_MAX: usize = 4096;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true`, `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// A number.
    Double(f64),
    /// A text, which need not be UTF-8 when it comes from outside.
    Text(Vec<u8>),
    /// A time span.
    Duration(Duration),
    /// A list.
    List(Vec<Value>),
}

/// What an expression looks at.
pub trait ExpressionFacts {
    /// An attribute (`response.code`), or one entry of a map (`request.headers`, `user-agent`). `None` = it is not
    /// there.
    fn attribute(&self, name: &str, key: Option<&str>) -> Option<Value>;
}

/// Attributes that are known, and whether they are maps.
pub const ATTRIBUTES: [(&str, bool); 33] = [
    ("request.path", false),
    ("request.url_path", false),
    ("request.host", false),
    ("request.scheme", false),
    ("request.method", false),
    ("request.headers", true),
    ("request.referer", false),
    ("request.useragent", false),
    ("request.id", false),
    ("request.protocol", false),
    ("request.query", false),
    ("request.duration", false),
    ("request.size", false),
    ("request.total_size", false),
    ("response.code", false),
    ("response.code_details", false),
    ("response.flags", false),
    ("response.grpc_status", false),
    ("response.headers", true),
    ("response.size", false),
    ("response.total_size", false),
    ("source.address", false),
    ("source.port", false),
    ("destination.address", false),
    ("destination.port", false),
    ("connection.mtls", false),
    ("connection.requested_server_name", false),
    ("connection.uri_san_peer_certificate", false),
    ("connection.termination_details", false),
    ("upstream.address", false),
    ("upstream.port", false),
    ("xds.cluster_name", false),
    ("xds.route_name", false),
];

#[derive(Debug, Clone)]
enum Node {
    Literal(Value),
    Attribute(&'static str, Option<String>),
    Not(Box<Node>),
    Negate(Box<Node>),
    And(Box<Node>, Box<Node>),
    Or(Box<Node>, Box<Node>),
    Compare(Compare, Box<Node>, Box<Node>),
    Add(Box<Node>, Box<Node>, bool),
    In(Box<Node>, Box<Node>),
    List(Vec<Node>),
    Has(&'static str, Option<String>),
    Size(Box<Node>),
    Text(TextTest, Box<Node>, Box<Node>),
    Matches(Box<Node>, Pattern),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compare {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

impl Expression {
    /// Reads an expression; the error says what is wrong and where.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() > SOURCE_MAX {
            return Err(format!("the expression is longer than {SOURCE_MAX} bytes"));
        }
        Ok(Self {
            source: source.to_owned(),
            root: parse::parse(source)?,
        })
    }

    /// The text as configured.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it is true; what cannot be evaluated is not.
    #[must_use]
    pub fn holds(&self, facts: &dyn ExpressionFacts) -> bool {
        self.value(facts) == Some(Value::Bool(true))
    }

    /// Its value, if it can be evaluated.
    #[must_use]
    pub fn value(&self, facts: &dyn ExpressionFacts) -> Option<Value> {
        evaluate(&self.root, facts)
    }
}

fn evaluate(node: &Node, facts: &dyn ExpressionFacts) -> Option<Value> {
    let boolean = |node: &Node| match evaluate(node, facts) {
        Some(Value::Bool(value)) => Some(value),
        _ => None,
    };
    Some(match node {
        Node::Literal(value) => value.clone(),
        Node::Attribute(name, key) => facts.attribute(name, key.as_deref())?,
        Node::Has(name, key) => Value::Bool(facts.attribute(name, key.as_deref()).is_some()),
        Node::Not(inner) => Value::Bool(!boolean(inner)?),
        Node::Negate(inner) => match evaluate(inner, facts)? {
            Value::Int(n) => Value::Int(n.checked_neg()?),
            Value::Double(n) => Value::Double(-n),
            _ => return None,
        },
        // A deciding operand hides an error in the other.
        Node::And(a, b) => match (boolean(a), boolean(b)) {
            (Some(false), _) | (_, Some(false)) => Value::Bool(false),
            (Some(true), Some(true)) => Value::Bool(true),
            _ => return None,
        },
        Node::Or(a, b) => match (boolean(a), boolean(b)) {
            (Some(true), _) | (_, Some(true)) => Value::Bool(true),
            (Some(false), Some(false)) => Value::Bool(false),
            _ => return None,
        },
        Node::Compare(how, a, b) => Value::Bool(compare(*how, &evaluate(a, facts)?, &evaluate(b, facts)?)?),
        Node::Add(a, b, minus) => add(evaluate(a, facts)?, evaluate(b, facts)?, *minus)?,
        Node::In(one, all) => {
            let one = evaluate(one, facts)?;
            match evaluate(all, facts)? {
                Value::List(all) => {
                    Value::Bool(all.iter().any(|v| compare(Compare::Equal, &one, v) == Some(true)))
                }
                _ => return None,
            }
        }
        Node::List(nodes) => {
            let values: Option<Vec<Value>> = nodes.iter().map(|node| evaluate(node, facts)).collect();
            Value::List(values?)
        }
        Node::Size(inner) => match evaluate(inner, facts)? {
            Value::Text(text) => Value::Int(i64::try_from(text.len()).ok()?),
            Value::List(list) => Value::Int(i64::try_from(list.len()).ok()?),
            _ => return None,
        },
        Node::Text(test, text, part) => match (evaluate(text, facts)?, evaluate(part, facts)?) {
            (Value::Text(text), Value::Text(part)) => Value::Bool(match test {
                TextTest::StartsWith => text.starts_with(&part),
                TextTest::EndsWith => text.ends_with(&part),
                TextTest::Contains => {
                    part.is_empty() || text.windows(part.len()).any(|window| window == part)
                }
            }),
            _ => return None,
        },
        Node::Matches(text, pattern) => match evaluate(text, facts)? {
            Value::Text(text) => Value::Bool(pattern.is_full_match(&text)),
            _ => return None,
        },
    })
}

fn add(a: Value, b: Value, minus: bool) -> Option<Value> {
    Some(match (a, b) {
        (Value::Int(a), Value::Int(b)) if minus => Value::Int(a.checked_sub(b)?),
        (Value::Int(a), Value::Int(b)) => Value::Int(a.checked_add(b)?),
        (Value::Double(a), Value::Double(b)) => Value::Double(if minus { a - b } else { a + b }),
        (Value::Text(mut a), Value::Text(b)) if !minus => {
            a.extend_from_slice(&b);
            Value::Text(a)
        }
        _ => return None,
    })
}

/// `None` when the kinds do not compare; equality of different kinds is an error, too.
fn compare(how: Compare, a: &Value, b: &Value) -> Option<bool> {
    #[expect(clippy::cast_precision_loss, reason = "numbers of requests are small")]
    let order = match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Int(b)) => a.partial_cmp(b),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Text(a), Value::Text(b)) => a.partial_cmp(b),
        (Value::Duration(a), Value::Duration(b)) => a.partial_cmp(b),
        _ => return None,
    }?;
    Some(match how {
        Compare::Equal => order.is_eq(),
        Compare::NotEqual => order.is_ne(),
        Compare::Less => order.is_lt(),
        Compare::LessOrEqual => order.is_le(),
        Compare::Greater => order.is_gt(),
        Compare::GreaterOrEqual => order.is_ge(),
    })
}

#[cfg(test)]
mod tests;
