//! Which endpoints are near a client: priorities (failover) and shares (distribute), as Istio gives them.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_crd::networking::destination_rule::LocalityLbSetting;
use mesh_model::cluster::Endpoint;

use crate::World;
use crate::index::Index;
use crate::policy::Effective;

/// Where a client is, and what it is.
#[derive(Debug, Clone)]
pub(crate) struct Near<'a> {
    /// `region/zone/subzone`; empty = unknown.
    pub(crate) locality: String,
    pub(crate) labels: &'a BTreeMap<String, String>,
}

/// Where the proxy at an address is: as its own endpoint, else by its labels.
pub(crate) fn of_node(index: &Index, node: &crate::ProxyNode) -> String {
    let endpoints = index
        .registry
        .services
        .iter()
        .flat_map(|s| &s.ports)
        .flat_map(|p| &p.endpoints);
    let own = endpoints
        .filter(|e| e.address.ip() == node.address)
        .map(|e| &e.locality);
    if let Some(locality) = own.into_iter().find(|l| !l.is_empty()) {
        return locality.clone();
    }
    let label = |name: &str| node.labels.get(name).map_or("", String::as_str);
    // A dot stands for a slash, which labels cannot hold.
    let written = label("istio-locality").replace('.', "/");
    if !written.is_empty() {
        return written;
    }
    let parts = [
        label("topology.kubernetes.io/region"),
        label("topology.kubernetes.io/zone"),
        label("topology.istio.io/subzone"),
    ];
    parts.join("/").trim_end_matches('/').to_owned()
}

/// Gives endpoints their priorities or weights; `labels` are those of each endpoint, in order.
pub(crate) fn apply(
    world: &World,
    policy: Effective<'_>,
    near: &Near<'_>,
    labels: &[Arc<BTreeMap<String, String>>],
    endpoints: &mut Vec<Endpoint>,
) {
    let own = policy
        .load_balancer
        .and_then(|lb| lb.locality_lb_setting.as_ref());
    let none = LocalityLbSetting::default();
    let setting = own.or(world.mesh().locality_lb_setting.as_ref()).unwrap_or(&none);
    if setting.enabled == Some(false) {
        return;
    }
    let share = setting
        .distribute
        .iter()
        .find(|d| covers(&d.from, &near.locality));
    if let Some(share) = share.filter(|_| !near.locality.is_empty()) {
        distribute(&share.to, endpoints);
        return;
    }
    // Without outlier detection nothing says when to fail over.
    if policy.outlier.is_none() || !setting.distribute.is_empty() {
        return;
    }
    if !setting.failover_priority.is_empty() {
        for (endpoint, labels) in endpoints.iter_mut().zip(labels) {
            endpoint.priority = by_labels(&setting.failover_priority, near.labels, labels);
        }
    } else if !near.locality.is_empty() {
        let region = near.locality.split('/').next().unwrap_or_default();
        let to = setting
            .failover
            .iter()
            .find(|f| f.from == region)
            .map(|f| f.to.as_str());
        for endpoint in endpoints.iter_mut() {
            endpoint.priority = by_distance(&near.locality, &endpoint.locality, to);
        }
    }
    compress(endpoints);
}

/// `region/zone/*` covers what begins so; a pattern that ends early covers all below.
fn covers(pattern: &str, locality: &str) -> bool {
    let mut parts = locality.split('/');
    for wanted in pattern.split('/') {
        if wanted == "*" {
            return true;
        }
        if parts.next().unwrap_or_default() != wanted {
            return false;
        }
    }
    true
}

