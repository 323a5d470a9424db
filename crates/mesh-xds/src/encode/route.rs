//! Route tables.

use std::time::Duration;

use mesh_model::matching::{HeaderCheck, HeaderMatch, QueryMatch, StringMatch};
use mesh_model::retry::{RetryOn, RetryPolicy};
use mesh_model::route::{
    Abort, Action, CorsPolicy, DirectResponse, Domain, Fault, Forward, HashSource, HeaderEdits, Mirror,
    PathMatch, PathRewrite, PerMillion, Redirect, Route, RouteMatch, RouteOrigin, RouteTable, VirtualHost,
    WeightedDestination,
};

use crate::METADATA_KEY;
use crate::pb::route::{self as envoy, route_action, weighted_cluster};
use crate::pb::{self, core, kind, matcher, name, number};

pub(super) fn route_table(from: &RouteTable) -> envoy::RouteConfiguration {
    envoy::RouteConfiguration {
        name: from.name.clone(),
        virtual_hosts: from.virtual_hosts.iter().map(|h| virtual_host(h)).collect(),
        validate_clusters: Some(pb::yes(false)),
        ignore_port_in_host_matching: true,
        ..envoy::RouteConfiguration::default()
    }
}

fn virtual_host(from: &VirtualHost) -> envoy::VirtualHost {
    envoy::VirtualHost {
        name: from.name.clone(),
        domains: from
            .domains
            .iter()
            .map(|d| match d {
                Domain::Any => "*".to_owned(),
                Domain::Exact(host) => host.clone(),
                Domain::Suffix(rest) => format!("*{rest}"),
                Domain::Prefix(rest) => format!("{rest}*"),
            })
            .collect(),
        routes: from.routes.iter().map(|r| route(r)).collect(),
        require_tls: if from.require_tls {
            envoy::virtual_host::TlsRequirementType::All.into()
        } else {
            envoy::virtual_host::TlsRequirementType::None.into()
        },
        include_request_attempt_count: from.include_attempt_count,
        ..envoy::VirtualHost::default()
    }
}

fn route(from: &Route) -> envoy::Route {
    let mut to = envoy::Route {
        name: from.name.clone(),
        r#match: Some(route_match(&from.matches)),
        metadata: from
            .origin
            .as_ref()
            .and_then(|o| pb::metadata([(METADATA_KEY, origin(o))])),
        decorator: from.operation.as_ref().map(|operation| envoy::Decorator {
            operation: operation.clone(),
            ..envoy::Decorator::default()
        }),
        request_headers_to_add: header_options(&from.request_headers),
        request_headers_to_remove: from.request_headers.remove.clone(),
        response_headers_to_add: header_options(&from.response_headers),
        response_headers_to_remove: from.response_headers.remove.clone(),
        action: Some(match &from.action {
            Action::Forward(forward) => envoy::route::Action::Route(route_action(forward)),
            Action::Redirect(redirect) => envoy::route::Action::Redirect(redirect_action(redirect)),
            Action::Respond(answer) => envoy::route::Action::DirectResponse(direct_response(answer)),
        }),
        ..envoy::Route::default()
    };
    if let Some(fault) = &from.fault {
        to.typed_per_filter_config
            .insert(name::FAULT.to_owned(), pb::pack(&http_fault(fault)));
    }
    if let Some(cors) = &from.cors {
        to.typed_per_filter_config
            .insert(name::CORS.to_owned(), pb::pack(&cors_policy(cors)));
    }
    to
}

pub(super) fn origin(from: &RouteOrigin) -> pb::Struct {
    pb::structure([
        ("virtual_service".to_owned(), pb::text(&from.virtual_service)),
        ("route".to_owned(), pb::text(&from.route)),
        ("match".to_owned(), pb::text(&from.match_name)),
        ("revision".to_owned(), pb::text(&from.revision)),
    ])
}

fn route_match(from: &RouteMatch) -> envoy::RouteMatch {
    use envoy::route_match::PathSpecifier;
    envoy::RouteMatch {
        path_specifier: Some(match &from.path {
            PathMatch::Prefix(p) => PathSpecifier::Prefix(p.clone()),
            PathMatch::Exact(p) => PathSpecifier::Path(p.clone()),
            PathMatch::SegmentPrefix(p) => PathSpecifier::PathSeparatedPrefix(p.clone()),
            PathMatch::Regex(p) => PathSpecifier::SafeRegex(regex(p.source())),
        }),
        case_sensitive: from.path_ignore_case.then(|| pb::yes(false)),
        headers: from.headers.iter().map(header_match).collect(),
        query_parameters: from.query.iter().map(query_match).collect(),
        dynamic_metadata: from
            .claims
            .iter()
            .map(|claim| matcher::MetadataMatcher {
                invert: claim.invert,
                ..super::authorization::claim(&claim.path, claim.value.as_ref())
            })
            .collect(),
        ..envoy::RouteMatch::default()
    }
}

