//! VirtualService: references, effect, conflicts.

use std::collections::BTreeMap;

use mesh_crd::host;
use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::networking::VirtualService;
use mesh_crd::networking::virtual_service::{HttpMatch, HttpRoute};
use mesh_crd::problem::{Severity, code};
use mesh_crd::{ObjectKey, Problem, Resource};

use super::references::{Place, list};
use crate::World;
use crate::bound::{self, MESH};
use crate::index::Index;
use crate::problem::Findings;
use crate::scope;

pub(super) fn check(
    world: &World,
    index: &Index,
    key: &ObjectKey,
    r: &Resource<VirtualService>,
    findings: &mut Findings,
) {
    let place = Place { world, index, key };
    let gateways = bound::gateways(&r.spec.gateways, &key.namespace);
    bound_gateways(&place, r, &gateways, findings);
    let on_mesh = gateways.iter().any(|g| g == MESH);
    if on_mesh && !r.spec.hosts.is_empty() {
        mesh_hosts(&place, r, findings);
    }
    for (i, route) in r.spec.http.iter().enumerate() {
        let field = format!("spec.http[{i}]");
        destinations(&place, &field, route, findings);
        swallowed(&place, &field, &r.spec.http, i, findings);
        for (j, condition) in route.matches.iter().enumerate() {
            for (kind, map) in [
                ("headers", &condition.headers),
                ("withoutHeaders", &condition.without_headers),
            ] {
                if let Some(name) = map.keys().find(|n| n.starts_with('@')) {
                    findings.unsupported(
                        key,
                        format!("{field}.match[{j}].{kind}[{name}]"),
                        "routing by JWT claims is not supported yet; the rule never applies",
                        "remove the condition",
                    );
                }
            }
            let named = bound::gateways(&condition.gateways, &key.namespace);
            if !condition.gateways.is_empty()
                && !r.spec.hosts.is_empty()
                && !named.iter().any(|g| gateways.contains(g))
            {
                findings.no_effect(
                    key,
                    format!("{field}.match[{j}].gateways"),
                    "the VirtualService is not bound to this gateway, so the rule is dropped".into(),
                    "add the gateway to spec.gateways, or remove it here",
                );
            }
        }
        if route
            .retries
            .as_ref()
            .is_some_and(|r| r.retry_remote_localities.is_some())
        {
            findings.unsupported(
                key,
                format!("{field}.retries.retryRemoteLocalities"),
                "locality is not used for retries yet",
                "remove it",
            );
        }
    }
    let tls = r.spec.tls.iter().map(|rule| (&rule.matches, &rule.route));
    let tcp = r.spec.tcp.iter().map(|rule| (&rule.matches, &rule.route));
    let all = tls.enumerate().map(|(i, rule)| (format!("spec.tls[{i}]"), rule));
    let all = all.chain(tcp.enumerate().map(|(i, rule)| (format!("spec.tcp[{i}]"), rule)));
    for (field, (matches, route)) in all {
        for (j, candidate) in route.iter().enumerate() {
            let at = format!("{field}.route[{j}].destination");
            place.destination(&at, &candidate.destination, findings);
        }
        for (j, _) in matches
            .iter()
            .enumerate()
            .filter(|(_, m)| !m.source_subnet.is_empty())
        {
            findings.unsupported(
                key,
                format!("{field}.match[{j}].sourceSubnet"),
                "the client's address is not looked at",
                "use sourceLabels or sourceNamespace",
            );
        }
    }
}

fn destinations(place: &Place<'_>, field: &str, route: &HttpRoute, findings: &mut Findings) {
    for (i, candidate) in route.route.iter().enumerate() {
        place.destination(
            &format!("{field}.route[{i}].destination"),
            &candidate.destination,
            findings,
        );
    }
    if let Some(mirror) = &route.mirror {
        place.destination(&format!("{field}.mirror"), mirror, findings);
    }
    for (i, mirror) in route.mirrors.iter().enumerate() {
        place.destination(
            &format!("{field}.mirrors[{i}].destination"),
            &mirror.destination,
            findings,
        );
    }
}

/// Gateways exist and serve one of the hosts.
fn bound_gateways(
    place: &Place<'_>,
    r: &Resource<VirtualService>,
    gateways: &[String],
    findings: &mut Findings,
) {
    for (i, name) in gateways.iter().enumerate().filter(|(_, n)| *n != MESH) {
        let field = format!("spec.gateways[{i}]");
        let found = place
            .index
            .gateways()
            .find(|g| format!("{}/{}", g.meta.namespace, g.meta.name) == *name);
        let Some(gateway) = found else {
            findings.add(
                place.key,
                Problem::new(
                    code::REFERENCED_RESOURCE_NOT_FOUND,
                    Severity::Error,
                    field,
                    format!("Referenced gateway not found: {name:?}"),
                    "create the Gateway, or correct the name (namespace/name in another namespace)",
                ),
            );
            continue;
        };
        let serves = r.spec.hosts.iter().any(|name| {
            gateway.spec.servers.iter().flat_map(|s| &s.hosts).any(|pattern| {
                let (namespace, pattern) = pattern.split_once('/').unwrap_or(("*", pattern));
                let allowed = match namespace {
                    "*" => true,
                    "." => gateway.meta.namespace == r.meta.namespace,
                    other => other == r.meta.namespace,
                };
                allowed && (host::covers(pattern, name) || host::covers(name, pattern))
            })
        });
        if !serves && !r.spec.hosts.is_empty() {
            findings.add(
                place.key,
                Problem::new(
                    code::HOST_NOT_FOUND_IN_GATEWAY,
                    Severity::Warning,
                    "spec.hosts",
                    format!(
                        "one or more host {:?} defined in VirtualService {}/{} not found in Gateway {name}",
                        r.spec.hosts, r.meta.namespace, r.meta.name
                    ),
                    "add the host to a server of the Gateway, or correct it",
                ),
            );
        }
    }
}

