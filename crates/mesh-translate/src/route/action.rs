//! What a rule does: forward, redirect, answer; faults, mirrors, CORS.

use std::time::Duration;

use base64::Engine;
use mesh_crd::host;
use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::networking::virtual_service::{
    CorsPolicy as CorsSpec, DerivePort, Destination, DirectResponse as DirectSpec, HttpRoute, Percent,
    Redirect as RedirectSpec, Rewrite, UnmatchedPreflights,
};
use mesh_model::matching::StringMatch;
use mesh_model::route::{
    Abort, Action, CorsPolicy, DirectResponse, Fault, Forward, Mirror, PathRewrite, PerMillion, Redirect,
    RouteMatch, WeightedDestination,
};

use super::{RouteContext, hash_sources, headers, matches, retry};
use crate::bound::BoundRule;
use crate::cluster;
use crate::problem::Findings;

const MILLION: u32 = 1_000_000;

/// `None` when the rule does nothing that we can do; told in the findings.
pub(super) fn translate(
    context: &RouteContext<'_>,
    rule: &BoundRule,
    _matches: &RouteMatch,
    findings: &mut Findings,
) -> Option<Action> {
    let spec = &rule.route;
    if let Some(redirect) = &spec.redirect {
        return Some(Action::Redirect(Box::new(redirect_action(context, redirect))));
    }
    if let Some(direct) = &spec.direct_response {
        return Some(Action::Respond(respond(direct)));
    }
    if spec.route.is_empty() {
        findings.no_effect(
            &rule.key,
            rule.field.clone(),
            "the rule has no route, redirect or directResponse".into(),
            "give it one",
        );
        return None;
    }
    Some(Action::Forward(Box::new(forward(context, rule))))
}

fn forward(context: &RouteContext<'_>, rule: &BoundRule) -> Forward {
    let spec = &rule.route;
    let single = spec.route.len() == 1;
    let mut hash = Vec::new();
    let mut destinations = Vec::new();
    for candidate in &spec.route {
        let weight = match u32::try_from(candidate.weight) {
            _ if single => 1,
            Ok(weight) if weight > 0 => weight,
            _ => continue,
        };
        let target = resolve(context, &candidate.destination, &rule.namespace);
        for source in hash_sources(context, &target.host, &candidate.destination.subset, target.port) {
            if !hash.contains(&source) {
                hash.push(source);
            }
        }
        let (request, response) = headers::of(candidate.headers.as_ref());
        destinations.push(WeightedDestination {
            cluster: target.cluster,
            weight,
            request_headers: request.edits,
            response_headers: response,
            host_rewrite: request.host,
        });
    }
    let rewrite = spec.rewrite.as_ref();
    Forward {
        destinations,
        timeout: spec.timeout,
        retry: retry::translate(spec.retries.as_ref(), !hash.is_empty()),
        path_rewrite: rewrite.and_then(path_rewrite),
        host_rewrite: rewrite.map(|r| r.authority.clone()).filter(|a| !a.is_empty()),
        mirrors: mirrors(context, rule),
        hash,
        max_grpc_timeout: Some(spec.timeout.unwrap_or(Duration::ZERO)),
    }
}

/// A resolved destination.
pub(crate) struct Target {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
}

/// The cluster of a destination. Without a port: the listener's, but at a gateway a service's only port.
pub(crate) fn resolve(context: &RouteContext<'_>, destination: &Destination, namespace: &str) -> Target {
    let host = host::expand(&destination.host, namespace, MeshConfig::DOMAIN).to_ascii_lowercase();
    let named = destination
        .port
        .and_then(|p| u16::try_from(p.number).ok())
        .filter(|p| *p > 0);
    let only = || {
        let service = context
            .index
            .registry
            .by_host(&host)
            .filter(|_| context.at_gateway)?;
        match service.ports.as_slice() {
            [port] => Some(port.number),
            _ => None,
        }
    };
    let port = named.or_else(only).unwrap_or(context.port);
    Target {
        cluster: cluster::name(port, &destination.subset, &host),
        host,
        port,
    }
}

fn path_rewrite(rewrite: &Rewrite) -> Option<PathRewrite> {
    if let Some(regex) = &rewrite.uri_regex_rewrite {
        return Some(PathRewrite::Regex {
            pattern: regex.pattern.clone(),
            substitution: regex.rewrite.clone(),
        });
    }
    (!rewrite.uri.is_empty()).then(|| PathRewrite::Replace(rewrite.uri.clone()))
}

