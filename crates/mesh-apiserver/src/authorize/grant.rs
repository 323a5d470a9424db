//! Who may give which rights: only those that they have.

use serde_json::Value;

use super::{Attributes, Binding, Rule, Rules};
use crate::authenticate::User;
use crate::object::meta;
use crate::registry::{Core, Resource};

/// One right out of a rule: a verb on a resource (or path), perhaps on one name only.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Grain<'a> {
    verb: &'a str,
    group: &'a str,
    resource: &'a str,
    name: Option<&'a str>,
    path: Option<&'a str>,
}

impl Rule {
    fn grains(&self) -> Vec<Grain<'_>> {
        let mut grains = Vec::new();
        for verb in &self.verbs {
            for path in &self.paths {
                grains.push(Grain {
                    verb,
                    group: "",
                    resource: "",
                    name: None,
                    path: Some(path),
                });
            }
            for group in &self.groups {
                for resource in &self.resources {
                    let grain = Grain {
                        verb,
                        group,
                        resource,
                        name: None,
                        path: None,
                    };
                    if self.names.is_empty() {
                        grains.push(grain);
                    } else {
                        grains.extend(self.names.iter().map(|n| Grain {
                            name: Some(n),
                            ..grain.clone()
                        }));
                    }
                }
            }
        }
        grains
    }

    fn covers(&self, grain: &Grain<'_>) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
        if !has(&self.verbs, grain.verb) {
            return false;
        }
        if let Some(path) = grain.path {
            return self.paths.iter().any(|p| match p.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => p == path,
            });
        }
        let any_subresource = grain.resource.split_once('/').map(|(_, sub)| format!("*/{sub}"));
        let resource = has(&self.resources, grain.resource)
            || any_subresource.is_some_and(|r| self.resources.contains(&r));
        let name = self.names.is_empty() || grain.name.is_some_and(|n| self.names.iter().any(|own| own == n));
        has(&self.groups, grain.group) && resource && name
    }

    /// As a refusal shows it.
    fn shown(&self) -> String {
        let parts = [
            ("APIGroups", &self.groups),
            ("Resources", &self.resources),
            ("ResourceNames", &self.names),
            ("NonResourceURLs", &self.paths),
            ("Verbs", &self.verbs),
        ];
        let shown: Vec<String> = parts
            .iter()
            .filter(|(_, list)| !list.is_empty())
            .map(|(name, list)| format!("{name}:{list:?}"))
            .collect();
        format!("{{{}}}", shown.join(", "))
    }
}

/// What a rule would give beyond what its giver has, one line for each group and resource.
fn beyond(wanted: &[Rule], own: &[Rule]) -> Vec<Rule> {
    let mut missing: Vec<Rule> = Vec::new();
    for rule in wanted {
        for grain in rule.grains() {
            if own.iter().any(|o| o.covers(&grain)) {
                continue;
            }
            let one = |text: &str| {
                if text.is_empty() && grain.path.is_some() {
                    Vec::new()
                } else {
                    vec![text.to_owned()]
                }
            };
            let lone = Rule {
                verbs: Vec::new(),
                groups: one(grain.group),
                resources: one(grain.resource),
                names: grain.name.iter().map(|n| (*n).to_owned()).collect(),
                paths: grain.path.iter().map(|p| (*p).to_owned()).collect(),
            };
            let verb = grain.verb.to_owned();
            match missing.iter_mut().find(|m| {
                Rule {
                    verbs: Vec::new(),
                    ..(*m).clone()
                } == lone
            }) {
                Some(same) if !same.verbs.contains(&verb) => same.verbs.push(verb),
                Some(_) => {}
                None => missing.push(Rule {
                    verbs: vec![verb],
                    ..lone
                }),
            }
        }
    }
    missing.sort_by_key(Rule::shown);
    missing
}

/// Nobody gives a right that they do not have, unless they may `escalate` (roles) or `bind` (bindings).
/// The answer is the reason for a refusal.
pub(crate) fn check_grant(rules: &Rules, user: &User, resource: &Resource, object: &Value) -> Option<String> {
    let namespace = meta(object, "namespace");
    let (verb, asked_resource, name, wanted) = match resource.core()? {
        Core::Role | Core::ClusterRole => {
            let list = object.get("rules").and_then(Value::as_array);
            let wanted = list.into_iter().flatten().map(Rule::read).collect();
            (
                "escalate",
                resource.plural,
                meta(object, "name").to_owned(),
                wanted,
            )
        }
        Core::RoleBinding | Core::ClusterRoleBinding => {
            let binding = Binding::read(object);
            let plural = if binding.role_kind == "ClusterRole" {
                "clusterroles"
            } else {
                "roles"
            };
            let wanted = rules
                .role(&binding.role_kind, namespace, &binding.role_name)
                .to_vec();
            ("bind", plural, binding.role_name, wanted)
        }
        _ => return None,
    };
    let asked = Attributes {
        verb: verb.into(),
        group: resource.group.into(),
        resource: asked_resource.into(),
        namespace: namespace.into(),
        name,
        ..Attributes::default()
    };
    if rules.allow(user, &asked).is_some() {
        return None;
    }
    let missing = beyond(&wanted, &rules.of(user, namespace));
    if missing.is_empty() {
        return None;
    }
    let lines: Vec<String> = missing.iter().map(Rule::shown).collect();
    Some(format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        user.groups
            .iter()
            .map(|g| format!("{g:?}"))
            .collect::<Vec<_>>()
            .join(" "),
        lines.join("\n")
    ))
}
