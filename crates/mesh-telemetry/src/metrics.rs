//! Metric names, as Prometheus shows them.

/// Requests, counted at completion.
pub const REQUESTS_TOTAL: &str = "istio_requests_total";
/// Duration of a request, first byte in to last byte out.
pub const REQUEST_DURATION_MILLISECONDS: &str = "istio_request_duration_milliseconds";
/// Size of requests on the wire.
pub const REQUEST_BYTES: &str = "istio_request_bytes";
/// Size of responses on the wire.
pub const RESPONSE_BYTES: &str = "istio_response_bytes";
/// gRPC messages from the client.
pub const REQUEST_MESSAGES_TOTAL: &str = "istio_request_messages_total";
/// gRPC messages from the server.
pub const RESPONSE_MESSAGES_TOTAL: &str = "istio_response_messages_total";
/// Bytes toward the downstream of TCP connections.
pub const TCP_SENT_BYTES_TOTAL: &str = "istio_tcp_sent_bytes_total";
/// Bytes from the downstream of TCP connections.
pub const TCP_RECEIVED_BYTES_TOTAL: &str = "istio_tcp_received_bytes_total";
/// TCP connections opened.
pub const TCP_CONNECTIONS_OPENED_TOTAL: &str = "istio_tcp_connections_opened_total";
/// TCP connections closed.
pub const TCP_CONNECTIONS_CLOSED_TOTAL: &str = "istio_tcp_connections_closed_total";
/// Always 1; labels `component`, `tag`.
pub const ISTIO_BUILD: &str = "istio_build";

/// Requests by rule.
pub const ROUTE_REQUESTS_TOTAL: &str = "sightline_route_requests_total";
/// Durations by rule.
pub const ROUTE_REQUEST_DURATION_MILLISECONDS: &str = "sightline_route_request_duration_milliseconds";
/// Decisions by authorization rule; labels `policy`, `rule`, `action`, `decision`, `shadow`.
pub const AUTHZ_DECISIONS_TOTAL: &str = "sightline_authz_decisions_total";
/// Upstream attempts (retries and mirrors included).
pub const ATTEMPTS_TOTAL: &str = "sightline_attempts_total";
/// Request bytes as a plain sum (OTLP).
pub const REQUEST_BYTES_TOTAL: &str = "sightline_request_bytes_total";
/// Response bytes as a plain sum (OTLP).
pub const RESPONSE_BYTES_TOTAL: &str = "sightline_response_bytes_total";

/// Seconds since the configuration in force was received.
pub const PROXY_CONFIG_AGE_SECONDS: &str = "sightline_proxy_config_age_seconds";
/// Always 1; label `revision`.
pub const PROXY_CONFIG_REVISION_INFO: &str = "sightline_proxy_config_revision_info";
/// Endpoints ejected by outlier detection.
pub const PROXY_EJECTIONS_TOTAL: &str = "sightline_proxy_ejections_total";
/// Retries sent; label `destination_service`.
pub const PROXY_RETRIES_TOTAL: &str = "sightline_proxy_retries_total";
/// Telemetry that could not be kept until it was acknowledged; label `kind` (`counts`, `spans`, `kept_requests`,
/// `asked_traces`).
pub const PROXY_TELEMETRY_DROPPED_TOTAL: &str = "sightline_proxy_telemetry_dropped_total";
/// Errors and slow requests beyond what is kept of a route in a second; label `reason`.
pub const PROXY_REQUESTS_NOT_KEPT_TOTAL: &str = "sightline_proxy_requests_not_kept_total";
/// Spans that left the proxy's memory before their 10 s, because it was full.
pub const PROXY_SPANS_EVICTED_TOTAL: &str = "sightline_proxy_spans_evicted_total";
/// Requests that were counted under `other`, because their series did not fit the caps.
pub const PROXY_SERIES_OVERFLOWED_TOTAL: &str = "sightline_proxy_series_overflowed_total";
/// Seconds until the workload certificate expires.
pub const PROXY_CERTIFICATE_EXPIRY_SECONDS: &str = "sightline_proxy_certificate_expiry_seconds";

