//! Clusters, endpoints and the bootstrap file.

use super::{
    ADDRESS, BIND, BUFFERS, COMMON_HTTP, CONFIG_SOURCE, Field, Filtered, Filters, GRPC_SERVICE, HTTP1, HTTP2,
    Honoured, Ignored, Is, LISTENER, LOCALITY, List, METADATA, MapAny, Message, OffOnly, RUNTIME, Refused,
    SECRET, SOCKET, SOCKET_TLS_UPSTREAM, STATS, STRUCT,
};

// --- clusters and endpoints -------------------------------------------------------------------------------

message!(
    /// Clusters (CDS).
    pub CLUSTER = "envoy.config.cluster.v3.Cluster" {
        1 name Honoured; 2 type Honoured; 3 eds_cluster_config Is(&EDS_CONFIG); 4 connect_timeout Honoured;
        5 per_connection_buffer_limit_bytes Ignored(BUFFERS); 6 lb_policy Honoured;
        8 health_checks Refused("active health checks are not supported; use outlier_detection");
        9 max_requests_per_connection Honoured; 10 circuit_breakers Is(&BREAKERS);
        13 http_protocol_options Is(&HTTP1); 14 http2_protocol_options Is(&HTTP2);
        16 dns_refresh_rate Ignored("names are resolved again when their time to live ends"); 17 dns_lookup_family Ignored("addresses are used in the resolver's order");
        19 outlier_detection Is(&OUTLIER); 20 cleanup_interval Ignored("idle destinations are forgotten");
        21 upstream_bind_config Is(&BIND); 23 ring_hash_lb_config Is(&RING_HASH); 24 transport_socket Is(&SOCKET_TLS_UPSTREAM);
        25 metadata Is(&METADATA); 27 common_lb_config Is(&COMMON_LB); 28 alt_stat_name Ignored(STATS);
        29 common_http_protocol_options Is(&COMMON_HTTP); 30 upstream_connection_options Ignored(SOCKET);
        31 close_connections_on_host_health_failure Ignored("requests in flight end by themselves");
        32 ignore_health_on_host_removal Ignored("removed endpoints get no new requests"); 33 load_assignment Is(&ENDPOINTS);
        34 original_dst_lb_config Is(&ORIGINAL_DST); 36 typed_extension_protocol_options MapAny(&[&HTTP_OPTIONS]);
        37 least_request_lb_config Is(&LEAST_REQUEST); 39 respect_dns_ttl Ignored("it is always respected");
        40 filters Filtered(&CLUSTER_FILTERS);
        43 transport_socket_matches List(&SOCKET_MATCH); 44 dns_failure_refresh_rate Ignored("failures are retried with backoff");
        45 use_tcp_for_dns_lookups Ignored("the system's resolver decides"); 47 track_timeout_budgets Ignored(STATS);
        49 track_cluster_stats Ignored(STATS); 52 maglev_lb_config Is(&MAGLEV); 53 dns_resolution_config Ignored("the system's resolver decides");
        54 wait_for_warm_on_init Ignored("a snapshot waits until it is complete"); 55 typed_dns_resolver_config Ignored("the system's resolver decides");
        58 dns_jitter Ignored("lookups are spread natively");
        22 lb_subset_config Refused("use one cluster a subset, as Istio does"); 38 cluster_type Refused("custom cluster types are not supported");
        41 load_balancing_policy Refused("use lb_policy"); 46 upstream_http_protocol_options Is(&UPSTREAM_HTTP);
    }
);
static CLUSTER_FILTERS: Filters = Filters {
    config: 2,
    disabled: 0,
    types: &[],
    native: &[
        (
            "istio.metadata_exchange",
            "peers are told by certificate and endpoint metadata",
        ),
        (
            "envoy.filters.network.upstream.metadata_exchange",
            "peers are told by certificate and endpoint metadata",
        ),
    ],
};
message!(EDS_CONFIG = "envoy.config.cluster.v3.Cluster.EdsClusterConfig" { 1 eds_config Is(&CONFIG_SOURCE); 2 service_name Honoured; });
message!(BREAKERS = "envoy.config.cluster.v3.CircuitBreakers" {
    1 thresholds List(&THRESHOLDS); 2 per_host_thresholds Refused("limits hold for the whole cluster");
});
message!(THRESHOLDS = "envoy.config.cluster.v3.CircuitBreakers.Thresholds" {
    1 priority Honoured; 2 max_connections Honoured; 3 max_pending_requests Honoured; 4 max_requests Honoured;
    5 max_retries Honoured; 6 track_remaining Ignored(STATS); 7 max_connection_pools Ignored("pools are bounded by max_connections");
    8 retry_budget Refused("use max_retries");
});
message!(OUTLIER = "envoy.config.cluster.v3.OutlierDetection" {
    1 consecutive_5xx Honoured; 2 interval Honoured; 3 base_ejection_time Honoured; 4 max_ejection_percent Honoured;
    5 enforcing_consecutive_5xx Honoured; 6 enforcing_success_rate OffOnly("ejection by success rate is not supported; set it to 0");
    7 success_rate_minimum_hosts Ignored("no ejection by success rate"); 8 success_rate_request_volume Ignored("no ejection by success rate");
    9 success_rate_stdev_factor Ignored("no ejection by success rate"); 10 consecutive_gateway_failure Honoured;
    11 enforcing_consecutive_gateway_failure Honoured; 12 split_external_local_origin_errors Honoured;
    13 consecutive_local_origin_failure Honoured; 14 enforcing_consecutive_local_origin_failure Honoured;
    15 enforcing_local_origin_success_rate OffOnly("ejection by success rate is not supported; set it to 0");
    16 failure_percentage_threshold Ignored("no ejection by failure percentage");
    17 enforcing_failure_percentage OffOnly("ejection by failure percentage is not supported");
    18 enforcing_failure_percentage_local_origin OffOnly("ejection by failure percentage is not supported");
    21 max_ejection_time Ignored("ejection time grows with the number of ejections, up to 300 s");
    22 max_ejection_time_jitter Ignored("no jitter");
});
message!(RING_HASH = "envoy.config.cluster.v3.Cluster.RingHashLbConfig" {
    1 minimum_ring_size Honoured; 3 hash_function OffOnly("xxHash only"); 4 maximum_ring_size Ignored("8 Mi points");
});
message!(MAGLEV = "envoy.config.cluster.v3.Cluster.MaglevLbConfig" { 1 table_size Honoured; });
message!(LEAST_REQUEST = "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig" {
    1 choice_count Ignored("two choices"); 2 active_request_bias Ignored("bias 1");
    3 slow_start_config Refused("slow start is not supported yet");
});
message!(COMMON_LB = "envoy.config.cluster.v3.Cluster.CommonLbConfig" {
    1 healthy_panic_threshold Honoured; 3 locality_weighted_lb_config Ignored("priorities carry the preference");
    4 update_merge_window Ignored("updates are applied at once");
    5 ignore_new_hosts_until_first_hc Ignored("no active health checks"); 6 close_connections_on_host_set_change Ignored("connections end by themselves");
});
message!(ORIGINAL_DST = "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig" {
    1 use_http_header OffOnly("a client must not choose its destination"); 3 upstream_port_override OffOnly("the port is the original one");
});
message!(SOCKET_MATCH = "envoy.config.cluster.v3.Cluster.TransportSocketMatch" {
    1 name Honoured; 2 match Is(&STRUCT); 3 transport_socket Is(&SOCKET_TLS_UPSTREAM);
});
message!(HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions" {
    1 common_http_protocol_options Is(&COMMON_HTTP); 2 upstream_http_protocol_options Is(&UPSTREAM_HTTP);
    3 explicit_http_config Is(&EXPLICIT_HTTP); 4 use_downstream_protocol_config Is(&DOWNSTREAM_HTTP);
    5 auto_config Is(&AUTO_HTTP);
});
message!(UPSTREAM_HTTP = "envoy.config.core.v3.UpstreamHttpProtocolOptions" {
    1 auto_sni Ignored("a context without sni takes the request's host");
    2 auto_san_validation OffOnly("give match_typed_subject_alt_names");
});
message!(EXPLICIT_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig" {
    1 http_protocol_options Is(&HTTP1); 2 http2_protocol_options Is(&HTTP2);
});
message!(DOWNSTREAM_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig" {
    1 http_protocol_options Is(&HTTP1); 2 http2_protocol_options Is(&HTTP2);
});
message!(AUTO_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig" {
    1 http_protocol_options Is(&HTTP1); 2 http2_protocol_options Is(&HTTP2);
});
message!(
    /// Endpoints (EDS).
    pub ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment" {
        1 cluster_name Honoured; 2 endpoints List(&LOCALITY_ENDPOINTS); 4 policy Is(&ASSIGNMENT_POLICY);
    }
);
message!(ASSIGNMENT_POLICY = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy" {
    3 overprovisioning_factor Ignored("the factor is 140 %"); 4 endpoint_stale_after Ignored("endpoints stay until removed");
    2 drop_overloads Refused("requests are not dropped by endpoints' policy"); 6 weighted_priority_health Ignored("all endpoints count alike");
});
message!(LOCALITY_ENDPOINTS = "envoy.config.endpoint.v3.LocalityLbEndpoints" {
    1 locality Is(&LOCALITY); 2 lb_endpoints List(&LB_ENDPOINT); 3 load_balancing_weight Ignored("endpoint weights decide");
    5 priority Honoured; 6 proximity Ignored("priorities carry the preference"); 9 metadata Ignored("no honoured filter reads it");
});
message!(LB_ENDPOINT = "envoy.config.endpoint.v3.LbEndpoint" {
    1 endpoint Is(&ENDPOINT); 2 health_status Honoured; 3 metadata Is(&METADATA); 4 load_balancing_weight Honoured;
});
message!(ENDPOINT = "envoy.config.endpoint.v3.Endpoint" {
    1 address Is(&ADDRESS); 2 health_check_config Ignored("no active health checks"); 3 hostname Ignored("no honoured setting reads it");
    4 additional_addresses Ignored("the first address is used");
});