fn regex(source: &str) -> matcher::RegexMatcher {
    matcher::RegexMatcher {
        regex: source.to_owned(),
        ..matcher::RegexMatcher::default()
    }
}

pub(super) fn string_match(from: &StringMatch) -> matcher::StringMatcher {
    use matcher::string_matcher::MatchPattern as P;
    let (pattern, ignore_case) = match from {
        StringMatch::Exact(s) => (P::Exact(s.clone()), false),
        StringMatch::Prefix(s) => (P::Prefix(s.clone()), false),
        StringMatch::Suffix(s) => (P::Suffix(s.clone()), false),
        StringMatch::Contains(s) => (P::Contains(s.clone()), false),
        StringMatch::Regex(p) => (P::SafeRegex(regex(p.source())), false),
        StringMatch::ExactIgnoreCase(s) => (P::Exact(s.clone()), true),
        StringMatch::PrefixIgnoreCase(s) => (P::Prefix(s.clone()), true),
        StringMatch::SuffixIgnoreCase(s) => (P::Suffix(s.clone()), true),
    };
    matcher::StringMatcher {
        match_pattern: Some(pattern),
        ignore_case,
    }
}

pub(super) fn header_match(from: &HeaderMatch) -> envoy::HeaderMatcher {
    use envoy::header_matcher::HeaderMatchSpecifier as S;
    envoy::HeaderMatcher {
        name: from.name.clone(),
        header_match_specifier: Some(match &from.check {
            HeaderCheck::Present(present) => S::PresentMatch(*present),
            HeaderCheck::Value(value) => S::StringMatch(string_match(value)),
        }),
        invert_match: from.invert,
        treat_missing_header_as_empty: from.missing_is_empty,
    }
}

fn query_match(from: &QueryMatch) -> envoy::QueryParameterMatcher {
    use envoy::query_parameter_matcher::QueryParameterMatchSpecifier as S;
    envoy::QueryParameterMatcher {
        name: from.name.clone(),
        query_parameter_match_specifier: Some(match &from.value {
            None => S::PresentMatch(true),
            Some(value) => S::StringMatch(string_match(value)),
        }),
    }
}

fn header_options(from: &HeaderEdits) -> Vec<core::HeaderValueOption> {
    use core::header_value_option::HeaderAppendAction as A;
    let option = |(key, value): &(String, String), action: A| core::HeaderValueOption {
        header: Some(core::HeaderValue {
            key: key.clone(),
            value: value.clone(),
            ..core::HeaderValue::default()
        }),
        append_action: action.into(),
        ..core::HeaderValueOption::default()
    };
    let set = from.set.iter().map(|h| option(h, A::OverwriteIfExistsOrAdd));
    let add = from.add.iter().map(|h| option(h, A::AppendIfExistsOrAdd));
    set.chain(add).collect()
}

fn route_action(from: &Forward) -> envoy::RouteAction {
    let mut to = envoy::RouteAction {
        cluster_specifier: Some(destinations(&from.destinations)),
        // Absent would mean Envoy's 15 s.
        timeout: Some(pb::duration_or_zero(from.timeout)),
        retry_policy: from.retry.as_ref().map(retry_policy),
        host_rewrite_specifier: from
            .host_rewrite
            .clone()
            .map(route_action::HostRewriteSpecifier::HostRewriteLiteral),
        request_mirror_policies: from.mirrors.iter().map(mirror).collect(),
        hash_policy: from.hash.iter().map(hash_policy).collect(),
        max_stream_duration: from
            .max_grpc_timeout
            .map(|limit| route_action::MaxStreamDuration {
                grpc_timeout_header_max: Some(pb::duration(limit)),
                ..route_action::MaxStreamDuration::default()
            }),
        ..envoy::RouteAction::default()
    };
    match &from.path_rewrite {
        None => {}
        Some(PathRewrite::Replace(path)) => to.prefix_rewrite.clone_from(path),
        Some(PathRewrite::Regex {
            pattern,
            substitution,
        }) => {
            to.regex_rewrite = Some(matcher::RegexMatchAndSubstitute {
                pattern: Some(regex(pattern)),
                substitution: substitution.clone(),
            });
        }
    }
    to
}

