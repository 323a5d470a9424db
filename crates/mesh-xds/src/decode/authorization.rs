//! Envoy's RBAC and JWT filters as policies and token rules.

use std::collections::BTreeMap;
use std::time::Duration;

use mesh_model::authorization::{Check, PolicyAction, PolicyRule, RuleSet};
use mesh_model::matching::StringMatch;
use mesh_model::route::ClaimMatch;
use mesh_model::token::{TokenRule, TokenRules};

use super::Path;
use super::route::header_match;
use super::value::{inline_text, string_match};
use crate::Invalid;
use crate::pb::{CLAIMS, CLAIMS_FILTER, PAYLOAD, core, jwt, matcher, name, rbac};

pub(super) fn rule_set(
    rules: Option<&rbac::Rbac>,
    shadow: Option<&rbac::Rbac>,
    path: &Path<'_>,
) -> Result<RuleSet, Invalid> {
    let action = |from: &rbac::Rbac| match from.action() {
        rbac::rbac::Action::Allow => PolicyAction::Allow,
        rbac::rbac::Action::Deny => PolicyAction::Deny,
        rbac::rbac::Action::Log => PolicyAction::Audit,
    };
    let first = rules
        .or(shadow)
        .ok_or_else(|| path.field("rules").invalid("is missing"))?;
    if let (Some(a), Some(b)) = (rules, shadow)
        && action(a) != action(b)
    {
        return Err(path
            .field("shadow_rules")
            .invalid("must have the action of rules"));
    }
    Ok(RuleSet {
        action: action(first),
        enforced: rules.map(|r| all(r, &path.field("rules"))).transpose()?,
        shadow: shadow.map(|r| all(r, &path.field("shadow_rules"))).transpose()?,
    })
}

fn all(from: &rbac::Rbac, path: &Path<'_>) -> Result<Vec<PolicyRule>, Invalid> {
    let by_name: BTreeMap<&String, &rbac::Policy> = from.policies.iter().collect();
    by_name
        .into_iter()
        .map(|(name, policy)| {
            let path = path.key("policies", name);
            let permissions = policy.permissions.iter().enumerate();
            let principals = policy.principals.iter().enumerate();
            Ok(PolicyRule {
                name: name.clone(),
                permissions: permissions
                    .map(|(i, p)| permission(p, &path.item("permissions", i)))
                    .collect::<Result<_, _>>()?,
                principals: principals
                    .map(|(i, p)| principal(p, &path.item("principals", i)))
                    .collect::<Result<_, _>>()?,
            })
        })
        .collect()
}

fn permission(from: &rbac::Permission, path: &Path<'_>) -> Result<Check, Invalid> {
    use rbac::permission::{Rule as R, Set};
    let many = |set: &Set, name| {
        let path = path.field(name);
        set.rules
            .iter()
            .enumerate()
            .map(|(i, p)| permission(p, &path.item("rules", i)))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match &from.rule {
        Some(R::Any(true)) => Check::Any,
        Some(R::AndRules(set)) => Check::All(many(set, "and_rules")?),
        Some(R::OrRules(set)) => Check::OneOf(many(set, "or_rules")?),
        Some(R::NotRule(inner)) => Check::Not(Box::new(permission(inner, &path.field("not_rule"))?)),
        Some(R::Header(header)) => Check::Header(header_match(header, &path.field("header"))?),
        Some(R::UrlPath(inner)) => url_path(inner, &path.field("url_path"))?,
        Some(R::DestinationIp(range)) => Check::DestinationIp(cidr(range, &path.field("destination_ip"))?),
        Some(R::DestinationPort(port)) => Check::DestinationPort(
            u16::try_from(*port).map_err(|_| path.field("destination_port").invalid("is not a port"))?,
        ),
        Some(R::RequestedServerName(name)) => {
            Check::ServerName(string_match(name, &path.field("requested_server_name"))?)
        }
        Some(R::Metadata(inner)) => claim(inner, &path.field("metadata"))?,
        _ => return Err(path.invalid("has no condition that is supported")),
    })
}

fn principal(from: &rbac::Principal, path: &Path<'_>) -> Result<Check, Invalid> {
    use rbac::principal::{Identifier as I, Set};
    let many = |set: &Set, name| {
        let path = path.field(name);
        set.ids
            .iter()
            .enumerate()
            .map(|(i, p)| principal(p, &path.item("ids", i)))
            .collect::<Result<Vec<_>, _>>()
    };
    Ok(match &from.identifier {
        Some(I::Any(true)) => Check::Any,
        Some(I::AndIds(set)) => Check::All(many(set, "and_ids")?),
        Some(I::OrIds(set)) => Check::OneOf(many(set, "or_ids")?),
        Some(I::NotId(inner)) => Check::Not(Box::new(principal(inner, &path.field("not_id"))?)),
        Some(I::Header(header)) => Check::Header(header_match(header, &path.field("header"))?),
        Some(I::UrlPath(inner)) => url_path(inner, &path.field("url_path"))?,
        Some(I::Authenticated(proved)) => Check::Principal(
            proved
                .principal_name
                .as_ref()
                .map(|name| string_match(name, &path.field("authenticated").field("principal_name")))
                .transpose()?,
        ),
        Some(I::DirectRemoteIp(range)) => Check::SourceIp(cidr(range, &path.field("direct_remote_ip"))?),
        Some(I::RemoteIp(range)) => Check::RemoteIp(cidr(range, &path.field("remote_ip"))?),
        Some(I::Metadata(inner)) => claim(inner, &path.field("metadata"))?,
        _ => return Err(path.invalid("has no condition that is supported")),
    })
}

