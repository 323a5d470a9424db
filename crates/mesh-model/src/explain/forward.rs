//! Where a request is sent: destination, cluster, endpoints, and the guards around them.

use std::sync::Arc;

use super::{Candidate, End, Ending, EndpointFacts, Forwarded, Step, Walk, arrive, level_shares};
use crate::balance::PriorityHealth;
use crate::cluster::{Cluster, Discovery, Endpoint, Transport};
use crate::flags::ResponseFlags;
use crate::route::{Forward, HeaderEdits, Rewriter, Route, VirtualHost, WeightedDestination};

/// Priority levels that are told apart.
const LEVELS: u32 = 15;

pub(super) fn forward(walk: &mut Walk<'_>, _: &VirtualHost, route: &Arc<Route>, forward: &Forward) -> End {
    destination(walk, forward);
    // A cluster that does not exist is noticed first.
    let exists =
        |(name, percent): &(String, f64)| *percent < 100.0 || walk.snapshot.clusters.contains_key(name);
    let all_exist = walk.clusters.iter().all(exists);
    let upgrade = arrive::value(&walk.request, "upgrade").filter(|_| all_exist && connection_upgrades(walk));
    if let Some(upgrade) = upgrade
        && !upgrade.eq_ignore_ascii_case("websocket")
    {
        return walk.refuse(
            403,
            ResponseFlags::NONE,
            "upgrade_failed",
            "refused with 403: this upgrade is not offered",
        );
    }
    let mut end = None;
    for at in 0..walk.clusters.len() {
        let Some((name, percent)) = walk.clusters.get(at).cloned() else {
            break;
        };
        if percent <= 0.0 {
            continue;
        }
        let fails = cluster(walk, &name, route, forward);
        if let Some(fails) = fails {
            if percent >= 100.0 {
                // Without a cluster nothing is filed under it.
                if fails.flags.has(ResponseFlags::NO_CLUSTER) {
                    walk.clusters.clear();
                }
                return fails;
            }
            walk.chance.push(format!("{percent} %: {}", fails.summary));
        } else {
            end = Some(format!("forwarded to {name}"));
        }
    }
    guards(walk, forward);
    let summary = end.unwrap_or_else(|| "no destination can serve it".to_owned());
    End::new(Ending::Forward, None, "", summary)
}

fn connection_upgrades(walk: &Walk<'_>) -> bool {
    arrive::value(&walk.request, "connection").is_some_and(|value| {
        value
            .split(',')
            .any(|part| part.trim().eq_ignore_ascii_case("upgrade"))
    })
}

/// Shares of the destinations, as the proxy's weighted draw gives them.
fn destination(walk: &mut Walk<'_>, forward: &Forward) {
    let total: f64 = forward.destinations.iter().map(|d| f64::from(d.weight)).sum();
    let one = forward.destinations.len() == 1;
    let share = |d: &WeightedDestination| {
        if one {
            100.0
        } else if total > 0.0 {
            f64::from(d.weight) * 100.0 / total
        } else {
            0.0
        }
    };
    let candidates: Vec<Candidate> = forward
        .destinations
        .iter()
        .map(|d| Candidate {
            name: d.cluster.clone(),
            summary: format!("weight {}", d.weight),
            won: share(d) > 0.0,
            reason: match share(d) {
                _ if one => "the only destination".into(),
                0.0 => "weight 0 gets nothing".into(),
                share => format!("gets {share:.1} % of the requests"),
            },
            percent: Some(share(d)),
            ..Candidate::default()
        })
        .collect();
    walk.clusters = forward
        .destinations
        .iter()
        .map(|d| (d.cluster.clone(), share(d)))
        .collect();
    let names: Vec<&str> = forward.destinations.iter().map(|d| d.cluster.as_str()).collect();
    let reason = if one {
        "the rule has one destination"
    } else {
        "drawn by weight for each request"
    };
    walk.decided(Step::Destination, names.join(", "), reason, candidates);
    for mirror in &forward.mirrors {
        let percent = f64::from(mirror.per_million) / 10_000.0;
        walk.chance.push(format!(
            "{percent} % are copied to {}, whose answers nobody sees",
            mirror.cluster
        ));
    }
}

