//! Delegation: a root rule's conditions narrowed by each rule of the delegate.

use std::collections::BTreeMap;

use mesh_crd::networking::VirtualService;
use mesh_crd::networking::virtual_service::{HttpMatch, HttpRoute, StringMatch};
use mesh_crd::problem::{Severity, code};
use mesh_crd::{ObjectKey, Problem, Resource};

use super::BoundRule;
use crate::World;
use crate::problem::Findings;
use crate::scope;

/// The rules that a delegating rule stands for; none when the delegate cannot be used, so that requests fall to
/// the next rule (told in the findings).
pub(super) fn merge(
    world: &World,
    root: &BoundRule,
    delegates: &BTreeMap<(&str, &str), &Resource<VirtualService>>,
    findings: &mut Findings,
) -> Vec<BoundRule> {
    let Some(reference) = &root.route.delegate else {
        return Vec::new();
    };
    let namespace = match reference.namespace.as_str() {
        "" => root.key.namespace.as_str(),
        other => other,
    };
    let mut refuse = |message: String, remedy: &str, code: &'static str| {
        let field = format!("{}.delegate", root.field);
        findings.add(
            &root.key,
            Problem::new(code, Severity::Error, field, message, remedy),
        );
        Vec::new()
    };
    let name = format!("{namespace}/{}", reference.name);
    let Some(delegate) = delegates.get(&(namespace, reference.name.as_str())) else {
        return refuse(
            format!("delegate VirtualService {name} does not exist; requests fall to the next rule"),
            "create it, or correct name and namespace",
            code::REFERENCED_RESOURCE_NOT_FOUND,
        );
    };
    let default = &world.mesh().default_virtual_service_export_to;
    if !scope::exported(&delegate.spec.export_to, default, namespace, &root.key.namespace) {
        return refuse(
            format!(
                "delegate VirtualService {name} is not exported to namespace {}",
                root.key.namespace
            ),
            "add the namespace to the delegate's exportTo",
            code::DELEGATE,
        );
    }
    if !delegate.spec.hosts.is_empty() {
        return refuse(
            format!("VirtualService {name} has hosts, so it is no delegate; requests fall to the next rule"),
            "remove the delegate's hosts",
            code::DELEGATE,
        );
    }
    let key = ObjectKey::new("VirtualService", namespace, &reference.name);
    let mut rules = Vec::new();
    for (i, route) in delegate.spec.http.iter().enumerate() {
        let field = format!("spec.http[{i}]");
        if route.delegate.is_some() {
            findings.add(
                &key,
                Problem::new(
                    code::DELEGATE,
                    Severity::Error,
                    format!("{field}.delegate"),
                    "a delegate may not delegate further; the rule is ignored",
                    "give the rule a route",
                ),
            );
            continue;
        }
        match combine(&root.route, route) {
            Some(route) => rules.push(BoundRule {
                route,
                namespace: namespace.to_owned(),
                key: key.clone(),
                field,
            }),
            None => findings.no_effect(
                &key,
                field,
                format!(
                    "no match is narrower than those of the delegating rule {} in {}/{}; the rule is ignored",
                    root.field, root.key.namespace, root.key.name
                ),
                "make the match narrower than the root's (for example a longer prefix)",
            ),
        }
    }
    rules
}

fn combine(root: &HttpRoute, leaf: &HttpRoute) -> Option<HttpRoute> {
    let matches = match (root.matches.as_slice(), leaf.matches.as_slice()) {
        ([], leaf) => leaf.to_vec(),
        (root, []) => root.to_vec(),
        (root, leaf) => {
            let all: Vec<HttpMatch> = root
                .iter()
                .flat_map(|r| leaf.iter().filter_map(move |l| narrow(r, l)))
                .collect();
            if all.is_empty() {
                return None;
            }
            all
        }
    };
    let mut out = leaf.clone();
    out.name = join(&root.name, &leaf.name);
    out.matches = matches;
    out.delegate = None;
    if out.rewrite.is_none() {
        out.rewrite.clone_from(&root.rewrite);
    }
    if out.direct_response.is_none() {
        out.direct_response.clone_from(&root.direct_response);
    }
    out.timeout = out.timeout.or(root.timeout);
    if out.retries.is_none() {
        out.retries.clone_from(&root.retries);
    }
    if out.fault.is_none() {
        out.fault.clone_from(&root.fault);
    }
    if out.mirror.is_none() && out.mirrors.is_empty() {
        out.mirror.clone_from(&root.mirror);
        out.mirrors.clone_from(&root.mirrors);
        out.mirror_percentage = out.mirror_percentage.or(root.mirror_percentage);
        out.mirror_percent = out.mirror_percent.or(root.mirror_percent);
    }
    if out.cors_policy.is_none() {
        out.cors_policy.clone_from(&root.cors_policy);
    }
    if out.headers.is_none() {
        out.headers.clone_from(&root.headers);
    }
    Some(out)
}