fn url_path(from: &matcher::PathMatcher, path: &Path<'_>) -> Result<Check, Invalid> {
    match &from.rule {
        Some(matcher::path_matcher::Rule::Path(inner)) => {
            Ok(Check::Path(string_match(inner, &path.field("path"))?))
        }
        None => Err(path.field("path").invalid("is missing")),
    }
}

fn cidr(from: &core::CidrRange, path: &Path<'_>) -> Result<ipnet::IpNet, Invalid> {
    let length = from.prefix_len.as_ref().map_or(0, |l| l.value);
    let text = format!("{}/{length}", from.address_prefix);
    text.parse()
        .map_err(|_| path.invalid(format!("{text:?} is not an address range")))
}

fn claim(from: &matcher::MetadataMatcher, path: &Path<'_>) -> Result<Check, Invalid> {
    let claim = claim_match(from, path)?;
    let check = Check::Claim {
        path: claim.path,
        value: claim.value,
    };
    Ok(if claim.invert {
        Check::Not(Box::new(check))
    } else {
        check
    })
}

pub(super) fn claim_match(from: &matcher::MetadataMatcher, path: &Path<'_>) -> Result<ClaimMatch, Invalid> {
    use matcher::value_matcher::MatchPattern as P;
    let mut keys: Vec<String> = from
        .path
        .iter()
        .filter_map(|segment| {
            let key = segment.segment.as_ref();
            key.map(|matcher::metadata_matcher::path_segment::Segment::Key(key)| key.clone())
        })
        .collect();
    match (from.filter.as_str(), keys.first_mut()) {
        (CLAIMS_FILTER, _) => {}
        (name::JWT, Some(first)) if first == PAYLOAD => CLAIMS.clone_into(first),
        _ => {
            return Err(path.field("filter").invalid(format!(
                "must be {CLAIMS_FILTER:?}, or {:?} with {PAYLOAD:?}: nothing else is known",
                name::JWT
            )));
        }
    }
    let at = path.field("value");
    let text = |value: &matcher::ValueMatcher| -> Result<StringMatch, Invalid> {
        match &value.match_pattern {
            Some(P::StringMatch(inner)) => string_match(inner, &at.field("string_match")),
            _ => Err(at.invalid("only texts are compared")),
        }
    };
    let value = match from.value.as_ref().and_then(|v| v.match_pattern.as_ref()) {
        Some(P::PresentMatch(true)) => None,
        Some(P::StringMatch(inner)) => Some(string_match(inner, &at.field("string_match"))?),
        Some(P::ListMatch(list)) => match &list.match_pattern {
            Some(matcher::list_matcher::MatchPattern::OneOf(one)) => Some(text(one)?),
            None => return Err(at.field("list_match").invalid("is empty")),
        },
        Some(P::OrMatch(either)) => match either.value_matchers.first() {
            Some(first) => Some(text(first)?),
            None => return Err(at.field("or_match").invalid("is empty")),
        },
        _ => return Err(at.invalid("only texts are compared")),
    };
    Ok(ClaimMatch {
        path: keys,
        value,
        invert: from.invert,
    })
}

pub(super) fn tokens(from: &jwt::JwtAuthentication, path: &Path<'_>) -> Result<TokenRules, Invalid> {
    let by_name: BTreeMap<&String, &jwt::JwtProvider> = from.providers.iter().collect();
    let rules = by_name
        .into_iter()
        .map(|(name, provider)| token_rule(name, provider, &path.key("providers", name)))
        .collect::<Result<_, _>>()?;
    Ok(TokenRules { rules })
}

fn token_rule(name: &str, from: &jwt::JwtProvider, path: &Path<'_>) -> Result<TokenRule, Invalid> {
    let jwks = match &from.jwks_source_specifier {
        Some(jwt::jwt_provider::JwksSourceSpecifier::LocalJwks(data)) => {
            inline_text(data, &path.field("local_jwks"))?
        }
        _ => {
            return Err(path
                .field("local_jwks")
                .invalid("is missing; the control plane fetches remote keys"));
        }
    };
    let text = |text: &String| Some(text.clone()).filter(|t| !t.is_empty());
    Ok(TokenRule {
        name: name.to_owned(),
        issuer: from.issuer.clone(),
        audiences: from.audiences.clone(),
        jwks,
        headers: from
            .from_headers
            .iter()
            .map(|h| (h.name.to_ascii_lowercase(), h.value_prefix.clone()))
            .collect(),
        parameters: from.from_params.clone(),
        cookies: from.from_cookies.clone(),
        forward: from.forward,
        payload_header: text(&from.forward_payload_header),
        claim_headers: from
            .claim_to_headers
            .iter()
            .map(|c| (c.header_name.clone(), c.claim_name.clone()))
            .collect(),
        space_delimited: from
            .normalize_payload_in_metadata
            .as_ref()
            .map(|n| n.space_delimited_claims.clone())
            .unwrap_or_default(),
        clock_skew: Duration::from_secs(u64::from(from.clock_skew_seconds)),
    })
}
