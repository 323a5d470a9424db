//! The rooms of a request, in the order in which the proxy walks them.

use std::net::IpAddr;
use std::sync::Arc;

use super::connection::candidate;
use super::policies::{authorize, policy_place};
use super::{Candidate, End, Ending, Place, Spot, Step, TokenAnswer, Walk, arrive, forward};
use crate::authorization::AccessFacts;
use crate::flags::ResponseFlags;
use crate::listener::{FilterChain, HttpConnection, RouteSource};
use crate::request::{RequestView as _, TypedRequest, WithClaims};
use crate::route::{
    Abort, Action, CorsPolicy, RequestTarget, Route, RouteTable, VirtualHost, host_of, split_port,
};
use crate::token::Claim;
use crate::why::Notes;

pub(super) fn serve(walk: &mut Walk<'_>, config: &HttpConnection, _: &FilterChain) -> End {
    let sent = walk.request.target.clone();
    match arrive::path(&mut walk.request, config) {
        None => {
            walk.decided(
                Step::Path,
                "refused",
                format!("{sent:?} has no canonical form"),
                Vec::new(),
            );
            return walk.refuse(
                400,
                ResponseFlags::NONE,
                "path_normalization_failed",
                "refused with 400: the path has no canonical form",
            );
        }
        Some(true) => {
            let path = walk.request.target.clone();
            walk.decided(
                Step::Path,
                path,
                format!("the canonical form of {sent:?}"),
                Vec::new(),
            );
        }
        Some(false) => {}
    }
    arrive::headers(&mut walk.request, config, walk.question);
    let asked = external(walk, config);
    // The rule is chosen by the request as it came, unless a service wants it otherwise.
    let stays = config.external.iter().all(|external| !external.clear_route_cache);
    let keeps_route = asked && stays && config.tokens.is_none();
    let chosen = keeps_route.then(|| route(walk, &config.routes, None));
    let claims = match token(walk, config) {
        Ok(claims) => claims,
        Err(end) => return end,
    };
    let found = match chosen {
        Some(found) => found,
        None => route(walk, &config.routes, claims.as_ref()),
    };
    if let Some(details) = admitted(walk, config, claims.as_ref()) {
        return walk.refuse(
            403,
            ResponseFlags::NONE,
            details,
            "refused with 403: a policy denies it",
        );
    }
    match found {
        Found::Rule(virtual_host, route) => rule(walk, &virtual_host, &route),
        Found::Nothing(details) => walk.refuse(
            404,
            ResponseFlags::NO_ROUTE,
            details,
            "refused with 404: no route serves it",
        ),
        Found::TlsRequired => {
            let end = walk.refuse(
                301,
                ResponseFlags::NONE,
                "direct_response",
                "answered 301: the same URL over https",
            );
            End {
                action: Ending::Redirect,
                ..end
            }
        }
    }
}

fn is_preflight(walk: &Walk<'_>) -> bool {
    let has = |name| arrive::value(&walk.request, name).is_some();
    walk.request.method == "OPTIONS" && has("origin") && has("access-control-request-method")
}

/// Services that are asked; whether any is. What they answer is theirs to say.
fn external(walk: &mut Walk<'_>, config: &HttpConnection) -> bool {
    let request = walk.request.clone();
    let facts = facts(walk, config, &request, None);
    let asked: Vec<(Candidate, bool)> = config
        .external
        .iter()
        .map(|external| {
            let rule = external.asks(&facts);
            let named = external.when.as_ref().zip(rule.flatten());
            let rule_name = named
                .and_then(|(rules, at)| rules.get(at))
                .map(|rule| rule.name.as_str());
            let reason = match (rule, rule_name) {
                (None, _) => "none of its rules matches: not asked".to_owned(),
                (Some(_), Some(name)) => format!("{name} matches: asked, and may refuse"),
                (Some(_), None) => "asked about every request, and may refuse".to_owned(),
            };
            let candidate = Candidate {
                name: external.provider.clone(),
                summary: format!("cluster {}", external.cluster),
                won: rule.is_some(),
                reason,
                object: rule_name.and_then(policy_place),
                ..Candidate::default()
            };
            (candidate, rule.is_some())
        })
        .collect();
    if asked.is_empty() {
        return false;
    }
    let any = asked.iter().any(|(_, asked)| *asked);
    for (candidate, _) in asked.iter().filter(|(_, asked)| *asked) {
        walk.chance.push(format!(
            "the authorization service {} may refuse it or change its headers",
            candidate.name
        ));
    }
    let result = if any { "asked" } else { "not asked" };
    let candidates = asked.into_iter().map(|(candidate, _)| candidate).collect();
    walk.decided(
        Step::External,
        result,
        "authorization services are asked before tokens and policies",
        candidates,
    );
    any
}

