//! VirtualService HTTP rules to routes.

mod action;
mod headers;
mod matches;
mod retry;

pub(crate) use action::resolve;

use std::sync::Arc;

use mesh_crd::networking::destination_rule::{ConsistentHash, HttpCookie};
use mesh_crd::networking::virtual_service::HttpMatch;
use mesh_model::retry::RetryPolicy;
use mesh_model::route::{
    Action, Forward, HashSource, HeaderEdits, PathMatch, Route, RouteMatch, RouteOrigin, WeightedDestination,
};

use crate::World;
use crate::bound::{Bound, BoundRule};
use crate::cluster;
use crate::index::Index;
use crate::policy::{self, Client, Effective};
use crate::problem::Findings;
use crate::registry::MeshService;

/// For whom and at which port routes are made.
pub(crate) struct RouteContext<'a> {
    pub(crate) world: &'a World,
    pub(crate) index: &'a Index,
    pub(crate) client: Client<'a>,
    /// `mesh`, or the gateways (`namespace/name`) of a gateway's port.
    pub(crate) gateways: &'a [String],
    /// Service port at a sidecar, server port at a gateway.
    pub(crate) port: u16,
    /// Whether a destination without port may fall to its service's only port.
    pub(crate) at_gateway: bool,
}

/// Routes of a VirtualService, cut after the first that takes everything.
pub(crate) fn routes(context: &RouteContext<'_>, bound: &Bound, findings: &mut Findings) -> Vec<Arc<Route>> {
    let mut out = Vec::new();
    for rule in &bound.rules {
        let alternatives: Vec<Option<(usize, &HttpMatch)>> = if rule.route.matches.is_empty() {
            vec![None]
        } else {
            rule.route.matches.iter().enumerate().map(Some).collect()
        };
        for alternative in alternatives {
            if let Some((_, condition)) = alternative
                && !applies(context, bound, condition)
            {
                continue;
            }
            if let Some(route) = one(context, bound, rule, alternative, findings) {
                let everything = is_catch_all(&route.matches);
                out.push(Arc::new(route));
                if everything {
                    return out;
                }
            }
        }
    }
    out
}

/// Whether a rule takes every request.
pub(crate) fn is_catch_all(matches: &RouteMatch) -> bool {
    let any_path = match &matches.path {
        PathMatch::Prefix(p) => p == "/" || p.is_empty(),
        PathMatch::SegmentPrefix(p) => p == "/",
        PathMatch::Regex(r) => r.source() == ".*",
        PathMatch::Exact(_) => false,
    };
    any_path && matches.headers.is_empty() && matches.query.is_empty() && matches.claims.is_empty()
}

/// Conditions that are decided here and not per request: port, gateway, client labels and namespace.
fn applies(context: &RouteContext<'_>, bound: &Bound, condition: &HttpMatch) -> bool {
    if condition.port != 0 && condition.port != u32::from(context.port) {
        return false;
    }
    if !condition.gateways.is_empty() {
        let named = crate::bound::gateways(&condition.gateways, &bound.key.namespace);
        // With gateways of its own, an alternative ignores the client's labels.
        return named.iter().any(|g| context.gateways.contains(g));
    }
    let labels = context.client.labels;
    mesh_crd::networking::labels_match(&condition.source_labels, labels)
        && (condition.source_namespace.is_empty() || condition.source_namespace == context.client.namespace)
}

fn one(
    context: &RouteContext<'_>,
    bound: &Bound,
    rule: &BoundRule,
    alternative: Option<(usize, &HttpMatch)>,
    findings: &mut Findings,
) -> Option<Route> {
    let match_name = alternative.map(|(_, m)| m.name.as_str()).unwrap_or_default();
    let matches = match matches::translate(alternative.map(|(_, m)| m)) {
        Ok(matches) => matches,
        Err(reason) => {
            let field = match alternative {
                Some((i, _)) => format!("{}.match[{i}].{}", rule.field, reason.field),
                None => rule.field.clone(),
            };
            findings.unsupported(&rule.key, field, &reason.message, "remove the condition");
            return None;
        }
    };
    let (request, response) = headers::route_level(&rule.route);
    let action = action::translate(context, rule, &matches, findings)?;
    let name = match match_name {
        "" => rule.route.name.clone(),
        m => format!("{}.{m}", rule.route.name),
    };
    let operation = match &action {
        Action::Forward(forward) => Some(operation(bound, forward, &matches.path)),
        _ => None,
    };
    let (mut request_headers, mut response_headers) = (request.edits, response);
    if let Action::Forward(forward) = &action
        && let [only] = forward.destinations.as_slice()
    {
        // One destination's edits join those of the route, and win on set.
        headers::join(&mut request_headers, &only.request_headers);
        headers::join(&mut response_headers, &only.response_headers);
    }
    let action = match action {
        Action::Forward(mut forward) => {
            // A host of the rule wins over those of destinations.
            forward.host_rewrite = forward.host_rewrite.or(request.host);
            let alone = forward.destinations.len() == 1;
            for destination in &mut forward.destinations {
                if alone {
                    destination.request_headers = HeaderEdits::default();
                    destination.response_headers = HeaderEdits::default();
                    let own = destination.host_rewrite.take();
                    forward.host_rewrite = forward.host_rewrite.or(own);
                }
            }
            Action::Forward(forward)
        }
        other => other,
    };
    Some(Route {
        name,
        matches,
        action,
        request_headers,
        response_headers,
        fault: action::fault(&rule.route),
        cors: rule.route.cors_policy.as_ref().map(action::cors),
        operation,
        origin: Some(RouteOrigin {
            virtual_service: format!("{}/{}", bound.key.namespace, bound.key.name),
            route: rule.route.name.clone(),
            match_name: match_name.to_owned(),
            revision: bound.revision.clone(),
        }),
    })
}