/// Cluster and endpoints; why requests to it fail, if they do.
fn cluster(walk: &mut Walk<'_>, name: &str, route: &Arc<Route>, forward: &Forward) -> Option<End> {
    let Some(cluster) = walk.snapshot.clusters.get(name).cloned() else {
        walk.decided(
            Step::Cluster,
            "none",
            format!("there is no cluster {name}"),
            Vec::new(),
        );
        return Some(walk.refuse(
            503,
            ResponseFlags::NO_CLUSTER,
            "cluster_not_found",
            format!("refused with 503: there is no cluster {name}"),
        ));
    };
    let transport = match &cluster.transport {
        Transport::Plain => "plaintext",
        Transport::Tls(_) => "TLS",
        Transport::Auto(_) => "mutual TLS where the endpoint has a proxy, else plaintext",
    };
    walk.decided(
        Step::Cluster,
        name,
        format!("{transport}; {:?}, {:?}", cluster.balancer, cluster.protocol),
        Vec::new(),
    );
    if cluster.discovery == Discovery::OriginalDestination {
        let authority = walk.request.authority.clone();
        walk.decided(
            Step::Endpoint,
            authority,
            "the address that the request itself names",
            Vec::new(),
        );
        return None;
    }
    let usable = endpoints(walk, &cluster);
    if usable.is_empty() {
        return Some(walk.refuse(
            503,
            ResponseFlags::NO_HEALTHY_UPSTREAM,
            "no_healthy_upstream",
            format!("refused with 503: {name} has no endpoint that may be used"),
        ));
    }
    if walk.forwarded.is_none() {
        let server_name = match &cluster.transport {
            Transport::Plain => None,
            Transport::Tls(tls) | Transport::Auto(tls) => tls.sni.clone(),
        };
        walk.forwarded = Some(Forwarded {
            request: onward(walk, route, forward, name),
            endpoints: usable,
            server_name,
        });
    }
    None
}

/// The endpoint decision; those that may serve.
fn endpoints(walk: &mut Walk<'_>, cluster: &Cluster) -> Vec<EndpointFacts> {
    let all = walk.endpoints(cluster);
    let most = all.iter().map(|(e, _)| e.priority.min(LEVELS)).max().unwrap_or(0);
    let is_usable = |(endpoint, ejected): &(Endpoint, bool)| endpoint.healthy && !ejected;
    // Empty levels are left out, as the proxy does.
    let levels: Vec<u32> = (0..=most)
        .filter(|level| all.iter().any(|(e, _)| e.priority.min(LEVELS) == *level))
        .collect();
    let health: Vec<PriorityHealth> = levels
        .iter()
        .map(|level| {
            let of = all.iter().filter(|(e, _)| e.priority.min(LEVELS) == *level);
            PriorityHealth {
                all: u32::try_from(of.clone().count()).unwrap_or(u32::MAX),
                healthy: u32::try_from(of.filter(|e| is_usable(e)).count()).unwrap_or(u32::MAX),
            }
        })
        .collect();
    let shares = level_shares(&health, cluster.panic_threshold_percent);
    let share_of = |endpoint: &Endpoint| {
        let (shares, _) = shares.as_ref()?;
        let at = levels.iter().position(|l| *l == endpoint.priority.min(LEVELS))?;
        shares.get(at).copied()
    };
    let panic = shares.as_ref().is_some_and(|(_, panic)| *panic);
    let mut usable = Vec::new();
    let mut candidates = Vec::with_capacity(all.len());
    for one in &all {
        let (endpoint, ejected) = one;
        let mutual_tls = match &cluster.transport {
            Transport::Plain => false,
            Transport::Tls(_) => true,
            Transport::Auto(_) => endpoint.mutual_tls,
        };
        let share = share_of(endpoint).unwrap_or(0.0);
        let won = share > 0.0 && (panic || is_usable(one));
        let reason = match (won, panic) {
            (true, true) => "used although health says otherwise: too few are healthy (panic)".to_owned(),
            (true, false) => format!("priority {} gets {share:.0} %", endpoint.priority),
            (false, _) if *ejected => "taken out by outlier detection".to_owned(),
            (false, _) if !endpoint.healthy => "discovery says that it is not healthy".to_owned(),
            (false, _) => format!("priority {} gets nothing now", endpoint.priority),
        };
        let facts = EndpointFacts {
            endpoint: endpoint.clone(),
            ejected: *ejected,
            mutual_tls,
        };
        if won {
            usable.push(facts.clone());
        }
        candidates.push(Candidate {
            name: endpoint.address.to_string(),
            summary: endpoint
                .workload
                .as_ref()
                .map(|w| format!("{}/{}", w.namespace, w.name))
                .unwrap_or_default(),
            won,
            reason,
            endpoint: Some(facts),
            ..Candidate::default()
        });
    }
    let result = format!("{} of {}", usable.len(), all.len());
    let reason = match (all.is_empty(), usable.is_empty()) {
        (true, _) => "the cluster has no endpoints".to_owned(),
        (false, true) => "no endpoint is healthy".to_owned(),
        (false, false) => format!("chosen by {:?} for each request", cluster.balancer),
    };
    walk.decided(Step::Endpoint, result, reason, candidates);
    usable
}