/// `root-leaf`, or the one that is not empty.
fn join(root: &str, leaf: &str) -> String {
    match (root, leaf) {
        ("", other) | (other, "") => other.to_owned(),
        (root, leaf) => format!("{root}-{leaf}"),
    }
}

/// Both conditions in one, `None` when the leaf's is not narrower.
fn narrow(root: &HttpMatch, leaf: &HttpMatch) -> Option<HttpMatch> {
    let mut out = leaf.clone();
    out.name = join(&root.name, &leaf.name);
    out.uri = one(root.uri.as_ref(), leaf.uri.as_ref())?;
    out.scheme = one(root.scheme.as_ref(), leaf.scheme.as_ref())?;
    out.method = one(root.method.as_ref(), leaf.method.as_ref())?;
    out.authority = one(root.authority.as_ref(), leaf.authority.as_ref())?;
    out.headers = map(&root.headers, &leaf.headers)?;
    out.without_headers = map(&root.without_headers, &leaf.without_headers)?;
    out.query_params = map(&root.query_params, &leaf.query_params)?;
    if root.uri.is_some() && leaf.uri.is_some() && root.ignore_uri_case != leaf.ignore_uri_case {
        return None;
    }
    out.ignore_uri_case |= root.ignore_uri_case;
    out.port = same(root.port, leaf.port, 0)?;
    if !root.source_namespace.is_empty() {
        if !leaf.source_namespace.is_empty() && leaf.source_namespace != root.source_namespace {
            return None;
        }
        out.source_namespace.clone_from(&root.source_namespace);
    }
    for (label, value) in &root.source_labels {
        match out.source_labels.get(label) {
            Some(other) if other != value => return None,
            _ => {
                out.source_labels.insert(label.clone(), value.clone());
            }
        }
    }
    if out.gateways.is_empty() {
        out.gateways.clone_from(&root.gateways);
    } else if !root.gateways.is_empty() {
        out.gateways.retain(|g| root.gateways.contains(g));
        if out.gateways.is_empty() {
            return None;
        }
    }
    if out.stat_prefix.is_empty() {
        out.stat_prefix.clone_from(&root.stat_prefix);
    }
    Some(out)
}

fn same(root: u32, leaf: u32, unset: u32) -> Option<u32> {
    match (root, leaf) {
        (a, b) if a == unset => Some(b),
        (a, b) if b == unset || a == b => Some(a),
        _ => None,
    }
}

fn one(root: Option<&StringMatch>, leaf: Option<&StringMatch>) -> Option<Option<StringMatch>> {
    match (root, leaf) {
        (root, None) => Some(root.cloned()),
        (None, leaf) => Some(leaf.cloned()),
        (Some(root), Some(leaf)) => within(root, leaf).then(|| Some(leaf.clone())),
    }
}

type Matches = BTreeMap<String, Option<StringMatch>>;

fn map(root: &Matches, leaf: &Matches) -> Option<Matches> {
    let mut out = leaf.clone();
    for (name, condition) in root {
        match leaf.get(name) {
            None => {
                out.insert(name.clone(), condition.clone());
            }
            Some(narrower) => {
                let empty = StringMatch::default();
                let (root, leaf) = (
                    condition.as_ref().unwrap_or(&empty),
                    narrower.as_ref().unwrap_or(&empty),
                );
                if !within(root, leaf) {
                    return None;
                }
            }
        }
    }
    Some(out)
}

/// Whether everything that `leaf` takes, `root` takes, as far as Istio can tell: patterns never are.
fn within(root: &StringMatch, leaf: &StringMatch) -> bool {
    match (root, leaf) {
        (
            StringMatch {
                exact: None,
                prefix: None,
                regex: None,
            },
            _,
        ) => true,
        (StringMatch { exact: Some(a), .. }, StringMatch { exact: Some(b), .. }) => a == b,
        (StringMatch { prefix: Some(p), .. }, StringMatch { exact: Some(v), .. })
        | (StringMatch { prefix: Some(p), .. }, StringMatch { prefix: Some(v), .. }) => v.starts_with(p),
        _ => false,
    }
}
