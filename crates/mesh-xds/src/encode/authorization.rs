//! Policies and token rules as Envoy's RBAC and JWT filters.

use mesh_model::authorization::{Check, Policies, PolicyAction, PolicyRule, RuleSet};
use mesh_model::matching::StringMatch;
use mesh_model::token::{TokenRule, TokenRules};

use super::route::{header_match, string_match};
use crate::pb::{self, CLAIMS, CLAIMS_FILTER, PAYLOAD, core, jwt, matcher, name, rbac};

/// HTTP filters, in the order in which the sets are asked.
pub(super) fn http_filters(policies: &Policies) -> impl Iterator<Item = pb::http_rbac::Rbac> + '_ {
    policies.0.iter().map(|set| pb::http_rbac::Rbac {
        rules: rules(set, set.enforced.as_deref()),
        shadow_rules: rules(set, set.shadow.as_deref()),
        shadow_rules_stat_prefix: shadow_prefix(set),
        ..pb::http_rbac::Rbac::default()
    })
}

/// Network filters, likewise.
pub(super) fn network_filters(policies: &Policies) -> impl Iterator<Item = pb::tcp_rbac::Rbac> + '_ {
    policies.0.iter().map(|set| pb::tcp_rbac::Rbac {
        rules: rules(set, set.enforced.as_deref()),
        shadow_rules: rules(set, set.shadow.as_deref()),
        shadow_rules_stat_prefix: shadow_prefix(set),
        stat_prefix: "tcp.".to_owned(),
        ..pb::tcp_rbac::Rbac::default()
    })
}

/// The HTTP filter whose rules say what an authorization service is asked about.
pub(super) fn asking(set: &RuleSet) -> pb::http_rbac::Rbac {
    pb::http_rbac::Rbac {
        shadow_rules: rules(set, set.shadow.as_deref()),
        shadow_rules_stat_prefix: pb::external::SHADOW_PREFIX.to_owned(),
        ..pb::http_rbac::Rbac::default()
    }
}

fn shadow_prefix(set: &RuleSet) -> String {
    match (&set.shadow, set.action) {
        (None, _) => String::new(),
        (Some(_), PolicyAction::Deny) => "istio_dry_run_deny_".to_owned(),
        (Some(_), _) => "istio_dry_run_allow_".to_owned(),
    }
}

fn rules(set: &RuleSet, rules: Option<&[PolicyRule]>) -> Option<rbac::Rbac> {
    rules.map(|rules| rbac::Rbac {
        action: match set.action {
            PolicyAction::Allow => rbac::rbac::Action::Allow,
            PolicyAction::Deny => rbac::rbac::Action::Deny,
            PolicyAction::Audit => rbac::rbac::Action::Log,
        }
        .into(),
        policies: rules
            .iter()
            .map(|rule| {
                let policy = rbac::Policy {
                    permissions: rule.permissions.iter().map(permission).collect(),
                    principals: rule.principals.iter().map(principal).collect(),
                    ..rbac::Policy::default()
                };
                (rule.name.clone(), policy)
            })
            .collect(),
        ..rbac::Rbac::default()
    })
}

#[expect(
    deprecated,
    reason = "Istio's field for metadata is the one that every Envoy reads"
)]
fn permission(check: &Check) -> rbac::Permission {
    use rbac::permission::{Rule as R, Set};
    let set = |checks: &[Check]| Set {
        rules: checks.iter().map(permission).collect(),
    };
    let rule = match check {
        Check::Any => R::Any(true),
        Check::All(checks) => R::AndRules(set(checks)),
        Check::OneOf(checks) => R::OrRules(set(checks)),
        Check::Not(check) => R::NotRule(Box::new(permission(check))),
        Check::Header(header) => R::Header(header_match(header)),
        Check::Path(path) => R::UrlPath(url_path(path)),
        Check::DestinationIp(range) => R::DestinationIp(cidr(range)),
        Check::DestinationPort(port) => R::DestinationPort(u32::from(*port)),
        Check::ServerName(name) => R::RequestedServerName(string_match(name)),
        Check::Claim { path, value } => R::Metadata(claim(path, value.as_ref())),
        // Questions about who asks stand among the principals.
        Check::Principal(_) | Check::SourceIp(_) | Check::RemoteIp(_) => {
            R::NotRule(Box::new(rbac::Permission {
                rule: Some(R::Any(true)),
            }))
        }
    };
    rbac::Permission { rule: Some(rule) }
}

#[expect(
    deprecated,
    reason = "Istio's field for metadata is the one that every Envoy reads"
)]
fn principal(check: &Check) -> rbac::Principal {
    use rbac::principal::{Authenticated, Identifier as I, Set};
    let set = |checks: &[Check]| Set {
        ids: checks.iter().map(principal).collect(),
    };
    let identifier = match check {
        Check::Any => I::Any(true),
        Check::All(checks) => I::AndIds(set(checks)),
        Check::OneOf(checks) => I::OrIds(set(checks)),
        Check::Not(check) => I::NotId(Box::new(principal(check))),
        Check::Header(header) => I::Header(header_match(header)),
        Check::Path(path) => I::UrlPath(url_path(path)),
        Check::Principal(name) => I::Authenticated(Authenticated {
            principal_name: name.as_ref().map(string_match),
        }),
        Check::SourceIp(range) => I::DirectRemoteIp(cidr(range)),
        Check::RemoteIp(range) => I::RemoteIp(cidr(range)),
        Check::Claim { path, value } => I::Metadata(claim(path, value.as_ref())),
        // Questions about what is asked stand among the permissions.
        Check::DestinationIp(_) | Check::DestinationPort(_) | Check::ServerName(_) => {
            I::NotId(Box::new(rbac::Principal {
                identifier: Some(I::Any(true)),
            }))
        }
    };
    rbac::Principal {
        identifier: Some(identifier),
    }
}

