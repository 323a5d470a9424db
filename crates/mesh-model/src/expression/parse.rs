//! Text to tree: a tokenizer and precedence climbing.

use std::time::Duration;

use super::{ATTRIBUTES, Compare, Node, TextTest, Value};
use crate::matching::Pattern;

/// Deepest nesting.
const DEEPEST: usize = 64;

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Int(i64),
    Double(f64),
    Sign(&'static str),
}

const SIGNS: [&str; 20] = [
    "&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", ".", "+", "-", "?", ":", "|",
];

pub(super) fn parse(source: &str) -> Result<Node, String> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        at: 0,
        depth: 0,
    };
    let node = parser.or()?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(format!("{} is not expected here", show(token))),
    }
}

fn show(token: &Token) -> String {
    match token {
        Token::Word(word) => format!("{word:?}"),
        Token::Text(text) => format!("the text {text:?}"),
        Token::Int(n) => format!("{n}"),
        Token::Double(n) => format!("{n}"),
        Token::Sign(sign) => format!("{sign:?}"),
    }
}

fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut out = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = if first == '\'' || first == '"' {
            text(rest, first)?
        } else if first.is_ascii_digit() {
            number(rest)?
        } else if first.is_ascii_alphabetic() || first == '_' {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = rest.find(|c| !word(c)).unwrap_or(rest.len());
            (
                Token::Word(rest.get(..length).unwrap_or_default().to_owned()),
                length,
            )
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign = sign.ok_or_else(|| format!("{first:?} is not expected here"))?;
            (Token::Sign(sign), sign.len())
        };
        out.push(token);
        rest = rest.get(length..).unwrap_or_default().trim_start();
    }
    Ok(out)
}

fn text(rest: &str, quote: char) -> Result<(Token, usize), String> {
    let mut out = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, 't')) => out.push('\t'),
                Some((_, c @ ('\\' | '\'' | '"' | '.' | '/' | '-'))) => {
                    // A regular expression keeps what it escapes.
                    if matches!(c, '.' | '/' | '-') {
                        out.push('\\');
                    }
                    out.push(c);
                }
                _ => return Err("an escape in a text is not known".to_owned()),
            },
            c if c == quote => return Ok((Token::Text(out), at + quote.len_utf8())),
            c => out.push(c),
        }
    }
    Err("a text does not end".to_owned())
}

