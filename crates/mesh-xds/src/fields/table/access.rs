//! Policies (RBAC) and tokens (JWT).

use super::{
    CIDR, DATA_SOURCE, ENVOY_GRPC, Field, HEADER_MATCH, HEADER_VALUE, Honoured, Ignored, Is, List, Map,
    Message, OffOnly, ROUTE_MATCH, Refused, STATS, STRING_MATCH,
};

message!(pub(super) HTTP_RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC" {
    1 rules Is(&RULES); 2 shadow_rules Is(&RULES); 3 shadow_rules_stat_prefix Honoured;
    6 rules_stat_prefix Ignored(STATS); 7 track_per_rule_stats Ignored("every rule is counted");
});
message!(pub(super) TCP_RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC" {
    1 rules Is(&RULES); 2 shadow_rules Is(&RULES); 3 stat_prefix Ignored(STATS);
    4 enforcement_type OffOnly("connections are judged once, when they begin");
    5 shadow_rules_stat_prefix Ignored(STATS);
});
message!(RULES = "envoy.config.rbac.v3.RBAC" {
    1 action Honoured; 2 policies Map(&POLICY);
    3 audit_logging_options Ignored("decisions are in the access log and the metrics");
});
message!(POLICY = "envoy.config.rbac.v3.Policy" { 1 permissions List(&PERMISSION); 2 principals List(&PRINCIPAL); });
message!(PERMISSION = "envoy.config.rbac.v3.Permission" {
    1 and_rules Is(&PERMISSIONS); 2 or_rules Is(&PERMISSIONS); 3 any Honoured; 4 header Is(&HEADER_MATCH);
    5 destination_ip Is(&CIDR); 6 destination_port Honoured; 7 metadata Is(&METADATA_MATCH); 8 not_rule Is(&PERMISSION);
    9 requested_server_name Is(&STRING_MATCH); 10 url_path Is(&PATH_MATCH);
});
message!(PERMISSIONS = "envoy.config.rbac.v3.Permission.Set" { 1 rules List(&PERMISSION); });
message!(PRINCIPAL = "envoy.config.rbac.v3.Principal" {
    1 and_ids Is(&PRINCIPALS); 2 or_ids Is(&PRINCIPALS); 3 any Honoured; 4 authenticated Is(&AUTHENTICATED);
    6 header Is(&HEADER_MATCH); 7 metadata Is(&METADATA_MATCH); 8 not_id Is(&PRINCIPAL); 9 url_path Is(&PATH_MATCH);
    10 direct_remote_ip Is(&CIDR); 11 remote_ip Is(&CIDR);
});
message!(PRINCIPALS = "envoy.config.rbac.v3.Principal.Set" { 1 ids List(&PRINCIPAL); });
message!(AUTHENTICATED = "envoy.config.rbac.v3.Principal.Authenticated" { 2 principal_name Is(&STRING_MATCH); });
message!(PATH_MATCH = "envoy.type.matcher.v3.PathMatcher" { 1 path Is(&STRING_MATCH); });
message!(pub(super) METADATA_MATCH = "envoy.type.matcher.v3.MetadataMatcher" {
    1 filter Honoured; 2 path List(&PATH_SEGMENT); 3 value Is(&VALUE_MATCH); 4 invert Honoured;
});
message!(PATH_SEGMENT = "envoy.type.matcher.v3.MetadataMatcher.PathSegment" { 1 key Honoured; });
message!(VALUE_MATCH = "envoy.type.matcher.v3.ValueMatcher" {
    3 string_match Is(&STRING_MATCH); 5 present_match Honoured; 6 list_match Is(&LIST_MATCH); 7 or_match Is(&OR_MATCH);
});
message!(LIST_MATCH = "envoy.type.matcher.v3.ListMatcher" { 1 one_of Is(&VALUE_MATCH); });
message!(OR_MATCH = "envoy.type.matcher.v3.OrMatcher" { 1 value_matchers List(&VALUE_MATCH); });

