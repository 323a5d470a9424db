//! Routes and policies against a literal reference: the same rules, read word by word from their definition, without
//! any of the model's code. Whatever is generated, both must decide alike, with and without notes.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_model::authorization::{
    AccessFacts, Check, Policies, PolicyAction, PolicyRule, RuleSet, first_noting,
};
use mesh_model::matching::{HeaderCheck, HeaderMatch, Pattern, QueryMatch, StringMatch};
use mesh_model::request::TypedRequest;
use mesh_model::route::{
    Action, DirectResponse, Domain, Found, HeaderEdits, HostIndex, PathMatch, Route, RouteMatch, RouteTable,
    VirtualHost,
};
use mesh_model::token::Claim;
use mesh_model::why::Notes;
use proptest::prelude::*;
use proptest::sample::select;

// --- the reference ---------------------------------------------------------------------------------------------------

/// What a regular expression means, said again by hand.
type Meaning = fn(&str) -> bool;

/// Regular expressions with their meaning.
const PATTERNS: &[(&str, Meaning)] = &[
    ("/a.*", |s| s.starts_with("/a") && !s.contains('\n')),
    ("[0-9]+", |s| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
    }),
    ("", str::is_empty),
    ("a|ab", |s| s == "a" || s == "ab"),
    (".*b", |s| s.ends_with('b') && !s.contains('\n')),
];

fn lower(text: &str) -> String {
    text.to_ascii_lowercase()
}

fn text_matches(wanted: &StringMatch, value: &str) -> bool {
    match wanted {
        StringMatch::Exact(s) => value == s,
        StringMatch::Prefix(s) => value.find(s.as_str()) == Some(0),
        StringMatch::Suffix(s) => value.ends_with(s.as_str()),
        StringMatch::Contains(s) => value.contains(s.as_str()),
        StringMatch::Regex(p) => (PATTERNS
            .iter()
            .find(|(source, _)| *source == p.source())
            .unwrap()
            .1)(value),
        StringMatch::ExactIgnoreCase(s) => lower(value) == lower(s),
        StringMatch::PrefixIgnoreCase(s) => lower(value).starts_with(&lower(s)),
        StringMatch::SuffixIgnoreCase(s) => lower(value).ends_with(&lower(s)),
    }
}

fn parts(target: &str) -> (&str, Option<&str>) {
    match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    }
}

fn header(request: &TypedRequest, name: &str) -> Option<String> {
    match name {
        ":method" => Some(request.method.clone()),
        ":scheme" => Some(request.scheme.clone()),
        ":authority" | "host" => Some(request.authority.clone()),
        ":path" => Some(request.target.clone()),
        _ => {
            let values: Vec<&str> = request
                .headers
                .iter()
                .filter(|(n, _)| n == name)
                .map(|(_, v)| v.as_str())
                .collect();
            (!values.is_empty()).then(|| values.join(","))
        }
    }
}

fn header_matches(wanted: &HeaderMatch, request: &TypedRequest) -> bool {
    let there = header(request, &wanted.name);
    match &wanted.check {
        HeaderCheck::Present(present) => {
            let holds = there.is_some() == *present;
            if wanted.invert { !holds } else { holds }
        }
        HeaderCheck::Value(value) => match there.or(wanted.missing_is_empty.then(String::new)) {
            None => false,
            Some(there) => text_matches(value, &there) ^ wanted.invert,
        },
    }
}

fn query_matches(wanted: &QueryMatch, request: &TypedRequest) -> bool {
    let Some(query) = parts(&request.target).1 else {
        return false;
    };
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        if name == wanted.name {
            return wanted
                .value
                .as_ref()
                .is_none_or(|wanted| text_matches(wanted, value));
        }
    }
    false
}

fn rule_matches(wanted: &RouteMatch, request: &TypedRequest) -> bool {
    let path = parts(&request.target).0;
    let fold = |text: &str| {
        if wanted.path_ignore_case {
            lower(text)
        } else {
            text.to_owned()
        }
    };
    let path_fits = match &wanted.path {
        PathMatch::Prefix(p) => fold(path).starts_with(&fold(p)),
        PathMatch::Exact(p) => fold(path) == fold(p),
        PathMatch::Regex(p) => text_matches(&StringMatch::Regex(p.clone()), path),
        PathMatch::SegmentPrefix(p) => {
            let p = fold(p.strip_suffix('/').unwrap_or(p));
            fold(path) == p || fold(path).starts_with(&format!("{p}/"))
        }
    };
    path_fits
        && wanted.headers.iter().all(|h| header_matches(h, request))
        && wanted.query.iter().all(|q| query_matches(q, request))
}

