//! The language of find and hide. Pure.
//!
//! `rate > 10 and not healthy or (source ~ reviews and p95 > 200ms)`

mod words;

use crate::text::graph::words as texts;

use self::words::{FIELDS, FLAGS, Scope, nearest};

pub use self::words::{Field, Flag};

pub use self::words::{edge_words, flag_words, node_words};

/// A condition that was understood.
#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    /// All of them.
    And(Vec<Condition>),
    /// Any of them.
    Or(Vec<Condition>),
    /// The opposite.
    Not(Box<Condition>),
    /// A number.
    Number(Field, Operator, f64),
    /// A text.
    Text(Field, Operator, String),
    /// A word that stands alone.
    Flag(Flag),
}

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Is,
    /// `!=`
    IsNot,
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
    /// `~`
    Contains,
    /// `^=`
    Begins,
    /// `$=`
    Ends,
}

const OPERATORS: &[(&str, Operator)] = &[
    ("!=", Operator::IsNot),
    (">=", Operator::AtLeast),
    ("<=", Operator::AtMost),
    ("^=", Operator::Begins),
    ("$=", Operator::Ends),
    ("*=", Operator::Contains),
    ("=", Operator::Is),
    (">", Operator::Above),
    ("<", Operator::Below),
    ("~", Operator::Contains),
];

/// Longest condition, bytes: deeper nesting than that nobody reads.
const MOST: usize = 2000;

/// What a condition is asked about: what it does not know is `None`.
pub trait Facts {
    /// A number by field.
    fn number(&self, field: Field) -> Option<f64>;
    /// All texts of a field: a condition holds when one of them fits.
    fn texts(&self, field: Field) -> Option<Vec<&str>>;
    /// A flag.
    fn flag(&self, flag: Flag) -> Option<bool>;
}

/// Reads a condition; nothing written is no condition. The error is for people.
pub fn parse(text: &str) -> Result<Option<Condition>, String> {
    if text.len() > MOST {
        return Err(texts().err_long.to_owned());
    }
    let tokens = tokens(text)?;
    if tokens.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { tokens, at: 0 };
    let condition = parser.any()?;
    if let Some(token) = parser.peek() {
        return Err(if token == ")" {
            texts().err_bracket.to_owned()
        } else {
            (texts().err_text)(token)
        });
    }
    scope(&condition)?;
    Ok(Some(condition))
}

impl Condition {
    /// Whether it holds; a condition that is about something else does not.
    pub fn holds(&self, facts: &dyn Facts) -> bool {
        self.judge(facts) == Some(true)
    }

    fn judge(&self, facts: &dyn Facts) -> Option<bool> {
        match self {
            Self::And(all) => all
                .iter()
                .map(|one| one.judge(facts))
                .try_fold(true, |sum, one| Some(sum && one?)),
            Self::Or(any) => {
                any.iter()
                    .map(|one| one.judge(facts))
                    .fold(None, |sum: Option<bool>, one| match (sum, one) {
                        (None, one) => one,
                        (sum, None) => sum,
                        (Some(a), Some(b)) => Some(a || b),
                    })
            }
            Self::Not(one) => one.judge(facts).map(|holds| !holds),
            Self::Number(field, operator, value) => facts.number(*field).map(|number| match operator {
                Operator::Above => number > *value,
                Operator::AtLeast => number >= *value,
                Operator::Below => number < *value,
                Operator::AtMost => number <= *value,
                Operator::IsNot => (number - value).abs() > f64::EPSILON,
                _ => (number - value).abs() <= f64::EPSILON,
            }),
            Self::Text(field, operator, value) => {
                let texts = facts.texts(*field)?;
                let fits = |text: &&str| {
                    let text = text.to_lowercase();
                    match operator {
                        Operator::Contains => text.contains(value.as_str()),
                        Operator::Begins => text.starts_with(value.as_str()),
                        Operator::Ends => text.ends_with(value.as_str()),
                        _ => text == *value,
                    }
                };
                Some(if *operator == Operator::IsNot {
                    !texts.iter().any(fits)
                } else {
                    texts.iter().any(fits)
                })
            }
            Self::Flag(flag) => facts.flag(*flag),
        }
    }
}

