//! Roles and bindings.

use serde_json::{Value, json};

use super::{list, or_set, text};
use crate::names;
use crate::registry::{Core, Resource};
use crate::status::Cause;

pub(super) fn default_role(object: &mut Value) {
    if let Value::Object(map) = object
        && map.get("rules").is_none()
    {
        map.insert("rules".into(), Value::Null);
    }
}

pub(super) fn default_binding(object: &mut Value) {
    if let Value::Object(map) = object {
        if let Some(Value::Object(role)) = map.get_mut("roleRef") {
            or_set(role, "apiGroup", "rbac.authorization.k8s.io");
        }
        for subject in map
            .get_mut("subjects")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Value::Object(subject) = subject
                && subject.get("kind").and_then(Value::as_str) != Some("ServiceAccount")
            {
                or_set(subject, "apiGroup", "rbac.authorization.k8s.io");
            }
        }
    }
}

pub(super) fn validate_role(new: &Value, resource: &Resource) -> Vec<Cause> {
    let mut causes = Vec::new();
    for (at, rule) in list(new, "/rules").iter().enumerate() {
        let field = |name: &str| format!("rules[{at}].{name}");
        if list(rule, "/verbs").is_empty() {
            causes.push(Cause::required(
                field("verbs"),
                "verbs must contain at least one value",
            ));
        }
        if !list(rule, "/nonResourceURLs").is_empty() {
            if resource.core() == Some(Core::Role) {
                let detail = "namespaced rules cannot apply to non-resource URLs";
                causes.push(Cause::invalid(
                    field("nonResourceURLs"),
                    &rule["nonResourceURLs"],
                    detail,
                ));
            }
            continue;
        }
        if list(rule, "/apiGroups").is_empty() {
            causes.push(Cause::required(
                field("apiGroups"),
                "resource rules must supply at least one api group",
            ));
        }
        if list(rule, "/resources").is_empty() {
            causes.push(Cause::required(
                field("resources"),
                "resource rules must supply at least one resource",
            ));
        }
    }
    causes
}

pub(super) fn validate_binding(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let mut causes = Vec::new();
    let group = text(new, "/roleRef/apiGroup");
    if group != "rbac.authorization.k8s.io" {
        causes.push(Cause::unsupported(
            "roleRef.apiGroup",
            &json!(group),
            &["rbac.authorization.k8s.io"],
        ));
    }
    let kind = text(new, "/roleRef/kind");
    let kinds: &[&str] = match new.get("kind").and_then(Value::as_str) {
        Some("ClusterRoleBinding") => &["ClusterRole"],
        _ => &["Role", "ClusterRole"],
    };
    if !kinds.contains(&kind) {
        causes.push(Cause::unsupported("roleRef.kind", &json!(kind), kinds));
    }
    let name = text(new, "/roleRef/name");
    if name.is_empty() {
        causes.push(Cause::required("roleRef.name", ""));
    } else if let Some(fault) = names::path_segment(name) {
        causes.push(Cause::invalid("roleRef.name", &json!(name), &fault));
    }
    for (at, subject) in list(new, "/subjects").iter().enumerate() {
        let field = |name: &str| format!("subjects[{at}].{name}");
        if text(subject, "/name").is_empty() {
            causes.push(Cause::required(field("name"), ""));
        }
        match text(subject, "/kind") {
            "User" | "Group" => {}
            "ServiceAccount" => {
                if text(subject, "/namespace").is_empty() {
                    causes.push(Cause::required(field("namespace"), ""));
                }
            }
            other => causes.push(Cause::unsupported(
                field("kind"),
                &json!(other),
                &["ServiceAccount", "User", "Group"],
            )),
        }
    }
    if let Some(old) = old
        && new.get("roleRef") != old.get("roleRef")
    {
        let shown = json!({"APIGroup": group, "Kind": kind, "Name": name});
        causes.push(Cause::invalid("roleRef", &shown, "cannot change roleRef"));
    }
    causes
}
