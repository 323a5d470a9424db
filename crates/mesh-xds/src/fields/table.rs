//! The table itself. A test compares every name and number with Envoy's descriptors.

use super::Rule::{
    Any, Filters as Filtered, Honoured, Ignored, List, Map, MapAny, Message as Is, OffOnly, Refused,
};
use super::{Field, Filters, Message};

macro_rules! message {
    ($(#[$doc:meta])* $vis:vis $ident:ident = $full:literal { $($number:literal $field:tt $rule:expr;)* }) => {
        $(#[$doc])*
        $vis static $ident: Message = Message {
            name: $full,
            fields: &[$(Field { number: $number, name: stringify!($field), rule: $rule }),*],
        };
    };
}

mod access;
mod destinations;

use access::{EXT_AUTHZ, HTTP_RBAC, JWT, METADATA_MATCH, TCP_RBAC};
pub use destinations::{BOOTSTRAP, CLUSTER, ENDPOINTS};

const STATS: &str = "statistics have Istio's names here";
const BUFFERS: &str = "buffers are sized by the proxy";
const NATIVE: &str = "done natively";
const SOCKET: &str = "the kernel's default is used";
const RUNTIME: &str = "there is no runtime layer";
const DELIVERY: &str = "resources of this type always come over the one aggregated stream";

// --- core -------------------------------------------------------------------------------------------------

message!(STRUCT = "google.protobuf.Struct" { 1 fields Map(&VALUE); });
message!(VALUE = "google.protobuf.Value" {
    1 null_value Honoured; 2 number_value Honoured; 3 string_value Honoured; 4 bool_value Honoured;
    5 struct_value Is(&STRUCT); 6 list_value Is(&LIST_VALUE);
});
message!(LIST_VALUE = "google.protobuf.ListValue" { 1 values List(&VALUE); });
message!(METADATA = "envoy.config.core.v3.Metadata" {
    1 filter_metadata Map(&STRUCT);
    2 typed_filter_metadata Ignored("no honoured filter reads it");
});
message!(ADDRESS = "envoy.config.core.v3.Address" {
    1 socket_address Is(&SOCKET_ADDRESS);
    2 pipe Refused("unix sockets are not supported; use an IP address and port");
    3 envoy_internal_address Refused("internal listeners are not supported");
});
message!(SOCKET_ADDRESS = "envoy.config.core.v3.SocketAddress" {
    1 protocol Honoured; 2 address Honoured; 3 port_value Honoured;
    6 ipv4_compat Ignored("a listener on all IPv6 addresses takes IPv4 too");
});
message!(CIDR = "envoy.config.core.v3.CidrRange" { 1 address_prefix Honoured; 2 prefix_len Honoured; });
message!(DATA_SOURCE = "envoy.config.core.v3.DataSource" {
    1 filename Honoured; 2 inline_bytes Honoured; 3 inline_string Honoured;
    5 watched_directory Ignored("files are read when the configuration is applied");
});
message!(HEADER_VALUE = "envoy.config.core.v3.HeaderValue" { 1 key Honoured; 2 value Honoured; });
message!(HEADER_OPTION = "envoy.config.core.v3.HeaderValueOption" {
    1 header Is(&HEADER_VALUE); 2 append Honoured; 3 append_action Honoured;
    4 keep_empty_value Ignored("empty values are never written");
});
message!(FRACTION = "envoy.config.core.v3.RuntimeFractionalPercent" {
    1 default_value Is(&PERCENT); 2 runtime_key Ignored(RUNTIME);
});
message!(PERCENT = "envoy.type.v3.FractionalPercent" { 1 numerator Honoured; 2 denominator Honoured; });
message!(STRING_MATCH = "envoy.type.matcher.v3.StringMatcher" {
    1 exact Honoured; 2 prefix Honoured; 3 suffix Honoured; 5 safe_regex Is(&REGEX); 6 ignore_case Honoured;
    7 contains Honoured;
});
message!(REGEX = "envoy.type.matcher.v3.RegexMatcher" {
    1 google_re2 Ignored("the engine is always linear-time"); 2 regex Honoured;
});
message!(REGEX_SUBSTITUTE = "envoy.type.matcher.v3.RegexMatchAndSubstitute" {
    1 pattern Is(&REGEX); 2 substitution Honoured;
});
message!(CONFIG_SOURCE = "envoy.config.core.v3.ConfigSource" {
    2 api_config_source Ignored(DELIVERY); 3 ads Honoured;
    4 initial_fetch_timeout Ignored("a snapshot waits until it is complete");
    5 self Ignored(DELIVERY); 6 resource_api_version Honoured;
    8 path_config_source Refused("files are not watched; use ADS or put the resource into static_resources");
    1 path Refused("files are not watched; use ADS or put the resource into static_resources");
});
message!(GRPC_SERVICE = "envoy.config.core.v3.GrpcService" {
    1 envoy_grpc Is(&ENVOY_GRPC); 3 timeout Ignored("streams have no timeout");
    5 initial_metadata List(&HEADER_VALUE);
});
message!(ENVOY_GRPC = "envoy.config.core.v3.GrpcService.EnvoyGrpc" {
    1 cluster_name Honoured; 2 authority Honoured; 3 retry_policy Ignored("reconnects have their own backoff");
    4 max_receive_message_length Ignored(BUFFERS); 5 skip_envoy_headers Ignored("none are sent");
});
message!(BIND = "envoy.config.core.v3.BindConfig" {
    1 source_address Is(&SOCKET_ADDRESS); 2 freebind Ignored(SOCKET); 3 socket_options Ignored(SOCKET);
});
message!(LOCALITY = "envoy.config.core.v3.Locality" { 1 region Honoured; 2 zone Honoured; 3 sub_zone Honoured; });
message!(COMMON_HTTP = "envoy.config.core.v3.HttpProtocolOptions" {
    1 idle_timeout Honoured; 2 max_headers_count Honoured;
    3 max_connection_duration OffOnly("connections are not closed by age; remove it");
    4 max_stream_duration OffOnly("use the route's timeout");
    5 headers_with_underscores_action OffOnly("headers with underscores are always allowed");
    6 max_requests_per_connection Honoured; 7 max_response_headers_kb Ignored(BUFFERS);
});
message!(HTTP1 = "envoy.config.core.v3.Http1ProtocolOptions" {
    1 allow_absolute_url Ignored("absolute-form is always understood"); 2 accept_http_10 Honoured;
    3 default_host_for_http_10 OffOnly("HTTP/1.0 requests must carry Host");
    4 header_key_format Ignored("names are written as they came"); 5 enable_trailers Ignored(NATIVE);
    6 allow_chunked_length OffOnly("a request with both lengths is refused");
    7 override_stream_error_on_invalid_http_message Ignored("such connections are closed");
    9 use_balsa_parser Ignored("there is one parser"); 10 allow_custom_methods Ignored("all token methods pass");
});
message!(HTTP2 = "envoy.config.core.v3.Http2ProtocolOptions" {
    1 hpack_table_size Ignored(BUFFERS); 2 max_concurrent_streams Ignored(BUFFERS);
    3 initial_stream_window_size Ignored(BUFFERS); 4 initial_connection_window_size Ignored(BUFFERS);
    5 allow_connect Ignored("extended CONNECT is not offered"); 7 max_outbound_frames Ignored(BUFFERS);
    8 max_outbound_control_frames Ignored(BUFFERS);
    9 max_consecutive_inbound_frames_with_empty_payload Ignored(BUFFERS);
    10 max_inbound_priority_frames_per_stream Ignored(BUFFERS);
    11 max_inbound_window_update_frames_per_data_frame_sent Ignored(BUFFERS);
    14 override_stream_error_on_invalid_http_message Ignored("such streams are reset");
    15 connection_keepalive Ignored("the proxy's own keepalive is used");
});

// --- access logs, tracing ---------------------------------------------------------------------------------

message!(ACCESS_LOG = "envoy.config.accesslog.v3.AccessLog" {
    1 name Honoured; 4 typed_config Any(&[&FILE_LOG, &STDOUT_LOG, &STDERR_LOG]);
    2 filter Is(&LOG_FILTER);
});
message!(LOG_FILTER = "envoy.config.accesslog.v3.AccessLogFilter" { 11 extension_filter Is(&LOG_EXTENSION_FILTER); });
message!(LOG_EXTENSION_FILTER = "envoy.config.accesslog.v3.ExtensionFilter" {
    1 name Honoured; 3 typed_config Any(&[&CEL_FILTER]);
});
message!(CEL_FILTER = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter" { 1 expression Honoured; });
message!(FILE_LOG = "envoy.extensions.access_loggers.file.v3.FileAccessLog" {
    1 path Honoured; 2 format Honoured; 3 json_format Is(&STRUCT); 5 log_format Is(&LOG_FORMAT);
});
message!(STDOUT_LOG = "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog" { 1 log_format Is(&LOG_FORMAT); });
message!(STDERR_LOG = "envoy.extensions.access_loggers.stream.v3.StderrAccessLog" { 1 log_format Is(&LOG_FORMAT); });
message!(LOG_FORMAT = "envoy.config.core.v3.SubstitutionFormatString" {
    1 text_format Honoured; 2 json_format Is(&STRUCT); 3 omit_empty_values Ignored("empty values print as `-` or null");
    4 content_type Ignored("it concerns bodies only"); 5 text_format_source Is(&DATA_SOURCE);
    6 formatters Ignored("all formatters are built in"); 7 json_format_options Ignored("keys keep their order");
});
message!(TRACING = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.Tracing" {
    3 client_sampling Ignored("client-forced traces follow the head decision"); 4 random_sampling Honoured;
    5 overall_sampling Ignored("the random sampling decides"); 6 verbose Ignored("no event log in spans");
    7 max_path_tag_length Honoured; 8 custom_tags List(&CUSTOM_TAG);
    9 provider Is(&TRACING_PROVIDER); 10 spawn_upstream_span Ignored("every proxy hop has one span");
});
message!(CUSTOM_TAG = "envoy.type.tracing.v3.CustomTag" {
    1 tag Honoured; 2 literal Is(&TAG_LITERAL); 3 environment Is(&TAG_ENVIRONMENT); 4 request_header Is(&TAG_HEADER);
    5 metadata Ignored("Istio's standard tags are written natively");
});
message!(TAG_LITERAL = "envoy.type.tracing.v3.CustomTag.Literal" { 1 value Honoured; });
message!(TAG_ENVIRONMENT = "envoy.type.tracing.v3.CustomTag.Environment" { 1 name Honoured; 2 default_value Honoured; });
message!(TAG_HEADER = "envoy.type.tracing.v3.CustomTag.Header" { 1 name Honoured; 2 default_value Honoured; });
message!(TRACING_PROVIDER = "envoy.config.trace.v3.Tracing.Http" {
    1 name Honoured; 3 typed_config Any(&[&OTEL, &ZIPKIN]);
});
message!(OTEL = "envoy.config.trace.v3.OpenTelemetryConfig" {
    1 grpc_service Is(&GRPC_SERVICE); 2 service_name Ignored("it is `<app>.<namespace>` of the node");
    3 http_service Is(&HTTP_SERVICE); 4 resource_detectors Ignored(NATIVE); 6 max_cache_size Ignored(BUFFERS);
});
message!(HTTP_SERVICE = "envoy.config.core.v3.HttpService" { 1 http_uri Is(&HTTP_URI); });
message!(HTTP_URI = "envoy.config.core.v3.HttpUri" {
    1 uri Ignored("the cluster decides"); 2 cluster Honoured; 3 timeout Ignored("exports have their own");
});
message!(ZIPKIN = "envoy.config.trace.v3.ZipkinConfig" {
    1 collector_cluster Honoured; 2 collector_endpoint Ignored("always /api/v2/spans");
    3 trace_id_128bit Ignored("always 128 bits"); 4 shared_span_context Ignored("never shared");
    5 collector_endpoint_version Ignored("always JSON v2"); 6 collector_hostname Ignored("the cluster decides");
});

// --- TLS --------------------------------------------------------------------------------------------------

message!(SOCKET_TLS_DOWNSTREAM = "envoy.config.core.v3.TransportSocket" {
    1 name Honoured; 3 typed_config Any(&[&DOWNSTREAM_TLS, &RAW_BUFFER]);
});
message!(SOCKET_TLS_UPSTREAM = "envoy.config.core.v3.TransportSocket" {
    1 name Honoured; 3 typed_config Any(&[&UPSTREAM_TLS, &RAW_BUFFER]);
});
message!(RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer" {});
message!(DOWNSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext" {
    1 common_tls_context Is(&COMMON_TLS); 2 require_client_certificate Honoured;
    3 require_sni OffOnly("use server_names in the filter chain match");
    6 session_timeout Ignored("sessions end with the identity"); 7 disable_stateless_session_resumption Ignored("sessions are kept in memory");
    8 ocsp_staple_policy OffOnly("OCSP is not stapled"); 9 full_scan_certs_on_sni_mismatch Ignored("certificates are chosen by SNI");
    10 disable_stateful_session_resumption Ignored("sessions are bound to the identity");
});
message!(UPSTREAM_TLS = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext" {
    1 common_tls_context Is(&COMMON_TLS); 2 sni Honoured; 3 allow_renegotiation OffOnly("renegotiation is not supported");
    4 max_session_keys Ignored(BUFFERS); 5 enforce_rsa_key_usage Ignored("always enforced"); 6 auto_host_sni Honoured;
});
message!(COMMON_TLS = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext" {
    1 tls_params Is(&TLS_PARAMS); 2 tls_certificates List(&TLS_CERTIFICATE); 3 validation_context Is(&VALIDATION);
    4 alpn_protocols Honoured; 6 tls_certificate_sds_secret_configs List(&SDS);
    7 validation_context_sds_secret_config Is(&SDS); 8 combined_validation_context Is(&COMBINED);
});
message!(TLS_PARAMS = "envoy.extensions.transport_sockets.tls.v3.TlsParameters" {
    1 tls_minimum_protocol_version Honoured; 2 tls_maximum_protocol_version Honoured;
    3 cipher_suites Ignored("only AEAD suites with forward secrecy are offered");
    4 ecdh_curves Ignored("X25519, P-256 and P-384 are offered"); 5 signature_algorithms Ignored("only modern ones are offered");
});
message!(TLS_CERTIFICATE = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate" {
    1 certificate_chain Is(&DATA_SOURCE); 2 private_key Is(&DATA_SOURCE);
    7 watched_directory Ignored("files are read when the configuration is applied");
    3 password Refused("encrypted keys are not supported; decrypt the key");
});
message!(SDS = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig" {
    1 name Honoured; 2 sds_config Is(&CONFIG_SOURCE);
});
message!(COMBINED = "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext" {
    1 default_validation_context Is(&VALIDATION); 2 validation_context_sds_secret_config Is(&SDS);
});
message!(VALIDATION = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext" {
    1 trusted_ca Is(&DATA_SOURCE); 9 match_subject_alt_names List(&STRING_MATCH);
    10 trust_chain_verification OffOnly("an untrusted chain is never accepted"); 11 watched_directory Ignored("files are read when the configuration is applied");
    15 match_typed_subject_alt_names List(&SAN_MATCH); 16 max_verify_depth Ignored("chains are short");
    18 suppress_client_ca_list Ignored("names of CAs are public");
    8 allow_expired_certificate OffOnly("an expired certificate is never accepted");
});
message!(SAN_MATCH = "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher" {
    1 san_type Honoured; 2 matcher Is(&STRING_MATCH);
});
message!(
    /// A static secret of a bootstrap.
    pub SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret" {
        1 name Honoured; 2 tls_certificate Is(&TLS_CERTIFICATE); 4 validation_context Is(&VALIDATION);
    }
);