/// Span name: the destination, or the VirtualService where there are several, and the path's shape.
fn operation(bound: &Bound, forward: &Forward, path: &PathMatch) -> String {
    let mut parts = forward
        .destinations
        .first()
        .map(|d| d.cluster.split('|'))
        .into_iter()
        .flatten();
    let (_, port, _, host) = (parts.next(), parts.next(), parts.next(), parts.next());
    let port = port.unwrap_or_default();
    let target = match (forward.destinations.len(), host) {
        (1, Some(host)) => host.to_owned(),
        _ => bound.key.name.clone(),
    };
    let path = match path {
        PathMatch::Prefix(p) | PathMatch::SegmentPrefix(p) => format!("{p}*"),
        PathMatch::Exact(p) => p.clone(),
        PathMatch::Regex(r) => r.source().to_owned(),
    };
    format!("{target}:{port}{path}")
}

/// The route of a service for which no VirtualService is.
pub(crate) fn default_route(context: &RouteContext<'_>, service: &MeshService) -> Route {
    let destination = WeightedDestination {
        cluster: cluster::name(context.port, "", &service.host),
        weight: 1,
        ..WeightedDestination::default()
    };
    let hash = hash_sources(context, &service.host, "", context.port);
    let mut retry = RetryPolicy::default();
    retry.avoid_previous_hosts &= hash.is_empty();
    Route {
        name: "default".into(),
        matches: everything(),
        action: Action::Forward(Box::new(Forward {
            destinations: vec![destination],
            retry: Some(retry),
            hash,
            max_grpc_timeout: Some(std::time::Duration::ZERO),
            ..Forward::default()
        })),
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        fault: None,
        cors: None,
        operation: Some(format!("{}:{}/*", service.host, context.port)),
        origin: None,
    }
}

/// Matches every request.
pub(crate) fn everything() -> RouteMatch {
    RouteMatch {
        path: PathMatch::Prefix("/".into()),
        path_ignore_case: false,
        headers: Vec::new(),
        query: Vec::new(),
        claims: Vec::new(),
    }
}

/// What the destination's DestinationRule hashes by.
pub(crate) fn hash_sources(
    context: &RouteContext<'_>,
    host: &str,
    subset: &str,
    port: u16,
) -> Vec<HashSource> {
    let Some(service) = context.index.registry.covering(host) else {
        return Vec::new();
    };
    let Some(rule) = policy::lookup(context.world, context.index, context.client, service) else {
        return Vec::new();
    };
    let subset = rule.subsets.iter().find(|s| s.name == subset);
    Effective::of(rule, subset, port)
        .load_balancer
        .and_then(|lb| lb.consistent_hash.as_ref())
        .and_then(hash_source)
        .into_iter()
        .collect()
}

fn hash_source(hash: &ConsistentHash) -> Option<HashSource> {
    if let Some(name) = &hash.http_header_name {
        return Some(HashSource::Header(name.to_ascii_lowercase()));
    }
    if let Some(HttpCookie {
        name,
        path,
        ttl,
        attributes,
    }) = &hash.http_cookie
    {
        return Some(HashSource::Cookie {
            name: name.clone(),
            path: path.clone(),
            ttl: *ttl,
            attributes: attributes
                .iter()
                .map(|a| (a.name.clone(), a.value.clone()))
                .collect(),
        });
    }
    if let Some(name) = &hash.http_query_parameter_name {
        return Some(HashSource::Query(name.clone()));
    }
    (hash.use_source_ip == Some(true)).then_some(HashSource::SourceIp)
}