/// What decisions about the request look at.
fn facts<'f>(
    walk: &Walk<'f>,
    config: &HttpConnection,
    request: &'f TypedRequest,
    claims: Option<&'f Claim>,
) -> AccessFacts<'f> {
    let question = walk.question;
    AccessFacts {
        request: Some(request),
        principal: question.principal.as_deref(),
        source: question.source,
        remote: client_address(walk, config),
        destination: question.destination,
        server_name: question.server_name.as_deref(),
        claims,
    }
}

fn token(walk: &mut Walk<'_>, config: &HttpConnection) -> Result<Option<Claim>, End> {
    let Some(rules) = config.tokens.as_deref().filter(|_| !is_preflight(walk)) else {
        return Ok(None);
    };
    let live = walk.live;
    let answer = live.token(rules, &mut walk.request);
    let issuers = rules.rules.iter().map(|rule| Candidate {
        name: rule.name.clone(),
        summary: format!("issuer {}", rule.issuer),
        reason: "a token of this issuer is verified with its keys".into(),
        ..Candidate::default()
    });
    let issuers = issuers.collect();
    match answer {
        TokenAnswer::None => {
            walk.decided(Step::Token, "none", "the request carries no token", issuers);
            Ok(None)
        }
        TokenAnswer::Good(claims) => {
            walk.decided(
                Step::Token,
                "valid",
                "signature, issuer, audience and times hold",
                issuers,
            );
            Ok(Some(claims))
        }
        TokenAnswer::Unknown => {
            let reason =
                "only the proxy itself verifies signatures: ask its /explain; here it counts as absent";
            walk.decided(Step::Token, "unknown", reason, issuers);
            Ok(None)
        }
        TokenAnswer::Refused(status, details, reason) => {
            walk.decided(Step::Token, "refused", reason, issuers);
            Err(walk.refuse(
                status,
                ResponseFlags::NONE,
                details,
                format!("refused with {status}: the token does not hold"),
            ))
        }
    }
}