// --- listeners --------------------------------------------------------------------------------------------

message!(
    /// Listeners (LDS).
    pub LISTENER = "envoy.config.listener.v3.Listener" {
        1 name Honoured; 2 address Is(&ADDRESS); 3 filter_chains List(&FILTER_CHAIN);
        4 use_original_dst Honoured;
        5 per_connection_buffer_limit_bytes Ignored(BUFFERS); 6 metadata Is(&METADATA);
        7 deprecated_v1 Refused("use bind_to_port");
        8 drain_type Ignored("listeners drain when they go"); 9 listener_filters Filtered(&LISTENER_FILTERS);
        10 transparent Honoured; 11 freebind Ignored(SOCKET); 12 tcp_fast_open_queue_length Ignored(SOCKET);
        13 socket_options Ignored(SOCKET); 15 listener_filters_timeout Honoured; 16 traffic_direction Honoured;
        17 continue_on_listener_filters_timeout Ignored("undetected connections go on as opaque bytes");
        20 connection_balance_config Ignored("the kernel spreads connections over workers"); 21 reuse_port Ignored(NATIVE);
        22 access_log Ignored("connections without a chain are counted with flag NR"); 24 tcp_backlog_size Ignored(SOCKET);
        25 default_filter_chain Is(&FILTER_CHAIN); 26 bind_to_port Honoured; 28 stat_prefix Ignored(STATS);
        29 enable_reuse_port Ignored(NATIVE); 31 ignore_global_conn_limit Ignored("there is one limit");
        34 max_connections_to_accept_per_socket_event Ignored("workers accept fairly"); 35 bypass_overload_manager Ignored("there is none");
    }
);
message!(FILTER_CHAIN = "envoy.config.listener.v3.FilterChain" {
    1 filter_chain_match Is(&CHAIN_MATCH); 3 filters Filtered(&NETWORK_FILTERS);
    5 metadata Is(&METADATA); 6 transport_socket Is(&SOCKET_TLS_DOWNSTREAM); 7 name Honoured;
    9 transport_socket_connect_timeout Ignored("handshakes have a fixed limit");
    4 use_proxy_proto OffOnly("the PROXY protocol is not supported yet");
});
message!(CHAIN_MATCH = "envoy.config.listener.v3.FilterChainMatch" {
    3 prefix_ranges List(&CIDR); 8 destination_port Honoured; 9 transport_protocol Honoured;
    10 application_protocols Honoured; 11 server_names Honoured;
});
static LISTENER_FILTERS: Filters = Filters {
    config: 3,
    disabled: 0,
    types: &[&TLS_INSPECTOR, &HTTP_INSPECTOR, &ORIGINAL_DST_FILTER],
    native: &[],
};
message!(TLS_INSPECTOR = "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector" {
    1 enable_ja3_fingerprinting Ignored("no fingerprints are taken"); 2 initial_read_buffer_size Ignored(BUFFERS);
});
message!(ORIGINAL_DST_FILTER = "envoy.extensions.filters.listener.original_dst.v3.OriginalDst" {});
message!(HTTP_INSPECTOR = "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector" {});
static NETWORK_FILTERS: Filters = Filters {
    config: 4,
    disabled: 0,
    types: &[&HCM, &TCP_PROXY, &TCP_RBAC],
    native: &[
        (
            "istio.metadata_exchange",
            "peers are told by certificate and endpoint metadata",
        ),
        (
            "envoy.filters.network.metadata_exchange",
            "peers are told by certificate and endpoint metadata",
        ),
        ("istio.stats", "Istio's metrics are counted natively"),
    ],
};
message!(TCP_PROXY = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy" {
    1 stat_prefix Honoured; 2 cluster Honoured; 5 access_log List(&ACCESS_LOG); 7 max_connect_attempts Ignored("one attempt an endpoint");
    8 idle_timeout Honoured; 10 weighted_clusters Is(&TCP_WEIGHTED);
    11 hash_policy List(&TCP_HASH); 13 max_downstream_connection_duration Honoured;
    12 tunneling_config Refused("tunnelling is not supported");
    15 access_log_flush_interval Ignored("one line a connection, at its end");
});
message!(TCP_HASH = "envoy.type.v3.HashPolicy" { 1 source_ip Honoured; });
message!(TCP_WEIGHTED = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster" { 1 clusters List(&TCP_WEIGHT); });
message!(TCP_WEIGHT = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight" {
    1 name Honoured; 2 weight Honoured;
});
message!(HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager" {
    1 codec_type Honoured; 2 stat_prefix Honoured; 3 rds Is(&RDS); 4 route_config Is(&ROUTE_CONFIGURATION);
    5 http_filters Filtered(&HTTP_FILTERS); 6 add_user_agent OffOnly("user-agent is passed on as it came");
    7 tracing Is(&TRACING); 8 http_protocol_options Is(&HTTP1); 9 http2_protocol_options Is(&HTTP2);
    10 server_name Honoured; 12 drain_timeout Ignored("--drain-time-s decides"); 13 access_log List(&ACCESS_LOG);
    14 use_remote_address Honoured; 15 generate_request_id Honoured; 16 forward_client_cert_details Honoured;
    17 set_current_client_cert_details Ignored("By, Hash, Subject, URI and DNS are written as Istio does");
    18 proxy_100_continue Ignored("100-continue is passed on"); 19 xff_num_trusted_hops Honoured;
    21 skip_xff_append OffOnly("X-Forwarded-For is appended when use_remote_address is set");
    22 via OffOnly("no via header is written"); 23 upgrade_configs List(&UPGRADE); 24 stream_idle_timeout Honoured;
    25 internal_address_config Ignored("only the mesh is internal"); 26 delayed_close_timeout Ignored("closing waits for the peer briefly");
    28 request_timeout OffOnly("use the route's timeout"); 29 max_request_headers_kb Honoured; 30 normalize_path Honoured;
    31 scoped_routes Refused("scoped routes are not supported; use rds"); 32 preserve_external_request_id Honoured;
    33 merge_slashes Honoured; 34 server_header_transformation Honoured; 35 common_http_protocol_options Is(&COMMON_HTTP);
    36 request_id_extension Ignored("request ids are UUIDs"); 37 always_set_request_id_in_response OffOnly("request ids are not sent in answers");
    39 strip_matching_host_port Ignored("hosts are matched without port"); 40 stream_error_on_invalid_http_message Ignored("such connections are closed");
    41 request_headers_timeout Honoured; 42 strip_any_host_port Ignored("hosts are matched without port");
    43 path_normalization_options Refused("use normalize_path and merge_slashes"); 44 http3_protocol_options Refused("HTTP/3 is not supported");
    45 path_with_escaped_slashes_action Ignored("escaped slashes are kept");
    46 original_ip_detection_extensions Refused("use xff_num_trusted_hops"); 47 strip_trailing_host_dot Ignored("a trailing dot is ignored");
    49 proxy_status_config OffOnly("no proxy-status header is written"); 53 add_proxy_protocol_connection_state Ignored("no PROXY protocol");
    57 append_local_overload Ignored("no overload manager");
});
message!(RDS = "envoy.extensions.filters.network.http_connection_manager.v3.Rds" {
    1 config_source Is(&CONFIG_SOURCE); 2 route_config_name Honoured;
});
message!(UPGRADE = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig" {
    1 upgrade_type Honoured; 3 enabled Honoured;
});
static HTTP_FILTERS: Filters = Filters {
    config: 4,
    disabled: 7,
    types: &[&ROUTER, &HTTP_FAULT, &CORS_FILTER, &HTTP_RBAC, &JWT, &EXT_AUTHZ],
    native: &[
        (
            "istio.metadata_exchange",
            "peers are told by certificate and endpoint metadata",
        ),
        ("istio.stats", "Istio's metrics are counted natively"),
        ("istio.alpn", "ALPN is chosen by the cluster"),
        ("istio_authn", "the peer's identity is known natively"),
        ("envoy.filters.http.grpc_stats", "gRPC is counted natively"),
        (
            "envoy.filters.http.stateful_session",
            "no persistent session is configured by it alone",
        ),
    ],
};
message!(ROUTER = "envoy.extensions.filters.http.router.v3.Router" {
    1 dynamic_stats Ignored(STATS); 2 start_child_span Ignored("every proxy hop has one span");
    4 suppress_envoy_headers OffOnly("Envoy's response headers are always written");
    6 respect_expected_rq_timeout OffOnly("only the route's timeout counts");
    7 suppress_grpc_request_failure_code_stats Ignored(STATS);
});
message!(CORS_FILTER = "envoy.extensions.filters.http.cors.v3.Cors" {});

