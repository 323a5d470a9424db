//! Who may ask for what: policies are asked once a request (or connection), every decision is counted.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use mesh_model::authorization::{AccessFacts, Decision, Matched, Policies, PolicyAction};
use mesh_model::flags::ResponseFlags;
use mesh_model::token::Claim;
use parking_lot::Mutex;

use crate::call::Call;
use crate::codec::fields::Id;
use crate::refusal::Refusal;

/// What Envoy writes into the log when it refuses.
const DENIED: &str = "rbac_access_denied_matched_policy";
/// Body of a refusal.
const BODY: &str = "RBAC: access denied";

/// Policies with a counter for every decision that they can make.
pub(crate) struct Guard {
    /// As configured.
    pub(crate) policies: Policies,
    counters: Vec<SetCounters>,
}

struct SetCounters {
    /// For each rule in force, then for "no rule matches".
    enforced: Vec<Arc<AtomicU64>>,
    /// For each rule of the dry run, then for "no rule matches".
    shadow: Vec<Arc<AtomicU64>>,
}

/// Labels of a counter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `namespace/name`; empty when no rule matched.
    pub(crate) policy: String,
    /// Number of the rule in it.
    pub(crate) rule: String,
    /// `ALLOW`, `DENY`, `AUDIT`.
    pub(crate) action: &'static str,
    /// `allowed` or `denied`.
    pub(crate) decision: &'static str,
    /// Dry run.
    pub(crate) shadow: bool,
}

/// Counters of this process; they outlive configurations. Locked when a configuration is compiled and when metrics are
/// read, never for a request.
static COUNTERS: LazyLock<Mutex<BTreeMap<Key, Arc<AtomicU64>>>> = LazyLock::new(Mutex::default);

/// Every counter that has counted.
#[must_use]
pub(crate) fn counted() -> Vec<(Key, u64)> {
    COUNTERS
        .lock()
        .iter()
        .map(|(key, count)| (key.clone(), count.load(Ordering::Relaxed)))
        .filter(|(_, count)| *count > 0)
        .collect()
}

/// The counter of a decision that a rule makes; `rule` is its name, empty when no rule does.
pub(crate) fn counter(
    rule: &str,
    action: &'static str,
    decision: &'static str,
    shadow: bool,
) -> Arc<AtomicU64> {
    let (policy, rule) = labels(rule);
    let key = Key {
        policy,
        rule,
        action,
        decision,
        shadow,
    };
    Arc::clone(COUNTERS.lock().entry(key).or_default())
}

impl Guard {
    /// `None` when there is nothing to ask.
    pub(crate) fn new(policies: &Policies) -> Option<Self> {
        if policies.is_empty() {
            return None;
        }
        let counter_of = |name: &str, action: PolicyAction, shadow: bool| {
            let denied = match action {
                PolicyAction::Deny => !name.is_empty(),
                PolicyAction::Allow => name.is_empty(),
                PolicyAction::Audit => false,
            };
            let decision = if denied { "denied" } else { "allowed" };
            counter(name, action.as_str(), decision, shadow)
        };
        let counters = policies
            .0
            .iter()
            .map(|set| {
                let of = |rules: &Option<Vec<mesh_model::authorization::PolicyRule>>, shadow| {
                    let names = rules.iter().flatten().map(|rule| rule.name.as_str());
                    names
                        .chain([""])
                        .map(|name| counter_of(name, set.action, shadow))
                        .collect()
                };
                SetCounters {
                    enforced: of(&set.enforced, false),
                    shadow: of(&set.shadow, true),
                }
            })
            .collect();
        Some(Self {
            policies: policies.clone(),
            counters,
        })
    }

    /// Decides and counts; the refusal's detail if it is one.
    pub(crate) fn ask(&self, facts: &AccessFacts<'_>) -> Option<String> {
        let decision = self.policies.decide(facts);
        self.count(&decision);
        decision.denied.then(|| {
            let name = decision.by.and_then(|by| self.policies.name_of(by, false));
            format!("{DENIED}[{}]", name.unwrap_or("none"))
        })
    }

    fn count(&self, decision: &Decision) {
        for (matched, shadow) in &decision.noted {
            self.one(*matched, *shadow);
        }
        if let Some(by) = decision.by {
            self.one(by, false);
        }
    }