fn number(rest: &str) -> Result<(Token, usize), String> {
    let length = rest
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(rest.len());
    let digits = rest.get(..length).unwrap_or_default();
    let token = if digits.contains('.') {
        digits.parse().map(Token::Double).map_err(|_| ())
    } else {
        digits.parse().map(Token::Int).map_err(|_| ())
    };
    token
        .map(|token| (token, length))
        .map_err(|()| format!("{digits:?} is no number"))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token.ok_or_else(|| "the expression ends too early".to_owned())
    }

    fn takes(&mut self, sign: &str) -> bool {
        let there = matches!(self.peek(), Some(Token::Sign(s)) if *s == sign);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(match self.peek() {
            Some(token) => format!("{sign:?} is expected instead of {}", show(token)),
            None => format!("{sign:?} is missing at the end"),
        })
    }

    fn or(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("the expression is nested too deeply".to_owned());
        }
        let mut left = self.and()?;
        while self.takes("||") {
            left = Node::Or(Box::new(left), Box::new(self.and()?));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn and(&mut self) -> Result<Node, String> {
        let mut left = self.comparison()?;
        while self.takes("&&") {
            left = Node::And(Box::new(left), Box::new(self.comparison()?));
        }
        Ok(left)
    }

    fn comparison(&mut self) -> Result<Node, String> {
        let left = self.sum()?;
        let how = match self.peek() {
            Some(Token::Sign("==")) => Compare::Equal,
            Some(Token::Sign("!=")) => Compare::NotEqual,
            Some(Token::Sign("<")) => Compare::Less,
            Some(Token::Sign("<=")) => Compare::LessOrEqual,
            Some(Token::Sign(">")) => Compare::Greater,
            Some(Token::Sign(">=")) => Compare::GreaterOrEqual,
            Some(Token::Word(word)) if word == "in" => {
                self.at += 1;
                return self.member(left);
            }
            _ => return Ok(left),
        };
        self.at += 1;
        Ok(Node::Compare(how, Box::new(left), Box::new(self.sum()?)))
    }

    /// `'x' in request.headers` asks for presence; a list asks for equality.
    fn member(&mut self, one: Node) -> Result<Node, String> {
        let all = self.sum()?;
        match (all, one) {
            (Node::Attribute(name, None), Node::Literal(Value::Text(key))) if is_map(name) => {
                let key = String::from_utf8_lossy(&key).to_ascii_lowercase();
                Ok(Node::Has(name, Some(key)))
            }
            (all, one) => Ok(Node::In(Box::new(one), Box::new(all))),
        }
    }

    fn sum(&mut self) -> Result<Node, String> {
        let mut left = self.unary()?;
        loop {
            let minus = match self.peek() {
                Some(Token::Sign("+")) => false,
                Some(Token::Sign("-")) => true,
                _ => return Ok(left),
            };
            self.at += 1;
            left = Node::Add(Box::new(left), Box::new(self.unary()?), minus);
        }
    }

    fn unary(&mut self) -> Result<Node, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("the expression is nested too deeply".to_owned());
        }
        let node = if self.takes("!") {
            Node::Not(Box::new(self.unary()?))
        } else if self.takes("-") {
            Node::Negate(Box::new(self.unary()?))
        } else {
            let first = self.primary()?;
            self.methods(first)?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn primary(&mut self) -> Result<Node, String> {
        match self.next()? {
            Token::Int(n) => Ok(Node::Literal(Value::Int(n))),
            Token::Double(n) => Ok(Node::Literal(Value::Double(n))),
            Token::Text(text) => Ok(Node::Literal(Value::Text(text.into_bytes()))),
            Token::Sign("(") => {
                let inner = self.or()?;
                self.expect(")")?;
                Ok(inner)
            }
            Token::Sign("[") => self.list(),
            Token::Word(word) => match word.as_str() {
                "true" => Ok(Node::Literal(Value::Bool(true))),
                "false" => Ok(Node::Literal(Value::Bool(false))),
                "has" | "size" | "duration" | "string" | "int" if self.takes("(") => self.function(&word),
                _ => self.attribute(word),
            },
            token => Err(format!("{} is not expected here", show(&token))),
        }
    }

    fn list(&mut self) -> Result<Node, String> {
        let mut nodes = Vec::new();
        if self.takes("]") {
            return Ok(Node::List(nodes));
        }
        loop {
            nodes.push(self.or()?);
            if !self.takes(",") {
                self.expect("]")?;
                return Ok(Node::List(nodes));
            }
        }
    }

    fn function(&mut self, name: &str) -> Result<Node, String> {
        let inner = self.or()?;
        self.expect(")")?;
        match (name, inner) {
            ("has", Node::Attribute(name, key)) => Ok(Node::Has(name, key)),
            ("size", inner) => Ok(Node::Size(Box::new(inner))),
            ("duration", Node::Literal(Value::Text(text))) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                let span = span(&text).ok_or_else(|| format!("{text:?} is no duration"))?;
                Ok(Node::Literal(Value::Duration(span)))
            }
            ("string" | "int", inner) => Ok(inner),
            _ => Err(format!("{name}() cannot be asked of this")),
        }
    }

    /// `a.b`, `a.b.c` and `a.b['c']`.
    fn attribute(&mut self, first: String) -> Result<Node, String> {
        let mut name = first;
        while self.takes(".") {
            let Token::Word(word) = self.next()? else {
                return Err(format!("a name is expected behind {name:?}."));
            };
            let known = known(&name);
            if known.is_some() && matches!(self.peek(), Some(Token::Sign("("))) {
                // A method of the attribute.
                self.at -= 2;
                break;
            }
            if let Some((map, true)) = known {
                return Ok(Node::Attribute(map, Some(word.to_ascii_lowercase())));
            }
            name = format!("{name}.{word}");
        }
        let Some((known, map)) = known(&name) else {
            return Err(format!("the attribute {name:?} is not known"));
        };
        if map && self.takes("[") {
            let Token::Text(key) = self.next()? else {
                return Err(format!("{name} takes a text in its brackets"));
            };
            self.expect("]")?;
            return Ok(Node::Attribute(known, Some(key.to_ascii_lowercase())));
        }
        Ok(Node::Attribute(known, None))
    }

    fn methods(&mut self, mut node: Node) -> Result<Node, String> {
        while self.takes(".") {
            let Token::Word(word) = self.next()? else {
                return Err("a method is expected behind the dot".to_owned());
            };
            self.expect("(")?;
            let argument = if word == "size" { None } else { Some(self.or()?) };
            self.expect(")")?;
            let on = Box::new(node);
            node = match (word.as_str(), argument) {
                ("startsWith", Some(part)) => Node::Text(TextTest::StartsWith, on, Box::new(part)),
                ("endsWith", Some(part)) => Node::Text(TextTest::EndsWith, on, Box::new(part)),
                ("contains", Some(part)) => Node::Text(TextTest::Contains, on, Box::new(part)),
                ("size", None) => Node::Size(on),
                ("matches", Some(Node::Literal(Value::Text(text)))) => {
                    // CEL searches; our patterns match the whole.
                    let text = String::from_utf8_lossy(&text).into_owned();
                    Node::Matches(on, Pattern::new(&searching(&text))?)
                }
                _ => return Err(format!("the method {word:?} is not known")),
            };
        }
        Ok(node)
    }
}

fn searching(pattern: &str) -> String {
    let begin = if pattern.starts_with('^') { "" } else { "(?s:.*)" };
    let end = if pattern.ends_with('$') { "" } else { "(?s:.*)" };
    format!("{begin}(?:{pattern}){end}")
}

fn known(name: &str) -> Option<(&'static str, bool)> {
    ATTRIBUTES.iter().copied().find(|(known, _)| *known == name)
}

fn is_map(name: &str) -> bool {
    known(name).is_some_and(|(_, map)| map)
}

/// `1h`, `250ms`, `1.5s`.
fn span(text: &str) -> Option<Duration> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let number: f64 = text.get(..at)?.parse().ok()?;
    let factor = match text.get(at..)? {
        "ns" => 1e-9,
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * factor).ok()
}
