//! Which objects concern a service or a workload (pure).

use std::collections::{BTreeMap, BTreeSet};

use mesh_crd::host::{covers, expand};
use mesh_crd::networking::labels_match;
use mesh_crd::networking::virtual_service::VirtualService;
use mesh_crd::{Object, ObjectKey, kinds};
use mesh_translate::World;

use super::{ServiceFacts, WorkloadFacts};

const DOMAIN: &str = "cluster.local";

/// What every object is about, read once for many questions.
#[derive(Debug, Default)]
pub(crate) struct Concerns {
    /// Hosts that VirtualServices, DestinationRules and ServiceEntries name, with the gateways that they use.
    hosts: Vec<(ObjectKey, BTreeSet<String>, Vec<ObjectKey>)>,
    policies: Vec<Policy>,
    root_namespace: String,
}

#[derive(Debug)]
struct Policy {
    key: ObjectKey,
    /// None: every workload in reach.
    labels: Option<BTreeMap<String, String>>,
    /// A Gateway's selector reaches into every namespace.
    everywhere: bool,
}

impl Concerns {
    pub(crate) fn of(world: &World) -> Self {
        let mut concerns = Self {
            root_namespace: world.mesh().root_namespace.clone(),
            ..Self::default()
        };
        for (key, object) in world.objects() {
            match object.as_ref() {
                Object::VirtualService(r) => {
                    let (hosts, gateways) = named(&r.spec, &key.namespace);
                    concerns.hosts.push((key.clone(), hosts, gateways));
                }
                Object::DestinationRule(r) => {
                    let host = expand(&r.spec.host, &key.namespace, DOMAIN);
                    concerns
                        .hosts
                        .push((key.clone(), BTreeSet::from([host]), Vec::new()));
                }
                Object::ServiceEntry(r) => {
                    let hosts = r.spec.hosts.iter().cloned().collect();
                    concerns.hosts.push((key.clone(), hosts, Vec::new()));
                }
                Object::Gateway(r) => concerns.policy(key, Some(r.spec.selector.clone()), true),
                Object::Sidecar(r) => {
                    let selector = r.spec.workload_selector.as_ref().map(|s| s.labels.clone());
                    concerns.policy(key, selector, false);
                }
                Object::PeerAuthentication(r) => {
                    let selector = r.spec.selector.as_ref().map(|s| s.match_labels.clone());
                    concerns.policy(key, selector, false);
                }
                Object::Other(r) => concerns.policy(key, selector_of(&r.spec.spec), false),
                _ => {}
            }
        }
        concerns
    }

    fn policy(&mut self, key: &ObjectKey, labels: Option<BTreeMap<String, String>>, everywhere: bool) {
        if kinds::Kind::by_kind(&key.kind).is_some() {
            self.policies.push(Policy {
                key: key.clone(),
                labels,
                everywhere,
            });
        }
    }

    /// Objects that name the host of a service or that they route to, and the gateways of those.
    pub(crate) fn of_host(&self, hosts: &[String]) -> BTreeSet<ObjectKey> {
        let mut found = BTreeSet::new();
        for (key, named, gateways) in &self.hosts {
            let about = named.iter().any(|named| {
                hosts
                    .iter()
                    .any(|host| covers(named, host) || covers(host, named))
            });
            if about {
                found.insert(key.clone());
                found.extend(gateways.iter().cloned());
            }
        }
        found
    }

    pub(crate) fn of_service(&self, service: &ServiceFacts) -> BTreeSet<ObjectKey> {
        let mut found = self.of_host(&service.hosts);
        if service.key.kind == "ServiceEntry" {
            found.insert(service.key.clone());
        }
        found
    }

    /// Policies that select a workload: in its namespace, or in the root namespace.
    pub(crate) fn of_workload(&self, workload: &WorkloadFacts) -> BTreeSet<ObjectKey> {
        let namespace = &workload.workload.namespace;
        let reaches = |policy: &&Policy| {
            let near = policy.key.namespace == *namespace || policy.key.namespace == self.root_namespace;
            let selected = match &policy.labels {
                Some(labels) => labels_match(labels, &workload.labels),
                None => true,
            };
            if policy.everywhere {
                // Gateways are for gateway pods.
                workload.gateway && selected
            } else {
                near && selected
            }
        };
        self.policies
            .iter()
            .filter(reaches)
            .map(|p| p.key.clone())
            .collect()
    }

    /// VirtualServices (`namespace/name`) that name one of the hosts.
    pub(crate) fn virtual_services(&self, hosts: &[String]) -> Vec<ObjectKey> {
        let found = self.of_host(hosts).into_iter();
        found.filter(|key| key.kind == "VirtualService").collect()
    }
}

/// Hosts of a VirtualService with those that it routes to, and its gateways.
fn named(spec: &VirtualService, namespace: &str) -> (BTreeSet<String>, Vec<ObjectKey>) {
    let http = spec.http.iter().flat_map(|rule| {
        let routes = rule.route.iter().map(|r| &r.destination);
        let mirrors = rule.mirrors.iter().map(|m| &m.destination);
        routes.chain(mirrors).chain(&rule.mirror)
    });
    let other = spec
        .tls
        .iter()
        .flat_map(|rule| &rule.route)
        .chain(spec.tcp.iter().flat_map(|rule| &rule.route))
        .map(|r| &r.destination);
    let destinations = http.chain(other).map(|d| &d.host);
    // `*` alone would make it an object of every service; it is the destinations that it is about.
    let own = spec.hosts.iter().filter(|host| *host != "*");
    let hosts = own
        .chain(destinations)
        .map(|host| expand(host, namespace, DOMAIN))
        .collect();
    let gateways = spec.gateways.iter().filter(|name| *name != "mesh").map(|name| {
        let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
        ObjectKey::new("Gateway", namespace, name)
    });
    (hosts, gateways.collect())
}

/// The selector of a kind that is not read further.
fn selector_of(spec: &serde_json::Value) -> Option<BTreeMap<String, String>> {
    let labels = spec
        .pointer("/selector/matchLabels")
        .or_else(|| spec.pointer("/workloadSelector/labels"))?;
    let pairs = labels.as_object()?.iter();
    Some(
        pairs
            .filter_map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect(),
    )
}