/// Upper bounds of the buckets of every Prometheus histogram (Envoy's defaults), for milliseconds and bytes.
pub const BUCKETS: &[f64] = &[
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// Metrics of the control plane, with Istio's names.
pub mod control_plane {
    /// Connected discovery streams; label `version`.
    pub const XDS: &str = "pilot_xds";
    /// Pushes; label `type` (`cds`, `eds`, `lds`, `rds`).
    pub const XDS_PUSHES: &str = "pilot_xds_pushes";
    /// Seconds to compute and queue one push; label `type`.
    pub const XDS_PUSH_TIME: &str = "pilot_xds_push_time";
    /// Seconds from a change to its acknowledgement by a proxy.
    pub const PROXY_CONVERGENCE_TIME: &str = "pilot_proxy_convergence_time";
    /// Seconds a proxy waited in the push queue.
    pub const PROXY_QUEUE_TIME: &str = "pilot_proxy_queue_time";
    /// Reasons of pushes; label `type`.
    pub const PUSH_TRIGGERS: &str = "pilot_push_triggers";
    /// Bytes of pushed configuration; label `type`.
    pub const XDS_CONFIG_SIZE_BYTES: &str = "pilot_xds_config_size_bytes";
    /// Events of configuration objects; labels `type` (kind), `event`.
    pub const K8S_CFG_EVENTS: &str = "pilot_k8s_cfg_events";
    /// Events of registry objects; labels `type` (kind), `event`.
    pub const K8S_REG_EVENTS: &str = "pilot_k8s_reg_events";
    /// Configurations refused by proxies.
    pub const TOTAL_XDS_REJECTS: &str = "pilot_total_xds_rejects";
    /// Internal errors of discovery.
    pub const TOTAL_XDS_INTERNAL_ERRORS: &str = "pilot_total_xds_internal_errors";
    /// Known services.
    pub const SERVICES: &str = "pilot_services";
    /// Known VirtualServices.
    pub const VIRTUAL_SERVICES: &str = "pilot_virt_services";
    /// Updates received; label `type`.
    pub const INBOUND_UPDATES: &str = "pilot_inbound_updates";
    /// Seconds from the first change to the push that carries it.
    pub const DEBOUNCE_TIME: &str = "pilot_debounce_time";
    /// Objects without problems of severity error.
    pub const VALIDATION_PASSED: &str = "galley_validation_passed";
    /// Objects with problems of severity error.
    pub const VALIDATION_FAILED: &str = "galley_validation_failed";
    /// Certificate requests.
    pub const CSR_COUNT: &str = "citadel_server_csr_count";
    /// Certificates signed.
    pub const CSR_SUCCESS: &str = "citadel_server_success_cert_issuance_count";
    /// Certificate requests refused because the caller could not be authenticated.
    pub const CSR_AUTHN_FAILURES: &str = "citadel_server_authentication_failure_count";
    /// Unix seconds at which the root expires.
    pub const ROOT_CERT_EXPIRY: &str = "citadel_server_root_cert_expiry_timestamp";
    /// Buckets of [`PROXY_CONVERGENCE_TIME`].
    pub const CONVERGENCE_BUCKETS: &[f64] = &[0.1, 0.5, 1.0, 3.0, 5.0, 10.0, 20.0, 30.0];

    /// Seconds to read the configuration at start.
    pub const PUSHCONTEXT_INIT_SECONDS: &str = "pilot_pushcontext_init_seconds";
    /// Hosts that more than one VirtualService claims.
    pub const VSERVICE_DUP_DOMAIN: &str = "pilot_vservice_dup_domain";
    /// Subsets of all DestinationRules.
    pub const DESTRULE_SUBSETS: &str = "pilot_destrule_subsets";
    /// Pods without an address.
    pub const NO_IP: &str = "pilot_no_ip";
    /// Services without a ready endpoint.
    pub const EDS_NO_INSTANCES: &str = "pilot_eds_no_instances";
    /// Endpoints whose pod is not known.
    pub const ENDPOINT_NO_POD: &str = "endpoint_no_pod";

    /// Telemetry batches committed.
    pub const TELEMETRY_BATCHES: &str = "sightline_telemetry_batches_total";
    /// Telemetry batches that were known already.
    pub const TELEMETRY_DUPLICATES: &str = "sightline_telemetry_duplicate_batches_total";
    /// Telemetry batches that were refused; label `reason`.
    pub const TELEMETRY_REFUSED: &str = "sightline_telemetry_refused_batches_total";
    /// Edge rows (series of a window) committed.
    pub const INGEST_ROWS: &str = "sightline_controlplane_ingest_rows_total";
    /// Kept requests and spans committed; label `kind` (`request`, `span`).
    pub const RECORDS: &str = "sightline_controlplane_records_total";
    /// Kept requests and spans given up because there was no room.
    pub const RECORDS_DROPPED: &str = "sightline_controlplane_records_dropped_total";
    /// Messages with records that were refused; label `reason`.
    pub const RECORDS_REFUSED: &str = "sightline_controlplane_records_refused_total";
    /// Messages with records of a clock that is ahead, which were moved to now.
    pub const RECORDS_SHIFTED: &str = "sightline_controlplane_records_shifted_total";
    /// Configuration revisions recorded.
    pub const REVISIONS: &str = "sightline_controlplane_revisions_total";
    /// Spans delivered; labels `kind`, `endpoint`.
    pub const EXPORTER_SENT: &str = "sightline_controlplane_exporter_spans_sent_total";
    /// Spans given up; labels `kind`, `endpoint`.
    pub const EXPORTER_DROPPED: &str = "sightline_controlplane_exporter_spans_dropped_total";
    /// Spans that wait; labels `kind`, `endpoint`.
    pub const EXPORTER_QUEUED: &str = "sightline_controlplane_exporter_spans_queued";
    /// 1 while history is recorded.
    pub const HISTORY_RECORDING: &str = "sightline_history_recording";
    /// Bytes of history.
    pub const HISTORY_BYTES: &str = "sightline_history_bytes";
}
