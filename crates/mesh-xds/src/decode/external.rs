//! Envoy's ext_authz filter, with the RBAC filter before it, as a question to an authorization service.

use std::time::Duration;

use mesh_model::authorization::{CheckBody, CheckProtocol, External, HttpCheck, PolicyRule, RuleSet};
use mesh_model::matching::StringMatch;

use super::Path;
use super::value::{string_match, time};
use crate::Invalid;
use crate::pb::{core, ext_authz, external, matcher};

/// As Envoy asks when nothing is said.
const TIMEOUT: Duration = Duration::from_millis(200);

/// Whether the rules of this set only say what a service is asked about.
pub(super) fn asks(set: &RuleSet, shadow_prefix: &str) -> bool {
    set.enforced.is_none() && shadow_prefix == external::SHADOW_PREFIX
}

/// `rules` are those of the RBAC filters before this one that ask; `None` = there is no such filter.
pub(super) fn external(
    from: &ext_authz::ExtAuthz,
    rules: Option<&[PolicyRule]>,
    path: &Path<'_>,
) -> Result<External, Invalid> {
    let (cluster, timeout, protocol) = service(from, path)?;
    let prefix = from
        .filter_enabled_metadata
        .as_ref()
        .map(|m| matched(m, &path.field("filter_enabled_metadata")))
        .transpose()?;
    if prefix.is_some() && rules.is_none() {
        return Err(path
            .field("filter_enabled_metadata")
            .invalid("no RBAC filter before it says when it matches"));
    }
    let status_on_error = match from.status_on_error.as_ref().map_or(403, |s| s.code) {
        0 => 403,
        code => u16::try_from(code)
            .ok()
            .filter(|code| (100..600).contains(code))
            .ok_or_else(|| path.field("status_on_error").invalid("is not an HTTP status"))?,
    };
    Ok(External {
        provider: provider(from, prefix.as_deref(), &cluster),
        when: prefix.map(|prefix| {
            let named = |rule: &&PolicyRule| rule.name.starts_with(&prefix);
            rules.into_iter().flatten().filter(named).cloned().collect()
        }),
        cluster,
        protocol,
        timeout,
        fail_open: from.failure_mode_allow,
        status_on_error,
        body: from.with_request_body.as_ref().map(|b| CheckBody {
            max_bytes: b.max_request_bytes,
            allow_partial: b.allow_partial_message,
            as_bytes: b.pack_as_bytes,
        }),
        clear_route_cache: from.clear_route_cache,
    })
}

fn provider(from: &ext_authz::ExtAuthz, prefix: Option<&str>, cluster: &str) -> String {
    if !from.stat_prefix.is_empty() {
        return from.stat_prefix.clone();
    }
    prefix
        .and_then(external::provider_of)
        .unwrap_or(cluster)
        .to_owned()
}

/// What the name of a matching rule begins with.
fn matched(from: &matcher::MetadataMatcher, path: &Path<'_>) -> Result<String, Invalid> {
    use matcher::metadata_matcher::path_segment::Segment;
    let key = match from.path.as_slice() {
        [one] => one.segment.as_ref().map(|Segment::Key(key)| key.as_str()),
        _ => None,
    };
    let pattern = from.value.as_ref().and_then(|v| v.match_pattern.as_ref());
    if key == Some(external::MATCHED_POLICY)
        && !from.invert
        && let Some(matcher::value_matcher::MatchPattern::StringMatch(text)) = pattern
        && let StringMatch::Prefix(prefix) = string_match(text, path)?
    {
        return Ok(prefix);
    }
    Err(path.invalid(format!(
        "must match a prefix of {} of the RBAC filter",
        external::MATCHED_POLICY
    )))
}

fn service(
    from: &ext_authz::ExtAuthz,
    path: &Path<'_>,
) -> Result<(String, Duration, CheckProtocol), Invalid> {
    match &from.services {
        Some(ext_authz::ext_authz::Services::GrpcService(grpc)) => {
            let path = path.field("grpc_service");
            let Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(target)) = &grpc.target_specifier else {
                return Err(path.field("envoy_grpc").invalid("is missing"));
            };
            let authority = target.authority.clone();
            let timeout = time(grpc.timeout.as_ref(), TIMEOUT, &path.field("timeout"))?;
            Ok((
                target.cluster_name.clone(),
                timeout,
                CheckProtocol::Grpc { authority },
            ))
        }
        Some(ext_authz::ext_authz::Services::HttpService(http)) => {
            let path = path.field("http_service");
            let uri = http.server_uri.clone().unwrap_or_default();
            let Some(core::http_uri::HttpUpstreamType::Cluster(cluster)) = uri.http_upstream_type else {
                return Err(path.field("server_uri").field("cluster").invalid("is missing"));
            };
            let at = path.field("server_uri");
            let timeout = time(uri.timeout.as_ref(), TIMEOUT, &at.field("timeout"))?;
            let check = over_http(from, http, &path)?;
            Ok((cluster, timeout, CheckProtocol::Http(Box::new(check))))
        }
        None => Err(path.invalid("give grpc_service or http_service")),
    }
}

fn over_http(
    from: &ext_authz::ExtAuthz,
    http: &ext_authz::HttpService,
    path: &Path<'_>,
) -> Result<HttpCheck, Invalid> {
    let request = http.authorization_request.clone().unwrap_or_default();
    let response = http.authorization_response.clone().unwrap_or_default();
    #[expect(deprecated, reason = "older control planes send it there")]
    let shown = from.allowed_headers.as_ref().or(request.allowed_headers.as_ref());
    let at = path.field("authorization_response");
    Ok(HttpCheck {
        path_prefix: http.path_prefix.clone(),
        shown: names(shown, &path.field("allowed_headers"))?,
        add: request
            .headers_to_add
            .iter()
            .map(|h| (h.key.to_ascii_lowercase(), h.value.clone()))
            .collect(),
        to_upstream: names(
            response.allowed_upstream_headers.as_ref(),
            &at.field("allowed_upstream_headers"),
        )?,
        to_client_on_deny: names(
            response.allowed_client_headers.as_ref(),
            &at.field("allowed_client_headers"),
        )?,
        to_client_on_allow: names(
            response.allowed_client_headers_on_success.as_ref(),
            &at.field("allowed_client_headers_on_success"),
        )?,
    })
}

fn names(from: Option<&matcher::ListStringMatcher>, path: &Path<'_>) -> Result<Vec<StringMatch>, Invalid> {
    let patterns = from.map_or(&[][..], |list| list.patterns.as_slice());
    patterns
        .iter()
        .enumerate()
        .map(|(i, pattern)| string_match(pattern, &path.item("patterns", i)))
        .collect()
}
