//! Route tables.

mod action;
mod matches;

pub(super) use matches::header_match;

use std::collections::HashSet;
use std::sync::Arc;

use mesh_model::route::{Action, Domain, HeaderEdits, Route, RouteOrigin, RouteTable, VirtualHost};

use super::Path;
use crate::pb::route as envoy;
use crate::pb::{self, core, name};
use crate::{Invalid, METADATA_KEY};

pub(super) fn route_table(from: &envoy::RouteConfiguration, path: &Path<'_>) -> Result<RouteTable, Invalid> {
    let mut taken = HashSet::new();
    let everywhere = Edits::of(
        (&from.request_headers_to_add, &from.request_headers_to_remove),
        (&from.response_headers_to_add, &from.response_headers_to_remove),
        path,
    )?;
    let mut virtual_hosts = Vec::with_capacity(from.virtual_hosts.len());
    for (i, host) in from.virtual_hosts.iter().enumerate() {
        let path = path.item("virtual_hosts", i);
        virtual_hosts.push(Arc::new(virtual_host(host, &everywhere, &mut taken, &path)?));
    }
    Ok(RouteTable {
        name: from.name.clone(),
        virtual_hosts,
    })
}

fn virtual_host(
    from: &envoy::VirtualHost,
    everywhere: &Edits,
    taken: &mut HashSet<Domain>,
    path: &Path<'_>,
) -> Result<VirtualHost, Invalid> {
    let mut domains: Vec<Domain> = Vec::with_capacity(from.domains.len());
    for (i, text) in from.domains.iter().enumerate() {
        let path = path.item("domains", i);
        let domain =
            domain(text).ok_or_else(|| path.invalid(format!("{text:?} is not a host name or wildcard")))?;
        // Hosts are matched without port, so `x` and `x:80` of one virtual host are one domain.
        if domains.contains(&domain) {
            continue;
        }
        if !taken.insert(domain.clone()) {
            return Err(path.invalid(format!(
                "{text:?} is in another virtual host already (ports do not tell hosts apart)"
            )));
        }
        domains.push(domain);
    }
    if domains.is_empty() {
        return Err(path.field("domains").invalid("is empty"));
    }
    let here = Edits::of(
        (&from.request_headers_to_add, &from.request_headers_to_remove),
        (&from.response_headers_to_add, &from.response_headers_to_remove),
        path,
    )?;
    let mut routes = Vec::with_capacity(from.routes.len());
    for (i, one) in from.routes.iter().enumerate() {
        let mut route = route(one, &path.item("routes", i))?;
        here.follow(&mut route);
        everywhere.follow(&mut route);
        routes.push(Arc::new(route));
    }
    Ok(VirtualHost {
        name: from.name.clone(),
        domains,
        routes,
        require_tls: from.require_tls() != envoy::virtual_host::TlsRequirementType::None,
        include_attempt_count: from.include_request_attempt_count,
    })
}

/// Header edits of one level: a route, its virtual host, its table.
struct Edits {
    request: HeaderEdits,
    response: HeaderEdits,
}

/// Headers to add, and to remove.
type Level<'a> = (&'a [core::HeaderValueOption], &'a [String]);

impl Edits {
    fn of(request: Level<'_>, response: Level<'_>, path: &Path<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            request: header_edits(request.0, request.1, "request_headers_to_add", path)?,
            response: header_edits(response.0, response.1, "response_headers_to_add", path)?,
        })
    }

    /// Edits of a wider level come after the route's own.
    fn follow(&self, route: &mut Route) {
        for (to, from) in [
            (&mut route.request_headers, &self.request),
            (&mut route.response_headers, &self.response),
        ] {
            to.set.extend(from.set.iter().cloned());
            to.add.extend(from.add.iter().cloned());
            to.remove.extend(from.remove.iter().cloned());
        }
    }
}

