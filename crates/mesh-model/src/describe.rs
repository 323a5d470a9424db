//! Conditions in words, as explain shows them.

use std::fmt;

use crate::authorization::{AccessFacts, Check, PolicyRule};
use crate::matching::{HeaderCheck, HeaderMatch, QueryMatch, StringMatch, each_value};
use crate::request::RequestView;
use crate::retry::RetryOn;
use crate::route::{ClaimMatch, Domain, PathMatch, RouteMatch};

impl fmt::Display for StringMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(s) => write!(f, "is {s:?}"),
            Self::Prefix(s) if s.is_empty() => f.write_str("is anything"),
            Self::Prefix(s) => write!(f, "begins with {s:?}"),
            Self::Suffix(s) => write!(f, "ends with {s:?}"),
            Self::Contains(s) => write!(f, "contains {s:?}"),
            Self::Regex(p) => write!(f, "matches the regular expression {:?}", p.source()),
            Self::ExactIgnoreCase(s) => write!(f, "is {s:?} in any case"),
            Self::PrefixIgnoreCase(s) => write!(f, "begins with {s:?} in any case"),
            Self::SuffixIgnoreCase(s) => write!(f, "ends with {s:?} in any case"),
        }
    }
}

/// What people call a header: the pseudo headers have names of their own.
fn header_name(name: &str) -> String {
    match name {
        ":method" => "method".into(),
        ":scheme" => "scheme".into(),
        ":authority" | "host" => "authority".into(),
        ":path" => "path with query".into(),
        name => format!("header {name}"),
    }
}

impl fmt::Display for HeaderMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = header_name(&self.name);
        match (&self.check, self.invert) {
            (HeaderCheck::Present(wanted), invert) if *wanted != invert => write!(f, "{name} is present"),
            (HeaderCheck::Present(_), _) => write!(f, "{name} is absent"),
            (HeaderCheck::Value(value), false) => write!(f, "{name} {value}"),
            (HeaderCheck::Value(value), true) => write!(f, "not: {name} {value}"),
        }
    }
}

impl fmt::Display for QueryMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            None => write!(f, "query parameter {} is present", self.name),
            Some(value) => write!(f, "query parameter {} {value}", self.name),
        }
    }
}

impl fmt::Display for ClaimMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.path.join(".");
        if self.invert {
            f.write_str("not: ")?;
        }
        match &self.value {
            None => write!(f, "{name} is present"),
            Some(value) => write!(f, "{name} {value}"),
        }
    }
}

impl fmt::Display for PathMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(s) if s == "/" => f.write_str("any path"),
            Self::Prefix(s) => write!(f, "path begins with {s:?}"),
            Self::Exact(s) => write!(f, "path is {s:?}"),
            Self::Regex(p) => write!(f, "path matches the regular expression {:?}", p.source()),
            Self::SegmentPrefix(s) => write!(f, "path is {s:?} or below it"),
        }
    }
}

impl fmt::Display for RouteMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.path.fmt(f)?;
        if self.path_ignore_case {
            f.write_str(" in any case")?;
        }
        for header in &self.headers {
            write!(f, ", {header}")?;
        }
        for query in &self.query {
            write!(f, ", {query}")?;
        }
        for claim in &self.claims {
            write!(f, ", {claim}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

impl fmt::Display for RetryOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            (self.connect_failure, "connect-failure"),
            (self.refused_stream, "refused-stream"),
            (self.reset, "reset"),
            (self.reset_before_request, "reset-before-request"),
            (self.five_xx, "5xx"),
            (self.gateway_error, "gateway-error"),
            (self.retriable_4xx, "retriable-4xx"),
            (self.retriable_status_codes, "retriable-status-codes"),
            (self.grpc_cancelled, "cancelled"),
            (self.grpc_deadline_exceeded, "deadline-exceeded"),
            (self.grpc_internal, "internal"),
            (self.grpc_resource_exhausted, "resource-exhausted"),
            (self.grpc_unavailable, "unavailable"),
        ];
        let set: Vec<&str> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        f.write_str(&if set.is_empty() {
            "nothing".into()
        } else {
            set.join(",")
        })
    }
}

