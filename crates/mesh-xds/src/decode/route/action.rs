//! What routes do.

use std::time::Duration;

use mesh_model::retry::{RetryOn, RetryPolicy};
use mesh_model::route::{
    Abort, CorsPolicy, DirectResponse, Fault, Forward, HashSource, Mirror, PathRewrite, Redirect,
    WeightedDestination,
};

use super::header_edits;
use crate::decode::value::{duration, flag, inline, limit, number, percent, string_match, time};
use crate::decode::{Path, unpack};
use crate::encode::RETRY_ON;
use crate::pb::route::{self as envoy, route_action, weighted_cluster};
use crate::pb::{self};
use crate::{Any, Invalid};

/// Envoy's route timeout when nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) fn forward(from: &envoy::RouteAction, path: &Path<'_>) -> Result<Forward, Invalid> {
    let max_stream = from.max_stream_duration.as_ref();
    let max_grpc = max_stream
        .and_then(|m| m.grpc_timeout_header_max.as_ref())
        .or(from.max_grpc_timeout.as_ref());
    Ok(Forward {
        destinations: destinations(from, path)?,
        timeout: limit(
            from.timeout.as_ref(),
            Some(DEFAULT_TIMEOUT),
            &path.field("timeout"),
        )?,
        retry: from
            .retry_policy
            .as_ref()
            .map(|r| retry_policy(r, &path.field("retry_policy")))
            .transpose()?,
        path_rewrite: path_rewrite(from, path)?,
        host_rewrite: host_rewrite(from, path)?,
        mirrors: mirrors(from, path)?,
        hash: hash_policies(from, path)?,
        max_grpc_timeout: max_grpc
            .map(|d| {
                duration(
                    d,
                    &path.field("max_stream_duration").field("grpc_timeout_header_max"),
                )
            })
            .transpose()?,
    })
}

fn destinations(from: &envoy::RouteAction, path: &Path<'_>) -> Result<Vec<WeightedDestination>, Invalid> {
    use route_action::ClusterSpecifier as S;
    match &from.cluster_specifier {
        Some(S::Cluster(name)) if !name.is_empty() => Ok(vec![WeightedDestination {
            cluster: name.clone(),
            weight: 1,
            ..WeightedDestination::default()
        }]),
        Some(S::WeightedClusters(weighted)) => {
            let path = path.field("weighted_clusters");
            let mut all = Vec::with_capacity(weighted.clusters.len());
            let mut total = 0_u64;
            for (i, one) in weighted.clusters.iter().enumerate() {
                let destination = destination(one, &path.item("clusters", i))?;
                total += u64::from(destination.weight);
                all.push(destination);
            }
            if all.is_empty() || (total == 0 && all.len() > 1) || total > u64::from(u32::MAX) {
                return Err(path
                    .field("clusters")
                    .invalid("weights must add up to 1 to 4294967295"));
            }
            Ok(all)
        }
        _ => Err(path.invalid("give cluster or weighted_clusters")),
    }
}

fn destination(
    from: &weighted_cluster::ClusterWeight,
    path: &Path<'_>,
) -> Result<WeightedDestination, Invalid> {
    if from.name.is_empty() {
        return Err(path.field("name").invalid("is empty"));
    }
    let edits = |options, remove, field| header_edits(options, remove, field, path);
    Ok(WeightedDestination {
        cluster: from.name.clone(),
        weight: number(from.weight.as_ref(), 0),
        request_headers: edits(
            &from.request_headers_to_add,
            &from.request_headers_to_remove,
            "request_headers_to_add",
        )?,
        response_headers: edits(
            &from.response_headers_to_add,
            &from.response_headers_to_remove,
            "response_headers_to_add",
        )?,
        host_rewrite: from.host_rewrite_specifier.as_ref().map(
            |weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)| host.clone(),
        ),
    })
}

fn path_rewrite(from: &envoy::RouteAction, path: &Path<'_>) -> Result<Option<PathRewrite>, Invalid> {
    match (&from.regex_rewrite, from.prefix_rewrite.as_str()) {
        (None, "") => Ok(None),
        (None, prefix) => Ok(Some(PathRewrite::Replace(prefix.to_owned()))),
        (Some(_), prefix) if !prefix.is_empty() => Err(path
            .field("regex_rewrite")
            .invalid("cannot be combined with prefix_rewrite")),
        (Some(rewrite), _) => {
            let path = path.field("regex_rewrite");
            let pattern = rewrite.pattern.as_ref().map_or("", |p| p.regex.as_str());
            // Compiled for its error only; rewriting needs the unanchored form.
            mesh_model::matching::Pattern::new(pattern)
                .map_err(|e| path.field("pattern").field("regex").invalid(e))?;
            Ok(Some(PathRewrite::Regex {
                pattern: pattern.to_owned(),
                substitution: rewrite.substitution.clone(),
            }))
        }
    }
}

