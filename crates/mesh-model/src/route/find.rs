//! Which rule serves a request: the one function that proxy, explain and what-if call.

use std::collections::HashMap;

use super::{Domain, PathMatch, Route, RouteMatch, RouteTable, VirtualHost};
use crate::matching::query_value;
use crate::request::RequestView;

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
        best.map(|(_, position)| position)
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
        self.routes.iter().position(|route| route.matches.holds(request))
    }
}

impl RouteMatch {
    /// Whether every condition holds.
    #[must_use]
    pub fn holds(&self, request: &dyn RequestView) -> bool {
        self.path_holds(request.path())
            && self.headers.iter().all(|header| header.holds(request))
            && self.query.iter().all(
                |query| match query_value(request.query(), query.name.as_bytes()) {
                    None => false,
                    Some(value) => query.value.as_ref().is_none_or(|m| m.matches(value)),
                },
            )
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
