//! Who may ask for what: policies as trees of conditions (Envoy's RBAC), and the one decision on them.

mod external;

pub use external::{CheckBody, CheckProtocol, External, HttpCheck};

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::matching::{HeaderMatch, StringMatch};
use crate::request::RequestView;
use crate::token::Claim;
use crate::why::{Considered, NoWhy, Why};

/// Sets of rules in the order in which they are asked; a request must pass each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policies(pub Vec<RuleSet>);

/// Rules of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSet {
    /// What a match means.
    pub action: PolicyAction,
    /// Rules in force; `None` = nothing is enforced, an empty list never matches (ALLOW then refuses everything).
    pub enforced: Option<Vec<PolicyRule>>,
    /// Rules that are only counted (dry run).
    pub shadow: Option<Vec<PolicyRule>>,
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyAction {
    /// What matches is let through, everything else refused.
    Allow,
    /// What matches is refused.
    Deny,
    /// What matches is noted.
    Audit,
}

impl PolicyAction {
    /// Istio's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Deny => "DENY",
            Self::Audit => "AUDIT",
        }
    }
}

/// One rule of a policy: matches when one of the permissions and one of the principals hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// `ns[default]-policy[name]-rule[0]`, as Istio names it in logs.
    pub name: String,
    /// On what is asked.
    pub permissions: Vec<Check>,
    /// On who asks.
    pub principals: Vec<Check>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Always holds.
    Any,
    /// All hold.
    All(Vec<Check>),
    /// One holds.
    OneOf(Vec<Check>),
    /// Does not hold.
    Not(Box<Check>),
    /// A header (HTTP only).
    Header(HeaderMatch),
    /// The path without query, after normalisation (HTTP only).
    Path(StringMatch),
    /// The URI that the peer's certificate proved; `None` = any.
    Principal(Option<StringMatch>),
    /// Address of the socket's peer.
    SourceIp(IpNet),
    /// Address of the client, as far as proxies in between are trusted.
    RemoteIp(IpNet),
    /// Address that the client connected to.
    DestinationIp(IpNet),
    /// Port that the client connected to.
    DestinationPort(u16),
    /// SNI.
    ServerName(StringMatch),
    /// A fact of the verified token by its path (`request.auth.claims`, `groups`): a text, or one of a list of
    /// texts. `None` = it is there.
    Claim {
        /// Keys from the outermost.
        path: Vec<String>,
        /// Condition.
        value: Option<StringMatch>,
    },
}

/// What a decision looks at.
#[derive(Clone, Copy)]
pub struct AccessFacts<'a> {
    /// The request; `None` for opaque connections.
    pub request: Option<&'a dyn RequestView>,
    /// URI proved by the peer's certificate.
    pub principal: Option<&'a str>,
    /// Peer of the socket.
    pub source: IpAddr,
    /// Client as trusted proxies told.
    pub remote: IpAddr,
    /// Where the client connected to.
    pub destination: SocketAddr,
    /// SNI.
    pub server_name: Option<&'a str>,
    /// What the verified token says, in Istio's form (`request.auth.principal`, ...).
    pub claims: Option<&'a Claim>,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decision {
    /// It is refused.
    pub denied: bool,
    /// What decided: the refusing set and its matching rule (none for "no ALLOW rule matches"), or the ALLOW rule
    /// that let it through.
    pub by: Option<Matched>,
    /// What AUDIT and dry-run rules found, in order; the flag says that it is a dry run.
    pub noted: Vec<(Matched, bool)>,
}

/// A rule set and the rule in it that matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Matched {
    /// Position of the set.
    pub set: usize,
    /// Position of the rule; `None` = no rule of the set matched.
    pub rule: Option<usize>,
}