fn list(f: &mut fmt::Formatter<'_>, checks: &[Check], word: &str) -> fmt::Result {
    for (position, check) in checks.iter().enumerate() {
        if position > 0 {
            write!(f, " {word} ")?;
        }
        match check {
            Check::All(inner) | Check::OneOf(inner) if inner.len() > 1 => write!(f, "({check})")?,
            _ => write!(f, "{check}")?,
        }
    }
    Ok(())
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("anything"),
            Self::All(checks) if checks.is_empty() => f.write_str("anything"),
            Self::OneOf(checks) if checks.is_empty() => f.write_str("nothing"),
            Self::All(checks) => list(f, checks, "and"),
            Self::OneOf(checks) => list(f, checks, "or"),
            Self::Not(check) => write!(f, "not ({check})"),
            Self::Header(header) => header.fmt(f),
            Self::Path(path) => write!(f, "path {path}"),
            Self::Principal(None) => f.write_str("the client has a certificate"),
            Self::Principal(Some(name)) => write!(f, "principal {name}"),
            Self::SourceIp(range) => write!(f, "source address is in {range}"),
            Self::RemoteIp(range) => write!(f, "client address is in {range}"),
            Self::DestinationIp(range) => write!(f, "destination address is in {range}"),
            Self::DestinationPort(port) => write!(f, "destination port is {port}"),
            Self::ServerName(name) => write!(f, "server name {name}"),
            Self::Claim { path, value: None } => write!(f, "{} is in the token", path.join(".")),
            Self::Claim {
                path,
                value: Some(value),
            } => write!(f, "{} {value}", path.join(".")),
        }
    }
}

impl fmt::Display for PolicyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("who: ")?;
        list(f, &self.principals, "or")?;
        f.write_str("; what: ")?;
        list(f, &self.permissions, "or")
    }
}

impl PolicyRule {
    /// Why it does not match, in words.
    #[must_use]
    pub fn failing(&self, facts: &AccessFacts<'_>) -> String {
        let of = |checks: &[Check]| match checks {
            [] => Some("nothing can match".to_owned()),
            [one] => one.failing(facts),
            _ if checks.iter().any(|check| check.holds(facts)) => None,
            [first, ..] => first.failing(facts),
        };
        of(&self.permissions)
            .or_else(|| of(&self.principals))
            .unwrap_or_default()
    }
}

fn text(value: &[u8]) -> String {
    format!("{:?}", String::from_utf8_lossy(value))
}

/// What a header says, in words.
pub(crate) fn header_says(request: &dyn RequestView, name: &str) -> String {
    let mut values = Vec::new();
    each_value(request, name, &mut |value| {
        values.push(String::from_utf8_lossy(value).into_owned());
        true
    });
    let name = header_name(name);
    if values.is_empty() {
        format!("{name} is absent")
    } else {
        format!("{name} is {:?}", values.join(","))
    }
}

impl Check {
    /// The first condition in it that does not hold, with what is there instead; nothing when it holds.
    #[must_use]
    pub fn failing(&self, facts: &AccessFacts<'_>) -> Option<String> {
        if self.holds(facts) {
            return None;
        }
        Some(match self {
            Self::All(checks) => checks.iter().find_map(|check| check.failing(facts))?,
            Self::OneOf(checks) => match checks.as_slice() {
                [] => "nothing can match".into(),
                [one] => one.failing(facts)?,
                [first, ..] => format!(
                    "none of {} alternatives holds; the first: {}",
                    checks.len(),
                    first.failing(facts)?
                ),
            },
            _ => format!("wanted: {self}; {}", self.there(facts)),
        })
    }

    /// What there is to compare with.
    fn there(&self, facts: &AccessFacts<'_>) -> String {
        let no_request = || "this is no HTTP request".to_owned();
        match self {
            Self::Any | Self::All(_) | Self::OneOf(_) => String::new(),
            Self::Not(inner) => format!("but {inner}"),
            Self::Header(header) => facts
                .request
                .map_or_else(no_request, |request| header_says(request, &header.name)),
            Self::Path(_) => facts
                .request
                .map_or_else(no_request, |request| format!("path is {}", text(request.path()))),
            Self::Principal(_) => match facts.principal.filter(|p| !p.is_empty()) {
                Some(principal) => format!("principal is {principal:?}"),
                None => "the client has no certificate".into(),
            },
            Self::SourceIp(_) => format!("source address is {}", facts.source),
            Self::RemoteIp(_) => format!("client address is {}", facts.remote),
            Self::DestinationIp(_) => format!("destination address is {}", facts.destination.ip()),
            Self::DestinationPort(_) => format!("destination port is {}", facts.destination.port()),
            Self::ServerName(_) => match facts.server_name {
                Some(name) => format!("server name is {name:?}"),
                None => "there is no server name".into(),
            },
            Self::Claim { .. } => match facts.claims {
                Some(_) => "the token says otherwise".into(),
                None => "there is no verified token".into(),
            },
        }
    }
}
