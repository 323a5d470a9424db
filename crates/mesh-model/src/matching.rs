//! String, header and query matches, shared by routes and policies.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Weak};

use regex::bytes::{Regex, RegexBuilder};

use crate::request::RequestView;

/// A linear-time (RE2-like) regular expression that must match the whole value.
///
/// Patterns over 1 KiB or that compile to more than 1 MiB are refused.
#[derive(Clone)]
pub struct Pattern(Arc<Compiled>);

struct Compiled {
    source: String,
    regex: Regex,
}

impl Pattern {
    /// Compiles `source`, anchored at both ends. The error text is the parser's first line.
    pub fn new(source: &str) -> Result<Self, String> {
        if source.len() > 1024 {
            return Err("regular expression is longer than 1024 bytes".into());
        }
        // The bare pattern first: an unbalanced `)` must not pair with our anchor.
        regex_syntax::ParserBuilder::new()
            .utf8(false)
            .build()
            .parse(source)
            .map_err(|e| last_line(&e.to_string()))?;
        let regex = RegexBuilder::new(&format!("^(?:{source})$"))
            .size_limit(1 << 20)
            .build()
            .map_err(|e| last_line(&e.to_string()))?;
        let source = source.into();
        Ok(Self(Arc::new(Compiled { source, regex })))
    }

    /// The text as configured.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether the whole of `value` matches.
    #[must_use]
    pub fn is_full_match(&self, value: &[u8]) -> bool {
        self.0.regex.is_match(value)
    }
}

/// Patterns in use, so that one that many routes have is compiled and kept once.
#[derive(Default)]
pub struct Patterns {
    known: HashMap<String, Weak<Compiled>>,
    /// Size at which those that nobody has any more are let go.
    sweep_at: usize,
}

impl Patterns {
    /// The pattern of this text; errors as [`Pattern::new`].
    pub fn get(&mut self, source: &str) -> Result<Pattern, String> {
        if let Some(known) = self.known.get(source).and_then(Weak::upgrade) {
            return Ok(Pattern(known));
        }
        let pattern = Pattern::new(source)?;
        if self.known.len() >= self.sweep_at {
            self.known.retain(|_, compiled| compiled.strong_count() > 0);
            self.sweep_at = (self.known.len() * 2).max(64);
        }
        self.known.insert(source.into(), Arc::downgrade(&pattern.0));
        Ok(pattern)
    }
}

fn last_line(text: &str) -> String {
    text.lines()
        .last()
        .unwrap_or(text)
        .trim_start_matches("error: ")
        .to_owned()
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}
impl Eq for Pattern {}
impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.0.source).finish()
    }
}

/// How a value is compared (Envoy `StringMatcher`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Begins with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// Contains.
    Contains(String),
    /// Full match.
    Regex(Pattern),
    /// Equal, ASCII case ignored.
    ExactIgnoreCase(String),
    /// Begins with, ASCII case ignored.
    PrefixIgnoreCase(String),
    /// Ends with, ASCII case ignored.
    SuffixIgnoreCase(String),
}

impl StringMatch {
    /// Compares raw bytes: a header value need not be UTF-8.
    #[must_use]
    pub fn matches(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(s) => value == s.as_bytes(),
            Self::Prefix(s) => value.starts_with(s.as_bytes()),
            Self::Suffix(s) => value.ends_with(s.as_bytes()),
            Self::Contains(s) => s.is_empty() || value.windows(s.len()).any(|w| w == s.as_bytes()),
            Self::Regex(p) => p.is_full_match(value),
            Self::ExactIgnoreCase(s) => value.eq_ignore_ascii_case(s.as_bytes()),
            Self::PrefixIgnoreCase(s) => value
                .get(..s.len())
                .is_some_and(|v| v.eq_ignore_ascii_case(s.as_bytes())),
            Self::SuffixIgnoreCase(s) => value
                .len()
                .checked_sub(s.len())
                .and_then(|from| value.get(from..))
                .is_some_and(|v| v.eq_ignore_ascii_case(s.as_bytes())),
        }
    }
}

