//! DestinationRules: lookup, merging of rules, of subsets and of ports.

use std::collections::BTreeMap;

use mesh_crd::networking::destination_rule::{ClientTls, ConnectionPool, LoadBalancer, OutlierDetection};
use mesh_crd::networking::destination_rule::{Subset, TrafficPolicy};
use mesh_crd::networking::labels_match;
use mesh_crd::{Object, ObjectKey, host};

use mesh_crd::mesh_config::MeshConfig;

use crate::World;
use crate::index::{Index, by_age};
use crate::registry::MeshService;
use crate::scope;

/// All DestinationRules of one namespace for one host (and one selector), merged.
#[derive(Debug, Clone)]
pub(crate) struct MergedRule {
    /// Oldest first.
    pub(crate) keys: Vec<ObjectKey>,
    /// Expanded, lower case.
    pub(crate) host: String,
    pub(crate) export_to: Vec<String>,
    /// Client labels; `None` = all.
    selector: Option<BTreeMap<String, String>>,
    pub(crate) policy: Option<TrafficPolicy>,
    /// With the rule that each comes from.
    pub(crate) subsets: Vec<Subset>,
}

/// The merged rules of one namespace.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Names by host, wildcards by specificity.
    exact: BTreeMap<String, Vec<MergedRule>>,
    wildcards: Vec<MergedRule>,
}

impl Rules {
    /// Rules for a host, the most specific first.
    fn for_host<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a MergedRule> + use<'a, 'n> {
        let exact = self.exact.get(name).map_or(&[][..], Vec::as_slice);
        let wider = self.wildcards.iter().filter(move |r| host::covers(&r.host, name));
        exact.iter().chain(wider)
    }
}

/// By namespace: subsets join, the first policy stays.
pub(crate) fn merge(world: &World) -> BTreeMap<String, Rules> {
    let mut out: BTreeMap<String, Rules> = BTreeMap::new();
    for object in by_age(world, "DestinationRule") {
        let Object::DestinationRule(r) = object.as_ref() else {
            continue;
        };
        let namespace = &r.meta.namespace;
        let host = host::expand(&r.spec.host, namespace, MeshConfig::DOMAIN).to_ascii_lowercase();
        let selector = r.spec.workload_selector.as_ref().map(|s| s.match_labels.clone());
        let drawers = out.entry(namespace.clone()).or_default();
        let rules = if host.starts_with('*') {
            &mut drawers.wildcards
        } else {
            drawers.exact.entry(host.clone()).or_default()
        };
        match rules
            .iter_mut()
            .find(|m| m.host == host && m.selector == selector && m.export_to == r.spec.export_to)
        {
            Some(merged) => {
                merged.keys.push(object.key());
                for subset in &r.spec.subsets {
                    if !merged.subsets.iter().any(|s| s.name == subset.name) {
                        merged.subsets.push(subset.clone());
                    }
                }
                if merged.policy.is_none() {
                    merged.policy.clone_from(&r.spec.traffic_policy);
                }
            }
            None => rules.push(MergedRule {
                keys: vec![object.key()],
                host,
                export_to: r.spec.export_to.clone(),
                selector,
                policy: r.spec.traffic_policy.clone(),
                subsets: unique(&r.spec.subsets),
            }),
        }
    }
    for rules in out.values_mut() {
        rules
            .wildcards
            .sort_by(|a, b| host::specificity(&a.host).cmp(&host::specificity(&b.host)));
    }
    out
}

fn unique(subsets: &[Subset]) -> Vec<Subset> {
    let mut out: Vec<Subset> = Vec::new();
    for subset in subsets {
        if !out.iter().any(|s| s.name == subset.name) {
            out.push(subset.clone());
        }
    }
    out
}

/// Who asks for a rule.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// The rule in force for a client: of the client's namespace, else the service's, else the root's; in each the
/// most specific host. Namespaces are never merged.
pub(crate) fn lookup<'a>(
    world: &World,
    index: &'a Index,
    client: Client<'_>,
    service: &MeshService,
) -> Option<&'a MergedRule> {
    let root = world.mesh().root_namespace.as_str();
    let default = &world.mesh().default_destination_rule_export_to;
    let mut asked: Vec<&str> = Vec::new();
    for namespace in [client.namespace, service.namespace.as_str(), root] {
        if asked.contains(&namespace) {
            continue;
        }
        asked.push(namespace);
        let Some(rules) = index.rules.get(namespace) else {
            continue;
        };
        let fitting: Vec<&MergedRule> = rules
            .for_host(&service.host)
            .filter(|r| scope::exported(&r.export_to, default, namespace, client.namespace))
            .collect();
        // A rule for exactly this client counts before the others, in its own namespace only.
        let chosen = fitting
            .iter()
            .find(|r| {
                namespace == client.namespace
                    && r.selector
                        .as_ref()
                        .is_some_and(|s| labels_match(s, client.labels))
            })
            .or_else(|| fitting.iter().find(|r| r.selector.is_none()));
        if let Some(chosen) = chosen {
            return Some(chosen);
        }
    }
    None
}

/// The blocks that hold for one cluster.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Effective<'a> {
    pub(crate) load_balancer: Option<&'a LoadBalancer>,
    pub(crate) pool: Option<&'a ConnectionPool>,
    pub(crate) outlier: Option<&'a OutlierDetection>,
    pub(crate) tls: Option<&'a ClientTls>,
}

impl<'a> Effective<'a> {
    /// Policy of a port: the host's, replaced as a whole by the port's, then the subset's block by block, then
    /// replaced by the subset's port settings.
    pub(crate) fn of(rule: &'a MergedRule, subset: Option<&'a Subset>, port: u16) -> Self {
        let mut effective = rule
            .policy
            .as_ref()
            .map(|p| at_port(p, port).unwrap_or_else(|| blocks(p)))
            .unwrap_or_default();
        if let Some(policy) = subset.and_then(|s| s.traffic_policy.as_ref()) {
            let own = blocks(policy);
            effective = Self {
                load_balancer: own.load_balancer.or(effective.load_balancer),
                pool: own.pool.or(effective.pool),
                outlier: own.outlier.or(effective.outlier),
                tls: own.tls.or(effective.tls),
            };
            if let Some(own) = at_port(policy, port) {
                effective = own;
            }
        }
        effective
    }
}

fn at_port(policy: &TrafficPolicy, port: u16) -> Option<Effective<'_>> {
    policy
        .port_level_settings
        .iter()
        .find(|s| s.port.is_some_and(|p| p.number == u32::from(port)))
        .map(blocks)
}

fn blocks(policy: &TrafficPolicy) -> Effective<'_> {
    Effective {
        load_balancer: policy.load_balancer.as_ref(),
        pool: policy.connection_pool.as_ref(),
        outlier: policy.outlier_detection.as_ref(),
        tls: policy.tls.as_ref(),
    }
}