fn url_path(path: &StringMatch) -> matcher::PathMatcher {
    matcher::PathMatcher {
        rule: Some(matcher::path_matcher::Rule::Path(string_match(path))),
    }
}

fn cidr(range: &ipnet::IpNet) -> core::CidrRange {
    core::CidrRange {
        address_prefix: range.addr().to_string(),
        prefix_len: Some(pb::number(u32::from(range.prefix_len()))),
    }
}

/// A text, or one of a list of texts: Envoy asks both.
pub(super) fn claim(path: &[String], value: Option<&StringMatch>) -> matcher::MetadataMatcher {
    use matcher::value_matcher::MatchPattern as P;
    let one = |pattern| matcher::ValueMatcher {
        match_pattern: Some(pattern),
    };
    let pattern = match value {
        None => P::PresentMatch(true),
        Some(value) => {
            let text = one(P::StringMatch(string_match(value)));
            let list = one(P::ListMatch(Box::new(matcher::ListMatcher {
                match_pattern: Some(matcher::list_matcher::MatchPattern::OneOf(Box::new(text.clone()))),
            })));
            P::OrMatch(matcher::OrMatcher {
                value_matchers: vec![text, list],
            })
        }
    };
    // Claims are where Envoy's filter for tokens puts them.
    let (filter, first, rest) = match path.split_first() {
        Some((first, rest)) if first == CLAIMS => (name::JWT, Some(PAYLOAD), rest),
        _ => (CLAIMS_FILTER, None, path),
    };
    matcher::MetadataMatcher {
        filter: filter.to_owned(),
        path: first
            .into_iter()
            .chain(rest.iter().map(String::as_str))
            .map(|key| matcher::metadata_matcher::PathSegment {
                segment: Some(matcher::metadata_matcher::path_segment::Segment::Key(
                    key.to_owned(),
                )),
            })
            .collect(),
        value: Some(one(pattern)),
        invert: false,
    }
}

/// The JWT filter of these rules: a token may be missing, and must be good when it is there.
pub(super) fn tokens(from: &TokenRules) -> jwt::JwtAuthentication {
    use jwt::jwt_requirement::RequiresType as R;
    let requirement = |kind| jwt::JwtRequirement {
        requires_type: Some(kind),
    };
    let mut any: Vec<_> = from
        .rules
        .iter()
        .map(|rule| requirement(R::ProviderName(rule.name.clone())))
        .collect();
    any.push(requirement(R::AllowMissing(pb::Empty {})));
    jwt::JwtAuthentication {
        providers: from
            .rules
            .iter()
            .map(|rule| (rule.name.clone(), provider(rule)))
            .collect(),
        rules: vec![jwt::RequirementRule {
            r#match: Some(pb::route::RouteMatch {
                path_specifier: Some(pb::route::route_match::PathSpecifier::Prefix("/".to_owned())),
                ..pb::route::RouteMatch::default()
            }),
            requirement_type: Some(jwt::requirement_rule::RequirementType::Requires(requirement(
                R::RequiresAny(jwt::JwtRequirementOrList { requirements: any }),
            ))),
        }],
        bypass_cors_preflight: true,
        ..jwt::JwtAuthentication::default()
    }
}

fn provider(rule: &TokenRule) -> jwt::JwtProvider {
    jwt::JwtProvider {
        issuer: rule.issuer.clone(),
        audiences: rule.audiences.clone(),
        forward: rule.forward,
        from_headers: rule
            .headers
            .iter()
            .map(|(name, prefix)| jwt::JwtHeader {
                name: name.clone(),
                value_prefix: prefix.clone(),
            })
            .collect(),
        from_params: rule.parameters.clone(),
        from_cookies: rule.cookies.clone(),
        forward_payload_header: rule.payload_header.clone().unwrap_or_default(),
        payload_in_metadata: PAYLOAD.to_owned(),
        normalize_payload_in_metadata: Some(jwt::jwt_provider::NormalizePayload {
            space_delimited_claims: rule.space_delimited.clone(),
        }),
        clock_skew_seconds: u32::try_from(rule.clock_skew.as_secs()).unwrap_or(u32::MAX),
        claim_to_headers: rule
            .claim_headers
            .iter()
            .map(|(header, claim)| jwt::JwtClaimToHeader {
                header_name: header.clone(),
                claim_name: claim.clone(),
                ..jwt::JwtClaimToHeader::default()
            })
            .collect(),
        jwks_source_specifier: Some(jwt::jwt_provider::JwksSourceSpecifier::LocalJwks(
            core::DataSource {
                specifier: Some(core::data_source::Specifier::InlineString(rule.jwks.clone())),
                ..core::DataSource::default()
            },
        )),
        ..jwt::JwtProvider::default()
    }
}