/// Exact, then the longest suffix, then the longest prefix, then `*`; the first in the list of equals.
fn virtual_host_of(table: &RouteTable, authority: &str) -> Option<usize> {
    let host = lower(match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
        _ => authority,
    });
    let mut claims: Vec<(u8, usize, std::cmp::Reverse<usize>)> = Vec::new();
    for (at, virtual_host) in table.virtual_hosts.iter().enumerate() {
        for domain in &virtual_host.domains {
            let claim = match domain {
                Domain::Exact(d) if lower(d) == host => Some((3, 0)),
                Domain::Suffix(d) if host.len() > d.len() && host.ends_with(&lower(d)) => Some((2, d.len())),
                Domain::Prefix(d) if host.len() > d.len() && host.starts_with(&lower(d)) => {
                    Some((1, d.len()))
                }
                Domain::Any => Some((0, 0)),
                _ => None,
            };
            if let Some((kind, length)) = claim {
                claims.push((kind, length, std::cmp::Reverse(at)));
            }
        }
    }
    claims.into_iter().max().map(|(_, _, std::cmp::Reverse(at))| at)
}

fn find(table: &RouteTable, request: &TypedRequest) -> Option<Found> {
    let virtual_host = virtual_host_of(table, &request.authority)?;
    for (route, rule) in table.virtual_hosts[virtual_host].routes.iter().enumerate() {
        if rule_matches(&rule.matches, request) {
            return Some(Found { virtual_host, route });
        }
    }
    None
}

fn check_holds(check: &Check, facts: &Facts) -> bool {
    let request = facts.request.as_ref();
    let inside = |range: &ipnet::IpNet, ip: IpAddr| {
        let ip = match ip {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
            IpAddr::V4(_) => ip,
        };
        ip >= range.network() && ip <= range.broadcast() && ip.is_ipv4() == range.addr().is_ipv4()
    };
    match check {
        Check::Any => true,
        Check::All(checks) => checks.iter().filter(|c| !check_holds(c, facts)).count() == 0,
        Check::OneOf(checks) => checks.iter().filter(|c| check_holds(c, facts)).count() > 0,
        Check::Not(check) => !check_holds(check, facts),
        Check::Header(h) => request.is_some_and(|r| header_matches(h, r)),
        Check::Path(p) => request.is_some_and(|r| text_matches(p, parts(&r.target).0)),
        Check::Principal(wanted) => match facts.principal.as_deref() {
            None | Some("") => false,
            Some(proven) => wanted.as_ref().is_none_or(|w| text_matches(w, proven)),
        },
        Check::SourceIp(range) => inside(range, facts.source),
        Check::RemoteIp(range) => inside(range, facts.remote),
        Check::DestinationIp(range) => inside(range, facts.destination.ip()),
        Check::DestinationPort(port) => facts.destination.port() == *port,
        Check::ServerName(name) => facts
            .server_name
            .as_deref()
            .is_some_and(|n| text_matches(name, n)),
        Check::Claim { path, value } => {
            let mut here = facts.claims.as_ref();
            for key in path {
                here = match here {
                    Some(Claim::Map(entries)) => entries.get(key),
                    _ => None,
                };
            }
            here.is_some_and(|claim| claim_matches(claim, value.as_ref()))
        }
        #[allow(
            unreachable_patterns,
            reason = "kinds of conditions that this reference does not generate"
        )]
        _ => unreachable!("not generated"),
    }
}

fn claim_matches(claim: &Claim, value: Option<&StringMatch>) -> bool {
    match (claim, value) {
        (Claim::Text(text), Some(value)) => text_matches(value, text),
        (Claim::Text(text), None) => !text.is_empty(),
        (Claim::List(list), value) => list
            .iter()
            .any(|one| !matches!(one, Claim::List(_)) && claim_matches(one, value)),
        (_, Some(_)) | (Claim::Null, None) => false,
        (_, None) => true,
    }
}