fn mirrors(context: &RouteContext<'_>, rule: &BoundRule) -> Vec<Mirror> {
    let spec = &rule.route;
    let single = spec.mirror.as_ref().map(|destination| {
        let share = match (spec.mirror_percentage, spec.mirror_percent) {
            (Some(percentage), _) => per_million(Some(percentage)),
            (None, Some(percent)) => percent.saturating_mul(MILLION / 100).min(MILLION),
            (None, None) => MILLION,
        };
        (destination, share)
    });
    let several = spec.mirrors.iter().map(|m| {
        let share = m.percentage.map_or(MILLION, |p| per_million(Some(p)));
        (&m.destination, share)
    });
    single
        .into_iter()
        .chain(several)
        .filter(|(_, share)| *share > 0)
        .map(|(destination, per_million)| Mirror {
            cluster: resolve(context, destination, &rule.namespace).cluster,
            per_million,
            keeps_host: true,
        })
        .collect()
}

fn redirect_action(context: &RouteContext<'_>, spec: &RedirectSpec) -> Redirect {
    let text = |t: &String| Some(t.clone()).filter(|t| !t.is_empty());
    Redirect {
        status: u16::try_from(spec.redirect_code)
            .ok()
            .filter(|code| matches!(code, 301 | 302 | 303 | 307 | 308))
            .unwrap_or(301),
        path: text(&spec.uri),
        prefix_rewrite: text(&spec.prefix_rewrite),
        host: text(&spec.authority),
        port: match spec.derive_port {
            // The default ports go without saying, and one that the client named is kept.
            Some(DerivePort::FromRequestPort) => Some(context.port).filter(|port| !matches!(port, 80 | 443)),
            Some(DerivePort::FromProtocolDefault) => None,
            None => spec.port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0),
        },
        scheme: text(&spec.scheme),
        strip_query: false,
    }
}

fn respond(spec: &DirectSpec) -> DirectResponse {
    let body = spec.body.as_ref();
    let text = body.and_then(|b| b.string.clone()).map(String::into_bytes);
    let bytes = body
        .and_then(|b| b.bytes.as_ref())
        .and_then(|b| base64::engine::general_purpose::STANDARD.decode(b).ok());
    DirectResponse {
        status: u16::try_from(spec.status).unwrap_or(500),
        body: text.or(bytes).unwrap_or_default(),
    }
}

/// `http[].fault`; without a percentage it never strikes.
pub(super) fn fault(route: &HttpRoute) -> Option<Fault> {
    let spec = route.fault.as_ref()?;
    let delay = spec.delay.as_ref().and_then(|d| {
        let share = match d.percentage {
            None if d.percent > 0 => u32::try_from(d.percent)
                .unwrap_or(0)
                .saturating_mul(MILLION / 100)
                .min(MILLION),
            percentage => per_million(percentage),
        };
        Some((d.fixed_delay?, PerMillion(share)))
    });
    let abort = spec.abort.as_ref().and_then(|a| {
        let kind = match (a.http_status, &a.grpc_status) {
            (Some(status), _) => Abort::Http(u16::try_from(status).ok()?),
            (None, Some(status)) => Abort::Grpc(mesh_crd::grpc_status(status)?),
            (None, None) => return None,
        };
        Some((kind, PerMillion(per_million(a.percentage))))
    });
    (delay.is_some() || abort.is_some()).then_some(Fault { delay, abort })
}

fn per_million(percentage: Option<Percent>) -> u32 {
    let value = percentage.map_or(0.0, |p| p.value).clamp(0.0, 100.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a million"
    )]
    let share = (value * 10_000.0).round() as u32;
    share
}

/// `http[].corsPolicy`.
pub(super) fn cors(spec: &CorsSpec) -> CorsPolicy {
    let allow_origins = if spec.allow_origins.is_empty() {
        spec.allow_origin
            .iter()
            .map(|o| StringMatch::Exact(o.clone()))
            .collect()
    } else {
        spec.allow_origins.iter().filter_map(matches::origin).collect()
    };
    CorsPolicy {
        allow_origins,
        allow_methods: spec.allow_methods.join(","),
        allow_headers: spec.allow_headers.join(","),
        expose_headers: spec.expose_headers.join(","),
        max_age: spec.max_age.map(|d| d.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: spec.allow_credentials == Some(true),
        forward_unmatched_preflights: spec.unmatched_preflights != UnmatchedPreflights::Ignore,
    }
}