fn destinations(from: &[WeightedDestination]) -> route_action::ClusterSpecifier {
    if let [one] = from {
        let plain =
            one.request_headers.is_empty() && one.response_headers.is_empty() && one.host_rewrite.is_none();
        // Envoy refuses a total weight of zero; with one candidate there is no draw.
        if plain && one.weight <= 1 {
            return route_action::ClusterSpecifier::Cluster(one.cluster.clone());
        }
    }
    route_action::ClusterSpecifier::WeightedClusters(envoy::WeightedCluster {
        clusters: from.iter().map(cluster_weight).collect(),
        ..envoy::WeightedCluster::default()
    })
}

fn cluster_weight(from: &WeightedDestination) -> weighted_cluster::ClusterWeight {
    weighted_cluster::ClusterWeight {
        name: from.cluster.clone(),
        weight: Some(number(from.weight)),
        request_headers_to_add: header_options(&from.request_headers),
        request_headers_to_remove: from.request_headers.remove.clone(),
        response_headers_to_add: header_options(&from.response_headers),
        response_headers_to_remove: from.response_headers.remove.clone(),
        host_rewrite_specifier: from
            .host_rewrite
            .clone()
            .map(weighted_cluster::cluster_weight::HostRewriteSpecifier::HostRewriteLiteral),
        ..weighted_cluster::ClusterWeight::default()
    }
}

type RetryFlag = fn(&mut RetryOn) -> &mut bool;

/// Envoy's names of the retry conditions, with the flag that each sets.
pub(crate) const RETRY_ON: &[(&str, RetryFlag)] = &[
    ("connect-failure", |r| &mut r.connect_failure),
    ("refused-stream", |r| &mut r.refused_stream),
    ("reset", |r| &mut r.reset),
    ("reset-before-request", |r| &mut r.reset_before_request),
    ("5xx", |r| &mut r.five_xx),
    ("gateway-error", |r| &mut r.gateway_error),
    ("retriable-4xx", |r| &mut r.retriable_4xx),
    ("retriable-status-codes", |r| &mut r.retriable_status_codes),
    ("cancelled", |r| &mut r.grpc_cancelled),
    ("deadline-exceeded", |r| &mut r.grpc_deadline_exceeded),
    ("internal", |r| &mut r.grpc_internal),
    ("resource-exhausted", |r| &mut r.grpc_resource_exhausted),
    ("unavailable", |r| &mut r.grpc_unavailable),
];

fn retry_policy(from: &RetryPolicy) -> envoy::RetryPolicy {
    let mut on = from.on;
    let conditions: Vec<&str> = RETRY_ON
        .iter()
        .filter(|(_, flag)| *flag(&mut on))
        .map(|(name, _)| *name)
        .collect();
    envoy::RetryPolicy {
        retry_on: conditions.join(","),
        num_retries: Some(number(from.attempts)),
        retriable_status_codes: from.retriable_statuses.iter().map(|s| u32::from(*s)).collect(),
        per_try_timeout: from.per_try_timeout.map(pb::duration),
        retry_back_off: Some(envoy::retry_policy::RetryBackOff {
            base_interval: Some(pb::duration(from.base_interval)),
            max_interval: Some(pb::duration(from.max_interval)),
        }),
        retry_host_predicate: from
            .avoid_previous_hosts
            .then(|| envoy::retry_policy::RetryHostPredicate {
                name: name::PREVIOUS_HOSTS.to_owned(),
                config_type: Some(
                    envoy::retry_policy::retry_host_predicate::ConfigType::TypedConfig(pb::pack(
                        &pb::previous_hosts::PreviousHostsPredicate::default(),
                    )),
                ),
            })
            .into_iter()
            .collect(),
        host_selection_retry_max_attempts: i64::from(from.host_selection_attempts),
        ..envoy::RetryPolicy::default()
    }
}

fn percent(from: PerMillion) -> kind::FractionalPercent {
    kind::FractionalPercent {
        numerator: from.0,
        denominator: kind::fractional_percent::DenominatorType::Million.into(),
    }
}

