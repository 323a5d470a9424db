//! Who may do what: roles and bindings, evaluated on each request.

mod grant;

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;

use crate::authenticate::User;
use crate::object::meta;
use crate::registry::{Core, of};
use crate::status::Refusal;
use crate::store::{Range, Store};

pub(crate) use self::grant::check_grant;

/// One question.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// Set for paths that are no resources.
    pub(crate) path: Option<String>,
}

impl Attributes {
    fn combined(&self) -> String {
        match self.subresource.is_empty() {
            true => self.resource.clone(),
            false => format!("{}/{}", self.resource, self.subresource),
        }
    }
}

/// One rule of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) resources: Vec<String>,
    pub(crate) names: Vec<String>,
    pub(crate) paths: Vec<String>,
}

impl Rule {
    pub(crate) fn read(rule: &Value) -> Self {
        Self {
            verbs: texts(rule, "verbs"),
            groups: texts(rule, "apiGroups"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
            paths: texts(rule, "nonResourceURLs"),
        }
    }

    fn allows(&self, asked: &Attributes) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|x| x == "*" || x == wanted);
        if !has(&self.verbs, &asked.verb) {
            return false;
        }
        if let Some(path) = &asked.path {
            return self.paths.iter().any(|p| match p.strip_suffix('*') {
                Some(prefix) => path.starts_with(prefix),
                None => p == path,
            });
        }
        let combined = asked.combined();
        let any_subresource = format!("*/{}", asked.subresource);
        let resource = self
            .resources
            .iter()
            .any(|r| r == "*" || *r == combined || (!asked.subresource.is_empty() && *r == any_subresource));
        resource
            && has(&self.groups, &asked.group)
            && (self.names.is_empty() || self.names.contains(&asked.name))
    }
}

fn texts(value: &Value, field: &str) -> Vec<String> {
    value
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    kind: String,
    name: String,
    namespace: String,
}

#[derive(Debug, Clone)]
struct Binding {
    namespace: String,
    name: String,
    role_kind: String,
    role_name: String,
    subjects: Vec<Subject>,
}

impl Binding {
    fn read(binding: &Value) -> Self {
        let text = |v: &Value, f: &str| v.get(f).and_then(Value::as_str).unwrap_or_default().to_owned();
        let role = binding.get("roleRef").cloned().unwrap_or_default();
        let subjects = binding.get("subjects").and_then(Value::as_array);
        Self {
            namespace: meta(binding, "namespace").to_owned(),
            name: meta(binding, "name").to_owned(),
            role_kind: text(&role, "kind"),
            role_name: text(&role, "name"),
            subjects: subjects
                .into_iter()
                .flatten()
                .map(|s| Subject {
                    kind: text(s, "kind"),
                    name: text(s, "name"),
                    namespace: text(s, "namespace"),
                })
                .collect(),
        }
    }

    fn names(&self, user: &User) -> Option<&Subject> {
        self.subjects.iter().find(|s| match s.kind.as_str() {
            "User" => s.name == user.name,
            "Group" => user.groups.contains(&s.name),
            "ServiceAccount" => {
                let namespace = if s.namespace.is_empty() {
                    &self.namespace
                } else {
                    &s.namespace
                };
                user.name == format!("system:serviceaccount:{namespace}:{}", s.name)
            }
            _ => false,
        })
    }
}

/// All roles and bindings of one moment.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    revision: i64,
    roles: Vec<(String, String, Vec<Rule>)>,
    bindings: Vec<Binding>,
}

impl Rules {
    fn role(&self, kind: &str, namespace: &str, name: &str) -> &[Rule] {
        let namespace = if kind == "ClusterRole" { "" } else { namespace };
        self.roles
            .iter()
            .find(|(ns, n, _)| ns == namespace && n == name)
            .map_or(&[], |(_, _, rules)| rules)
    }