// --- routes -----------------------------------------------------------------------------------------------

message!(
    /// Route tables (RDS).
    pub ROUTE_CONFIGURATION = "envoy.config.route.v3.RouteConfiguration" {
        1 name Honoured; 2 virtual_hosts List(&VIRTUAL_HOST); 3 internal_only_headers Ignored("nothing sets them");
        7 validate_clusters Ignored("a missing cluster answers 503 NC"); 10 most_specific_header_mutations_wins OffOnly("edits of a route come before those around it");
        11 max_direct_response_body_size_bytes Ignored("bodies are as long as given"); 14 ignore_port_in_host_matching Ignored("hosts are always matched without port");
        17 metadata Ignored("no honoured filter reads it");
        4 response_headers_to_add List(&HEADER_OPTION); 5 response_headers_to_remove Honoured;
        6 request_headers_to_add List(&HEADER_OPTION); 8 request_headers_to_remove Honoured;
    }
);
message!(VIRTUAL_HOST = "envoy.config.route.v3.VirtualHost" {
    1 name Honoured; 2 domains Honoured; 3 routes List(&ROUTE); 4 require_tls Honoured; 5 virtual_clusters Ignored(STATS);
    14 include_request_attempt_count Honoured; 19 include_attempt_count_in_response OffOnly("the count goes to the upstream only");
    24 metadata Ignored("no honoured filter reads it");
    7 request_headers_to_add List(&HEADER_OPTION); 10 response_headers_to_add List(&HEADER_OPTION);
    11 response_headers_to_remove Honoured; 13 request_headers_to_remove Honoured;
    15 typed_per_filter_config Refused("put filter settings on routes"); 16 retry_policy Refused("put the retry policy on routes");
});
message!(ROUTE = "envoy.config.route.v3.Route" {
    1 match Is(&ROUTE_MATCH); 2 route Is(&ROUTE_ACTION); 3 redirect Is(&REDIRECT); 4 metadata Is(&METADATA);
    5 decorator Is(&DECORATOR); 7 direct_response Is(&DIRECT); 9 request_headers_to_add List(&HEADER_OPTION);
    10 response_headers_to_add List(&HEADER_OPTION); 11 response_headers_to_remove Honoured;
    12 request_headers_to_remove Honoured; 13 typed_per_filter_config MapAny(&[&HTTP_FAULT, &CORS]); 14 name Honoured;
    16 per_request_buffer_limit_bytes Ignored(BUFFERS); 19 stat_prefix Ignored(STATS);
});
message!(ROUTE_MATCH = "envoy.config.route.v3.RouteMatch" {
    1 prefix Honoured; 2 path Honoured; 4 case_sensitive Honoured; 6 headers List(&HEADER_MATCH);
    7 query_parameters List(&QUERY_MATCH); 10 safe_regex Is(&REGEX); 13 dynamic_metadata List(&METADATA_MATCH);
    14 path_separated_prefix Honoured;
    9 runtime_fraction Refused("use weighted_clusters"); 12 connect_matcher Refused("CONNECT is not routed");
});
message!(HEADER_MATCH = "envoy.config.route.v3.HeaderMatcher" {
    1 name Honoured; 4 exact_match Honoured; 7 present_match Honoured; 8 invert_match Honoured; 9 prefix_match Honoured;
    10 suffix_match Honoured; 11 safe_regex_match Is(&REGEX); 12 contains_match Honoured; 13 string_match Is(&STRING_MATCH);
    14 treat_missing_header_as_empty Honoured;
});
message!(QUERY_MATCH = "envoy.config.route.v3.QueryParameterMatcher" {
    1 name Honoured; 5 string_match Is(&STRING_MATCH); 6 present_match Honoured;
});
message!(DECORATOR = "envoy.config.route.v3.Decorator" {
    1 operation Honoured; 2 propagate Ignored("the operation names this hop only");
});
message!(ROUTE_ACTION = "envoy.config.route.v3.RouteAction" {
    1 cluster Honoured; 3 weighted_clusters Is(&WEIGHTED); 5 prefix_rewrite Honoured; 6 host_rewrite_literal Honoured;
    8 timeout Honoured; 9 retry_policy Is(&RETRY); 11 priority OffOnly("there is one priority");
    15 hash_policy List(&HASH); 20 cluster_not_found_response_code Ignored("a missing cluster answers 503 NC");
    23 max_grpc_timeout Honoured; 24 idle_timeout OffOnly("use stream_idle_timeout of the connection manager");
    25 upgrade_configs Refused("upgrades follow the connection manager"); 27 hedge_policy Refused("requests are not hedged");
    30 request_mirror_policies List(&MIRROR); 32 regex_rewrite Is(&REGEX_SUBSTITUTE); 36 max_stream_duration Is(&MAX_STREAM);
    7 auto_host_rewrite OffOnly("use host_rewrite_literal"); 38 append_x_forwarded_host OffOnly("x-forwarded-host is not written");
});
message!(MAX_STREAM = "envoy.config.route.v3.RouteAction.MaxStreamDuration" {
    1 max_stream_duration OffOnly("use the route's timeout"); 2 grpc_timeout_header_max Honoured;
});
message!(WEIGHTED = "envoy.config.route.v3.WeightedCluster" {
    1 clusters List(&WEIGHT); 2 runtime_key_prefix Ignored(RUNTIME); 3 total_weight Ignored("it is the sum of the weights");
});
message!(WEIGHT = "envoy.config.route.v3.WeightedCluster.ClusterWeight" {
    1 name Honoured; 2 weight Honoured; 4 request_headers_to_add List(&HEADER_OPTION);
    5 response_headers_to_add List(&HEADER_OPTION); 6 response_headers_to_remove Honoured; 9 request_headers_to_remove Honoured;
    11 host_rewrite_literal Honoured;
});
message!(RETRY = "envoy.config.route.v3.RetryPolicy" {
    1 retry_on Honoured; 2 num_retries Honoured; 3 per_try_timeout Honoured;
    4 retry_priority Ignored("a retry avoids endpoints already tried"); 5 retry_host_predicate Filtered(&RETRY_PREDICATES);
    6 host_selection_retry_max_attempts Honoured; 7 retriable_status_codes Honoured; 8 retry_back_off Is(&BACK_OFF);
    13 per_try_idle_timeout Refused("use per_try_timeout");
});
static RETRY_PREDICATES: Filters = Filters {
    config: 3,
    disabled: 0,
    types: &[&PREVIOUS_HOSTS],
    native: &[],
};
message!(PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate" {});
message!(BACK_OFF = "envoy.config.route.v3.RetryPolicy.RetryBackOff" { 1 base_interval Honoured; 2 max_interval Honoured; });
message!(MIRROR = "envoy.config.route.v3.RouteAction.RequestMirrorPolicy" {
    1 cluster Honoured; 3 runtime_fraction Is(&FRACTION); 4 trace_sampled Ignored("mirrors make no spans");
    6 disable_shadow_host_suffix_append Honoured;
});
message!(HASH = "envoy.config.route.v3.RouteAction.HashPolicy" {
    1 header Is(&HASH_HEADER); 2 cookie Is(&HASH_COOKIE); 3 connection_properties Is(&HASH_CONNECTION);
    4 terminal OffOnly("all policies are combined in order"); 5 query_parameter Is(&HASH_QUERY);
});
message!(HASH_HEADER = "envoy.config.route.v3.RouteAction.HashPolicy.Header" { 1 header_name Honoured; });
message!(HASH_COOKIE = "envoy.config.route.v3.RouteAction.HashPolicy.Cookie" {
    1 name Honoured; 2 ttl Honoured; 3 path Honoured; 4 attributes List(&COOKIE_ATTRIBUTE);
});
message!(COOKIE_ATTRIBUTE = "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute" { 1 name Honoured; 2 value Honoured; });
message!(HASH_CONNECTION = "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties" { 1 source_ip Honoured; });
message!(HASH_QUERY = "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter" { 1 name Honoured; });
message!(REDIRECT = "envoy.config.route.v3.RedirectAction" {
    1 host_redirect Honoured; 2 path_redirect Honoured; 3 response_code Honoured; 4 https_redirect Honoured;
    5 prefix_rewrite Honoured; 6 strip_query Honoured; 7 scheme_redirect Honoured; 8 port_redirect Honoured;
});
message!(DIRECT = "envoy.config.route.v3.DirectResponseAction" { 1 status Honoured; 2 body Is(&DATA_SOURCE); });
message!(CORS = "envoy.extensions.filters.http.cors.v3.CorsPolicy" {
    1 allow_origin_string_match List(&STRING_MATCH); 2 allow_methods Honoured; 3 allow_headers Honoured;
    4 expose_headers Honoured; 5 max_age Honoured; 6 allow_credentials Honoured; 7 filter_enabled Ignored(RUNTIME);
    9 allow_private_network_access OffOnly("private network access is not granted"); 10 forward_not_matching_preflights Honoured;
});
message!(HTTP_FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault" {
    1 delay Is(&FAULT_DELAY); 2 abort Is(&FAULT_ABORT); 4 headers Refused("put header conditions into the route's match");
    8 delay_percent_runtime Ignored(RUNTIME); 9 abort_percent_runtime Ignored(RUNTIME); 10 delay_duration_runtime Ignored(RUNTIME);
    11 abort_http_status_runtime Ignored(RUNTIME); 15 disable_downstream_cluster_stats Ignored(STATS);
});
message!(FAULT_DELAY = "envoy.extensions.filters.common.fault.v3.FaultDelay" { 3 fixed_delay Honoured; 4 percentage Is(&PERCENT); });
message!(FAULT_ABORT = "envoy.extensions.filters.http.fault.v3.FaultAbort" {
    2 http_status Honoured; 3 percentage Is(&PERCENT); 5 grpc_status Honoured;
});
