//! Tokens (JWT): which are looked for and what a verified one says. Signatures are the proxy's business.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::matching::StringMatch;

/// Every token that a workload understands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenRules {
    /// One for each issuer.
    pub rules: Vec<TokenRule>,
}

/// Tokens of one issuer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TokenRule {
    /// Name, unique in its list.
    pub name: String,
    /// `iss` that tokens must have; empty = any.
    pub issuer: String,
    /// One of these must be in `aud`; empty = any.
    pub audiences: Vec<String>,
    /// Keys: a JSON Web Key Set as text.
    pub jwks: String,
    /// Where tokens are: header name (lower case) and what stands before the token there.
    pub headers: Vec<(String, String)>,
    /// Query parameters.
    pub parameters: Vec<String>,
    /// Cookies.
    pub cookies: Vec<String>,
    /// The token stays on the request.
    pub forward: bool,
    /// The payload goes there, base64.
    pub payload_header: Option<String>,
    /// Header and claim (nested by dots) that goes there.
    pub claim_headers: Vec<(String, String)>,
    /// Claims beside `scope` and `permission` that are lists separated by spaces.
    pub space_delimited: Vec<String>,
    /// Clocks may differ by this much.
    pub clock_skew: Duration,
}

/// A JSON value of a token.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// `null`.
    Null,
    /// `true`, `false`.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Claim>),
    /// An object.
    Map(BTreeMap<String, Claim>),
}

impl Claim {
    /// What is at the end of a path of keys.
    #[must_use]
    pub fn at(&self, path: &[String]) -> Option<&Self> {
        path.iter().try_fold(self, |here, key| match here {
            Self::Map(entries) => entries.get(key),
            _ => None,
        })
    }

    /// Whether it is a text, or a list with a text, that matches; without a condition: whether it says anything.
    /// Numbers never match a text.
    #[must_use]
    pub fn has(&self, value: Option<&StringMatch>) -> bool {
        match (self, value) {
            (Self::Text(text), Some(value)) => value.matches(text.as_bytes()),
            (Self::Text(text), None) => !text.is_empty(),
            (Self::List(list), _) => list
                .iter()
                .any(|entry| !matches!(entry, Self::List(_)) && entry.has(value)),
            (Self::Null, None) | (_, Some(_)) => false,
            (_, None) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(claim: &Claim, value: Option<&str>, expected: bool) {
        let value = value.map(|v| StringMatch::Exact(v.into()));
        assert_eq!(claim.has(value.as_ref()), expected, "{claim:?} {value:?}");
    }

    #[test]
    fn values() {
        let text = Claim::Text("a".into());
        check(&text, Some("a"), true);
        check(&text, Some("b"), false);
        check(&text, None, true);
        check(&Claim::Text(String::new()), None, false);
        check(&Claim::Number(7.0), Some("7"), false);
        check(&Claim::Number(7.0), None, true);
        let list = Claim::List(vec![Claim::Text("x".into()), text]);
        check(&list, Some("a"), true);
        check(&list, Some("c"), false);
        check(&Claim::List(Vec::new()), None, false);
        let nested = Claim::Map(BTreeMap::from([(
            "a".to_owned(),
            Claim::Map(BTreeMap::from([("b".to_owned(), list)])),
        )]));
        let path = |keys: &[&str]| keys.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>();
        assert!(nested.at(&path(&["a", "b"])).is_some());
        assert!(nested.at(&path(&["a", "c"])).is_none());
        assert!(nested.at(&path(&["a", "b", "c"])).is_none());
    }
}
