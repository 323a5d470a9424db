//! Which rule serves a request: the one function that proxy, explain and what-if call.

use std::collections::HashMap;

use super::{ClaimMatch, Domain, PathMatch, Route, RouteMatch, RouteTable, VirtualHost};
use crate::matching::{HeaderMatch, QueryMatch, query_value};
use crate::request::RequestView;
use crate::why::{Considered, NoWhy, Why};

/// The rule that serves a request, as positions in its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Position of the virtual host.
    pub virtual_host: usize,
    /// Position of the route in it.
    pub route: usize,
}

impl RouteTable {
    /// The first route that matches, in the one virtual host that the authority belongs to.
    #[must_use]
    pub fn find(&self, request: &dyn RequestView) -> Option<Found> {
        let virtual_host = self.virtual_host(host_of(request.authority()))?;
        let route = self.virtual_hosts.get(virtual_host)?.find(request)?;
        Some(Found { virtual_host, route })
    }

    /// The virtual host of a host name without port: exact name, then longest suffix wildcard, then longest
    /// prefix wildcard, then `*`. A wildcard stands for at least one character. ASCII case is ignored.
    #[must_use]
    pub fn virtual_host(&self, host: &[u8]) -> Option<usize> {
        self.virtual_host_noting(host, &mut NoWhy)
    }

    /// [`RouteTable::virtual_host`], with a note for each virtual host.
    #[must_use]
    pub fn virtual_host_noting<W: Why>(&self, host: &[u8], why: &mut W) -> Option<usize> {
        let found = self.best_virtual_host(host);
        if W::ON {
            for (position, virtual_host) in self.virtual_hosts.iter().enumerate() {
                why.note(|| virtual_host_note(position, virtual_host, host, found));
            }
        }
        found.map(|(_, position)| position)
    }

    fn best_virtual_host(&self, host: &[u8]) -> Option<(Rank, usize)> {
        let mut best: Option<(Rank, usize)> = None;
        for (position, virtual_host) in self.virtual_hosts.iter().enumerate() {
            for domain in &virtual_host.domains {
                if let Some(rank) = rank(domain, host)
                    && best.is_none_or(|(so_far, _)| rank > so_far)
                {
                    best = Some((rank, position));
                }
            }
        }
        best
    }
}

