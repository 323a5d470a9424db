//! Conditions of routes.

use mesh_model::matching::{HeaderCheck, HeaderMatch, QueryMatch, StringMatch};
use mesh_model::route::{PathMatch, RouteMatch};

use crate::Invalid;
use crate::decode::value::{flag, pattern, string_match};
use crate::decode::{Path, authorization};
use crate::pb::route as envoy;

pub(super) fn route_match(from: &envoy::RouteMatch, path: &Path<'_>) -> Result<RouteMatch, Invalid> {
    use envoy::route_match::PathSpecifier as S;
    let condition = match &from.path_specifier {
        Some(S::Prefix(p)) => PathMatch::Prefix(p.clone()),
        Some(S::Path(p)) => PathMatch::Exact(p.clone()),
        Some(S::PathSeparatedPrefix(p)) => PathMatch::SegmentPrefix(p.clone()),
        Some(S::SafeRegex(r)) => PathMatch::Regex(pattern(r, &path.field("safe_regex"))?),
        _ => {
            return Err(path.invalid("give prefix, path, path_separated_prefix or safe_regex"));
        }
    };
    let mut headers = Vec::with_capacity(from.headers.len());
    for (i, one) in from.headers.iter().enumerate() {
        headers.push(header_match(one, &path.item("headers", i))?);
    }
    let mut query = Vec::with_capacity(from.query_parameters.len());
    for (i, one) in from.query_parameters.iter().enumerate() {
        query.push(query_match(one, &path.item("query_parameters", i))?);
    }
    let mut claims = Vec::with_capacity(from.dynamic_metadata.len());
    for (i, one) in from.dynamic_metadata.iter().enumerate() {
        claims.push(authorization::claim_match(
            one,
            &path.item("dynamic_metadata", i),
        )?);
    }
    Ok(RouteMatch {
        path: condition,
        path_ignore_case: !flag(from.case_sensitive.as_ref(), true),
        headers,
        query,
        claims,
    })
}

pub(in crate::decode) fn header_match(
    from: &envoy::HeaderMatcher,
    path: &Path<'_>,
) -> Result<HeaderMatch, Invalid> {
    use envoy::header_matcher::HeaderMatchSpecifier as S;
    let value = |v: StringMatch| HeaderCheck::Value(v);
    let check = match &from.header_match_specifier {
        None => HeaderCheck::Present(true),
        Some(S::PresentMatch(present)) => HeaderCheck::Present(*present),
        Some(S::StringMatch(m)) => value(string_match(m, &path.field("string_match"))?),
        Some(S::ExactMatch(s)) => value(StringMatch::Exact(s.clone())),
        Some(S::PrefixMatch(s)) => value(StringMatch::Prefix(s.clone())),
        Some(S::SuffixMatch(s)) => value(StringMatch::Suffix(s.clone())),
        Some(S::ContainsMatch(s)) => value(StringMatch::Contains(s.clone())),
        Some(S::SafeRegexMatch(r)) => value(StringMatch::Regex(pattern(r, &path.field("safe_regex_match"))?)),
        Some(S::RangeMatch(_)) => return Err(path.field("range_match").invalid("is not supported")),
    };
    if from.name.is_empty() {
        return Err(path.field("name").invalid("is empty"));
    }
    Ok(HeaderMatch {
        name: from.name.to_ascii_lowercase(),
        check,
        invert: from.invert_match,
        missing_is_empty: from.treat_missing_header_as_empty,
    })
}

fn query_match(from: &envoy::QueryParameterMatcher, path: &Path<'_>) -> Result<QueryMatch, Invalid> {
    use envoy::query_parameter_matcher::QueryParameterMatchSpecifier as S;
    let value = match &from.query_parameter_match_specifier {
        None | Some(S::PresentMatch(true)) => None,
        Some(S::PresentMatch(false)) => {
            return Err(path
                .field("present_match")
                .invalid("only presence can be asked for"));
        }
        Some(S::StringMatch(m)) => Some(string_match(m, &path.field("string_match"))?),
    };
    Ok(QueryMatch {
        name: from.name.clone(),
        value,
    })
}