// --- bootstrap --------------------------------------------------------------------------------------------

message!(
    /// The bootstrap file.
    pub BOOTSTRAP = "envoy.config.bootstrap.v3.Bootstrap" {
        1 node Is(&NODE); 2 static_resources Is(&STATIC); 3 dynamic_resources Is(&DYNAMIC);
        4 cluster_manager Ignored("outlier events go to the log"); 6 stats_sinks Ignored("use --telemetry-endpoint");
        7 stats_flush_interval Ignored("telemetry is pushed every 250 ms"); 8 watchdog Ignored("workers are watched natively");
        9 tracing Ignored("give the provider in the connection manager"); 12 admin Is(&ADMIN); 13 stats_config Ignored(STATS);
        15 overload_manager Ignored("connection limits are the proxy's own"); 16 enable_dispatcher_stats Ignored(STATS);
        17 layered_runtime Ignored(RUNTIME); 18 header_prefix OffOnly("headers are x-envoy-*"); 20 use_tcp_for_dns_lookups Ignored("the system's resolver decides");
        21 bootstrap_extensions Ignored("extensions are built in"); 27 watchdogs Ignored("workers are watched natively");
        29 stats_flush_on_admin Ignored("statistics are always fresh"); 30 dns_resolution_config Ignored("the system's resolver decides");
        31 typed_dns_resolver_config Ignored("the system's resolver decides"); 32 inline_headers Ignored("no effect on answers");
        34 default_regex_engine Ignored("the engine is always linear-time"); 38 application_log_config Ignored("--log-level decides");
        39 deferred_stat_options Ignored(STATS); 40 grpc_async_client_manager_config Ignored("there is one stream");
        41 memory_allocator_manager Ignored("memory is returned by the allocator");
        23 default_config_source Refused("say ads in each config source"); 14 hds_config Refused("health discovery is not supported");
    }
);
message!(NODE = "envoy.config.core.v3.Node" {
    1 id Honoured; 2 cluster Honoured; 3 metadata Is(&STRUCT); 4 locality Is(&LOCALITY); 6 user_agent_name Ignored("the proxy names itself");
    7 user_agent_version Ignored("the proxy names itself"); 8 user_agent_build_version Ignored("the proxy names itself");
    9 extensions Ignored("the proxy names itself"); 10 client_features Ignored("the proxy names itself");
});
message!(STATIC = "envoy.config.bootstrap.v3.Bootstrap.StaticResources" {
    1 listeners List(&LISTENER); 2 clusters List(&CLUSTER); 3 secrets List(&SECRET);
});
message!(DYNAMIC = "envoy.config.bootstrap.v3.Bootstrap.DynamicResources" {
    1 lds_config Is(&CONFIG_SOURCE); 2 cds_config Is(&CONFIG_SOURCE); 3 ads_config Is(&API_SOURCE);
});
message!(API_SOURCE = "envoy.config.core.v3.ApiConfigSource" {
    1 api_type Honoured; 4 grpc_services List(&GRPC_SERVICE); 7 set_node_on_first_message_only Ignored("the node is sent first only");
    8 transport_api_version Honoured; 5 request_timeout Ignored("streams have no timeout"); 6 rate_limit_settings Ignored("acknowledgements are few");
});
message!(ADMIN = "envoy.config.bootstrap.v3.Admin" {
    1 access_log_path Ignored("admin requests are not logged"); 2 profile_path Ignored("no profiler"); 3 address Is(&ADDRESS);
    4 socket_options Ignored(SOCKET); 5 access_log Ignored("admin requests are not logged"); 6 ignore_global_conn_limit Ignored("admin has its own limit");
});