fn virtual_host_note(
    position: usize,
    virtual_host: &VirtualHost,
    host: &[u8],
    found: Option<(Rank, usize)>,
) -> Considered {
    let name = String::from_utf8_lossy(host);
    let own = virtual_host
        .domains
        .iter()
        .filter_map(|domain| Some((rank(domain, host)?, domain)))
        .max_by_key(|(rank, _)| *rank);
    match (own, found) {
        (Some((_, domain)), Some((_, winner))) if winner == position => {
            Considered::won(position, format!("domain {domain} is the closest to {name:?}"))
        }
        (Some((own, domain)), Some((best, _))) if own < best => Considered::lost(
            position,
            format!("domain {domain} covers {name:?}, but another domain is closer"),
        ),
        (Some((_, domain)), _) => Considered::lost(
            position,
            format!("domain {domain} covers {name:?}, but an earlier virtual host has it"),
        ),
        (None, _) => Considered::lost(position, format!("no domain covers {name:?}")),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Any,
    Prefix(usize),
    Suffix(usize),
    Exact,
}

fn rank(domain: &Domain, host: &[u8]) -> Option<Rank> {
    match domain {
        Domain::Any => Some(Rank::Any),
        Domain::Exact(name) => host.eq_ignore_ascii_case(name.as_bytes()).then_some(Rank::Exact),
        Domain::Suffix(suffix) => {
            let from = host.len().checked_sub(suffix.len()).filter(|from| *from > 0)?;
            host.get(from..)?
                .eq_ignore_ascii_case(suffix.as_bytes())
                .then_some(Rank::Suffix(suffix.len()))
        }
        Domain::Prefix(prefix) => (host.len() > prefix.len()
            && host.get(..prefix.len())?.eq_ignore_ascii_case(prefix.as_bytes()))
        .then_some(Rank::Prefix(prefix.len())),
    }
}

/// The host part of an authority: without port, brackets of IPv6 literals kept.
#[must_use]
pub fn host_of(authority: &[u8]) -> &[u8] {
    split_port(authority).0
}

/// Host and port of an authority; the port is `None` when absent or not a number.
#[must_use]
pub fn split_port(authority: &[u8]) -> (&[u8], Option<u16>) {
    let Some(colon) = authority.iter().rposition(|b| *b == b':') else {
        return (authority, None);
    };
    let (host, port) = authority.split_at(colon);
    let digits = port.get(1..).unwrap_or_default();
    if !digits.iter().all(u8::is_ascii_digit) || (host.contains(&b':') && !host.ends_with(b"]")) {
        return (authority, None);
    }
    let port = std::str::from_utf8(digits).ok().and_then(|p| p.parse().ok());
    (host, port)
}

impl VirtualHost {
    /// Position of the first route that matches.
    #[must_use]
    pub fn find(&self, request: &dyn RequestView) -> Option<usize> {
        self.find_noting(request, &mut NoWhy)
    }

    /// [`VirtualHost::find`], with a note for each route.
    #[must_use]
    pub fn find_noting<W: Why>(&self, request: &dyn RequestView, why: &mut W) -> Option<usize> {
        let mut found = None;
        for (position, route) in self.routes.iter().enumerate() {
            let unmet = route.matches.unmet(request);
            why.note(|| match (&unmet, found) {
                (Some(unmet), _) => Considered::lost(position, unmet.reason(request)),
                (None, Some(_)) => Considered::lost(position, "matches too, but an earlier rule has won"),
                (None, None) => Considered::won(position, "the first rule whose conditions all hold"),
            });
            if unmet.is_none() && found.is_none() {
                found = Some(position);
                if !W::ON {
                    break;
                }
            }
        }
        found
    }
}

/// The first condition of a rule that does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet<'r> {
    /// The path's.
    Path(&'r PathMatch),
    /// One on a header.
    Header(&'r HeaderMatch),
    /// One on the query.
    Query(&'r QueryMatch),
    /// One on the token.
    Claim(&'r ClaimMatch),
}

impl Unmet<'_> {
    /// What was wanted and what was there.
    #[must_use]
    pub fn reason(&self, request: &dyn RequestView) -> String {
        let say = |value: &[u8]| format!("{:?}", String::from_utf8_lossy(value));
        match self {
            Self::Path(path) => format!("wanted: {path}; path is {}", say(request.path())),
            Self::Header(header) => format!(
                "wanted: {header}; {}",
                crate::describe::header_says(request, &header.name)
            ),
            Self::Query(query) => match query_value(request.query(), query.name.as_bytes()) {
                None => format!("wanted: {query}; it is absent"),
                Some(value) => format!("wanted: {query}; it is {}", say(value)),
            },
            Self::Claim(claim) => match request.claims() {
                None => format!("wanted: {claim}; there is no verified token"),
                Some(_) => format!("wanted: {claim}; the token says otherwise"),
            },
        }
    }
}

impl RouteMatch {
    /// Whether every condition holds.
    #[must_use]
    pub fn holds(&self, request: &dyn RequestView) -> bool {
        self.unmet(request).is_none()
    }

    /// The first condition that does not hold, in the order path, headers, query, claims.
    #[must_use]
    pub fn unmet(&self, request: &dyn RequestView) -> Option<Unmet<'_>> {
        if !self.path_holds(request.path()) {
            return Some(Unmet::Path(&self.path));
        }
        if let Some(header) = self.headers.iter().find(|header| !header.holds(request)) {
            return Some(Unmet::Header(header));
        }
        let query_holds = |query: &QueryMatch| match query_value(request.query(), query.name.as_bytes()) {
            None => false,
            Some(value) => query.value.as_ref().is_none_or(|m| m.matches(value)),
        };
        let query = self.query.iter().find(|query| !query_holds(query));
        if let Some(query) = query {
            return Some(Unmet::Query(query));
        }
        let claim = self.claims.iter().find(|claim| !claim.holds(request.claims()));
        claim.map(Unmet::Claim)
    }

    fn path_holds(&self, path: &[u8]) -> bool {
        let same = |a: &[u8], b: &[u8]| {
            if self.path_ignore_case {
                a.eq_ignore_ascii_case(b)
            } else {
                a == b
            }
        };
        let begins = |prefix: &[u8]| path.get(..prefix.len()).is_some_and(|start| same(start, prefix));
        match &self.path {
            PathMatch::Prefix(prefix) => begins(prefix.as_bytes()),
            PathMatch::Exact(exact) => same(path, exact.as_bytes()),
            PathMatch::Regex(pattern) => pattern.is_full_match(path),
            PathMatch::SegmentPrefix(prefix) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix).as_bytes();
                begins(prefix) && matches!(path.get(prefix.len()), None | Some(b'/'))
            }
        }
    }
}