/// Whether a condition can hold for nodes, for edges. Joined by "and" they must have something in common.
fn scope(condition: &Condition) -> Result<Scope, String> {
    match condition {
        Condition::Number(field, ..) | Condition::Text(field, ..) => Ok(field.scope()),
        Condition::Flag(flag) => Ok(flag.scope()),
        Condition::Not(one) => scope(one),
        Condition::Or(any) => any.iter().try_fold(
            Scope {
                nodes: false,
                edges: false,
            },
            |sum, one| {
                let own = scope(one)?;
                Ok(Scope {
                    nodes: sum.nodes || own.nodes,
                    edges: sum.edges || own.edges,
                })
            },
        ),
        Condition::And(all) => all.iter().try_fold(
            Scope {
                nodes: true,
                edges: true,
            },
            |sum, one| {
                let own = scope(one)?;
                let common = Scope {
                    nodes: sum.nodes && own.nodes,
                    edges: sum.edges && own.edges,
                };
                if common.nodes || common.edges {
                    Ok(common)
                } else {
                    Err(texts().err_mixed.to_owned())
                }
            },
        ),
    }
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if matches!(first, '(' | ')') {
            1
        } else if let Some((sign, _)) = OPERATORS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            sign.len()
        } else if first == '!' {
            1
        } else if first == '"' {
            let Some(end) = rest.get(1..).and_then(|inside| inside.find('"')) else {
                return Err(texts().err_quote.to_owned());
            };
            end + 2
        } else {
            rest.find(|c: char| c.is_whitespace() || "()!=<>~^\"".contains(c))
                .unwrap_or(rest.len())
                .max(first.len_utf8())
        };
        let (token, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        tokens.push(token.to_owned());
        rest = after.trim_start();
    }
    Ok(tokens)
}

struct Parser {
    tokens: Vec<String>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn eat(&mut self, words: &[&str]) -> bool {
        let found = self
            .peek()
            .is_some_and(|token| words.iter().any(|word| token.eq_ignore_ascii_case(word)));
        if found {
            self.at += 1;
        }
        found
    }

    fn any(&mut self) -> Result<Condition, String> {
        let mut any = vec![self.all()?];
        while self.eat(&["or", "||"]) {
            any.push(self.all()?);
        }
        Ok(if any.len() > 1 {
            Condition::Or(any)
        } else {
            any.remove(0)
        })
    }

    fn all(&mut self) -> Result<Condition, String> {
        let mut all = vec![self.one()?];
        while self.eat(&["and", "&&"]) {
            all.push(self.one()?);
        }
        Ok(if all.len() > 1 {
            Condition::And(all)
        } else {
            all.remove(0)
        })
    }

    fn one(&mut self) -> Result<Condition, String> {
        if self.eat(&["not", "!"]) {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.eat(&["("]) {
            let inside = self.any()?;
            return if self.eat(&[")"]) {
                Ok(inside)
            } else {
                Err(texts().err_bracket.to_owned())
            };
        }
        // "is healthy", "has mtls" read well.
        self.eat(&["is", "has"]);
        let Some(word) = self.next() else {
            return Err(texts().err_empty.to_owned());
        };
        let lower = word.to_lowercase();
        if let Some((_, flag)) = FLAGS.iter().find(|(name, _)| *name == lower) {
            return Ok(Condition::Flag(*flag));
        }
        let Some((name, field)) = FIELDS.iter().find(|(name, _)| *name == lower) else {
            let operator = OPERATORS.iter().any(|(sign, _)| *sign == word);
            if operator || word == ")" || lower == "and" || lower == "or" {
                return Err(texts().err_empty.to_owned());
            }
            let near = nearest(&lower).map(|near| (texts().err_near)(near));
            return Err(format!(
                "{}{}",
                (texts().err_word)(&word),
                near.unwrap_or_else(|| texts().err_see.to_owned())
            ));
        };
        self.comparison(name, *field)
    }

    fn comparison(&mut self, name: &str, field: Field) -> Result<Condition, String> {
        let operator = self
            .peek()
            .and_then(|token| OPERATORS.iter().find(|(sign, _)| *sign == token));
        let Some((sign, operator)) = operator else {
            return Err((texts().err_operator)(name));
        };
        self.at += 1;
        let Some(value) = self.next().filter(|value| value != ")") else {
            return Err((texts().err_value)(name));
        };
        let value = value.trim_matches('"').to_lowercase();
        let ordered = matches!(
            operator,
            Operator::Above | Operator::AtLeast | Operator::Below | Operator::AtMost
        );
        let of_text = matches!(operator, Operator::Contains | Operator::Begins | Operator::Ends);
        if field.numeric() {
            if of_text {
                return Err((texts().err_compare)(name, sign));
            }
            let number = number(&value).ok_or_else(|| (texts().err_number)(name, &value))?;
            return Ok(Condition::Number(field, *operator, number));
        }
        if ordered {
            return Err((texts().err_compare)(name, sign));
        }
        Ok(Condition::Text(field, *operator, value))
    }
}

/// `5`, `5%`, `200ms`, `1.5s`
fn number(text: &str) -> Option<f64> {
    let (digits, scale) = if let Some(digits) = text.strip_suffix("ms") {
        (digits, 1.0)
    } else if let Some(digits) = text.strip_suffix('s') {
        (digits, 1000.0)
    } else {
        (text.strip_suffix('%').unwrap_or(text), 1.0)
    };
    let value: f64 = digits.parse().ok()?;
    value.is_finite().then_some(value * scale)
}

#[cfg(test)]
mod tests;