fn host_rewrite(from: &envoy::RouteAction, path: &Path<'_>) -> Result<Option<String>, Invalid> {
    use route_action::HostRewriteSpecifier as S;
    match &from.host_rewrite_specifier {
        None => Ok(None),
        Some(S::HostRewriteLiteral(host)) => Ok(Some(host.clone())),
        Some(S::AutoHostRewrite(auto)) if !auto.value => Ok(None),
        Some(_) => Err(path.invalid("of the host rewrites only host_rewrite_literal is supported")),
    }
}

fn retry_policy(from: &envoy::RetryPolicy, path: &Path<'_>) -> Result<RetryPolicy, Invalid> {
    let mut on = RetryOn::default();
    // Envoy takes no notice of conditions that it does not know; neither do we.
    for condition in from.retry_on.split(',').map(str::trim) {
        if let Some((_, flag)) = RETRY_ON.iter().find(|(name, _)| *name == condition) {
            *flag(&mut on) = true;
        }
    }
    let mut retriable_statuses = Vec::with_capacity(from.retriable_status_codes.len());
    for (i, status) in from.retriable_status_codes.iter().enumerate() {
        retriable_statuses.push(u16::try_from(*status).map_err(|_| {
            path.item("retriable_status_codes", i)
                .invalid(format!("{status} is not a status"))
        })?);
    }
    let at = path.field("retry_back_off");
    let back_off = from.retry_back_off.as_ref();
    let base_interval = time(
        back_off.and_then(|b| b.base_interval.as_ref()),
        Duration::from_millis(25),
        &at.field("base_interval"),
    )?;
    let max_interval = time(
        back_off.and_then(|b| b.max_interval.as_ref()),
        base_interval.saturating_mul(10),
        &at.field("max_interval"),
    )?;
    if max_interval < base_interval {
        return Err(at.field("max_interval").invalid("is shorter than base_interval"));
    }
    Ok(RetryPolicy {
        attempts: number(from.num_retries.as_ref(), 1),
        on,
        retriable_statuses,
        per_try_timeout: limit(
            from.per_try_timeout.as_ref(),
            None,
            &path.field("per_try_timeout"),
        )?,
        base_interval,
        max_interval,
        avoid_previous_hosts: !from.retry_host_predicate.is_empty(),
        host_selection_attempts: u32::try_from(from.host_selection_retry_max_attempts).map_err(|_| {
            path.field("host_selection_retry_max_attempts")
                .invalid("is negative or too large")
        })?,
    })
}

fn mirrors(from: &envoy::RouteAction, path: &Path<'_>) -> Result<Vec<Mirror>, Invalid> {
    from.request_mirror_policies
        .iter()
        .enumerate()
        .map(|(i, one)| {
            let path = path.item("request_mirror_policies", i);
            if one.cluster.is_empty() {
                return Err(path.field("cluster").invalid("is empty"));
            }
            let fraction = one
                .runtime_fraction
                .as_ref()
                .and_then(|f| f.default_value.as_ref());
            Ok(Mirror {
                cluster: one.cluster.clone(),
                per_million: percent(fraction, 1_000_000, &path.field("runtime_fraction"))?.0,
                keeps_host: one.disable_shadow_host_suffix_append,
            })
        })
        .collect()
}

fn hash_policies(from: &envoy::RouteAction, path: &Path<'_>) -> Result<Vec<HashSource>, Invalid> {
    use route_action::hash_policy::PolicySpecifier as S;
    let mut all = Vec::with_capacity(from.hash_policy.len());
    for (i, one) in from.hash_policy.iter().enumerate() {
        let path = path.item("hash_policy", i);
        all.push(match &one.policy_specifier {
            Some(S::Header(header)) => HashSource::Header(header.header_name.to_ascii_lowercase()),
            Some(S::Cookie(cookie)) => HashSource::Cookie {
                name: cookie.name.clone(),
                path: cookie.path.clone(),
                ttl: cookie
                    .ttl
                    .as_ref()
                    .map(|d| duration(d, &path.field("cookie").field("ttl")))
                    .transpose()?,
                attributes: cookie
                    .attributes
                    .iter()
                    .map(|a| (a.name.clone(), a.value.clone()))
                    .collect(),
            },
            Some(S::ConnectionProperties(p)) if p.source_ip => HashSource::SourceIp,
            Some(S::QueryParameter(query)) => HashSource::Query(query.name.clone()),
            _ => {
                return Err(
                    path.invalid("give header, cookie, query_parameter or connection_properties.source_ip")
                );
            }
        });
    }
    Ok(all)
}