impl Route {
    /// How many bytes of the path a prefix rewrite replaces: the matched prefix, else the whole path.
    #[must_use]
    pub fn rewritten_length(&self, path: &[u8]) -> usize {
        match &self.matches.path {
            PathMatch::Prefix(prefix) => prefix.len().min(path.len()),
            PathMatch::SegmentPrefix(prefix) => {
                prefix.strip_suffix('/').unwrap_or(prefix).len().min(path.len())
            }
            PathMatch::Exact(_) | PathMatch::Regex(_) => path.len(),
        }
    }
}

/// Virtual hosts of one table by host name: the same answers as [`RouteTable::virtual_host`] in constant time
/// for exact names.
#[derive(Debug, Clone, Default)]
pub struct HostIndex {
    exact: HashMap<Vec<u8>, usize>,
    /// Longest first.
    suffixes: Vec<(Vec<u8>, usize)>,
    /// Longest first.
    prefixes: Vec<(Vec<u8>, usize)>,
    any: Option<usize>,
}

impl HostIndex {
    /// Indexes `table`; where two virtual hosts claim one domain, the first has it.
    #[must_use]
    pub fn new(table: &RouteTable) -> Self {
        let mut index = Self::default();
        for (position, virtual_host) in table.virtual_hosts.iter().enumerate() {
            for domain in &virtual_host.domains {
                match domain {
                    Domain::Any => {
                        index.any.get_or_insert(position);
                    }
                    Domain::Exact(name) => {
                        let name = name.to_ascii_lowercase().into_bytes();
                        index.exact.entry(name).or_insert(position);
                    }
                    Domain::Suffix(suffix) => {
                        index
                            .suffixes
                            .push((suffix.to_ascii_lowercase().into_bytes(), position));
                    }
                    Domain::Prefix(prefix) => {
                        index
                            .prefixes
                            .push((prefix.to_ascii_lowercase().into_bytes(), position));
                    }
                }
            }
        }
        index.suffixes.sort_by_key(|(s, _)| std::cmp::Reverse(s.len()));
        index.prefixes.sort_by_key(|(s, _)| std::cmp::Reverse(s.len()));
        index
    }

    /// The virtual host of a host name without port.
    #[must_use]
    pub fn virtual_host(&self, host: &[u8]) -> Option<usize> {
        if host.iter().any(u8::is_ascii_uppercase) {
            self.lower_case(&host.to_ascii_lowercase())
        } else {
            self.lower_case(host)
        }
    }

    fn lower_case(&self, host: &[u8]) -> Option<usize> {
        let exact = self.exact.get(host).copied();
        let suffix = || {
            self.suffixes
                .iter()
                .find(|(s, _)| host.len() > s.len() && host.ends_with(s))
                .map(|(_, position)| *position)
        };
        let prefix = || {
            self.prefixes
                .iter()
                .find(|(p, _)| host.len() > p.len() && host.starts_with(p))
                .map(|(_, position)| *position)
        };
        exact.or_else(suffix).or_else(prefix).or(self.any)
    }
}

#[cfg(test)]
mod tests;