message!(pub(super) JWT = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication" {
    1 providers Map(&PROVIDER); 2 rules List(&REQUIREMENT_RULE); 4 bypass_cors_preflight Ignored("preflights are never asked for tokens");
});
message!(PROVIDER = "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider" {
    1 issuer Honoured; 2 audiences Honoured; 4 local_jwks Is(&DATA_SOURCE); 5 forward Honoured; 6 from_headers List(&JWT_HEADER);
    7 from_params Honoured; 8 forward_payload_header Honoured; 9 payload_in_metadata Ignored("policies read the token itself");
    10 clock_skew_seconds Honoured; 11 pad_forward_payload_header OffOnly("the payload is sent as it came");
    12 jwt_cache_config Ignored("verified tokens are not kept"); 13 from_cookies Honoured; 15 claim_to_headers List(&CLAIM_HEADER);
    18 normalize_payload_in_metadata Is(&NORMALIZE); 3 remote_jwks Refused("the control plane fetches keys; give local_jwks");
});
message!(NORMALIZE = "envoy.extensions.filters.http.jwt_authn.v3.JwtProvider.NormalizePayload" { 1 space_delimited_claims Honoured; });
message!(JWT_HEADER = "envoy.extensions.filters.http.jwt_authn.v3.JwtHeader" { 1 name Honoured; 2 value_prefix Honoured; });
message!(CLAIM_HEADER = "envoy.extensions.filters.http.jwt_authn.v3.JwtClaimToHeader" { 1 header_name Honoured; 2 claim_name Honoured; });
message!(REQUIREMENT_RULE = "envoy.extensions.filters.http.jwt_authn.v3.RequirementRule" {
    1 match Is(&ROUTE_MATCH); 2 requires Is(&REQUIREMENT);
});
message!(REQUIREMENT = "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirement" {
    1 provider_name Honoured; 3 requires_any Is(&REQUIREMENTS);
    6 allow_missing Ignored("a token may be missing: policies require it");
});
message!(REQUIREMENTS = "envoy.extensions.filters.http.jwt_authn.v3.JwtRequirementOrList" { 1 requirements List(&REQUIREMENT); });

message!(pub(super) EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz" {
    1 grpc_service Is(&CHECK_GRPC); 2 failure_mode_allow Honoured; 3 http_service Is(&CHECK_HTTP);
    5 with_request_body Is(&CHECK_BODY); 6 clear_route_cache Honoured; 7 status_on_error Is(&HTTP_STATUS);
    10 include_peer_certificate OffOnly("the principal is told, not the certificate");
    12 transport_api_version Ignored("always V3"); 13 stat_prefix Honoured; 14 filter_enabled_metadata Is(&METADATA_MATCH);
    17 allowed_headers Is(&STRING_LIST); 18 include_tls_session OffOnly("the SNI is not told");
    19 failure_mode_allow_header_add OffOnly("the access log says it"); 20 charge_cluster_response_stats Ignored(STATS);
    24 validate_mutations Ignored("what would change the framing is never taken"); 29 emit_filter_state_stats Ignored(STATS);
});
message!(CHECK_GRPC = "envoy.config.core.v3.GrpcService" { 1 envoy_grpc Is(&ENVOY_GRPC); 3 timeout Honoured; });
message!(CHECK_HTTP = "envoy.extensions.filters.http.ext_authz.v3.HttpService" {
    1 server_uri Is(&CHECK_URI); 2 path_prefix Honoured; 7 authorization_request Is(&CHECK_ASK); 8 authorization_response Is(&CHECK_ANSWER);
});
message!(CHECK_URI = "envoy.config.core.v3.HttpUri" {
    1 uri Ignored("the cluster decides"); 2 cluster Honoured; 3 timeout Honoured;
});
message!(CHECK_ASK = "envoy.extensions.filters.http.ext_authz.v3.AuthorizationRequest" {
    1 allowed_headers Is(&STRING_LIST); 2 headers_to_add List(&HEADER_VALUE);
});
message!(CHECK_ANSWER = "envoy.extensions.filters.http.ext_authz.v3.AuthorizationResponse" {
    1 allowed_upstream_headers Is(&STRING_LIST); 2 allowed_client_headers Is(&STRING_LIST);
    4 allowed_client_headers_on_success Is(&STRING_LIST);
});
message!(CHECK_BODY = "envoy.extensions.filters.http.ext_authz.v3.BufferSettings" {
    1 max_request_bytes Honoured; 2 allow_partial_message Honoured; 3 pack_as_bytes Honoured;
});
message!(HTTP_STATUS = "envoy.type.v3.HttpStatus" { 1 code Honoured; });
message!(STRING_LIST = "envoy.type.matcher.v3.ListStringMatcher" { 1 patterns List(&STRING_MATCH); });