pub(super) fn redirect(from: &envoy::RedirectAction, path: &Path<'_>) -> Result<Redirect, Invalid> {
    use envoy::redirect_action::{
        PathRewriteSpecifier as P, RedirectResponseCode as C, SchemeRewriteSpecifier as S,
    };
    let mut to = Redirect {
        status: match from.response_code() {
            C::MovedPermanently => 301,
            C::Found => 302,
            C::SeeOther => 303,
            C::TemporaryRedirect => 307,
            C::PermanentRedirect => 308,
        },
        host: Some(from.host_redirect.clone()).filter(|h| !h.is_empty()),
        strip_query: from.strip_query,
        ..Redirect::default()
    };
    match &from.path_rewrite_specifier {
        None => {}
        Some(P::PathRedirect(p)) => to.path = Some(p.clone()),
        Some(P::PrefixRewrite(p)) => to.prefix_rewrite = Some(p.clone()),
        Some(_) => return Err(path.invalid("give path_redirect or prefix_rewrite")),
    }
    to.scheme = match &from.scheme_rewrite_specifier {
        None | Some(S::HttpsRedirect(false)) => None,
        Some(S::HttpsRedirect(true)) => Some("https".to_owned()),
        Some(S::SchemeRedirect(scheme)) => Some(scheme.clone()),
    };
    if from.port_redirect != 0 {
        let port = u16::try_from(from.port_redirect).map_err(|_| {
            path.field("port_redirect")
                .invalid(format!("{} is not a port", from.port_redirect))
        })?;
        to.port = Some(port);
    }
    Ok(to)
}

pub(super) fn direct_response(
    from: &envoy::DirectResponseAction,
    path: &Path<'_>,
) -> Result<DirectResponse, Invalid> {
    let status = u16::try_from(from.status)
        .ok()
        .filter(|s| (200..600).contains(s))
        .ok_or_else(|| path.field("status").invalid("must be 200 to 599"))?;
    let body = match &from.body {
        None => Vec::new(),
        Some(source) => inline(source, &path.field("body"))?,
    };
    Ok(DirectResponse { status, body })
}

pub(super) fn fault(any: &Any, path: &Path<'_>) -> Result<Fault, Invalid> {
    use pb::common_fault::fault_delay::FaultDelaySecifier as D;
    use pb::fault::fault_abort::ErrorType as E;
    let from: pb::fault::HttpFault = unpack(any, path)?;
    let mut to = Fault::default();
    if let Some(delay) = &from.delay {
        let path = path.field("delay");
        let Some(D::FixedDelay(length)) = &delay.fault_delay_secifier else {
            return Err(path.invalid("give fixed_delay"));
        };
        to.delay = Some((
            duration(length, &path.field("fixed_delay"))?,
            percent(delay.percentage.as_ref(), 0, &path.field("percentage"))?,
        ));
    }
    if let Some(abort) = &from.abort {
        let path = path.field("abort");
        let what = match &abort.error_type {
            Some(E::HttpStatus(status)) => Abort::Http(
                u16::try_from(*status)
                    .ok()
                    .filter(|s| (200..600).contains(s))
                    .ok_or_else(|| path.field("http_status").invalid("must be 200 to 599"))?,
            ),
            Some(E::GrpcStatus(status)) => Abort::Grpc(*status),
            _ => return Err(path.invalid("give http_status or grpc_status")),
        };
        to.abort = Some((
            what,
            percent(abort.percentage.as_ref(), 0, &path.field("percentage"))?,
        ));
    }
    Ok(to)
}

pub(super) fn cors(any: &Any, path: &Path<'_>) -> Result<CorsPolicy, Invalid> {
    let from: pb::cors::CorsPolicy = unpack(any, path)?;
    let mut allow_origins = Vec::with_capacity(from.allow_origin_string_match.len());
    for (i, one) in from.allow_origin_string_match.iter().enumerate() {
        allow_origins.push(string_match(one, &path.item("allow_origin_string_match", i))?);
    }
    Ok(CorsPolicy {
        allow_origins,
        allow_methods: from.allow_methods,
        allow_headers: from.allow_headers,
        expose_headers: from.expose_headers,
        max_age: from.max_age,
        allow_credentials: flag(from.allow_credentials.as_ref(), false),
        forward_unmatched_preflights: flag(from.forward_not_matching_preflights.as_ref(), true),
    })
}
