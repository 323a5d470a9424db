//! AuthorizationPolicy and RequestAuthentication as they hold for one workload.

mod condition;
pub(crate) mod custom;
mod tokens;

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_crd::networking::{Selector, labels_match};
use mesh_crd::object::Untyped;
use mesh_crd::problem::{Severity, code};
use mesh_crd::security::{AuthorizationPolicy, PolicyActionSpec, RequestAuthentication, TargetRef};
use mesh_crd::telemetry::Telemetry;
use mesh_crd::{Object, ObjectKey, Problem, Resource};
use mesh_model::authorization::{Check, External, Policies, PolicyAction, PolicyRule, RuleSet};
use mesh_model::token::TokenRules;
use serde::de::DeserializeOwned;

use crate::World;
use crate::index::{Index, by_age};
use crate::problem::Findings;
use crate::registry::MeshService;
use custom::Custom;

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
    pub(crate) telemetries: Vec<Access<Telemetry>>,
}

impl Accesses {
    pub(crate) fn build(world: &World, findings: &mut Findings) -> Self {
        Self {
            policies: read(world, "AuthorizationPolicy", findings),
            tokens: read(world, "RequestAuthentication", findings),
            telemetries: read(world, "Telemetry", findings),
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

/// Behind the names of rules that refuse because nobody can be asked.
const BAD_CUSTOM: &str = "-deny-due-to-bad-CUSTOM-action";

/// Who is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Workload<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// A pod with this label belongs to the Gateway of that name.
const GATEWAY_NAME_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// Whether an object that policies are attached to is a Gateway, the only kind with proxies of its own here.
pub(crate) fn is_gateway(target: &TargetRef) -> bool {
    target.kind == "Gateway" && target.group == "gateway.networking.k8s.io"
}

impl Workload<'_> {
    /// By the objects that a policy is attached to if it names any, else by its selector.
    pub(crate) fn is_meant(
        &self,
        world: &World,
        key: &ObjectKey,
        targets: (&[TargetRef], Option<&TargetRef>),
        selector: Option<&Selector>,
    ) -> bool {
        let mut attached = targets.0.iter().chain(targets.1).peekable();
        if attached.peek().is_none() {
            return self.is_selected(world, key, selector);
        }
        let own = self.labels.get(GATEWAY_NAME_LABEL);
        key.namespace == self.namespace
            && attached.any(|target| is_gateway(target) && own == Some(&target.name))
    }

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
    pub(crate) external: Vec<External>,
    /// The services that are asked.
    pub(crate) services: Vec<Arc<MeshService>>,
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
            let targets = (spec.target_refs.as_slice(), spec.target_ref.as_ref());
            workload.is_meant(world, &p.key, targets, spec.selector.as_ref())
        })
        .collect();
    selected.sort_by_key(|p| p.key.namespace != root);
    let custom = custom::of(world, index, &selected);
    // Opaque connections have no answer to show: nobody is asked about them.
    let is_asked = matches!(custom, Custom::Ask(..));
    let sets = |tcp: bool| {
        let list = [PolicyAction::Audit, PolicyAction::Deny, PolicyAction::Allow];
        Policies(
            list.into_iter()
                .filter_map(|action| rule_set(world, &selected, action, tcp, is_asked && !tcp))
                .collect(),
        )
    };
    let tokens = index
        .accesses
        .tokens
        .iter()
        .filter(|t| {
            let targets = (t.spec.target_refs.as_slice(), t.spec.target_ref.as_ref());
            workload.is_meant(world, &t.key, targets, t.spec.selector.as_ref())
        })
        .map(|t| &t.spec);
    let mut asked = Asked {
        http: sets(false),
        tcp: sets(true),
        tokens: tokens::rules(world, tokens),
        ..Asked::default()
    };
    if let Custom::Ask(external, service) = custom {
        asked.external.push(*external);
        asked.services.push(service);
    }
    asked
}

fn rule_set(
    world: &World,
    selected: &[&Access<AuthorizationPolicy>],
    action: PolicyAction,
    tcp: bool,
    is_asked: bool,
) -> Option<RuleSet> {
    let mut set = RuleSet {
        action,
        enforced: None,
        shadow: None,
    };
    for policy in selected {
        let (spec, name) = (&policy.spec, policy.key.name.as_str());
        let custom = spec.action == PolicyActionSpec::Custom;
        let own = match spec.action {
            PolicyActionSpec::Allow => PolicyAction::Allow,
            PolicyActionSpec::Audit => PolicyAction::Audit,
            // When nobody is there to be asked, what a CUSTOM rule matches is refused.
            PolicyActionSpec::Deny | PolicyActionSpec::Custom => PolicyAction::Deny,
        };
        if own != action || custom && is_asked && !policy.dry_run {
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
                name: match (custom, policy.dry_run) {
                    (false, _) => format!("ns[{}]-policy[{name}]-rule[{i}]", policy.key.namespace),
                    (true, true) => custom::rule_name(policy, i),
                    (true, false) => format!("{}{BAD_CUSTOM}", custom::rule_name(policy, i)),
                },
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
