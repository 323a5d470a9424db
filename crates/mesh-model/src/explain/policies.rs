//! Whether policies let a request or a connection pass.

use super::connection::candidate;
use super::{Candidate, Place, Spot, Step, Walk};
use crate::authorization::{AccessFacts, Decision, Policies, PolicyAction, first_noting};
use crate::why::Notes;

/// What Envoy writes into the log when it refuses.
const DENIED: &str = "rbac_access_denied_matched_policy";

/// Asks policies; the detail of a refusal.
pub(super) fn authorize(walk: &mut Walk<'_>, policies: &Policies, facts: &AccessFacts<'_>) -> Option<String> {
    if policies.is_empty() {
        walk.decided(Step::Authorization, "allowed", "no policy applies", Vec::new());
        return None;
    }
    let decision = policies.decide(facts);
    let (mut enforced, mut tried) = (Vec::new(), Vec::new());
    for (at, set) in policies.0.iter().enumerate() {
        // What comes after a refusal is not asked any more.
        let reached = !decision.denied || decision.by.is_none_or(|by| at <= by.set);
        for (rules, list, shadow) in [
            (&set.enforced, &mut enforced, false),
            (&set.shadow, &mut tried, true),
        ] {
            let Some(rules) = rules else { continue };
            let mut notes = Notes::default();
            let matched = first_noting(rules, facts, &mut notes);
            for mut note in notes.0 {
                let Some(rule) = rules.get(note.position) else {
                    continue;
                };
                if !reached {
                    note.won = false;
                    note.reason = "not asked: an earlier policy has refused".into();
                }
                let mut made = candidate(rule.name.clone(), format!("{} {rule}", set.action.as_str()), note);
                made.object = policy_place(&rule.name);
                list.push(made);
            }
            if reached && matched.is_none() && set.action == PolicyAction::Allow {
                list.push(Candidate {
                    name: "(no ALLOW rule)".into(),
                    summary: "where there are ALLOW rules, what none of them matches is refused".into(),
                    won: !shadow,
                    reason: "no ALLOW rule matches".into(),
                    ..Candidate::default()
                });
            }
        }
    }
    let details = refusal(policies, &decision);
    let (result, reason) = verdict(policies, &decision);
    walk.decided(Step::Authorization, result, reason, enforced);
    if !tried.is_empty() {
        let matching = tried.iter().filter(|candidate| candidate.won).count();
        walk.decided(
            Step::DryRun,
            format!("{matching} rules match"),
            "policies that are only tried decide nothing",
            tried,
        );
    }
    details
}

fn refusal(policies: &Policies, decision: &Decision) -> Option<String> {
    decision.denied.then(|| {
        let name = decision.by.and_then(|by| policies.name_of(by, false));
        format!("{DENIED}[{}]", name.unwrap_or("none"))
    })
}

fn verdict(policies: &Policies, decision: &Decision) -> (&'static str, String) {
    let name = decision.by.and_then(|by| policies.name_of(by, false));
    match (decision.denied, name) {
        (true, Some(name)) => ("denied", format!("{name} refuses it")),
        (true, None) => ("denied", "there are ALLOW rules and none matches".to_owned()),
        (false, Some(name)) => ("allowed", format!("{name} allows it")),
        (false, None) => (
            "allowed",
            "no DENY rule matches and there is no ALLOW rule".to_owned(),
        ),
    }
}

/// The policy of `ns[namespace]-policy[name]-rule[0]`.
pub(super) fn policy_place(name: &str) -> Option<Place> {
    let rest = if name.starts_with("istio-ext-authz-") {
        name.split_once("-ns[")?.1
    } else {
        name.strip_prefix("ns[")?
    };
    let (namespace, rest) = rest.split_once("]-policy[")?;
    let (policy, rule) = rest.split_once("]-rule[")?;
    Some(Place {
        kind: "AuthorizationPolicy",
        namespace: namespace.to_owned(),
        name: policy.to_owned(),
        spot: Spot::Rule(rule.split(']').next()?.parse().ok()?),
    })
}