    fn one(&self, matched: Matched, shadow: bool) {
        let Some(set) = self.counters.get(matched.set) else {
            return;
        };
        let list = if shadow { &set.shadow } else { &set.enforced };
        let counter = match matched.rule {
            Some(rule) => list.get(rule),
            None => list.last(),
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// `namespace/name` and rule number of `ns[namespace]-policy[name]-rule[0]`, also behind the name of a provider;
/// anything else is a name by itself.
fn labels(name: &str) -> (String, String) {
    let parts = || {
        let rest = if name.starts_with("istio-ext-authz-") {
            name.split_once("-ns[")?.1
        } else {
            name.strip_prefix("ns[")?
        };
        let (namespace, rest) = rest.split_once("]-policy[")?;
        let (policy, rule) = rest.split_once("]-rule[")?;
        Some((
            format!("{namespace}/{policy}"),
            rule.split(']').next().unwrap_or(rule).to_owned(),
        ))
    };
    parts().unwrap_or_else(|| (name.to_owned(), String::new()))
}

/// The policy of a refusal's detail.
#[must_use]
pub(crate) fn policy_of(details: &str) -> Option<&str> {
    let at = details.find(DENIED)?;
    let rest = details.get(at + DENIED.len()..)?.strip_prefix('[')?;
    Some(rest.strip_suffix(']').unwrap_or(rest)).filter(|name| *name != "none")
}

/// What decisions about a request look at.
pub(crate) fn facts<'a>(call: &'a Call, claims: Option<&'a Claim>) -> AccessFacts<'a> {
    let downstream = &call.context.downstream;
    AccessFacts {
        request: Some(&*call.heads.request),
        principal: downstream.peer.as_ref().map(|peer| peer.principal.as_str()),
        source: downstream.remote.ip(),
        remote: client_address(call),
        destination: downstream.local,
        server_name: downstream.server_name.as_deref(),
        claims,
    }
}

/// Asks the policies of the connection manager about a request.
pub(crate) fn admit(call: &Call, claims: Option<&Claim>) -> Result<(), Refusal> {
    let Some(guard) = &call.context.http.guard else {
        return Ok(());
    };
    match guard.ask(&facts(call, claims)) {
        None => Ok(()),
        Some(details) => Err(Refusal::new(403, ResponseFlags::NONE, details).with_body(BODY)),
    }
}

/// The client as far as proxies in between are believed. A gateway appends its own peer to X-Forwarded-For and trusts
/// so many hops before it; a sidecar believes the header only from gateways that mutual TLS proves, so that no
/// application can say to come from elsewhere.
fn client_address(call: &Call) -> IpAddr {
    let config = &call.context.http.config;
    let remote = call.context.downstream.remote.ip();
    let hops = if config.use_remote_address {
        // The last entry is the one that this gateway wrote.
        usize::try_from(config.trusted_hops).unwrap_or(0)
    } else if call.context.downstream.mesh && call.outcome.peer.as_ref().is_some_and(|p| p.is_gateway) {
        usize::try_from(config.trusted_hops).unwrap_or(0)
    } else {
        return remote;
    };
    let Some(header) = call.heads.request.fields.get(Id::ForwardedFor) else {
        return remote;
    };
    let header = String::from_utf8_lossy(header);
    header
        .rsplit(',')
        .nth(hops)
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(remote)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_rules_are_labels() {
        assert_eq!(
            labels("ns[shop]-policy[only-web]-rule[3]"),
            ("shop/only-web".to_owned(), "3".to_owned())
        );
        assert_eq!(
            labels("istio-ext-authz-opa-ns[shop]-policy[p]-rule[0]-deny-due-to-bad-CUSTOM-action"),
            ("shop/p".to_owned(), "0".to_owned())
        );
        assert_eq!(labels(""), (String::new(), String::new()));
        assert_eq!(labels("x"), ("x".to_owned(), String::new()));
        assert_eq!(
            policy_of("rbac_access_denied_matched_policy[ns[a]-policy[b]-rule[0]]"),
            Some("ns[a]-policy[b]-rule[0]")
        );
        assert_eq!(policy_of("rbac_access_denied_matched_policy[none]"), None);
        assert_eq!(policy_of("via_upstream"), None);
    }
}
