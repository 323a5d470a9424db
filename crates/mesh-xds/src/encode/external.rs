//! Questions to authorization services as Envoy's ext_authz filter, behind the RBAC filter that says what is asked
//! about.

use mesh_model::authorization::{CheckBody, CheckProtocol, External, HttpCheck, PolicyAction, RuleSet};
use mesh_model::matching::StringMatch;

use super::authorization;
use super::route::string_match;
use crate::Any;
use crate::pb::{self, core, ext_authz, external, kind, matcher, name};

/// The filters of these questions: name and configuration, in order.
pub(super) fn filters(from: &[External]) -> Vec<(&'static str, Any)> {
    let mut all = Vec::new();
    for ask in from {
        if let Some(rules) = &ask.when {
            // The rules only say that they match: nothing is refused by them.
            let set = RuleSet {
                action: PolicyAction::Deny,
                enforced: None,
                shadow: Some(rules.clone()),
            };
            all.push((name::HTTP_RBAC, pb::pack(&authorization::asking(&set))));
        }
        all.push((name::EXT_AUTHZ, pb::pack(&filter(ask))));
    }
    all
}

fn filter(from: &External) -> ext_authz::ExtAuthz {
    ext_authz::ExtAuthz {
        services: Some(service(from)),
        transport_api_version: core::ApiVersion::V3.into(),
        failure_mode_allow: from.fail_open,
        status_on_error: Some(kind::HttpStatus {
            code: i32::from(from.status_on_error),
        }),
        with_request_body: from.body.map(body),
        clear_route_cache: from.clear_route_cache,
        filter_enabled_metadata: from.when.as_ref().map(|_| matched(&from.provider)),
        stat_prefix: from.provider.clone(),
        allowed_headers: match &from.protocol {
            CheckProtocol::Http(http) => names(&http.shown),
            CheckProtocol::Grpc { .. } => None,
        },
        ..ext_authz::ExtAuthz::default()
    }
}

/// Asked when a rule of this provider matched.
fn matched(provider: &str) -> matcher::MetadataMatcher {
    use matcher::metadata_matcher::{PathSegment, path_segment::Segment};
    matcher::MetadataMatcher {
        filter: name::HTTP_RBAC.to_owned(),
        path: vec![PathSegment {
            segment: Some(Segment::Key(external::MATCHED_POLICY.to_owned())),
        }],
        value: Some(matcher::ValueMatcher {
            match_pattern: Some(matcher::value_matcher::MatchPattern::StringMatch(string_match(
                &StringMatch::Prefix(external::rule_prefix(provider)),
            ))),
        }),
        invert: false,
    }
}

fn service(from: &External) -> ext_authz::ext_authz::Services {
    match &from.protocol {
        CheckProtocol::Http(http) => ext_authz::ext_authz::Services::HttpService(over_http(from, http)),
        CheckProtocol::Grpc { authority } => ext_authz::ext_authz::Services::GrpcService(core::GrpcService {
            target_specifier: Some(core::grpc_service::TargetSpecifier::EnvoyGrpc(
                core::grpc_service::EnvoyGrpc {
                    cluster_name: from.cluster.clone(),
                    authority: authority.clone(),
                    ..core::grpc_service::EnvoyGrpc::default()
                },
            )),
            timeout: Some(pb::duration(from.timeout)),
            ..core::GrpcService::default()
        }),
    }
}

fn over_http(from: &External, http: &HttpCheck) -> ext_authz::HttpService {
    let add = http
        .add
        .iter()
        .map(|(key, value)| core::HeaderValue {
            key: key.clone(),
            value: value.clone(),
            ..core::HeaderValue::default()
        })
        .collect();
    ext_authz::HttpService {
        server_uri: Some(core::HttpUri {
            uri: format!("http://{}", from.cluster.rsplit('|').next().unwrap_or_default()),
            timeout: Some(pb::duration(from.timeout)),
            http_upstream_type: Some(core::http_uri::HttpUpstreamType::Cluster(from.cluster.clone())),
        }),
        path_prefix: http.path_prefix.clone(),
        authorization_request: Some(ext_authz::AuthorizationRequest {
            headers_to_add: add,
            ..ext_authz::AuthorizationRequest::default()
        }),
        authorization_response: Some(ext_authz::AuthorizationResponse {
            allowed_upstream_headers: names(&http.to_upstream),
            allowed_client_headers: names(&http.to_client_on_deny),
            allowed_client_headers_on_success: names(&http.to_client_on_allow),
            ..ext_authz::AuthorizationResponse::default()
        }),
        ..ext_authz::HttpService::default()
    }
}

fn names(list: &[StringMatch]) -> Option<matcher::ListStringMatcher> {
    (!list.is_empty()).then(|| matcher::ListStringMatcher {
        patterns: list.iter().map(string_match).collect(),
    })
}

fn body(from: CheckBody) -> ext_authz::BufferSettings {
    ext_authz::BufferSettings {
        max_request_bytes: from.max_bytes,
        allow_partial_message: from.allow_partial,
        pack_as_bytes: from.as_bytes,
    }
}