impl Policies {
    /// Whether there is nothing to ask.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Asks the sets in order; the first refusal ends it.
    #[must_use]
    pub fn decide(&self, facts: &AccessFacts<'_>) -> Decision {
        let mut decision = Decision::default();
        for (at, set) in self.0.iter().enumerate() {
            if let Some(shadow) = &set.shadow {
                let rule = first_noting(shadow, facts, &mut NoWhy);
                decision.noted.push((Matched { set: at, rule }, true));
            }
            let Some(enforced) = &set.enforced else { continue };
            let rule = first_noting(enforced, facts, &mut NoWhy);
            let matched = Matched { set: at, rule };
            match (set.action, rule) {
                (PolicyAction::Audit, None) | (PolicyAction::Deny, None) => {}
                (PolicyAction::Audit, Some(_)) => decision.noted.push((matched, false)),
                (PolicyAction::Allow, Some(_)) => decision.by = Some(matched),
                (PolicyAction::Allow, None) | (PolicyAction::Deny, Some(_)) => {
                    decision.denied = true;
                    decision.by = Some(matched);
                    return decision;
                }
            }
        }
        decision
    }

    /// Name of a rule that matched.
    #[must_use]
    pub fn name_of(&self, matched: Matched, shadow: bool) -> Option<&str> {
        let set = self.0.get(matched.set)?;
        let rules = if shadow { &set.shadow } else { &set.enforced };
        Some(&rules.as_ref()?.get(matched.rule?)?.name)
    }
}

/// The first rule that matches, with a note for each.
#[must_use]
pub fn first_noting<W: Why>(rules: &[PolicyRule], facts: &AccessFacts<'_>, why: &mut W) -> Option<usize> {
    let mut found = None;
    for (position, rule) in rules.iter().enumerate() {
        let holds = rule.holds(facts);
        why.note(|| match (holds, found) {
            (true, None) => Considered::won(position, "the first rule that matches"),
            (true, Some(_)) => Considered::lost(position, "matches too, but an earlier rule has decided"),
            (false, _) => Considered::lost(position, rule.failing(facts)),
        });
        if holds && found.is_none() {
            found = Some(position);
            if !W::ON {
                break;
            }
        }
    }
    found
}

impl PolicyRule {
    /// Whether one of its permissions and one of its principals hold.
    #[must_use]
    pub fn holds(&self, facts: &AccessFacts<'_>) -> bool {
        self.permissions.iter().any(|check| check.holds(facts))
            && self.principals.iter().any(|check| check.holds(facts))
    }
}

impl Check {
    /// Whether it holds. What is not known (a header of an opaque connection, a principal without certificate)
    /// never holds.
    #[must_use]
    pub fn holds(&self, facts: &AccessFacts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::All(checks) => checks.iter().all(|check| check.holds(facts)),
            Self::OneOf(checks) => checks.iter().any(|check| check.holds(facts)),
            Self::Not(check) => !check.holds(facts),
            Self::Header(header) => facts.request.is_some_and(|request| header.holds(request)),
            Self::Path(path) => facts.request.is_some_and(|request| path.matches(request.path())),
            Self::Principal(name) => facts
                .principal
                .filter(|proven| !proven.is_empty())
                .is_some_and(|proven| name.as_ref().is_none_or(|name| name.matches(proven.as_bytes()))),
            Self::SourceIp(range) => range.contains(&plain(facts.source)),
            Self::RemoteIp(range) => range.contains(&plain(facts.remote)),
            Self::DestinationIp(range) => range.contains(&plain(facts.destination.ip())),
            Self::DestinationPort(port) => facts.destination.port() == *port,
            Self::ServerName(name) => facts
                .server_name
                .is_some_and(|asked| name.matches(asked.as_bytes())),
            Self::Claim { path, value } => facts
                .claims
                .and_then(|claims| claims.at(path))
                .is_some_and(|claim| claim.has(value.as_ref())),
        }
    }
}