fn rule_holds(rule: &PolicyRule, facts: &Facts) -> bool {
    let any = |checks: &[Check]| checks.iter().any(|c| check_holds(c, facts));
    any(&rule.permissions) && any(&rule.principals)
}

/// Whether a request is refused: a DENY rule matches, or there are ALLOW rules and none does; asked in order.
fn denied(policies: &Policies, facts: &Facts) -> bool {
    for set in &policies.0 {
        let Some(rules) = &set.enforced else { continue };
        let matches = rules.iter().any(|rule| rule_holds(rule, facts));
        let refuses = match set.action {
            PolicyAction::Deny => matches,
            PolicyAction::Allow => !matches,
            _ => false,
        };
        if refuses {
            return true;
        }
    }
    false
}

// --- what is generated -----------------------------------------------------------------------------------------------

const TEXTS: &[&str] = &[
    "", "/", "/a", "/A", "/a/b", "/ab", "a", "b", "ab", "1", "12", "x.test", "GET", "http",
];
const HOSTS: &[&str] = &[
    "x.test",
    "X.test",
    "y.x.test",
    "test",
    "x.y",
    "x",
    "x.test:80",
    "x.test:8080",
    "[::1]:80",
];
const NAMES: &[&str] = &[
    "a",
    "end-user",
    ":method",
    ":authority",
    "host",
    ":path",
    ":scheme",
];

fn text() -> impl Strategy<Value = String> {
    select(TEXTS).prop_map(str::to_owned)
}

fn pattern() -> impl Strategy<Value = Pattern> {
    select(PATTERNS).prop_map(|(source, _)| Pattern::new(source).unwrap())
}

fn string_match() -> impl Strategy<Value = StringMatch> {
    prop_oneof![
        text().prop_map(StringMatch::Exact),
        text().prop_map(StringMatch::Prefix),
        text().prop_map(StringMatch::Suffix),
        text().prop_map(StringMatch::Contains),
        pattern().prop_map(StringMatch::Regex),
        text().prop_map(StringMatch::ExactIgnoreCase),
        text().prop_map(StringMatch::PrefixIgnoreCase),
        text().prop_map(StringMatch::SuffixIgnoreCase),
    ]
}

fn header_match() -> impl Strategy<Value = HeaderMatch> {
    let check = prop_oneof![
        any::<bool>().prop_map(HeaderCheck::Present),
        string_match().prop_map(HeaderCheck::Value),
    ];
    (select(NAMES), check, any::<bool>(), any::<bool>()).prop_map(
        |(name, check, invert, missing_is_empty)| HeaderMatch {
            name: name.to_owned(),
            check,
            invert,
            missing_is_empty,
        },
    )
}

fn route_match() -> impl Strategy<Value = RouteMatch> {
    let path = prop_oneof![
        text().prop_map(PathMatch::Prefix),
        text().prop_map(PathMatch::Exact),
        pattern().prop_map(PathMatch::Regex),
        text().prop_map(PathMatch::SegmentPrefix),
    ];
    let query =
        (select(&["q", "r", ""][..]), proptest::option::of(string_match())).prop_map(|(name, value)| {
            QueryMatch {
                name: name.to_owned(),
                value,
            }
        });
    (
        path,
        any::<bool>(),
        prop::collection::vec(header_match(), 0..3),
        prop::collection::vec(query, 0..2),
    )
        .prop_map(|(path, path_ignore_case, headers, query)| RouteMatch {
            path,
            path_ignore_case,
            headers,
            query,
            claims: Vec::new(),
        })
}

fn route() -> impl Strategy<Value = Arc<Route>> {
    route_match().prop_map(|matches| {
        Arc::new(Route {
            name: String::new(),
            matches,
            action: Action::Respond(DirectResponse::default()),
            request_headers: HeaderEdits::default(),
            response_headers: HeaderEdits::default(),
            fault: None,
            cors: None,
            operation: None,
            origin: None,
        })
    })
}