fn edit(headers: &mut Vec<(String, String)>, edits: &HeaderEdits) {
    for name in &edits.remove {
        headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }
    for (name, value) in &edits.set {
        headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
        headers.push((name.to_ascii_lowercase(), value.clone()));
    }
    for (name, value) in &edits.add {
        headers.push((name.to_ascii_lowercase(), value.clone()));
    }
}

/// The request as the next proxy gets it.
fn onward(
    walk: &Walk<'_>,
    route: &Arc<Route>,
    forward: &Forward,
    cluster: &str,
) -> crate::request::TypedRequest {
    let mut request = walk.request.clone();
    let destination = forward.destinations.iter().find(|d| d.cluster == cluster);
    let own = destination.map(|d| &d.request_headers);
    let (first, last) = if forward.destinations.len() > 1 {
        (own, Some(&route.request_headers))
    } else {
        (Some(&route.request_headers), own)
    };
    for edits in [first, last].into_iter().flatten() {
        edit(&mut request.headers, edits);
    }
    let host = forward
        .host_rewrite
        .as_ref()
        .or(destination.and_then(|d| d.host_rewrite.as_ref()));
    if let Some(host) = host {
        request.authority.clone_from(host);
    }
    let rewriter = forward
        .path_rewrite
        .as_ref()
        .and_then(|rewrite| Rewriter::new(rewrite).ok());
    if let Some(target) = rewriter.and_then(|r| r.rewrite(route, request.target.as_bytes())) {
        request.target = String::from_utf8_lossy(&target).into_owned();
    }
    request
}

fn guards(walk: &mut Walk<'_>, forward: &Forward) {
    let (result, reason) = match forward.timeout {
        Some(limit) => (format!("{limit:?}"), "then 504, flag UT".to_owned()),
        None => ("none".to_owned(), "nothing limits the time".to_owned()),
    };
    walk.decided(Step::Timeout, result, reason, Vec::new());
    let (result, reason) = match forward.retry.as_ref().filter(|policy| policy.attempts > 0) {
        Some(policy) => (
            format!("{} more attempts", policy.attempts),
            format!(
                "on {}{}",
                policy.on,
                policy
                    .per_try_timeout
                    .map_or_else(String::new, |limit| format!("; each attempt {limit:?} at most"))
            ),
        ),
        None => ("none".to_owned(), "the rule has no retries".to_owned()),
    };
    walk.decided(Step::Retry, result, reason, Vec::new());
}