/// Reads a domain; a port (`:80` or `:*`) is dropped.
fn domain(text: &str) -> Option<Domain> {
    let text = text.to_ascii_lowercase();
    if text == "*" {
        return Some(Domain::Any);
    }
    let host = match text.rsplit_once(':') {
        Some((host, port))
            if !host.is_empty()
                && (port == "*" || (!port.is_empty() && port.bytes().all(|b| b.is_ascii_digit())))
                && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => text.as_str(),
    };
    match (host.strip_prefix('*'), host.strip_suffix('*')) {
        _ if host.is_empty() => None,
        (Some(""), _) => Some(Domain::Any),
        (Some(rest), None) if !rest.contains('*') => Some(Domain::Suffix(rest.to_owned())),
        (None, Some(rest)) if !rest.contains('*') => Some(Domain::Prefix(rest.to_owned())),
        (None, None) if !host.contains('*') => Some(Domain::Exact(host.to_owned())),
        _ => None,
    }
}

fn route(from: &envoy::Route, path: &Path<'_>) -> Result<Route, Invalid> {
    let matches = from
        .r#match
        .as_ref()
        .ok_or_else(|| path.field("match").invalid("is missing"))?;
    let action = match &from.action {
        Some(envoy::route::Action::Route(forward)) => {
            Action::Forward(Box::new(action::forward(forward, &path.field("route"))?))
        }
        Some(envoy::route::Action::Redirect(redirect)) => {
            Action::Redirect(Box::new(action::redirect(redirect, &path.field("redirect"))?))
        }
        Some(envoy::route::Action::DirectResponse(answer)) => {
            Action::Respond(action::direct_response(answer, &path.field("direct_response"))?)
        }
        _ => return Err(path.invalid("give route, redirect or direct_response")),
    };
    let edits = Edits::of(
        (&from.request_headers_to_add, &from.request_headers_to_remove),
        (&from.response_headers_to_add, &from.response_headers_to_remove),
        path,
    )?;
    let settings = |key: &str| from.typed_per_filter_config.get(key);
    Ok(Route {
        name: from.name.clone(),
        matches: matches::route_match(matches, &path.field("match"))?,
        action,
        request_headers: edits.request,
        response_headers: edits.response,
        fault: settings(name::FAULT)
            .map(|any| action::fault(any, &path.key("typed_per_filter_config", name::FAULT)))
            .transpose()?,
        cors: settings(name::CORS)
            .map(|any| action::cors(any, &path.key("typed_per_filter_config", name::CORS)))
            .transpose()?,
        operation: from.decorator.as_ref().map(|d| d.operation.clone()),
        origin: from
            .metadata
            .as_ref()
            .and_then(|m| m.filter_metadata.get(METADATA_KEY))
            .map(origin),
    })
}

/// Our own facts of a route or chain.
pub(super) fn origin(facts: &pb::Struct) -> RouteOrigin {
    RouteOrigin {
        virtual_service: pb::get_text(facts, "virtual_service").to_owned(),
        route: pb::get_text(facts, "route").to_owned(),
        match_name: pb::get_text(facts, "match").to_owned(),
        revision: pb::get_text(facts, "revision").to_owned(),
    }
}

fn header_edits(
    options: &[core::HeaderValueOption],
    remove: &[String],
    field: &str,
    path: &Path<'_>,
) -> Result<HeaderEdits, Invalid> {
    use core::header_value_option::HeaderAppendAction as A;
    let mut edits = HeaderEdits {
        remove: remove.to_vec(),
        ..HeaderEdits::default()
    };
    for (i, option) in options.iter().enumerate() {
        let path = path.item(field, i);
        let header = option
            .header
            .as_ref()
            .ok_or_else(|| path.field("header").invalid("is missing"))?;
        let pair = (header.key.clone(), header.value.clone());
        if pair.0.is_empty() {
            return Err(path.field("header").field("key").invalid("is empty"));
        }
        // The deprecated bool, when present, decides.
        let action = match option.append.as_ref().map(|a| a.value) {
            Some(true) => A::AppendIfExistsOrAdd,
            Some(false) => A::OverwriteIfExistsOrAdd,
            None => option.append_action(),
        };
        match action {
            A::OverwriteIfExistsOrAdd => edits.set.push(pair),
            A::AppendIfExistsOrAdd => edits.add.push(pair),
            A::AddIfAbsent | A::OverwriteIfExists => {
                return Err(path
                    .field("append_action")
                    .invalid("APPEND_IF_EXISTS_OR_ADD and OVERWRITE_IF_EXISTS_OR_ADD are supported"));
            }
        }
    }
    Ok(edits)
}
