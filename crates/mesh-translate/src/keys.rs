//! Keys of token issuers: where they are, and what is there.

use std::fmt;

use mesh_crd::security::JwtRule;

/// Where the keys of an issuer are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeySource {
    /// `jwksUri`.
    Uri(String),
    /// Said by the issuer's discovery document (OpenID Connect).
    Issuer(String),
}

/// What is known of a source.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeySet {
    /// A JSON Web Key Set; `None` = no keys, every token is refused.
    pub keys: Option<String>,
    /// Why the last fetch failed.
    pub problem: Option<String>,
}

impl KeySource {
    /// The source of a rule; `None` when the rule holds its keys.
    #[must_use]
    pub fn of(rule: &JwtRule) -> Option<Self> {
        if !rule.jwks.is_empty() {
            None
        } else if rule.jwks_uri.is_empty() {
            Some(Self::Issuer(rule.issuer.clone()))
        } else {
            Some(Self::Uri(rule.jwks_uri.clone()))
        }
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(' ')? {
            ("uri", uri) => Some(Self::Uri(uri.to_owned())),
            ("issuer", issuer) => Some(Self::Issuer(issuer.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uri(uri) => write!(f, "uri {uri}"),
            Self::Issuer(issuer) => write!(f, "issuer {issuer}"),
        }
    }
}