fn domain() -> impl Strategy<Value = Domain> {
    prop_oneof![
        Just(Domain::Any),
        select(&["x.test", "test", "x"][..]).prop_map(|d| Domain::Exact(d.into())),
        select(&[".test", ".x.test", "test"][..]).prop_map(|d| Domain::Suffix(d.into())),
        select(&["x.", "x", "y.x."][..]).prop_map(|d| Domain::Prefix(d.into())),
    ]
}

fn table() -> impl Strategy<Value = RouteTable> {
    let virtual_host = (
        prop::collection::vec(domain(), 0..3),
        prop::collection::vec(route(), 0..5),
    )
        .prop_map(|(domains, routes)| {
            Arc::new(VirtualHost {
                domains,
                routes,
                ..VirtualHost::default()
            })
        });
    prop::collection::vec(virtual_host, 0..5).prop_map(|virtual_hosts| RouteTable {
        name: "80".into(),
        virtual_hosts,
    })
}

fn request() -> impl Strategy<Value = TypedRequest> {
    let target = (
        select(&["/", "/a", "/A", "/a/b", "/ab", "/a/"][..]),
        select(&["", "?", "?q", "?q=a", "?r=1&q=b&q=a", "?=x"][..]),
    )
        .prop_map(|(path, query)| format!("{path}{query}"));
    let header = (select(&["a", "end-user"][..]), text()).prop_map(|(name, value)| (name.to_owned(), value));
    (
        select(&["GET", "POST"][..]),
        select(&["http", "https"][..]),
        select(HOSTS),
        target,
        prop::collection::vec(header, 0..4),
    )
        .prop_map(|(method, scheme, authority, target, headers)| TypedRequest {
            method: method.to_owned(),
            scheme: scheme.to_owned(),
            authority: authority.to_owned(),
            target,
            headers,
        })
}

/// Facts that own what they name.
#[derive(Debug, Clone)]
struct Facts {
    request: Option<TypedRequest>,
    principal: Option<String>,
    source: IpAddr,
    remote: IpAddr,
    destination: SocketAddr,
    server_name: Option<String>,
    claims: Option<Claim>,
}

impl Facts {
    fn as_access(&self) -> AccessFacts<'_> {
        AccessFacts {
            request: self
                .request
                .as_ref()
                .map(|r| r as &dyn mesh_model::request::RequestView),
            principal: self.principal.as_deref(),
            source: self.source,
            remote: self.remote,
            destination: self.destination,
            server_name: self.server_name.as_deref(),
            claims: self.claims.as_ref(),
        }
    }
}

fn ip() -> impl Strategy<Value = IpAddr> {
    select(&["10.0.0.1", "10.1.0.1", "::ffff:10.0.0.1", "fd00::1"][..]).prop_map(|ip| ip.parse().unwrap())
}

fn claims() -> impl Strategy<Value = Claim> {
    let leaf = prop_oneof![
        Just(Claim::Null),
        any::<bool>().prop_map(Claim::Bool),
        Just(Claim::Number(1.0)),
        text().prop_map(Claim::Text),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Claim::List),
            prop::collection::btree_map(select(&["a", "b"][..]).prop_map(str::to_owned), inner, 0..3)
                .prop_map(Claim::Map),
        ]
    });
    (value, text()).prop_map(|(groups, sub)| {
        Claim::Map(BTreeMap::from([
            ("g".to_owned(), groups),
            ("s".to_owned(), Claim::Text(sub)),
        ]))
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    (
        proptest::option::of(request()),
        proptest::option::of(text()),
        ip(),
        ip(),
        (ip(), select(&[80_u16, 9080][..])),
        proptest::option::of(select(HOSTS).prop_map(str::to_owned)),
        proptest::option::of(claims()),
    )
        .prop_map(
            |(request, principal, source, remote, (ip, port), server_name, claims)| Facts {
                request,
                principal,
                source,
                remote,
                destination: SocketAddr::new(ip, port),
                server_name,
                claims,
            },
        )
}

fn check() -> impl Strategy<Value = Check> {
    let range = || {
        select(&["10.0.0.0/8", "10.0.0.1/32", "fd00::/8", "0.0.0.0/0"][..]).prop_map(|r| r.parse().unwrap())
    };
    let leaf = prop_oneof![
        Just(Check::Any),
        header_match().prop_map(Check::Header),
        string_match().prop_map(Check::Path),
        proptest::option::of(string_match()).prop_map(Check::Principal),
        range().prop_map(Check::SourceIp),
        range().prop_map(Check::RemoteIp),
        range().prop_map(Check::DestinationIp),
        select(&[80_u16, 9080][..]).prop_map(Check::DestinationPort),
        string_match().prop_map(Check::ServerName),
        (
            prop::collection::vec(select(&["g", "s", "a"][..]).prop_map(str::to_owned), 0..3),
            proptest::option::of(string_match())
        )
            .prop_map(|(path, value)| Check::Claim { path, value }),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Check::All),
            prop::collection::vec(inner.clone(), 0..3).prop_map(Check::OneOf),
            inner.prop_map(|check| Check::Not(Box::new(check))),
        ]
    })
}