/// A condition on one header. Names are lower case; `:method`, `:scheme`, `:authority` and `:path` name the
/// pseudo headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Lower-case header name.
    pub name: String,
    /// The condition before inversion.
    pub check: HeaderCheck,
    /// Envoy `invert_match`.
    pub invert: bool,
    /// Envoy `treat_missing_header_as_empty`.
    pub missing_is_empty: bool,
}

/// What a [`HeaderMatch`] asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderCheck {
    /// The header exists (`true`) or does not (`false`).
    Present(bool),
    /// Its value (several lines joined by a comma, as Envoy does) matches.
    Value(StringMatch),
}

/// A condition on one query parameter (first occurrence counts, as in Envoy).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// Parameter name, case-sensitive.
    pub name: String,
    /// `None` asks for presence only.
    pub value: Option<StringMatch>,
}

impl HeaderMatch {
    /// Whether the condition holds. A missing header fails every value condition, inverted or not, unless it
    /// counts as empty.
    #[must_use]
    pub fn holds(&self, request: &dyn RequestView) -> bool {
        match &self.check {
            HeaderCheck::Present(wanted) => {
                let mut present = false;
                each_value(request, &self.name, &mut |_| {
                    present = true;
                    false
                });
                (present == *wanted) != self.invert
            }
            HeaderCheck::Value(value) => self.value_holds(request, value) == Some(true),
        }
    }

    fn value_holds(&self, request: &dyn RequestView, value: &StringMatch) -> Option<bool> {
        let mut count = 0_usize;
        let mut single = false;
        let mut joined = Vec::new();
        each_value(request, &self.name, &mut |found| {
            // One line is the rule: it is compared in place and copied only in case a second one follows.
            if count == 0 {
                single = value.matches(found);
            } else {
                joined.push(b',');
            }
            joined.extend_from_slice(found);
            count += 1;
            true
        });
        let matches = match count {
            0 if self.missing_is_empty => value.matches(b""),
            0 => return None,
            1 => single,
            _ => value.matches(&joined),
        };
        Some(matches != self.invert)
    }
}

/// Calls `found` with each value of a header or pseudo header.
pub(crate) fn each_value(request: &dyn RequestView, name: &str, found: &mut dyn FnMut(&[u8]) -> bool) {
    match name {
        ":method" => {
            found(request.method());
        }
        ":scheme" => {
            found(request.scheme());
        }
        ":authority" | "host" => {
            found(request.authority());
        }
        ":path" => {
            let mut path = request.path().to_vec();
            if let Some(query) = request.query() {
                path.push(b'?');
                path.extend_from_slice(query);
            }
            found(&path);
        }
        _ => request.each_header(name, found),
    }
}

/// First value of a query parameter, undecoded; `Some(b"")` when it stands without `=`.
#[must_use]
pub fn query_value<'a>(query: Option<&'a [u8]>, name: &[u8]) -> Option<&'a [u8]> {
    query?.split(|b| *b == b'&').find_map(|pair| {
        let mut parts = pair.splitn(2, |b| *b == b'=');
        (parts.next()? == name).then(|| parts.next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_pattern_is_kept_while_somebody_has_it() {
        let mut patterns = Patterns::default();
        let first = patterns.get("/a.*").unwrap();
        let second = patterns.get("/a.*").unwrap();
        assert!(Arc::ptr_eq(&first.0, &second.0));
        let other = patterns.get("/b.*").unwrap();
        assert!(!Arc::ptr_eq(&first.0, &other.0));
        drop((first, second));
        for i in 0..200 {
            patterns.get(&format!("/{i}")).unwrap();
        }
        assert!(patterns.known.len() < 150, "{}", patterns.known.len());
        assert!(patterns.known.contains_key("/b.*"));
        assert!(patterns.get("(").is_err() && patterns.get("a)(b").is_err());
    }
}