fn mirror(from: &Mirror) -> route_action::RequestMirrorPolicy {
    route_action::RequestMirrorPolicy {
        cluster: from.cluster.clone(),
        runtime_fraction: Some(core::RuntimeFractionalPercent {
            default_value: Some(percent(PerMillion(from.per_million))),
            ..core::RuntimeFractionalPercent::default()
        }),
        disable_shadow_host_suffix_append: from.keeps_host,
        ..route_action::RequestMirrorPolicy::default()
    }
}

fn hash_policy(from: &HashSource) -> route_action::HashPolicy {
    use route_action::hash_policy::{
        ConnectionProperties, Cookie, CookieAttribute, Header, PolicySpecifier, QueryParameter,
    };
    let specifier = match from {
        HashSource::Header(name) => PolicySpecifier::Header(Header {
            header_name: name.clone(),
            ..Header::default()
        }),
        HashSource::Cookie {
            name,
            path,
            ttl,
            attributes,
        } => PolicySpecifier::Cookie(Cookie {
            name: name.clone(),
            path: path.clone(),
            ttl: ttl.map(pb::duration),
            attributes: attributes
                .iter()
                .map(|(name, value)| CookieAttribute {
                    name: name.clone(),
                    value: value.clone(),
                })
                .collect(),
        }),
        HashSource::SourceIp => {
            PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true })
        }
        HashSource::Query(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.clone() }),
    };
    route_action::HashPolicy {
        policy_specifier: Some(specifier),
        ..route_action::HashPolicy::default()
    }
}

fn redirect_action(from: &Redirect) -> envoy::RedirectAction {
    use envoy::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
    let path = from.path.clone().map(PathRewriteSpecifier::PathRedirect);
    let prefix = from
        .prefix_rewrite
        .clone()
        .map(PathRewriteSpecifier::PrefixRewrite);
    envoy::RedirectAction {
        response_code: match from.status {
            302 => RedirectResponseCode::Found,
            303 => RedirectResponseCode::SeeOther,
            307 => RedirectResponseCode::TemporaryRedirect,
            308 => RedirectResponseCode::PermanentRedirect,
            _ => RedirectResponseCode::MovedPermanently,
        }
        .into(),
        path_rewrite_specifier: path.or(prefix),
        host_redirect: from.host.clone().unwrap_or_default(),
        port_redirect: from.port.map_or(0, u32::from),
        scheme_rewrite_specifier: from.scheme.clone().map(SchemeRewriteSpecifier::SchemeRedirect),
        strip_query: from.strip_query,
    }
}

fn direct_response(from: &DirectResponse) -> envoy::DirectResponseAction {
    envoy::DirectResponseAction {
        status: u32::from(from.status),
        body: (!from.body.is_empty()).then(|| core::DataSource {
            specifier: Some(core::data_source::Specifier::InlineBytes(from.body.clone())),
            ..core::DataSource::default()
        }),
        ..envoy::DirectResponseAction::default()
    }
}

fn http_fault(from: &Fault) -> pb::fault::HttpFault {
    let delay = |(time, share): &(Duration, PerMillion)| pb::common_fault::FaultDelay {
        percentage: Some(percent(*share)),
        fault_delay_secifier: Some(pb::common_fault::fault_delay::FaultDelaySecifier::FixedDelay(
            pb::duration(*time),
        )),
    };
    let abort = |(what, share): &(Abort, PerMillion)| pb::fault::FaultAbort {
        percentage: Some(percent(*share)),
        error_type: Some(match what {
            Abort::Http(status) => pb::fault::fault_abort::ErrorType::HttpStatus(u32::from(*status)),
            Abort::Grpc(status) => pb::fault::fault_abort::ErrorType::GrpcStatus(*status),
        }),
        ..pb::fault::FaultAbort::default()
    };
    pb::fault::HttpFault {
        delay: from.delay.as_ref().map(delay),
        abort: from.abort.as_ref().map(abort),
        ..pb::fault::HttpFault::default()
    }
}

fn cors_policy(from: &CorsPolicy) -> pb::cors::CorsPolicy {
    pb::cors::CorsPolicy {
        allow_origin_string_match: from.allow_origins.iter().map(string_match).collect(),
        allow_methods: from.allow_methods.clone(),
        allow_headers: from.allow_headers.clone(),
        expose_headers: from.expose_headers.clone(),
        max_age: from.max_age.clone(),
        allow_credentials: Some(pb::yes(from.allow_credentials)),
        forward_not_matching_preflights: Some(pb::yes(from.forward_unmatched_preflights)),
        ..pb::cors::CorsPolicy::default()
    }
}
