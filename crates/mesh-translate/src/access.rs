//! AuthorizationPolicy and RequestAuthentication as they hold for one workload.

mod condition;
mod tokens;

use std::collections::BTreeMap;

use mesh_crd::networking::{Selector, labels_match};
use mesh_crd::object::Untyped;
use mesh_crd::problem::{Severity, code};
use mesh_crd::security::{AuthorizationPolicy, PolicyActionSpec, RequestAuthentication};
use mesh_crd::{Object, ObjectKey, Problem, Resource};
use mesh_model::authorization::{Check, Policies, PolicyAction, PolicyRule, RuleSet};
use mesh_model::token::TokenRules;
use serde::de::DeserializeOwned;

use crate::World;
use crate::index::{Index, by_age};
use crate::problem::Findings;

/// Policies with this annotation are only counted.
const DRY_RUN: &str = "istio.io/dry-run";

/// A policy in typed form.
#[derive(Debug)]
pub(crate) struct Access<T> {
    pub(crate) key: ObjectKey,
    pub(crate) dry_run: bool,
    pub(crate) spec: T,
}

/// Every policy, the oldest first.
#[derive(Debug, Default)]
pub(crate) struct Accesses {
    pub(crate) policies: Vec<Access<AuthorizationPolicy>>,
    pub(crate) tokens: Vec<Access<RequestAuthentication>>,
}

impl Accesses {
    pub(crate) fn build(world: &World, findings: &mut Findings) -> Self {
        Self {
            policies: read(world, "AuthorizationPolicy", findings),
            tokens: read(world, "RequestAuthentication", findings),
        }
    }
}

fn read<T: DeserializeOwned>(world: &World, kind: &str, findings: &mut Findings) -> Vec<Access<T>> {
    by_age(world, kind)
        .iter()
        .filter_map(|object| match object.as_ref() {
            Object::Other(r) => typed(object.key(), r, findings),
            _ => None,
        })
        .collect()
}

fn typed<T: DeserializeOwned>(
    key: ObjectKey,
    r: &Resource<Untyped>,
    findings: &mut Findings,
) -> Option<Access<T>> {
    match serde_json::from_value(r.spec.spec.clone()) {
        Ok(spec) => Some(Access {
            dry_run: r.meta.annotations.get(DRY_RUN).is_some_and(|v| v == "true"),
            key,
            spec,
        }),
        Err(error) => {
            // Admission has checked the form; what cannot be read all the same must not be silent.
            let message = format!("cannot be read: {error}");
            findings.add(
                &key,
                Problem::new(
                    code::NOT_SUPPORTED,
                    Severity::Error,
                    "spec",
                    message,
                    "correct the value",
                ),
            );
            None
        }
    }
}

/// Who is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

impl Workload<'_> {
    fn is_selected(&self, world: &World, key: &ObjectKey, selector: Option<&Selector>) -> bool {
        let root = world.mesh().root_namespace.as_str();
        (key.namespace == self.namespace || key.namespace == root)
            && selector.is_none_or(|s| labels_match(&s.match_labels, self.labels))
    }
}

/// What a workload asks of requests and of opaque connections.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) http: Policies,
    pub(crate) tcp: Policies,
    pub(crate) tokens: Option<Box<TokenRules>>,
}

/// The policies of a workload: root namespace first, all that select it add up.
pub(crate) fn of(world: &World, index: &Index, workload: Workload<'_>) -> Asked {
    let root = world.mesh().root_namespace.as_str();
    let mut selected: Vec<&Access<AuthorizationPolicy>> = index
        .accesses
        .policies
        .iter()
        .filter(|p| {
            let spec = &p.spec;
            spec.target_ref.is_none()
                && spec.target_refs.is_empty()
                && workload.is_selected(world, &p.key, spec.selector.as_ref())
        })
        .collect();
    selected.sort_by_key(|p| p.key.namespace != root);
    let sets = |tcp: bool| {
        let list = [PolicyAction::Audit, PolicyAction::Deny, PolicyAction::Allow];
        Policies(
            list.into_iter()
                .filter_map(|action| rule_set(world, &selected, action, tcp))
                .collect(),
        )
    };
    let tokens = index
        .accesses
        .tokens
        .iter()
        .filter(|t| {
            t.spec.target_ref.is_none()
                && t.spec.target_refs.is_empty()
                && workload.is_selected(world, &t.key, t.spec.selector.as_ref())
        })
        .map(|t| &t.spec);
    Asked {
        http: sets(false),
        tcp: sets(true),
        tokens: tokens::rules(tokens),
    }
}

fn rule_set(
    world: &World,
    selected: &[&Access<AuthorizationPolicy>],
    action: PolicyAction,
    tcp: bool,
) -> Option<RuleSet> {
    let mut set = RuleSet {
        action,
        enforced: None,
        shadow: None,
    };
    for policy in selected {
        let (spec, name) = (&policy.spec, policy.key.name.as_str());
        // Nobody is there to be asked: what a CUSTOM rule matches is refused, as with an unknown provider.
        let (own, suffix) = match spec.action {
            PolicyActionSpec::Allow => (PolicyAction::Allow, ""),
            PolicyActionSpec::Deny => (PolicyAction::Deny, ""),
            PolicyActionSpec::Audit => (PolicyAction::Audit, ""),
            PolicyActionSpec::Custom => (PolicyAction::Deny, "-deny-due-to-bad-CUSTOM-action"),
        };
        if own != action {
            continue;
        }
        let list = if policy.dry_run {
            &mut set.shadow
        } else {
            &mut set.enforced
        };
        let list = list.get_or_insert_default();
        for (i, rule) in spec.rules.iter().enumerate() {
            let place = condition::Place {
                tcp,
                allow: action == PolicyAction::Allow,
                trust_domain: &world.mesh().trust_domain,
                namespace: &policy.key.namespace,
            };
            let Some((permissions, principals)) = place.rule(rule) else {
                continue;
            };
            list.push(PolicyRule {
                name: format!("ns[{}]-policy[{name}]-rule[{i}]{suffix}", policy.key.namespace),
                permissions,
                principals,
            });
        }
    }
    for list in [&mut set.enforced, &mut set.shadow].into_iter().flatten() {
        // The wire has them by name.
        list.sort_by(|a, b| a.name.cmp(&b.name));
    }
    (set.enforced.is_some() || set.shadow.is_some()).then_some(set)
}

/// All of them; `Any` when there is none.
fn all(mut checks: Vec<Check>) -> Check {
    match checks.len() {
        0 => Check::Any,
        1 => checks.remove(0),
        _ => Check::All(checks),
    }
}

/// One of them.
fn one_of(mut checks: Vec<Check>) -> Check {
    match checks.len() {
        1 => checks.remove(0),
        _ => Check::OneOf(checks),
    }
}