fn policies() -> impl Strategy<Value = Policies> {
    let rule = (
        prop::collection::vec(check(), 0..3),
        prop::collection::vec(check(), 0..3),
    )
        .prop_map(|(permissions, principals)| PolicyRule {
            name: "ns[a]-policy[b]-rule[0]".into(),
            permissions,
            principals,
        });
    let rules = prop::collection::vec(rule, 0..3).boxed();
    let action = select(&[PolicyAction::Allow, PolicyAction::Deny, PolicyAction::Audit][..]);
    let set = (
        action,
        proptest::option::weighted(0.8, rules.clone()),
        proptest::option::weighted(0.2, rules),
    )
        .prop_map(|(action, enforced, shadow)| RuleSet {
            action,
            enforced,
            shadow,
        });
    prop::collection::vec(set, 0..4).prop_map(Policies)
}

// --- the properties --------------------------------------------------------------------------------------------------

/// Cases of each property; `SIGHTLINE_CASES` asks for more.
fn cases() -> ProptestConfig {
    let asked = std::env::var("SIGHTLINE_CASES").ok().and_then(|n| n.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(1_500),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn routes_are_found_as_defined(table in table(), requests in prop::collection::vec(request(), 4)) {
        let index = HostIndex::new(&table);
        for request in &requests {
            let expected = find(&table, request);
            prop_assert_eq!(table.find(request), expected, "{:?}", request);
            let host = mesh_model::route::host_of(request.authority.as_bytes());
            let own = table.virtual_host(host);
            prop_assert_eq!(own, virtual_host_of(&table, &request.authority));
            prop_assert_eq!(own, index.virtual_host(host));
            let mut notes = Notes::default();
            prop_assert_eq!(table.virtual_host_noting(host, &mut notes), own);
            prop_assert_eq!(winners(&notes), own.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(notes.0.len(), table.virtual_hosts.len());
        }
    }

    #[test]
    fn notes_tell_of_every_route_and_change_nothing(table in table(), request in request()) {
        for virtual_host in &table.virtual_hosts {
            let mut notes = Notes::default();
            let found = virtual_host.find_noting(&request, &mut notes);
            prop_assert_eq!(found, virtual_host.find(&request));
            prop_assert_eq!(winners(&notes), found.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(notes.0.len(), virtual_host.routes.len());
            prop_assert!(notes.0.iter().all(|note| !note.reason.is_empty()));
        }
    }

    #[test]
    fn policies_decide_as_defined(policies in policies(), facts in prop::collection::vec(facts(), 4)) {
        for facts in &facts {
            let access = facts.as_access();
            let decision = policies.decide(&access);
            prop_assert_eq!(decision.denied, denied(&policies, facts), "{:?}", facts);
            for set in &policies.0 {
                for rules in [&set.enforced, &set.shadow].into_iter().flatten() {
                    let mut notes = Notes::default();
                    let first = first_noting(rules, &access, &mut notes);
                    let expected = rules.iter().position(|rule| rule_holds(rule, facts));
                    prop_assert_eq!(first, expected);
                    prop_assert_eq!(winners(&notes), expected.into_iter().collect::<Vec<_>>());
                    prop_assert_eq!(notes.0.len(), rules.len());
                    prop_assert!(notes.0.iter().all(|note| !note.reason.is_empty()), "{:?}", notes);
                }
            }
        }
    }
}

fn winners(notes: &Notes) -> Vec<usize> {
    notes
        .0
        .iter()
        .filter(|note| note.won)
        .map(|note| note.position)
        .collect()
}