/// Weights so that each place gets its share; what has none gets no traffic.
fn distribute(to: &BTreeMap<String, u32>, endpoints: &mut Vec<Endpoint>) {
    // The most specific pattern decides, so that each endpoint is in one place.
    let place = |locality: &str| {
        to.iter()
            .filter(|(pattern, _)| covers(pattern, locality))
            .max_by_key(|(pattern, _)| pattern.split('/').filter(|part| *part != "*").count())
    };
    let mut sums: BTreeMap<String, u64> = BTreeMap::new();
    for endpoint in endpoints.iter() {
        if let Some((pattern, _)) = place(&endpoint.locality) {
            *sums.entry(pattern.clone()).or_default() += u64::from(endpoint.weight);
        }
    }
    endpoints.retain_mut(|endpoint| {
        let Some((pattern, share)) = place(&endpoint.locality).filter(|(_, share)| **share > 0) else {
            return false;
        };
        let sum = sums.get(pattern).copied().unwrap_or(1).max(1);
        let weight = u64::from(endpoint.weight) * u64::from(*share) * 1000 / sum;
        endpoint.weight = u32::try_from(weight).unwrap_or(u32::MAX).max(1);
        true
    });
}

/// How many of the labels, from the first that differs on, are not the client's.
fn by_labels(
    priority: &[String],
    client: &BTreeMap<String, String>,
    endpoint: &BTreeMap<String, String>,
) -> u32 {
    let same = priority.iter().take_while(|entry| match entry.split_once('=') {
        Some((key, value)) => endpoint.get(key).is_some_and(|own| own == value),
        None => client.get(entry.as_str()) == endpoint.get(entry.as_str()),
    });
    u32::try_from(priority.len() - same.count()).unwrap_or(u32::MAX)
}

/// 0 the same place, 1 the same zone, 2 the same region, 3 the region that takes over (or any other), 4 the rest.
fn by_distance(client: &str, endpoint: &str, to: Option<&str>) -> u32 {
    let part = |text: &'_ str, at: usize| text.split('/').nth(at).unwrap_or_default().to_owned();
    let same = (0..3)
        .take_while(|at| part(client, *at) == part(endpoint, *at))
        .count();
    match (same, to) {
        (3, _) => 0,
        (2, _) => 1,
        (1, _) => 2,
        (_, Some(to)) if part(endpoint, 0) != to => 4,
        _ => 3,
    }
}

/// Priorities without gaps.
fn compress(endpoints: &mut [Endpoint]) {
    let mut used: Vec<u32> = endpoints.iter().map(|e| e.priority).collect();
    used.sort_unstable();
    used.dedup();
    for endpoint in endpoints {
        let at = used.iter().position(|p| *p == endpoint.priority).unwrap_or(0);
        endpoint.priority = u32::try_from(at).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_places() {
        for (pattern, locality, expected) in [
            ("*", "a/b/c", true),
            ("a/*", "a/b/c", true),
            ("a/b/*", "a/b/c", true),
            ("a/b/c", "a/b/c", true),
            ("a", "a/b/c", true),
            ("a/x/*", "a/b/c", false),
            ("b/*", "a/b/c", false),
            ("a/b/c", "a/b", false),
        ] {
            assert_eq!(covers(pattern, locality), expected, "{pattern} {locality}");
        }
    }

    #[test]
    fn distances() {
        for (endpoint, to, expected) in [
            ("a/b/c", None, 0),
            ("a/b/d", None, 1),
            ("a/x/c", None, 2),
            ("b/b/c", None, 3),
            ("b/b/c", Some("b"), 3),
            ("c/b/c", Some("b"), 4),
            ("", None, 3),
        ] {
            assert_eq!(by_distance("a/b/c", endpoint, to), expected, "{endpoint} {to:?}");
        }
        let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs
                .iter()
                .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
                .collect()
        };
        let priority = ["net".to_owned(), "version=v1".to_owned()];
        let client = labels(&[("net", "n1")]);
        for (endpoint, expected) in [
            (labels(&[("net", "n1"), ("version", "v1")]), 0),
            (labels(&[("net", "n1"), ("version", "v2")]), 1),
            (labels(&[("net", "n2"), ("version", "v1")]), 2),
            (labels(&[]), 2),
        ] {
            assert_eq!(by_labels(&priority, &client, &endpoint), expected, "{endpoint:?}");
        }
    }
}