/// Hosts on the mesh: literal names that look short, TCP services, rules for other ports.
fn mesh_hosts(place: &Place<'_>, r: &Resource<VirtualService>, findings: &mut Findings) {
    for (i, name) in r.spec.hosts.iter().enumerate() {
        let field = format!("spec.hosts[{i}]");
        let expanded = host::expand(name, &place.key.namespace, MeshConfig::DOMAIN).to_ascii_lowercase();
        let Some(service) = place.index.registry.by_host(&expanded) else {
            if let Some(full) = place.probable(name) {
                findings.add(
                    place.key,
                    Problem::new(
                        code::DOTTED_SHORT_NAME,
                        Severity::Warning,
                        field,
                        format!(
                            "{name:?} has a dot, so it is taken literally: it is served on port 80 only and does not apply to service {full}"
                        ),
                        format!("write {full}"),
                    ),
                );
            }
            continue;
        };
        if r.spec.http.is_empty() {
            continue;
        }
        let ports: Vec<u16> = service
            .ports
            .iter()
            .filter(|p| p.protocol.may_be_http())
            .map(|p| p.number)
            .collect();
        if ports.is_empty() && !service.ports.is_empty() {
            findings.add(
                place.key,
                Problem::new(
                    code::HTTP_RULE_ON_TCP,
                    Severity::Warning,
                    "spec.http",
                    format!("service {expanded} has no HTTP port, so http rules do not apply to it"),
                    "name the Service port http-... (or set appProtocol), or write tcp rules",
                ),
            );
            continue;
        }
        let elsewhere = |m: &HttpMatch| m.port != 0 && !ports.iter().any(|p| u32::from(*p) == m.port);
        let none_fits = r
            .spec
            .http
            .iter()
            .all(|route| !route.matches.is_empty() && route.matches.iter().all(elsewhere));
        if none_fits {
            findings.no_effect(
                place.key,
                field,
                format!("all rules are for ports that {expanded} does not have: it is routed as if this object were absent"),
                "correct match.port, or remove it",
            );
        }
    }
}

/// Conditions that an earlier rule of the same object takes already, by a prefix or by taking everything.
fn swallowed(place: &Place<'_>, field: &str, rules: &[HttpRoute], at: usize, findings: &mut Findings) {
    let Some(rule) = rules.get(at) else { return };
    for (j, condition) in rule.matches.iter().enumerate() {
        let Some(uri) = &condition.uri else { continue };
        let value = uri.exact.as_ref().or(uri.prefix.as_ref());
        let Some(value) = value else { continue };
        // Only so many are compared with each other.
        let by = rules.iter().take(at.min(200)).enumerate().find(|(_, earlier)| {
            earlier.matches.iter().any(|m| {
                let only_uri = HttpMatch {
                    uri: m.uri.clone(),
                    name: m.name.clone(),
                    ..HttpMatch::default()
                };
                let prefix = m.uri.as_ref().and_then(|u| u.prefix.as_ref());
                *m == only_uri && prefix.is_some_and(|p| value.starts_with(p.as_str()))
            })
        });
        if let Some((i, _)) = by {
            findings.add(
                place.key,
                Problem::new(
                    code::INEFFECTIVE_MATCH,
                    Severity::Warning,
                    format!("{field}.match[{j}].uri"),
                    format!("never reached: spec.http[{i}] before it takes every path that begins so"),
                    "move this rule before it, or make the earlier prefix longer",
                ),
            );
        }
    }
}

/// Hosts that several VirtualServices define on the mesh: only one is used in each namespace.
pub(super) fn conflicts(world: &World, index: &Index, findings: &mut Findings) {
    let default = &world.mesh().default_virtual_service_export_to;
    let mut by_host: BTreeMap<&str, Vec<(&ObjectKey, &[String])>> = BTreeMap::new();
    for b in index.bound.iter().filter(|b| b.is_on(MESH)) {
        for name in &b.hosts {
            by_host.entry(name).or_default().push((&b.key, &b.export_to));
        }
    }
    for (name, users) in by_host.iter().filter(|(_, users)| users.len() > 1) {
        for (key, export_to) in users {
            // Both must be visible somewhere: in the one's namespace or the other's.
            let others: Vec<ObjectKey> = users
                .iter()
                .filter(|(other, other_export)| {
                    other != key
                        && (scope::exported(other_export, default, &other.namespace, &key.namespace)
                            || scope::exported(export_to, default, &key.namespace, &other.namespace))
                })
                .map(|(other, _)| (*other).clone())
                .collect();
            if !others.is_empty() {
                findings.add(
                    key,
                    Problem::new(
                        code::CONFLICTING_MESH_GATEWAY_HOSTS,
                        Severity::Error,
                        "spec.hosts",
                        format!(
                            "The VirtualServices {} and {} associated with mesh gateway define the same host {name}: only the oldest visible one is used",
                            list(&[(*key).clone()]),
                            list(&others)
                        ),
                        "merge the rules into one VirtualService, or use delegates",
                    ),
                );
            }
        }
    }
}