enum Found {
    Rule(Arc<VirtualHost>, Arc<Route>),
    Nothing(&'static str),
    TlsRequired,
}

fn table(walk: &mut Walk<'_>, source: &RouteSource) -> Option<Arc<RouteTable>> {
    let named = |name: &str| walk.snapshot.routes.get(name).cloned();
    let (table, name, reason) = match source {
        RouteSource::Inline(table) => (
            Some(Arc::clone(table)),
            table.name.clone(),
            "the listener holds its routes itself".to_owned(),
        ),
        RouteSource::Named(name) => (named(name), name.clone(), "the listener names it".to_owned()),
        RouteSource::ByAuthorityPort { tables, fallback, .. } => {
            let port = split_port(walk.request.authority.as_bytes()).1.unwrap_or(80);
            let own = tables.get(&port).and_then(|name| Some((named(name)?, name)));
            match own {
                Some((table, name)) => (Some(table), name.clone(), format!("the table of port {port}")),
                None => (
                    named(fallback),
                    fallback.clone(),
                    format!("no service has port {port}: the table of everything else"),
                ),
            }
        }
    };
    let (result, reason) = match &table {
        Some(_) => (name, reason),
        None => ("none".to_owned(), format!("table {name:?} is not there yet")),
    };
    walk.decided(Step::Routes, result, reason, Vec::new());
    table
}

fn route(walk: &mut Walk<'_>, source: &RouteSource, claims: Option<&Claim>) -> Found {
    let Some(table) = table(walk, source) else {
        return Found::Nothing("route_configuration_not_found");
    };
    let host = host_of(walk.request.authority.as_bytes()).to_vec();
    let mut notes = Notes::default();
    let position = table.virtual_host_noting(&host, &mut notes);
    let candidates = notes.0.into_iter().filter_map(|note| {
        let own = table.virtual_hosts.get(note.position)?;
        let domains: Vec<String> = own.domains.iter().take(8).map(ToString::to_string).collect();
        Some(candidate(own.name.clone(), domains.join(", "), note))
    });
    let candidates = candidates.collect();
    let chosen = position
        .and_then(|position| table.virtual_hosts.get(position))
        .cloned();
    let shown = String::from_utf8_lossy(&host).into_owned();
    let Some(virtual_host) = chosen else {
        walk.decided(
            Step::VirtualHost,
            "none",
            format!("nobody has the host {shown:?}"),
            candidates,
        );
        return Found::Nothing("route_not_found");
    };
    let name = virtual_host.name.clone();
    walk.decided(
        Step::VirtualHost,
        name,
        format!("it has the host {shown:?}"),
        candidates,
    );
    if virtual_host.require_tls && walk.request.scheme() != b"https" {
        walk.decided(
            Step::Route,
            "redirect to https",
            "the host is served over TLS only",
            Vec::new(),
        );
        return Found::TlsRequired;
    }
    match rule_of(walk, &virtual_host, source, claims) {
        Some(route) => Found::Rule(virtual_host, route),
        None => Found::Nothing("route_not_found"),
    }
}

fn rule_of(
    walk: &mut Walk<'_>,
    virtual_host: &VirtualHost,
    source: &RouteSource,
    claims: Option<&Claim>,
) -> Option<Arc<Route>> {
    let mut notes = Notes::default();
    let position = if walk.request.method == "CONNECT" {
        let tunnels = matches!(source, RouteSource::ByAuthorityPort { .. });
        let forwards = |route: &Arc<Route>| tunnels && matches!(route.action, Action::Forward(_));
        virtual_host.routes.iter().position(forwards)
    } else {
        let told = WithClaims {
            request: &walk.request,
            claims,
        };
        virtual_host.find_noting(&told, &mut notes)
    };
    let candidates = notes.0.into_iter().filter_map(|note| {
        let own = virtual_host.routes.get(note.position)?;
        let mut made = candidate(route_name(own), own.matches.to_string(), note);
        made.object = place(virtual_host, own);
        Some(made)
    });
    let candidates = candidates.collect();
    let route = position
        .and_then(|position| virtual_host.routes.get(position))
        .cloned();
    match &route {
        Some(route) => {
            walk.route.clone_from(&route.name);
            walk.decided(
                Step::Route,
                route_name(route),
                "rules are asked in order; the first whose conditions all hold serves",
                candidates,
            );
        }
        None => walk.decided(Step::Route, "none", "no rule's conditions all hold", candidates),
    }
    route
}

fn route_name(route: &Route) -> String {
    if route.name.is_empty() {
        "(without a name)".into()
    } else {
        route.name.clone()
    }
}

/// Where a rule stands in its VirtualService.
fn place(virtual_host: &VirtualHost, route: &Arc<Route>) -> Option<Place> {
    let origin = route.origin.as_ref().filter(|o| !o.virtual_service.is_empty())?;
    let (namespace, name) = origin.virtual_service.split_once('/')?;
    let of_it = virtual_host.routes.iter().filter(|other| {
        let other = other.origin.as_ref();
        other.is_some_and(|other| other.virtual_service == origin.virtual_service)
    });
    let count = of_it.clone().count();
    let nth = of_it
        .clone()
        .position(|other| Arc::ptr_eq(other, route))
        .unwrap_or(0);
    Some(Place {
        kind: "VirtualService",
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        spot: Spot::Route {
            route: origin.route.clone(),
            match_name: origin.match_name.clone(),
            of: (nth, count),
        },
    })
}

fn admitted(walk: &mut Walk<'_>, config: &HttpConnection, claims: Option<&Claim>) -> Option<String> {
    let request = walk.request.clone();
    let facts = facts(walk, config, &request, claims);
    authorize(walk, &config.policies, &facts)
}

/// The client as far as proxies in between are believed, as the proxy's room "admit" has it.
fn client_address(walk: &Walk<'_>, config: &HttpConnection) -> IpAddr {
    let source = walk.question.source;
    if !config.use_remote_address && !walk.question.from_gateway {
        return source;
    }
    let hops = usize::try_from(config.trusted_hops).unwrap_or(0);
    arrive::value(&walk.request, "x-forwarded-for")
        .and_then(|header| header.rsplit(',').nth(hops))
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(source)
}

fn percent(per_million: u32) -> f64 {
    f64::from(per_million.min(1_000_000)) / 10_000.0
}

/// What the rule does: faults, preflights, its action.
fn rule(walk: &mut Walk<'_>, virtual_host: &VirtualHost, route: &Arc<Route>) -> End {
    if let Some(end) = fault(walk, route) {
        return end;
    }
    if let Some(cors) = route.cors.as_ref().filter(|_| is_preflight(walk))
        && answers_preflight(walk, cors)
    {
        first_cluster(walk, route);
        return End::new(
            Ending::Respond,
            Some(200),
            "cors_response",
            "the preflight is answered here",
        );
    }
    match &route.action {
        Action::Forward(onward) => forward::forward(walk, virtual_host, route, onward),
        Action::Redirect(redirect) => {
            let target = RequestTarget {
                scheme: walk.request.scheme.as_bytes(),
                authority: walk.request.authority.as_bytes(),
                path_and_query: walk.request.target.as_bytes(),
            };
            let location = String::from_utf8_lossy(&redirect.location(target, route)).into_owned();
            let said = format!("answered {}: go to {location}", redirect.status);
            walk.decided(Step::Action, "redirect", said.clone(), Vec::new());
            End::new(Ending::Redirect, Some(redirect.status), "direct_response", said)
        }
        Action::Respond(respond) => {
            let said = format!("answered {} with {} bytes", respond.status, respond.body.len());
            walk.decided(Step::Action, "direct response", said.clone(), Vec::new());
            End::new(Ending::Respond, Some(respond.status), "direct_response", said)
        }
    }
}

fn fault(walk: &mut Walk<'_>, route: &Route) -> Option<End> {
    let fault = route.fault.as_ref()?;
    let mut said = Vec::new();
    if let Some((delay, share)) = fault.delay {
        said.push(format!("{} % wait {delay:?} (flag DI)", percent(share.0)));
    }
    let mut certain = None;
    if let Some((abort, share)) = fault.abort {
        let what = match abort {
            Abort::Http(status) => format!("status {status}"),
            Abort::Grpc(status) => format!("gRPC status {status}"),
        };
        said.push(format!("{} % are answered {what} (flag FI)", percent(share.0)));
        certain = (share.0 >= 1_000_000).then_some(abort);
    }
    let delayed = fault.delay.is_some_and(|(_, share)| share.0 >= 1_000_000);
    walk.decided(Step::Fault, "faults are injected", said.join("; "), Vec::new());
    let Some(abort) = certain else {
        walk.chance.extend(said);
        return None;
    };
    first_cluster(walk, route);
    let status = match abort {
        Abort::Http(status) => status,
        Abort::Grpc(_) => 200,
    };
    let flags = if delayed {
        ResponseFlags::FAULT_INJECTED.with(ResponseFlags::DELAY_INJECTED)
    } else {
        ResponseFlags::FAULT_INJECTED
    };
    Some(walk.refuse(
        status,
        flags,
        "fault_filter_abort",
        "an injected fault answers it",
    ))
}

/// Local answers of a forwarding rule are filed under its first cluster.
fn first_cluster(walk: &mut Walk<'_>, route: &Route) {
    if let Action::Forward(onward) = &route.action
        && let Some(first) = onward.destinations.first()
        && walk.snapshot.clusters.contains_key(&first.cluster)
    {
        walk.clusters = vec![(first.cluster.clone(), 100.0)];
    }
}

fn answers_preflight(walk: &mut Walk<'_>, cors: &CorsPolicy) -> bool {
    let origin = arrive::value(&walk.request, "origin").unwrap_or_default();
    let allowed = cors
        .allow_origins
        .iter()
        .any(|allowed| allowed.matches(origin.as_bytes()));
    let answers = allowed || !cors.forward_unmatched_preflights;
    let reason = match (allowed, answers) {
        (true, _) => format!("origin {origin:?} is allowed"),
        (false, true) => format!("origin {origin:?} is not allowed; the answer says nothing of it"),
        (false, false) => format!("origin {origin:?} is not allowed; the application decides"),
    };
    let result = if answers { "answered" } else { "passed on" };
    walk.decided(Step::Cors, result, reason, Vec::new());
    answers
}