    /// Why the user may, or `None`.
    pub(crate) fn allow(&self, user: &User, asked: &Attributes) -> Option<String> {
        if user.groups.iter().any(|g| g == "system:masters") {
            return Some(String::new());
        }
        let applicable = self
            .bindings
            .iter()
            .filter(|b| b.namespace.is_empty() || (asked.path.is_none() && b.namespace == asked.namespace));
        for binding in applicable {
            let Some(subject) = binding.names(user) else {
                continue;
            };
            let rules = self.role(&binding.role_kind, &binding.namespace, &binding.role_name);
            if rules.iter().any(|rule| rule.allows(asked)) {
                return Some(reason(binding, subject));
            }
        }
        None
    }

    /// All rules that a user has in a namespace.
    pub(crate) fn of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut rules = Vec::new();
        if user.groups.iter().any(|g| g == "system:masters") {
            let all = || vec!["*".to_owned()];
            rules.push(Rule {
                verbs: all(),
                groups: all(),
                resources: all(),
                ..Rule::default()
            });
            rules.push(Rule {
                verbs: all(),
                paths: all(),
                ..Rule::default()
            });
        }
        for binding in self
            .bindings
            .iter()
            .filter(|b| b.namespace.is_empty() || b.namespace == namespace)
        {
            if binding.names(user).is_some() {
                rules.extend_from_slice(self.role(
                    &binding.role_kind,
                    &binding.namespace,
                    &binding.role_name,
                ));
            }
        }
        rules
    }
}

fn reason(binding: &Binding, subject: &Subject) -> String {
    let who = match subject.kind.as_str() {
        "ServiceAccount" => format!("ServiceAccount \"{}/{}\"", subject.name, subject.namespace),
        kind => format!("{kind} {:?}", subject.name),
    };
    let role = format!("{} {:?}", binding.role_kind, binding.role_name);
    match binding.namespace.is_empty() {
        true => format!(
            "RBAC: allowed by ClusterRoleBinding {:?} of {role} to {who}",
            binding.name
        ),
        false => {
            let named = format!("{}/{}", binding.name, binding.namespace);
            format!("RBAC: allowed by RoleBinding {named:?} of {role} to {who}")
        }
    }
}

/// Keeps the parsed roles and bindings until one of them changes.
#[derive(Default)]
pub(crate) struct Authorizer {
    rules: Mutex<Arc<Rules>>,
}

const KINDS: [Core; 4] = [
    Core::Role,
    Core::ClusterRole,
    Core::RoleBinding,
    Core::ClusterRoleBinding,
];

impl Authorizer {
    /// The rules as they are now.
    pub(crate) async fn rules(&self, store: &Store) -> Result<Arc<Rules>, Refusal> {
        let revision = KINDS
            .iter()
            .map(|k| store.last_write(of(*k).storage))
            .max()
            .unwrap_or(0);
        let known = Arc::clone(&self.rules.lock());
        if known.revision == revision && revision > 0 {
            return Ok(known);
        }
        let mut rules = Rules {
            revision,
            ..Rules::default()
        };
        let mut snapshot = store.snapshot().await?;
        for kind in KINDS {
            for (namespace, name, object) in snapshot.list(of(kind).storage, &Range::default(), -1).await? {
                match kind {
                    Core::Role | Core::ClusterRole => {
                        let list = object.get("rules").and_then(Value::as_array);
                        rules.roles.push((
                            namespace,
                            name,
                            list.into_iter().flatten().map(Rule::read).collect(),
                        ));
                    }
                    _ => rules.bindings.push(Binding::read(&object)),
                }
            }
        }
        let rules = Arc::new(rules);
        *self.rules.lock() = Arc::clone(&rules);
        Ok(rules)
    }
}

/// The words of a refusal.
pub(crate) fn denial(user: &User, asked: &Attributes) -> String {
    match &asked.path {
        Some(path) => format!("User {:?} cannot {} path {path:?}", user.name, asked.verb),
        None => {
            let scope = match asked.namespace.is_empty() {
                true => "at the cluster scope".to_owned(),
                false => format!("in the namespace {:?}", asked.namespace),
            };
            format!(
                "User {:?} cannot {} resource {:?} in API group {:?} {scope}",
                user.name,
                asked.verb,
                asked.combined(),
                asked.group
            )
        }
    }
}