/// An IPv4 address in IPv6 clothes is the IPv4 address.
fn plain(ip: IpAddr) -> IpAddr {
    ip.to_canonical()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::request::TypedRequest;

    fn facts(request: Option<&dyn RequestView>) -> AccessFacts<'_> {
        AccessFacts {
            request,
            principal: Some("spiffe://cluster.local/ns/a/sa/web"),
            source: "127.64.3.3".parse().unwrap(),
            remote: "10.0.0.7".parse().unwrap(),
            destination: "127.64.4.2:9080".parse().unwrap(),
            server_name: Some("x.test"),
            claims: None,
        }
    }

    fn rule(name: &str, check: Check) -> PolicyRule {
        PolicyRule {
            name: name.into(),
            permissions: vec![Check::Any],
            principals: vec![check],
        }
    }

    fn set(action: PolicyAction, rules: Vec<PolicyRule>) -> RuleSet {
        RuleSet {
            action,
            enforced: Some(rules),
            shadow: None,
        }
    }

    #[track_caller]
    fn holds(check: Check, expected: bool) {
        let request = TypedRequest::get("x.test", "/a?b");
        assert_eq!(check.holds(&facts(Some(&request))), expected, "{check:?}");
    }

    #[test]
    fn conditions() {
        holds(Check::Any, true);
        holds(Check::All(Vec::new()), true);
        holds(Check::OneOf(Vec::new()), false);
        holds(Check::Not(Box::new(Check::Any)), false);
        holds(Check::Path(StringMatch::Exact("/a".into())), true);
        holds(Check::Path(StringMatch::Exact("/a?b".into())), false);
        holds(Check::Principal(None), true);
        holds(
            Check::Principal(Some(StringMatch::Suffix("/sa/web".into()))),
            true,
        );
        holds(
            Check::Principal(Some(StringMatch::Suffix("/sa/we".into()))),
            false,
        );
        holds(Check::SourceIp("127.64.3.0/24".parse().unwrap()), true);
        holds(Check::RemoteIp("127.64.3.0/24".parse().unwrap()), false);
        holds(Check::DestinationIp("127.64.4.2/32".parse().unwrap()), true);
        holds(Check::DestinationPort(9080), true);
        holds(Check::DestinationPort(9081), false);
        holds(Check::ServerName(StringMatch::Exact("x.test".into())), true);
        holds(
            Check::Claim {
                path: vec!["request.auth.principal".into()],
                value: None,
            },
            false,
        );
        // Nothing of HTTP holds on an opaque connection.
        assert!(!Check::Path(StringMatch::Prefix(String::new())).holds(&facts(None)));
    }

    #[track_caller]
    fn decides(sets: Vec<RuleSet>, denied: bool, by: Option<(usize, Option<usize>)>) {
        let policies = Policies(sets);
        let decision = policies.decide(&facts(None));
        assert_eq!(decision.denied, denied, "{policies:?}");
        assert_eq!(decision.by.map(|m| (m.set, m.rule)), by, "{policies:?}");
    }

    #[test]
    fn deny_comes_first_and_allow_must_match() {
        let no = || Check::Not(Box::new(Check::Any));
        use PolicyAction::{Allow, Audit, Deny};
        decides(Vec::new(), false, None);
        decides(
            vec![set(Deny, vec![rule("d", Check::Any)])],
            true,
            Some((0, Some(0))),
        );
        decides(vec![set(Deny, vec![rule("d", no())])], false, None);
        decides(vec![set(Allow, Vec::new())], true, Some((0, None)));
        decides(
            vec![set(Allow, vec![rule("a", no()), rule("b", Check::Any)])],
            false,
            Some((0, Some(1))),
        );
        decides(
            vec![
                set(Deny, vec![rule("d", no())]),
                set(Allow, vec![rule("a", no())]),
            ],
            true,
            Some((1, None)),
        );
        decides(vec![set(Audit, vec![rule("n", Check::Any)])], false, None);
        let shadow = RuleSet {
            action: Deny,
            enforced: None,
            shadow: Some(vec![rule("s", Check::Any)]),
        };
        let policies = Policies(vec![shadow]);
        let decision = policies.decide(&facts(None));
        assert!(!decision.denied);
        let (matched, dry) = decision.noted.first().copied().unwrap();
        assert_eq!((policies.name_of(matched, dry), dry), (Some("s"), true));
    }
}
